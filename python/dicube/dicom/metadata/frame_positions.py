"""Positions of frames in files that give one position for all of them.

RT Dose has the position of the first frame and an offset for each frame (PS3.3 C.8.8.3.2).
Reconstructed nuclear medicine has the position of the detector and the distance between slices
(C.8.4.15), and so have other files of a single stack: cone beam CT stored as CT images, secondary
captures. Enhanced images have a position for each frame, which `DicomMeta.get` finds. Must not
know pixels or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dicube.dicom.dicom_tags import TagLike, get_tag_key
from dicube.dicom.metadata.lookup import MetadataLookup

_GRID_OFFSETS, _DETECTORS, _BETWEEN = "3004000C", "00540022", "00180088"
_IMAGE_TYPE, _MODALITY, _INCREMENT = "00080008", "00080060", "00280009"
_DETECTOR_VECTOR, _SLICE_VECTOR = "DetectorVector", "SliceVector"
_ORDERING_VECTORS = (_SLICE_VECTOR, "AngularViewVector", "SliceLocationVector")
_POSITION = "00200032"
_RECONSTRUCTED = frozenset({"RECON TOMO", "RECON GATED TOMO"})
# Elements with a value for each frame that tell volumes of the same slices apart (PS3.3 C.8.4.8).
VOLUME_VECTORS = (
    *("EnergyWindowVector", _DETECTOR_VECTOR, "PhaseVector", "RotationVector"),
    *("RRIntervalVector", "TimeSlotVector", "TimeSliceVector"),
)
# What FrameIncrementPointer points to if frames are not slices of one stack; times: C.7.6.5.
_NO_STACK = {*map(get_tag_key, VOLUME_VECTORS), "00181063", "00181065"}
_FAR = 1e9  # mm, far outside any patient; the comparison also excludes NaN

Numbers = tuple[float, ...] | None


def values_of_frames(meta: MetadataLookup, tag: TagLike) -> list[Any]:
    """Return the value of each slice in an element with one value per frame; None without one."""
    return [
        value[frame.number - 1] if frame.number <= len(value) else None
        for value, frame in zip(map(_list, _column(meta, tag)), meta.frames, strict=True)
    ]


def values_of_detector(meta: MetadataLookup, tag: TagLike) -> list[Any]:
    """Return the values of an element in the detector of each slice; None if it has none."""
    found: list[Any] = []
    chosen = values_of_frames(meta, _DETECTOR_VECTOR)
    for detectors, number in zip(_column(meta, _DETECTORS), chosen, strict=True):
        count = len(detectors) if isinstance(detectors, list) else 0
        place = number - 1 if isinstance(number, int) else 0
        known = 0 <= place < count and (count == 1 or number is not None)
        found.append(detectors[place].get(get_tag_key(tag), {}).get("Value") if known else None)
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
    frames = FrameOffsets(meta)
    for slices in meta.instances():
        first = found[slices[0]]
        if first is None or any(found[index] != first for index in slices):
            continue  # the frames have positions of their own
        offsets = frames.offsets(slices, first)
        normal = None if offsets is None else normal_at(slices[0])
        if normal is None or offsets is None:
            continue
        for index, offset in zip(slices, offsets, strict=True):
            found[index] = tuple((np.array(first) + offset * normal).tolist())
    return found


def frame_ranks(meta: MetadataLookup) -> list[Any]:
    """Return numbers that order the slices of a file as a stack, for files without positions.

    By the vector of slices, of angular views or of slice locations; else by the number of the
    frame, unless frames are times. None for slices that nothing orders.
    """
    vectors = [values_of_frames(meta, name) for name in _ORDERING_VECTORS]
    frames = FrameOffsets(meta)
    numbers = [
        frame.number if frames.is_stack(index) else None for index, frame in enumerate(meta.frames)
    ]
    return [
        next((value for value in row if isinstance(value, (int, float))), None)
        for row in zip(*vectors, numbers, strict=True)
    ]


class FrameOffsets:
    """The distances of frames from the first one of their file, along its normal.

    Args:
        meta: the metadata.
    """

    def __init__(self, meta: MetadataLookup) -> None:
        self._meta = meta
        self._is_of_frames = meta.is_in_functional_groups(_POSITION)
        self._grids, self._steps = _column(meta, _GRID_OFFSETS), _column(meta, _BETWEEN)
        self._kinds, self._modalities = _column(meta, _IMAGE_TYPE), _column(meta, _MODALITY)
        self._pointers, self._vectors = _column(meta, _INCREMENT), _column(meta, _SLICE_VECTOR)

    def is_stack(self, index: int) -> bool:
        """Return whether the frames of a slice's file are slices of one stack."""
        if self._is_of_frames:
            return False
        if self._modalities[index] == "NM" or _list(self._vectors[index]):
            return not _RECONSTRUCTED.isdisjoint(_list(self._kinds[index]))
        return _NO_STACK.isdisjoint(_list(self._pointers[index]))

    def step(self, index: int) -> float | None:
        """Return the distance from a slice's frame to the next in mm; None if it isn't known."""
        step = self._steps[index]
        return float(step) if self.is_stack(index) and are_lengths([step]) and step else None

    def numbers_of_slices(self, index: int) -> list[int] | None:
        """Return the number of the slice of each frame of a file; None if frames are slices."""
        found = _list(self._vectors[index])
        return found if found and all(isinstance(number, int) for number in found) else None

    def offsets(self, slices: Sequence[int], first: tuple[float, ...]) -> list[float] | None:
        """Return the distance of each slice of a file from the stored position, in mm."""
        index = slices[0]
        places = [self._meta.frames[number].number - 1 for number in slices]
        grid = self._grids[index]
        if isinstance(grid, list) and len(grid) > max(places) > 0 and are_lengths(grid):
            # In the other form of the element, the values are z coordinates of axial frames.
            start = first[2] if grid[0] == first[2] else 0.0
            return [float(grid[place]) - start for place in places]
        step = self.step(index)
        if step is None:
            return None
        numbers = self.numbers_of_slices(index)
        if numbers is not None and len(numbers) > max(places):
            return [step * (numbers[place] - numbers[0]) for place in places]
        return [step * place for place in places]


def are_lengths(values: Sequence[Any]) -> bool:
    """Return whether values are numbers in the range of mm in a patient."""
    return all(isinstance(value, (int, float)) and abs(value) < _FAR for value in values)


def _column(meta: MetadataLookup, tag: TagLike) -> list[Any]:
    found: list[Any] = meta.get(tag, force_nonshared=True)
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
