"""DicomBuilder: pydicom reads the given pixels, and elements that describe them."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.arrays import SmoothVolume
from inputs.dicom_series import make_slice
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from dicube import DicomMeta, PixelDataHeader
from dicube.codecs import get_codec
from dicube.dicom.dicom_builder import (
    DicomBuilder,
    create_file_meta,
    save_dicom,
    set_pixel_data_attributes,
)
from dicube.exceptions import CodecError, DataConsistencyError

JPEG_XL = "1.2.840.10008.1.2.4.110"
UNCOMPRESSED = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def read(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(DicomBuilder.to_bytes(dataset)))


def elements() -> dict[str, Any]:
    return DicomMeta.from_datasets([make_slice()]).index(0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", ">i2", "int16", "uint32", "int32"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)], ids=["grey", "colour"])
def test_array(dtype: str, shape: tuple[int, ...], full_range: SmoothVolume) -> None:
    array = full_range(shape, dtype)
    header = PixelDataHeader(2.0, -1.0, array.dtype.name, array.dtype.name)
    back = read(DicomBuilder.build(elements(), header, array))
    assert np.array_equal(back.pixel_array, array)
    assert (back.Rows, back.Columns) == (7, 9)
    assert (back.RescaleSlope, back.RescaleIntercept) == (2, -1)
    assert back.PatientName == "DOE^JOHN"
    assert back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert back.file_meta.MediaStorageSOPInstanceUID == back.SOPInstanceUID


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point(dtype: str) -> None:
    array = np.linspace(-1, 1, 30, dtype=dtype).reshape(5, 6)
    back = read(DicomBuilder.build(elements(), PixelDataHeader(PixelDtype=dtype), array))
    assert np.array_equal(back.pixel_array, array)


def test_bits_stored_that_fit_are_left() -> None:
    dataset = make_slice()
    dataset.BitsStored, dataset.HighBit = 12, 11
    meta = DicomMeta.from_datasets([dataset]).index(0)
    fitting = np.full((6, 5), 4095, np.uint16)
    assert DicomBuilder.build(meta, PixelDataHeader(), fitting).BitsStored == 12
    assert DicomBuilder.build(meta, PixelDataHeader(), fitting + 1).BitsStored == 16


def test_one_bit_samples() -> None:
    dataset = make_slice(dtype="uint8")
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = 0
    array = np.random.default_rng(0).integers(0, 2, (6, 5), np.uint8)
    header = PixelDataHeader(PixelDtype="uint8")
    back = read(DicomBuilder.build(DicomMeta.from_datasets([dataset]).index(0), header, array))
    assert back.BitsAllocated == 1
    assert np.array_equal(back.pixel_array, array)


@pytest.mark.parametrize(("codec", "uid"), [("jph", str(HTJ2KLossless)), ("jxl", JPEG_XL)])
def test_coded_frame(codec: str, uid: str, smooth_volume: SmoothVolume) -> None:
    array = smooth_volume((6, 5), "uint16")
    coded = get_codec(codec).encode(array)
    header = PixelDataHeader()
    kept = DicomBuilder.build(elements(), header, coded, uid, is_compressed_data=True)
    back = read(kept)
    assert back.file_meta.TransferSyntaxUID == uid
    (frame,) = pydicom.encaps.generate_frames(back.PixelData, number_of_frames=1)
    assert np.array_equal(get_codec(codec).decode(frame), array)
    decoded = DicomBuilder.build(
        elements(), header, coded, uid, is_compressed_data=True, force_uncompressed=True
    )
    back = read(decoded)
    assert back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(back.pixel_array, array)


def test_coded_frame_that_does_not_decode() -> None:
    with pytest.raises(CodecError, match="expected HTJ2K or JPEG XL"):
        DicomBuilder.build(
            elements(),
            PixelDataHeader(),
            b"no codestream",
            str(HTJ2KLossless),
            is_compressed_data=True,
            force_uncompressed=True,
        )


def test_coded_frame_without_transfer_syntax() -> None:
    with pytest.raises(DataConsistencyError, match="transfer_syntax_uid"):
        DicomBuilder.build(elements(), PixelDataHeader(), b"xx", is_compressed_data=True)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_uncompressed_transfer_syntaxes(syntax: str, dtype: str) -> None:
    array = np.arange(30, dtype=dtype).reshape(5, 6)
    header = PixelDataHeader(PixelDtype=dtype)
    back = read(DicomBuilder.build(elements(), header, array, syntax))
    assert back.file_meta.TransferSyntaxUID == syntax
    assert back.PatientName == "DOE^JOHN"
    assert np.array_equal(back.pixel_array, array)
    with pytest.raises(DataConsistencyError, match="transfer_syntax_uid"):
        DicomBuilder.build(elements(), None, b"xx", syntax, is_compressed_data=True)


@pytest.mark.parametrize("syntax", ["1.2.3.4.5", JPEG_XL, HTJ2KLossless, JPEGLosslessSV1])
def test_uncompressed_pixels_are_not_saved_as_coded(syntax: str) -> None:
    array = np.arange(30, dtype=np.uint16).reshape(5, 6)
    dataset = DicomBuilder.build(elements(), PixelDataHeader(), array, syntax)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    with pytest.raises(DataConsistencyError, match=re.escape(f"transfer syntax {syntax}")):
        DicomBuilder.to_bytes(dataset)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("given", ["int64", "float32", "float64", ">i2", "uint8"])
def test_samples_become_the_dtype_of_the_header(given: str, dtype: str) -> None:
    array = (np.arange(30) % 2).astype(given).reshape(5, 6)
    back = read(DicomBuilder.build(elements(), PixelDataHeader(PixelDtype=dtype), array))
    assert back.pixel_array.dtype == dtype
    assert np.array_equal(back.pixel_array, array)


@pytest.mark.parametrize(
    ("value", "given", "dtype"),
    [
        (-1, "int16", "uint16"),
        (70000, "int32", "uint16"),
        (0.5, "float64", "int16"),
        (np.nan, "float32", "int16"),
        (1e-50, "float64", "float32"),
        (256, "uint16", "uint8"),
    ],
)
def test_values_that_the_dtype_of_the_header_lacks(value: float, given: str, dtype: str) -> None:
    array = np.full((5, 6), value, given)
    with pytest.raises(DataConsistencyError, match=f"{dtype}, the header's PixelDtype"):
        DicomBuilder.build(elements(), PixelDataHeader(PixelDtype=dtype), array)


def test_a_dtype_that_is_none() -> None:
    array = np.arange(30, dtype=np.int16).reshape(5, 6)
    back = read(DicomBuilder.build(elements(), PixelDataHeader(PixelDtype="none"), array))
    assert np.array_equal(back.pixel_array, array)


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [
        *(("CT", "2"), ("MR", "4"), ("PT", "128"), ("US", "6.1"), ("CR", "1"), ("DX", "1.1")),
        *(("NM", "20"), ("XX", "7"), ("", "7"), (None, "7")),
    ],
)
def test_class_of_a_modality(modality: str | None, sop_class: str) -> None:
    dataset = Dataset()
    dataset.Modality = modality
    assert (
        create_file_meta(dataset).MediaStorageSOPClassUID == f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    )
    dataset.SOPClassUID = "1.2.3"
    assert create_file_meta(dataset).MediaStorageSOPClassUID == "1.2.3"


def test_keywords_and_bytes(tmp_path: Path) -> None:
    array = np.arange(30, dtype=np.int16).reshape(5, 6)
    meta = {"PatientName": "DOE^JOHN", "Modality": "MR", "Rows": 5, "Columns": 6}
    header = PixelDataHeader(PixelDtype="int16")
    save_dicom(DicomBuilder.build(meta, header, array.tobytes()), tmp_path / "x.dcm")
    back = pydicom.dcmread(tmp_path / "x.dcm")
    assert np.array_equal(back.pixel_array, array)
    assert back.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcm"]


def test_header_alone() -> None:
    dataset = make_slice(dtype="uint16")
    set_pixel_data_attributes(dataset, PixelDataHeader(0.5, 3.0, "int8", "int8"))
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (8, 8, 7)
    assert dataset.PixelRepresentation == 1
    assert (dataset.RescaleSlope, dataset.RescaleIntercept) == (0.5, 3)


def test_no_pixels_and_no_header() -> None:
    dataset = DicomBuilder.build(elements(), None)
    assert "PixelData" not in dataset
    assert dataset.BitsAllocated == 16
