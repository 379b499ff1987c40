"""instance: pydicom reads the same elements from well-formed and from damaged files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest
from inputs.dicom_series import item, make_slice
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.files.instance import _read_by_pydicom, read_instance
from dicube.dicom.files.sources import FileOnDisk
from dicube.exceptions import CubeFileAccessError, MetaDataError

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def rich_slice() -> Dataset:
    """Make a slice with sequences of defined and undefined length, private and empty elements."""
    dataset = make_slice()
    del dataset.PixelData
    inner = Sequence([item(CodeValue="a"), item(CodeValue="b")])
    dataset.ReferencedImageSequence = Sequence(
        [item(PatientID="x", PurposeOfReferenceCodeSequence=inner), item()]
    )
    dataset.SourceImageSequence = Sequence([item(PatientName="Müller")])
    dataset["SourceImageSequence"].is_undefined_length = True
    for nested in dataset.SourceImageSequence:
        nested.is_undefined_length_sequence_item = True
    dataset.RequestAttributesSequence = Sequence()
    dataset["RequestAttributesSequence"].is_undefined_length = True
    dataset.AccessionNumber = ""
    dataset.SmallestImagePixelValue = 3
    block = dataset.private_block(0x0029, "ACME", create=True)
    block.add_new(1, "OB", bytes(range(256)) * 300)
    block.add_new(2, "SQ", [item(PatientID="private")])
    dataset.add_new(0x7FE00010, "OW", b"\1\2" * 30)
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 10)
    return dataset


def saved(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_uncompressed_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    source = rich_slice()
    path = saved(source, tmp_path / "a.dcm", syntax)
    instance = read_instance(str(path))
    assert instance is not None
    assert instance.transfer_syntax == syntax
    assert instance.pixels is not None
    meta = DicomMeta.from_items([instance.item], [instance.file_meta], [str(path)])
    rebuilt = meta.dataset(0)
    expected = pydicom.dcmread(path)
    del expected.PixelData
    if syntax != ImplicitVRLittleEndian:  # which does not tell a private element's type
        assert rebuilt == expected
    for keyword in ("PatientName", "PixelSpacing", "SmallestImagePixelValue", "AccessionNumber"):
        assert rebuilt[keyword] == expected[keyword]
    assert [i.CodeValue for i in _purposes(rebuilt)] == ["a", "b"]
    assert rebuilt.SourceImageSequence[0].PatientName == "Müller"
    assert len(rebuilt.RequestAttributesSequence) == 0
    assert rebuilt.private_block(0x0029, "ACME")[1].value == bytes(range(256)) * 300
    assert 0xFFFCFFFC in rebuilt


def _purposes(dataset: Dataset) -> Sequence:
    return dataset.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
@pytest.mark.parametrize("head_size", [200, 1 << 10, 1 << 16, 1 << 20])
def test_the_quick_way_and_pydicom_agree(tmp_path: Path, syntax: str, head_size: int) -> None:
    path = saved(rich_slice(), tmp_path / "a.dcm", syntax)
    quick = read_instance(str(path), head_size)
    with open(path, "rb") as file:
        slow = _read_by_pydicom(FileOnDisk(str(path)), file, path.stat().st_size)
    assert quick is not None
    assert slow is not None
    assert quick.pixels == slow.pixels
    one, other = (DicomMeta.from_items([i.item], [i.file_meta]) for i in (quick, slow))
    assert one == other
    assert list(quick.item.elements) == list(slow.item.elements)


@pytest.mark.filterwarnings("ignore")
def test_every_file_that_pydicom_carries() -> None:
    compared = 0
    folder = Path(pydicom.__file__).parent / "data"
    for path in sorted(folder.rglob("*.dcm")):
        try:
            instance = read_instance(str(path))
        except MetaDataError:
            assert "truncated" in path.name
            continue
        if instance is None:
            assert "DICOMDIR" in path.name or path.name == "no_meta.dcm"  # starts with a blank
            continue
        with open(path, "rb") as file:
            slow = _read_by_pydicom(FileOnDisk(str(path)), file, path.stat().st_size)
        assert slow is not None
        assert instance.pixels == slow.pixels
        meta = DicomMeta.from_items(
            [instance.item], [instance.file_meta], frame_counts=[instance.frame_count]
        )
        assert meta == DicomMeta.from_items(
            [slow.item], [slow.file_meta], frame_counts=[slow.frame_count]
        ), path
        assert meta == DicomMeta.from_datasets([pydicom.dcmread(path, force=True)]), path
        assert DicomMeta.from_json(meta.to_json()) == meta, path
        if "priv_SQ" not in path.name and "tsyntax" not in path.name:  # odd lengths
            assert DicomMeta.from_datasets([meta.dataset(0)]) == meta, path
        compared += 1
    assert compared > 50


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    whole = saved(rich_slice(), tmp_path / "a.dcm").read_bytes()
    pixels = whole.index(b"\xe0\x7f\x10\x00OW")
    path = tmp_path / "cut.dcm"
    for length in [*range(132, 2000, 7), *range(pixels - 40, pixels, 3)]:
        path.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                instance = read_instance(str(path))
            except MetaDataError as error:
                assert str(path) in str(error)
            else:  # cut between two elements
                assert instance is not None
                assert instance.pixels is None


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"\x89PNG" + bytes(200), bytes(300), b"\x08\x00" + bytes(300)],
)
def test_what_is_no_dicom(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_instance(str(path)) is None


def test_a_dataset_without_preamble(tmp_path: Path) -> None:
    for implicit, little in ((True, True), (False, True), (False, False)):
        path = tmp_path / f"{implicit}{little}"
        dataset = rich_slice()
        del dataset.file_meta
        del dataset[0x7FE00010]
        dataset.save_as(path, implicit_vr=implicit, little_endian=little)
        instance = read_instance(str(path))
        assert instance is not None
        assert instance.text(0x00100020) == "4711"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(CubeFileAccessError, match=tmp_path.name):
        read_instance(str(tmp_path))
