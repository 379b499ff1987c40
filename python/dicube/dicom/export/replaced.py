"""The image plane elements for a space that is not the metadata's.

PS3.3 C.7.6.2. Must not know pixels or files.
"""

from __future__ import annotations

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.merge_utils import JsonElement
from dicube.dicom.series.geometry import (
    Space,
    get_space_from_DicomMeta,
    plane_attributes,
    same_space,
)

_POSITION, _ORIENTATION, _SPACING = "00200032", "00200037", "00280030"
_THICKNESS, _BETWEEN, _LOCATION = "00180050", "00180088", "00201041"


def geometry_attributes(meta: DicomMeta, space: Space | None) -> list[Replaced]:
    """Return what has to be replaced so that each slice is where `space` (zyx) puts it.

    Nothing, if that is where the metadata puts it, or if `space` is None.
    """
    if space is None:
        return [{} for _ in range(meta.slice_count)]
    told = get_space_from_DicomMeta(meta, "zyx")
    if told is not None and same_space(told, space):
        return [{} for _ in range(meta.slice_count)]
    plane = plane_attributes(space)
    replaced: list[Replaced] = []
    for index in range(meta.slice_count):
        new: Replaced = {
            _POSITION: _ds(plane.positions[index]),
            _ORIENTATION: _ds(plane.orientation),
            _SPACING: _ds(plane.pixel_spacing),
            _BETWEEN: _ds([plane.slice_distance]),
        }
        if meta.is_missing(_THICKNESS):
            new[_THICKNESS] = _ds([plane.slice_distance])
        if not meta.is_missing(_LOCATION):
            new[_LOCATION] = _ds([plane.locations[index]])
        replaced.append(new)
    return replaced


def _ds(values: list[float]) -> JsonElement:
    return {"vr": "DS", "Value": values}
