"""DicomMeta: each of its methods."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import each, item, make_series

from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_tags import CommonTags
from dicube.exceptions import DataConsistencyError, MetaDataError


@pytest.fixture
def meta() -> DicomMeta:
    """Three slices; the second has no comment."""
    series = each(make_series(3), "ImageComments", ["a", "", "c"])
    del series[1].ImageComments
    return DicomMeta.from_datasets(series, ["x", "y", "z"])


def test_get(meta: DicomMeta) -> None:
    assert meta.get("PatientName") == "DOE^JOHN"
    assert meta.get("PatientName", force_nonshared=True) == ["DOE^JOHN"] * 3
    assert meta.get("PixelSpacing") == [0.5, 0.75]
    assert meta.get("InstanceNumber") == [1, 2, 3]
    assert meta.get("ImagePositionPatient")[1] == [-10.0, 20.0, 2.5]
    assert meta.get("ImageComments") == ["a", None, "c"]
    assert meta.get("StudyID") is None
    assert meta.get("StudyID", "none") == "none"
    assert meta.get("StudyID", force_nonshared=True) == [None] * 3
    for tag in (CommonTags.PatientID, (0x10, 0x20), "00100020", "0010,0020", 0x00100020):
        assert meta.get(tag) == "4711"


def test_get_of_slice(meta: DicomMeta) -> None:
    for tag, values in (
        ("InstanceNumber", [1, 2, 3]),
        ("ImageComments", ["a", None, "c"]),
        ("PatientID", ["4711"] * 3),
        ("StudyID", [None] * 3),
    ):
        for index in range(-3, 3):
            assert meta.get_of_slice(tag, index) == values[index]
        for index in (-4, 3, 99):
            with pytest.raises(IndexError, match=f"slice {index} does not exist"):
                meta.get_of_slice(tag, index)


def test_get_values(meta: DicomMeta) -> None:
    assert meta.get_values("PatientName") == [[{"Alphabetic": "DOE^JOHN"}]] * 3
    assert meta.get_values("InstanceNumber") == [1, 2, 3]
    assert meta.get_values("StudyID") == [None] * 3


def test_shared_value(meta: DicomMeta) -> None:
    assert meta.get_shared_value("Modality") == "CT"
    assert meta.get_shared_value("PixelSpacing") == [0.5, 0.75]
    assert meta.get_shared_value("RescaleIntercept") == -1024.0
    assert meta.get_shared_value("StudyID") is None
    with pytest.raises(MetaDataError, match="InstanceNumber") as caught:
        meta.get_shared_value("InstanceNumber")
    assert isinstance(caught.value, ValueError)


def test_shared_zero_is_zero() -> None:
    meta = DicomMeta.from_datasets(each(make_series(2), "RescaleIntercept", [0, 0]))
    assert meta.get_shared_value("RescaleIntercept") == 0
    assert meta.get("RescaleIntercept") == 0


def test_what_there_is(meta: DicomMeta) -> None:
    assert meta.is_shared("Modality")
    assert not meta.is_shared("InstanceNumber")
    assert not meta.is_shared("StudyID")
    assert meta.is_missing("StudyID")
    assert not meta.is_missing("ImageComments")
    assert (meta.get_vr("Modality"), meta.get_vr("StudyID")) == ("CS", "")
    assert "Modality" in meta
    assert "StudyID" not in meta
    assert meta["Modality"] == (["CT"], "shared")
    assert meta["InstanceNumber"] == ([1, 2, 3], "non_shared")
    assert meta["StudyID"] == (None, None)
    keys = list(meta.keys())
    assert keys == sorted(keys) == list(meta)
    assert dict(meta.items())["00080060"] == {"vr": "CS", "shared": True, "Value": ["CT"]}
    assert len(meta) == len(keys)
    assert meta.slice_count == 3
    assert "3 slices" in repr(meta)


def test_unknown_keyword(meta: DicomMeta) -> None:
    with pytest.raises(MetaDataError):
        meta.get("PatientsFavourite")


def test_set_shared_item(meta: DicomMeta) -> None:
    meta.set_shared_item("PatientName", "ROE^JANE")
    meta.set_shared_item("InstanceNumber", 7)
    meta.set_shared_item("StudyDescription", None)
    meta.set_shared_item("PixelSpacing", np.array([1.0, 2.0]))
    assert meta.get("PatientName") == "ROE^JANE"
    assert meta["PatientName"] == ([{"Alphabetic": "ROE^JANE"}], "shared")
    assert meta.get("InstanceNumber") == 7
    assert not meta.is_missing("StudyDescription")
    assert meta.get("StudyDescription") is None
    assert meta.dataset(1).PixelSpacing == [1, 2]
    assert list(meta.keys()) == sorted(meta.keys())
    json.loads(meta.to_json())


def test_set_sequence(meta: DicomMeta) -> None:
    meta.set_shared_item("ReferencedImageSequence", [item(PatientID="a"), item(PatientID="b")])
    assert [i.PatientID for i in meta.dataset(2).ReferencedImageSequence] == ["a", "b"]
    meta.set_shared_item("ReferencedImageSequence", meta.get("ReferencedImageSequence")[1:])
    assert [i.PatientID for i in meta.dataset(2).ReferencedImageSequence] == ["b"]
    with pytest.raises(MetaDataError):
        meta.set_shared_item("ReferencedImageSequence", [3])


def test_set_nonshared_item(meta: DicomMeta) -> None:
    meta.set_nonshared_item("SliceLocation", [1.5, None, 2])
    assert meta.get("SliceLocation") == [1.5, None, 2.0]
    assert "SliceLocation" not in meta.dataset(1)
    meta.set_nonshared_item("ImagePositionPatient", np.zeros((3, 3)))
    assert meta.get_values("ImagePositionPatient") == [[0.0, 0.0, 0.0]] * 3
    meta.set_nonshared_item("SliceLocation", [None] * 3)
    assert meta.is_missing("SliceLocation")
    with pytest.raises(DataConsistencyError, match="2 values for 3 slices") as caught:
        meta.set_nonshared_item("SliceLocation", [1, 2])
    assert isinstance(caught.value, ValueError)


def test_set_private_and_ambiguous(meta: DicomMeta) -> None:
    with pytest.raises(MetaDataError, match="vr="):
        meta.set_shared_item((9, 0x1001), "x")
    meta.set_shared_item((9, 0x1001), "x", vr="LO")
    assert meta.get((9, 0x1001)) == "x"
    meta.set_shared_item("PixelPaddingValue", 5)
    assert meta.get_vr("PixelPaddingValue") == "US"
    meta.set_shared_item("PixelRepresentation", 1)
    meta.set_shared_item("SmallestImagePixelValue", -5)
    assert meta.get_vr("SmallestImagePixelValue") == "SS"


@pytest.mark.parametrize(
    ("tag", "value"),
    [("InstanceNumber", "x"), ("Rows", -1), ("Rows", "a"), ("PixelData", b"ab")],
)
def test_set_what_does_not_suit(meta: DicomMeta, tag: str, value: Any) -> None:
    before = copy.deepcopy(meta)
    with pytest.raises(MetaDataError, match=tag):
        meta.set_shared_item(tag, value)
    with pytest.raises(MetaDataError, match=tag):
        meta.set_nonshared_item(tag, [value] * 3)
    assert meta == before


def test_edits_leave_no_trace_in_the_json() -> None:
    series = make_series(2)
    for dataset in series:
        dataset.PatientName = "Secret^Name  "
    meta = DicomMeta.from_datasets(series)
    meta.to_json()
    meta.set_shared_item("PatientName", "X")
    assert "Secret" not in meta.to_json()
    del meta["PatientName"]
    assert meta.is_missing("PatientName")


def test_delete(meta: DicomMeta) -> None:
    del meta["PatientID"]
    assert meta.is_missing("PatientID")
    assert "PatientID" not in meta.dataset(0)
    with pytest.raises(MetaDataError, match="PatientID") as caught:
        del meta["PatientID"]
    assert isinstance(caught.value, KeyError)


def test_file_meta_is_listed_but_not_in_datasets(meta: DicomMeta) -> None:
    assert meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1"
    assert "00020010" in list(meta) and not [k for k in meta.index(0) if k.startswith("0002")]
    assert DicomMeta.from_json(meta.to_json()).get("TransferSyntaxUID") == "1.2.840.10008.1.2.1"
    del meta["TransferSyntaxUID"]
    assert meta.is_missing("TransferSyntaxUID")


def test_file_meta_is_sorted_along() -> None:
    series = make_series(3)
    for i, dataset in enumerate(series):
        dataset.file_meta.SourceApplicationEntityTitle = f"AE{i}"
    meta = DicomMeta.from_datasets(series)
    meta.reorder([2, 0, 1])
    assert meta.get("SourceApplicationEntityTitle") == ["AE2", "AE0", "AE1"]


@pytest.mark.parametrize(
    ("method", "numbers"),
    [
        (SortMethod.INSTANCE_NUMBER_ASC, [1, 2, 3, 4]),
        (SortMethod.INSTANCE_NUMBER_DESC, [4, 3, 2, 1]),
        (SortMethod.POSITION_RIGHT_HAND, [3, 1, 4, 2]),
        (SortMethod.POSITION_LEFT_HAND, [2, 4, 1, 3]),
    ],
)
def test_sort_files(method: SortMethod, numbers: list[int]) -> None:
    series = each(make_series(4), "ImagePositionPatient", [[0, 0, z] for z in (2, 4, 1, 3)])
    shuffled = [series[i] for i in (2, 0, 3, 1)]
    meta = DicomMeta.from_datasets(shuffled, ["3", "1", "4", "2"])
    order = meta.sort_files(method)
    assert meta.get("InstanceNumber") == numbers
    assert meta.filenames == [str(number) for number in numbers]
    assert [[3, 1, 4, 2][i] for i in order] == numbers
    assert [meta.dataset(i).InstanceNumber for i in range(4)] == numbers


def test_right_hand_is_along_row_cross_column() -> None:
    series = each(make_series(2), "ImageOrientationPatient", [[0, 1, 0, 1, 0, 0]] * 2)
    meta = DicomMeta.from_datasets(series)
    meta.sort_files(SortMethod.POSITION_RIGHT_HAND)
    assert meta.get("InstanceNumber") == [2, 1]


def test_an_order_that_is_none(meta: DicomMeta) -> None:
    with pytest.raises(DataConsistencyError, match="'position'"):
        meta.sort_files("position")  # type: ignore[arg-type]


def test_sorting_what_instance_numbers_do_not_order() -> None:
    series = each(make_series(4), "ImagePositionPatient", [[0, 0, z] for z in (3, 1, 2, 0)])
    meta = DicomMeta.from_datasets(each(series, "InstanceNumber", [5, 5, 5, 5]))
    assert meta.sort_files(SortMethod.INSTANCE_NUMBER_ASC) == [3, 1, 2, 0]
    meta = DicomMeta.from_datasets(each(series, "InstanceNumber", [..., 2, "", 1]))
    assert meta.sort_files(SortMethod.INSTANCE_NUMBER_ASC) == [3, 1, 2, 0]
    for dataset in series:
        del dataset.ImagePositionPatient
    meta = DicomMeta.from_datasets(series)
    assert meta.sort_files(SortMethod.INSTANCE_NUMBER_ASC) == [3, 1, 0, 2]
    with pytest.raises(MetaDataError, match="4 of 4"):
        meta.sort_files(SortMethod.POSITION_RIGHT_HAND)


def test_reorder_refuses_what_is_no_order(meta: DicomMeta) -> None:
    with pytest.raises(DataConsistencyError):
        meta.reorder([0, 0, 1])


def test_sorting_finished_and_unfinished_entries_alike() -> None:
    for touch in (False, True):
        meta = DicomMeta.from_datasets(make_series(4))
        if touch:
            meta.to_json()
        meta.reorder([3, 1, 0, 2])
        assert meta.get("InstanceNumber") == [4, 2, 1, 3]
        assert meta.get("SOPInstanceUID")[0].endswith(".4")


def test_index(meta: DicomMeta) -> None:
    elements = meta.index(0)
    assert elements["00200013"] == {"vr": "IS", "Value": [1]}
    assert elements["00200032"] == {"vr": "DS", "Value": [-10.0, 20.0, 0.0]}
    assert elements["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "DOE^JOHN"}]}
    assert "00204000" not in meta.index(1)
    assert meta.index(-1) == meta.index(np.int64(2))
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            meta.index(wrong)


def test_index_is_what_pydicom_reads() -> None:
    from pydicom.dataset import Dataset

    series = each(make_series(2), "SliceThickness", ["2.50", "2.50"])
    meta = DicomMeta.from_datasets(series)
    assert "raw" not in json.dumps(meta.index(0))
    rebuilt = Dataset.from_json(meta.index(1))
    assert rebuilt.SliceThickness == 2.5
    assert rebuilt.PatientName == "DOE^JOHN"


def test_dataset_equals_the_source() -> None:
    series = make_series(3)
    meta = DicomMeta.from_datasets(series)
    for index, source in enumerate(series):
        del source.PixelData
        assert meta.dataset(index) == source


@pytest.mark.parametrize("number", [1.5, math.nan])
def test_json_round_trip(meta: DicomMeta, number: float) -> None:
    meta.set_shared_item("ReconstructionFieldOfView", [number, 2.0])
    again = DicomMeta.from_json(meta.to_json(), ["x", "y", "z"])
    assert again == meta
    assert again.filenames == ["x", "y", "z"]
    assert again.slice_count == 3


def test_slice_count_of_one_slice_and_of_slices_that_do_not_differ() -> None:
    meta = DicomMeta.from_datasets(make_series(1))
    assert DicomMeta.from_json(meta.to_json()).slice_count == 1
    same = {"00080060": {"vr": "CS", "shared": True, "Value": ["CT"]}}
    assert DicomMeta(same).slice_count == 1
    assert DicomMeta(same, ["a", "b"]).slice_count == 2
    assert DicomMeta(same, slice_count=4).slice_count == 4
    assert DicomMeta.from_json(DicomMeta(same, slice_count=4).to_json()).slice_count == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"_merged_data": []}',
        '{"_merged_data": {"00080060": 3}}',
        '{"_merged_data": {"00080060": {"shared": true}}}',
        '{"merge_version": 2, "_merged_data": {"00080060": {"vr": "CS", "shared": "x"}}}',
        '{"merge_version": 2, "_merged_data": {"nokey": {"vr": "CS", "shared": true}}}',
        '{"merge_version": 2, "slice_count": 3, "_merged_data":'
        ' {"00080060": {"vr": "CS", "shared": false, "Value": [1, 2]}}}',
        '{"merge_version": 2, "_merged_data": {"00081140": {"vr": "SQ", "shared": null,'
        ' "Value": [3]}}}',
        "[" * 100_000,
    ],
)
def test_json_that_is_no_metadata(text: str) -> None:
    with pytest.raises(MetaDataError):
        DicomMeta.from_json(text)


def test_counts_that_contradict(meta: DicomMeta) -> None:
    with pytest.raises(DataConsistencyError, match="2 filenames for 3 slices"):
        DicomMeta.from_json(meta.to_json(), ["a", "b"])
    with pytest.raises(DataConsistencyError):
        DicomMeta.from_datasets(make_series(2), ["a"])
    with pytest.raises(MetaDataError):
        DicomMeta.from_datasets([])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_independent(meta: DicomMeta, duplicate: Any) -> None:
    twin = duplicate(meta)
    assert twin == meta
    assert twin.get("TransferSyntaxUID") == meta.get("TransferSyntaxUID")
    twin.set_shared_item("PatientID", "other")
    twin.sort_files(SortMethod.INSTANCE_NUMBER_DESC)
    assert meta.get("PatientID") == "4711"
    assert meta.get("InstanceNumber") == [1, 2, 3]
    assert meta.filenames == ["x", "y", "z"]
    assert twin != meta


def test_pickle(meta: DicomMeta) -> None:
    again = pickle.loads(pickle.dumps(meta))
    assert again == meta
    assert again.filenames == meta.filenames
    again.reorder([2, 1, 0])
    assert again.get("InstanceNumber") == [3, 2, 1]


def test_display(meta: DicomMeta, capsys: pytest.CaptureFixture[str]) -> None:
    assert meta.display() is None  # type: ignore[func-returns-value]
    printed = capsys.readouterr().out
    assert "DOE^JOHN" in printed
    assert "InstanceNumber" in printed
    meta.display(show_shared=False)
    printed = capsys.readouterr().out
    assert "DOE^JOHN" not in printed
    assert "InstanceNumber" in printed


def test_a_value_by_hand_that_is_none() -> None:
    from pydicom import config
    from pydicom.dataelem import DataElement

    series = make_series(1)
    element = DataElement(0x00280010, "US", 5, validation_mode=config.IGNORE)
    element._value = "no number"
    series[0][0x00280010] = element
    with pytest.raises(MetaDataError, match="Rows"):
        DicomMeta.from_datasets(series)


def test_what_is_asked_for_can_be_changed() -> None:
    meta = DicomMeta.from_datasets(make_series(3))
    before = meta.to_json()
    meta.get_values("ImagePositionPatient")[0][2] += 5
    meta.get_values("PixelSpacing")[0][0] = 7
    meta.get_shared_value("ImageOrientationPatient")[0] = 7
    meta.get("ImageOrientationPatient")[0] = 7
    meta.get("ImagePositionPatient", force_nonshared=True)[0][0] = 7
    meta.index(0)["00200032"]["Value"][0] = 7
    assert meta.to_json() == before
