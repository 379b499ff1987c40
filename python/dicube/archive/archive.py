"""Archive: many series as dicube files in a folder or an object store, with a catalogue.

    archive = dicube.Archive("archive")
    archive.add("incoming")
    for series in archive.series(modality="CT"):
        volume = series.open()[...]

Brings the parts of this room together. Must not know how series are stored or catalogued.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from dicube.archive.adding import Addition, Options
from dicube.archive.checking import CheckJob, FileCheck, check_stored
from dicube.archive.deidentify import transform_of
from dicube.archive.executors import Executor, LostWorkerError, OwnProcesses, results
from dicube.archive.identities import expect_same_identities
from dicube.archive.indexing import FILES_OF_TASK, IndexReport, read_records
from dicube.archive.places import FORMATS, LocalPlace, Place, place_at
from dicube.archive.pseudonyms import SecretKey, read_key
from dicube.archive.record import Entry
from dicube.archive.report import Report, ReportFile, SeriesResult
from dicube.archive.stored_series import StoredSeries
from dicube.core.fidelity.exactness import Exact
from dicube.dicom.files.changed_files import Transform
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
)
from dicube.threads import Progress, thread_count
from dicube.whole_files import make_folder, write_whole

if TYPE_CHECKING:
    from dicube.archive.catalogue import Catalogue

Path = str | os.PathLike[str]

CATALOGUE = "catalogue.sqlite"
"""The name of the catalogue in the folder of an archive."""

_EXACT: Mapping[Any, Exact] = {
    "always": "always",
    "cheap": True,
    "no": False,
    True: True,
    False: False,
}
_PER_WORKER = 2  # tasks in flight, so that no worker waits
_ENTRIES_AT_ONCE = 256


class Archive:
    """Many series as dicube files, one each, with a catalogue that can be made again from them.

    Only one process at a time may change an archive.

    Args:
        where: a folder, or a URL of fsspec for a prefix in an object store. It need not exist.
        catalogue: a path of a SQLite database, or a URL of SQLAlchemy. None for
            `catalogue.sqlite` in the folder; an archive at a URL needs one elsewhere.
        storage_options: for the file system of a URL, as in fsspec.

    Raises:
        DataConsistencyError: an archive at a URL without a catalogue; a catalogue in memory; or
            `storage_options` for a folder.

    Example:
        >>> archive = dicube.Archive("archive")
        >>> archive.add("series").counts
        {'added': 1}
        >>> [series["Modality"] for series in archive.series(patient="4711")]
        ['CT']
        >>> archive.series()[0].open()[3].shape
        (48, 40)
        >>> len(archive.restore("restored", patient="4711"))
        5
    """

    def __init__(
        self,
        where: Path,
        catalogue: Path | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._place = place_at(where, storage_options or {})
        self._is_elsewhere = catalogue is not None
        if catalogue is not None:
            self._catalogue = os.fspath(catalogue)
            if self._catalogue.endswith((":memory:", "sqlite://", "sqlite:///")):
                raise DataConsistencyError(
                    f"expected a catalogue that stays, found {self._catalogue}, which only a "
                    "process has"
                )
        elif isinstance(self._place, LocalPlace):
            self._catalogue = self._place.locator(CATALOGUE)
        else:
            raise DataConsistencyError(
                f"{self._place.name}: an archive at a URL needs a catalogue elsewhere",
                suggestion="catalogue=: a path, or a URL of SQLAlchemy",
            )

    # -------------------------------------------------------------------------------- adding

    def add(
        self,
        sources: Path | Iterable[Path],
        *,
        format: str = ".dcba",  # noqa: A002 (as everywhere else)
        exact: Exact | str = "always",
        executor: Executor | None = None,
        transform: Transform | None = None,
        deidentify: str | None = None,
        on_error: Literal["record", "stop"] = "record",
        progress: Progress | None = None,
        workers: int | None = None,
        in_flight: int | None = None,
        num_threads: int | None = None,
        report: Path | None = None,
        key: Path | None = None,
        checksum: bool = False,
        restore_check: bool = True,
        dry_run: bool = False,
        on_series: Callable[[SeriesResult], None] | None = None,
    ) -> Report:
        """Add all series of the sources, each in a file of its own.

        Files are grouped by StudyInstanceUID and SeriesInstanceUID. A series is done when its file
        is in place, has been read back, and gives every original its SHA-256; only then does the
        catalogue have it. After an interruption, the same call goes on: what is done is skipped.

        Series that can't be a volume, such as reports and PDFs, become files without frames. Files
        that belong to a series of the archive are merged with it. If one has the SOPInstanceUID of
        a stored instance and other bytes, the stored one stays, and the new one is kept in
        `aside/`. Files of one call that share a SOPInstanceUID are kept whole in the file, as the
        report says. Each patient that has a file with the UIDs of a series gets a file of the
        series.

        Args:
            sources: folders, zip archives, DICOMDIRs, DICOM or dicube files, or several of these.
            format: '.dcba' (small) or '.dcbs' (fast).
            exact: 'always' keeps what restores the original files; 'cheap' only where that takes
                little; 'no' never, except with files that can't be in a volume.
            executor: where series are stored: anything with `submit`, such as executors of
                concurrent.futures, loky, `distributed.Client.get_executor()`. None for processes
                of its own, which start Python anew: scripts need `if __name__ == "__main__":`.
            transform: changes each pydicom dataset before it is stored, in place or by returning
                another; picklable. The original files are then not kept.
            deidentify: 'basic' for the Basic Profile of PS3.15 (`dicube[deidentify]`). Pixels are
                not touched. Catalogue and report have paths and original UIDs only as keyed hashes.
            on_error: 'record' goes on after a series fails; 'stop' ends there.
            progress: called as `progress(done, total)`, in series.
            workers: number of processes, or of those of the given executor; None or 0 for one for
                each processor.
            in_flight: how many tasks are submitted at a time; None for two for each worker.
            num_threads: of the codec in each task; None or 0 for the number of processors divided
                by that of workers, or 1 with an executor.
            report: a file for a line of JSON for each series. It names sources.
            key: a file with the secret key of `deidentify`; made if it is missing. None for the
                path of the archive's folder followed by '.key'.
            checksum: compare the content of sources, rather than path, size and time.
            restore_check: compare the SHA-256 of each original after writing.
            dry_run: report what would be done, and change nothing.
            on_series: called with each result.

        Returns:
            A report, true if no series failed and every DICOM file could be read.

        Raises:
            CubeFileNotFoundError: a source does not exist.
            CubeFileAccessError: the archive, its catalogue or the report can't be written; or
                another process is changing the archive.
            TargetExistsError: (a FileExistsError too) `report` is a file that is no report.
            InvalidCubeFileError: the catalogue is damaged, or a newer version wrote it.
            DataConsistencyError: an argument is invalid.
            LostWorkerError: (a DicomCubeError) no worker could read a file, because all ended.
            MissingPackageError: SQLAlchemy, or dicom-anonymizer, is not installed.
        """
        options = self._options_of(
            format, exact, transform, deidentify, key, on_error, checksum, restore_check, dry_run
        )
        with (
            self._changing(dry_run) as catalogue,
            ReportFile(report) as file,
            self._running(executor, workers, in_flight, num_threads) as (runner, most, threads),
        ):
            if catalogue is not None:
                expect_same_identities(self._place, options.key)
            options = replace(options, num_threads=threads)
            if transform is not None and not isinstance(self._place, LocalPlace):
                most = 1  # it may give series one UID, and stores have no locks
            addition = Addition(
                self._place, catalogue, runner, most, options, file, progress, on_series
            )
            return addition.run(sources)

    def _options_of(
        self,
        extension: str,
        exact: Any,
        transform: Transform | None,
        deidentify: str | None,
        key_path: Path | None,
        on_error: Literal["record", "stop"],
        checksum: bool,
        restore_check: bool,
        dry_run: bool,
    ) -> Options:
        extension = extension if extension.startswith(".") else f".{extension}"
        for name, value, known in (
            ("format", extension, FORMATS),
            ("exact", exact, _EXACT),
            ("on_error", on_error, ("record", "stop")),
        ):
            if value not in known:
                raise DataConsistencyError(
                    f"expected {name} of {', '.join(map(repr, known))}, found {value!a}"
                )
        secret: SecretKey | None = None
        if deidentify is not None:
            if transform is not None:
                raise DataConsistencyError("transform and deidentify exclude each other: give one")
            secret = read_key(self._key_path(key_path), create=not dry_run)
            transform = transform_of(deidentify, secret)
        return Options(
            extension,
            _EXACT[exact],
            restore_check=restore_check,
            checksum=checksum,
            transform=transform,
            key=secret,
            on_error=on_error,
            dry_run=dry_run,
        )

    def _key_path(self, path: Path | None) -> Path:
        if path is not None:
            return path
        if isinstance(self._place, LocalPlace):
            return f"{self._place.name}.key"
        raise DataConsistencyError(
            "de-identification into an archive at a URL needs a key elsewhere",
            suggestion="key=: the path of a file",
        )

    # --------------------------------------------------------------------------------- using

    def rows(self, **filters: Any) -> list[dict[str, Any]]:
        """Return a row of the catalogue for each series, with DICOM keywords as keys.

        Args:
            filters: `patient`, `study`, `series` or `instance` for an ID or UID; or any keyword
                that rows have, also in snake_case, such as `modality="CT"`. Texts may have the
                wildcards * and ?; dates may be ranges: `study_date="2024-01-01..2024-03-31"`.

        Raises:
            CubeFileNotFoundError: there is no catalogue; `index` makes one.
            DataConsistencyError: rows have no such keyword.
        """
        from dicube.archive.catalogue import conditions_of

        conditions = conditions_of(filters)
        with self._opened() as catalogue:
            return catalogue.rows(conditions)

    def series(self, **filters: Any) -> list[StoredSeries]:
        """Return the series that meet all filters; see `rows`."""
        return [StoredSeries(row, self._place) for row in self.rows(**filters)]

    def instances(self, series: StoredSeries) -> list[dict[str, Any]]:
        """Return a row of the catalogue for each instance of a series, with DICOM keywords.

        `slice` is the first of its slices, None for an instance that is kept whole; `name` and
        `sha256` are those of the original file.
        """
        with self._opened() as catalogue:
            return catalogue.instances(series["file"])

    def to_pandas(self, **filters: Any) -> Any:
        """Return `rows` as a pandas DataFrame.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        from dicube.archive.data_frame import data_frame

        return data_frame(self.rows(**filters))

    def restore(
        self,
        folder: Path,
        *,
        patient: str | None = None,
        study: str | None = None,
        series: str | None = None,
        instance: str | None = None,
        overwrite: bool = False,
    ) -> list[str]:
        """Restore the DICOM files of a patient, study, series or instance.

        They are the original ones, to the byte. Series stored without these (`has_originals` is
        False) give new ones.

        Args:
            folder: gets a folder for each study and series, and one named `aside` for files that
                have the SOPInstanceUID of another one; an instance is written into it itself, if
                only one series has its UID.
            patient, study, series, instance: PatientID or UID; one of them.
            overwrite: allow folders that are not empty.

        Returns:
            The paths written.

        Raises:
            CubeFileNotFoundError: the archive has no such series.
            DataConsistencyError: none or several are given; or `instance` is, and its series was
                stored without original files.
            InvalidCubeFileError: a file is damaged. All other series are restored before this is
                raised.
            TargetExistsError: (a FileExistsError too) a folder is not empty.

        Warns:
            UserWarning: series were stored without original files; it says how many.
        """
        found = self._chosen(patient=patient, study=study, series=series, instance=instance)
        paths: list[str] = []
        damaged: list[InvalidCubeFileError] = []
        for one in found:
            stem = os.path.splitext(one["file"])[0]
            if instance is not None:
                inner = os.path.join(folder, *(stem.split("/") if len(found) > 1 else ()))
                rows = [row for row in self.instances(one) if row["SOPInstanceUID"] == instance]
                make_folder(inner, overwrite)
                path = os.path.join(inner, os.path.basename(rows[0]["name"]) or "instance.dcm")
                one.extract(instance, path, overwrite=overwrite)
                paths.append(path)
                continue
            try:
                paths += one.restore(os.path.join(folder, *stem.split("/")), overwrite=overwrite)
            except InvalidCubeFileError as error:
                damaged.append(error)
            for name in self._place.aside_files(stem):
                path = os.path.join(folder, *name.split("/"))
                make_folder(os.path.dirname(path), True)
                with self._place.open(name) as file:
                    write_whole(path, [file.read()])
                paths.append(path)
        without = sum(not one["has_originals"] for one in found)
        if without and instance is None:
            warnings.warn(
                f"{without} of {len(found)} series were stored without original files: new DICOM "
                "files were made of them",
                stacklevel=2,
            )
        if len(damaged) == 1 and len(found) == 1:
            raise damaged[0]
        if damaged:
            texts = "; ".join(error.message for error in damaged)
            count = f"{len(damaged)} of {len(found)} series"
            raise InvalidCubeFileError(f"{count} are damaged, the others are restored: {texts}")
        return paths

    def remove(
        self,
        *,
        patient: str | None = None,
        study: str | None = None,
        series: str | None = None,
    ) -> list[str]:
        """Remove a patient, study or series: files, those kept aside, and rows of the catalogue.

        SQLite overwrites what it had of them; other databases promise no overwriting. Nor do disks
        overwrite the content of removed files.

        Args:
            patient, study, series: PatientID or UID; one of them.

        Returns:
            The names of the files removed.

        Raises:
            CubeFileNotFoundError: the archive has no such series.
            DataConsistencyError: none or several are given.
            CubeFileAccessError: a file can't be removed.

        Warns:
            UserWarning: SQLite can't overwrite all, because another process reads the catalogue, or
                there is no room for a copy of it.
        """
        removed: list[str] = []
        with self._place.locked(), self._opened() as catalogue:
            if self._is_elsewhere:
                catalogue.belong_to(self._place.name, anew=False)
            files = [
                one["file"] for one in self._chosen(patient=patient, study=study, series=series)
            ]
            for file in files:
                stem = os.path.splitext(file)[0]
                for name in (*self._place.aside_files(stem), file):
                    removed += [name] * self._place.remove(name)
            with catalogue.changes():
                catalogue.remove(files)
            if not catalogue.forget_removed():
                warnings.warn(
                    f"{catalogue.name}: another process reads it, or there is no room for a copy "
                    "of it, so it may still have what was removed; remove anything again later",
                    stacklevel=2,
                )
        return removed

    # -------------------------------------------------------------------------------- upkeep

    def verify(
        self,
        *,
        sample: float = 1.0,
        executor: Executor | None = None,
        workers: int | None = None,
        in_flight: int | None = None,
        report: Path | None = None,
        progress: Progress | None = None,
    ) -> list[FileCheck]:
        """Check the files: as `dicube.verify_file` does, and against the catalogue.

        Args:
            sample: the part of the files to check, chosen at random: 0.05 for 5 %.
            executor, workers, in_flight: see `add`.
            report: a file for a line of JSON for each file.
            progress: called as `progress(done, total)`, in files.

        Returns:
            A result for each file checked, true if nothing is wrong; and for each that is missing.

        Raises:
            CubeFileNotFoundError: there is no catalogue; `index` makes one.
            InvalidCubeFileError: the catalogue is damaged, or a newer version wrote it.
            CubeFileAccessError: the archive or its catalogue can't be read, or the report can't be
                written.
            TargetExistsError: (a FileExistsError too) `report` is a file that is no report.
            DataConsistencyError: `sample` is not above 0 and at most 1, or `in_flight` is below 1,
                or `workers` below 0.
            MissingPackageError: SQLAlchemy is not installed.
        """
        if not 0 < sample <= 1:
            raise DataConsistencyError(f"expected sample above 0 and at most 1, found {sample}")
        checks: list[FileCheck] = []
        with self._opened() as catalogue, ReportFile(report) as file:
            known = catalogue.sizes()
            names = sorted({name for name, _ in self._place.series_files()} | known.keys())
            names += self._place.aside_files()
            if sample < 1:
                names = sorted(random.sample(names, max(1, round(sample * len(names)))))

            def jobs() -> Iterator[tuple[str, CheckJob]]:
                for name in names:
                    expected = None
                    if name in known:
                        rows = catalogue.instances(name)
                        expected = frozenset((r["SOPInstanceUID"], r["sha256"]) for r in rows)
                    has_originals = bool(expected) and any(digest for _, digest in expected or ())
                    yield name, CheckJob(self._place, name, expected, has_originals)

            with self._running(executor, workers, in_flight) as (runner, most, _):
                for done, (name, result) in enumerate(
                    results(runner, check_stored, jobs(), most), 1
                ):
                    if isinstance(result, LostWorkerError):
                        result = FileCheck(name, [result.message])
                    checks.append(result)
                    file.write(result.line())
                    if progress is not None:
                        progress(done, len(names))
        return sorted(checks, key=lambda check: check.name)

    def index(
        self,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        in_flight: int | None = None,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Make the catalogue anew from the files.

        What only an existing catalogue knows is kept: where series came from, and when. A damaged
        one of SQLite is renamed, and a new one made.

        Args:
            executor, workers, in_flight: see `add`.
            progress: called as `progress(done, total)`, in files.

        Returns:
            A report, true if all files could be read. Rows of a file that can't be read stay.

        Raises:
            CubeFileAccessError: the archive or its catalogue can't be read or written; or another
                process is changing the archive.
            InvalidCubeFileError: a newer version wrote the catalogue; or it is damaged and not of
                SQLite.
            DataConsistencyError: `in_flight` is below 1, or `workers` below 0.
            MissingPackageError: SQLAlchemy is not installed.

        Warns:
            UserWarning: the catalogue was damaged.
        """
        report = IndexReport()
        with self._changing(False, anew=True) as catalogue:
            assert catalogue is not None
            names = [name for name, _ in self._place.series_files()]

            def jobs() -> Iterator[tuple[int, tuple[Place, tuple[str, ...]]]]:
                for first in range(0, len(names), FILES_OF_TASK):
                    yield first, (self._place, tuple(names[first : first + FILES_OF_TASK]))

            entries: list[Entry] = []
            with (
                self._running(executor, workers, in_flight) as (runner, most, _),
                catalogue.changes(),
            ):
                for first, found in results(runner, read_records, jobs(), most):
                    batch = names[first : first + FILES_OF_TASK]
                    if isinstance(found, LostWorkerError):
                        found = [found.message] * len(batch)
                    for name, record in zip(batch, found, strict=True):
                        if isinstance(record, str):
                            report.failed[name] = record
                        else:
                            entries.append(Entry(name, record))
                            report.files += 1
                    if len(entries) >= _ENTRIES_AT_ONCE:
                        catalogue.put(entries)
                        entries = []
                    if progress is not None:
                        progress(report.files + len(report.failed), len(names))
                catalogue.put(entries)
                catalogue.remove(list(catalogue.files() - set(names)))
        return report

    # ------------------------------------------------------------------------------ internals

    def _chosen(self, **level: str | None) -> list[StoredSeries]:
        given = {name: value for name, value in level.items() if value is not None}
        if len(given) != 1:
            raise DataConsistencyError(f"expected one of {', '.join(level)}, found {len(given)}")
        found = self.series(**given)
        if not found:
            (name,) = given
            raise CubeFileNotFoundError(f"{self._place.name} has no series of this {name}")
        return found

    @contextmanager
    def _opened(self, create: bool = False, anew: bool = False) -> Iterator[Catalogue]:
        from dicube.archive.catalogue import Catalogue

        with Catalogue(self._catalogue, create=create, anew=anew) as catalogue:
            yield catalogue

    @contextmanager
    def _changing(self, dry_run: bool, anew: bool = False) -> Iterator[Catalogue | None]:
        """Open the catalogue for changes, in an archive that has no leftovers of killed writers.

        Args:
            dry_run: change nothing; give None if there is no catalogue.
            anew: make a new one in place of a damaged one.
        """
        if dry_run:
            try:
                with self._opened() as catalogue:
                    yield catalogue
            except CubeFileNotFoundError:
                yield None
            return
        self._place.create()
        with self._place.locked():
            self._place.remove_leftovers()
            try:
                with self._opened(create=True, anew=anew) as catalogue:
                    if self._is_elsewhere:
                        catalogue.belong_to(self._place.name, anew=anew)
                    yield catalogue
            finally:
                self._place.remove_leftovers()  # of workers that were lost or ended meanwhile

    @contextmanager
    def _running(
        self,
        executor: Executor | None,
        workers: int | None,
        in_flight: int | None,
        num_threads: int | None = None,
    ) -> Iterator[tuple[Executor, int, int]]:
        """Give an executor, how many tasks to submit at a time, and threads for each of them."""
        if in_flight is not None and in_flight < 1:
            raise DataConsistencyError(f"expected in_flight of 1 or more, found {in_flight}")
        count = thread_count(workers, "workers")
        threads = num_threads or max(1, thread_count(None) // count)
        if executor is not None:
            yield executor, in_flight or _PER_WORKER * count, num_threads or 1
            return
        with OwnProcesses(count) as processes:
            yield processes, in_flight or _PER_WORKER * count, threads
