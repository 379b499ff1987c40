"""pixel_attributes: exported elements describe the samples of the volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import each, make_series, make_slice, set_pixels, write_series

from dicube.dicom.dicom_io import read_series
from dicube.dicom.export.folder import write_dicom_folder


def test_bits_stored_stays_if_the_data_fit(tmp_path: Path) -> None:
    datasets = make_series(2)
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        set_pixels(dataset, np.full((6, 5), 4095, "uint16"))
    meta, volume, header = read_series(write_series(tmp_path / "in", datasets))[:3]
    write_dicom_folder(tmp_path / "a", meta, volume, header)
    written = pydicom.dcmread(tmp_path / "a" / "slice_0000.dcm")
    assert (written.BitsStored, written.HighBit) == (12, 11)
    volume[1, 0, 0] = 4096
    write_dicom_folder(tmp_path / "b", meta, volume, header)
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "b").iterdir())]
    assert [(w.BitsStored, w.HighBit) for w in written] == [(12, 11), (16, 15)]


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "float32", "float64"])
def test_a_volume_of_another_type(tmp_path: Path, dtype: str) -> None:
    datasets = make_series(2)
    for dataset in datasets:
        dataset.PixelPaddingValue = 7
        dataset.SmallestImagePixelValue = 60000
    meta, _, header = read_series(write_series(tmp_path / "in", datasets))[:3]
    volume = (np.arange(60).reshape(2, 6, 5) - 5).astype(dtype)
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    written = pydicom.dcmread(tmp_path / "out" / "slice_0001.dcm")
    np.testing.assert_array_equal(written.pixel_array, volume[1])
    assert written.BitsAllocated == volume.dtype.itemsize * 8
    if dtype.startswith("int"):
        assert written["PixelPaddingValue"].VR == "SS"
        assert "SmallestImagePixelValue" not in written
    assert read_series(tmp_path / "out").volume.dtype == dtype


def test_a_volume_of_another_shape(tmp_path: Path) -> None:
    meta, _, header, _ = read_series(write_series(tmp_path / "in", make_series(4)))
    volume = np.zeros((4, 7, 8), "uint16")
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    assert read_series(tmp_path / "out").volume.shape == (4, 7, 8)


def test_planar_colour_and_one_bit_stay_as_they_were(tmp_path: Path) -> None:
    planar = make_slice(0, (4, 5, 3), "uint8")
    planar.PlanarConfiguration = 1
    one_bit = make_slice(0, (6, 5), "uint8")
    one_bit.BitsAllocated, one_bit.BitsStored, one_bit.HighBit = 1, 1, 0
    one_bit.PixelData = b"\xaa\x55\xff\x00"
    for name, dataset in {"planar": planar, "bit": one_bit}.items():
        meta, volume, header = read_series(write_series(tmp_path / name, [dataset]))[:3]
        write_dicom_folder(tmp_path / f"{name}-out", meta, volume, header)
        written = pydicom.dcmread(tmp_path / f"{name}-out" / "slice_0000.dcm")
        source = pydicom.dcmread(tmp_path / name / "I1")
        np.testing.assert_array_equal(written.pixel_array, source.pixel_array)
        assert read_series(tmp_path / f"{name}-out").meta == meta


def test_rescale_is_the_metadata_s_slice_by_slice(tmp_path: Path) -> None:
    datasets = each(make_series(3), "RescaleSlope", ["1.50", "2", "3"])
    meta, volume, header = read_series(write_series(tmp_path / "in", datasets))[:3]
    assert header.RescaleSlope == 1.5
    write_dicom_folder(tmp_path / "a", meta, volume, header)
    assert read_series(tmp_path / "a").meta.get("RescaleSlope") == [1.5, 2.0, 3.0]
    header.RescaleSlope, header.RescaleIntercept = 1.0, 0.1234567890123456
    with pytest.warns(UserWarning, match=r"RescaleIntercept 0\.1234567890123456 is written as"):
        write_dicom_folder(tmp_path / "b", meta, volume, header)
    again = read_series(tmp_path / "b").meta
    assert again.get("RescaleSlope") == 1.0
    assert again.get("RescaleIntercept") == pytest.approx(0.123456789, abs=1e-9)
    assert (
        len(pydicom.dcmread(tmp_path / "b" / "slice_0000.dcm").RescaleIntercept.original_string)
        <= 16
    )
