"""encoding: datasets that are not encoded as their file meta state are read as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_bytes import dataset_bytes, element, with_meta
from inputs.dicom_series import make_series, make_slice, pixels_of, write_series
from inputs.original_files import contents
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from dicube import DicomCubeImage, verify_file
from dicube.exceptions import DicomCubeError

NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def misleading_series(folder: Path, stated: str, found: str, count: int = 2) -> Path:
    folder.mkdir()
    for index in range(count):
        data = with_meta(dataset_bytes(make_slice(index), found), stated)
        (folder / f"I{index}").write_bytes(data)
    return folder


@pytest.mark.parametrize("found", NATIVE)
@pytest.mark.parametrize("stated", NATIVE)
def test_the_bytes_count_and_the_file_is_named(tmp_path: Path, stated: str, found: str) -> None:
    folder = misleading_series(tmp_path / "in", NATIVE[stated], NATIVE[found])
    if stated == found:
        image = DicomCubeImage.from_dicom_folder(folder)
    else:
        name = NATIVE[found].name.replace("(", r"\(")
        with pytest.warns(UserWarning, match=rf"I0 and 1 more files: .* {name}") as told:
            image = DicomCubeImage.from_dicom_folder(folder)
        assert len(told) == 1
    assert np.array_equal(image.raw_image[1], pixels_of(1, (6, 5), "uint16"))
    assert image.dicom_meta is not None
    assert image.dicom_meta.get("PatientID") == "4711"
    assert image.dicom_meta.get("ImagePositionPatient", force_nonshared=True)[1] == [-10, 20, 2.5]
    image.to_file(tmp_path / "x.dcbs")
    back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    back.to_dicom_folder(tmp_path / "exact", exact=True)
    assert contents(tmp_path / "exact") == contents(folder)
    back.to_dicom_folder(tmp_path / "new", exact=False)
    anew = DicomCubeImage.from_dicom_folder(tmp_path / "new")
    assert np.array_equal(anew.raw_image, image.raw_image)
    assert anew.dicom_meta == image.dicom_meta


@pytest.mark.filterwarnings("ignore:.*the file meta state")
@pytest.mark.parametrize("found", NATIVE)
@pytest.mark.parametrize("stated", NATIVE)
def test_exports_equal_such_originals(tmp_path: Path, stated: str, found: str) -> None:
    folder = misleading_series(tmp_path / "in", NATIVE[stated], NATIVE[found])
    DicomCubeImage.from_dicom_folder(folder).to_file(tmp_path / "x.dcbs", exact=False)
    report = verify_file(tmp_path / "x.dcbs", folder)
    assert report.ok, report


@pytest.mark.parametrize("syntax", [HTJ2KLossless, RLELossless, JPEGBaseline8Bit])
def test_pixels_that_are_not_coded_as_stated(tmp_path: Path, syntax: str) -> None:
    folder = misleading_series(tmp_path / "in", syntax, ExplicitVRLittleEndian)
    with pytest.warns(UserWarning, match="I0 and 1 more files: .* not encapsulated"):
        image = DicomCubeImage.from_dicom_folder(folder)
    assert np.array_equal(image.raw_image[1], pixels_of(1, (6, 5), "uint16"))
    image.to_file(tmp_path / "x.dcbs")
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == contents(folder)


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\xff\x4f\xff\x51"])
def test_a_codestream_is_no_native_pixel_data(tmp_path: Path, start: bytes) -> None:
    dataset = make_slice()
    dataset.PixelData = start + dataset.PixelData[4:]
    write_series(tmp_path, [dataset])
    data = dataset_bytes(dataset, ExplicitVRLittleEndian)
    (tmp_path / "I1").write_bytes(with_meta(data, JPEGBaseline8Bit))
    with pytest.raises(DicomCubeError, match="I1"):
        DicomCubeImage.from_dicom_folder(tmp_path)


def test_coded_frames_in_an_implicit_dataset(tmp_path: Path) -> None:
    series = make_series(1)
    series[0].compress(RLELossless, generate_instance_uid=False)
    write_series(tmp_path, series)
    pixels = series[0].PixelData
    del series[0].PixelData
    data = dataset_bytes(series[0], ImplicitVRLittleEndian)
    data += b"\xe0\x7f\x10\x00\xff\xff\xff\xff" + pixels + b"\xfe\xff\xdd\xe0\0\0\0\0"
    (tmp_path / "I1").write_bytes(with_meta(data, RLELossless))
    with pytest.warns(UserWarning, match="I1: .* Implicit VR Little Endian"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    assert np.array_equal(image.raw_image[0], pixels_of(0, (6, 5), "uint16"))


def test_samples_of_unknown_order_are_refused(tmp_path: Path) -> None:
    """GE's private transfer syntax: implicit little endian, but for the samples."""
    data = dataset_bytes(make_slice(), ImplicitVRLittleEndian)
    (tmp_path / "I1").write_bytes(with_meta(data, "1.2.840.113619.5.2"))
    with pytest.warns(UserWarning), pytest.raises(DicomCubeError, match=r"I1.* an unknown UID"):
        DicomCubeImage.from_dicom_folder(tmp_path)


def test_big_endian_without_file_meta(tmp_path: Path) -> None:
    (tmp_path / "I1").write_bytes(dataset_bytes(make_slice(), ExplicitVRBigEndian))
    image = DicomCubeImage.from_dicom_folder(tmp_path)
    assert np.array_equal(image.raw_image[0], pixels_of(0, (6, 5), "uint16"))


def test_a_dataset_that_only_claims_to_be_deflated(tmp_path: Path) -> None:
    data = with_meta(element(0x00280010, b"US", b"\x06\0"), DeflatedExplicitVRLittleEndian)
    (tmp_path / "I1").write_bytes(data)
    with pytest.raises(DicomCubeError, match="I1 is damaged"):
        DicomCubeImage.from_dicom_folder(tmp_path)
