"""Grey values by windows, VOI LUTs and ranges, compared with pydicom's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import item, make_series, set_pixels
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.sequence import Sequence

from dicube import DicomCubeImage
from dicube.core.pictures.windowing import (
    Shades,
    in_bytes,
    shades_of_slice,
    shown_range,
    stretched,
    windowed,
)
from dicube.dicom.metadata.look_up_table import Lut
from dicube.dicom.series.precedence import Window


def ramps(count: int = 3, **elements: Any) -> list[Dataset]:
    """Slices of stored values 0 to 4095, in order."""
    datasets = make_series(count, shape=(64, 64), dtype="uint16")
    for dataset in datasets:
        set_pixels(dataset, np.arange(4096, dtype="uint16").reshape(64, 64))
        dataset.BitsStored, dataset.HighBit = 12, 11
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return datasets


def lut(first: int, entries: Any, bits: int) -> Dataset:
    """An item of a VOI LUT Sequence."""
    table = np.asarray(entries)
    made = item(LUTDescriptor=[len(table) & 0xFFFF, first, bits])
    made.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    made["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    return made


def shown(datasets: list[Dataset], index: int = 1, **kind: Any) -> NDArray[Any]:
    """A slice as we show it, from 0 to 1."""
    image = DicomCubeImage.from_dicom_folder(datasets)
    shades = shades_of_slice(image.dicom_meta, image.pixel_header, index, **kind)
    return shades(image.get_fdata("float64")[index])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600.5, 1500), (1000, 1), (0, 2)])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.5, 3)])
def test_windows_as_by_pydicom(
    center: float, width: float, function: str, slope: float, intercept: float
) -> None:
    datasets = ramps(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    for dataset in datasets:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    one = datasets[1]
    with np.errstate(over="ignore"):
        expected = apply_windowing(apply_modality_lut(one.pixel_array, one), one)
    low, high = intercept, 4095 * slope + intercept
    assert np.allclose(shown(datasets), (expected - low) / (high - low), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "size", "bits"), [(0, 4096, 12), (3900, 100, 8), (-1000, 2000, 16), (4000, 1, 10)]
)
def test_voi_luts_as_by_pydicom(first: int, size: int, bits: int) -> None:
    entries = np.random.default_rng(size).integers(0, 1 << bits, size)
    datasets = ramps(VOILUTSequence=Sequence([lut(first, entries, bits)]))
    for dataset in datasets:
        dataset.RescaleIntercept = -1024 if first < 0 else 0
        dataset.WindowCenter, dataset.WindowWidth = 40, 400  # counts less
    one = datasets[1]
    real = apply_modality_lut(one.pixel_array, one).astype(np.int32)
    expected = apply_voi_lut(real, one) / ((1 << bits) - 1)
    assert np.array_equal(shown(datasets), expected)
    assert len(np.unique(expected)) > 1 or size == 1


def test_a_window_that_was_set_counts_more_than_a_voi_lut() -> None:
    table = lut(0, np.arange(4096)[::-1], 12)
    image = DicomCubeImage.from_dicom_folder(
        ramps(VOILUTSequence=Sequence([table]), WindowCenter=40, WindowWidth=400)
    )
    values = image.get_fdata("float64")[1]

    def of(**kind: Any) -> NDArray[Any]:
        return shades_of_slice(image.dicom_meta, image.pixel_header, 1, **kind)(values)

    chosen = Window(100, 50, "LINEAR_EXACT")
    assert np.array_equal(of(window=chosen), windowed(values, chosen))
    assert not np.array_equal(of(), windowed(values, chosen))
    image.pixel_header.WindowCenter, image.pixel_header.WindowWidth = 100.0, 50.0
    assert np.array_equal(of(), windowed(values, Window(100, 50, "LINEAR")))


@pytest.mark.parametrize(
    "sequence",
    [
        Sequence([]),
        Sequence([Dataset()]),
        Sequence([item(LUTDescriptor=[4096, 0, 12])]),
        Sequence([item(LUTDescriptor=[2, 0, 99], LUTData=b"\0\0\1\0")]),
    ],
)
def test_a_voi_lut_that_is_unreadable_leaves_the_window(sequence: Any) -> None:
    for one in sequence:
        if "LUTData" in one:
            one["LUTData"].VR = "OW"
    datasets = ramps(VOILUTSequence=sequence, WindowCenter=40, WindowWidth=400)
    assert np.array_equal(shown(datasets), shown(ramps(WindowCenter=40, WindowWidth=400)))


def test_monochrome1_is_inverted() -> None:
    kinds = {
        name: shown(ramps(PhotometricInterpretation=name, WindowCenter=40, WindowWidth=400))
        for name in ("MONOCHROME1", "MONOCHROME2")
    }
    assert np.allclose(kinds["MONOCHROME1"], 1 - kinds["MONOCHROME2"])
    assert kinds["MONOCHROME1"][0, 0] == 1


def test_values_that_are_no_numbers_are_black() -> None:
    values = np.array([np.nan, -np.inf, 0, np.inf])
    table = Lut(0, 8, np.array([10, 255], np.uint8))
    for shades in (Shades(), Shades(Window(0, 1, "SIGMOID")), Shades(table=table)):
        found = shades(values)
        assert found[0] == 0 and found[3] == (1 if shades.window or shades.table else found[3])
        inverted = Shades(shades.window, shades.table, inverted=True)(values)
        assert inverted[0] == 0 and np.allclose(inverted[1:], 1 - found[1:])


def test_the_range_of_other_values_may_be_shown() -> None:
    values, among = np.array([0.0, 5, 10]), np.linspace(0, 20, 10001)
    assert np.allclose(stretched(values, among), [0, (5 - 0.1) / 19.8, (10 - 0.1) / 19.8])
    assert in_bytes(np.array([0, 0.5, 1])).tolist() == [0, 128, 255]


def test_limits_are_the_ends_of_the_window() -> None:
    assert Shades(Window(40, 400, "LINEAR")).limits == (-160, 240)
    assert Shades().limits is None
    assert Shades(Window(1e308, 1e308 * 1.7, "LINEAR")).limits is None


def test_the_range_shown_leaves_out_outliers() -> None:
    values = np.append(np.arange(1000.0), [np.nan, np.inf, 1e9])
    low, high = shown_range(values)
    assert 0 < low < 10
    assert 990 < high < 1000
    assert shown_range(np.array([3.0, np.nan])) == (3, 3)
    assert shown_range(np.array([np.nan])) == (0, 0)
