"""One record for each kind of dicube file: its extension, its codec, and what it may lose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from dicube import _native
from dicube.codecs.records import JPH, JXL, CodecRecord
from dicube.exceptions import DataConsistencyError

Path_ = str | os.PathLike[str]


class FileKind(NamedTuple):
    """A kind of file.

    Attributes:
        extension: of its names.
        number: in libdicube.
        magic: the first bytes of its files.
        codec: of its frames.
        loss: whether its frames may be lossy.
        has_masks: whether it stores a region of interest.
    """

    extension: str
    number: int
    magic: bytes
    codec: CodecRecord
    loss: Literal["never", "if asked", "always"] = "never"
    has_masks: bool = False


SPEED = FileKind(".dcbs", _native.KIND_SPEED, b"DCMCUBES", JPH)
ARCHIVE = FileKind(".dcba", _native.KIND_ARCHIVE, b"DCMCUBEA", JXL, "if asked")
LOSSY = FileKind(".dcbl", _native.KIND_LOSSY, b"DCMCUBEL", JXL, "always")
ROI = FileKind(".dcbr", _native.KIND_ROI, b"DCMCUBER", JXL, "always", has_masks=True)

KINDS = (SPEED, ARCHIVE, LOSSY, ROI)

# The name of the codec of a file's frames, by the file's extension.
FORMATS = {kind.extension: kind.codec.name for kind in KINDS}

EXTENSIONS = tuple(FORMATS)

KIND_OF_NUMBER = {kind.number: kind for kind in KINDS}
_KIND_OF_EXTENSION = {kind.extension: kind for kind in KINDS}


def extension_of(path: Path_) -> str:
    """Return the extension of a path, in lower case."""
    return Path(path).suffix.lower()


def is_dicube_name(name: Path_) -> bool:
    """Return whether a path ends as those of dicube files do."""
    return extension_of(name) in FORMATS


def kind_of_path(path: Path_) -> FileKind:
    """Return the kind of file that a path's extension stands for.

    Raises:
        DataConsistencyError: the extension is not one of `FORMATS`.
    """
    extension = extension_of(path)
    if not is_dicube_name(path):
        raise DataConsistencyError(
            f"{os.fspath(path)}: expected a name ending in {' or '.join(FORMATS)}, "
            f"found {extension or 'no extension'}"
        )
    return _KIND_OF_EXTENSION[extension]


def codec_of_path(path: Path_) -> str:
    """Return the name of the codec that a file's extension stands for.

    Raises:
        DataConsistencyError: the extension is not one of `FORMATS`.
    """
    return kind_of_path(path).codec.name


def kind_number(name: str, codec: str) -> int:
    """Return libdicube's number of the kind that a name or an extension stands for.

    It is 0, for the codec's default kind, if they stand for none or for one of another codec.
    """
    extension = extension_of("x" + name if name.startswith(".") else name)
    kind = _KIND_OF_EXTENSION.get(extension)
    return kind.number if kind is not None and kind.codec.name == codec else 0


def library_version() -> str:
    """Return the version of libdicube, which is that of the package."""
    return _native.version()
