"""The position of values within stored words: BitsStored and HighBit (PS3.5 8.1.1).

A word of 16 bits may hold a value of 12. Its other bits may hold overlays, arbitrary data or zeros.
Must not know files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.metadata.slice_order import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicube.dicom.dicom_meta import DicomMeta

# Key in the Extras of a pixel header: words hold more than their values.
UNUSED_BITS = "UnusedBits"

StoredBits = tuple[int, int]
"""The number of bits of a value, and the number of its lowest bit."""


def stored_bits(meta: DicomMeta) -> list[StoredBits | None]:
    """Return the bits of each slice's values; None if they fill the words or are unknown."""
    found = (numbers(meta, tag, 1) for tag in ("BitsAllocated", "BitsStored", "HighBit"))
    return [
        None if None in row else _bits(*(int(number[0]) for number in row if number))
        for row in zip(*found, strict=True)
    ]


def has_unused_bits(volume: NDArray[Any], meta: DicomMeta) -> bool:
    """Return whether words hold more than their sign-extended values."""
    if volume.dtype.kind not in "iu":
        return False
    return any(
        bits is not None and (bits[1] > 0 or not _fit(words, bits[0]))
        for words, bits in zip(volume, stored_bits(meta), strict=True)
    )


def most_bits_stored(meta: DicomMeta) -> int | None:
    """Return the greatest BitsStored of all slices; None if it is unknown."""
    found = [int(number[0]) for number in numbers(meta, "BitsStored", 1) if number]
    return max((bits for bits in found if bits > 0), default=None)


def _bits(allocated: int, stored: int, high: int) -> StoredBits | None:
    if not 0 < stored <= high + 1 <= allocated or stored == allocated or allocated < 8:
        return None
    return stored, high + 1 - stored


def _fit(words: NDArray[Any], count: int) -> bool:
    lowest, beyond = (
        (-(1 << count - 1), 1 << count - 1) if words.dtype.kind == "i" else (0, 1 << count)
    )
    return bool(lowest <= np.min(words) and np.max(words) < beyond)
