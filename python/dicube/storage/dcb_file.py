"""Reader and writer of dicube files, and DcbFile, where the published package has them.

Other rooms take them from where they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dicube.storage.dcb_reader import DcbReader, Sections
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import FORMATS, codec_of_path, extension_of
from dicube.storage.progress import Progress

__all__ = [
    "FORMATS",
    "DcbReader",
    "DcbWriter",
    "Progress",
    "Sections",
    "codec_of_path",
    "extension_of",
]

_FACES = ("DcbFile", "DcbSFile", "DcbAFile", "DcbLFile")


def __getattr__(name: str) -> Any:
    if name in _FACES:
        return getattr(import_module("dicube.core.dcb_files"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
