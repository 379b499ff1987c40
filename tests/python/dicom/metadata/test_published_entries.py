"""published_entries: metadata JSON of the published package, including its corrupt values."""

from __future__ import annotations

import json
from typing import Any

from dicube.dicom.dicom_meta import DicomMeta


def published(entries: dict[str, Any], count: int = 3) -> DicomMeta:
    return DicomMeta.from_json(json.dumps({"_merged_data": entries, "slice_count": count}))


UIDS = {"00080018": {"vr": "UI", "shared": False, "Value": ["1.0", "1.1", "1.2"]}}


def test_none_stands_for_absent() -> None:
    meta = published(
        {
            **UIDS,
            "00100020": {"vr": "LO", "shared": False, "Value": ["None", ["x"], ["y"]]},
            "00200032": {"vr": "DS", "shared": False, "Value": [[1.0, 2.0, 3.0], "None", "None"]},
            "00101010": {"vr": "AS", "shared": False, "Value": [["None"], ["004Y"], ["004Y"]]},
        }
    )
    assert meta.get("PatientID") == [None, "x", "y"]
    assert meta.get("ImagePositionPatient") == [[1.0, 2.0, 3.0], None, None]
    assert meta.get("PatientAge") == [None, "004Y", "004Y"]
    assert "PatientID" not in meta.dataset(0)


def test_values_under_the_key_null() -> None:
    lost = {"vr": "DS", "shared": False, "null": [[1.5], [2.5], "None"]}
    binary = {"vr": "OB", "shared": False, "null": ["AAE=", "AgM=", "None"]}
    meta = published({**UIDS, "00101020": lost, "00091001": binary})
    assert meta.get("PatientSize") == [1.5, 2.5, None]
    assert meta.get((9, 0x1001)) == [b"\0\1", b"\2\3", None]


def test_values_whose_slice_cannot_be_told_are_left_out() -> None:
    lost = {"vr": "DS", "shared": False, "null": [[1.5], [2.5], "None"], "Value": [None] * 3}
    binary = {"vr": "OB", "shared": False, "null": ["AAE=", "AgM=", "None"], "Value": [None] * 3}
    meta = published({**UIDS, "00101020": lost, "00091001": binary})
    assert meta.get("PatientSize") == meta.get((9, 0x1001)) == [None] * 3


def test_binary_with_a_list_of_nulls_beside() -> None:
    entry = {"vr": "OB", "shared": False, "Value": [None] * 3, "InlineBinary": ["AAE=", "None", ""]}
    assert published({**UIDS, "00091001": entry}).get((9, 0x1001)) == [b"\0\1", None, None]


def test_binary_that_was_emptied() -> None:
    meta = published({**UIDS, "00291010": {"vr": "OB", "shared": False, "Value": [None] * 3}})
    assert meta.get((0x29, 0x1010)) == [None] * 3
    assert (0x29, 0x1010) not in meta.dataset(0)


def test_all_sequence_items() -> None:
    sequence = {
        "vr": "SQ",
        "shared": None,
        "Value": [
            {
                "00081150": {"vr": "UI", "shared": True, "Value": ["1.2"]},
                "00081155": {"vr": "UI", "shared": False, "Value": ["1.0", "1.1", "1.2"]},
            },
            {
                "00081150": {"vr": "UI", "shared": False, "Value": [["1.3"], "None", ["1.3"]]},
                "00081155": {"vr": "UI", "shared": False, "Value": [["2.0"], "None", ["2.2"]]},
            },
        ],
    }
    meta = published({**UIDS, "00081140": sequence})
    uids = [
        [i.ReferencedSOPInstanceUID for i in meta.dataset(n).ReferencedImageSequence]
        for n in range(3)
    ]
    assert uids == [["1.0", "2.0"], ["1.1"], ["1.2", "2.2"]]
    assert DicomMeta.from_json(meta.to_json()) == meta


def test_a_sequence_that_slices_lack() -> None:
    inner = {"00081150": {"vr": "UI", "shared": False, "null": [["5.5"], ["5.6"], "None"]}}
    meta = published({**UIDS, "00082112": {"vr": "SQ", "shared": None, "Value": [inner]}})
    assert meta.dataset(1).SourceImageSequence[0].ReferencedSOPClassUID == "5.6"
    assert "SourceImageSequence" not in meta.dataset(2)


def test_empty_sequence_and_empty_value() -> None:
    meta = published(
        {
            **UIDS,
            "00081140": {"vr": "SQ", "shared": None, "Value": []},
            "00080050": {"vr": "SH", "shared": True},
        }
    )
    assert len(meta.dataset(0).ReferencedImageSequence) == 0
    assert not meta.dataset(0).AccessionNumber
    assert "AccessionNumber" in meta.dataset(0)


def test_one_slice() -> None:
    meta = published({"00080018": {"vr": "UI", "shared": True, "Value": ["1.0"]}}, 1)
    assert meta.slice_count == 1
    assert meta.get("SOPInstanceUID") == "1.0"
