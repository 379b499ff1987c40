"""Positions of frames in files that give one position for all of them.

RT Dose has the position of the first frame and an offset for each frame (PS3.3 C.8.8.3.2);
reconstructed nuclear medicine has the position of the detector and the distance between slices
(C.8.4.15). Enhanced images have a position for each frame, which `DicomMeta.get` finds. Must not
know pixels or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dicube.dicom.dicom_tags import TagLike, get_tag_key
from dicube.dicom.metadata.lookup import MetadataLookup

_GRID_OFFSETS, _DETECTORS, _BETWEEN = "3004000C", "00540022", "00180088"
_IMAGE_TYPE = "00080008"
_FAR = 1e9  # mm, far outside any patient; the comparison also excludes NaN

Numbers = tuple[float, ...] | None


def values_of_detector(meta: MetadataLookup, tag: TagLike) -> list[Any]:
    """Return the values of an element in the single detector of each slice; None if it has none."""
    found: list[Any] = []
    for detectors in meta.get(_DETECTORS, force_nonshared=True):
        element = detectors[0].get(get_tag_key(tag), {}) if _is_single(detectors) else {}
        found.append(element.get("Value"))
    return found


def spread_over_frames(
    meta: MetadataLookup, positions: Sequence[Numbers], normal_at: Callable[[int], Any]
) -> list[Numbers]:
    """Return the position of each slice, computed where the frames of a file have the same one.

    Args:
        meta: the metadata.
        positions: the stored positions, (x, y, z) or None.
        normal_at: returns the unit normal of a slice, or None.
    """
    found = list(positions)
    if not meta.has_frames:
        return found
    for slices in meta.instances():
        first = found[slices[0]]
        if first is None or any(found[index] != first for index in slices):
            continue  # the frames have positions of their own
        offsets = _offsets(meta, slices, first)
        normal = None if offsets is None else normal_at(slices[0])
        if normal is None or offsets is None:
            continue
        for index, offset in zip(slices, offsets, strict=True):
            found[index] = tuple((np.array(first) + offset * normal).tolist())
    return found


def _offsets(
    meta: MetadataLookup, slices: Sequence[int], first: tuple[float, ...]
) -> list[float] | None:
    """Return the distance of each slice of a file from the stored position along the normal, mm."""
    places = [meta.frames[index].number - 1 for index in slices]
    grid = meta.get(_GRID_OFFSETS, force_nonshared=True)[slices[0]]
    if isinstance(grid, list) and len(grid) > max(places) > 0 and are_lengths(grid):
        # In the other form of the element, the values are z coordinates of axial frames.
        start = first[2] if grid[0] == first[2] else 0.0
        return [float(grid[place]) - start for place in places]
    step = step_between_frames(meta, slices[0])
    return None if step is None else [step * place for place in places]


def step_between_frames(meta: MetadataLookup, index: int) -> float | None:
    """Return the distance from a slice's frame to the next in mm; None if frames don't use it."""
    kinds = meta.get(_IMAGE_TYPE, force_nonshared=True)[index]
    step = meta.get(_BETWEEN, force_nonshared=True)[index]
    is_used = isinstance(kinds, list) and "RECON TOMO" in kinds and are_lengths([step])
    return float(step) if is_used else None


def are_lengths(values: Sequence[Any]) -> bool:
    """Return whether values are numbers in the range of mm in a patient."""
    return all(isinstance(value, (int, float)) and abs(value) < _FAR for value in values)


def _is_single(detectors: Any) -> bool:
    return isinstance(detectors, list) and len(detectors) == 1
