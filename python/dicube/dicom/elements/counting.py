"""Limits the number of elements and items of one dataset, before they are parsed.

A few packed bytes may unpack to millions of them, and each takes hundreds of bytes of memory. Looks
at large datasets only. Must not know tags, values or files.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from struct import Struct

from dicube.dicom.elements.parser import LONG_BYTES, UNDEFINED_LENGTH
from dicube.exceptions import MetaDataError

ALWAYS_ALLOWED = 1 << 20
"""Elements and items that a dataset may have, however small its file is."""

BYTES_OF_ELEMENT = 16
"""Packed bytes of a file for each further element or item."""

SMALLEST_COUNTED = 8 * ALWAYS_ALLOWED
"""Bytes that may hold more than are always allowed: each has a header of 8 bytes or more."""

_DELIMITERS = 0xFFFE
_ITEM, _SEQUENCE_END = 0xE000, 0xE0DD
_BINARY = (b"OB", b"OW")  # of undefined length: coded frames


def check_count(data: bytes, start: int, implicit: bool, little_endian: bool, packed: int) -> None:
    """Check that the dataset data[start:] has not too many elements and items.

    Args:
        data: bytes that contain a dataset.
        start: offset of its first element.
        implicit: whether the encoding omits value representations.
        little_endian: the byte order.
        packed: size of the file that holds the dataset, as it is stored.

    Raises:
        MetaDataError: it has too many. Counting ends where the bytes are malformed.
    """
    most = max(ALWAYS_ALLOWED, packed // BYTES_OF_ELEMENT)
    if (len(data) - start) // 8 <= most:
        return
    items = data.count(Struct("<HH" if little_endian else ">HH").pack(_DELIMITERS, _ITEM), start)
    if items > most:
        raise _too_many(most, packed, f"{items} items")
    if _Counter(data, little_endian, most).exceeds(start, implicit):
        raise _too_many(most, packed, f"at least {most + 1}")


def _too_many(most: int, packed: int, found: str) -> MetaDataError:
    return MetaDataError(
        f"expected at most {most} elements and items in a dataset whose file has {packed} bytes, "
        f"found {found}"
    )


class _Counter:
    """Walks through the headers of a dataset, of all depths in one loop."""

    def __init__(self, data: bytes, little_endian: bool, most: int) -> None:
        self._data, self._left = data, most
        order = "<" if little_endian else ">"
        self._explicit = Struct(order + "HH2sH").unpack_from
        self._implicit = Struct(order + "HHL").unpack_from
        self._length = Struct(order + "L").unpack_from

    def exceeds(self, start: int, implicit: bool) -> bool:
        """Return whether there are more elements and items than allowed."""
        with suppress(struct.error):  # the bytes end
            self._walk(start, len(self._data), implicit)
        return self._left < 0

    def _walk(self, position: int, end: int, implicit: bool, is_inner: bool = False) -> int:
        """Walk to `end`, or behind the delimiter of the sequence walked through; return where."""
        data, depth = self._data, 0
        while position < end and self._left >= 0:
            group, number, length = self._implicit(data, position)
            position += 8
            if group == _DELIMITERS:
                self._left -= number == _ITEM
                depth -= number == _SEQUENCE_END
                if is_inner and depth < 0:
                    break
                continue
            self._left -= 1
            vr = b""
            if not implicit:
                _, _, vr, length = self._explicit(data, position - 8)
                if vr in LONG_BYTES:
                    (length,) = self._length(data, position)
                    position += 4
            is_sequence = vr == b"SQ" or self._is_item(position)
            if length == UNDEFINED_LENGTH and vr in _BINARY:
                position = self._behind_frames(position)
            elif vr == b"UN" and (is_sequence or length == UNDEFINED_LENGTH):
                # Its items omit value representations (PS3.5 6.2.2).
                if length == UNDEFINED_LENGTH:
                    position = self._walk(position, end, True, is_inner=True)
                else:
                    self._walk(position, min(end, position + length), True)
                    position += length
            elif length == UNDEFINED_LENGTH:
                depth += 1
            elif not (vr == b"SQ" or (implicit and is_sequence)):
                position += length
        return position

    def _is_item(self, position: int) -> bool:
        return self._implicit(self._data, position)[:2] == (_DELIMITERS, _ITEM)

    def _behind_frames(self, position: int) -> int:
        while self._left >= 0:
            group, number, length = self._implicit(self._data, position)
            position += 8
            if (group, number) != (_DELIMITERS, _ITEM):
                break
            self._left -= 1
            position += length
        return position
