"""Elements sent with VR UN are read as what the data dictionary says (PS3.5 6.2.2)."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import item, make_series, write_series
from inputs.mapped_series import mapping
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian

from dicube import DicomCubeImage, DicomMeta
from dicube.dicom.elements import items
from dicube.dicom.elements.parser import is_implicit_sequence

SENT_AS_UN = (
    *("SeriesInstanceUID", "PatientName", "InstanceNumber", "Modality"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept", "Rows", "Columns", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"),
)


def test_parts_that_are_compared() -> None:
    parts = [part(RawDataElement._fields) for part in items._COMPARED]
    assert parts == ["value", "VR", "is_little_endian", "is_implicit_VR"]


def value_field(dataset: Dataset, keyword: str) -> bytes:
    """Return an element's value in implicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = buffer.is_little_endian = True
    write_data_element(buffer, dataset[keyword], ["iso8859"])
    return bytes(buffer.getvalue()[8:])


def send_as_un(dataset: Dataset, *keywords: str) -> Dataset:
    """Give elements the VR UN; the items of sequences have no VRs then."""
    for keyword in keywords:
        data, tag = value_field(dataset, keyword), Tag(keyword)
        dataset[tag] = RawDataElement(tag, "UN", len(data), data, 0, False, True)
    return dataset


@pytest.fixture(autouse=True)
def pydicom_writes_un(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydicom.config.replace_un_with_known_vr", False)


def read(folder: Path) -> DicomCubeImage:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return DicomCubeImage.from_dicom_folder(folder)


def bytes_with_un(path: Path, tag: int, value: bytes) -> None:
    """Add an element of VR UN and undefined length to a file, before its pixels."""
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW")
    element = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"UN", 0, 0xFFFFFFFF)
    path.write_bytes(data[:at] + element + value + b"\xfe\xff\xdd\xe0\0\0\0\0" + data[at:])


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_series(tmp_path: Path, in_memory: bool) -> None:
    series = make_series(3, dtype="int16")
    expected = read(write_series(tmp_path / "known", series))
    sent = [send_as_un(dataset, *SENT_AS_UN) for dataset in series]
    write_series(tmp_path / "sent", sent)
    assert b"\x28\x00\x53\x10UN" in (tmp_path / "sent" / "I1").read_bytes()
    image = DicomCubeImage.from_dicom_folder(sent) if in_memory else read(tmp_path / "sent")
    assert image.dicom_meta == expected.dicom_meta
    assert image.dicom_status is expected.dicom_status
    assert image.pixel_header == expected.pixel_header
    assert image.space is not None and image.space == expected.space
    assert np.array_equal(image.get_fdata(), expected.get_fdata())
    assert image.dicom_meta.get("SeriesInstanceUID") == expected.dicom_meta.get("SeriesInstanceUID")
    assert isinstance(image.dicom_meta.get("SeriesInstanceUID"), str)
    assert image.dicom_meta.get_vr("Rows") == "US"


def test_a_series_is_chosen_by_its_uid(tmp_path: Path) -> None:
    series = [send_as_un(dataset, "SeriesInstanceUID") for dataset in make_series(2)]
    other = make_series(1)
    other[0].SeriesInstanceUID, other[0].SOPInstanceUID = "1.2.3", "1.2.3.4"
    write_series(tmp_path / "in", [*series, *other])
    uid = make_series(1)[0].SeriesInstanceUID
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in", series_uid=uid)
    assert image.shape[0] == 2


def test_files_come_back_and_exports_have_the_known_vr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = [send_as_un(dataset, *SENT_AS_UN) for dataset in make_series(2)]
    source = write_series(tmp_path / "in", series)
    read(source).to_file(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    image.to_dicom_folder(tmp_path / "exact", exact=True)
    image.to_dicom_folder(tmp_path / "new", exact=False)
    for name, new in zip(("I1", "I2"), sorted((tmp_path / "new").iterdir()), strict=True):
        assert (tmp_path / "exact" / name).read_bytes() == (source / name).read_bytes()
        found = dcmread(new)
        monkeypatch.setattr("pydicom.config.replace_un_with_known_vr", True)
        expected = dcmread(source / name)
        for keyword in SENT_AS_UN:
            assert found.get_item(keyword).VR == expected[keyword].VR != "UN"
            assert found[keyword].value == expected[keyword].value


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences(tmp_path: Path, undefined: bool) -> None:
    dataset = enhanced(3)
    expected = read(write_series(tmp_path / "known", [dataset]))
    groups = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
    if undefined:
        values = {keyword: value_field(dataset, keyword) for keyword in groups}
        for keyword in groups:
            delattr(dataset, keyword)
        write_series(tmp_path / "sent", [dataset])
        for keyword, value in values.items():
            bytes_with_un(tmp_path / "sent" / "I1", Tag(keyword), value)
    else:
        write_series(tmp_path / "sent", [send_as_un(dataset, *groups)])
    image = read(tmp_path / "sent")
    assert image.dicom_meta == expected.dicom_meta
    assert image.space == expected.space and image.space is not None
    assert np.array_equal(image.get_fdata(), expected.get_fdata())
    image.to_file(tmp_path / "x.dcbs")
    again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert again.dicom_meta == expected.dicom_meta
    again.to_dicom_folder(tmp_path / "out")
    assert (tmp_path / "out" / "I1").read_bytes() == (tmp_path / "sent" / "I1").read_bytes()


def test_a_mapping_sent_as_un(tmp_path: Path) -> None:
    series = make_series(2)
    for dataset in series:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.RealWorldValueMappingSequence = [mapping(2.0, 1.0)]
        send_as_un(dataset, "RealWorldValueMappingSequence")
    image = read(write_series(tmp_path / "in", series))
    assert np.array_equal(image.get_fdata(), image.raw_image * 2.0 + 1)


@pytest.mark.parametrize(
    "value", [b"", b"no items of a sequence", b"\xfe\xff\x00\xe0\x08\0\0\0????"]
)
def test_what_is_no_sequence_keeps_its_bytes(tmp_path: Path, value: bytes) -> None:
    (dataset,) = make_series(1)
    tag = Tag("ReferencedStudySequence")
    value += b"\0" * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, "UN", len(value), value, 0, False, True)
    image = read(write_series(tmp_path / "in", [dataset]))
    assert image.dicom_meta.get_vr(tag) == ("UN" if value else "SQ")
    image.to_dicom_folder(tmp_path / "out", exact=False)
    (path,) = (tmp_path / "out").iterdir()
    assert (dcmread(path).get_item(tag).value or b"") == value


def test_a_private_sequence_of_undefined_length(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(1))
    nested = struct.pack("<HHLHHL4s", 0xFFFE, 0xE000, 12, 0x0008, 0x0060, 4, b"MR  ")
    bytes_with_un(tmp_path / "in" / "I1", 0x00791001, nested)
    meta = read(tmp_path / "in").dicom_meta
    assert meta.get("00791001") == [{"00080060": {"vr": "CS", "Value": ["MR"]}}]


def test_a_value_sent_as_un_in_big_endian_is_not_swapped() -> None:
    (dataset,) = make_series(1)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data = struct.pack("<H", 0x0102)
    tag = Tag("Rows")
    dataset[tag] = RawDataElement(tag, "UN", 2, data, 0, False, False)
    assert DicomMeta.from_datasets([dataset]).get("Rows") == 0x0102


def test_an_unknown_element_stays_un(tmp_path: Path) -> None:
    (dataset,) = make_series(1)
    tag = Tag(0x0079, 0x1001)
    dataset[tag] = RawDataElement(tag, "UN", 4, b"\1\2\3\4", 0, False, True)
    assert DicomMeta.from_datasets([dataset]).get_vr(tag) == "UN"


def test_setting_an_element_of_a_wrong_vr_gives_it_the_right_one() -> None:
    (dataset,) = make_series(1)
    tag = Tag("RescaleSlope")
    dataset[tag] = RawDataElement(tag, "LO", 4, b"2.5 ", 0, False, True)
    meta = DicomMeta.from_datasets([dataset])
    assert meta.get(tag) == "2.5"
    meta.set_shared_item(tag, 2.5)
    assert (meta.get_vr(tag), meta.get(tag)) == ("DS", 2.5)


def encoded(dataset: Dataset, implicit: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def test_items_are_recognised() -> None:
    content = encoded(item(PatientName="A^B", Rows=5), implicit=True)
    known: dict[bytes, Any] = {
        b"": True,
        struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content: True,
        struct.pack("<HHL", 0xFFFE, 0xE000, 0): True,
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0": True,
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content: False,
        struct.pack("<HHL", 0xFFFE, 0xE000, len(content) + 1) + content: False,
        struct.pack("<HHL", 0xFFFE, 0xE0DD, 0): False,
        content: False,
    }
    explicit = encoded(item(PatientName="A^B", Rows=5), implicit=False)
    known[struct.pack("<HHL", 0xFFFE, 0xE000, len(explicit)) + explicit] = False
    for data, expected in known.items():
        assert is_implicit_sequence(data) is expected, data
