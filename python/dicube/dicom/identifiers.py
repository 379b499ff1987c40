"""The elements that identify patient, study and series, and when these were made.

Says which of them a listing of many files may show. Must not know how they are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
)
_STUDY_AND_SERIES = (
    "StudyInstanceUID",
    "StudyID",
    "AccessionNumber",
    "StudyDate",
    "StudyTime",
    "TimezoneOffsetFromUTC",
    "StudyDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionNumber",
    "ContentDate",
    "ContentTime",
    "SeriesDescription",
    "Modality",
    "Manufacturer",
    "BodyPartExamined",
    "FrameOfReferenceUID",
)

SHOWN_OF_ONE = frozenset(
    {
        *("PatientName", "PatientID", "StudyDate", "StudyDescription", "Modality"),
        *("Manufacturer", "SeriesDescription", "SeriesInstanceUID"),
    }
)
"""What a summary of one file shows to a reader; programs get all."""

_OF_A_PERSON = ("StudyID", "AccessionNumber")  # of a stay, an order
_WHEN = ("Date", "Time", "UTC")


def identifiers(value_of: Callable[[str], Any], *, with_patient: bool = True) -> dict[str, Any]:
    """Return the values of those elements that a series has, by keyword.

    Args:
        value_of: returns the value of an element by its keyword.
        with_patient: include what identifies a patient: their own elements, numbers of orders and
            stays, and dates and times. UIDs and descriptions are always included.

    Returns:
        Texts and integers; several values of an element are one text, as in DICOM.
    """
    keywords = [*_PATIENT, *_STUDY_AND_SERIES]
    if not with_patient:
        hidden = {*_PATIENT, *_OF_A_PERSON}
        keywords = [word for word in keywords if word not in hidden and not word.endswith(_WHEN)]
    values = {keyword: value_of(keyword) for keyword in keywords}
    return {k: _plain(value) for k, value in values.items() if value not in (None, "", [])}


def _plain(value: Any) -> str | int:
    """Return a value as JSON has it: an integer, or text."""
    if isinstance(value, int):
        return int(value)
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value)
