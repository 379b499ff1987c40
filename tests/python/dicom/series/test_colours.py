"""colours: palettes and YCbCr become RGB in NIfTI, as pydicom converts them, or are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_slice, write_series
from inputs.palettes import COLOURS, INDICES, palette
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space
from pydicom.pixels.processing import _expand_segmented_lut

import dicube
from dicube import DicomCubeImage
from dicube.dicom.series.colours import _expanded
from dicube.exceptions import DataConsistencyError

nib = pytest.importorskip("nibabel")


def segments(dataset: Dataset, *parts: int) -> None:
    """Give a palette as segments of 16 bits in place of its entries."""
    for colour in COLOURS:
        delattr(dataset, f"{colour}PaletteColorLookupTableData")
        data = struct.pack(f"<{len(parts)}H", *parts)
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", data)


def written(folder: Path, *series: Dataset) -> NDArray[Any]:
    """Read a series, write it as NIfTI, and return its colours: (slice, row, column, 3)."""
    for index, dataset in enumerate(series):
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.{index + 1}", index + 1
        dataset.ImagePositionPatient = [0, 0, index]
    image = DicomCubeImage.from_dicom_folder(write_series(folder / "in", series))
    image.to_nifti(folder / "x.nii")
    voxels = np.asarray(nib.load(folder / "x.nii").dataobj)
    assert voxels.dtype.names == ("R", "G", "B")
    return np.stack([voxels[colour].T for colour in "RGB"], axis=-1)


@pytest.mark.parametrize(
    ("entries", "bits", "first", "dtype"),
    [
        (300, 16, 0, "uint16"),
        (200, 16, 0, "uint16"),  # values beyond have the last colour
        (200, 16, 50, "uint16"),
        (300, 16, -100, "int16"),
    ],
)
def test_palettes_as_pydicom_has_them(
    tmp_path: Path, entries: int, bits: int, first: int, dtype: str
) -> None:
    dataset = palette(entries, bits, first, dtype)
    found = written(tmp_path, dataset)
    expected = apply_color_lut(dataset.pixel_array, dataset) >> 8
    assert np.array_equal(found[0], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_entries_of_one_byte(tmp_path: Path, bits: int) -> None:
    """Also more than 256 of them, and where the descriptor says two bytes."""
    dataset = palette(300, 8)
    for colour in COLOURS:
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [300, 0, bits])
    tables = [
        np.frombuffer(dataset[f"{colour}PaletteColorLookupTableData"].value, "u1")
        for colour in COLOURS
    ]
    expected = np.stack([table[INDICES] for table in tables], axis=-1)
    assert np.array_equal(written(tmp_path, dataset)[0], expected)


def test_segmented_palettes(tmp_path: Path) -> None:
    dataset = palette(300, 16)
    segments(dataset, 0, 2, 0, 0x1111, 1, 298, 0xFFFF)
    with pytest.warns(UserWarning, match="rounded to 8"):
        found = written(tmp_path, dataset)
    expected = apply_color_lut(dataset.pixel_array, dataset) >> 8
    assert np.array_equal(found[0], expected)


@pytest.mark.parametrize("width", [1, 2])
def test_segments_as_pydicom_expands_them(width: int) -> None:
    random = np.random.default_rng(6)
    fmt = "BH"[width - 1]
    for _ in range(50):
        units, starts = [0, 3, *random.integers(0, 256, 3)], [0]
        for kind in random.integers(0, 3, 20):
            length = int(random.integers(1, 6))
            place = int(random.choice(starts))
            starts += [len(units)] if kind < 2 else []
            words = place.to_bytes(4, "little")
            more = {
                0: [0, length, *random.integers(0, 256, length)],
                1: [1, 3 * length, random.integers(0, 256)],
                2: [2, 1, *(words if width == 1 else struct.unpack("<2H", words))],
            }
            units += more[int(kind)]
        given = tuple(map(int, units))
        expected = _expand_segmented_lut(given, f"<{len(given)}{fmt}")
        data = struct.pack(f"<{len(given)}{fmt}", *given)
        found = _expanded(data, 8 * width, len(expected))
        assert found.tolist() == expected
        assert _expanded(data, 8 * width, 5).tolist() == expected[:5]


@pytest.mark.parametrize(
    "units",
    [
        [0, 1, 5, *[1, 65535, 7] * 200_000],
        [0, 0, *[2, 65535, 0, 0] * 200_000],
        [0, 1, 5, *[0, 0] * 200_000],
        [0, 1, 5, 2, 1, 3, 0],
        [1, 5, 3],
        [0, 1, 5, 3, 1, 1],
        [0, 1, 5, 1, 2],
    ],
)
def test_segments_without_end(units: list[int], tmp_path: Path) -> None:
    """They stand for any number of entries, or repeat themselves; or are malformed."""
    dataset = palette(300, 16)
    segments(dataset, *units)
    if units[3:5] == [1, 65535]:
        assert written(tmp_path, dataset).shape[-1] == 3
        return
    with pytest.raises(DataConsistencyError, match="palette of slice 0 can't be read"):
        written(tmp_path, dataset)


def test_each_slice_has_its_own_palette(tmp_path: Path) -> None:
    one, other = palette(300, 16), palette(300, 16)
    other.RedPaletteColorLookupTableData = other.BluePaletteColorLookupTableData
    found = written(tmp_path, one, other)
    assert np.array_equal(found[0][..., 1:], found[1][..., 1:])
    assert np.array_equal(found[1][..., 0], found[1][..., 2])


@pytest.mark.parametrize("broken", ["absent", "short", "segments"])
def test_palettes_that_cannot_be_read(tmp_path: Path, broken: str) -> None:
    dataset = palette(300, 16)
    if broken == "absent":
        del dataset.RedPaletteColorLookupTableDescriptor
    elif broken == "short":
        dataset.GreenPaletteColorLookupTableData = bytes(10)
    else:
        segments(dataset, 1, 3, 0)
    with pytest.raises(DataConsistencyError, match="palette of slice 0 can't be read"):
        written(tmp_path, dataset)


@pytest.mark.parametrize("kind", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_luminance(tmp_path: Path, kind: str) -> None:
    dataset = make_slice(0, (6, 4, 3), "uint8")
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.PhotometricInterpretation = kind
    if kind == "YBR_FULL_422":
        dataset.PixelData = dataset.PixelData[: 6 * 4 * 2]
    found = written(tmp_path, dataset)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    expected = convert_color_space(image.raw_image, kind, "RGB")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", ["YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420", "HSV", "CMYK"])
def test_other_colours_are_refused(tmp_path: Path, kind: str) -> None:
    image = DicomCubeImage(np.zeros((1, 6, 4, 3), np.uint8))
    image.init_meta().set_shared_item("PhotometricInterpretation", kind)
    with pytest.raises(DataConsistencyError, match=f"can't convert {kind}"):
        image.to_nifti(tmp_path / "x.nii")


def test_slices_that_differ_are_refused(tmp_path: Path) -> None:
    grey = palette(300, 16)
    grey.PhotometricInterpretation = "MONOCHROME2"
    with pytest.raises(DataConsistencyError, match="differ in their photometric"):
        written(tmp_path, palette(300, 16), grey)


def test_palette_indices_are_no_real_values(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(palette(300, 16))
    with pytest.warns(UserWarning, match="indices of a palette"):
        assert np.array_equal(image.get_fdata()[0], INDICES)
    image.to_file(tmp_path / "x.dcbs")
    cube = dicube.open(tmp_path / "x.dcbs")
    with pytest.warns(UserWarning, match="indices of a palette"), cube:
        cube.get_fdata()
