"""Checks that metadata and geometry fit a volume: its number of slices, its shape.

Must not know pixels or files.
"""

from __future__ import annotations

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError, MetaDataError


def checked_meta(meta: DicomMeta | None, slices: int) -> DicomMeta | None:
    """Return metadata; raise unless they have this number of slices."""
    if meta is None:
        return None
    if not isinstance(meta, DicomMeta):
        raise MetaDataError(f"expected a DicomMeta, found {type(meta).__name__}")
    if meta.slice_count != slices:
        raise DataConsistencyError(
            f"expected metadata of {slices} slices, as the volume has, found {meta.slice_count}"
        )
    return meta


def checked_space(space: Space | None, shape: tuple[int, ...]) -> Space | None:
    """Return a space; raise unless it has the shape of the volume."""
    if space is None:
        return None
    if not isinstance(space, Space):
        raise DataConsistencyError(f"expected a Space, found {type(space).__name__}")
    if tuple(space.shape) != shape[:3]:
        raise DataConsistencyError(
            f"expected a space of shape {shape[:3]}, as the volume has, found {tuple(space.shape)}"
        )
    return space
