"""DICOM tags: accepted notations, and names of common tags.

Knows pydicom's data dictionary. The rest of pydicom is loaded for its types only, as that takes
longer than reading the metadata of a hundred files. Must not know datasets, values or files.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from dicube.exceptions import MetaDataError, shown

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

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
    return f"{_number_of_text(tag):08X}"


def _number_of_text(tag: str) -> int:
    hexadecimal = _HEX_TEXT.fullmatch(tag.strip())
    if hexadecimal:
        return int(hexadecimal[1] + hexadecimal[2], 16)
    number = _numbers().get(tag) if tag else None
    if number is None and tag:
        from pydicom.datadict import tag_for_keyword  # callers may have added to it

        number = tag_for_keyword(tag)
    if number is None:
        raise UnknownTagError(f"{tag!r} is neither a DICOM keyword nor a tag in hexadecimal")
    return number


def get_tag(tag: TagLike) -> BaseTag:
    """Return the pydicom Tag of a tag in any notation that `get_tag_key` accepts.

    Raises:
        UnknownTagError: it is not a tag.
    """
    from pydicom.tag import BaseTag, Tag

    if isinstance(tag, BaseTag):
        return tag
    if isinstance(tag, str):
        return Tag(_number_of_text(tag))
    try:
        return Tag(_plain(tag))
    except (TypeError, ValueError, OverflowError) as error:
        raise UnknownTagError(f"{tag!r} is not a DICOM tag: {error}") from None


def keyword_of(key: str) -> str:
    """Return the keyword of a tag; '' if it has none."""
    entry = _dictionary().get(int(key, 16))
    if entry is None:
        from pydicom.datadict import keyword_for_tag  # knows repeating groups

        return keyword_for_tag(key)
    return entry[4]


def vr_of(key: str) -> str:
    """Return the value representation of a tag in the dictionary; '' if it has none.

    Some tags have several, as in 'US or SS'.
    """
    entry = _dictionary().get(int(key, 16))
    return "" if entry is None else entry[0]


def tag_name(key: str) -> str:
    """Return the name of a tag in messages, such as '(0010,0010) PatientName'."""
    keyword = keyword_of(key)
    return f"({key[:4]},{key[4:]})" + (f" {keyword}" if keyword else "")


def uid_name(uid: str) -> str:
    """Return the standard's name of a UID in messages, which show no UID that it doesn't name."""
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    name = UID(uid, IGNORE).name
    return name if name != uid else f"an unknown UID ({shown(uid)})" if uid else "no UID"


def _plain(tag: Any) -> Any:
    """Return a tag with Python's integers, because pydicom refuses those of numpy."""
    if isinstance(tag, (tuple, list)):
        return tuple(_plain(part) for part in tag)
    return operator.index(tag)


@cache
def _dictionary() -> Mapping[int, tuple[str, ...]]:
    """Return pydicom's dictionary: VR, multiplicity, name, retirement and keyword by tag.

    Importing it as a module of pydicom would load all of pydicom.
    """
    package = None if "pydicom" in sys.modules else find_spec("pydicom")
    folders = None if package is None else package.submodule_search_locations
    spec = None if folders is None else PathFinder.find_spec("_dicom_dict", folders)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        entries: Mapping[int, tuple[str, ...]] = module.DicomDictionary
        return entries
    from pydicom._dicom_dict import DicomDictionary

    return DicomDictionary


@cache
def _numbers() -> Mapping[str, int]:
    """Return the tags of the dictionary by keyword."""
    return {entry[4]: number for number, entry in _dictionary().items()}


class _TagOfPydicom:
    """A class attribute that is pydicom's Tag when it is looked up."""

    def __init__(self, group: int, element: int) -> None:
        self._number = group << 16 | element

    def __get__(self, instance: object, owner: type | None = None) -> BaseTag:
        return get_tag(self._number)


class _TagsOfPydicom:
    """A class attribute that is a set of pydicom's Tags when it is looked up."""

    def __init__(self, *tags: _TagOfPydicom) -> None:
        self._tags = tags

    def __get__(self, instance: object, owner: type | None = None) -> frozenset[BaseTag]:
        return frozenset(tag.__get__(instance) for tag in self._tags)


class CommonTags:
    """The tags used most in imaging software, as pydicom Tags."""

    MediaStorageSOPClassUID = _TagOfPydicom(0x0002, 0x0002)
    MediaStorageSOPInstanceUID = _TagOfPydicom(0x0002, 0x0003)
    TransferSyntaxUID = _TagOfPydicom(0x0002, 0x0010)
    ImplementationClassUID = _TagOfPydicom(0x0002, 0x0012)
    SpecificCharacterSet = _TagOfPydicom(0x0008, 0x0005)
    SOPClassUID = _TagOfPydicom(0x0008, 0x0016)
    SOPInstanceUID = _TagOfPydicom(0x0008, 0x0018)
    StudyDate = _TagOfPydicom(0x0008, 0x0020)
    StudyTime = _TagOfPydicom(0x0008, 0x0030)
    AccessionNumber = _TagOfPydicom(0x0008, 0x0050)
    Modality = _TagOfPydicom(0x0008, 0x0060)
    Manufacturer = _TagOfPydicom(0x0008, 0x0070)
    StudyDescription = _TagOfPydicom(0x0008, 0x1030)
    SeriesDescription = _TagOfPydicom(0x0008, 0x103E)
    ManufacturerModelName = _TagOfPydicom(0x0008, 0x1090)
    ReferencedImageSequence = _TagOfPydicom(0x0008, 0x1140)
    ReferencedSOPInstanceUID = _TagOfPydicom(0x0008, 0x1155)
    PatientName = _TagOfPydicom(0x0010, 0x0010)
    PatientID = _TagOfPydicom(0x0010, 0x0020)
    PatientBirthDate = _TagOfPydicom(0x0010, 0x0030)
    PatientSex = _TagOfPydicom(0x0010, 0x0040)
    PatientAge = _TagOfPydicom(0x0010, 0x1010)
    PatientWeight = _TagOfPydicom(0x0010, 0x1030)
    ContrastBolusAgent = _TagOfPydicom(0x0018, 0x0010)
    BodyPartExamined = _TagOfPydicom(0x0018, 0x0015)
    SliceThickness = _TagOfPydicom(0x0018, 0x0050)
    SpacingBetweenSlices = _TagOfPydicom(0x0018, 0x0088)
    SoftwareVersions = _TagOfPydicom(0x0018, 0x1020)
    PatientPosition = _TagOfPydicom(0x0018, 0x5100)
    StudyInstanceUID = _TagOfPydicom(0x0020, 0x000D)
    SeriesInstanceUID = _TagOfPydicom(0x0020, 0x000E)
    StudyID = _TagOfPydicom(0x0020, 0x0010)
    SeriesNumber = _TagOfPydicom(0x0020, 0x0011)
    AcquisitionNumber = _TagOfPydicom(0x0020, 0x0012)
    InstanceNumber = _TagOfPydicom(0x0020, 0x0013)
    ImagePositionPatient = _TagOfPydicom(0x0020, 0x0032)
    ImageOrientationPatient = _TagOfPydicom(0x0020, 0x0037)
    FrameOfReferenceUID = _TagOfPydicom(0x0020, 0x0052)
    SliceLocation = _TagOfPydicom(0x0020, 0x1041)
    FrameContentSequence = _TagOfPydicom(0x0020, 0x9111)
    DimensionIndexSequence = _TagOfPydicom(0x0020, 0x9222)
    SamplesPerPixel = _TagOfPydicom(0x0028, 0x0002)
    PhotometricInterpretation = _TagOfPydicom(0x0028, 0x0004)
    Rows = _TagOfPydicom(0x0028, 0x0010)
    Columns = _TagOfPydicom(0x0028, 0x0011)
    PixelSpacing = _TagOfPydicom(0x0028, 0x0030)
    BitsAllocated = _TagOfPydicom(0x0028, 0x0100)
    BitsStored = _TagOfPydicom(0x0028, 0x0101)
    HighBit = _TagOfPydicom(0x0028, 0x0102)
    PixelRepresentation = _TagOfPydicom(0x0028, 0x0103)
    WindowCenter = _TagOfPydicom(0x0028, 0x1050)
    WindowWidth = _TagOfPydicom(0x0028, 0x1051)
    RescaleIntercept = _TagOfPydicom(0x0028, 0x1052)
    RescaleSlope = _TagOfPydicom(0x0028, 0x1053)
    PixelData = _TagOfPydicom(0x7FE0, 0x0010)

    PATIENT_LEVEL_TAGS = _TagsOfPydicom(PatientName, PatientID, PatientBirthDate, PatientSex)
    STUDY_LEVEL_TAGS = _TagsOfPydicom(
        StudyInstanceUID, StudyID, StudyDate, StudyTime, AccessionNumber
    )
    SERIES_LEVEL_TAGS = _TagsOfPydicom(SeriesInstanceUID, SeriesNumber, Modality)
    INSTANCE_LEVEL_TAGS = _TagsOfPydicom(SOPInstanceUID, SOPClassUID, InstanceNumber)
