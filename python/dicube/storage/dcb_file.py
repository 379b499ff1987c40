"""DcbFile and its kinds, where the published package has them; they are in `core.dcb_files`."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("DcbFile", "DcbSFile", "DcbAFile", "DcbLFile"):
        return getattr(import_module("dicube.core.dcb_files"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
