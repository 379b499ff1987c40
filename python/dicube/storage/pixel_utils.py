"""Convert between stored values and real values, and choose dtypes that can be stored.

Knows arrays and the pixel header; no file, no DICOM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.codecs.samples import check_dtype
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.real_values import RealValues, real_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

# float32 represents all integers up to this exactly.
_EXACT_IN_FLOAT32 = 1 << 24
_EXACT_IN_FLOAT64 = 1 << 53


def stored_volume(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as the volume that a file stores, without copying it.

    Args:
        array: (slices, rows, columns), or (slices, rows, columns, 3) for colour, or
            (rows, columns) for a single slice; of a dtype that can be stored.

    Returns:
        A view of the array with three axes, or four for colour.

    Raises:
        DataConsistencyError: another dtype or shape, or no pixels.
    """
    _check_storable(array)
    volume = array[np.newaxis] if array.ndim == 2 else array
    if volume.ndim != 3 and not (volume.ndim == 4 and volume.shape[3] == 3):
        raise DataConsistencyError(
            "expected shape (slices, rows, columns) or (slices, rows, columns, 3), "
            f"found {array.shape}"
        )
    return volume


def float_for(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the smaller one of float32 and float64 that holds all values of a type.

    float64 for 64-bit integers, too, of which it holds only some: see `check_floats_hold`.
    """
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def check_floats_hold(values: NDArray[Any]) -> None:
    """Raise unless floats can hold these values exactly.

    Raises:
        DataConsistencyError: there are integers beyond those that float64 holds.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize > 4:
        least, most = int(values.min()), int(values.max())
        if least < -_EXACT_IN_FLOAT64 or most > _EXACT_IN_FLOAT64:
            raise DataConsistencyError(
                f"no float holds all of these {values.dtype.name} values, {least} to {most}"
            )


def checksum_of(data: bytes) -> int:
    """Return the 64-bit checksum of bytes that dicube files use."""
    samples = np.frombuffer(data, np.uint8)
    return _native.checksum(samples.ctypes.data, samples.nbytes)


def frame_checksums(volume: NDArray[Any]) -> list[int]:
    """Return a 64-bit checksum of each frame's values, which doesn't depend on byte order."""
    checksums = []
    for frame in volume:
        samples = np.ascontiguousarray(frame, volume.dtype.newbyteorder("="))
        checksums.append(_native.checksum(samples.ctypes.data, samples.nbytes))
    return checksums


def derive_pixel_header_from_array(
    image: NDArray[Any],
    preferred_dtype: str | None = None,
    support_negative: bool = True,
) -> tuple[NDArray[Any], PixelDataHeader]:
    """Return the stored values for an array, and the header that maps them to its values.

    Integers are stored unchanged. Floating-point arrays whose values are all whole become the
    smallest integers that hold them; others are stored unchanged, unless `preferred_dtype` is
    given.

    Args:
        image: of any shape, of a dtype that can be stored.
        preferred_dtype: 'uint8' or 'uint16', to quantise other floating-point values to 256 or
            65536 steps from minimum to maximum; slope and intercept of the header undo that, to
            within half a step.
        support_negative: if False, the minimum is subtracted from signed integers, which are stored
            as unsigned ones of the same width; it becomes the header's intercept.

    Returns:
        The stored values, of the given shape (not copied if unchanged), and the header.

    Raises:
        DataConsistencyError: another dtype, no pixels, or values to quantise that aren't finite.
        ValueError: another `preferred_dtype`.

    Example:
        >>> from dicube.storage import derive_pixel_header_from_array
        >>> stored, header = derive_pixel_header_from_array(np.array([[0.0, 300.0]]))
        >>> stored.dtype.name, header.OriginalPixelDtype
        ('uint16', 'float64')
    """
    _check_storable(image)
    stored, slope, intercept = image, 1.0, 0.0
    bounds: dict[str, Any] = {}
    if image.dtype.kind == "i" and not support_negative:
        lowest = int(image.min())
        # In two's complement the unsigned difference is right even where a signed one overflows.
        unsigned = np.dtype(f"u{image.dtype.itemsize}")
        native = image.astype(image.dtype.newbyteorder("="), copy=False).view(unsigned)
        stored, intercept = native - np.array(lowest, image.dtype.name).view(unsigned), lowest
    elif image.dtype.kind == "f":
        whole = _as_whole(image)
        if whole is not None:
            stored = whole
        elif preferred_dtype is not None:
            if preferred_dtype not in ("uint8", "uint16"):
                raise ValueError(f"expected preferred_dtype uint8 or uint16, not {preferred_dtype}")
            low, high = float(image.min()), float(image.max())
            if not np.isfinite(high - low):
                raise DataConsistencyError(f"can't round {low:g} to {high:g} to {preferred_dtype}")
            slope = (high - low) / np.iinfo(preferred_dtype).max or 1.0
            intercept, bounds = low, {"MaxVal": high, "MinVal": low}
            steps = np.rint((image.astype(np.float64) - low) / slope)
            stored = steps.astype(preferred_dtype)
    header = PixelDataHeader(
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        OriginalPixelDtype=image.dtype.name,
        PixelDtype=stored.dtype.name,
        **bounds,
    )
    return stored, header


def is_lossless_int_convertible(arr: NDArray[Any]) -> bool:
    """Return whether all values are whole numbers that fit in int64."""
    with np.errstate(invalid="ignore"):  # a value that doesn't fit becomes another one
        return bool(np.all(arr == arr.astype(np.int64)))


def convert_to_minimal_int(arr: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return whole numbers in the smallest integer dtype that holds them, and its name.

    Unsigned of 8, 16 or 32 bits if no value is negative, else signed.

    Raises:
        ValueError: the values need more than 32 bits.
    """
    low, high = int(arr.min()), int(arr.max())
    dtype = _smallest_int(low, high, signed=low < 0)
    if dtype is None:
        raise ValueError(f"values from {low} to {high} don't fit in 32-bit integers")
    return arr.astype(dtype), dtype.name


def determine_optimal_nifti_dtype(
    image: NDArray[Any], pixel_header: PixelDataHeader
) -> tuple[NDArray[Any], str]:
    """Return real values in the smallest exact dtype, if there is one, and the dtype's name.

    Args:
        image: stored values.
        pixel_header: slope and intercept. If they and the stored values are whole, the result is
            integers of at most 32 bits, signed if the source's dtype is or a value is negative.

    Returns:
        Integers; else float64 if the stored values are float64 or the real values whole, else
        float32.
    """
    slope, intercept = float(pixel_header.RescaleSlope), float(pixel_header.RescaleIntercept)
    whole = image.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    if whole:
        ends = [int(end) * int(slope) + int(intercept) for end in (image.min(), image.max())]
        signed = min(ends) < 0 or pixel_header.OriginalPixelDtype.startswith("int")
        dtype = _smallest_int(min(ends), max(ends), signed)
        if dtype is not None:
            # Intermediate results may wrap around at 64 bits; the final ones fit in 32.
            return (image.astype(np.int64) * int(slope) + int(intercept)).astype(dtype), dtype.name
    name = "float64" if whole or image.dtype.name == "float64" else "float32"
    return get_float_data(image, pixel_header, name), name


def get_float_data(
    raw_image: NDArray[Any],
    pixel_header: PixelDataHeader,
    dtype: DTypeLike = "float32",
    *,
    slopes: Sequence[float] | None = None,
    intercepts: Sequence[float] | None = None,
    bits: Sequence[tuple[int, int] | None] | None = None,
) -> NDArray[Any]:
    """Return real values: stored value * slope + intercept, rounded once, at the end.

    Args:
        raw_image: stored values, (slices, rows, columns[, 3]).
        pixel_header: slope and intercept for all slices.
        dtype: float16, float32 or float64.
        slopes, intercepts: one for each slice, instead of the header's.
        bits: for each slice, the number of bits in a word that hold the value, and the lowest of
            them; None for slices whose words are the values.

    Returns:
        A new array of that shape: the result of float64 arithmetic, rounded to `dtype`.

    Raises:
        DataConsistencyError: another dtype, or not one slope or intercept for each slice.

    Example:
        >>> from dicube.storage import get_float_data
        >>> header = dicube.PixelDataHeader(RescaleSlope=2.0, RescaleIntercept=-1024.0)
        >>> get_float_data(np.array([[[0, 512]]], np.uint16), header).tolist()
        [[[-1024.0, 0.0]]]
    """
    real = RealValues(
        dtype,
        pixel_header.RescaleSlope if slopes is None else slopes,
        pixel_header.RescaleIntercept if intercepts is None else intercepts,
        bits,
    )
    return compute_real_values(raw_image, real)


def compute_real_values(raw_image: NDArray[Any], real: RealValues) -> NDArray[Any]:
    """Return real values of stored ones; see `get_float_data`."""
    target = real_dtype(real.dtype)
    by_slope, by_intercept = (numbers.tolist() for numbers in real.rescale_of(len(raw_image)))
    values = np.empty(raw_image.shape, target)
    # Slice by slice, so that intermediate values stay in the processor's cache.
    wide = np.empty(raw_image.shape[1:], np.float64)
    with np.errstate(over="ignore"):  # float16 values above 65504 become infinity
        for index, (slope, intercept) in enumerate(zip(by_slope, by_intercept, strict=True)):
            stored, value = raw_image[index, ...], values[index, ...]
            of_value = None if real.bits is None else real.bits[index]
            if of_value is not None:
                stored = value_of_words(stored, *of_value)
            mapped = None if real.maps is None else real.maps[index]
            if mapped is not None:
                np.copyto(value, mapped(stored), casting="unsafe")
            elif slope == 1.0 and intercept == 0.0:
                np.copyto(value, stored, casting="unsafe")
            elif _is_exact_in_float32(stored.dtype, slope, intercept) and target != np.float16:
                # Twice as fast as float64, and exact as well.
                np.multiply(stored, slope, out=value, dtype=target, casting="unsafe")
                value += intercept
            else:
                # numpy would multiply float32 and float16 in their own precision.
                np.multiply(stored, slope, out=wide, dtype=np.float64, casting="unsafe")
                np.add(wide, intercept, out=wide)
                np.copyto(value, wide, casting="unsafe")
    return values


def value_of_words(words: NDArray[Any], count: int, lowest: int) -> NDArray[Any]:
    """Return the values in bits `lowest` to `lowest + count - 1` of words, in the words' dtype."""
    width = words.dtype.itemsize * 8
    up = width - lowest - count
    return (words << up) >> (width - count)  # which extends the sign of signed types


def _check_storable(array: Any) -> None:
    """Raise unless it is an array that isn't empty, of a dtype that can be stored."""
    if not isinstance(array, np.ndarray):
        raise DataConsistencyError(f"expected a numpy array, found {type(array).__name__}")
    check_dtype(array.dtype)
    if not array.size:
        raise DataConsistencyError(f"an array of shape {array.shape} has no pixels")


def _as_whole(image: NDArray[Any]) -> NDArray[Any] | None:
    """Return floating-point values in the smallest integer dtype; None if they don't fit one."""
    if not is_lossless_int_convertible(image):
        return None
    try:
        return convert_to_minimal_int(image)[0]
    except ValueError:
        return None


def _smallest_int(low: int, high: int, signed: bool) -> np.dtype[Any] | None:
    """Return the smallest integer dtype that holds a range; None if it needs more than 32 bits."""
    for bits in (8, 16, 32):
        dtype = np.dtype(f"{'int' if signed else 'uint'}{bits}")
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return None


def _is_exact_in_float32(dtype: np.dtype[Any], slope: float, intercept: float) -> bool:
    """Return whether float32 arithmetic rescales all values of a dtype exactly."""
    if dtype.kind not in "iu" or not (slope.is_integer() and intercept.is_integer()):
        return False
    bounds = np.iinfo(dtype)
    greatest = max(abs(int(bounds.min)), int(bounds.max))
    return greatest * abs(slope) + abs(intercept) <= _EXACT_IN_FLOAT32
