"""Adapts the elements of multi-frame files to the frames that are left, and to edits.

Must not know pixels or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.export.uids import uid_from
from dicube.dicom.merge_utils import (
    Entry,
    JsonElement,
    is_uniform,
    item_count,
    item_entries,
    slice_entry,
    slice_items,
)
from dicube.dicom.metadata.frame_positions import FrameOffsets, are_lengths
from dicube.dicom.metadata.frames import FUNCTIONAL_GROUPS, PER_FRAME
from dicube.dicom.metadata.slice_order import numbers, positions
from dicube.exceptions import DataConsistencyError

_SOP_INSTANCE, _FRAMES, _POSITION, _OFFSETS = "00080018", "00280008", "00200032", "3004000C"
_DETECTORS, _BETWEEN = "00540022", "00180088"
_TIME, _TIMES, _INCREMENT = "00181063", "00181065", "00280009"
# Elements with a value for each frame: PS3.3 C.7.6.5 (cine), C.8.4.8 (nuclear medicine), C.7.6.6,
# C.8.6.
_VECTORS = (
    *("00181065", "00182001", "00182002", "00182003", "00182004", "00182005", "00182006"),
    *("00540010", "00540020", "00540030", "00540050", "00540060", "00540070", "00540080"),
    *("00540090", "00540100", _OFFSETS),
)

Lookup = Callable[[str], JsonElement | None]


def frame_attributes(meta: DicomMeta) -> list[Replaced]:
    """Return for each file the elements to replace because only some of its frames are left.

    Elements with a value for each frame are cut to the frames left, in the order of their numbers.
    As the file is then another image, it gets a SOP instance UID derived from its original one and
    the numbers.

    Raises:
        DataConsistencyError: frames of a file differ in an element that a file has only once, or
            the frames left are not equally spaced although the file has only one distance.
    """
    declared = numbers(meta, _FRAMES, 1)
    if meta.has_frames:
        _check_shared_within_files(meta)
    elif not any(count and count[0] > 1 for count in declared):
        return [{} for _ in range(meta.slice_count)]
    return [_cut(meta, slices, declared[slices[0]]) for slices in meta.instances()]


def has_groups(meta: DicomMeta) -> bool:
    """Return whether the metadata has functional groups."""
    return any(group in meta for group in FUNCTIONAL_GROUPS)


def _cut(meta: DicomMeta, slices: Sequence[int], declared: tuple[float, ...] | None) -> Replaced:
    kept = [meta.frames[index].number for index in slices]
    count = int(declared[0]) if declared else 1
    first = slices[0]
    replaced: Replaced = {}
    if kept == list(range(1, len(kept) + 1)) and (count < 2 or len(kept) >= count):
        return replaced
    entries = meta.entries

    def element(key: str) -> JsonElement | None:
        entry: Entry | None = entries.get(key)
        return None if entry is None else slice_entry(entry, first)

    groups = entries.get(PER_FRAME)
    is_sequence = groups is not None and groups["shared"] is None
    if groups is not None and is_sequence and item_count(groups, first) == count >= max(kept):
        # A file may have thousands of items, so the others are not made.
        items = [item_entries(groups, first, number - 1) for number in kept]
        replaced[PER_FRAME] = {"vr": "SQ", "Value": [slice_items(*i) for i in items if i]}
    for key in _VECTORS:
        found = element(key)
        values: Any = [] if found is None else found.get("Value", [])
        if found is not None and len(values) == count >= max(kept):
            replaced[key] = {"vr": found["vr"], "Value": [values[number - 1] for number in kept]}
    offsets = replaced.get(_OFFSETS)
    place = positions(meta)[first]
    if place is not None and offsets is not None and are_lengths(offsets["Value"]):
        start = offsets["Value"][0]
        offsets["Value"] = [value - start for value in offsets["Value"]]
        replaced[_POSITION] = {"vr": "DS", "Value": list(place)}
    elif place is not None and not has_groups(meta):
        replaced.update(_steps_left(meta, first, kept, place, element))
    replaced.update(_times_left(kept, count, element))
    uid = element(_SOP_INSTANCE)
    if uid is not None:
        sources = [str((uid.get("Value") or [""])[0]), *map(str, kept)]
        replaced[_SOP_INSTANCE] = {"vr": "UI", "Value": [uid_from(*sources)]}
    return replaced


def _steps_left(
    meta: DicomMeta, first: int, kept: Sequence[int], place: tuple[float, ...], element: Lookup
) -> Replaced:
    """Return the geometry of frames whose file has the first one's position and their distance.

    Args:
        meta: the metadata.
        first: the first slice left.
        kept: numbers of the frames left.
        place: position of the first slice left, in mm.
        element: returns an element of the file.
    """
    frames = FrameOffsets(meta)
    step = frames.step(first)
    if step is None:
        return {}
    strides = {later - number for number, later in pairwise(kept)} or {1}
    if frames.numbers_of_slices(first) is not None:
        strides = {1}  # the file numbers its slices
    if len(strides) > 1:
        raise DataConsistencyError(
            f"frames {', '.join(map(str, kept))} of a file are not equally spaced, but the file "
            f"has only one {tag_name(_BETWEEN)}",
            suggestion="choose equally spaced frames",
        )
    position: JsonElement = {"vr": "DS", "Value": list(place)}
    replaced: Replaced = {_BETWEEN: {"vr": "DS", "Value": [step * strides.pop()]}}
    detectors = element(_DETECTORS)
    if element(_POSITION) is None and detectors is not None:
        replaced[_DETECTORS] = {
            **detectors,
            "Value": [{**detector, _POSITION: position} for detector in detectors["Value"]],
        }
    else:
        replaced[_POSITION] = position
    return replaced


def _times_left(kept: Sequence[int], count: int, element: Lookup) -> Replaced:
    """Return the times between the frames left (PS3.3 C.7.6.5), in ms; {} if unchanged."""
    steps = list(pairwise(kept))
    vector = (element(_TIMES) or {}).get("Value", [])
    if len(vector) == count and are_lengths(vector):
        gaps = [math.fsum(vector[number:later]) for number, later in steps]
        return {_TIMES: {"vr": "DS", "Value": [vector[0], *gaps]}}
    time = (element(_TIME) or {}).get("Value", [])
    strides = [later - number for number, later in steps]
    if len(time) != 1 or not are_lengths(time) or set(strides) <= {1}:
        return {}
    if len(set(strides)) == 1:
        return {_TIME: {"vr": "DS", "Value": [time[0] * strides[0]]}}
    replaced: Replaced = {
        _TIME: None,
        _TIMES: {"vr": "DS", "Value": [0.0, *(time[0] * stride for stride in strides)]},
    }
    pointer = element(_INCREMENT)
    if pointer is not None:
        pointed = [_TIMES if key == _TIME else key for key in pointer.get("Value", [])]
        replaced[_INCREMENT] = {"vr": "AT", "Value": pointed}
    return replaced


def _check_shared_within_files(meta: DicomMeta) -> None:
    several = [slices for slices in meta.instances() if len(slices) > 1]
    for key, entry in meta.entries.items():
        if is_uniform(entry):
            continue
        columns = entry.get("columns")
        for first, *others in several:
            if columns is not None and all(columns[first] == columns[i] for i in others):
                continue
            element = slice_entry(entry, first)
            if any(slice_entry(entry, index) != element for index in others):
                raise DataConsistencyError(
                    f"{tag_name(key)} differs between frames of one file, but a file has only one",
                    suggestion="set an element of the functional groups, or one value per file",
                )
