"""Rescale and window of the first slice of a series, which a pixel header repeats.

PS3.3 C.7.6.16.2.9, C.11.1 and C.11.2. Must not know pixel headers, pixels or files.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.dicom.dicom_tags import CommonTags, TagLike
from dicube.dicom.metadata.lookup import MetadataLookup
from dicube.dicom.metadata.slice_order import numbers


class FirstSlice(NamedTuple):
    """Rescale (1 and 0 if there is none) and first window (None if there is none)."""

    RescaleSlope: float
    RescaleIntercept: float
    WindowCenter: float | None
    WindowWidth: float | None


def first_slice(meta: MetadataLookup) -> FirstSlice:
    """Return rescale and first window of the first slice."""
    return FirstSlice(*first_rescale(meta), *first_window(meta))


def first_rescale(meta: MetadataLookup) -> tuple[float, float]:
    """Return slope and intercept of the first slice; 1 and 0 if it has none."""
    (slope,) = numbers(meta, CommonTags.RescaleSlope, 1)[0] or (1.0,)
    (intercept,) = numbers(meta, CommonTags.RescaleIntercept, 1)[0] or (0.0,)
    return slope, intercept


def first_window(meta: MetadataLookup) -> tuple[float | None, float | None]:
    """Return center and width of the first slice's first window; None if it has none."""
    return _first(meta, CommonTags.WindowCenter), _first(meta, CommonTags.WindowWidth)


def _first(meta: MetadataLookup, tag: TagLike) -> float | None:
    value = meta.get(tag, force_nonshared=True)[0]
    value = value[0] if isinstance(value, list) and value else value
    return float(value) if isinstance(value, (int, float)) else None
