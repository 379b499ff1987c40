"""Vendor cases: elements that DICOM leaves to the manufacturer, in one table.

A file reserves the block of a vendor's private elements by the vendor's private creator (PS3.5
7.8.1), so they are found by that name and never by a fixed number. To add a case, add a line to the
table. Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta


@dataclass(frozen=True)
class PrivateElement:
    """An element that a vendor writes in place of a standard one.

    Attributes:
        vendor: the manufacturer.
        creator: the private creator that reserves its block.
        group: of its tag.
        number: the last two hexadecimal digits of its tag.
        keyword: the standard element with the same meaning.
        source: documentation of the element.
    """

    vendor: str
    creator: str
    group: str
    number: str
    keyword: str
    source: str


_B_VALUE, _DIRECTION = "DiffusionBValue", "DiffusionGradientOrientation"
_SIEMENS, _GE = "SIEMENS MR HEADER", "GEMS_PARM_01"
_DCM2NIIX = "dcm2niix, console/nii_dicom.cpp"

PRIVATE_ELEMENTS = (
    PrivateElement("Siemens", _SIEMENS, "0019", "0C", _B_VALUE, _DCM2NIIX),
    PrivateElement("Siemens", _SIEMENS, "0019", "0E", _DIRECTION, _DCM2NIIX),
    PrivateElement("GE", _GE, "0043", "39", _B_VALUE, _DCM2NIIX),
)

# Siemens: one image holds all slices of a volume, as tiles (dcm2niix, Siemens/README.md).
_MOSAIC = "MOSAIC"


def private_keys(meta: DicomMeta, keyword: str) -> Iterator[str]:
    """Yield the tag keys of private elements with the meaning of a standard one.

    Args:
        meta: the metadata of the series.
        keyword: the standard element, such as 'DiffusionBValue'.
    """
    for element in PRIVATE_ELEMENTS:
        if element.keyword == keyword:
            for block in _blocks(meta, element.group, element.creator):
                yield f"{element.group}{block}{element.number}"


def is_mosaic(meta: DicomMeta) -> bool:
    """Return whether the images of a series are Siemens mosaics, judged by its first slice."""
    image_type = meta.get("ImageType", force_nonshared=True)[0]
    return _MOSAIC in (image_type if isinstance(image_type, list) else [image_type])


def _blocks(meta: DicomMeta, group: str, creator: str) -> Iterator[str]:
    """Yield the blocks of a group that belong to a private creator in all slices that have them."""
    for number in range(0x10, 0x100):
        block = f"{number:02X}"
        key = f"{group}00{block}"
        if not meta.is_missing(key):
            creators = meta.get(key, force_nonshared=True)
            if all(found in (None, creator) for found in creators):
                yield block
