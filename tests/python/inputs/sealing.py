"""Files whose bytes were changed, with checksums as if they had been written so (FORMAT.md).

Checksums find what was damaged; what is behind them is for files that were made to do harm.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from dicube import _native

HEADER, DIRECTORY, ENTRY = 116, 148, 40
HEADER_SECTIONS = (
    *("dicom_status", "dicom_meta", "space", "pixel_header"),
    *("frame_offsets", "frame_lengths"),
)


def checksum(data: bytes) -> int:
    """The checksum of bytes (FORMAT.md)."""
    given = np.frombuffer(data, np.uint8)
    return _native.checksum(given.ctypes.data, given.nbytes)


def entries(file: bytes) -> dict[str, tuple[int, int, int, int]]:
    """Offset, length, checksum, and where the entry itself stands, of each section by name."""
    found = {}
    (count,) = struct.unpack_from("<L", file, 128)
    for at in range(DIRECTORY, min(DIRECTORY + ENTRY * count, len(file) - ENTRY + 1), ENTRY):
        name = file[at : at + 16].rstrip(b"\0").decode("latin-1")
        if name:
            found[name] = (*struct.unpack_from("<3Q", file, at + 16), at)
    return found


def table(file: bytes, name: str) -> list[int]:
    """The numbers of a frame table."""
    offset, length, *_ = entries(file)[name]
    return list(struct.unpack_from(f"<{length // 8}Q", file, offset))


def sealed(file: bytes) -> bytes:
    """A file with the checksums that its bytes have, as far as these can be told."""
    changed = bytearray(file)
    found = entries(file)
    if {"frame_offsets", "frame_lengths", "frame_checksums"} <= found.keys():
        _seal_frames(changed, found)
    for offset, length, _, at in found.values():
        if offset + length <= len(changed):
            part = bytes(changed[offset : offset + length])
            struct.pack_into("<Q", changed, at + 32, checksum(part))
    (count,) = struct.unpack_from("<L", changed, 128)
    covered = bytes(changed[:140] + changed[DIRECTORY : DIRECTORY + ENTRY * count])
    struct.pack_into("<Q", changed, 140, checksum(covered))
    return bytes(changed)


def _seal_frames(file: bytearray, found: dict[str, tuple[int, int, int, int]]) -> None:
    extents = [found[f"frame_{name}"][:2] for name in ("offsets", "lengths", "checksums")]
    if any(offset + length > len(file) for offset, length in extents):
        return
    count = min(length for _, length in extents) // 8
    for index in range(count):
        at, size = (struct.unpack_from("<Q", file, extents[i][0] + 8 * index)[0] for i in (0, 1))
        if at + size <= len(file):
            value = checksum(bytes(file[at : at + size]))
            struct.pack_into("<Q", file, extents[2][0] + 8 * index, value)


def with_frames(file: bytes, frames: Sequence[bytes | None]) -> bytes:
    """A file with other coded bytes for some of its frames, and all checksums right."""
    changed = bytearray(file)
    found = entries(file)
    for index, coded in enumerate(frames):
        if coded is not None:
            struct.pack_into("<Q", changed, found["frame_offsets"][0] + 8 * index, len(changed))
            struct.pack_into("<Q", changed, found["frame_lengths"][0] + 8 * index, len(coded))
            changed += coded
    struct.pack_into("<Q", changed, 132, len(changed))
    return sealed(bytes(changed))


def with_section(file: bytes, name: str, data: bytes) -> bytes:
    """A file with other bytes for one section, and all checksums right."""
    changed = bytearray(file)
    at = entries(file)[name][3]
    struct.pack_into("<2Q", changed, at + 16, len(changed), len(data))
    if name in HEADER_SECTIONS:
        place = 12 + 16 * HEADER_SECTIONS.index(name)
        struct.pack_into("<2Q", changed, place, len(changed), len(data))
    changed += data
    struct.pack_into("<Q", changed, 132, len(changed))
    return sealed(bytes(changed))
