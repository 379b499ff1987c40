"""pixel_utils: stored values to real values exactly, and which values can be stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inputs.arrays import DTYPES, SmoothVolume

from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.pixel_utils import (
    convert_to_minimal_int,
    derive_pixel_header_from_array,
    determine_optimal_nifti_dtype,
    get_float_data,
    is_lossless_int_convertible,
    stored_volume,
)

RESCALES = [(1, 0), (1, -1024), (2, 1), (0.5, 0), (1.1, -1024.3), (1 / 3, 1e-7), (-1, 0), (1e9, 7)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("slope", "intercept"), RESCALES)
@pytest.mark.parametrize("target", ["float16", "float32", "float64"])
def test_real_values_are_float64s_rounded_once(
    dtype: str, slope: float, intercept: float, target: str, full_range: SmoothVolume
) -> None:
    raw = full_range((3, 20, 21), dtype)
    header = PixelDataHeader(RescaleSlope=slope, RescaleIntercept=intercept)
    with np.errstate(over="ignore"):
        expected = (raw.astype(np.float64) * slope + intercept).astype(target)
    real = get_float_data(raw, header, target)
    assert real.dtype == np.dtype(target)
    assert np.array_equal(real, expected)


def test_big_endian_colour_and_strides(full_range: SmoothVolume) -> None:
    raw = full_range((6, 10, 12, 3), ">i2")[::2, :, ::3]
    header = PixelDataHeader(RescaleSlope=1.5, RescaleIntercept=3)
    assert np.array_equal(get_float_data(raw, header), (raw * 1.5 + 3).astype(np.float32))


def test_each_slice_its_own_rescale(full_range: SmoothVolume) -> None:
    raw = full_range((3, 4, 5), "uint16")
    slopes, intercepts = [1.0, 0.37, 2.0], [0.0, -3.5, 10.0]
    real = get_float_data(raw, PixelDataHeader(), "float64", slopes=slopes, intercepts=intercepts)
    for index in range(3):
        assert np.array_equal(real[index], raw[index] * slopes[index] + intercepts[index])


def test_not_one_rescale_for_each_slice() -> None:
    with pytest.raises(DataConsistencyError, match="expected 3 slopes, found 2"):
        get_float_data(np.zeros((3, 1, 1), np.uint8), PixelDataHeader(), slopes=[1, 2])


@pytest.mark.parametrize("dtype", ["int16", "complex64", "uint8", "S4"])
def test_real_values_are_floats(dtype: str) -> None:
    with pytest.raises(DataConsistencyError, match="float16, float32, float64, found"):
        get_float_data(np.zeros((1, 1, 1), np.uint8), PixelDataHeader(), dtype)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5), (1, 4, 5)),
        ((1, 4, 5), (1, 4, 5)),
        ((2, 4, 3), (2, 4, 3)),
        ((2, 4, 5, 3), (2, 4, 5, 3)),
    ],
)
def test_volume(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.int16)
    volume = stored_volume(array)
    assert volume.shape == expected
    assert np.shares_memory(volume, array)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 2, 2), complex), "complex128"),
        (np.zeros((2, 2, 2), bool), "bool"),
        (np.zeros(3, np.uint8), r"\(3,\)"),
        (np.zeros((2, 2, 2, 4), np.uint8), r"\(2, 2, 2, 4\)"),
        (np.zeros((2, 2, 2, 2, 3), np.uint8), r"\(2, 2, 2, 2, 3\)"),
        (np.zeros((0, 2, 2), np.uint8), r"\(0, 2, 2\) has no pixels"),
        (None, "NoneType"),
        ([[1]], "list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_volume(array: Any, told: str) -> None:
    with pytest.raises(DataConsistencyError, match=told):
        stored_volume(array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derived_header(dtype: str) -> None:
    array = np.zeros((2, 3, 4), np.dtype(dtype).newbyteorder(">"))
    volume, header = derive_pixel_header_from_array(array)
    assert volume.shape == (2, 3, 4)
    assert header == PixelDataHeader(OriginalPixelDtype=dtype, PixelDtype=dtype)


@pytest.mark.parametrize("dtype", ["int8", ">i2", "int32", "int64"])
def test_signed_integers_as_unsigned(dtype: str, full_range: SmoothVolume) -> None:
    array = full_range((2, 3, 4), dtype)
    stored, header = derive_pixel_header_from_array(array, support_negative=False)
    assert stored.dtype.kind == "u"
    assert stored.dtype.itemsize == array.dtype.itemsize
    assert [int(v) + int(header.RescaleIntercept) for v in stored.flat] == list(array.flat)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0, 255], "uint8"), ([0, 256], "uint16"), ([-1, 127], "int8"), ([-1, 1 << 20], "int32")],
)
def test_whole_numbers_become_integers(values: list[float], dtype: str) -> None:
    stored, header = derive_pixel_header_from_array(np.array([values], np.float32))
    assert stored.tolist() == [values]
    assert header == PixelDataHeader(OriginalPixelDtype="float32", PixelDtype=dtype)


@pytest.mark.parametrize("values", [[0.5, 1], [np.nan, 1], [np.inf, 1], [1e12, 1], [1e300, 1]])
def test_other_numbers_are_kept(values: list[float]) -> None:
    array = np.array([values])
    stored, header = derive_pixel_header_from_array(array)
    assert stored is array
    assert header == PixelDataHeader(OriginalPixelDtype="float64", PixelDtype="float64")


@pytest.mark.parametrize(("dtype", "steps"), [("uint8", 255), ("uint16", 65535)])
def test_rounded_if_asked_for(dtype: str, steps: int) -> None:
    array = np.random.default_rng(0).normal(0, 1000, (4, 5, 6)).astype(np.float32)
    stored, header = derive_pixel_header_from_array(array, dtype)
    assert stored.dtype == header.PixelDtype == dtype
    assert (stored.min(), stored.max()) == (0, steps)
    assert (header.MinVal, header.MaxVal) == (array.min(), array.max())
    error = np.abs(get_float_data(stored, header, "float64") - array)
    assert error.max() <= header.RescaleSlope / 2 * (1 + 1e-9)


@pytest.mark.parametrize("values", [[0.5, np.nan], [0.5, np.inf], [1.7e308, -1.7e308]])
def test_what_can_not_be_rounded(values: list[float]) -> None:
    with pytest.raises(DataConsistencyError, match="can't round"):
        derive_pixel_header_from_array(np.array([values]) + 0.25, "uint16")


def test_rounded_to_another_dtype() -> None:
    with pytest.raises(ValueError, match="uint8 or uint16, not uint32"):
        derive_pixel_header_from_array(np.array([0.5]), "uint32")


def test_too_large_to_be_whole() -> None:
    assert is_lossless_int_convertible(np.array([1e12]))
    with pytest.raises(ValueError, match="fit in 32-bit integers"):
        convert_to_minimal_int(np.array([1e12]))


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "original", "expected", "dtype"),
    [
        ([0, 255], 1, 0, "uint16", [0, 255], "uint8"),
        ([0, 255], 1, 0, "int16", [0, 255], "int16"),
        ([0, 4095], 1, -1024, "uint16", [-1024, 3071], "int16"),
        ([1, 2], -2, 0, "uint16", [-2, -4], "int8"),
        ([0, 65535], 65537, 0, "uint16", [0, (1 << 32) - 1], "uint32"),
        ([0, 65535], 1 << 17, 1, "uint16", [1, 65535 * (1 << 17) + 1], "float64"),
        ([0, 3], 0.5, 0, "uint16", [0, 1.5], "float32"),
    ],
)
def test_smallest_dtype_for_nifti(
    stored: list[int],
    slope: float,
    intercept: float,
    original: str,
    expected: list[float],
    dtype: str,
) -> None:
    header = PixelDataHeader(slope, intercept, original)
    values, name = determine_optimal_nifti_dtype(np.array(stored, np.uint16), header)
    assert values.dtype == name == dtype
    assert values.tolist() == expected


def test_one_axis() -> None:
    header = PixelDataHeader(0.5, 1.0)
    assert get_float_data(np.array([1, 2], np.uint8), header).tolist() == [1.5, 2.0]
