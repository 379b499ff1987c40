"""How each slice's words become real values, where that isn't the same for all.

Must not know pixels or files.
"""

from __future__ import annotations

from numpy.typing import DTypeLike

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.precedence import rescale_of_slices
from dicube.dicom.series.stored_bits import UNUSED_BITS, StoredBits, stored_bits
from dicube.pixel_header import PixelDataHeader
from dicube.storage.real_values import RealValues


def real_values(dtype: DTypeLike, meta: DicomMeta | None, header: PixelDataHeader) -> RealValues:
    """Return what real values of a dtype are made by."""
    slopes, intercepts = rescale_of_slices(meta, header)
    return RealValues(
        dtype,
        header.RescaleSlope if slopes is None else slopes,
        header.RescaleIntercept if intercepts is None else intercepts,
    )


def bits_of_slices(
    meta: DicomMeta | None, header: PixelDataHeader
) -> list[StoredBits | None] | None:
    """Return where in its words each slice's values are; None if words are values."""
    if meta is None or not header.Extras.get(UNUSED_BITS):
        return None
    return stored_bits(meta)


def values_need_meta(meta: DicomMeta | None, header: PixelDataHeader) -> bool:
    """Return whether real values can't be computed with the header alone."""
    slopes, intercepts = rescale_of_slices(meta, header)
    several = slopes and intercepts and len({*zip(slopes, intercepts, strict=True)}) > 1
    return bool(several) or bits_of_slices(meta, header) is not None
