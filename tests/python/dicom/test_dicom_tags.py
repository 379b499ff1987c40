"""dicom_tags: every way to write a tag, and the common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from programs.running import run_python
from pydicom.datadict import DicomDictionary, dictionary_keyword
from pydicom.tag import Tag

from dicube.dicom.dicom_tags import CommonTags, get_tag_key, keyword_of
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


def test_keywords_are_those_of_pydicom() -> None:
    for number in DicomDictionary:
        assert keyword_of(f"{number:08X}") == dictionary_keyword(number)
        if keyword := dictionary_keyword(number):
            assert get_tag_key(keyword) == f"{Tag(keyword):08X}"
    assert keyword_of("60020010") == "OverlayRows"  # of a repeating group
    assert keyword_of("00091001") == ""


@pytest.mark.parametrize("first", ["", "import pydicom"])
def test_keywords_that_callers_add_to_pydicom(first: str) -> None:
    code = f"""
{first}
from dicube.dicom.dicom_tags import get_tag_key, keyword_of
print(get_tag_key("PatientName"), keyword_of("00100010"), end=" ")
from pydicom.datadict import add_dict_entry
add_dict_entry(0x10021001, "UL", "TestOne", "Test One")
print(get_tag_key("TestOne"), keyword_of("10021001"))
"""
    assert run_python("-c", code).stdout == "00100010 PatientName 10021001 TestOne\n"


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
