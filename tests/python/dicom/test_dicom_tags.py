"""dicom_tags: every way to write a tag, and the common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.tag import Tag

from dicube.dicom.dicom_tags import CommonTags, get_tag_key
from dicube.exceptions import MetaDataError


@pytest.mark.parametrize(
    "tag",
    [
        "PatientName",
        Tag(0x0010, 0x0010),
        (0x0010, 0x0010),
        [0x0010, 0x0010],
        (np.int64(0x10), np.int64(0x10)),
        0x00100010,
        np.int64(0x00100010),
        "00100010",
        "0010,0010",
        "(0010,0010)",
        "(0010, 0010)",
    ],
)
def test_every_way_to_write_a_tag(tag: Any) -> None:
    assert get_tag_key(tag) == "00100010"


def test_hexadecimal_is_upper_case_and_private_tags_are_tags() -> None:
    assert get_tag_key("0029,10ab") == get_tag_key((0x0029, 0x10AB)) == "002910AB"


@pytest.mark.parametrize("tag", ["PatientsFavourite", "0010001", "", None, (1, 2, 3), 1.5, -1])
def test_what_is_no_tag(tag: Any) -> None:
    with pytest.raises(MetaDataError) as caught:
        get_tag_key(tag)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)
    assert "KeyError" not in str(caught.value)


def test_common_tags() -> None:
    names = [name for name in vars(CommonTags) if not name.startswith("_")]
    assert len(names) == 59
    for name in names:
        if not name.endswith("_TAGS"):
            assert getattr(CommonTags, name) == Tag(name)
    assert {CommonTags.PatientID, CommonTags.PatientName} < CommonTags.PATIENT_LEVEL_TAGS
    assert CommonTags.StudyInstanceUID in CommonTags.STUDY_LEVEL_TAGS
    assert CommonTags.SeriesInstanceUID in CommonTags.SERIES_LEVEL_TAGS
    assert CommonTags.SOPInstanceUID in CommonTags.INSTANCE_LEVEL_TAGS
