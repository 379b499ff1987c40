"""Whether metadata and geometry are a volume's: of as many slices, of its shape.

And whether a pixel header that is to be written could be read again. Must not know pixels or files.
"""

from __future__ import annotations

from dicube.core.pixel_header import PixelDataHeader
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.geometry import Space
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


def checked_header(header: PixelDataHeader) -> PixelDataHeader:
    """Return a pixel header that can be read again once it is written."""
    try:
        PixelDataHeader.from_json(header.to_json())
    except (TypeError, ValueError, RecursionError) as error:
        raise DataConsistencyError(f"the pixel header can't be stored: {error}") from None
    return header
