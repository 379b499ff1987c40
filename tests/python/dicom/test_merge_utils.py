"""merge_utils: merges N slices into entries and splits them again, sequences at any depth."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from inputs.dicom_series import each, item, make_series, make_slice, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicube.dicom.dicom_io import read_dicom_dir
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.merged_elements import MergedElements
from dicube.exceptions import MetaDataError


def entry(datasets: list[Dataset], key: str) -> Any:
    """The merged entry of a tag, by way of JSON."""
    return json.loads(DicomMeta.from_datasets(datasets).to_json())["_merged_data"].get(key)


def test_the_published_form() -> None:
    series = make_series(3)
    assert entry(series, "00080060") == {"vr": "CS", "shared": True, "Value": ["CT"]}
    name = {"vr": "PN", "shared": True, "Value": [{"Alphabetic": "DOE^JOHN"}]}
    assert entry(series, "00100010") == name
    assert entry(series, "00200013") == {"vr": "IS", "shared": False, "Value": [1, 2, 3]}
    each(series, "ImagePositionPatient", [["-10", "20", z] for z in ("0", "2.5", "5")])
    assert entry(series, "00200032") == {
        "vr": "DS",
        "shared": False,
        "Value": [[-10.0, 20.0, 0.0], [-10.0, 20.0, 2.5], [-10.0, 20.0, 5.0]],
    }


def test_lacking_is_null_and_empty_is_an_empty_list() -> None:
    series = each(make_series(3), "PatientID", ["a", ..., "b"])
    assert entry(series, "00100020")["Value"] == ["a", None, "b"]
    series = each(make_series(3), "PatientID", ["a", ..., ""])
    assert entry(series, "00100020")["Value"] == [["a"], None, []]
    series = each(make_series(3), "PatientID", ["", "", ""])
    assert entry(series, "00100020") == {"vr": "LO", "shared": True}


def test_the_same_number_written_otherwise_is_kept_as_written() -> None:
    series = each(make_series(2), "SliceThickness", ["2.5", "2.50"])
    assert entry(series, "00180050") == {
        "vr": "DS",
        "shared": False,
        "Value": [2.5, 2.5],
        "raw": [None, "2.50"],
    }


@pytest.mark.parametrize("size", [16, 20_000])
def test_binary_of_any_size(size: int) -> None:
    series = make_series(3)
    for index, dataset in enumerate(series):
        dataset.add_new(0x00091001, "OB", bytes([index]) * size)
        dataset.add_new(0x00091002, "OB", b"\7" * size)
        dataset.add_new(0x00091003, "OB", b"" if index == 1 else bytes([index]) * size)
    del series[2][0x00091001]
    meta = DicomMeta.from_json(DicomMeta.from_datasets(series).to_json())
    assert meta.get((0x0009, 0x1001)) == [b"\0" * size, b"\1" * size, None]
    assert meta.get((0x0009, 0x1002)) == b"\7" * size
    assert [meta.dataset(i)[0x00091003].value for i in range(3)] == [
        b"\0" * size,
        None,
        b"\2" * size,
    ]


def test_value_representations_that_differ() -> None:
    series = make_series(2)
    series[0].add_new(0x00091001, "LO", "text")
    series[1].add_new(0x00091001, "OB", b"\1\2")
    series[0].add_new(0x00091002, "LO", "text")
    series[1].add_new(0x00091002, "PN", "A^B")
    meta = DicomMeta.from_json(DicomMeta.from_datasets(series).to_json())
    assert [meta.dataset(i)[0x00091001].VR for i in range(2)] == ["LO", "OB"]
    assert meta.get((9, 0x1001)) == ["text", b"\1\2"]
    assert meta.get((9, 0x1002)) == ["text", "A^B"]


@pytest.mark.parametrize("read", [True, False])
def test_a_sequence_here_and_something_else_there(read: bool, tmp_path: Path) -> None:
    series = make_series(2)
    series[0].add_new(0x00091001, "SQ", [item(PatientID="x")])
    series[1].add_new(0x00091001, "LO", "text")
    made = read_dicom_dir(write_series(tmp_path / "in", series)) if read else None
    meta = DicomMeta.from_json((made or DicomMeta.from_datasets(series)).to_json())
    first = meta.dataset(0)
    assert b"x " in first.get_item(0x00091001).value
    assert meta.dataset(1)[0x00091001].value == "text"


def nested_series() -> list[Dataset]:
    """Make slices with two items in a sequence, and in each a sequence of two."""
    series = make_series(4)
    for i, dataset in enumerate(series):
        dataset.ReferencedImageSequence = Sequence(
            item(
                ReferencedSOPClassUID="1.2",
                ReferencedSOPInstanceUID=f"1.{i}.{k}",
                PurposeOfReferenceCodeSequence=Sequence(
                    item(CodeValue=f"{i}{k}{m}", CodeMeaning="same") for m in range(2)
                ),
            )
            for k in range(2)
        )
    return series


def nested_file(path: Path, depth: int, defined: bool) -> None:
    """Write a slice with items within items, of defined or of undefined lengths."""
    data = b""
    for _ in range(depth):
        end = b"" if defined else b"\xfe\xff\x0d\xe0\0\0\0\0"
        length = len(data) if defined else 0xFFFFFFFF
        data = b"\xfe\xff\x00\xe0" + struct.pack("<L", length) + data + end
        end = b"" if defined else b"\xfe\xff\xdd\xe0\0\0\0\0"
        length = len(data) if defined else 0xFFFFFFFF
        data = b"\x40\x00\x30\xa7SQ\0\0" + struct.pack("<L", length) + data + end
    make_slice(0).save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    position = whole.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[:position] + data + whole[position:])


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("depth", [50, 300, 5000])
def test_sequences_within_sequences(depth: int, defined: bool, tmp_path: Path) -> None:
    nested_file(tmp_path / "I1", depth, defined)
    try:
        text = read_dicom_dir(tmp_path).to_json()
        again = DicomMeta.from_json(text).to_json()
    except MetaDataError as error:  # of 300 some releases of Python
        assert depth > 50
        assert re.search("too deeply|recursion depth", str(error))
    else:
        assert depth < 5000
        assert text.count("0040A730") == depth
        assert again == text


def test_nested_values_stay_on_their_slice_and_item() -> None:
    meta = DicomMeta.from_json(DicomMeta.from_datasets(nested_series()).to_json())
    meta.reorder([2, 0, 3, 1])
    for place, origin in enumerate([2, 0, 3, 1]):
        items = meta.dataset(place).ReferencedImageSequence
        assert [i.ReferencedSOPInstanceUID for i in items] == [f"1.{origin}.{k}" for k in range(2)]
        for k in range(2):
            codes = [code.CodeValue for code in items[k].PurposeOfReferenceCodeSequence]
            assert codes == [f"{origin}{k}{m}" for m in range(2)]
        assert meta.index(place)["00081140"]["Value"][1]["00081155"]["Value"] == [f"1.{origin}.1"]


def test_item_counts_that_differ_and_sequences_absent_or_empty() -> None:
    series = make_series(4)
    for i, dataset in enumerate(series):
        if i < 3:
            dataset.ReferencedImageSequence = Sequence(
                item(ReferencedSOPInstanceUID=f"1.{i}.{k}") for k in range(i)
            )
    found = entry(series, "00081140")
    assert (found["vr"], found["shared"], found["counts"]) == ("SQ", None, [0, 1, 2, None])
    meta = DicomMeta.from_json(DicomMeta.from_datasets(series).to_json())
    meta.reorder([3, 2, 1, 0])
    assert "ReferencedImageSequence" not in meta.dataset(0)
    assert [len(meta.dataset(i).ReferencedImageSequence) for i in (1, 2, 3)] == [2, 1, 0]
    assert not meta.is_shared("ReferencedImageSequence")
    assert meta.get("ReferencedImageSequence")[0] is None


def test_an_element_that_only_some_items_have() -> None:
    series = make_series(2)
    for i, dataset in enumerate(series):
        first = item(ReferencedSOPInstanceUID="1.2")
        if i:
            first.ReferencedSOPClassUID = "1.9"
        dataset.ReferencedImageSequence = Sequence([first, item(PatientID="p")])
    meta = DicomMeta.from_datasets(series)
    assert "ReferencedSOPClassUID" not in meta.dataset(0).ReferencedImageSequence[0]
    assert meta.dataset(1).ReferencedImageSequence[0].ReferencedSOPClassUID == "1.9"


def test_a_sequence_that_is_the_same_everywhere_is_shared() -> None:
    series = make_series(3)
    for dataset in series:
        dataset.ReferencedImageSequence = Sequence([item(PatientID="a"), item(PatientID="b")])
        dataset.SourceImageSequence = Sequence()
    meta = DicomMeta.from_datasets(series)
    assert meta.is_shared("ReferencedImageSequence")
    assert [i["00100020"]["Value"] for i in meta.get("ReferencedImageSequence")] == [["a"], ["b"]]
    assert meta.get("SourceImageSequence") == []
    assert len(meta.dataset(1).SourceImageSequence) == 0


def test_character_sets_that_differ_from_slice_to_slice_and_item_to_item() -> None:
    series = each(make_series(2), "SpecificCharacterSet", ["ISO_IR 100", "ISO_IR 192"])
    for dataset in series:
        dataset.PatientName = "Müller^Jörg"
        dataset.RequestAttributesSequence = Sequence(
            [
                item(RequestedProcedureDescription="Größe"),
                item(SpecificCharacterSet="ISO_IR 192", RequestedProcedureDescription="大"),
            ]
        )
    meta = DicomMeta.from_json(DicomMeta.from_datasets(series).to_json())
    assert meta.get("PatientName") == "Müller^Jörg"
    for i in range(2):
        rebuilt = meta.dataset(i)
        assert rebuilt.PatientName == "Müller^Jörg"
        texts = [r.RequestedProcedureDescription for r in rebuilt.RequestAttributesSequence]
        assert texts == ["Größe", "大"]


def test_private_blocks_keep_their_creators() -> None:
    series = make_series(2)
    for i, dataset in enumerate(series):
        block = dataset.private_block(0x0029, "ACME", create=True)
        block.add_new(1, "DS", f"{i}.50")
        block.add_new(2, "SQ", [item(PatientID=str(i))])
    meta = DicomMeta.from_datasets(series)
    for i in range(2):
        block = meta.dataset(i).private_block(0x0029, "ACME")
        assert str(block[1].value.original_string) == f"{i}.50"
        assert block[2].value[0].PatientID == str(i)


def test_later_changes_to_the_datasets_do_not_show() -> None:
    series = nested_series()
    meta = DicomMeta.from_datasets(series)
    for dataset in series:
        dataset.PatientID = "changed"
        dataset.ReferencedImageSequence[0].ReferencedSOPClassUID = "9.9"
    assert meta.get("PatientID") == "4711"
    assert meta.dataset(0).ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2"


def test_pixels_and_group_lengths_are_no_metadata() -> None:
    series = make_series(2)
    for dataset in series:
        dataset.add_new(0x00080000, "UL", 4)
        dataset.add_new(0x7FE00001, "OV", b"\0" * 8)
    meta = DicomMeta.from_datasets(series)
    assert not {"7FE00010", "7FE00001", "00080000"} & set(meta.keys())


def test_a_sequence_that_all_slices_share_is_split_with_the_columns_in_it() -> None:
    inner = {
        "vr": "SQ",
        "shared": None,
        "Value": [{"00080100": {"vr": "SH", "shared": True, "Value": ["A"]}}],
        "columns": [0, 0, 1, 1],
    }
    outer = {"vr": "SQ", "shared": None, "Value": [{"00081199": inner}]}
    meta = DicomMeta({"00081140": outer}, slice_count=4)
    for part in meta.split([[0], [1, 2, 3]]):
        assert DicomMeta.from_json(part.to_json()).index(0) == meta.index(0)


def test_an_edited_entry_is_complete() -> None:
    shared = {"vr": "OB", "shared": True}
    merged = MergedElements((), {"00091001": shared}, ["00091001"], lambda _: shared)
    assert merged.stated("00091001") == (shared, True)
    merged["00091001"] = edited = {**shared, "InlineBinary": "AAE="}
    assert merged.stated("00091001") == (edited, False)
