"""Stored values to real ones, to the last bit; and what can be stored at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import DTYPES, SmoothVolume

from dicube.core.pixel_header import PixelDataHeader
from dicube.exceptions import DataConsistencyError
from dicube.storage.pixel_utils import (
    derive_pixel_header_from_array,
    get_float_data,
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
