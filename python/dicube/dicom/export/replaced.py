"""Replaces the elements that record lossy coding.

PS3.3 C.7.6.1.1.5 and C.12.4.1. Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.merge_utils import JsonElement

_POSITION, _ORIENTATION, _SPACING = "00200032", "00200037", "00280030"
_THICKNESS, _BETWEEN, _LOCATION = "00180050", "00180088", "00201041"
_CENTER, _WIDTH = "00281050", "00281051"
_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE = "00080008", "00080016", "00080018"
_DESCRIPTION, _SOURCES, _DERIVATION = "00082111", "00082112", "00089215"
_LOSSY, _RATIO, _METHOD = "00282110", "00282112", "00282114"
_JPEG_XL = "ISO_18181_1"  # PS3.3 C.7.6.1.1.5.1
_LONGEST_DESCRIPTION = 1024  # of ST (PS3.5 6.2)


def lossy_attributes(meta: DicomMeta, losses: Sequence[tuple[float, str]]) -> list[Replaced]:
    """Return for each file the elements that record its lossy compression by JPEG XL.

    They declare the image as derived, and refer to the image that it was derived from.

    Args:
        meta: the metadata of the source image.
        losses: compression ratio and description of each lossy compression.

    Returns:
        Elements for each of `meta.instances()`; no elements if `losses` is empty.
    """
    instances = meta.instances()
    if not losses:
        return [{} for _ in instances]
    return [_attributes(meta.index(slices[0]), losses) for slices in instances]


def _attributes(item: dict[str, JsonElement], losses: Sequence[tuple[float, str]]) -> Replaced:
    def values(key: str) -> list[Any]:
        return list(item.get(key, {}).get("Value") or [])

    described = [*values(_DESCRIPTION), *(f"JPEG XL, {text}" for _, text in losses)]
    ratios = [*values(_RATIO), *(f"{ratio:.2f}" for ratio, _ in losses)]
    replaced: Replaced = {
        _IMAGE_TYPE: {"vr": "CS", "Value": ["DERIVED", *(values(_IMAGE_TYPE)[1:] or ["PRIMARY"])]},
        _DESCRIPTION: {"vr": "ST", "Value": ["; ".join(described)[:_LONGEST_DESCRIPTION]]},
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
    """Return a sequence with one code of DICOM's code scheme (PS3.16 Annex D)."""
    item = {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": ["DCM"]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
    return {"vr": "SQ", "Value": [item]}
