"""Merges the elements of N slices into one entry per tag, and extracts those of one slice.

An entry is a dictionary in the form of dicube's metadata JSON:

    {"vr": "DS", "shared": true, "Value": [0.5, 0.5]}             equal in every slice
    {"vr": "IS", "shared": false, "Value": [1, 2, null, 4]}       per slice; null: missing
    {"vr": "DS", "shared": false, "Value": [[1, 2], [1, 3], []]}  [] : present, but empty
    {"vr": "OB", "shared": false, "InlineBinary": ["AAE=", ...]}  binary, base64
    {"vr": "SQ", "shared": null, "Value": [{tag: entry, ...}]}    sequence: items merged recursively

A per-slice list has scalars if every slice with the element has exactly one value. An element that
is empty in every slice has no value key. Readers may ignore the following keys:

    "raw"     the original value field, if the values would not reproduce it; if not shared, one per
              slice (null if the values suffice)
    "counts"  of a sequence: the number of items in each slice, null if a slice lacks the sequence;
              only present if a slice has fewer items than "Value". Items beyond its count don't
              apply to a slice.
    "columns" of a sequence: the index of each slice in the lists within the sequence (also
              "counts"); only present if slices share their items, as the frames of a file do
    "vrs"     per slice, if they differ

Entries are never modified in place, so copies of the metadata can share them. Must not know what
tags mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from dicube.dicom.elements.items import (
    Element,
    Item,
    SequenceElement,
    all_same,
    decoded,
    implicit_sequence,
    same_item,
    sequence_items,
    value_representation,
)
from dicube.dicom.elements.values import ElementValue, decode_value
from dicube.strict_json import NOT_FINITE

Entry: TypeAlias = dict[str, Any]
Entries: TypeAlias = Mapping[str, Entry]
JsonElement: TypeAlias = dict[str, Any]
T = TypeVar("T")

# Longer binary values (bytes) are left to the original files, if these are stored.
LONG_BINARY = 1 << 10

_FLOATS = ("FL", "FD")
_PER_SLICE_KEYS = ("Value", "InlineBinary", "raw", "vrs")


def merge_element(tag: int, items: Sequence[Item | None]) -> Entry:
    """Merge the elements of one tag; at least one item must have it.

    Args:
        tag: the number of the tag.
        items: one per slice; None if the slice has no such item. These don't affect whether the
            element is shared.
    """
    present = [item for item in items if item is not None]
    having = [item for item in present if tag in item.elements]
    first_item, first = having[0], having[0].elements[tag]
    everywhere = len(having) == len(present)
    if everywhere and _same_context(having) and all_same([i.elements[tag] for i in having]):
        vr = value_representation(first, first_item)
        if vr == "SQ":
            return _merge_alike(sequence_items(first, first_item))
        return shared_entry(_value(first, vr, first_item))

    vrs = {value_representation(item.elements[tag], item) for item in having}
    if vrs == {"SQ"}:
        return _merge_sequences(tag, items)
    values = [
        None
        if item is None or tag not in item.elements
        else _value(item.elements[tag], value_representation(item.elements[tag], item), item)
        for item in items
    ]
    known = [value for value in values if value is not None]
    if everywhere and all(value == known[0] for value in known[1:]):
        return shared_entry(known[0])
    return per_slice_entry(values)


def merge_items(items: Sequence[Item | None]) -> dict[str, Entry]:
    """Merge N items into entries by tag key; None stands for a slice without the item."""
    tags = sorted({tag for item in items if item is not None for tag in item.elements})
    return {f"{tag:08X}": merge_element(tag, items) for tag in tags}


def shared_entry(value: ElementValue) -> Entry:
    """Return the entry of an element that is equal in every slice."""
    return {"vr": value.vr, "shared": True, **element_of(value)}


def entry_of(values: Sequence[ElementValue | None]) -> Entry | None:
    """Return the entry of an element, given the value of each slice; None if no slice has it."""
    first = values[0]
    if first is not None and all(value == first for value in values):
        return shared_entry(first)
    return None if all(value is None for value in values) else per_slice_entry(values)


def per_slice_entry(values: Sequence[ElementValue | None]) -> Entry:
    """Return the entry of an element that differs between slices; None means missing."""
    known = [value for value in values if value is not None]
    entry: Entry = {"vr": known[0].vr, "shared": False}
    binary = [value for value in known if value.binary is not None]
    if binary:
        # In "InlineBinary", "" means present but empty, as [] does in "Value".
        entry["InlineBinary"] = [
            None if value is None or value.values else value.binary or "" for value in values
        ]
    if len(binary) < len(known) and any(v.values or not binary for v in known):
        single = all(value.values is not None and len(value.values) == 1 for value in known)
        entry["Value"] = [
            None if value is None or value.values is None else _slot(value.values, single)
            for value in values
        ]
    if any(value.raw is not None for value in known):
        entry["raw"] = [None if value is None else value.raw for value in values]
    if any(value.vr != known[0].vr for value in known):
        entry["vrs"] = [None if value is None else value.vr for value in values]
    return entry


def slice_entry(entry: Entry, index: int) -> JsonElement | None:
    """Return the element of one slice in DICOM JSON, with "raw" if needed; None if missing."""
    if entry["vr"] == "SQ" and entry["shared"] is None:
        count, index = item_count(entry, index), _column(entry, index)
        if count is None:
            return None
        items = entry.get("Value", [])[:count]
        return {"vr": "SQ", "Value": [slice_items(item, index) for item in items]}
    if entry["shared"]:
        return {key: value for key, value in entry.items() if key != "shared"}
    element: JsonElement = {"vr": _at(entry, "vrs", index) or entry["vr"]}
    binary, value = _at(entry, "InlineBinary", index), _at(entry, "Value", index)
    if binary is None and value is None:
        return None
    if binary:
        element["InlineBinary"] = binary
    elif value is not None and value != []:
        element["Value"] = value if isinstance(value, list) else [value]
    raw = _at(entry, "raw", index)
    if raw is not None:
        element["raw"] = raw
    return element


def of_slices(
    entry: Entry, slices: Sequence[int], make: Callable[[JsonElement | None], T]
) -> list[T]:
    """Return what `make` returns for the element of each slice.

    It is called once for the slices of a file, which share the items of a sequence.
    """
    columns = entry.get("columns")
    if columns is None:
        return [make(slice_entry(entry, index)) for index in slices]
    firsts = {columns[index]: index for index in slices}
    made = {column: make(slice_entry(entry, index)) for column, index in firsts.items()}
    return [made[columns[index]] for index in slices]


def item_entries(sequence: Entry, index: int, place: int) -> tuple[Entries, int] | None:
    """Return the entries of one item of a sequence, and the index of the slice in their lists.

    Returns None if the slice has no such item.
    """
    count = item_count(sequence, index) or 0
    return (sequence["Value"][place], _column(sequence, index)) if place < count else None


def item_count(sequence: Entry, index: int) -> int | None:
    """Return the number of items of a slice in a sequence; None if it lacks the sequence."""
    counts = sequence.get("counts")
    if not counts:
        return len(sequence.get("Value", []))
    count: int | None = counts[_column(sequence, index)]
    return count


def element_value(element: JsonElement) -> ElementValue:
    """Return the value of an element that is not a sequence."""
    binary = element.get("InlineBinary")
    values = None if binary is not None else element.get("Value", [])
    return ElementValue(element["vr"], values, binary, element.get("raw"))


def element_of(value: ElementValue) -> JsonElement:
    """Return the element that has a value; reverses `element_value`."""
    element: JsonElement = {"vr": value.vr}
    if value.binary is not None:
        element["InlineBinary"] = value.binary
    elif value.values:
        element["Value"] = value.values
    if value.raw is not None:
        element["raw"] = value.raw
    return element


def slice_items(entries: Entries, index: int) -> dict[str, JsonElement]:
    """Return the elements of one slice in DICOM JSON."""
    elements = ((key, slice_entry(entry, index)) for key, entry in entries.items())
    return {key: element for key, element in elements if element is not None}


def reorder_entry(entry: Entry, order: Sequence[int]) -> Entry:
    """Return an entry with slices in another order: slice order[0] first."""
    if entry["shared"]:
        return entry
    reordered = dict(entry)
    if "columns" in entry:
        reordered["columns"] = [entry["columns"][i] for i in order]
        return reordered
    if entry["shared"] is None:
        if "Value" in entry:
            reordered["Value"] = [
                {key: reorder_entry(nested, order) for key, nested in item.items()}
                for item in entry["Value"]
            ]
        if "counts" in entry:
            reordered["counts"] = [entry["counts"][i] for i in order]
        return reordered
    for key in _PER_SLICE_KEYS:
        if key in entry:
            reordered[key] = [entry[key][i] for i in order]
    return reordered


def select_entry(entry: Entry, chosen: Sequence[int]) -> Entry | None:
    """Return the entry of some slices; None if none of them has the element."""
    if entry["shared"]:
        return entry
    if entry["shared"] is None:
        return _select_sequence(entry, chosen)
    return _entry_of_elements([slice_entry(entry, index) for index in chosen])


def lacking_entry(entry: Entry, lacking: Collection[int], width: int) -> Entry | None:
    """Return an entry of `width` slices without some slices' element; None if none is left."""
    if not lacking:
        return entry
    if entry["shared"] is None:
        counts = [None if i in lacking else item_count(entry, i) for i in range(width)]
        return {**entry, "counts": counts}
    return _entry_of_elements(
        [None if i in lacking else slice_entry(entry, i) for i in range(width)]
    )


def is_uniform(entry: Entry) -> bool:
    """Return whether an element is equal in every slice."""
    if entry["shared"] is None:
        nested = (e for item in entry.get("Value", []) for e in item.values())
        return not entry.get("counts") and all(map(is_uniform, nested))
    return bool(entry["shared"])


def restore_not_finite(document: Any) -> None:
    """Replace the strings that stand for NaN and infinities, in the JSON of entries of FL and FD.

    Other elements have no such numbers: DS and IS texts that are none are kept as they are.
    """
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict) and node.get("vr") in _FLOATS and "Value" in node:
            node["Value"] = _restored(node["Value"])
        elif isinstance(node, dict):
            waiting += node.values()


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(one) for one in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def map_entries(entry: Entry, change: Callable[[Entry], Entry]) -> Entry:
    """Return an entry with `change` applied to it and to all entries within."""
    entry = change(entry)
    if entry["shared"] is None and "Value" in entry:
        items = [{k: map_entries(e, change) for k, e in item.items()} for item in entry["Value"]]
        return {**entry, "Value": items}
    return entry


def same_entry(one: Entry, other: Entry) -> bool:
    """Return whether two entries are equal."""
    # As JSON, NaN equals NaN and a list equals a tuple.
    return one == other or json.dumps(one) == json.dumps(other)


def _same_context(items: Sequence[Item]) -> bool:
    """Return whether equal bytes have equal meaning in all items."""
    encodings = [item.encodings for item in items]
    signs = [item.pixel_representation for item in items]
    return encodings.count(encodings[0]) == signs.count(signs[0]) == len(items)


def _value(element: Element, vr: str, item: Item) -> ElementValue:
    if vr == "SQ":
        # One slice has a sequence and another has a different VR: the sequence is kept as UN, which
        # PS3.5 6.2.2 defines as an implicit little endian sequence.
        return decode_value("UN", implicit_sequence(sequence_items(element, item)))
    assert not isinstance(element, SequenceElement)
    return decoded(element, vr, item)


def _merge_alike(items: Sequence[Item]) -> Entry:
    """Merge a sequence that is equal in every slice."""
    return {"vr": "SQ", "shared": None, "Value": [merge_items([item]) for item in items]}


def _merge_sequences(tag: int, items: Sequence[Item | None]) -> Entry:
    known = [item for item in items if item is not None]
    if len(known) == len(items) > len(set(map(id, known))):  # the frames of a file share one item
        # Files without the sequence share a column: it then costs as much as the others have items.
        owners = [id(item) if tag in item.elements else None for item in known]
        distinct = dict(zip(owners, known, strict=True))
        places = {owner: place for place, owner in enumerate(distinct)}
        return {
            **_merge_sequences(tag, list(distinct.values())),
            "columns": [places[owner] for owner in owners],
        }
    sequences = [
        None
        if item is None or tag not in item.elements
        else sequence_items(item.elements[tag], item)
        for item in items
    ]
    counts = [None if sequence is None else len(sequence) for sequence in sequences]
    longest = max(count or 0 for count in counts)
    merged = []
    having = [sequence for sequence in sequences if sequence is not None]
    for place in range(longest):
        having = [sequence for sequence in having if place < len(sequence)]
        first, *others = (sequence[place] for sequence in having)
        if all(same_item(first, other) for other in others):  # a long sequence may be alone
            merged.append(merge_items([first]))
            continue
        merged.append(
            merge_items([s[place] if s is not None and place < len(s) else None for s in sequences])
        )
    entry: Entry = {"vr": "SQ", "shared": None, "Value": merged}
    if any(count != longest for count in counts):
        entry["counts"] = counts
    return entry


def _select_sequence(entry: Entry, chosen: Sequence[int]) -> Entry | None:
    inner = [_column(entry, index) for index in chosen]
    used = list(dict.fromkeys(inner))
    selected = _select_columns(entry, used)
    if selected is None or len(used) == len(inner) or is_uniform(selected):
        return selected
    return _with_columns(selected, used, inner)


def _select_columns(entry: Entry, used: Sequence[int]) -> Entry | None:
    """Return a sequence with some places of its lists; None if no slice has it there."""
    counts = [entry["counts"][i] for i in used] if entry.get("counts") else None
    if counts is not None and all(count is None for count in counts):
        return None
    longest = max(count or 0 for count in counts) if counts else len(entry.get("Value", []))
    items = [
        {key: new for key, e in item.items() if (new := select_entry(e, used)) is not None}
        for item in entry.get("Value", [])[:longest]
    ]
    selected: Entry = {"vr": "SQ", "shared": None, "Value": items}
    if counts is not None and any(count != longest for count in counts):
        selected["counts"] = counts
    return selected


def _with_columns(selected: Entry, used: Sequence[int], inner: Sequence[int]) -> Entry:
    """Return a sequence of the places `used`, given the former place of each slice."""
    places = {column: place for place, column in enumerate(used)}
    return {**selected, "columns": [places[column] for column in inner]}


class SplitSequence:
    """A sequence, for selecting several groups of slices.

    All frames of a file have the same place in its lists. So groups, such as the volumes of a
    multi-frame file, share their items, of which there are as many as frames.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._is_uniform = is_uniform(entry)
        self._known: dict[tuple[int, ...], tuple[Entry | None, bool]] = {}

    def select(self, chosen: Sequence[int]) -> Entry | None:
        """Return the sequence of some slices, as `select_entry` does."""
        # One place is enough for a uniform sequence, whose items all groups then share.
        inner = [0] if self._is_uniform else [_column(self._entry, index) for index in chosen]
        used = tuple(dict.fromkeys(inner))
        if used not in self._known:
            found = _select_columns(self._entry, used)
            self._known[used] = found, found is None or is_uniform(found)
        selected, uniform = self._known[used]
        if selected is None or len(used) == len(inner) or uniform:
            return selected
        return _with_columns(selected, used, inner)


def _column(sequence: Entry, index: int) -> int:
    """Return the index of a slice in the lists within a sequence."""
    columns = sequence.get("columns")
    return index if columns is None else int(columns[index])


def _entry_of_elements(elements: Sequence[JsonElement | None]) -> Entry | None:
    return entry_of([None if element is None else element_value(element) for element in elements])


def _slot(values: list[Any], single: bool) -> Any:
    return values[0] if single else values


def _at(entry: Entry, key: str, index: int) -> Any:
    values = entry.get(key)
    return None if values is None else values[index]
