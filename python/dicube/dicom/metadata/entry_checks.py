"""Checks that entries from JSON or from callers have the form that `merge_utils` describes.

Checks types and counts, so that later code can rely on them. Must not know datasets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from dicube.dicom.merge_utils import Entry
from dicube.exceptions import MetaDataError, shown

_KEY = re.compile("[0-9A-Fa-f]{8}")
_SCALARS = {str, int, float, type(None)}
_TEXTS = {str, type(None)}
_PLAIN_ENTRY, _PLAIN = {"vr", "shared", "Value"}, {str, float, type(None)}
# Smaller integers can be converted to float. Files hold integers outside DICOM's range, and all of
# them must be preserved.
_MOST_INTEGER = (1 << 1024) - (1 << 970)
# The elements that sequences have in all slices together, unless these are alike. A few bytes of
# packed JSON could make any number of them, but real ones differ, and so have per-slice values.
_MOST_NESTED, _MOST_NESTED_PER_VALUE = 1 << 20, 16


def slice_count_of(entries: Mapping[str, Entry]) -> int | None:
    """Return the number of values of per-slice entries; None if there are no such entries."""
    for entry in wellformed(entries).values():
        if entry.get("shared") is False:
            for name in ("Value", "InlineBinary", "null"):
                if isinstance(entry.get(name), list):
                    return len(entry[name])
    for entry in entries.values():
        for name in ("columns", "counts"):
            if isinstance(entry.get(name), list) and entry[name]:
                return len(entry[name])
    return None


def wellformed(entries: Mapping[str, Any]) -> Mapping[str, Entry]:
    """Return the entries after checking that each has a value representation.

    Raises:
        MetaDataError: an entry has none.
    """
    for key, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("vr"), str):
            name = repr(key) if _KEY.fullmatch(key) else f"({shown(key)} as its key)"
            raise MetaDataError(f"metadata entry {name} is malformed")
    return entries


def checked(entries: Mapping[str, Any], slice_count: int) -> dict[str, Entry]:
    """Return the entries in tag order after checking their form and number of slices.

    Raises:
        MetaDataError: an entry is malformed, or has another number of slices.
    """
    for key, entry in wellformed(entries).items():
        if not _KEY.fullmatch(key):
            raise MetaDataError(f"expected keys of eight hexadecimal digits, found {shown(key)}")
        shared = entry.get("shared", 0)
        if shared is None and entry["vr"] == "SQ":
            lists = []
            items = entry.get("Value", [])
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise MetaDataError(f"metadata entry {key!r}: items are malformed")
            width = _places_within(key, entry, slice_count)
            for item in items:
                checked(item, width)
            counts = entry.get("counts")
            if counts and (
                not isinstance(counts, list)
                or len(counts) != width
                or not all(
                    count is None or (type(count) is int and 0 <= count <= len(items))
                    for count in counts
                )
            ):
                raise MetaDataError(f"metadata entry {key!r}: counts are malformed")
        elif shared is False:
            names = ("Value", "InlineBinary", "raw", "vrs")
            lists = [entry[name] for name in names if name in entry]
            if "Value" not in entry and "InlineBinary" not in entry:
                raise MetaDataError(f"metadata entry {key!r} has no values")
        elif shared is True:
            lists = []
        else:
            raise MetaDataError(
                f"metadata entry {key!r}: 'shared' is not true, false or (of a sequence) null"
            )
        for values in lists:
            if not isinstance(values, list) or len(values) != slice_count:
                count = len(values) if isinstance(values, list) else "no"
                raise MetaDataError(
                    f"metadata entry {key!r} has {count} values for {slice_count} slices"
                )
        if shared is not None and not _has_sound_values(entry):
            raise MetaDataError(f"metadata entry {key!r}: values are malformed")
    ordered = {key.upper(): entries[key] for key in sorted(entries, key=str.upper)}
    if len(ordered) < len(entries):
        raise MetaDataError("the metadata have a tag twice, in upper and lower case")
    return ordered


def check_nested(entries: Mapping[str, Any], slice_count: int) -> None:
    """Raise a MetaDataError if sequences make too many elements of the slices; see SECURITY.md.

    The entries need not be checked yet.
    """
    elements = values = 0
    for sequence in entries.values():
        within, listed = _nested(sequence)
        columns = sequence.get("columns") if isinstance(sequence, dict) else None
        if isinstance(columns, list):
            columns = set(filter(lambda column: type(column) is int, columns))
        if listed:
            elements += within * (slice_count if columns is None else len(columns))
        values += listed
    limit = max(_MOST_NESTED, _MOST_NESTED_PER_VALUE * values)
    if elements > limit:
        raise MetaDataError(
            f"sequences have {elements} elements in {slice_count} slices, more than {limit}"
        )


def _nested(entry: Any) -> tuple[int, int]:
    """Return the number of items and elements in a sequence, and that of per-slice values."""
    elements = values = 0
    waiting = [entry]
    while waiting:
        sequence = waiting.pop()
        if not isinstance(sequence, dict) or sequence.get("vr") != "SQ":
            continue
        items, counts = sequence.get("Value"), sequence.get("counts")
        values += len(counts) if isinstance(counts, list) else 0
        for item in items if isinstance(items, list) else ():
            elements += 1
            for nested in item.values() if isinstance(item, dict) else ():
                elements += 1
                waiting.append(nested)
                if isinstance(nested, dict) and nested.get("shared") is False:
                    lists = (nested.get(name) for name in ("Value", "InlineBinary", "null"))
                    values += sum(1 + len(found) for found in lists if isinstance(found, list))
    return elements, values


def _has_sound_values(entry: Entry) -> bool:
    """Return whether the values of an entry have valid types; sequences are checked elsewhere."""
    vr, values = entry["vr"], entry.get("Value", [])
    # A short cut for nearly all entries.
    is_plain = entry.keys() <= _PLAIN_ENTRY and vr != "SQ" and type(values) is list
    if is_plain and set(map(type, values)) <= _PLAIN:
        return True
    raw, binary, vrs = (entry.get(name) for name in ("raw", "InlineBinary", "vrs"))
    if entry["shared"]:
        texts = [raw, binary]
        sound = isinstance(values, list) and (vr != "SQ" or not values) and _are_values(vr, values)
    else:
        texts = [*(raw or ()), *(binary or ()), *(vrs or ())]
        lists, flat = [], values
        if not set(map(type, values)) <= _SCALARS:
            lists = [value for value in values if isinstance(value, list)]
            flat = [value for value in values if not isinstance(value, list)]
        sound = vr != "SQ" and "SQ" not in (vrs or ())
        vr = "PN" if "PN" in (vrs or ()) else vr
        sound = sound and _are_values(vr, flat)
        sound = sound and _are_values(vr, list(chain.from_iterable(lists)))
    return sound and set(map(type, texts)) <= _TEXTS and (raw is None or _is_latin(texts))


def _are_values(vr: str, values: list[Any]) -> bool:
    """Return whether values have types of the DICOM JSON model (PS3.18 F.2)."""
    kinds = set(map(type, values))
    if kinds <= {str, float}:
        return True
    if int in kinds:
        integers = values if kinds == {int} else [v for v in values if type(v) is int]
        if not -_MOST_INTEGER < min(integers) <= max(integers) < _MOST_INTEGER:
            return False
    if dict in kinds and vr == "PN":
        names = [value for value in values if isinstance(value, dict)]
        if not set(map(type, chain.from_iterable(name.values() for name in names))) <= _TEXTS:
            return False
        kinds.discard(dict)
    return kinds <= _SCALARS


def _is_latin(raw: Iterable[str | None]) -> bool:
    """Return whether each character of raw values represents one byte."""
    return all(text is None or text.isascii() or max(text) <= "\xff" for text in raw)


def _places_within(key: str, sequence: Entry, slice_count: int) -> int:
    """Return the length of the per-slice lists inside a sequence."""
    if "columns" not in sequence:
        return slice_count
    columns = sequence["columns"]
    if (
        not isinstance(columns, list)
        or len(columns) != slice_count
        or not all(type(column) is int and 0 <= column < slice_count for column in columns)
    ):
        raise MetaDataError(f"metadata entry {key!r}: columns are malformed")
    return max(columns, default=-1) + 1
