"""How the stored words of each slice become real values.

Must not know pixels or files.
"""

from __future__ import annotations

import warnings

from numpy.typing import DTypeLike

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.colours import has_palette
from dicube.dicom.series.precedence import rescale_of_slices
from dicube.dicom.series.stored_bits import UNUSED_BITS, StoredBits, stored_bits
from dicube.pixel_header import PixelDataHeader
from dicube.storage.real_values import RealValues


def real_values(dtype: DTypeLike, meta: DicomMeta | None, header: PixelDataHeader) -> RealValues:
    """Return dtype and rescale of real values.

    Warns:
        UserWarning: stored values are indices of a palette.
    """
    if has_palette(meta):
        warnings.warn(
            "the stored values are indices of a palette and no grey values; to_nifti converts them "
            "to RGB",
            stacklevel=3,
        )
    slopes, intercepts = rescale_of_slices(meta, header)
    return RealValues(
        dtype,
        header.RescaleSlope if slopes is None else slopes,
        header.RescaleIntercept if intercepts is None else intercepts,
    )


def bits_of_slices(
    meta: DicomMeta | None, header: PixelDataHeader
) -> list[StoredBits | None] | None:
    """Return the bits of a word that hold the value, slice by slice; None if all do."""
    if meta is None or not header.Extras.get(UNUSED_BITS):
        return None
    return stored_bits(meta)


def values_need_meta(meta: DicomMeta | None, header: PixelDataHeader) -> bool:
    """Return whether real values can't be computed with the header alone."""
    slopes, intercepts = rescale_of_slices(meta, header)
    several = slopes and intercepts and len({*zip(slopes, intercepts, strict=True)}) > 1
    return bool(several) or bits_of_slices(meta, header) is not None
