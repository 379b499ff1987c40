"""Rescale and window of the first slice of a series, which a pixel header repeats.

PS3.3 C.11.2, and `real_world`. Must not know pixel headers, pixels or files.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.dicom.dicom_tags import TagLike
from dicube.dicom.metadata.lookup import MetadataLookup
from dicube.dicom.metadata.real_world import header_values


class FirstSlice(NamedTuple):
    """Slope and intercept of real values, and the first window (None if there is none).

    The slope and intercept are those of any mapping that counts; 1 and 0 if there is none, or if it
    is unreadable or has other than one slope and intercept.
    """

    RescaleSlope: float
    RescaleIntercept: float
    WindowCenter: float | None
    WindowWidth: float | None


def first_slice(meta: MetadataLookup) -> FirstSlice:
    """Return rescale and first window of the first slice."""
    slope, intercept, _ = header_values(meta)
    return FirstSlice(slope, intercept, *first_window(meta))


def first_window(meta: MetadataLookup, index: int = 0) -> tuple[float | None, float | None]:
    """Return center and width of the first window of a slice; None if it has none."""
    return _first(meta, "WindowCenter", index), _first(meta, "WindowWidth", index)


def _first(meta: MetadataLookup, tag: TagLike, index: int) -> float | None:
    value = meta.get_of_slice(tag, index)
    value = value[0] if isinstance(value, list) and value else value
    return float(value) if isinstance(value, (int, float)) else None
