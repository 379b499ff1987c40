"""instance: pydicom reads the same elements from well-formed and from damaged files."""

from __future__ import annotations

import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from inputs.dicom_bytes import dataset_bytes, element, inserted, with_meta
from inputs.dicom_series import item, make_series, make_slice, write_series
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicube import DicomCubeImage
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tree import find_series
from dicube.dicom.files.instance_reading import _read_by_pydicom, read_instance
from dicube.dicom.files.sources import FileOnDisk
from dicube.exceptions import CubeFileAccessError, DicomCubeError, MetaDataError, OutOfMemoryError

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
            assert path.name == "no_meta.dcm"  # starts with a blank
            continue
        if instance.is_directory:  # its records are not read
            assert "DICOMDIR" in path.name
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
        if path.name == "badVR.dcm":  # a wrong NumberOfFrames, by which alone datasets go
            assert (instance.stated_frames, instance.frame_count) == (1, 15)
            continue
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


PATIENT_ID, ROWS, PIXELS = 0x00100020, 0x00280010, 0x7FE00010


def with_elements(
    path: Path, syntax: str, before: int | None, *added: tuple[int, bytes, bytes]
) -> Path:
    """Write a slice with elements put before one of its own, or at the end."""
    uid = pydicom.uid.UID(syntax)
    order = "<" if uid.is_little_endian else ">"
    plain = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    data = dataset_bytes(make_slice(), plain)
    new = b"".join(element(*one, implicit=uid.is_implicit_VR, order=order) for one in added)
    data = data + new if before is None else inserted(data, before, new, order)
    if plain != syntax:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    path.write_bytes(with_meta(data, syntax))
    return path


@pytest.mark.parametrize("place", [PATIENT_ID, 0x0020000E, None], ids=["beside", "apart", "behind"])
@pytest.mark.parametrize("syntax", SYNTAXES)
class TestRepeatedElements:
    """DCMTK and GDCM take the first of two, pydicom the last."""

    def test_a_warning_names_file_and_element(
        self, tmp_path: Path, syntax: str, place: int | None
    ) -> None:
        path = with_elements(tmp_path / "I1", syntax, place, (PATIENT_ID, b"LO", b"SECRET"))
        with pytest.warns(UserWarning, match=r"I1: \(0010,0020\) PatientID") as told:
            image = DicomCubeImage.from_dicom_folder(path)
        assert "SECRET" not in str(told[0].message)
        assert "4711" not in str(told[0].message)
        assert image.dicom_meta is not None
        found = image.dicom_meta.get("PatientID")
        assert found == pydicom.dcmread(path).PatientID

    def test_equal_ones_are_no_fault(self, tmp_path: Path, syntax: str, place: int | None) -> None:
        path = with_elements(tmp_path / "I1", syntax, place, (PATIENT_ID, b"LO", b"4711"))
        assert read_instance(str(path)).remarks == ()  # type: ignore[union-attr]

    def test_two_images_in_one_are_refused(
        self, tmp_path: Path, syntax: str, place: int | None
    ) -> None:
        order = "<" if pydicom.uid.UID(syntax).is_little_endian else ">"
        rows = (ROWS, b"US", struct.pack(order + "H", 3))
        place = ROWS if place == PATIENT_ID else place
        path = with_elements(tmp_path / "I1", syntax, place, rows)
        with pytest.raises(MetaDataError, match=r"I1: \(0028,0010\) Rows"):
            read_instance(str(path))


@pytest.mark.parametrize("place", [PIXELS, None], ids=["before", "behind"])
@pytest.mark.parametrize("tag", [PIXELS, 0x7FE00008, 0x7FE00009], ids="{:08X}".format)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_two_pixel_elements_are_refused(
    tmp_path: Path, syntax: str, tag: int, place: int | None
) -> None:
    vr = {PIXELS: b"OW", 0x7FE00008: b"OF", 0x7FE00009: b"OD"}[tag]
    path = with_elements(tmp_path / "I1", syntax, place, (tag, vr, bytes(240)))
    with pytest.raises(MetaDataError, match="I1: expected one pixel element"):
        read_instance(str(path))


def test_two_pixel_elements_of_a_dataset_are_refused() -> None:
    dataset = make_slice()
    dataset.FloatPixelData = bytes(120)
    with pytest.raises(MetaDataError, match="dataset 0: expected one pixel element"):
        DicomCubeImage.from_dicom_folder(dataset)


def test_an_element_repeated_in_an_item(tmp_path: Path) -> None:
    inner = element(PATIENT_ID, b"LO", b"A1") + element(PATIENT_ID, b"LO", b"B1")
    item_bytes = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    added = (0x00081140, b"SQ", item_bytes)
    path = with_elements(tmp_path / "I1", ExplicitVRLittleEndian, 0x00100010, added)
    with pytest.warns(UserWarning, match=r"PatientID in \(0008,1140\) ReferencedImageSequence"):
        DicomCubeImage.from_dicom_folder(path)


def test_a_transfer_syntax_stated_twice(tmp_path: Path) -> None:
    path = with_elements(tmp_path / "I1", ExplicitVRLittleEndian, None)
    other = element(0x00020010, b"UI", ImplicitVRLittleEndian.encode())
    data = path.read_bytes()
    at = data.index(b"\2\0\x10\0")
    path.write_bytes(data[:at] + other + data[at:])
    with pytest.raises(MetaDataError, match=r"I1: \(0002,0010\) TransferSyntaxUID"):
        read_instance(str(path))


def test_elements_beyond_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path, make_series(1))

    def fail(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("dicube.dicom.files.instance_reading.parse_elements", fail)
    with pytest.raises(OutOfMemoryError, match="I1 needs more memory"):
        read_instance(str(tmp_path / "I1"))


@pytest.mark.parametrize("tag", [0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_numbers_that_are_none(tag: int, value: float, tmp_path: Path) -> None:
    """Floating-point numbers where integers are expected."""
    dataset = make_slice()
    dataset[tag] = DataElement(tag, "FD", value)
    write_series(tmp_path, [dataset])
    with suppress(DicomCubeError):
        DicomCubeImage.from_dicom_folder(tmp_path)
    tree = find_series(tmp_path)
    assert len(tree.series) + len(tree.unreadable) == 1


@pytest.mark.parametrize("before", [0x00080016, 0x00100010])  # pydicom reads what is out of order
def test_long_character_set(tmp_path: Path, before: int) -> None:
    """It is refused before its values are looked up."""
    dataset = make_slice()
    with suppress(AttributeError):
        del dataset.SpecificCharacterSet
    for count, is_refused in ((50, False), (100_000, True)):
        plain = dataset_bytes(dataset, ExplicitVRLittleEndian)
        long = element(0x00080005, b"UT", b"1\\" * count)
        path = tmp_path / "a.dcm"
        path.write_bytes(with_meta(inserted(plain, before, long), ExplicitVRLittleEndian))
        with warnings.catch_warnings():
            warnings.simplefilter("error" if is_refused else "ignore")
            if is_refused:
                with pytest.raises(MetaDataError, match=r"1088 bytes \(64 values\), found 200000"):
                    read_instance(str(path))
            else:
                assert read_instance(str(path)) is not None
