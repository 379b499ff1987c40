"""Checks that header, metadata and geometry are such, and fit the slices and shape of a volume.

Must not know pixels or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicube.dicom.dicom_meta import DicomMeta
from dicube.exceptions import DataConsistencyError, MetaDataError
from dicube.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from dicube.dicom.series.geometry import Space


def checked_header(header: PixelDataHeader | None, dtype: str) -> PixelDataHeader:
    """Return a header, or for None one without rescale; raise if it is something else."""
    if header is None:
        return PixelDataHeader(OriginalPixelDtype=dtype, PixelDtype=dtype)
    if not isinstance(header, PixelDataHeader):
        raise DataConsistencyError(f"expected a PixelDataHeader, found {type(header).__name__}")
    return header


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
    from dicube.dicom.series.geometry import Space

    if not isinstance(space, Space):
        raise DataConsistencyError(f"expected a Space, found {type(space).__name__}")
    if tuple(space.shape) != shape[:3]:
        raise DataConsistencyError(
            f"expected a space of shape {shape[:3]}, as the volume has, found {tuple(space.shape)}"
        )
    return space
