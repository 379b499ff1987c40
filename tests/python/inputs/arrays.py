"""What arrays and files the tests are parametrised by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

# Extensions of files that are lossless by default.
LOSSLESS = (".dcba", ".dcbs")

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")

SmoothVolume = Callable[..., NDArray[Any]]
