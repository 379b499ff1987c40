"""Finds texts that may name a patient, such as those of files and descriptions.

For what is shown where others see it: notebooks, windows of other programs. Must not know where.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dicube.storage.urls import without_credentials

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_OF_PATIENT = ("PatientName", "PatientID", "OtherPatientNames", "OtherPatientIDs")
_LEAST_NAME = 2  # letters of a part of a name, to look for it in other texts


def names_of_patient(meta: DicomMeta | None) -> set[str]:
    """Return parts of the patient's names and IDs, which texts are searched for."""
    if meta is None:
        return set()
    found: set[str] = set()
    for keyword in _OF_PATIENT:
        for value in {str(one) for one in meta.get(keyword, force_nonshared=True) if one}:
            found |= set(re.findall(r"\w+", value.casefold()))
    return {part for part in found if len(part) >= _LEAST_NAME}


def may_name(text: str, patient: set[str]) -> bool:
    """Return whether a text has one of these parts of names, or of IDs, as a word."""
    return not patient.isdisjoint(re.findall(r"[^\W_]+", text.casefold()))


def file_name(name: str) -> str:
    """Return the last part of a path or a URL: folders are often named after patients."""
    return re.split(r"[/\\]", without_credentials(name).rstrip("/\\"))[-1]
