"""Colours as RGB, for formats that have no others: palettes and YCbCr (PS3.3 C.7.6.3.1.2, C.7.9).

Must not know files.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.metadata.json_elements import dataset_of
from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.slice_bytes import InstanceEncoder
from dicube.dicom.transfer_syntaxes import known_interpretation
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from dicube.dicom.dicom_meta import DicomMeta

_PALETTE, _LUMINANCE = "PALETTE COLOR", ("YBR_FULL", "YBR_FULL_422")
_GROUPS = ("0008", "0028")  # of the elements of a palette, and of PixelPresentation
_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2  # types of segments
_MOST_SEGMENTS = 1 << 17
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
            "slices differ in their photometric interpretation: "
            + ", ".join(sorted(map(known_interpretation, found))),
            suggestion="choose slices of one interpretation",
        )
    interpretation = found.pop()
    if meta is not None and interpretation == _PALETTE:
        return _by_palette(volume, meta)
    if interpretation in ("", "RGB"):
        return volume
    if interpretation not in _LUMINANCE or volume.dtype != np.uint8:
        raise DataConsistencyError(
            f"can't convert {known_interpretation(interpretation)} of {volume.dtype.name} to RGB",
            suggestion=_REMEDY,
        )
    from pydicom.pixels.processing import convert_color_space

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
    # Only these elements: an encoded slice has all that the metadata hold.
    entries = {key: entry for key, entry in meta.items() if key.startswith(_GROUPS)}
    encoder = InstanceEncoder(entries)
    found = np.empty((*volume.shape, 3), np.uint8)
    first, table = 0, np.empty((0, 3), np.uint8)
    for index, frame in enumerate(volume):
        if index == 0 or not alike:
            elements = b"".join(data for _, data in encoder.encode(index))
            first, table = _palette(dataset_of(elements), index)
        found[index] = table[np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)]
    return found


def _palette(dataset: Dataset, index: int) -> tuple[int, NDArray[np.uint8]]:
    """Return the stored value of the first entry, and the colours of all entries."""
    try:
        size, first, bits = (int(n) for n in dataset.RedPaletteColorLookupTableDescriptor)
        size = (size & 0xFFFF) or 1 << 16
        if dataset.get("PixelPresentation") in ("MIXED", "COLOR"):
            raise ValueError("it is supplemental, for values beyond those of grey")
        table_name = "PaletteColorLookupTableData"
        if f"Red{table_name}" in dataset:
            tables = [_entries(dataset[f"{c}{table_name}"].value, size) for c in _COLOURS]
        else:
            segments = [dataset[f"Segmented{c}{table_name}"].value for c in _COLOURS]
            tables = [_expanded(data, bits, size) for data in segments]
        table = np.stack(tables, axis=-1)
    except Exception as error:  # elements may be absent or malformed in any way
        raise DataConsistencyError(
            f"the palette of slice {index} can't be read ({type(error).__name__})",
            suggestion=_REMEDY,
        ) from None
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


def _expanded(data: bytes, bits: int, size: int) -> NDArray[Any]:
    """Return the entries that the segments of one colour stand for (PS3.3 C.7.9.2).

    Stops at `size` entries: a few bytes can stand for any number.
    """
    width = 1 if bits <= 8 else 2
    units = np.frombuffer(data[: len(data) // width * width], f"<u{width}").tolist()
    entries: list[int] = []
    read = 0

    def expand(at: int, segments: int) -> None:
        nonlocal read
        while segments and at + 1 < len(units) and len(entries) < size:
            kind, length = units[at : at + 2]
            at, segments, read = at + 2, segments - 1, read + 1
            if read > _MOST_SEGMENTS:
                raise ValueError(f"it has more than {_MOST_SEGMENTS} segments")
            if kind == _DISCRETE:
                entries.extend(units[at : at + length])
                at += length
            elif kind == _LINEAR:
                start, end = entries[-1], units[at]
                first = start + (end - start) / max(length, 1)
                entries.extend(np.around(np.linspace(first, end, length)).astype(int).tolist())
                at += 1
            elif kind == _INDIRECT:
                words = 4 // width
                place = bytes(np.array(units[at : at + words], f"<u{width}"))
                expand(int.from_bytes(place, "little"), length)
                at += words
            else:
                raise ValueError(f"unknown segment type {kind}")

    expand(0, len(units))
    if len(entries) < size:
        raise ValueError(f"its segments have {len(entries)} of {size} entries")
    return np.array(entries[:size], np.uint16)
