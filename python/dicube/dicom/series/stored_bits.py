"""Where in its words a slice's values are: BitsStored and HighBit (PS3.5 8.1.1).

A word of 16 bits may hold a value of 12. What stands in the others is up to the writer: overlays,
junk, or nothing. Must not know files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.metadata.slice_order import numbers

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

# In a pixel header's Extras: words hold more than values.
UNUSED_BITS = "UnusedBits"

StoredBits = tuple[int, int]
"""How many bits are the value's, and the number of the lowest of them."""


def stored_bits(meta: DicomMeta) -> list[StoredBits | None]:
    """Return for each slice where its values are; None where they fill words, or it isn't told."""
    found = (numbers(meta, tag, 1) for tag in ("BitsAllocated", "BitsStored", "HighBit"))
    return [
        None if None in row else _bits(*(int(number[0]) for number in row if number))
        for row in zip(*found, strict=True)
    ]


def has_unused_bits(volume: NDArray[Any], meta: DicomMeta) -> bool:
    """Return whether words hold anything but their values, the sign extended."""
    if volume.dtype.kind not in "iu":
        return False
    return any(
        bits is not None and (bits[1] > 0 or not _fit(words, bits[0]))
        for words, bits in zip(volume, stored_bits(meta), strict=True)
    )


def most_bits_stored(meta: DicomMeta) -> int | None:
    """Return the greatest BitsStored of all slices; None if it isn't told."""
    told = [int(number[0]) for number in numbers(meta, "BitsStored", 1) if number]
    return max((bits for bits in told if bits > 0), default=None)


def _bits(allocated: int, stored: int, high: int) -> StoredBits | None:
    if not 0 < stored <= high + 1 <= allocated or stored == allocated or allocated < 8:
        return None
    return stored, high + 1 - stored


def _fit(words: NDArray[Any], count: int) -> bool:
    lowest, beyond = (
        (-(1 << count - 1), 1 << count - 1) if words.dtype.kind == "i" else (0, 1 << count)
    )
    return bool(lowest <= np.min(words) and np.max(words) < beyond)
