"""DICOM tags: accepted notations, and names of common tags.

Knows pydicom's data dictionary. Must not know datasets, values or files.
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from typing import Any, TypeAlias

from pydicom.config import IGNORE
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from dicube.exceptions import MetaDataError, shown

TagLike: TypeAlias = "str | int | BaseTag | tuple[int, int]"
"""A keyword, a pydicom Tag, (group, element), 0xGGGGEEEE, or hexadecimal text."""

_HEX_TEXT = re.compile(r"\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?")


class UnknownTagError(MetaDataError, KeyError, ValueError):
    """Raised for a value that is not a DICOM tag.

    Also a KeyError and a ValueError, because pydicom raises either for the same mistake.
    """

    __str__ = MetaDataError.__str__


def get_tag_key(tag: TagLike) -> str:
    """Return the key of a tag in the metadata: 'GGGGEEEE', upper-case hexadecimal.

    Args:
        tag: a keyword ('PatientName'), pydicom Tag, (group, element), 0xGGGGEEEE, or hexadecimal
            text ('00100010', '0010,0010', '(0010,0010)'). Private tags are accepted.

    Raises:
        UnknownTagError: (also a MetaDataError, KeyError and ValueError) it is not a tag.

    Example:
        >>> from dicube.dicom.dicom_tags import get_tag_key
        >>> get_tag_key("PatientName"), get_tag_key((0x0010, 0x0010))
        ('00100010', '00100010')
    """
    return _key_of_text(tag) if type(tag) is str else f"{get_tag(tag):08X}"


# Cached because the same hundred keywords are looked up again and again.
@lru_cache(maxsize=1 << 12)
def _key_of_text(tag: str) -> str:
    return f"{get_tag(tag):08X}"


def get_tag(tag: TagLike) -> BaseTag:
    """Return the pydicom Tag of a tag in any notation that `get_tag_key` accepts.

    Raises:
        UnknownTagError: it is not a tag.
    """
    if isinstance(tag, BaseTag):
        return tag
    if isinstance(tag, str):
        hexadecimal = _HEX_TEXT.fullmatch(tag.strip())
        if hexadecimal:
            return Tag(int(hexadecimal[1] + hexadecimal[2], 16))
        number = tag_for_keyword(tag) if tag else None
        if number is None:
            raise UnknownTagError(f"{tag!r} is neither a DICOM keyword nor a tag in hexadecimal")
        return Tag(number)
    try:
        return Tag(_plain(tag))
    except (TypeError, ValueError, OverflowError) as error:
        raise UnknownTagError(f"{tag!r} is not a DICOM tag: {error}") from None


def tag_name(key: str) -> str:
    """Return the name of a tag in messages, such as '(0010,0010) PatientName'."""
    keyword = keyword_for_tag(key)
    return f"({key[:4]},{key[4:]})" + (f" {keyword}" if keyword else "")


def uid_name(uid: str) -> str:
    """Return the standard's name of a UID in messages, which show no UID that it doesn't name."""
    name = UID(uid, IGNORE).name
    return name if name != uid else f"an unknown UID ({shown(uid)})" if uid else "no UID"


def _plain(tag: Any) -> Any:
    """Return a tag with Python's integers, because pydicom refuses those of numpy."""
    if isinstance(tag, (tuple, list)):
        return tuple(_plain(part) for part in tag)
    return operator.index(tag)


class CommonTags:
    """The tags used most in imaging software, as pydicom Tags."""

    MediaStorageSOPClassUID = Tag(0x0002, 0x0002)
    MediaStorageSOPInstanceUID = Tag(0x0002, 0x0003)
    TransferSyntaxUID = Tag(0x0002, 0x0010)
    ImplementationClassUID = Tag(0x0002, 0x0012)
    SpecificCharacterSet = Tag(0x0008, 0x0005)
    SOPClassUID = Tag(0x0008, 0x0016)
    SOPInstanceUID = Tag(0x0008, 0x0018)
    StudyDate = Tag(0x0008, 0x0020)
    StudyTime = Tag(0x0008, 0x0030)
    AccessionNumber = Tag(0x0008, 0x0050)
    Modality = Tag(0x0008, 0x0060)
    Manufacturer = Tag(0x0008, 0x0070)
    StudyDescription = Tag(0x0008, 0x1030)
    SeriesDescription = Tag(0x0008, 0x103E)
    ManufacturerModelName = Tag(0x0008, 0x1090)
    ReferencedImageSequence = Tag(0x0008, 0x1140)
    ReferencedSOPInstanceUID = Tag(0x0008, 0x1155)
    PatientName = Tag(0x0010, 0x0010)
    PatientID = Tag(0x0010, 0x0020)
    PatientBirthDate = Tag(0x0010, 0x0030)
    PatientSex = Tag(0x0010, 0x0040)
    PatientAge = Tag(0x0010, 0x1010)
    PatientWeight = Tag(0x0010, 0x1030)
    ContrastBolusAgent = Tag(0x0018, 0x0010)
    BodyPartExamined = Tag(0x0018, 0x0015)
    SliceThickness = Tag(0x0018, 0x0050)
    SpacingBetweenSlices = Tag(0x0018, 0x0088)
    SoftwareVersions = Tag(0x0018, 0x1020)
    PatientPosition = Tag(0x0018, 0x5100)
    StudyInstanceUID = Tag(0x0020, 0x000D)
    SeriesInstanceUID = Tag(0x0020, 0x000E)
    StudyID = Tag(0x0020, 0x0010)
    SeriesNumber = Tag(0x0020, 0x0011)
    AcquisitionNumber = Tag(0x0020, 0x0012)
    InstanceNumber = Tag(0x0020, 0x0013)
    ImagePositionPatient = Tag(0x0020, 0x0032)
    ImageOrientationPatient = Tag(0x0020, 0x0037)
    FrameOfReferenceUID = Tag(0x0020, 0x0052)
    SliceLocation = Tag(0x0020, 0x1041)
    FrameContentSequence = Tag(0x0020, 0x9111)
    DimensionIndexSequence = Tag(0x0020, 0x9222)
    SamplesPerPixel = Tag(0x0028, 0x0002)
    PhotometricInterpretation = Tag(0x0028, 0x0004)
    Rows = Tag(0x0028, 0x0010)
    Columns = Tag(0x0028, 0x0011)
    PixelSpacing = Tag(0x0028, 0x0030)
    BitsAllocated = Tag(0x0028, 0x0100)
    BitsStored = Tag(0x0028, 0x0101)
    HighBit = Tag(0x0028, 0x0102)
    PixelRepresentation = Tag(0x0028, 0x0103)
    WindowCenter = Tag(0x0028, 0x1050)
    WindowWidth = Tag(0x0028, 0x1051)
    RescaleIntercept = Tag(0x0028, 0x1052)
    RescaleSlope = Tag(0x0028, 0x1053)
    PixelData = Tag(0x7FE0, 0x0010)

    PATIENT_LEVEL_TAGS = frozenset({PatientName, PatientID, PatientBirthDate, PatientSex})
    STUDY_LEVEL_TAGS = frozenset({StudyInstanceUID, StudyID, StudyDate, StudyTime, AccessionNumber})
    SERIES_LEVEL_TAGS = frozenset({SeriesInstanceUID, SeriesNumber, Modality})
    INSTANCE_LEVEL_TAGS = frozenset({SOPInstanceUID, SOPClassUID, InstanceNumber})
