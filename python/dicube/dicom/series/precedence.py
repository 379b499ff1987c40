"""Which value counts where a series says the same thing twice.

The metadata have rescale, window and geometry of each slice. The pixel header repeats rescale and
window, and the space repeats the geometry, once for all slices. The rule:

1. The most recent change counts. Editing one of these elements in the metadata also sets it in
   header or space; a value set there afterwards counts instead. Assigning other metadata to an
   image sets neither.
2. If the header has the rescale of the first slice, each slice has the rescale of its metadata.
   Any other rescale was set in the header and counts for all slices. The same goes for the window.
3. If the space puts the voxels where the metadata do, nothing was set. Any other space counts.
4. Choosing or reordering slices is not a change: a header with the values of the slice that was
   first gets those of the slice that is first now.
5. A dicube file stores all three as they are; what is exported agrees with what counts (`settled`).

Header and space are not views of the metadata, because callers pass these objects in, keep them,
and share them: a mask or a rescaled copy often has the very metadata of its source with another
header. Setting a view would then change the source too, and a private copy of the metadata would
lose what callers edit in theirs. Must not know pixels or files.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dicube.dicom.dicom_meta import ANY_ELEMENT, DicomMeta
from dicube.dicom.dicom_tags import CommonTags, get_tag_key
from dicube.dicom.elements.values import number_text
from dicube.dicom.metadata.first_slice import FirstSlice, first_slice
from dicube.dicom.metadata.frames import FUNCTIONAL_GROUPS
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import (
    Space,
    plane_attributes,
    same_space,
    space_fields,
    space_or_reason,
)
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader

RESCALE, WINDOW = FirstSlice._fields[:2], FirstSlice._fields[2:]
_GEOMETRY = {
    ANY_ELEMENT,
    *FUNCTIONAL_GROUPS,
    *map(
        get_tag_key,
        (
            CommonTags.ImagePositionPatient,
            CommonTags.ImageOrientationPatient,
            CommonTags.PixelSpacing,
            CommonTags.SpacingBetweenSlices,
            CommonTags.SliceThickness,
        ),
    ),
}


# --------------------------------------------------------------------------------- rules 2 and 3


def rescale_of_slices(
    meta: DicomMeta | None, header: PixelDataHeader
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Return slope and intercept of each slice; None for both if the header's count for all."""
    slope, intercept = CommonTags.RescaleSlope, CommonTags.RescaleIntercept
    if meta is None or (meta.is_shared(slope) and meta.is_shared(intercept)):
        return None, None
    slopes = [found[0] if found else 1.0 for found in numbers(meta, slope, 1)]
    intercepts = [found[0] if found else 0.0 for found in numbers(meta, intercept, 1)]
    if _values(header, RESCALE) != (slopes[0], intercepts[0]):
        return None, None
    return slopes, intercepts


def settled(
    meta: DicomMeta,
    header: PixelDataHeader,
    space: Space | None,
    kinds: Sequence[Sequence[str]] = (RESCALE, WINDOW),
) -> DicomMeta:
    """Return metadata in which each slice has the values that count; itself if it has them.

    Args:
        meta: the metadata.
        header: rescale and window.
        space: geometry (zyx); None if it isn't known, so that the metadata's counts.
        kinds: what of the header counts.

    Raises:
        DataConsistencyError: a value that DICOM can't store, such as NaN.

    Warns:
        UserWarning: slope or intercept have more digits than DICOM stores.
    """
    told = first_slice(meta)
    kinds = [kind for kind in kinds if _values(header, kind) != _values(told, kind)]
    moved = space is not None and not _is_placed(meta, space)
    if not kinds and not moved:
        return meta
    changed = meta.fork()
    if space is not None and moved:
        write_space(space, changed)
    for kind in kinds:
        _write_values(header, kind, changed)
    return changed


def write_space(space: Space, meta: DicomMeta) -> None:
    """Set the image plane elements (PS3.3 C.7.6.2) to a space (zyx), unless they agree already."""
    if _is_placed(meta, space):
        return
    plane = plane_attributes(space)
    meta.set_nonshared_item(CommonTags.ImagePositionPatient, plane.positions)
    meta.set_shared_item(CommonTags.ImageOrientationPatient, plane.orientation)
    meta.set_shared_item(CommonTags.PixelSpacing, plane.pixel_spacing)
    meta.set_shared_item(CommonTags.SpacingBetweenSlices, plane.slice_distance)
    if not meta.is_missing(CommonTags.SliceLocation):
        meta.set_nonshared_item(CommonTags.SliceLocation, plane.locations)
    if meta.is_missing(CommonTags.SliceThickness):
        meta.set_shared_item(CommonTags.SliceThickness, plane.slice_distance)


def write_rescale(header: PixelDataHeader, meta: DicomMeta) -> None:
    """Give all slices the header's rescale, in the elements that the metadata have."""
    for name in RESCALE:
        if not meta.is_missing(name):
            meta.set_shared_item(name, getattr(header, name))


def _write_values(header: PixelDataHeader, kind: Sequence[str], meta: DicomMeta) -> None:
    """Give all slices the rescale or the window of a header."""
    values = _values(header, kind)
    if not all(value is None or math.isfinite(value) for value in values):
        name = "rescale" if kind is RESCALE else "window"
        raise DataConsistencyError(f"DICOM can't store a {name} of {values}")
    for name, value in zip(kind, values, strict=True):
        if value is None:
            meta.set_nonshared_item(name, [None] * meta.slice_count)
            continue
        written = float(number_text(float(value)))  # 16 characters (DS, PS3.5 6.2)
        meta.set_shared_item(name, written)
        if kind is RESCALE and written != value:
            warnings.warn(
                f"{name} {float(value)!r} is written as {written!r}, the nearest number that "
                "DICOM's 16 characters hold",
                stacklevel=6,
            )


def _is_placed(meta: DicomMeta, space: Space) -> bool:
    """Return whether metadata put all voxels where a space (zyx) does."""
    told = space_or_reason(meta)[0]
    return told is not None and same_space(told.reverse_axis_order(), space)


# ---------------------------------------------------------------------------------------- rule 4


def header_of_part(header: PixelDataHeader, meta: DicomMeta) -> PixelDataHeader:
    """Return the header for metadata, given one that may be that of the slices chosen from."""
    if meta.first_before is None:
        return header
    followed = _following(header, meta.first_before, first_slice(meta))
    return replace(header, **followed) if followed else header


def header_of_chosen(header: PixelDataHeader, chosen: DicomMeta) -> PixelDataHeader:
    """Return the header for slices that were just chosen from those of a header.

    A value that was set for all slices may by chance be that of the first slice chosen. The
    metadata of all chosen slices then get it, so that it still counts for all.
    """
    now = first_slice(chosen)
    before = now if chosen.first_before is None else chosen.first_before
    followed = header_of_part(header, chosen)
    for kind in (RESCALE, WINDOW):
        values = _values(header, kind)
        if values != _values(before, kind) and values == _values(now, kind):
            for name, value in zip(kind, values, strict=True):
                chosen.set_nonshared_item(name, [value] * chosen.slice_count)
    return followed


def _following(header: PixelDataHeader, before: FirstSlice, now: FirstSlice) -> dict[str, Any]:
    """Return what `now` has, of rescale and window each if the header has that of `before`."""
    return {
        name: getattr(now, name)
        for kind in (RESCALE, WINDOW)
        if _values(header, kind) == _values(before, kind)
        for name in kind
    }


def _values(of: PixelDataHeader | FirstSlice, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(of, name) for name in names)


# ---------------------------------------------------------------------------------------- rule 1


class HeaderAndSpace:
    """The pixel header and the space of an image, which follow the edits of its metadata.

    Callers may change both in place. What is changed in place is found by comparing, at the latest
    before the next edit of the metadata, so that it is known which of the two came first.

    Args:
        meta: metadata of the image; None for none.
        header, space: of the image.

    Attributes:
        header: rescale and window.
        space: the geometry (zyx); None if it isn't known.
    """

    def __init__(
        self,
        meta: DicomMeta | None,
        header: PixelDataHeader,
        space: Space | None,
    ) -> None:
        self.header = header if meta is None else header_of_part(header, meta)
        self.space = space
        self._meta = meta
        self._moved = False  # whether geometry was edited that the space doesn't have yet
        self._seen = 0 if meta is None else len(meta.edits)
        self._remember()
        if meta is not None:
            meta.followers.add(self)

    def set_header(self, header: PixelDataHeader) -> None:
        """Set the header, after `follow`."""
        self.header = header
        self._remember()

    def set_space(self, space: Space | None) -> None:
        """Set the space, after `follow`, and write it into the metadata."""
        self.space = space
        self._remember()
        if space is not None and self._meta is not None:
            self._meta.followers.discard(self)
            write_space(space, self._meta)
            self._seen = len(self._meta.edits)
            self._meta.followers.add(self)

    def follow(self, shape: tuple[int, ...]) -> bool:
        """Take over what was edited in the metadata; return whether the space was.

        Args:
            shape: of the image's pixels. The metadata don't describe the geometry of pixels that
                were cropped or have a lower resolution.
        """
        meta = self._meta
        if meta is None:
            return False
        meta.followers.add(self)  # metadata that were unpickled have no followers
        self._take_edits(meta)
        if not self._moved:
            return False
        self._moved = False
        told = space_or_reason(meta)[0]
        space = None if told is None else told.reverse_axis_order()
        if space is not None and tuple(space.shape) != shape[:3]:
            return False
        self.space = space
        self._remember()
        return True

    def before_edit(self) -> None:
        """Note what was changed in place before an edit of the metadata, which is about to come."""
        meta, space = self._meta, self.space
        if meta is None:
            return
        is_set = self._is_set_in_place()
        self._take_edits(meta)
        if is_set and space is not None and space.shape[0] == meta.slice_count:
            self.set_space(space)

    def _take_edits(self, meta: DicomMeta) -> None:
        """Set in the header what was edited, unless it was changed there since the edit."""
        edited = set(meta.edits[self._seen :])
        self._seen = len(meta.edits)
        if edited:
            now = first_slice(meta)
            changed: dict[str, Any] = {}
            if ANY_ELEMENT in edited and meta.first_before is not None:
                changed = _following(self.header, meta.first_before, now)
            for name in FirstSlice._fields:
                places = {get_tag_key(name), *FUNCTIONAL_GROUPS}
                if edited & places and getattr(self.header, name) == getattr(self._noted, name):
                    changed[name] = getattr(now, name)
            if changed:  # another header, because other images may share this one
                self.header = replace(self.header, **changed)
            if edited & _GEOMETRY:
                self._moved = not self._is_set_in_place()
        self._remember()

    def _is_set_in_place(self) -> bool:
        return self.space is not None and space_fields(self.space) != self._noted_space

    def _remember(self) -> None:
        """Note what header and space are, to find later changes in place."""
        self._noted = FirstSlice(*_values(self.header, FirstSlice._fields))
        self._noted_space = None if self.space is None else space_fields(self.space)
