"""What edits of an image's metadata change in its header and its space.

Rescale, window and geometry are told twice, by metadata and beside them: what was set last counts.
Must not know pixels or files.
"""

from __future__ import annotations

from dataclasses import replace

from dicube.core.pixel_header import PixelDataHeader
from dicube.dicom.dicom_io import pixel_header_of
from dicube.dicom.dicom_meta import ANY_ELEMENT, DicomMeta
from dicube.dicom.dicom_tags import CommonTags, get_tag_key
from dicube.dicom.frames import FUNCTIONAL_GROUPS
from dicube.dicom.slice_order import first_rescale

_ALL = {ANY_ELEMENT, *FUNCTIONAL_GROUPS}
_PLACES = _ALL | {
    get_tag_key(tag)
    for tag in (
        CommonTags.ImagePositionPatient,
        CommonTags.ImageOrientationPatient,
        CommonTags.PixelSpacing,
        CommonTags.SpacingBetweenSlices,
        CommonTags.SliceThickness,
    )
}
_RESCALE = ("RescaleSlope", "RescaleIntercept")
_WINDOW = ("WindowCenter", "WindowWidth")


def header_of_part(header: PixelDataHeader, meta: DicomMeta) -> PixelDataHeader:
    """Return the header of an image, given one that may be of all the slices of a series.

    The rescale of the first of these is not that of metadata selected from theirs. Another one was
    set, and is for all slices.
    """
    if meta.rescale_of_whole != (header.RescaleSlope, header.RescaleIntercept):
        return header
    slope, intercept = first_rescale(meta)
    return replace(header, RescaleSlope=slope, RescaleIntercept=intercept)


class MetaEdits:
    """The edits that header and space of an image have not followed yet."""

    def __init__(self, meta: DicomMeta | None, header: PixelDataHeader) -> None:
        """Take metadata and header, which are taken to agree as they are."""
        self._followed = 0 if meta is None else len(meta.edits)
        self._known = _values(header)

    def are_new(self, meta: DicomMeta) -> bool:
        """Return whether there are edits to follow."""
        return len(meta.edits) > self._followed

    def take(self, meta: DicomMeta, header: PixelDataHeader) -> bool:
        """Put what was edited into the header, where that was not set; return whether places were.

        A value in the header that is not what it was counts as set.
        """
        edited = set(meta.edits[self._followed :])
        self._followed = len(meta.edits)
        told, now = _values(pixel_header_of(meta, header.PixelDtype)), _values(header)
        for names in (_RESCALE, _WINDOW):
            is_edited = not edited.isdisjoint(_ALL | {get_tag_key(name) for name in names})
            if is_edited and all(now[name] == self._known[name] for name in names):
                for name in names:
                    setattr(header, name, told[name])
                    self._known[name] = told[name]
        return not edited.isdisjoint(_PLACES)


def _values(header: PixelDataHeader) -> dict[str, float | None]:
    return {name: getattr(header, name) for name in (*_RESCALE, *_WINDOW)}
