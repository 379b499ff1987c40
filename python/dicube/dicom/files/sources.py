"""Lists the files to read a series from: in folders, DICOMDIRs and archives, or in memory.

Doesn't decide which of them are DICOM. Members of an archive are unpacked while they are read and
never written to disk. Must not know elements, series or pixels.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase, FileIO
from typing import IO, Any, BinaryIO, TypeAlias

from pydicom.dataset import Dataset

from dicube.dicom.files.dicomdir import is_dicomdir, named_files
from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError, DataConsistencyError

Path: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Path | Dataset | Iterable[Path | Dataset | File]"
"""A folder, a DICOM file, a DICOMDIR, a zip archive, a pydicom dataset, or several of them."""

Opened: TypeAlias = "BinaryIO | FileIO"

# An archive that unpacks to more than this many times its size is refused as a zip bomb, unless it
# unpacks to little. A series of images that are all background stays below.
_GREATEST_EXPANSION = 200
_SMALL_ARCHIVE = 1 << 30

_CHUNK = 1 << 20

# Folders at the root of a disk that only the system may list.
_OF_THE_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
_DICUBE_MAGIC = b"DCMCUBE"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class FileOnDisk:
    """A file on disk.

    Attributes:
        name: its path.
    """

    name: str

    @property
    def container(self) -> str:
        """The path of the file on disk that holds the bytes."""
        return self.name

    def open(self) -> Opened:
        """Open the file, unbuffered."""
        return open(self.name, "rb", buffering=0)

    def open_buffered(self) -> BinaryIO:
        """Open the file for many small reads."""
        return open(self.name, "rb")

    def size(self, file: Opened) -> int:
        """Return the size of the file in bytes, given the open file."""
        return os.fstat(file.fileno()).st_size


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip archive.

    Attributes:
        name: path of the archive, followed by the path in the archive.
        archive: the archive.
        info: its entry in the archive's directory.
    """

    name: str
    archive: _Archive
    info: zipfile.ZipInfo

    @property
    def container(self) -> str:
        """The path of the file on disk that holds the bytes."""
        return self.archive.path

    def open(self) -> BinaryIO:
        """Open the member; its bytes are unpacked while they are read."""
        return self.archive.open(self.info)

    def open_buffered(self) -> BinaryIO:
        """Open the member, which is always buffered."""
        return self.open()

    def size(self, _file: Opened) -> int:
        """Return the unpacked size of the member in bytes; reading never returns more."""
        return self.info.file_size


@dataclass(frozen=True)
class DatasetInMemory:
    """A pydicom dataset.

    Attributes:
        name: the file that it was read from, or its number among the datasets given.
        dataset: the dataset.
    """

    name: str
    dataset: Dataset


File: TypeAlias = "FileOnDisk | ZipMember"


def files_of(source: Source) -> list[File | DatasetInMemory]:
    """Return the files and datasets of a source.

    Hidden files are left out. The files of a folder, a DICOMDIR or an archive are in natural order
    (I9 before I10). A DICOMDIR in a folder is a file like any other.

    Raises:
        CubeFileNotFoundError: a path does not exist, or no file that a DICOMDIR names.
        CubeFileAccessError: an archive or a folder can't be read.
        DataConsistencyError: an archive is damaged, or unpacks to far more than its size; or a
            DICOMDIR names no files, or files elsewhere.
        MetaDataError: a DICOMDIR is damaged.

    Warns:
        UserWarning: files that a DICOMDIR names are missing.
    """
    several = [source] if isinstance(source, (str, os.PathLike, Dataset)) else list(source)
    found: list[File | DatasetInMemory] = []
    for number, one in enumerate(several):
        if isinstance(one, Dataset):
            name = getattr(one, "filename", None)
            known = isinstance(name, (str, os.PathLike)) and os.fspath(name)
            found.append(DatasetInMemory(known or f"dataset {number}", one))
        elif isinstance(one, (FileOnDisk, ZipMember)):
            found.append(one)
        else:
            found += _files_at(os.fspath(one))
    return found


def is_dicube(file: File) -> bool:
    """Return whether a file begins as dicube files do."""
    with file.open() as opened:
        return (opened.read(len(_DICUBE_MAGIC)) or b"") == _DICUBE_MAGIC


def name_of(source: Source) -> str:
    """Return the name of a source for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "the given sources"


def _files_at(path: str) -> Iterator[File]:
    if not os.path.exists(path):
        raise CubeFileNotFoundError(f"{path} does not exist")
    if os.path.isdir(path):
        yield from map(FileOnDisk, _files_below(path))
        return
    if is_dicomdir(_start_of(path)):
        yield from map(FileOnDisk, sorted(named_files(path), key=_natural))
    elif is_archive(path):
        yield from _members(path)
    else:
        yield FileOnDisk(path)


def _files_below(root: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise CubeFileAccessError(f"can't read {error.filename}: {error.strerror}") from error

    found = []
    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [n for n in folders if not n.startswith(".") and n not in _OF_THE_SYSTEM]
        visible = (os.path.join(folder, name) for name in names if not name.startswith("."))
        found += [path for path in visible if os.path.isfile(path)]
    return sorted(found, key=_natural)


def _start_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(512)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error


def is_archive(path: str) -> bool:
    """Return whether a file is a zip archive.

    A DICOM file isn't one, even if its preamble, which may hold anything, looks like one.
    """
    start = _start_of(path)
    if start[128:132] == b"DICM":
        return False
    return start.startswith(_ZIP_MAGIC) or path.lower().endswith(".zip")


def _members(path: str) -> Iterator[File]:
    try:
        archive = _Archive(path)
    except zipfile.BadZipFile as error:
        raise DataConsistencyError(f"{path} is a damaged zip archive: {error}") from None
    visible = [info for info in archive.infos() if not info.is_dir() and not _is_hidden(info)]
    total = sum(info.file_size for info in visible)
    packed = os.path.getsize(path)
    if total > max(_SMALL_ARCHIVE, _GREATEST_EXPANSION * packed):
        raise DataConsistencyError(
            f"{path}: expected an archive that unpacks to at most {_GREATEST_EXPANSION} times its "
            f"size, found {total} bytes, which is {total // max(packed, 1)} times"
        )
    for info in sorted(visible, key=lambda info: _natural(info.filename)):
        yield ZipMember(os.path.join(path, info.filename), archive, info)


def _is_hidden(info: zipfile.ZipInfo) -> bool:
    parts = info.filename.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a key that sorts I9 before I10."""
    parts = re.split(r"(\d+)", path)
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]


class _Archive:
    """A zip archive that many threads read; open as long as one of its members is referenced."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        # If ZipFile opens the file itself, it counts its users in a way that isn't thread-safe.
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return _Archive, (self.path,)

    def infos(self) -> list[zipfile.ZipInfo]:
        """Return the archive's directory."""
        return self._archive.infolist()

    def open(self, info: zipfile.ZipInfo) -> BinaryIO:
        """Open a member."""
        member = self._archive.open(info)
        stored = info.compress_type == zipfile.ZIP_STORED
        return _Stored(member, info.file_size) if stored else member  # type: ignore[return-value]

    def __del__(self) -> None:
        self._file.close()


class _Stored(BufferedIOBase):
    """An uncompressed member that seeks forward by reading, as compressed members do.

    Since 3.12, CPython seeks in the archive instead, relative to wherever another thread has left
    it, and then returns wrong bytes (seen in 3.12.1 and 3.13.0); it also skips the checksum.
    """

    def __init__(self, member: IO[bytes], size: int) -> None:
        self._member = member
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return self._member.read(-1 if size is None else size)

    def tell(self) -> int:
        return self._member.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        offset += {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        if offset < self.tell():
            self._member.seek(0)
        while (ahead := offset - self.tell()) > 0 and self._member.read(min(ahead, _CHUNK)):
            pass
        return self.tell()

    def close(self) -> None:
        self._member.close()
        super().close()
