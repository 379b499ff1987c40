"""How each slice's words become real values, where that isn't the same for all.

Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import DTypeLike

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.stored_bits import UNUSED_BITS, StoredBits, stored_bits
from dicube.pixel_header import PixelDataHeader
from dicube.storage.real_values import RealValues

_SLOPE, _INTERCEPT = CommonTags.RescaleSlope, CommonTags.RescaleIntercept


def rescale_of_slices(
    meta: DicomMeta | None, header: PixelDataHeader
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Return each slice's slope and intercept where they differ, else None for both."""
    if meta is None or (meta.is_shared(_SLOPE) and meta.is_shared(_INTERCEPT)):
        return None, None
    slopes = [found[0] if found else 1.0 for found in numbers(meta, _SLOPE, 1)]
    intercepts = [found[0] if found else 0.0 for found in numbers(meta, _INTERCEPT, 1)]
    if (header.RescaleSlope, header.RescaleIntercept) != (slopes[0], intercepts[0]):
        return None, None  # the header was set to something else, and stands for all slices
    return slopes, intercepts


def keep_rescale(header: PixelDataHeader, part: DicomMeta) -> None:
    """Give metadata of some of the slices the header's rescale, which was set for all slices.

    Only where it could be taken for that of the first of them, which is the same by chance.
    """
    if rescale_of_slices(part, header)[0] is not None:
        part.set_shared_item(_SLOPE, header.RescaleSlope)
        part.set_shared_item(_INTERCEPT, header.RescaleIntercept)


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
