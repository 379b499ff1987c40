"""The elements that an export replaces: geometry, window, and the record of lossy coding.

PS3.3 C.7.6.2, C.11.2, C.7.6.1.1.5 and C.12.4.1. Must not know pixels or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.elements.values import number_text
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.merge_utils import JsonElement
from dicube.dicom.metadata.first_slice import first_window
from dicube.dicom.series.geometry import (
    Space,
    get_space_from_DicomMeta,
    plane_attributes,
    same_space,
)
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader

_POSITION, _ORIENTATION, _SPACING = "00200032", "00200037", "00280030"
_THICKNESS, _BETWEEN, _LOCATION = "00180050", "00180088", "00201041"
_CENTER, _WIDTH = "00281050", "00281051"
_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE = "00080008", "00080016", "00080018"
_DESCRIPTION, _SOURCES, _DERIVATION = "00082111", "00082112", "00089215"
_LOSSY, _RATIO, _METHOD = "00282110", "00282112", "00282114"
_JPEG_XL = "ISO_18181_1"  # PS3.3 C.7.6.1.1.5.1
_LONGEST_DESCRIPTION = 1024  # of ST (PS3.5 6.2)


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


def take_window_of_part(header: PixelDataHeader, whole: DicomMeta, part: DicomMeta) -> None:
    """Give the header of some of the slices the first window of these.

    Unless the header has another than the first of all slices: that was set, and is for all. Where
    it could be taken for that of the part's first, the same by chance, the part's metadata get it.
    """
    window = header.WindowCenter, header.WindowWidth
    if window == first_window(whole):
        header.WindowCenter, header.WindowWidth = first_window(part)
    elif window == first_window(part):
        for tag, value in zip((_CENTER, _WIDTH), window, strict=True):
            part.set_nonshared_item(tag, [value] * part.slice_count)


def window_attributes(meta: DicomMeta, pixel_header: PixelDataHeader) -> Replaced:
    """Return the window that all slices get instead of the metadata's.

    Nothing, if the header's is the first slice's in the metadata.

    Raises:
        DataConsistencyError: it is of no finite numbers.
    """
    window = pixel_header.WindowCenter, pixel_header.WindowWidth
    if window == first_window(meta):
        return {}
    if not all(value is None or math.isfinite(float(value)) for value in window):
        raise DataConsistencyError(f"DICOM can't hold a window of {window}")
    return {
        tag: None if value is None else {"vr": "DS", "Value": [float(number_text(float(value)))]}
        for tag, value in zip((_CENTER, _WIDTH), window, strict=True)
    }


def lossy_attributes(meta: DicomMeta, losses: Sequence[tuple[float, str]]) -> list[Replaced]:
    """Return the elements of each file that tell that its image was coded lossily by JPEG XL.

    The image is derived, and names the one that it was made of.

    Args:
        meta: of the image before.
        losses: of each lossy coding the compression ratio, and a text of what was lost.

    Returns:
        Elements for each of `meta.instances()`; no elements if nothing was lost.
    """
    instances = meta.instances()
    if not losses:
        return [{} for _ in instances]
    return [_attributes(meta.index(slices[0]), losses) for slices in instances]


def _attributes(item: dict[str, JsonElement], losses: Sequence[tuple[float, str]]) -> Replaced:
    def values(key: str) -> list[Any]:
        return list(item.get(key, {}).get("Value") or [])

    told = [*values(_DESCRIPTION), *(f"JPEG XL, {text}" for _, text in losses)]
    ratios = [*values(_RATIO), *(f"{ratio:.2f}" for ratio, _ in losses)]
    replaced: Replaced = {
        _IMAGE_TYPE: {"vr": "CS", "Value": ["DERIVED", *(values(_IMAGE_TYPE)[1:] or ["PRIMARY"])]},
        _DESCRIPTION: {"vr": "ST", "Value": ["; ".join(told)[:_LONGEST_DESCRIPTION]]},
        _DERIVATION: _code("113040", "Lossy Compression"),
        _LOSSY: {"vr": "CS", "Value": ["01"]},
        _RATIO: {"vr": "DS", "Value": ratios},
        _METHOD: {"vr": "CS", "Value": [*values(_METHOD), *[_JPEG_XL] * len(losses)]},
    }
    source = values(_SOP_INSTANCE)
    if source and source[0]:
        predecessor = {
            "00081150": {"vr": "UI", "Value": values(_SOP_CLASS)},
            "00081155": {"vr": "UI", "Value": source},
            "0040A170": _code("121320", "Uncompressed predecessor"),
        }
        replaced[_SOURCES] = {"vr": "SQ", "Value": [predecessor, *values(_SOURCES)]}
    return replaced


def _code(value: str, meaning: str) -> JsonElement:
    """Return a sequence of one code of DICOM's own (PS3.16 Annex D)."""
    item = {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": ["DCM"]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
    return {"vr": "SQ", "Value": [item]}
