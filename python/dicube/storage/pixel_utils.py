"""Stored values and real values: which dtypes can be stored, and the rescale between the two.

Knows arrays and the pixel header; no file, no DICOM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.codecs.samples import SUPPORTED_DTYPES
from dicube.core.pixel_header import PixelDataHeader
from dicube.exceptions import DataConsistencyError
from dicube.storage.real_values import RealValues, real_dtype

# Integers up to this are exact in float32.
_EXACT_IN_FLOAT32 = 1 << 24


def stored_volume(array: Any) -> NDArray[Any]:
    """Return an array as the volume that a file holds, without copying it.

    Args:
        array: (slices, rows, columns), or (slices, rows, columns, 3) for colour, or
            (rows, columns) for a single slice; one of the dtypes that can be stored.

    Returns:
        A view of the array with three axes, or four for colour.

    Raises:
        DataConsistencyError: another dtype or shape, or no pixels.
    """
    if not isinstance(array, np.ndarray):
        raise DataConsistencyError(f"expected a numpy array, found {type(array).__name__}")
    if array.dtype.name not in SUPPORTED_DTYPES:
        raise DataConsistencyError(
            f"expected a dtype of {', '.join(SUPPORTED_DTYPES)}, found {array.dtype.name}"
        )
    volume = array[np.newaxis] if array.ndim == 2 else array
    if volume.ndim != 3 and not (volume.ndim == 4 and volume.shape[3] == 3):
        raise DataConsistencyError(
            "expected shape (slices, rows, columns) or (slices, rows, columns, 3), "
            f"found {array.shape}"
        )
    if not volume.size:
        raise DataConsistencyError(f"an array of shape {array.shape} has no pixels")
    return volume


def derive_pixel_header_from_array(
    array: NDArray[Any],
) -> tuple[NDArray[Any], PixelDataHeader]:
    """Return an array as it is stored, and the header of a volume without a rescale.

    Raises:
        DataConsistencyError: the array can't be stored; see `stored_volume`.
    """
    volume = stored_volume(array)
    name = volume.dtype.name
    return volume, PixelDataHeader(OriginalPixelDtype=name, PixelDtype=name)


def get_float_data(
    raw: NDArray[Any],
    header: PixelDataHeader,
    dtype: DTypeLike = "float32",
    *,
    slopes: Sequence[float] | None = None,
    intercepts: Sequence[float] | None = None,
    bits: Sequence[tuple[int, int] | None] | None = None,
) -> NDArray[Any]:
    """Return real values: stored value * slope + intercept, rounded once, at the end.

    Args:
        raw: stored values, (slices, rows, columns[, 3]).
        header: holds slope and intercept of all slices.
        dtype: float16, float32 or float64.
        slopes, intercepts: one for each slice, in place of the header's.
        bits: of each slice's words, how many are the value's and the lowest of them; None where
            the words are values.

    Returns:
        A new array of raw's shape: what float64 arithmetic gives, rounded to `dtype`.

    Raises:
        DataConsistencyError: another dtype, or slopes or intercepts that are not one for each
            slice.
    """
    real = RealValues(
        dtype,
        header.RescaleSlope if slopes is None else slopes,
        header.RescaleIntercept if intercepts is None else intercepts,
    )
    return compute_real_values(raw, real, bits)


def compute_real_values(
    raw: NDArray[Any],
    real: RealValues,
    bits: Sequence[tuple[int, int] | None] | None = None,
) -> NDArray[Any]:
    """Return real values of stored ones; see `get_float_data`."""
    target = real_dtype(real.dtype)
    by_slope, by_intercept = (numbers.tolist() for numbers in real.rescale_of(len(raw)))
    values = np.empty(raw.shape, target)
    # One slice at a time: what is between stored and real value stays in the processor's cache.
    wide = np.empty(raw.shape[1:], np.float64)
    with np.errstate(over="ignore"):  # float16 ends at 65504; beyond is infinity
        for index, (stored, value, slope, intercept) in enumerate(
            zip(raw, values, by_slope, by_intercept, strict=True)
        ):
            of_value = None if bits is None else bits[index]
            if of_value is not None:
                stored = value_of_words(stored, *of_value)
            if slope == 1.0 and intercept == 0.0:
                np.copyto(value, stored, casting="unsafe")
            elif _is_exact_in_float32(stored.dtype, slope, intercept) and target != np.float16:
                # Twice as fast as by float64, and nothing is rounded.
                np.multiply(stored, slope, out=value, dtype=target, casting="unsafe")
                value += intercept
            else:
                # Of float32 and float16 numpy would give the product in their own precision.
                np.multiply(stored, slope, out=wide, dtype=np.float64, casting="unsafe")
                np.add(wide, intercept, out=wide)
                np.copyto(value, wide, casting="unsafe")
    return values


def value_of_words(words: NDArray[Any], count: int, lowest: int) -> NDArray[Any]:
    """Return the values that bits `lowest` to `lowest + count - 1` of words hold, of their type."""
    width = words.dtype.itemsize * 8
    up = width - lowest - count
    return (words << up) >> (width - count)  # of signed types this extends the sign


def _is_exact_in_float32(dtype: np.dtype[Any], slope: float, intercept: float) -> bool:
    """Return whether float32 arithmetic rounds no result of a rescale of such stored values."""
    if dtype.kind not in "iu" or not (slope.is_integer() and intercept.is_integer()):
        return False
    bounds = np.iinfo(dtype)
    greatest = max(abs(int(bounds.min)), int(bounds.max))
    return greatest * abs(slope) + abs(intercept) <= _EXACT_IN_FLOAT32
