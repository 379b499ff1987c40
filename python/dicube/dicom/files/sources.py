"""Lists the files to read a series from: in folders, DICOMDIRs and archives, or in memory.

Doesn't decide which of them are DICOM. Must not know elements, series or pixels.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError
from dicube.regular_files import open_regular, open_unbuffered

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicube.dicom.files.archives import ZipMember
    from dicube.dicom.files.file_in_parts import FileInParts

Path: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Path | Dataset | Iterable[Path | Dataset | File]"
"""A folder, a DICOM file, a DICOMDIR, a zip archive, a pydicom dataset, or several of them."""

SEVERAL_SOURCES = "the given sources"
"""What messages call several sources."""

Opened: TypeAlias = "BinaryIO | FileIO"

LEADS_NOWHERE = "a link that leads to no file"
NO_FILE = "no regular file"

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

    @property
    def packed_size(self) -> int:
        """The number of bytes that the file takes on disk."""
        return os.path.getsize(self.name)

    def open(self) -> Opened:
        """Open the file, unbuffered."""
        return open_unbuffered(self.name)

    def open_buffered(self) -> BinaryIO:
        """Open the file for many small reads."""
        return open_regular(self.name)

    def size(self, file: Opened) -> int:
        """Return the size of the file in bytes, given the open file."""
        return os.fstat(file.fileno()).st_size


@dataclass(frozen=True)
class DatasetInMemory:
    """A pydicom dataset.

    Attributes:
        name: the file that it was read from, or its number among the datasets given.
        dataset: the dataset.
    """

    name: str
    dataset: Dataset


File: TypeAlias = "FileOnDisk | ZipMember | FileInParts"

Refuse: TypeAlias = "Callable[[str, CubeFileAccessError], None]"
"""Takes a folder that can't be listed, and the error; raises it, or keeps it to go on."""


def _raise(_folder: str, error: CubeFileAccessError) -> None:
    raise error


def files_of(
    source: Source, refuse: Refuse = _raise, passed_over: dict[str, str] | None = None
) -> list[File | DatasetInMemory]:
    """Return the files and datasets of a source.

    Hidden files, and folders of the system such as lost+found, are left out. The files of a folder,
    a DICOMDIR or an archive are in natural order (I9 before I10). A DICOMDIR in a folder is a file
    like any other.

    Args:
        source: the source.
        refuse: called for each folder below it that can't be listed; raises by default.
        passed_over: gets what is neither a file nor a folder, such as pipes, and links to folders,
            which are not followed as they may lead round in circles: why, by path. None to warn of
            links.

    Raises:
        CubeFileNotFoundError: a path does not exist, or no file that a DICOMDIR names.
        CubeFileAccessError: an archive or a folder can't be read.
        DataConsistencyError: an archive is damaged, or unpacks to far more than its size; or a
            DICOMDIR names no files, or files elsewhere.
        MetaDataError: a DICOMDIR is damaged.

    Warns:
        UserWarning: files that a DICOMDIR names are missing; or links are passed over.
    """
    from pydicom.dataset import Dataset

    from dicube.dicom.files.archives import ZipMember
    from dicube.dicom.files.file_in_parts import FileInParts

    several = [source] if isinstance(source, (str, os.PathLike, Dataset)) else list(source)
    found: list[File | DatasetInMemory] = []
    strange: dict[str, str] = {} if passed_over is None else passed_over
    for number, one in enumerate(several):
        if isinstance(one, Dataset):
            name = getattr(one, "filename", None)
            known = isinstance(name, (str, os.PathLike)) and os.fspath(name)
            found.append(DatasetInMemory(known or f"dataset {number}", one))
        elif isinstance(one, (FileOnDisk, ZipMember, FileInParts)):
            found.append(one)
        else:
            found += _files_at(os.fspath(one), refuse, strange)
    links = [f"{path}, {why}" for path, why in strange.items() if why != NO_FILE]
    if links and passed_over is None:
        more = f", and {len(links) - 1} more links are" if links[1:] else " is"
        warnings.warn(f"{links[0]}{more} passed over", stacklevel=2)
    return found


def is_dicube(file: File) -> bool:
    """Return whether a file begins as dicube files do.

    Raises:
        CubeFileAccessError: the operating system refuses to read it.
    """
    try:
        with file.open() as opened:
            return (opened.read(len(_DICUBE_MAGIC)) or b"") == _DICUBE_MAGIC
    except OSError as error:
        raise CubeFileAccessError(f"can't read {file.name}: {error.strerror}") from error


def name_of(source: Source) -> str:
    """Return the name of a source for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return SEVERAL_SOURCES


def _files_at(path: str, refuse: Refuse, passed_over: dict[str, str]) -> Iterator[File]:
    from dicube.dicom.files.archives import members_of
    from dicube.dicom.files.dicomdir import is_dicomdir, named_files

    if not os.path.exists(path):
        raise CubeFileNotFoundError(f"{path} does not exist")
    if os.path.isdir(path):
        yield from map(FileOnDisk, _files_below(path, refuse, passed_over))
        return
    if is_dicomdir(start_of(path)):
        yield from map(FileOnDisk, sorted(named_files(path), key=_natural))
    elif is_archive(path):
        yield from sorted(members_of(path), key=lambda member: _natural(member.info.filename))
    else:
        yield FileOnDisk(path)


def _files_below(root: str, refuse: Refuse, passed_over: dict[str, str]) -> list[str]:
    """Return the regular files below a folder; folders may be nested as deep as paths can be."""
    found, folders = [], [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _OF_THE_SYSTEM:
                            folders.append(entry.path)
                    elif os.path.isfile(entry.path):  # links may lead to one
                        found.append(entry.path)
                    else:
                        passed_over[entry.path] = _kind_of(entry)
        except OSError as error:
            refused = CubeFileAccessError(f"can't read {folder}: {error.strerror}")
            if folder == root:
                raise refused from error
            refuse(folder, refused)
    return sorted(found, key=_natural)


def _kind_of(entry: os.DirEntry[str]) -> str:
    if os.path.isdir(entry.path):
        return "a link to a folder"
    return NO_FILE if os.path.exists(entry.path) else LEADS_NOWHERE


def start_of(path: str) -> bytes:
    """Return the first 512 bytes of a file.

    Raises:
        CubeFileAccessError: it is not a regular file, or the operating system refuses to read it.
    """
    try:
        with open_unbuffered(path) as file:
            return file.read(512) or b""
    except OSError as error:
        raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error


def is_tree(path: Path) -> bool:
    """Return whether a path is a folder, a zip archive or a DICOM file (PS3.10 7.1)."""
    if not os.path.isfile(path):
        return os.path.isdir(path)
    path = os.fspath(path)
    return start_of(path)[128:132] == b"DICM" or is_archive(path)


def is_archive(path: str) -> bool:
    """Return whether a file is a zip archive.

    A DICOM file isn't one, even if its preamble, which may hold anything, looks like one.

    Raises:
        CubeFileAccessError: see `start_of`.
    """
    start = start_of(path)
    if start[128:132] == b"DICM":
        return False
    return start.startswith(_ZIP_MAGIC) or path.lower().endswith(".zip")


def _natural(path: str) -> str:
    """Return a key that sorts I9 before I10.

    Numbers are compared as text without leading zeros, the longer one as the greater: they may have
    thousands of digits. The key is one text, because trees may have millions of files.
    """
    parts = re.split(r"([0-9]+)", path)
    for index in range(1, len(parts), 2):
        digits = parts[index].lstrip("0")
        parts[index] = f"{chr(len(digits))}{digits}\0{parts[index]}"
    return "\0".join(parts)
