"""DcbStreamingReader, where the published package has it; it lives above, as it knows files."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "DcbStreamingReader":
        return import_module("dicube.core.streaming").DcbStreamingReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
