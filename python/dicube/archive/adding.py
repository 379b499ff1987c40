"""Coordinates an addition: which series are new, who stores them, what the catalogue says then.

Workers read and write pixels; this process lists files, hands out series and keeps the catalogue.
Must not know how a series is stored, or which executor runs the tasks.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from dicube.archive.executors import Executor, LostWorkerError, results
from dicube.archive.places import Place, stem_in, stem_of
from dicube.archive.pseudonyms import SecretKey
from dicube.archive.record import Entry, Source
from dicube.archive.report import FAILED, Report, ReportFile, SeriesResult, line_of_left_out
from dicube.archive.scan import (
    Group,
    Header,
    LeftOut,
    Path,
    SourceFile,
    chunks,
    groups_of,
    list_sources,
    read_headers,
)
from dicube.archive.series_task import SeriesJob, Stored, store_series
from dicube.core.fidelity.exactness import Exact
from dicube.dicom.files.changed_files import Transform
from dicube.dicom.files.sources import File
from dicube.storage.formats import library_version
from dicube.threads import Progress

if TYPE_CHECKING:
    from dicube.archive.catalogue import Catalogue

_KNOWN_AT_ONCE = 5000  # sources that are looked up together
_MOST_UNCOMMITTED, _SECONDS = 64, 1.0  # series, and the time, until results are committed


@dataclass(frozen=True)
class Options:
    """How series are added; see `Archive.add`."""

    format: str = ".dcba"
    exact: Exact = "always"
    num_threads: int = 1
    restore_check: bool = True
    checksum: bool = False
    transform: Transform | None = None
    key: SecretKey | None = None
    on_error: Literal["record", "stop"] = "record"
    dry_run: bool = False


class Addition:
    """One run of `Archive.add`."""

    def __init__(
        self,
        place: Place,
        catalogue: Catalogue | None,
        executor: Executor,
        in_flight: int,
        options: Options,
        report_file: ReportFile,
        progress: Progress | None,
        on_series: Callable[[SeriesResult], None] | None,
    ) -> None:
        self._place, self._catalogue, self._options = place, catalogue, options
        self._executor, self._in_flight = executor, in_flight
        self._file, self._progress, self._on_series = report_file, progress, on_series
        self._report = Report()
        self._present: dict[str, list[Source]] = {}  # by the file that they are in
        self._uncommitted: list[tuple[Entry, SeriesResult]] = []
        self._committed = time.monotonic()
        self._done = 0

    def run(self, sources: Path | Iterable[Path]) -> Report:
        """Add the series of the sources."""
        left_out: list[LeftOut] = []
        listed = list_sources(sources, self._place.name, left_out)
        groups = self._grouped(self._unknown(listed), left_out)
        for one in left_out:
            self._leave_out(one)
        total = len(groups) + len(self._present)
        try:
            if self._options.dry_run:
                for group in groups:
                    self._finish(self._result_of(group, "new"))
            else:
                self._store(groups, total)
        finally:
            self._commit()
        self._finish_present()
        return self._report

    # ------------------------------------------------------------------------- what is there

    def _unknown(self, listed: Iterator[SourceFile]) -> Iterator[SourceFile]:
        """Yield the files that the catalogue doesn't know, or whose series' file is missing."""
        sizes = dict(self._place.series_files()) if self._catalogue is not None else {}
        while files := list(islice(listed, _KNOWN_AT_ONCE)):
            if self._catalogue is None or self._options.checksum:
                yield from files
                continue
            sources = list(map(self._source_of, files))
            known = self._catalogue.known(sources)
            for file, source in zip(files, sources, strict=True):
                name, size = known.get(source.path, ("", 0))
                if name and sizes.get(name) == size:
                    self._present.setdefault(name, []).append(source)
                else:
                    yield file

    def _grouped(self, files: Iterator[SourceFile], left_out: list[LeftOut]) -> list[Group]:
        """Read the headers of files, and group these by series, in the order of the sources."""
        found: dict[int, list[Header]] = {}
        equal: dict[Header, Header] = {}  # a series' files share one
        read: dict[int, tuple[SourceFile, ...]] = {}
        lost: LostWorkerError | None = None

        def jobs() -> Iterator[tuple[int, list[File]]]:
            for number, chunk in enumerate(chunks(files)):
                read[number] = chunk
                yield number, [source.file for source in chunk]

        for number, headers in results(self._executor, read_headers, jobs(), self._in_flight):
            if isinstance(headers, LostWorkerError):
                lost = headers
                headers = [Header(why=lost.message, is_damaged=True)] * len(read[number])
            found[number] = [equal.setdefault(header, header) for header in headers]
        stored: list[tuple[SourceFile, Header]] = []
        for number in sorted(found):  # they come in any order
            for source, header in zip(read[number], found[number], strict=True):
                if header.why:
                    left_out.append(LeftOut(source.path, header.why, header.is_damaged))
                else:
                    stored.append((source, header))
        if lost is not None and not stored:  # no worker has done anything
            raise lost
        return groups_of(stored)

    # --------------------------------------------------------------------------------- storing

    def _store(self, groups: list[Group], total: int) -> None:
        """Store each series, and commit the results."""
        running = self._running(groups)
        for group, stored in running:
            if isinstance(stored, LostWorkerError):
                stored = Stored("failed", error=(type(stored).__name__, stored.text))
            result = self._result_of_stored(group, stored)
            if stored.record is None:
                self._finish(result)
            else:
                self._uncommitted.append((self._entry_of(group, stored), result))
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, total)
            if result.outcome == FAILED and self._options.on_error == "stop":
                self._report.stopped = True
                break
            late = time.monotonic() - self._committed > _SECONDS
            if late or len(self._uncommitted) >= _MOST_UNCOMMITTED:
                self._commit()
        running.close()

    def _running(self, groups: Sequence[Group]) -> Generator[tuple[Group, Any], None, None]:
        """Store each series, those of several patients in turn; yield results in any order."""
        known = set() if self._catalogue is None else self._catalogue.transformed_files()
        transformed: dict[str, set[str]] = {}
        for name in known:
            transformed.setdefault(stem_in(name), set()).add(name)
        for wave in _waves(groups):
            jobs = ((group, self._job_of(group, transformed)) for group in wave)
            yield from results(self._executor, store_series, jobs, self._in_flight)

    def _job_of(self, group: Group, transformed: Mapping[str, set[str]]) -> SeriesJob:
        options = self._options
        return SeriesJob(
            self._place,
            group.study,
            group.series,
            tuple(source.file for source in group.files),
            tuple(source.file for source in group.cubes),
            options.format,
            options.exact,
            options.num_threads,
            options.restore_check,
            options.transform,
            frozenset(transformed.get(stem_of(group.study, group.series), ())),
            frozenset(group.patients),
            group.others,
        )

    def _entry_of(self, group: Group, stored: Stored) -> Entry:
        assert stored.record is not None
        is_new, options = stored.outcome == "added", self._options
        key = options.key
        return Entry(
            stored.file,
            stored.record,
            [self._source_of(source) for source in group.all_files],
            transformed=options.transform is not None if is_new else None,
            original_uid=None if key is None else key.name_of(group.series),
            added=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            version=library_version(),
        )

    def _commit(self) -> None:
        """Let the catalogue say what is stored, and report it."""
        batch, self._uncommitted = self._uncommitted, []
        self._committed = time.monotonic()
        if not batch or self._catalogue is None:
            return
        self._place.flush(entry.file for entry, _ in batch)
        with self._catalogue.changes():
            self._catalogue.put([entry for entry, _ in batch])
        for _, result in batch:
            self._finish(result)

    # ------------------------------------------------------------------------------- reporting

    def _result_of(self, group: Group, outcome: str) -> SeriesResult:
        key = self._options.key
        shown = str if key is None else key.name_of
        return SeriesResult(
            outcome,
            shown(group.study),
            shown(group.series),
            [self._source_of(source).path for source in group.all_files],
            source_size=group.size,
        )

    def _result_of_stored(self, group: Group, stored: Stored) -> SeriesResult:
        result = self._result_of(group, stored.outcome)
        known = [source.path for source in self._present.pop(stored.file, ())]
        record = stored.record
        if record is not None:
            study, series = record.uids
            result = replace(
                result,
                study_uid=study,
                series_uid=series,
                sources=[*known, *result.sources],
                instances=len(record.instances),
                size=record.size,
                kept_whole=record.kept_whole,
            )
        error, text = stored.error
        return replace(
            result,
            file=stored.file,
            error=error,
            text=self._shown(group, text),
            seconds=round(stored.seconds, 3),
            without_frames=self._shown(group, stored.without_frames),
            aside={self._shown_path(path): name for path, name in stored.aside.items()},
            warnings=[self._shown(group, text) for text in stored.warnings],
        )

    def _finish(self, result: SeriesResult) -> None:
        self._report.series.append(result)
        self._file.write(result.line())
        if self._on_series is not None:
            self._on_series(result)

    def _finish_present(self) -> None:
        """Report the series all of whose sources are stored already."""
        if self._catalogue is None:
            return
        files = list(self._present)
        for file, study, series, instances, size in self._catalogue.summaries(files):
            sources = self._present[file]
            self._finish(
                SeriesResult(
                    "present",
                    study,
                    series,
                    [source.path for source in sources],
                    file,
                    instances=instances,
                    source_size=sum(source.size for source in sources),
                    size=size,
                )
            )

    def _leave_out(self, one: LeftOut) -> None:
        key = self._options.key
        if key is not None:
            why = _without_paths(one.why, [one.path], key)
            one = LeftOut(key.name_of(one.path), why, one.is_damaged)
        self._report.left_out.append(one)
        self._file.write(line_of_left_out(one))

    def _source_of(self, source: SourceFile) -> Source:
        return Source(self._shown_path(source.path), source.size, source.mtime_ns)

    def _shown_path(self, path: str) -> str:
        key = self._options.key
        if key is not None:
            return key.name_of(path)
        return path.encode("utf-8", "backslashreplace").decode()  # names of files may be any bytes

    def _shown(self, group: Group, text: str) -> str:
        """Return a text without paths of sources, if these are secret."""
        key = self._options.key
        if key is None:
            return text
        return _without_paths(text, [source.path for source in group.all_files], key)


def _waves(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Yield the groups so that those of one series, which share a name, are never together."""
    rest = list(groups)
    while rest:
        first = {(group.study, group.series): group for group in reversed(rest)}
        wave = set(map(id, first.values()))
        yield [group for group in rest if id(group) in wave]
        rest = [group for group in rest if id(group) not in wave]


def _without_paths(text: str, paths: Iterable[str], key: SecretKey) -> str:
    """Return a text with keyed hashes for these paths, or nothing of it if it still names a part.

    The class of an error, which some texts begin with, stays.
    """
    kind = re.match(r"\w+Error: ", text)
    start = kind[0] if kind else ""
    rest = text[len(start) :]
    names: set[str] = set()
    for path in paths:
        rest = rest.replace(path, key.name_of(path))
        names.update(part for part in path.split(os.sep) if len(part) > 2)
    if any(name in rest for name in names):
        rest = "a text that names a source, and is left out"
    return start + rest
