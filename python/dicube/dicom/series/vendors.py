"""Vendor cases: elements that DICOM leaves to the manufacturer, in one table.

A file reserves the block of a vendor's private elements by the vendor's private creator (PS3.5
7.8.1), so they are found by that name and never by a fixed number. To add a case, add a line to the
table. Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dicube.dicom.metadata.frames import FUNCTIONAL_GROUPS
from dicube.dicom.metadata.lookup import converted

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

IMAGES_IN_MOSAIC, FRAMES_IN_MOSAIC = "images in a mosaic", "frames in a mosaic"
CSA_IMAGE_HEADER = "CSA image header"
# Siemens: one image holds all slices of a volume, as tiles (dcm2niix, Siemens/README.md).
_MOSAIC = "MOSAIC"


@dataclass(frozen=True)
class PrivateElement:
    """An element that a vendor writes in place of a standard one.

    Attributes:
        vendor: the manufacturer.
        creator: the private creator that reserves its block.
        group: of its tag.
        number: the last two hexadecimal digits of its tag.
        meaning: keyword of the standard element with the same meaning; for the last ones of the
            table, which have none, a name.
        source: documentation of the element.
    """

    vendor: str
    creator: str
    group: str
    number: str
    meaning: str
    source: str


_B_VALUE, _DIRECTION = "DiffusionBValue", "DiffusionGradientOrientation"
_SIEMENS, _UIH = "SIEMENS MR HEADER", "Image Private Header"
_GE, _GE_ACQUISITION = "GEMS_PARM_01", "GEMS_ACQU_01"
_PHILIPS, _PHILIPS_MR = "Philips Imaging DD 001", "Philips MR Imaging DD 001"
_PHILIPS_MR_5 = "Philips MR Imaging DD 005"
_DCM2NIIX = "dcm2niix, console/nii_dicom.cpp"
_PHILIPS_NOTES, _GE_NOTES = "dcm2niix, Philips/README.md", "dcm2niix, GE/README.md"
_UIH_NOTES = "dcm2niix, UIH/README.md"

# Of the elements with one meaning, those that number volumes come before those that describe them.
PRIVATE_ELEMENTS = (
    PrivateElement("Siemens", _SIEMENS, "0019", "0C", _B_VALUE, _DCM2NIIX),
    PrivateElement("GE", _GE, "0043", "39", _B_VALUE, _GE_NOTES),
    PrivateElement("Philips", _PHILIPS, "2001", "03", _B_VALUE, _PHILIPS_NOTES),
    PrivateElement("Philips", _PHILIPS_MR_5, "2005", "12", _B_VALUE, _PHILIPS_NOTES),
    PrivateElement("UIH", _UIH, "0065", "09", _B_VALUE, _UIH_NOTES),
    PrivateElement("Hitachi", "MMCPrivate", "0029", "30", _B_VALUE, "pydicom, _private_dict.py"),
    PrivateElement("Siemens", _SIEMENS, "0019", "0E", _DIRECTION, _DCM2NIIX),
    PrivateElement("Philips", _PHILIPS_MR_5, "2005", "13", _DIRECTION, _PHILIPS_NOTES),
    PrivateElement("Philips", _PHILIPS_MR, "2005", "B0", _DIRECTION, _PHILIPS_NOTES),
    PrivateElement("Philips", _PHILIPS_MR, "2005", "B1", _DIRECTION, _PHILIPS_NOTES),
    PrivateElement("Philips", _PHILIPS_MR, "2005", "B2", _DIRECTION, _PHILIPS_NOTES),
    PrivateElement("GE", _GE_ACQUISITION, "0019", "BB", _DIRECTION, _GE_NOTES),
    PrivateElement("GE", _GE_ACQUISITION, "0019", "BC", _DIRECTION, _GE_NOTES),
    PrivateElement("GE", _GE_ACQUISITION, "0019", "BD", _DIRECTION, _GE_NOTES),
    PrivateElement("UIH", _UIH, "0065", "37", _DIRECTION, _UIH_NOTES),
    PrivateElement("Philips", _PHILIPS_MR_5, "2005", "29", "ASLContext", _PHILIPS_NOTES),
    PrivateElement("Siemens", _SIEMENS, "0019", "0A", IMAGES_IN_MOSAIC, _DCM2NIIX),
    PrivateElement("UIH", _UIH, "0065", "50", IMAGES_IN_MOSAIC, _UIH_NOTES),
    PrivateElement("UIH", _UIH, "0065", "51", FRAMES_IN_MOSAIC, _UIH_NOTES),
    PrivateElement("Siemens", "SIEMENS CSA HEADER", "0029", "10", CSA_IMAGE_HEADER, _DCM2NIIX),
)


class PrivateValues(NamedTuple):
    """A private element of a series.

    Attributes:
        element: its line in the table.
        key: its tag key; if slices have it in different blocks, the one of the lowest block.
        values: the value of each slice; None if a slice has none.
    """

    element: PrivateElement
    key: str
    values: list[Any]


def private_values(meta: DicomMeta, meaning: str) -> Iterator[PrivateValues]:
    """Yield the private elements of a series with a meaning, in the order of the table.

    Args:
        meta: the metadata of the series.
        meaning: the standard element, such as 'DiffusionBValue'.
    """
    for element in PRIVATE_ELEMENTS:
        if element.meaning != meaning:
            continue
        key, merged = "", [None] * meta.slice_count
        for block, creators in _blocks(meta, element.group):
            tag = f"{element.group}{block}{element.number}"
            if element.creator.upper() not in creators or meta.is_missing(tag):
                continue
            key = key or tag
            values = meta.get(tag, force_nonshared=True)
            for index, creator in enumerate(creators):
                if creator == element.creator.upper():
                    merged[index] = values[index]
        if key:
            yield PrivateValues(element, key, merged)


def _blocks(meta: DicomMeta, group: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the reserved blocks of a group, each with its private creator in each slice."""
    if any(groups in meta for groups in FUNCTIONAL_GROUPS):  # which may have some as well
        keys = [f"{group}00{number:02X}" for number in range(0x10, 0x100)]
    else:
        keys = [key for key in meta.entries if key.startswith(f"{group}00") and key[6:] >= "10"]
    for key in keys:
        if not meta.is_missing(key):
            yield key[6:], converted(meta.get(key, force_nonshared=True), _creator)


def _creator(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0").upper()


def image_counts(meta: DicomMeta) -> list[int]:
    """Return how many slices each image holds as tiles; 0 if it is a single slice.

    A mosaic that doesn't say how many counts as 1.
    """
    kinds = meta.get("ImageType", force_nonshared=True)
    found = converted(kinds, lambda values: int(_MOSAIC in _list(values)))
    for private in private_values(meta, IMAGES_IN_MOSAIC):
        for index, value in enumerate(private.values):
            count = _count(private.element, value)
            found[index] = count if count > 1 else found[index]
    return found


def is_mosaic(meta: DicomMeta) -> bool:
    """Return whether an image of a series holds several slices as tiles."""
    return any(image_counts(meta))


def _count(element: PrivateElement, value: Any) -> int:
    """Return a number of images, also if the file does not give its value representation."""
    if isinstance(value, bytes) and element.vendor == "Siemens":
        return int.from_bytes(value[:2], "little")
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
