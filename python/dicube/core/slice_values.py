"""How the stored words of each slice become real values.

Must not know pixels or files.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.metadata.real_world import Choice
from dicube.dicom.series.colours import has_palette
from dicube.dicom.series.precedence import mappings_of_slices
from dicube.dicom.series.stored_bits import UNUSED_BITS, StoredBits, stored_bits
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.real_values import RealValues

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def real_values(
    dtype: DTypeLike,
    stored: np.dtype[Any],
    meta: DicomMeta | None,
    header: PixelDataHeader,
    choice: Choice | None = None,
) -> RealValues:
    """Return what computes real values.

    Args:
        dtype: of the real values.
        stored: dtype of the stored values.
        meta, header: of the image.
        choice: the mapping to apply, by number or label; None for the one that counts.

    Raises:
        DataConsistencyError: several mappings and none chosen, or the choice does not exist.

    Warns:
        UserWarning: stored values are indices of a palette; or real values of slices are unknown,
            because what defines them is unreadable.
    """
    if has_palette(meta):
        warnings.warn(
            "the stored values are indices of a palette and no grey values; to_nifti converts them "
            "to RGB",
            stacklevel=3,
        )
    bits = bits_of_slices(meta, header)
    found = mappings_of_slices(meta, header, stored, choice)
    if found is None:
        return RealValues(dtype, header.RescaleSlope, header.RescaleIntercept, bits)
    unreadable = [index for index, mapping in enumerate(found) if mapping.unreadable]
    if unreadable:
        warnings.warn(
            f"real values of {len(unreadable)} of {len(found)} slices are unknown (NaN): "
            f"{found[unreadable[0]].unreadable}; correct the metadata, or set the rescale in "
            "pixel_header",
            stacklevel=3,
        )
    unknown = math.nan, math.nan
    lines = [mapping.line if mapping.is_unlimited else unknown for mapping in found]
    slopes, intercepts = zip(*(line or unknown for line in lines), strict=True)
    maps = [None if mapping.is_unlimited or mapping.unreadable else mapping for mapping in found]
    return RealValues(dtype, slopes, intercepts, bits, maps if any(maps) else None)


def stored_are_real(stored: np.dtype[Any], meta: DicomMeta | None, header: PixelDataHeader) -> bool:
    """Return whether real values are the stored ones; those of palettes are indices.

    Raises, Warns: see `real_values`.
    """
    if has_palette(meta):
        return True
    values = real_values("float64", stored, meta, header)
    return values.bits is None and values.line == (1.0, 0.0)


def bits_of_slices(
    meta: DicomMeta | None, header: PixelDataHeader
) -> list[StoredBits | None] | None:
    """Return the bits of a word that hold the value, slice by slice; None if all do."""
    if meta is None or not header.Extras.get(UNUSED_BITS):
        return None
    return stored_bits(meta)


def values_need_meta(
    meta: DicomMeta | None, header: PixelDataHeader, stored: np.dtype[Any]
) -> bool:
    """Return whether real values can't be computed with the header alone."""
    if bits_of_slices(meta, header) is not None:
        return True
    try:
        return mappings_of_slices(meta, header, stored) is not None
    except DataConsistencyError:  # only metadata can resolve it
        return True
