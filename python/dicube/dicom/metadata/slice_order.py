"""Positions of slices along their normal, and the order of slices.

Uses the elements of the image plane (PS3.3 C.7.6.2). Must not know spacetransformer, pixels or
files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dicube.dicom.dicom_tags import TagLike
from dicube.dicom.metadata.frame_positions import spread_over_frames, values_of_detector
from dicube.dicom.metadata.lookup import MetadataLookup, converted
from dicube.exceptions import MetaDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


def numbers(meta: MetadataLookup, tag: TagLike, count: int) -> list[tuple[float, ...] | None]:
    """Return the numbers of an element in each slice.

    Args:
        meta: the metadata.
        tag: an element of numbers.
        count: the number of values it should have.

    Returns:
        For each slice a tuple of `count` finite numbers; None if the slice has no such values.
    """

    def make() -> list[tuple[float, ...] | None]:
        values = meta.get(tag, force_nonshared=True)
        return converted(values, lambda value: _numbers(value, count))

    return list(meta.derived(tag, ("numbers", count, meta.slice_count), make))


def positions(meta: MetadataLookup) -> list[tuple[float, ...] | None]:
    """Return ImagePositionPatient of each slice in mm (x, y, z); None if it has none."""
    found = _plane_numbers(meta, "ImagePositionPatient", 3)
    if not meta.has_frames:
        return found

    turned = orientations(meta)

    def normal_at(index: int) -> Floats | None:
        orientation = turned[index]
        return None if orientation is None else normal_of(orientation)

    return spread_over_frames(meta, found, normal_at)


def orientations(meta: MetadataLookup) -> list[tuple[float, ...] | None]:
    """Return ImageOrientationPatient of each slice (row, then column direction), or None."""
    return _plane_numbers(meta, "ImageOrientationPatient", 6)


def median(values: Floats) -> float:
    """Return the median of numbers; NaN if there are none.

    numpy's own loads numpy.ma first, which takes longer than reading a file.
    """
    if not len(values):
        return math.nan
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def normal_of(orientation: tuple[float, ...]) -> Floats | None:
    """Return the unit slice normal, row direction x column direction; None if they are parallel."""
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 1e-6 else None


def positions_along_normal(meta: MetadataLookup) -> list[float | None]:
    """Return the position of each slice along the first known normal in mm; None if unknown."""
    orientation = next((known for known in orientations(meta) if known is not None), None)
    normal = None if orientation is None else normal_of(orientation)
    if normal is None:
        return [None] * meta.slice_count
    return [
        None if position is None else float(np.dot(position, normal))
        for position in positions(meta)
    ]


def slice_order(meta: MetadataLookup, by_position: bool, descending: bool) -> list[int]:
    """Return the indices of the slices in sorted order; see `DicomMeta.sort_files`.

    Unless sorted by position, the frames of a file keep their order, or are reversed.

    Raises:
        MetaDataError: `by_position` is set, but slices have no position.
    """
    places = positions_along_normal(meta)
    lacking = [i for i, place in enumerate(places) if place is None]
    if by_position and lacking:
        raise MetaDataError(
            f"can't sort by position: {len(lacking)} of {meta.slice_count} slices "
            f"have no position or orientation, the first is slice {lacking[0]}",
            suggestion="sort by instance number",
        )
    sign = -1.0 if descending else 1.0
    numbered = [None] * len(places) if by_position else numbers(meta, "InstanceNumber", 1)

    if meta.has_frames and not by_position:
        return _order_of_files(meta, numbered, sign)

    def key(index: int) -> tuple[bool, float, bool, float]:
        number, place = numbered[index], places[index]
        return (
            number is None,
            0.0 if number is None else sign * number[0],
            place is None,
            0.0 if place is None else sign * place,
        )

    return sorted(range(meta.slice_count), key=key)


def _order_of_files(
    meta: MetadataLookup, numbered: Sequence[tuple[float, ...] | None], sign: float
) -> list[int]:
    """Return the slices sorted by the instance number of their file, then by frame.

    The files of a concatenation (PS3.3 C.7.6.16.2.2.4) stay together, by their first instance
    number, in the order of their frames.
    """
    files = meta.instances()
    parts = parts_of_concatenations(meta)
    leading: dict[str, float] = {}
    for first, *_ in files:
        number, (uid, _) = numbered[first], parts[first]
        if number is not None and uid:
            leading[uid] = min(number[0], leading.get(uid, number[0]))

    def key(slices: Sequence[int]) -> tuple[bool, float, str, float]:
        number, (uid, part) = numbered[slices[0]], parts[slices[0]]
        place = leading.get(uid) if uid else None if number is None else number[0]
        return place is None, 0.0 if place is None else sign * place, uid, sign * part

    files = sorted(files, key=key)
    return [index for slices in files for index in (slices if sign > 0 else slices[::-1])]


def parts_of_concatenations(meta: MetadataLookup) -> list[tuple[str, float]]:
    """Return the ConcatenationUID of each slice, '' for none, and the place of its file in it."""
    uids = meta.get("ConcatenationUID", force_nonshared=True)
    if not any(uids):
        return [("", 0.0)] * meta.slice_count
    offsets = numbers(meta, "ConcatenationFrameOffsetNumber", 1)
    parts = numbers(meta, "InConcatenationNumber", 1)
    texts = converted(uids, lambda uid: str(uid or ""))
    return [
        (text, (part or offset or (0.0,))[0] if text else 0.0)
        for text, part, offset in zip(texts, parts, offsets, strict=True)
    ]


def _plane_numbers(
    meta: MetadataLookup, tag: TagLike, count: int
) -> list[tuple[float, ...] | None]:
    """Return the numbers of an element of the image plane; without any, those of the detector."""
    found = numbers(meta, tag, count)
    if any(found) or meta.is_missing("DetectorInformationSequence"):
        return found
    return [_numbers(value, count) for value in values_of_detector(meta, tag)]


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    parts = value if isinstance(value, list) else [value]
    if len(parts) != count or not all(isinstance(part, (int, float)) for part in parts):
        return None
    found = tuple(float(part) for part in parts)
    return found if all(map(math.isfinite, found)) else None
