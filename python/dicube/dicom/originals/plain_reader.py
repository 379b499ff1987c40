"""Reads all elements of a DICOM file, at any depth, for comparisons.

It judges what the rest of the package reads and writes, so it shares no parser with it or with
pydicom, and leaves nothing out: neither pixels in sequence items nor elements that are there twice.
Must not know what an element means.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import NamedTuple

from dicube.dicom.files.archives import most_unpacked
from dicube.exceptions import MetaDataError

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA, _TRANSFER_SYNTAX = 0x7FE00010, 0x00020010
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG_LENGTH = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())


class PlainElement(NamedTuple):
    """An element.

    Attributes:
        tag: its tag.
        vr: its value representation; '' in implicit encoding.
        value: its value field, without the delimiter after an undefined length.
        is_undefined: whether its length is undefined: a sequence, or coded frames.
        order: byte order of the value: '<' or '>'.
    """

    tag: int
    vr: str
    value: bytes
    is_undefined: bool
    order: str

    @property
    def is_coded(self) -> bool:
        """Whether the value consists of coded frames."""
        return self.is_undefined and self.tag == _PIXEL_DATA

    @property
    def is_sequence(self) -> bool:
        """Whether the value is a sequence for sure; one in implicit encoding may be unknown."""
        return self.vr == "SQ" or (self.is_undefined and not self.is_coded)

    def items(self) -> list[list[PlainElement]]:
        """Return the elements of each item of a sequence.

        Raises:
            MetaDataError: the value is not a sequence.
            RecursionError: sequences are nested too deeply.
        """
        try:
            return _items(self.value, 0, len(self.value), *_encoding_within(self.vr, self.order))[0]
        except struct.error as error:
            raise MetaDataError(f"malformed sequence: {error}") from None


class PlainFile(NamedTuple):
    """A file.

    Attributes:
        file_meta: the elements of group 2, in the order of the file.
        elements: the elements of the dataset, in the order of the file.
    """

    file_meta: list[PlainElement]
    elements: list[PlainElement]

    @property
    def syntax(self) -> str:
        """The transfer syntax that the file meta state; '' if there is none."""
        found = (e.value for e in self.file_meta if e.tag == _TRANSFER_SYNTAX)
        return next(found, b"").decode("latin-1").strip(" \0")


def read_plainly(data: bytes) -> PlainFile:
    """Return the elements of a file, whatever encoding its bytes show.

    Raises:
        MetaDataError: the bytes are not DICOM elements to the end.
    """
    try:
        return _read(data)
    except RecursionError:
        raise MetaDataError("sequences are nested too deeply") from None
    except struct.error as error:
        raise MetaDataError(f"malformed elements: {error}") from None


def _read(data: bytes) -> PlainFile:
    place = 132 if data[128:132] == b"DICM" else 0
    file = PlainFile([], [])
    while data[place : place + 2] == b"\2\0":
        element, place = _element(data, place, len(data), "<", False)
        file.file_meta.append(element)
    start = data[place : place + 6]
    if file.syntax == _DEFLATED or (start and bool(start[0]) == bool(start[1])):
        most = most_unpacked(len(data))
        with suppress(zlib.error):  # else it isn't deflated
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            inflated = inflater.decompress(data[place:], most + 1)
            if len(inflated) > most:
                raise MetaDataError(f"its dataset inflates to more than {most} bytes")
            if inflater.eof:
                data, place = inflated, 0
    start = data[place : place + 6]
    order = ">" if start[:1] == b"\0" < start[1:2] else "<"
    implicit = not (start[4:].isalpha() and start[4:].isupper())
    file.elements.extend(_elements(data, place, len(data), order, implicit)[0])
    return file


def _elements(
    data: bytes, place: int, end: int, order: str, implicit: bool
) -> tuple[list[PlainElement], int]:
    """Return the elements of a dataset or item, and the offset behind it.

    An item of undefined length ends with a delimiter, all others at `end`.
    """
    found: list[PlainElement] = []
    while place < end:
        if _tag(data, place, order) == _ITEM_END:
            return found, place + 8
        element, place = _element(data, place, end, order, implicit)
        found.append(element)
    return found, place


def _element(
    data: bytes, place: int, end: int, order: str, implicit: bool
) -> tuple[PlainElement, int]:
    """Return an element, and the offset behind it."""
    tag, code = _tag(data, place, order), data[place + 4 : place + 6]
    vr, format_, place = "", "L", place + 4
    if not implicit and code.isalpha():  # some writers change to implicit within a file
        vr = code.decode("latin-1")
        format_, place = ("L", place + 4) if vr in _LONG_LENGTH else ("H", place + 2)
    (length,) = struct.unpack_from(order + format_, data, place)
    place += struct.calcsize(order + format_)
    if length == _UNDEFINED and tag == _PIXEL_DATA:
        stop = _fragments_end(data, place)
    elif length == _UNDEFINED:
        stop = _items(data, place, end, *_encoding_within(vr, order))[1]
    else:
        stop = place + length
    if stop > end:
        raise MetaDataError(f"{stop - end} bytes of an element are missing")
    value = data[place : stop - 8 if length == _UNDEFINED else stop]
    return PlainElement(tag, vr, value, length == _UNDEFINED, order), stop


def _encoding_within(vr: str, order: str) -> tuple[str, bool]:
    """Return byte order of the items of a sequence, and whether they omit VRs.

    They do where the VR is not known, and are little endian then (PS3.5 6.2.2).
    """
    return ("<", True) if vr in ("", "UN") else (order, False)


def _items(
    data: bytes, place: int, end: int, order: str, implicit: bool
) -> tuple[list[list[PlainElement]], int]:
    """Return the items of a sequence, and the offset behind it or its delimiter."""
    found: list[list[PlainElement]] = []
    while place < end:
        tag, (length,) = _tag(data, place, order), struct.unpack_from(order + "L", data, place + 4)
        place += 8
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise MetaDataError(f"found {tag:08X} among the items of a sequence")
        stop = end if length == _UNDEFINED else place + length
        if stop > end:
            raise MetaDataError(f"{stop - end} bytes of an item are missing")
        item, place = _elements(data, place, stop, order, implicit)
        found.append(item)
    return found, place


def _fragments_end(data: bytes, place: int) -> int:
    """Return the offset behind the delimiter of coded frames, which are always little endian."""
    while True:
        tag, (length,) = _tag(data, place, "<"), struct.unpack_from("<L", data, place + 4)
        place += 8
        if tag == _SEQUENCE_END:
            return place
        if tag != _ITEM or length == _UNDEFINED:
            raise MetaDataError(f"found {tag:08X} among coded frames")
        place += length


def _tag(data: bytes, place: int, order: str) -> int:
    group, number = struct.unpack_from(order + "HH", data, place)
    return int(group << 16 | number)
