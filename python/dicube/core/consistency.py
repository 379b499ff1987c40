"""Whether metadata and geometry are a volume's: of as many slices, of its shape.

Must not know pixels or files.
"""

from __future__ import annotations

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError, MetaDataError


def checked_meta(meta: DicomMeta | None, slices: int) -> DicomMeta | None:
    """Return metadata that fit a number of slices."""
    if meta is None:
        return None
    if not isinstance(meta, DicomMeta):
        raise MetaDataError(f"expected a DicomMeta, found {type(meta).__name__}")
    if meta.slice_count != slices:
        raise DataConsistencyError(
            f"metadata of {meta.slice_count} slices don't fit a volume of {slices}"
        )
    return meta


def checked_space(space: Space | None, shape: tuple[int, ...]) -> Space | None:
    """Return a space that fits a volume's shape."""
    if space is None:
        return None
    if not isinstance(space, Space):
        raise DataConsistencyError(f"expected a Space, found {type(space).__name__}")
    if tuple(space.shape) != shape[:3]:
        raise DataConsistencyError(
            f"a space of shape {tuple(space.shape)} does not fit a volume of shape {shape[:3]}"
        )
    return space
