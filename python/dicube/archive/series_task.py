"""What a worker does for one series: read, write, read back, compare, and put in place.

A series is stored only when its file has been read back and gives each original its SHA-256. Must
not know catalogues or executors.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dicube.archive.patients import Patient, may_be_one
from dicube.archive.places import ASIDE, Place, free_name, stem_of
from dicube.archive.record import SeriesRecord, record_of
from dicube.archive.scan import patients_in
from dicube.core.cube_parts import ORIGINALS, read_meta, read_parts
from dicube.core.fidelity.exactness import Exact
from dicube.core.image import DicomCubeImage
from dicube.core.instances.late_instances import append_files
from dicube.core.instances.stored_files import restore_files, store_files
from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.dicom.files.changed_files import Transform, write_changed
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.sources import File, FileOnDisk
from dicube.dicom.originals.model import digest_of
from dicube.exceptions import (
    CodecError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
    NoImagesError,
)
from dicube.storage.dcb_reader import DcbReader
from dicube.verify.file_summary import holds

Outcome = Literal["added", "present", "merged", "failed"]

_CHUNK = 1 << 20
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_IDS = 0x0020000D, 0x0020000E, 0x00100020, 0x00100010


@dataclass(frozen=True)
class SeriesJob:
    """The files of one series, and how to store them; picklable.

    Attributes:
        place: where the archive lies.
        study, series: UIDs in the sources.
        files, cubes: its DICOM files, and dicube files.
        format: '.dcba' or '.dcbs'.
        exact: as for `DicomCubeImage.to_file`.
        num_threads: of the codec.
        checks_originals: whether the SHA-256 of each original is compared.
        transform: changes each dataset; None to store the files as they are.
        transformed: the names of those files of the series that were transformed.
        patients: what the sources say of their patient.
        others: how many other patients' files among the sources have the same UIDs.
    """

    place: Place
    study: str
    series: str
    files: tuple[File, ...]
    cubes: tuple[File, ...] = ()
    format: str = ".dcba"
    exact: Exact = "always"
    num_threads: int = 1
    checks_originals: bool = True
    transform: Transform | None = None
    transformed: frozenset[str] = frozenset()
    patients: frozenset[Patient] = frozenset()
    others: int = 0


@dataclass(frozen=True)
class Stored:
    """The result of a job.

    Attributes:
        outcome: 'added'; 'present': all was stored before; 'merged' with what was; or 'failed'.
        file: name of the file in the archive; '' after a failure.
        record: what was read from the file; None after a failure.
        error: class and text of the error; both '' without one.
        aside: names of the files kept aside, by the path of the source.
        without_frames: why the images are kept whole, without frames; '' if they aren't.
        warnings: texts of warnings.
        seconds: how long it took.
    """

    outcome: Outcome
    file: str = ""
    record: SeriesRecord | None = None
    error: tuple[str, str] = ("", "")
    aside: dict[str, str] = field(default_factory=dict)
    without_frames: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def store_series(job: SeriesJob) -> Stored:
    """Store a series; a task. Raises nothing: what goes wrong is in the result."""
    begun = time.monotonic()
    texts: list[str] = []
    work = _Work(job)
    try:
        with _warnings_to(texts):
            stored = replace(work.store(), without_frames=work.without_frames)
            texts += work.notes
    except DicomCubeError as error:
        stored = Stored("failed", error=(type(error).__name__, work.shown(error.text)))
    except OSError as error:
        stored = Stored("failed", error=(type(error).__name__, error.strerror or "no reason given"))
    except MemoryError as error:
        stored = Stored("failed", error=(type(error).__name__, "there is not enough memory"))
    except Exception as error:  # a fault of ours, or of `transform`; its text may name a patient
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}, line {last.lineno}"
        stored = Stored("failed", error=(type(error).__name__, f"unexpected, at {place}"))
    seconds = time.monotonic() - begun
    return replace(stored, seconds=seconds, warnings=tuple(map(work.shown, texts)))


class _Work:
    """The work on one series."""

    def __init__(self, job: SeriesJob) -> None:
        self._job, self._place, self._threads = job, job.place, job.num_threads
        self._digests: dict[str, bytes] = {}
        self.folder = ""
        self.notes: list[str] = []
        self.without_frames = ""

    def store(self) -> Stored:
        """Store the series, or find that it is stored."""
        job = self._job
        with self._place.work_folder() as self.folder:
            files, cube = self._sources()
            study, series, patients = job.study, job.series, job.patients
            if job.transform is not None:
                study, series, *patient = _ids_of(files[0])
                patients = frozenset({Patient(*patient)})
            stem = stem_of(study, series)
            while True:
                self.notes.clear()
                taken = self._place.find(stem)
                existing = self._file_of(patients, taken, bool(series))
                if job.others or (existing is None and taken):
                    self.notes.append(
                        "files of several patients have this SeriesInstanceUID: a file is stored "
                        "for each patient"
                    )
                if existing is not None:
                    with self._place.local_file(existing) as held:
                        return self._join(existing, held, files, cube)
                name = free_name(stem, job.format, taken)
                try:
                    return Stored("added", name, self._write(files, cube, name))
                except FileExistsError:  # another worker was faster, as UIDs were transformed
                    continue

    def shown(self, text: str) -> str:
        """Return a text without the folder of the work."""
        return text.replace(self.folder + os.sep, "")

    def _file_of(self, patients: Set[Patient], names: Sequence[str], by_uid: bool) -> str | None:
        """Return which of these files is the patient's; None if each is another's.

        One that can't be read may be: then the series can't be stored.
        """
        fitting = []
        for name in names:
            with self._place.local_file(name) as path:
                try:
                    found = _patients_in(path)
                except DicomCubeError:
                    return name
            if not patients.isdisjoint(found):
                return name
            if may_be_one(patients, found, by_uid=by_uid):
                fitting.append(name)
        return fitting[0] if len(fitting) == 1 else None

    # ----------------------------------------------------------------------------- sources

    def _sources(self) -> tuple[list[File], File | None]:
        """Return the DICOM files to store; or the dicube file to store, which has no originals."""
        job = self._job
        folders: list[str] = []
        without: list[File] = []
        for number, cube in enumerate(job.cubes):
            if holds(cube.name, ORIGINALS):
                folders.append(self._restored(cube.name, f"cube{number}"))
            else:
                without.append(cube)
        if without and (job.files or folders or len(without) > 1 or job.transform is not None):
            raise DataConsistencyError(
                f"{without[0].name} has no original files, so it can be neither merged with other "
                "files of its series nor transformed",
                suggestion="leave it out of the sources, or add it to another archive",
            )
        files = list(job.files)
        if folders:
            files = self._gathered(folders, files)
        if job.transform is not None:
            files = self._transformed(files, job.transform)
        once = {self._digest(file): file for file in reversed(files)}  # the first of equal ones
        return list(reversed(once.values())), without[0] if without else None

    def _transformed(self, files: Sequence[File], transform: Transform) -> list[File]:
        """Return files with the datasets that `transform` makes, in the work folder."""
        folder = os.path.join(self.folder, "transformed")
        os.mkdir(folder)
        made: list[File] = []
        for number, file in enumerate(files):
            path = os.path.join(folder, f"{number:06}.dcm")
            write_changed(file, transform, path)
            made.append(FileOnDisk(path))
        return made

    def _restored(self, path: str, name: str) -> str:
        """Restore the originals of a dicube file into the work folder; return their folder."""
        folder = os.path.join(self.folder, name)
        restore_files(path, folder, num_threads=self._threads)
        return folder

    def _gathered(self, folders: Sequence[str], files: Sequence[File]) -> list[File]:
        """Return restored and other files in one folder, so that their names don't depend on it.

        The first folder's files keep their names.
        """
        gathered = folders[0]
        sources = [*files]
        for folder in folders[1:]:
            sources += map(FileOnDisk, _files_below(folder))
        names = {os.path.relpath(path, gathered).casefold() for path in _files_below(gathered)}
        for file in sources:
            name = os.path.basename(file.name)
            if name.casefold() in names:
                name = f"{self._digest(file).hex()[:16]}-{name}"
            if name.casefold() not in names:  # else the same file a second time
                names.add(name.casefold())
                path = os.path.join(gathered, name)
                _copy(file, path)
                self._digests[path] = self._digest(file)
        return list(map(FileOnDisk, _files_below(gathered)))

    def _digest(self, file: File) -> bytes:
        """Return the SHA-256 of a file, which is read only once."""
        if file.name not in self._digests:
            with file.open() as opened:
                self._digests[file.name] = digest_of(_chunks(opened))
        return self._digests[file.name]

    # ----------------------------------------------------------------------------- writing

    def _write(
        self,
        files: Sequence[File],
        cube: File | None,
        name: str,
    ) -> SeriesRecord:
        """Write the file of the series, read it back, and put it under its name.

        Args:
            files: the DICOM files.
            cube: a dicube file without originals, in their place.
            name: of the file in the archive.

        Raises:
            InvalidCubeFileError: the file written gives other originals or pixels.
        """
        path = os.path.join(self.folder, f"new{os.path.splitext(name)[1]}")
        image = self._write_new(files, cube, path)
        checks = self._job.checks_originals
        record, volume, digests = read_whole(path, self._threads, checks)
        if record.has_originals:
            missing = set(map(self._digest, files)) - digests if checks else set()
            if missing:
                raise InvalidCubeFileError(
                    f"the file written lacks {len(missing)} of {len(files)} original files"
                )
        elif image is not None and not np.array_equal(volume, image.raw_image):
            raise InvalidCubeFileError("the file written gives other pixels than it was made from")
        self._place.put(path, name, replace=False)
        return record

    def _write_new(
        self, files: Sequence[File], cube: File | None, path: str
    ) -> DicomCubeImage | None:
        """Write a dicube file; return its image, None if it has no frames."""
        if cube is not None:
            image = DicomCubeImage.from_file(cube.name, self._threads)
            image.to_file(path, self._threads, exact=False)
            return image
        try:
            image = DicomCubeImage.from_dicom_folder(
                list(files), num_threads=self._threads, keep_all=True
            )
        except NoImagesError as error:
            if error.reasons:  # there are images
                self.without_frames = self.shown(error.message)
            store_files(list(files), path, reasons=error.reasons)
            return None
        except (MetaDataError, DataConsistencyError, CodecError) as error:
            # No reader makes an image of these files. Kept whole, none of them is lost.
            self.without_frames = self.shown(error.message)
            store_files(list(files), path)
            return None
        exact: Exact = self._job.exact if self._job.transform is None else False
        # Files beside the volume are kept with the originals, or not at all.
        image.to_file(path, self._threads, exact="always" if image.files_beside else exact)
        return image

    # ------------------------------------------------------------------- a series that exists

    def _join(self, existing: str, held: str, files: Sequence[File], cube: File | None) -> Stored:
        """Merge files with those in the file that the archive has of their series.

        Args:
            existing: its name in the archive.
            held: its path on this machine.
            files, cube: see `_write`.
        """
        try:
            record, volume, digests = read_whole(held, self._threads, self._job.checks_originals)
        except DicomCubeError as error:
            raise InvalidCubeFileError(
                f"{existing}, which the archive has of the series, is damaged: {error.message}",
                suggestion="restore it from a backup, or remove it",
            ) from error
        if not record.has_originals:
            self._expect_same(existing, record, volume, files, cube)
            return Stored("present", existing, record)
        if cube is not None:
            raise DataConsistencyError(
                f"{cube.name} has no original files, so it can't be merged with {existing}",
                suggestion="leave it out of the sources, or add it to another archive",
            )
        new = [file for file in files if self._digest(file) not in digests]
        if not new:
            return Stored("present", existing, record)
        if self._job.transform is not None or existing in self._job.transformed:
            raise DataConsistencyError(
                f"{existing} holds transformed files, so no others can be merged with it",
                suggestion="remove the series, and add all its files together",
            )
        return self._append(existing, held, record, new)

    def _append(
        self, existing: str, held: str, record: SeriesRecord, new: Sequence[File]
    ) -> Stored:
        """Add files to a copy of the file that the archive has, and put that in its place.

        Files with the SOPInstanceUID of an instance that the archive has, and other bytes, are
        kept aside.
        """
        path = os.path.join(self.folder, f"merged{os.path.splitext(existing)[1]}")
        shutil.copyfile(held, path)
        appended = append_files(path, list(new), num_threads=self._threads, work_folder=self.folder)
        if appended.added:
            record = read_whole(path, self._threads, False)[0]
            self._place.put(path, existing, replace=True)
        files = {file.name: file for file in new}
        aside: dict[str, str] = {}
        for conflict in appended.conflicts:
            name = f"{ASIDE}/{os.path.splitext(existing)[0]}/{conflict.sha256}.dcm"
            with files[conflict.path].open() as opened:
                self._place.put_aside(b"".join(_chunks(opened)), name)
            aside[conflict.path] = name
        outcome: Outcome = "merged" if appended.added else "present"
        return Stored(outcome, existing, record, aside=aside)

    def _expect_same(
        self,
        existing: str,
        record: SeriesRecord,
        volume: NDArray[Any],
        files: Sequence[File],
        cube: File | None,
    ) -> None:
        """Raise unless a file without originals is what would be written now.

        A run that was killed may have stored it without the catalogue knowing.
        """
        path = os.path.join(self.folder, f"again{os.path.splitext(existing)[1]}")
        self._write_new(files, cube, path)
        again, values, _ = read_whole(path, self._threads, False)
        uids = [[one.values[0] for one in found.instances] for found in (record, again)]
        if uids[0] != uids[1] or not np.array_equal(volume, values):
            raise DataConsistencyError(
                f"{existing} has no original files that others could be merged with (it was "
                "transformed, or stored with exact 'cheap' or 'no')",
                suggestion="remove the series, and add all its files together",
            )


# ----------------------------------------------------------------------- reading and copying files


def read_whole(
    path: str, num_threads: int, with_digests: bool
) -> tuple[SeriesRecord, NDArray[Any], frozenset[bytes]]:
    """Read a dicube file completely.

    Args:
        path: of the file.
        num_threads: for decoding.
        with_digests: restore each original, and compare its SHA-256.

    Returns:
        Its record, its stored values, and the SHA-256 of each original.

    Raises:
        InvalidCubeFileError: it is damaged, or an original can't be restored.
    """
    with DcbReader(path, num_threads=num_threads) as reader:
        parts = read_parts(reader)
        volume = reader.read_frames() if reader.shape[0] else np.zeros(reader.shape, reader.dtype)
        provenance = parts.origin.provenance
        originals = None
        if reader.sections.get(ORIGINALS) and provenance is not None:
            originals = provenance.originals.remembering()
        record = record_of(reader, parts.meta, parts.space, parts.status.value, originals)
        if originals is None:
            return record, volume, frozenset()
        for file in originals.all_files if with_digests else ():
            found = originals.parts(file, volume)
            if found is None or digest_of(found) != file.digest:
                raise InvalidCubeFileError(f"{file.label} can't be restored: its SHA-256 differs")
        return record, volume, frozenset(file.digest for file in originals.all_files)


def _patients_in(path: str) -> set[Patient]:
    """Return what a dicube file says of its patients."""
    with DcbReader(path, num_threads=1) as reader:
        meta = read_meta(reader)
        return {Patient()} if meta is None else patients_in(meta)


def _ids_of(file: File) -> tuple[str, str, str, str]:
    """Return the UIDs of a file's study and series, and its patient's ID and name."""
    instance = read_instance(file)
    assert instance is not None
    study, series, patient, name = map(instance.text, _IDS)
    return study, series, patient, name


def _files_below(folder: str) -> list[str]:
    return sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)


def _chunks(opened: Any) -> Iterator[bytes]:
    while chunk := opened.read(_CHUNK):
        yield chunk


def _copy(file: File, path: str) -> None:
    with file.open() as opened, open(path, "xb") as target:
        target.writelines(_chunks(opened))


@contextmanager
def _warnings_to(texts: list[str]) -> Iterator[None]:
    """Collect dicube's own warnings; those of other packages may quote values.

    Python collects warnings for all threads at once, so in other threads than the main one they
    are dropped.
    """
    if threading.current_thread() is not threading.main_thread():
        with pydicom_quiet():
            yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            texts += [
                str(one.message)
                for one in caught
                if issubclass(one.category, UserWarning) and one.filename.startswith(_PACKAGE)
            ]
