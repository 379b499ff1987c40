"""What the extensions of dicube files stand for: kinds of files, and the codec of their frames."""

from __future__ import annotations

import os
from pathlib import Path

from dicube import _native
from dicube.codecs import get_codec
from dicube.exceptions import DataConsistencyError

Path_ = str | os.PathLike[str]

# The codec of the frames in a file, by the file's extension.
FORMATS = {".dcbs": "jph", ".dcba": "jxl", ".dcbl": "jxl", ".dcbr": "jxl"}

EXTENSIONS = {
    _native.KIND_ARCHIVE: ".dcba",
    _native.KIND_LOSSY: ".dcbl",
    _native.KIND_ROI: ".dcbr",
    _native.KIND_SPEED: ".dcbs",
}
_KINDS = {extension: kind for kind, extension in EXTENSIONS.items()}


def extension_of(path: Path_) -> str:
    """Return the extension that tells the format of a file, in lower case."""
    return Path(path).suffix.lower()


def codec_of_path(path: Path_) -> str:
    """Return the name of the codec that a file's extension stands for.

    Raises:
        DataConsistencyError: the extension is not one of `FORMATS`.
    """
    extension = extension_of(path)
    if extension not in FORMATS:
        raise DataConsistencyError(
            f"{os.fspath(path)}: expected a name ending in {' or '.join(FORMATS)}, "
            f"found {extension or 'no extension'}"
        )
    return FORMATS[extension]


def codec_name(number: int) -> str:
    """Return the name of the codec of this number."""
    names = {get_codec(name).id: name for name in FORMATS.values()}
    return names[number]


def kind_of(name: str, codec: str) -> int:
    """Return the kind of file that a name or extension stands for; 0 for the codec's default."""
    extension = extension_of("x" + name if name.startswith(".") else name)
    return _KINDS[extension] if FORMATS.get(extension) == codec else 0
