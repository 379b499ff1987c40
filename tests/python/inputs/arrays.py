"""What arrays and files the tests are parametrised by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Extensions of files that are lossless by default.
LOSSLESS = (".dcba", ".dcbs")

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")

SmoothVolume = Callable[..., NDArray[Any]]


def random_bits(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return samples of random bits: of floating-point types NaNs with payloads among them."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    values = np.frombuffer(np.random.default_rng(4).bytes(size), kind).reshape(shape).copy()
    if kind.kind == "f":
        bits = kind.itemsize * 8
        special = values.view(f"u{kind.itemsize}")
        infinity = int(np.array(np.inf, kind).view(f"u{kind.itemsize}"))
        for place, pattern in enumerate(
            (
                1 << (bits - 1),  # -0.0
                0,
                1,  # the smallest subnormal
                infinity,
                infinity | 1 << (bits - 1),
                infinity | 1,  # a signalling NaN
                (1 << bits) - 1,  # a NaN with all its payload
            )
        ):
            special.flat[place] = pattern
    else:
        limits = np.iinfo(kind)
        values.flat[:2] = limits.min, limits.max
    return values
