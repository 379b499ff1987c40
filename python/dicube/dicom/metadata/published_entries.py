"""Converts entries written by the published dicube 0.2 and 0.3, as far as that is possible.

Known faults of those writers: a missing or empty value of a slice is the text "None"; if the slice
read last lacked the element, the values are under the key "null", and after sorting they are still
in the order in which files were read, with a list of nulls under "Value". Values whose slice is
unknown are omitted rather than assigned to a wrong slice. Per-slice values inside sequences have
the same fault, but nothing reveals it: they are read unchanged.
"""

from __future__ import annotations

from typing import Any

from dicube.dicom.elements.values import BINARY_UNIT
from dicube.dicom.merge_utils import Entry, slice_entry
from dicube.dicom.metadata.entry_checks import wellformed

_ABSENT = "None"


def entry_from_published(entry: Entry, slice_count: int) -> Entry:
    """Return the present form of a published entry; sequences include all their items."""
    vr, shared = entry["vr"], entry.get("shared")
    if vr == "SQ":
        return _sequence(entry, slice_count)
    if shared:
        return {key: value for key, value in entry.items() if value not in ([], None)}
    key = "InlineBinary" if vr in BINARY_UNIT else "Value"
    found = entry.get(key)
    if found is None and "Value" not in entry:
        found = entry.get("null")
    values = [_present(value) for value in _column(found, slice_count)]
    if all(value is None or (isinstance(value, list) and len(value) == 1) for value in values):
        values = [value if value is None else value[0] for value in values]
    return {"vr": vr, "shared": False, key: values}


def _sequence(entry: Entry, slice_count: int) -> Entry:
    value = entry.get("Value")
    found = value if isinstance(value, list) else []
    items = [
        {key: entry_from_published(nested, slice_count) for key, nested in wellformed(item).items()}
        for item in found
        if isinstance(item, dict)
    ]
    ours: Entry = {"vr": "SQ", "shared": None, "Value": items}
    counts = [_item_count(items, index) for index in range(slice_count)]
    if items and any(count != len(items) for count in counts):
        ours["counts"] = counts
    return ours


def _item_count(items: list[dict[str, Entry]], index: int) -> int | None:
    """Return the number of items of a slice, up to the last one in which it has an element."""
    for place in range(len(items), 0, -1):
        entries = items[place - 1]
        if not entries or any(slice_entry(entry, index) for entry in entries.values()):
            return place
    return None


def _column(values: Any, slice_count: int) -> list[Any]:
    """Return one value per slice, with None for missing values."""
    column = values if isinstance(values, list) else []
    return (column + [None] * slice_count)[:slice_count]


def _present(value: Any) -> Any:
    return None if value in (_ABSENT, [_ABSENT], []) else value
