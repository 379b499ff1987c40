"""Edits elements in the functional groups of frames (PS3.3 C.7.6.16).

A macro is either in the item that all frames share or in the items of single frames; it moves to
the latter when frames become different. Must not know what any tag means, or files.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from dicube.dicom.elements.values import ElementValue
from dicube.dicom.merge_utils import (
    Entry,
    entry_of,
    is_uniform,
    item_count,
    item_entries,
    lacking_entry,
    per_slice_entry,
    shared_entry,
)
from dicube.dicom.metadata.frames import PER_FRAME, SHARED, Frame
from dicube.exceptions import MetaDataError


def set_in_macro(
    entries: MutableMapping[str, Entry],
    frames: Sequence[Frame],
    macro: str,
    key: str,
    values: Sequence[ElementValue | None],
) -> None:
    """Set an element in a macro of the functional groups to one value per slice.

    Args:
        entries: the entries of the metadata; those of the groups are replaced.
        frames: the file and frame of each slice.
        macro: the key of the macro's sequence.
        key: the key of the element.
        values: one per slice; None to remove the element.

    Raises:
        MetaDataError: the groups have too few items, or a macro is shared and per frame at once.
    """
    shared = _sequence(entries, SHARED) or {}
    per_frame = _sequence(entries, PER_FRAME) or {}
    if not any(macro in item for item in shared.get("Value", [])):
        entries[PER_FRAME] = _with_each_frame(per_frame, frames, macro, key, values, None)
        return
    alone = not any(macro in item for item in per_frame.get("Value", []))
    common = entry_of(values)
    if alone and (common is None or (common["shared"] and not shared.get("counts"))):
        columns = _columns(shared, frames)
        of_columns = dict(zip(columns, values, strict=True))
        entries[SHARED] = _edited(shared, columns, macro, key, [of_columns], None)
        return
    moved = shared["Value"][0].get(macro)
    if moved is not None and (shared.get("counts") or not is_uniform(moved)):
        raise _macro_differs(macro)
    entries[PER_FRAME] = _with_each_frame(per_frame, frames, macro, key, values, moved)
    items = [{k: e for k, e in item.items() if k != macro} for item in shared["Value"]]
    entries[SHARED] = {**shared, "Value": items}


def _macro_differs(macro: str) -> MetaDataError:
    return MetaDataError(
        f"can't edit macro {macro}: the frames of each file share it, but files differ in it"
    )


def _sequence(entries: Mapping[str, Entry], key: str) -> Entry | None:
    """Return an entry if it is a sequence; None if it is missing or of another kind."""
    entry = entries.get(key)
    return entry if entry is not None and entry["shared"] is None else None


def _columns(group: Entry, frames: Sequence[Frame]) -> Sequence[int]:
    """Return the column of each slice in the lists within a group; files have one column each."""
    if "columns" in group or not is_uniform(group):
        columns: Sequence[int] = group.get("columns", range(len(frames)))
        return columns
    instances = [frame.instance for frame in frames]
    places = {instance: place for place, instance in enumerate(dict.fromkeys(instances))}
    return [places[instance] for instance in instances]


def _with_each_frame(
    group: Entry,
    frames: Sequence[Frame],
    macro: str,
    key: str,
    values: Sequence[ElementValue | None],
    moved: Entry | None,
) -> Entry:
    """Return the per-frame group with an element set in the item of each frame.

    Args:
        moved: the macro to add to frames without one; None to add none.
    """
    items = group.get("Value", [])
    places = [frame.number - 1 for frame in frames]
    if not items or any(item_entries(group, i, place) is None for i, place in enumerate(places)):
        raise MetaDataError(
            f"functional groups have at most {len(items)} items, but a file has more frames"
        )
    columns = _columns(group, frames)
    of_places: list[dict[int, ElementValue | None]] = [{} for _ in items]
    for column, place, value in zip(columns, places, values, strict=True):
        of_places[place][column] = value
    return _edited(group, columns, macro, key, of_places, moved)


def _edited(
    group: Entry,
    columns: Sequence[int],
    macro: str,
    key: str,
    of_places: Sequence[Mapping[int, ElementValue | None]],
    moved: Entry | None,
) -> Entry:
    """Return a group with an element set in a macro: for each item, the values of its columns."""
    items = list(group["Value"])
    width = max(columns) + 1
    for place, of_columns in enumerate(of_places):
        sequence = items[place].get(macro)
        if sequence is None:
            sequence = moved
        elif moved is not None and not all(item_count(sequence, c) for c in of_columns):
            raise _macro_differs(macro)
        sequence = _with_element(sequence, key, of_columns, width)
        if sequence is not None:
            items[place] = dict(sorted({**items[place], macro: sequence}.items()))
    edited = {**group, "Value": items}
    if width < len(columns) and not is_uniform(edited):
        edited["columns"] = list(columns)
    return edited


def _with_element(
    sequence: Entry | None, key: str, of_columns: Mapping[int, ElementValue | None], width: int
) -> Entry | None:
    """Return the sequence of a macro with an element set in its first item.

    Columns without an item get one if they have a value; it holds only that value.
    """
    items: list[dict[str, Entry]] = []
    counts: list[int | None] = [None] * width
    if sequence is not None and sequence["shared"] is None:
        items, counts = sequence.get("Value", []), [item_count(sequence, c) for c in range(width)]
    new = {c for c, value in of_columns.items() if value is not None and not counts[c]}
    if not items and not new:
        return sequence
    first = {k: lacking_entry(e, new, width) for k, e in (items[0] if items else {}).items()}
    values = {c: value for c, value in of_columns.items() if c in new or counts[c]}
    first[key] = _entry_of_columns(values, width)
    known = {k: entry for k, entry in sorted(first.items()) if entry is not None}
    edited: Entry = {"vr": "SQ", "shared": None, "Value": [known, *items[1:]]}
    counts = [1 if c in new else count for c, count in enumerate(counts)]
    if any(counts[c] != len(edited["Value"]) for c in of_columns):
        edited["counts"] = counts
    return edited


def _entry_of_columns(of_columns: Mapping[int, ElementValue | None], width: int) -> Entry | None:
    """Return the entry of an element for columns, some of which may lack the item."""
    known = list(of_columns.values())
    if all(value is None for value in known):
        return None
    if known[0] is not None and all(value == known[0] for value in known):
        return shared_entry(known[0])
    return per_slice_entry([of_columns.get(column) for column in range(width)])
