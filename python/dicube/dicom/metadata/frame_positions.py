"""Where the frames of a file are that says it of all of them at once.

RT Dose gives the first frame's position and an offset for each (PS3.3 C.8.8.3.2), reconstructed
nuclear medicine the detector's and the distance between slices (C.8.4.15). Enhanced images tell
each frame's position, which `DicomMeta.get` finds by itself. Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dicube.dicom.dicom_tags import TagLike, get_tag_key
from dicube.dicom.metadata.lookup import MetadataLookup

_GRID_OFFSETS, _DETECTORS, _BETWEEN = "3004000C", "00540022", "00180088"
_IMAGE_TYPE = "00080008"
_FAR = 1e9  # mm: no patient reaches beyond, and NaN is not below

Numbers = tuple[float, ...] | None


def values_of_detector(meta: MetadataLookup, tag: TagLike) -> list[Any]:
    """Return an element of the one detector that nuclear medicine slices have; None elsewhere."""
    found: list[Any] = []
    for detectors in meta.get(_DETECTORS, force_nonshared=True):
        element = detectors[0].get(get_tag_key(tag), {}) if _is_single(detectors) else {}
        found.append(element.get("Value"))
    return found


def spread_over_frames(
    meta: MetadataLookup, positions: Sequence[Numbers], normal_at: Callable[[int], Any]
) -> list[Numbers]:
    """Return each slice's position, where that of the first frame stands for all of a file.

    Args:
        meta: the metadata.
        positions: as they stand, (x, y, z) or None.
        normal_at: gives the unit normal of a slice, or None.
    """
    found = list(positions)
    if not meta.has_frames:
        return found
    for slices in meta.instances():
        first = found[slices[0]]
        if first is None or any(found[index] != first for index in slices):
            continue  # each has its own already
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
    """Return how far each slice of a file is from its position along the normal, in mm."""
    places = [meta.frames[index].number - 1 for index in slices]
    grid = meta.get(_GRID_OFFSETS, force_nonshared=True)[slices[0]]
    if isinstance(grid, list) and len(grid) > max(places) > 0 and are_lengths(grid):
        # The other way: z coordinates, of axial frames.
        start = first[2] if grid[0] == first[2] else 0.0
        return [float(grid[place]) - start for place in places]
    step = step_between_frames(meta, slices[0])
    return None if step is None else [step * place for place in places]


def step_between_frames(meta: MetadataLookup, index: int) -> float | None:
    """Return how far a slice's frame is from the next of its file in mm, if that tells places."""
    kinds = meta.get(_IMAGE_TYPE, force_nonshared=True)[index]
    step = meta.get(_BETWEEN, force_nonshared=True)[index]
    is_told = isinstance(kinds, list) and "RECON TOMO" in kinds and are_lengths([step])
    return float(step) if is_told else None


def are_lengths(values: Sequence[Any]) -> bool:
    """Return whether values are numbers that can be mm in a patient."""
    return all(isinstance(value, (int, float)) and abs(value) < _FAR for value in values)


def _is_single(detectors: Any) -> bool:
    return isinstance(detectors, list) and len(detectors) == 1
