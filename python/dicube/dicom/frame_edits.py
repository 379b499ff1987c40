"""Changing what the functional groups of frames say (PS3.3 C.7.6.16).

A macro stands either in the item that all frames share or in one item for each frame: where frames
come to differ, it moves. Must not know what any tag means, or files.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from dicube.dicom.element_values import ElementValue
from dicube.dicom.frames import PER_FRAME, SHARED, Frame
from dicube.dicom.merge_utils import Entry, entry_of, is_uniform, per_slice_entry, shared_entry
from dicube.exceptions import MetaDataError


def set_in_macro(
    entries: MutableMapping[str, Entry],
    frames: Sequence[Frame],
    macro: str,
    key: str,
    values: Sequence[ElementValue | None],
) -> None:
    """Give each slice its value of an element in a macro, which functional groups have.

    Args:
        entries: of the metadata; the groups' ones are replaced.
        frames: which frame of which file each slice is.
        macro: key of the macro's sequence.
        key: of the element.
        values: one for each slice; None for one that is to lack the element.

    Raises:
        MetaDataError: the groups don't have an item for each frame.
    """
    shared = _sequence(entries, SHARED)
    in_common = shared is not None and any(macro in item for item in shared.get("Value", []))
    per_frame = _sequence(entries, PER_FRAME) or {}
    alone = not any(macro in item for item in per_frame.get("Value", []))
    if shared is not None and in_common and alone:
        common = entry_of(values)
        if common is None or common["shared"]:
            items = [
                {**item, macro: _with_element(item.get(macro), key, common)}
                for item in shared["Value"]
            ]
            entries[SHARED] = {**shared, "Value": items}
            return
    moved = None
    if shared is not None and in_common:
        moved = shared["Value"][0].get(macro)
        if moved is not None and not is_uniform(moved):
            raise MetaDataError(f"files share macro {macro} among their frames, but differ in it")
        items = [{k: e for k, e in item.items() if k != macro} for item in shared["Value"]]
        entries[SHARED] = {**shared, "Value": items}
    _set_per_frame(entries, frames, macro, key, values, moved)


def _sequence(entries: Mapping[str, Entry], key: str) -> Entry | None:
    """Return an entry that is a sequence; None for one that is not there or of another kind."""
    entry = entries.get(key)
    return entry if entry is not None and entry["shared"] is None else None


def _set_per_frame(
    entries: MutableMapping[str, Entry],
    frames: Sequence[Frame],
    macro: str,
    key: str,
    values: Sequence[ElementValue | None],
    moved: Entry | None,
) -> None:
    groups = _sequence(entries, PER_FRAME) or {}
    items = list(groups.get("Value", []))
    if len(items) < max(frame.number for frame in frames):
        raise MetaDataError(
            f"functional groups have {len(items)} items, fewer than there are frames"
        )
    columns = groups.get("columns", range(len(frames)))
    width = max(columns) + 1
    of_places: dict[int, dict[int, ElementValue | None]] = {}
    for column, frame, value in zip(columns, frames, values, strict=True):
        of_places.setdefault(frame.number - 1, {})[column] = value
    for place, of_columns in of_places.items():
        entry = _entry_of_columns(of_columns, width)
        sequence = items[place].get(macro, moved)
        items[place] = {**items[place], macro: _with_element(sequence, key, entry)}
    entries[PER_FRAME] = {**groups, "Value": items}


def _entry_of_columns(of_columns: dict[int, ElementValue | None], width: int) -> Entry | None:
    """Return an entry for columns of which some don't have the frame."""
    known = list(of_columns.values())
    if all(value is None for value in known):
        return None
    if known[0] is not None and all(value == known[0] for value in known):
        return shared_entry(known[0])
    return per_slice_entry([of_columns.get(column) for column in range(width)])


def _with_element(sequence: Entry | None, key: str, entry: Entry | None) -> Entry:
    """Return a macro's sequence with another entry in its one item, in every slice."""
    items = sequence.get("Value") if sequence and sequence["shared"] is None else None
    first: dict[str, Entry] = dict(items[0] if items else {})
    first.pop(key, None)
    if entry is not None:
        first[key] = entry
    return {"vr": "SQ", "shared": None, "Value": [dict(sorted(first.items()))]}
