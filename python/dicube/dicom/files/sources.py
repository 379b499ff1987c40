"""What a series may be read from: folders, files, zip archives, datasets in memory.

Lists what is there, without knowing what is DICOM. Members of an archive are unpacked as they are
read, never onto the disk. Must not know elements, series or pixels.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase, FileIO
from typing import IO, BinaryIO, TypeAlias

from pydicom.dataset import Dataset

from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError, DataConsistencyError

Path: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Path | Dataset | Iterable[Path | Dataset]"
"""A folder, a DICOM file, a zip archive, a pydicom dataset, or several of them."""

Opened: TypeAlias = "BinaryIO | FileIO"

# An archive that claims to unpack to more than so many times its size is made to do harm; a series
# with nothing but background in it stays below. Small ones may.
_GREATEST_EXPANSION = 200
_SMALL_ARCHIVE = 1 << 30

_CHUNK = 1 << 20

# Folders at the root of a disk, which nobody else may list.
_OF_THE_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class FileOnDisk:
    """A file.

    Attributes:
        name: its path.
    """

    name: str

    def open(self) -> Opened:
        """Open the file, unbuffered."""
        return open(self.name, "rb", buffering=0)

    def open_buffered(self) -> BinaryIO:
        """Open the file for many small reads."""
        return open(self.name, "rb")

    def size(self, file: Opened) -> int:
        """Return the bytes of the file, which is open."""
        return os.fstat(file.fileno()).st_size


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip archive.

    Attributes:
        name: the archive's path and its path in there.
        archive: the archive.
        info: what the archive says of it.
    """

    name: str
    archive: _Archive
    info: zipfile.ZipInfo

    def open(self) -> BinaryIO:
        """Open the member, whose bytes are then unpacked as they are read."""
        return self.archive.open(self.info)

    def open_buffered(self) -> BinaryIO:
        """Open the member: it is buffered anyway."""
        return self.open()

    def size(self, _file: Opened) -> int:
        """Return the bytes of the member, unpacked; it doesn't give more."""
        return self.info.file_size


@dataclass(frozen=True)
class DatasetInMemory:
    """A pydicom dataset.

    Attributes:
        name: the file that it was read from, or its place among those given.
        dataset: the dataset.
    """

    name: str
    dataset: Dataset


File: TypeAlias = "FileOnDisk | ZipMember"


def files_of(source: Source) -> list[File | DatasetInMemory]:
    """Return the files that there are, hidden ones left out; those of a folder in natural order.

    Raises:
        CubeFileNotFoundError: a path does not exist.
        CubeFileAccessError: an archive or a folder can't be read.
        DataConsistencyError: an archive is damaged, or unpacks to absurdly much.
    """
    several = [source] if isinstance(source, (str, os.PathLike, Dataset)) else list(source)
    found: list[File | DatasetInMemory] = []
    for number, one in enumerate(several):
        if isinstance(one, Dataset):
            name = getattr(one, "filename", None)
            known = isinstance(name, (str, os.PathLike)) and os.fspath(name)
            found.append(DatasetInMemory(known or f"dataset {number}", one))
        else:
            found += _files_at(os.fspath(one))
    return found


def name_of(source: Source) -> str:
    """Return how to call a source in a message."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "what was given"


def _files_at(path: str) -> Iterator[File]:
    if not os.path.exists(path):
        raise CubeFileNotFoundError(f"{path} does not exist")
    if os.path.isdir(path):
        yield from map(FileOnDisk, _files_below(path))
    elif _is_archive(path):
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


def _is_archive(path: str) -> bool:
    """Return whether a file is a zip archive; a DICOM file starts with a preamble of any kind."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
    if start[128:] == b"DICM":
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
            f"{path} claims to unpack to {total} bytes, {total // max(packed, 1)} times its size"
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
    """A zip archive, open as long as one of its members may be asked for; used by many threads."""

    def __init__(self, path: str) -> None:
        # Opened here: of a file that it opened itself, ZipFile counts the users, unsafely.
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def infos(self) -> list[zipfile.ZipInfo]:
        """Return what the archive says of its members."""
        return self._archive.infolist()

    def open(self, info: zipfile.ZipInfo) -> BinaryIO:
        """Open a member."""
        member = self._archive.open(info)
        stored = info.compress_type == zipfile.ZIP_STORED
        return _Stored(member, info.file_size) if stored else member  # type: ignore[return-value]

    def __del__(self) -> None:
        self._file.close()


class _Stored(BufferedIOBase):
    """A member that isn't compressed, where seeking ahead is reading as in one that is.

    CPython goes ahead there without reading, from 3.12 on: from where another reader has left the
    archive, whose bytes it then gives (seen in 3.12.1 and 3.13.0); it omits the checksum, too.
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
