"""Convert dtype, shape and byte order of numpy arrays to libdicube's description of an image.

Knows no codec and no file.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.exceptions import DataConsistencyError, OutOfMemoryError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_SAMPLE_TYPES = {
    "uint8": _native.SAMPLE_UINT8,
    "int8": _native.SAMPLE_INT8,
    "uint16": _native.SAMPLE_UINT16,
    "int16": _native.SAMPLE_INT16,
    "uint32": _native.SAMPLE_UINT32,
    "int32": _native.SAMPLE_INT32,
    "uint64": _native.SAMPLE_UINT64,
    "int64": _native.SAMPLE_INT64,
    "float16": _native.SAMPLE_FLOAT16,
    "float32": _native.SAMPLE_FLOAT32,
    "float64": _native.SAMPLE_FLOAT64,
}
_DTYPES = {number: np.dtype(name) for name, number in _SAMPLE_TYPES.items()}

# numpy names of the dtypes that can be encoded, in either byte order.
SUPPORTED_DTYPES = tuple(_SAMPLE_TYPES)


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise unless arrays of a dtype can be encoded.

    Raises:
        DataConsistencyError: it isn't one of `SUPPORTED_DTYPES`.
    """
    if dtype.name not in SUPPORTED_DTYPES:
        raise DataConsistencyError(
            f"expected a dtype of {', '.join(SUPPORTED_DTYPES)}, found {dtype.name}"
        )


def new_array(shape: tuple[int, ...], dtype: DTypeLike, most: int | None = None) -> NDArray[Any]:
    """Return an uninitialised array to decode into.

    Args:
        shape, dtype: of the array, as a file declares them, which may be damaged or malicious.
        most: the most bytes that it may take; None for no limit.

    Raises:
        OutOfMemoryError: it needs more than `most` or the memory available.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    what = f"an array of {' x '.join(map(str, shape))} {np.dtype(dtype).name} takes {size} bytes"
    if most is not None and size > most:
        raise OutOfMemoryError(f"{what}, max_memory is {most}")
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):
        raise OutOfMemoryError(f"{what}, which is more than the memory available") from None


def image_of(frame_shape: tuple[int, ...], dtype: np.dtype[Any]) -> _native.Image:
    """Return libdicube's description of a frame.

    Args:
        frame_shape: (rows, columns), or (rows, columns, 3) for three interleaved samples per pixel.
        dtype: any of `SUPPORTED_DTYPES`, in either byte order.

    Raises:
        DataConsistencyError: a dtype or shape that can't be stored.
    """
    check_dtype(dtype)
    if len(frame_shape) == 2:
        samples = 1
    elif len(frame_shape) == 3 and frame_shape[2] in (1, 3):
        samples = frame_shape[2]
    else:
        raise DataConsistencyError(
            f"expected a frame of shape (rows, columns) or (rows, columns, 3), found {frame_shape}"
        )
    if 0 in frame_shape:
        raise DataConsistencyError(f"a frame of shape {frame_shape} has no pixels")
    return _native.Image(
        rows=frame_shape[0],
        columns=frame_shape[1],
        samples=samples,
        sample_type=_SAMPLE_TYPES[dtype.name],
        byte_order=_byte_order(dtype),
    )


def frame_shape_of(image: _native.Image) -> tuple[int, ...]:
    """Return the numpy shape of a frame: (rows, columns), or (rows, columns, samples)."""
    shape = (int(image.rows), int(image.columns))
    return shape if image.samples == 1 else (*shape, int(image.samples))


def dtype_of(image: _native.Image) -> np.dtype[Any]:
    """Return the numpy dtype of decoded samples, which are in native byte order."""
    return _DTYPES[image.sample_type]


def sample_type_of(dtype: np.dtype[Any]) -> int:
    """Return libdicube's number for a dtype of `SUPPORTED_DTYPES`."""
    return _SAMPLE_TYPES[dtype.name]


def _byte_order(dtype: np.dtype[Any]) -> int:
    """Return libdicube's number for the byte order of a dtype."""
    order = dtype.byteorder
    if order == "=" or order == "|":
        return _native.BYTE_ORDER_NATIVE
    if order == ("<" if sys.byteorder == "little" else ">"):
        return _native.BYTE_ORDER_NATIVE
    return _native.BYTE_ORDER_BIG if order == ">" else _native.BYTE_ORDER_LITTLE
