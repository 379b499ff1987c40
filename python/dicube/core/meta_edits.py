"""What edits of an image's metadata change in its header and its space.

Rescale, window and geometry are told twice, by metadata and beside them: what was set last counts.
Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dicube.dicom.dicom_meta import ANY_ELEMENT, DicomMeta
from dicube.dicom.dicom_tags import CommonTags, get_tag_key
from dicube.dicom.metadata.first_slice import FirstSlice, first_slice
from dicube.dicom.metadata.frames import FUNCTIONAL_GROUPS
from dicube.dicom.series.geometry import Space, plane_attributes, same_space, space_or_reason
from dicube.pixel_header import PixelDataHeader

_PLACES = {
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
_RESCALE, _WINDOW = FirstSlice._fields[:2], FirstSlice._fields[2:]


def header_of_part(header: PixelDataHeader, meta: DicomMeta) -> PixelDataHeader:
    """Return the header of an image, given one that may be of all the slices of a series.

    What it has of the first of these is not that of metadata selected from theirs, or put in
    another order since. Anything else was set, and is for all slices.
    """
    if meta.first_before is None:
        return header
    return replace(header, **_following(header, meta.first_before, first_slice(meta)))


class MetaEdits:
    """The edits that header and space of an image have not followed yet."""

    def __init__(self, meta: DicomMeta | None, header: PixelDataHeader) -> None:
        """Take metadata and header, which are taken to agree as they are."""
        self._followed = 0 if meta is None else len(meta.edits)
        self._known = _values(header)

    def are_new(self, meta: DicomMeta) -> bool:
        """Return whether there are edits to follow."""
        return len(meta.edits) > self._followed

    def skip(self, meta: DicomMeta) -> None:
        """Take the edits there are for followed."""
        self._followed = len(meta.edits)

    def take(self, meta: DicomMeta, header: PixelDataHeader) -> tuple[PixelDataHeader, bool]:
        """Return the header with what was edited, where that was not set; and whether places were.

        A value in the header that is not what it was counts as set. It is another header, as other
        images may have the one given.
        """
        edited = set(meta.edits[self._followed :])
        self.skip(meta)
        now = first_slice(meta)
        changed = {}
        if ANY_ELEMENT in edited and meta.first_before is not None:
            changed = _following(header, meta.first_before, now)
        for names in (_RESCALE, _WINDOW):
            if not edited.isdisjoint({*FUNCTIONAL_GROUPS, *map(get_tag_key, names)}):
                changed |= _following(header, self._known, now, names)
        self._known = self._known._replace(**changed)
        followed = replace(header, **changed) if changed else header
        return followed, not edited.isdisjoint(_PLACES)


def _values(header: PixelDataHeader) -> FirstSlice:
    return FirstSlice(*(getattr(header, name) for name in FirstSlice._fields))


def _following(
    header: PixelDataHeader,
    before: FirstSlice,
    now: FirstSlice,
    *kinds: Sequence[str],
) -> dict[str, Any]:
    """Return what is now of what a header has as it was before, each kind as a whole."""
    return {
        name: getattr(now, name)
        for names in kinds or (_RESCALE, _WINDOW)
        if all(getattr(header, name) == getattr(before, name) for name in names)
        for name in names
    }


def write_space(space: Space, meta: DicomMeta) -> None:
    """Set the image plane elements of metadata (PS3.3 C.7.6.2) to where a space puts voxels."""
    told = space_or_reason(meta)[0]
    if told is not None and same_space(told.reverse_axis_order(), space):
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
