"""Colours as RGB, for formats that have no others: palettes and YCbCr (PS3.3 C.7.6.3.1.2, C.7.9).

Must not know files.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from dicube.dicom.metadata.lookup import converted
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_PALETTE, _LUMINANCE = "PALETTE COLOR", ("YBR_FULL", "YBR_FULL_422")
_COLOURS = ("Red", "Green", "Blue")
_REMEDY = "write another image with these pixels converted, to RGB of uint8 or to grey values"


def has_palette(meta: DicomMeta | None) -> bool:
    """Return whether stored values of a slice are indices of a palette, which have no order."""
    return _PALETTE in _interpretations(meta)


def in_rgb(volume: NDArray[Any], meta: DicomMeta | None) -> NDArray[Any]:
    """Return a volume with its colours as RGB; grey values are returned as they are.

    Args:
        volume: stored values, (slice, row, column[, sample]).
        meta: of its slices; None if its colours are RGB.

    Raises:
        DataConsistencyError: the colours can't be converted.

    Warns:
        UserWarning: colours of 16 bits were rounded to 8.
    """
    found = _interpretations(meta)
    if volume.ndim == 3 and _PALETTE not in found:
        return volume
    if len(found) > 1:
        raise DataConsistencyError(
            f"slices differ in their photometric interpretation: {', '.join(sorted(found))}",
            suggestion="choose slices of one interpretation",
        )
    interpretation = found.pop()
    if meta is not None and interpretation == _PALETTE:
        return _by_palette(volume, meta)
    if interpretation in ("", "RGB"):
        return volume
    if interpretation not in _LUMINANCE or volume.dtype != np.uint8:
        raise DataConsistencyError(
            f"can't convert {interpretation} of {volume.dtype.name} to RGB", suggestion=_REMEDY
        )
    return convert_color_space(volume.copy(), interpretation, "RGB", per_frame=True)


def _interpretations(meta: DicomMeta | None) -> set[str]:
    values = [] if meta is None else meta.get("PhotometricInterpretation", force_nonshared=True)
    return set(converted(values, lambda value: str(value or ""))) or {""}


def _by_palette(volume: NDArray[Any], meta: DicomMeta) -> NDArray[Any]:
    if volume.ndim != 3 or volume.dtype.kind not in "iu":
        raise DataConsistencyError(
            f"expected palette indices, integers of one sample, found {volume.dtype.name} of "
            f"shape {volume.shape}",
            suggestion=_REMEDY,
        )
    names = [
        f"{segmented}{colour}PaletteColorLookupTable{part}"
        for colour in _COLOURS
        for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ]
    alike = all(meta.is_missing(name) or meta.is_shared(name) for name in names)
    found = np.empty((*volume.shape, 3), np.uint8)
    first, table = 0, np.empty((0, 3), np.uint8)
    for index, frame in enumerate(volume):
        if index == 0 or not alike:
            first, table = _palette(meta.dataset(index), index)
        entries = np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)
        found[index] = table[entries]
    return found


def _palette(dataset: Dataset, index: int) -> tuple[int, NDArray[np.uint8]]:
    """Return the stored value of the first entry, and the colours of all entries."""
    try:
        size, first, bits = (int(n) for n in dataset.RedPaletteColorLookupTableDescriptor)
        size = (size & 0xFFFF) or 1 << 16
        if "RedPaletteColorLookupTableData" in dataset:
            tables = [
                _entries(dataset[f"{c}PaletteColorLookupTableData"].value, size) for c in _COLOURS
            ]
            table = np.stack(tables, axis=-1)
        else:
            table = apply_color_lut(np.arange(size, dtype=np.int64) + first, dataset)[:, :3]
    except Exception as error:  # elements may be absent or malformed in any way
        raise DataConsistencyError(
            f"the palette of slice {index} can't be read: {' '.join(str(error).split())}",
            suggestion=_REMEDY,
        ) from error
    if bits > 8 and table.max() > 0xFF:
        low = table & 0xFF
        if low.any() and not np.array_equal(low, table >> 8):
            warnings.warn("the palette's colours of 16 bits are rounded to 8", stacklevel=6)
        table = table >> 8
    return first, table.astype(np.uint8)


def _entries(data: bytes, size: int) -> NDArray[Any]:
    """Return the entries of one colour, which have one byte each, or two."""
    dtype = "<u2" if len(data) >= 2 * size else "u1"
    return np.frombuffer(data, dtype, size)
