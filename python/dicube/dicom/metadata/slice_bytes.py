"""Encodes the elements of one slice in explicit VR little endian (PS3.5 7.1.2).

pydicom is not used for two reasons: values are written exactly as stored in their entries, and
elements that all slices share are encoded once.

Must not know pixels, files or what a tag means.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from dicube.dicom.elements.items import PIXEL_DATA
from dicube.dicom.elements.parser import UNDEFINED_LENGTH, is_encapsulated_value
from dicube.dicom.elements.values import (
    DEFAULT_ENCODINGS,
    LONG_LENGTH,
    ElementValue,
    Encodings,
    encode_value,
    encodings_of,
)
from dicube.dicom.merge_utils import Entries, Entry, JsonElement, is_uniform, slice_entry
from dicube.exceptions import MetaDataError, shown

_CHARACTER_SET = "00080005"
_LONGEST_SHORT = 0xFFFE  # the largest even length in a 2-byte field
_HEADER = 8  # the least bytes of an element or item before its value
_VALUE_KEYS = ("Value", "InlineBinary", "raw")


class InstanceEncoder:
    """Encodes the slices of a series, one after the other."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._shared: dict[tuple[str, Encodings], bytes] = {}
        self._uniform = {key for key, entry in entries.items() if is_uniform(entry)}

    def encode(
        self, index: int, replaced: Mapping[str, JsonElement | None] | None = None
    ) -> list[tuple[str, bytes]]:
        """Return one slice's elements as (tag key, bytes), in tag order.

        Args:
            index: the slice.
            replaced: elements to write instead of those of the entries (None to omit), and new
                ones.

        Raises:
            MetaDataError: a value can't be encoded; names the tag.
        """
        replaced = replaced or {}
        encodings = self._encodings(index, replaced)
        written = []
        for key in sorted({*self._entries, *replaced}):
            known = None if key in replaced else self._shared.get((key, encodings))
            if known is None:
                element = (
                    replaced[key] if key in replaced else slice_entry(self._entries[key], index)
                )
                if element is None:
                    continue
                known = encode_element(key, element, encodings)
                if key in self._uniform and key not in replaced:
                    self._shared[key, encodings] = known
            written.append((key, known))
        return written

    def _encodings(self, index: int, replaced: Mapping[str, JsonElement | None]) -> Encodings:
        if _CHARACTER_SET in replaced:
            charset = replaced[_CHARACTER_SET]
        else:
            entry = self._entries.get(_CHARACTER_SET)
            charset = None if entry is None else slice_entry(entry, index)
        return _encodings(charset, DEFAULT_ENCODINGS)


def encoded_size(entries: Entries, slices: Collection[int]) -> int:
    """Return an estimate of the bytes that slices take, without encoding them.

    Takes time for each entry and each per-slice value, not for each element of each slice.
    """
    return _size(entries, Counter(slices), len(slices))


def _size(entries: Entries, places: Counter[int], count: int) -> int:
    """Return the bytes of entries.

    Args:
        entries: the entries.
        places: indices of their lists, and for how many slices each counts.
        count: the number of these slices.
    """
    size = 0
    for entry in entries.values():
        size += _HEADER * count
        if entry["vr"] == "SQ" and entry["shared"] is None:
            size += _size_of_sequence(entry, places, count)
        elif entry["shared"]:
            size += count * sum(_length(entry.get(name, "")) for name in _VALUE_KEYS)
        else:
            lists = [entry[name] for name in _VALUE_KEYS if name in entry]
            size += sum(
                n * _length(values[index]) for values in lists for index, n in places.items()
            )
    return size


def _size_of_sequence(sequence: Entry, places: Counter[int], count: int) -> int:
    if "columns" in sequence:
        given, places = places, Counter()
        for index, times in given.items():
            places[sequence["columns"][index]] += times
    ending: dict[int, list[int]] = {}  # the places that have so many items
    if sequence.get("counts"):
        places = Counter(places)
        for index in places:
            ending.setdefault(sequence["counts"][index] or 0, []).append(index)
    size = 0
    for number, item in enumerate(sequence.get("Value", [])):
        count -= sum(places.pop(index) for index in ending.get(number, ()))
        size += _HEADER * count + _size(item, places, count)
    return size


def _length(value: Any) -> int:
    """Return about how many bytes a value of the DICOM JSON model takes."""
    if isinstance(value, list):
        return sum(map(_length, value))
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    return len(value) if isinstance(value, str) else 2


def encode_elements(
    elements: Mapping[str, JsonElement], encodings: Encodings = DEFAULT_ENCODINGS
) -> bytes:
    """Return the bytes of elements in tag order; `encodings` applies without a character set."""
    return b"".join(data for _, data in encode_each(elements, encodings))


def encode_each(
    elements: Mapping[str, JsonElement], encodings: Encodings = DEFAULT_ENCODINGS
) -> list[tuple[str, bytes]]:
    """Return the tag key and bytes of each element, in tag order; see `encode_elements`."""
    encodings = _encodings(elements.get(_CHARACTER_SET), encodings)
    return [(key, encode_element(key, elements[key], encodings)) for key in sorted(elements)]


def encode_element(key: str, element: JsonElement, encodings: Encodings) -> bytes:
    """Return the bytes of one element: tag, value representation, length, value.

    The length of coded frames, which a sequence item may have, is undefined.

    Raises:
        MetaDataError: the value can't be encoded; names the tag.
    """
    vr = element["vr"]
    try:
        if len(vr) != 2 or not vr.isascii():
            raise MetaDataError(f"expected two letters as VR, found {shown(vr)}")
        data = _value_field(vr, element, encodings)
    except MetaDataError as error:
        raise MetaDataError(f"tag {key}: {error.message}", suggestion=error.suggestion) from None
    is_coded = int(key, 16) == PIXEL_DATA and is_encapsulated_value(data)
    return element_header(key, vr, UNDEFINED_LENGTH if is_coded else len(data)) + data


def element_header(key: str, vr: str, length: int) -> bytes:
    """Return the bytes before a value field of `length` bytes."""
    tag = int(key, 16)
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr not in LONG_LENGTH and length > _LONGEST_SHORT:
        vr = "UN"  # as in PS3.5 6.2.2 note 4
    if vr in LONG_LENGTH:
        return start + vr.encode("ascii") + struct.pack("<HL", 0, length)
    return start + vr.encode("ascii") + struct.pack("<H", length)


def _value_field(vr: str, element: JsonElement, encodings: Encodings) -> bytes:
    if vr == "SQ":
        written = []
        for item in element.get("Value", []):
            content = encode_elements(item, encodings)
            written.append(struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content)
        return b"".join(written)
    value = ElementValue(
        vr, element.get("Value", []), element.get("InlineBinary"), element.get("raw")
    )
    return encode_value(value, encodings)


def _encodings(charset: JsonElement | None, inherited: Encodings) -> Encodings:
    if charset is None:
        return inherited
    return encodings_of(_value_field("CS", charset, DEFAULT_ENCODINGS))
