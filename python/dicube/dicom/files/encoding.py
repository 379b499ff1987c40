"""Finds how the elements of a dataset are encoded (PS3.5 7.1, 10.1): as its bytes show.

The file meta state it too, but some writers convert a dataset and keep the old transfer syntax.
Must not know files or elements.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import NamedTuple

from pydicom.config import IGNORE
from pydicom.uid import UID

from dicube.dicom.dicom_tags import uid_name
from dicube.exceptions import DataConsistencyError

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"

_STANDARD = "1.2.840.10008.1.2"  # what the UIDs of the standard's transfer syntaxes begin with
_FIRST_BYTES = 8  # of a dataset: enough for the tag and VR of its first element


class Encoding(NamedTuple):
    """How elements are encoded; in the order of the arguments of pydicom's readers.

    Attributes:
        implicit: whether value representations are omitted.
        little_endian: whether the low byte of a number comes first.
    """

    implicit: bool
    little_endian: bool

    @property
    def syntax(self) -> str:
        """The UID of the transfer syntax of uncompressed pixels with this encoding."""
        return IMPLICIT if self.implicit else EXPLICIT if self.little_endian else BIG_ENDIAN


def encoding_of(start: bytes, syntax: str) -> Encoding:
    """Return the encoding of a dataset.

    Args:
        start: the first bytes of the dataset, at least six unless it ends before.
        syntax: the transfer syntax in the file meta; '' if there is none.
    """
    stated = Encoding(syntax in ("", IMPLICIT), syntax != BIG_ENDIAN)
    if len(start) < 6:
        return stated
    # The first group is below 256, so one of its bytes is zero. Where explicit encodings have two
    # letters, the implicit one has the low bytes of a length.
    is_group = bool(start[0]) != bool(start[1])
    little_endian = bool(start[0]) if is_group else stated.little_endian
    letters = start[4:6]
    return Encoding(not (letters.isalpha() and letters.isupper()), little_endian)


def conflict(stated: str, found: str) -> str:
    """Return a sentence if a dataset is not encoded as its file meta state; '' if it is.

    Args:
        stated: the transfer syntax in the file meta; '' if there is none.
        found: the transfer syntax of the dataset, as one with uncompressed pixels.
    """
    if not stated or found == _of_elements(stated):
        return ""
    return (
        f"the file meta state the transfer syntax {uid_name(stated)}, but the dataset is in "
        f"{uid_name(found)}"
    )


def syntax_of_pixels(stated: str, found: str) -> str:
    """Return the transfer syntax that applies to the pixels of a dataset; see `conflict`."""
    if not stated:
        return "" if found in (IMPLICIT, EXPLICIT) else found
    if found == _of_elements(stated) or is_encapsulated(stated) or not is_standard(stated):
        return stated
    return found


def _of_elements(syntax: str) -> str:
    """Return the transfer syntax that encodes elements in the same way, without coded pixels."""
    return syntax if syntax in (IMPLICIT, BIG_ENDIAN, DEFLATED) else EXPLICIT


@lru_cache(maxsize=64)  # pydicom's UID checks its text
def is_encapsulated(syntax: str) -> bool:
    """Return whether pixels in a transfer syntax are coded frames (PS3.5 A.4)."""
    uid = UID(syntax, IGNORE)
    if uid.is_transfer_syntax:
        return uid.is_encapsulated
    return uid.startswith("1.2.840.10008.1.2.4.")  # of a standard newer than pydicom's


def is_standard(syntax: str) -> bool:
    """Return whether the standard defines a transfer syntax; '' stands for its default one.

    Vendors have their own, with samples in an unknown order.
    """
    return not syntax or syntax.startswith(_STANDARD)


def starts_like_dataset(start: bytes) -> bool:
    """Return whether bytes may be the start of a dataset, whose first group is mostly 2 or 8."""
    if start[:2] == b"\0\x08":  # big endian is always explicit
        return start[4:6].isalpha() and start[4:6].isupper()
    return len(start) >= 8 and start[:2] in (b"\x02\0", b"\x08\0") and start[3] < 0x40


def inflated(data: bytes, most: int) -> bytes | None:
    """Return the bytes of a deflated dataset (PS3.5 A.5); None if it is not deflated.

    Args:
        data: the deflated bytes.
        most: the most bytes that they may inflate to.

    Raises:
        DataConsistencyError: they inflate to more.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = inflater.decompress(data, most + 1)
    except zlib.error:
        return None
    if not starts_like_dataset(found[:_FIRST_BYTES]):
        return None
    if len(found) > most:
        raise DataConsistencyError(
            f"expected a deflated dataset of at most {most} bytes, found more in {len(data)} bytes"
        )
    return found if inflater.eof else None
