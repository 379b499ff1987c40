"""What is served: an archive, or dicube files with a catalogue in memory; and its open files.

UIDs of requests are looked up in the catalogue; no path is made of them. Must not know HTTP.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from dicube.archive.archive import CATALOGUE
from dicube.archive.catalogue import IN_MEMORY, Catalogue, Level, Match
from dicube.archive.places import LocalPlace
from dicube.archive.record import Entry as CatalogueEntry
from dicube.archive.record import record_in
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
)
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.formats import is_dicube_name
from dicube.storage.urls import is_url, name_of_source, without_credentials
from dicube.web.frames import CodedFrames
from dicube.web.series import OpenSeries

_MOST_OPEN = 32  # files at a time
_ENTRIES_AT_ONCE = 256
_PAGE = 1000
_TRIES = 5


class Stored:
    """A catalogue, and the files that it lists."""

    def __init__(
        self, catalogue: Catalogue, place: LocalPlace | None, names: Sequence[str] = ()
    ) -> None:
        """Take an open catalogue.

        Args:
            catalogue: the catalogue.
            place: of the archive; None if the catalogue has paths and URLs as names of files.
            names: those, if there is no place.
        """
        self._catalogue, self._place = catalogue, place
        self._names = {name: number for number, name in enumerate(names)}
        self._lock = Lock()  # a connection serves one thread at a time
        self._open: OrderedDict[tuple[str, str], list[tuple[Any, OpenSeries]]] = OrderedDict()
        self._kept = CodedFrames()

    def find(
        self, level: Level, matches: Sequence[Match], limit: int, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Search the catalogue; see `Catalogue.find`."""
        with self._lock:
            return self._catalogue.find(level, matches, limit, offset)

    def series_of(self, study: str) -> list[str]:
        """Return the UIDs of all series of a study."""
        found: list[str] = []
        of_study, read = [Match("StudyInstanceUID", "equal", (study,))], 0
        while rows := self.find("series", of_study, _PAGE, read):
            found += [row["SeriesInstanceUID"] for row in rows]
            read += len(rows)
        return list(dict.fromkeys(found))

    def series(self, study: str, series: str) -> list[OpenSeries]:
        """Return the open files of a series: one, or one for each patient that has its UIDs.

        Returns:
            [] if there is none with these UIDs.

        Raises:
            DicomCubeError: a file can't be read.
        """
        known = self.known(study, series)
        if known is not None:
            return known
        of_series = [
            Match("StudyInstanceUID", "equal", (study,)),
            Match("SeriesInstanceUID", "equal", (series,)),
        ]
        opened = []
        for row in self.find("series", of_series, _PAGE):
            facts, one = self._opened(row)
            # It may have been replaced by a file of another series, or of another patient.
            if (one.study, one.series, one.patient) == (study, series, row["PatientID"]):
                opened.append((facts, one))
        if opened:
            with self._lock:
                self._open[study, series] = opened
                while len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)  # closed when its last user lets it go
        return [one for _, one in opened]

    def known(self, study: str, series: str) -> list[OpenSeries] | None:
        """Return what `series` does if it is open already, and its files are those opened.

        This takes microseconds.
        """
        with self._lock:
            found = self._open.get((study, series))
            if found is None:
                return None
            self._open.move_to_end((study, series))
        try:
            if all(_facts_of(opened.source) == facts for facts, opened in found):
                return [opened for _, opened in found]
        except DicomCubeError:
            pass
        with self._lock:
            self._open.pop((study, series), None)
        return None

    def _opened(self, row: Mapping[str, Any]) -> tuple[Any, OpenSeries]:
        """Open a file of the catalogue; return what distinguishes it, too.

        Raises:
            CubeFileAccessError: it is replaced again and again.
        """
        source = row["file"] if self._place is None else self._place.locator(row["file"])
        for _ in range(_TRIES):
            facts = _facts_of(source)
            identity = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
            opened = OpenSeries(source, identity, self._kept)
            if _facts_of(source) == facts:
                return facts, opened
        raise CubeFileAccessError(f"{name_of_source(source)} changes while it is read")

    def path_of(self, name: str) -> str:
        """Return what stands for a file of the catalogue in URLs: no path of this machine."""
        if self._place is not None:
            return name
        return f"{self._names[name]}/{os.path.basename(without_credentials(name))}"

    def source_of(self, path: str) -> str | None:
        """Return the path or URL of the file that `path_of` gave a path; None if there is none."""
        if self._place is None:
            return next((name for name in self._names if self.path_of(name) == path), None)
        with self._lock:
            known = self._catalogue.summaries([path])
        return self._place.locator(path) if known else None

    def close(self) -> None:
        """Close the catalogue."""
        self._open.clear()
        self._catalogue.close()


def stored_at(sources: Sequence[str | os.PathLike[str]]) -> Stored:
    """Return what is to be served.

    Args:
        sources: one archive; or dicube files, their URLs, folders of them, and archives, which get
            a catalogue in memory.

    Raises:
        CubeFileNotFoundError: a source does not exist.
        DataConsistencyError: a folder has no dicube files.
        DicomCubeError: a file can't be read.
    """
    if len(sources) == 1 and not is_url(sources[0]):
        folder = os.path.abspath(sources[0])
        catalogue = os.path.join(folder, CATALOGUE)
        if os.path.isfile(catalogue):
            return Stored(Catalogue(catalogue), LocalPlace(folder))
    entries: list[CatalogueEntry] = []
    seen: set[tuple[Any, ...]] = set()
    for source in _files_in(sources):
        with DcbReader(source, num_threads=1) as reader:
            record = record_in(reader)
        key = *record.uids, record.patient["PatientID"] or record.patient["PatientName"]
        if key in seen:
            name = name_of_source(source)
            warnings.warn(f"{name}: its series is in another file, which is served", stacklevel=2)
            continue
        seen.add(key)
        entries.append(CatalogueEntry(source, record))
    catalogue_ = Catalogue(IN_MEMORY, create=True)
    with catalogue_.changes():
        for first in range(0, len(entries), _ENTRIES_AT_ONCE):
            catalogue_.put(entries[first : first + _ENTRIES_AT_ONCE])
    return Stored(catalogue_, None, [entry.file for entry in entries])


def _files_in(sources: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    for source in sources:
        path = os.fspath(source)
        if is_url(path):
            yield path
        elif os.path.isdir(path):
            found = sorted(
                str(file)
                for file in Path(os.path.abspath(path)).rglob("*")
                if is_dicube_name(file) and file.is_file() and file.name[0] != "."
            )
            if not found:
                raise DataConsistencyError(f"{path} has no dicube files")
            yield from found
        elif os.path.exists(path):
            yield os.path.abspath(path)
        else:
            raise CubeFileNotFoundError(f"{path} does not exist")


def _facts_of(source: str) -> tuple[Any, ...]:
    """Return what distinguishes a file from others, and from one that replaces it."""
    if is_url(source):
        return (source,)
    try:
        status = os.stat(source)
    except OSError as error:
        raise CubeFileNotFoundError(f"{source} does not exist") from error
    return source, status.st_ino, status.st_size, status.st_mtime_ns
