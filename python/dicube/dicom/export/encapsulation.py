"""Writes coded frames as a pixel element (PS3.5 A.4): one fragment per frame, and offset tables.

Must not know codecs, other elements, or files.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

from dicube.exceptions import DataConsistencyError

Bytes: TypeAlias = "bytes | memoryview"

_PIXEL_DATA = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
_SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x0001, 0x0002  # of group 7FE0
_ITEM_HEADER = 8
_LARGEST_OFFSET = 0xFFFFFFFF
_LONGEST_FRAGMENT = 0xFFFFFFFE


def pixel_element(frames: Sequence[Bytes], largest_offset: int = _LARGEST_OFFSET) -> list[Bytes]:
    """Return the pixel element of an instance with coded frames, in parts.

    Each frame is one fragment, padded with a zero to an even length. A basic offset table gives
    their positions. If an offset exceeds its 32 bits, the table is empty, and Extended Offset Table
    and Extended Offset Table Lengths (PS3.3 C.7.6.3.1.8) precede the pixel element.

    Args:
        frames: the coded frames in their order; they are not copied.
        largest_offset: the largest offset for a basic offset table.

    Raises:
        DataConsistencyError: there are no frames, or a frame is empty or too long for a fragment.
    """
    if not frames:
        raise DataConsistencyError("there are no frames to encapsulate")
    for number, frame in enumerate(frames):
        if not 0 < len(frame) <= _LONGEST_FRAGMENT:
            raise DataConsistencyError(
                f"frame {number}: expected 1 to {_LONGEST_FRAGMENT} bytes, found {len(frame)}"
            )
    lengths = [len(frame) + len(frame) % 2 for frame in frames]
    offsets = [0, *accumulate(length + _ITEM_HEADER for length in lengths[:-1])]
    extended = offsets[-1] > largest_offset
    parts: list[Bytes] = []
    if extended:
        parts.append(_table(_EXTENDED_OFFSETS, offsets) + _table(_EXTENDED_LENGTHS, lengths))
    basic = b"" if extended else struct.pack(f"<{len(offsets)}L", *offsets)
    parts.append(_PIXEL_DATA + _item(len(basic)) + basic)
    for frame, length in zip(frames, lengths, strict=True):
        parts += [_item(length), frame]
        if length > len(frame):
            parts.append(b"\0")
    parts.append(_SEQUENCE_END)
    return parts


def _item(length: int) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, length)


def _table(element: int, values: Sequence[int]) -> bytes:
    """Return an element of group 7FE0 with 64-bit numbers."""
    header = struct.pack("<HH2sHL", 0x7FE0, element, b"OV", 0, 8 * len(values))
    return header + struct.pack(f"<{len(values)}Q", *values)
