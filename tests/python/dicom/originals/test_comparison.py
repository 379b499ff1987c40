"""comparison: every difference between two DICOM files is reported, and nothing else."""

from __future__ import annotations

import copy
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_bytes import dataset_bytes, element, with_meta
from inputs.dicom_series import item, make_slice, set_pixels
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicube.dicom.originals.comparison import first_different_byte, instance_differences
from dicube.exceptions import CubeFileAccessError, MetaDataError

Change = Callable[[Dataset], object]


def rich_slice() -> Dataset:
    """A slice with sequences two deep, private elements, binary and an empty element."""
    dataset = make_slice()
    dataset.ReferencedImageSequence = [
        item(ReferencedSOPInstanceUID="1.2.3"),
        item(
            ReferencedSOPInstanceUID="1.2.4", PurposeOfReferenceCodeSequence=[item(CodeValue="A")]
        ),
    ]
    dataset.AccessionNumber = ""
    dataset.SmallestImagePixelValue = 0
    dataset.add_new(0x00091010, "LO", "private")
    dataset.add_new(0x00290010, "LO", "MAKER")
    dataset.add_new(0x00291010, "OB", bytes(range(256)) * 50)
    dataset.add_new(0x00291011, "UN", b"\1\2\3\4")
    dataset.IconImageSequence = [
        item(Rows=2, Columns=2, BitsAllocated=8, PixelData=bytes(range(4)))
    ]
    dataset.IconImageSequence[0]["PixelData"].VR = "OB"
    inner = item(FloatPixelData=bytes(8), ExtendedOffsetTable=bytes(8))
    dataset.add_new(0x00291012, "SQ", [inner])
    dataset.file_meta.SourceApplicationEntityTitle = "HERE"
    return dataset


def written(path: Path, dataset: Dataset, **options: Any) -> Path:
    dataset.save_as(path, enforce_file_format=True, **options)
    return path


def differences(folder: Path, change: Change) -> list[str]:
    one, two = rich_slice(), copy.deepcopy(rich_slice())
    change(two)
    original, restored = written(folder / "a", one), written(folder / "b", two)
    assert (first_different_byte(original, restored) is None) == (
        original.read_bytes() == restored.read_bytes()
    )
    return instance_differences(original, restored, show_values=True)


def bit_flipped(dataset: Dataset) -> None:
    pixels = dataset.pixel_array.copy()
    pixels[2, 3] ^= 0x8000
    set_pixels(dataset, pixels)


CHANGES: list[tuple[Change, str]] = [
    (lambda d: delattr(d, "PatientID"), "(0010,0020) PatientID: missing"),
    (lambda d: setattr(d, "PatientSex", ""), "(0010,0040) PatientSex: added"),
    (lambda d: delattr(d, "AccessionNumber"), "(0008,0050) AccessionNumber: missing"),
    (lambda d: setattr(d, "PatientID", "4712"), "(0010,0020) PatientID: '4711' became '4712'"),
    (
        lambda d: setattr(d, "RescaleSlope", "1.00"),
        "(0028,1053) RescaleSlope: '1.0 ' became '1.00'",
    ),
    (
        lambda d: setattr(d["SmallestImagePixelValue"], "VR", "SS"),
        "(0028,0106) SmallestImagePixelValue: value representation US became SS",
    ),
    (
        lambda d: setattr(d.ReferencedImageSequence[0], "ReferencedSOPInstanceUID", "1.2.5"),
        "(0008,1140) ReferencedImageSequence[0] (0008,1155) ReferencedSOPInstanceUID: '1.2.3",
    ),
    (
        lambda d: d.ReferencedImageSequence.pop(),
        "(0008,1140) ReferencedImageSequence: 2 items became 1",
    ),
    (
        lambda d: setattr(
            d.ReferencedImageSequence[1].PurposeOfReferenceCodeSequence[0], "CodeValue", "B"
        ),
        "(0008,1140) ReferencedImageSequence[1] (0040,A170) PurposeOfReferenceCodeSequence[0] "
        "(0008,0100) CodeValue: 'A ' became 'B '",
    ),
    (lambda d: d.__delitem__(0x00290010), "(0029,0010): missing"),
    (
        lambda d: setattr(d[0x00291010], "value", bytes(range(256)) * 49 + bytes(256)),
        "(0029,1010): ",
    ),
    (lambda d: setattr(d[0x00291010], "value", b""), "(0029,1010): "),
    (
        lambda d: setattr(d.file_meta, "SourceApplicationEntityTitle", "THERE"),
        "(0002,0016) SourceApplicationEntityTitle: 'HERE' became",
    ),
    (
        lambda d: delattr(d.IconImageSequence[0], "PixelData"),
        "(0088,0200) IconImageSequence[0] (7FE0,0010) PixelData: missing",
    ),
    (
        lambda d: setattr(d.IconImageSequence[0], "PixelData", bytes(4)),
        "(0088,0200) IconImageSequence[0] (7FE0,0010) PixelData: a value of 4 bytes",
    ),
    (
        lambda d: delattr(d[0x00291012].value[0], "FloatPixelData"),
        "(0029,1012)[0] (7FE0,0008) FloatPixelData: missing",
    ),
    (
        lambda d: delattr(d[0x00291012].value[0], "ExtendedOffsetTable"),
        "(0029,1012)[0] (7FE0,0001) ExtendedOffsetTable: missing",
    ),
    (bit_flipped, "(7FE0,0010) PixelData: 1 of 30 samples, the first at 13: bits "),
    (
        lambda d: set_pixels(d, d.pixel_array[:5]),
        "(7FE0,0010) PixelData: (30,) uint16 became (25,) uint16",
    ),
    (
        lambda d: (d.__delitem__(0x7FE00010), d.add_new(0x7FE00008, "OF", bytes(120))),
        "pixels in (7FE0,0010) PixelData became pixels in (7FE0,0008) FloatPixelData",
    ),
]


@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[told[:40] for _, told in CHANGES])
def test_difference(tmp_path: Path, change: Change, told: str) -> None:
    (found,) = differences(tmp_path, change)
    assert found.startswith(told)
    assert len(found) < 300


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    ],
)
def test_the_encoding_is_no_difference(tmp_path: Path, syntax: Any) -> None:
    one, two = rich_slice(), rich_slice()
    for dataset in (one, two):
        del dataset[0x00291011]  # the value of UN is not told in another byte order
        del dataset[0x00291010]
        del dataset[0x00290010]
        del dataset[0x00091010]
    original = written(tmp_path / "a", one)
    if syntax == RLELossless:
        two.compress(syntax, generate_instance_uid=False)
    else:
        two.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        two.PixelData = np.frombuffer(two.PixelData, "<u2").astype(">u2").tobytes()
    options = {"little_endian": False, "implicit_vr": False} if "Big" in syntax.name else {}
    restored = written(tmp_path / "b", two, **options)
    assert first_different_byte(original, restored) is not None
    assert instance_differences(original, restored) == []
    assert instance_differences(restored, original) == []
    bit_flipped(one)
    original = written(tmp_path / "c", one)
    assert len(instance_differences(original, restored)) == 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_private_elements_may_get_a_vr(tmp_path: Path, syntax: Any) -> None:
    """If the original has UN or an implicit encoding, their bytes alone count (PS3.5 6.2.2)."""
    one, equal, other = rich_slice(), rich_slice(), rich_slice()
    one.add_new(0x00291013, "UN", b"1.5 ")
    one.file_meta.TransferSyntaxUID = syntax
    equal.add_new(0x00291013, "DS", "1.5")
    other.add_new(0x00291013, "DS", "2.5")
    original = written(tmp_path / "a", one)
    assert instance_differences(original, written(tmp_path / "b", equal)) == []
    (found,) = instance_differences(original, written(tmp_path / "c", other))
    assert found.startswith("(0029,1013)")


def test_the_order_of_elements(tmp_path: Path) -> None:
    original = written(tmp_path / "a", make_slice())
    data = original.read_bytes()
    (length,) = np.frombuffer(data[140:144], "<u4")
    start = 144 + int(length)
    first, second = data[start : start + 18], data[start + 18 : start + 52]
    assert first[:4] == b"\x08\0\x05\0" and second[:4] == b"\x08\0\x16\0"
    restored = tmp_path / "b"
    restored.write_bytes(data[:start] + second + first + data[start + 52 :])
    (found,) = instance_differences(original, restored)
    assert found.startswith("order of elements: at position 0 (0008,0005) SpecificCharacterSet")


def test_as_many_lines_as_asked_for(tmp_path: Path) -> None:
    one, two = make_slice(), pydicom.Dataset()
    two.file_meta = one.file_meta
    two.SOPInstanceUID, two.SOPClassUID = "1", "2"
    original, restored = written(tmp_path / "a", one), written(tmp_path / "b", two)
    assert len(instance_differences(original, restored, 5)) == 5


def test_the_first_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "b"
    data = bytearray(3 << 20)
    one.write_bytes(data)
    data[(2 << 20) + 17] = 1
    two.write_bytes(data)
    assert first_different_byte(one, two) == (2 << 20) + 17
    two.write_bytes(bytes((1 << 20) + 5))
    assert first_different_byte(one, two) == (1 << 20) + 5
    assert first_different_byte(one, one) is None
    with pytest.raises(CubeFileAccessError):
        first_different_byte(one, tmp_path / "none")


@pytest.mark.parametrize("depth", [50, 600])
def test_deep_sequences(tmp_path: Path, depth: int) -> None:
    inner = [item(CodeValue="A")], [item(CodeValue="B")]
    paths = []
    for name, items in zip("ab", inner, strict=True):
        data = dataset_bytes(items[0], ExplicitVRLittleEndian)
        for _ in range(depth):
            content = struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data
            data = element(0x00081140, b"SQ", content)
        paths.append(tmp_path / name)
        paths[-1].write_bytes(with_meta(data, ExplicitVRLittleEndian))
    if depth > 500:
        with pytest.raises(MetaDataError, match="a: sequences are nested too deeply"):
            instance_differences(*paths)
    else:
        (found,) = instance_differences(*paths)
        assert found.endswith("CodeValue: a value of 2 bytes became a value of 2 bytes")


def test_values_are_shown_on_request_only(tmp_path: Path) -> None:
    one, two = rich_slice(), rich_slice()
    two.PatientName, two.SeriesDescription, two.RescaleSlope, two.Rows = (
        "ZZNAME",
        "20301112",
        77,
        77,
    )
    two.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.77"
    files = written(tmp_path / "a", one), written(tmp_path / "b", two)
    hidden = "\n".join(instance_differences(*files))
    shown = "\n".join(instance_differences(*files, show_values=True))
    assert "(0010,0010) PatientName: a value of" in hidden
    for text in ("ZZNAME", "20301112", "77"):
        assert text in shown and text not in hidden


@pytest.mark.parametrize("end", range(1, 300, 7))
def test_files_that_are_cut_off(tmp_path: Path, end: int) -> None:
    whole = written(tmp_path / "a", rich_slice())
    (tmp_path / "b").write_bytes(whole.read_bytes()[:-end])
    try:
        assert instance_differences(whole, tmp_path / "b")
    except MetaDataError as error:
        assert "b is a damaged DICOM file" in str(error)


def test_a_deflated_dataset_without_its_end(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    elements = packer.compress(dataset_bytes(rich_slice(), ExplicitVRLittleEndian)) + packer.flush(
        zlib.Z_SYNC_FLUSH
    )
    for name, data in (("a", elements + packer.flush()), ("b", elements)):
        (tmp_path / name).write_bytes(with_meta(data, DeflatedExplicitVRLittleEndian))
    assert instance_differences(tmp_path / "a", tmp_path / "a") == []
    with pytest.raises(MetaDataError, match="b is a damaged DICOM file"):
        instance_differences(tmp_path / "a", tmp_path / "b")
