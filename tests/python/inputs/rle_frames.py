"""Frames in RLE (PS3.5 Annex G) as several programs code them, by the rules in FORMAT.md.

Written for clarity, and apart from the package's own encoder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Callable[[bytes], bytes]


def literal(row: bytes) -> bytes:
    """Literal runs."""
    parts = [row[at : at + 128] for at in range(0, len(row), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def repeated(byte: int, count: int) -> bytes:
    """Replicate runs, and a literal one if a byte is left."""
    counts = [128] * (count // 128) + [count % 128] * (count % 128 > 0)
    return b"".join(bytes([(257 - part) % 256, byte]) for part in counts)


def by_groups(row: bytes, least: int) -> bytes:
    """Repeat groups of equal bytes, from two on at the end of the row."""
    groups = [bytes(group) for _, group in groupby(row)]
    coded, waiting = b"", b""
    for number, group in enumerate(groups, 1):
        if len(group) >= (2 if number == len(groups) else least):
            coded += literal(waiting) + repeated(group[0], len(group))
            waiting = b""
        else:
            waiting += group
    return coded + literal(waiting)


def pydicoms(row: bytes) -> bytes:
    """A row as pydicom and pylibjpeg-rle code it."""
    return by_groups(row, 2)


def dcmtks(row: bytes) -> bytes:
    """A row as DCMTK codes it."""
    return by_groups(row, 3)


def gdcms(row: bytes) -> bytes:
    """A row as GDCM codes it."""
    coded = b""
    while row:
        ahead = row[:128]
        count = len(ahead) - len(ahead.lstrip(ahead[:1]))
        if count > 1:
            coded += repeated(row[0], count)
        else:
            ends = (
                at
                for at in range(1, len(ahead) - 1)
                if ahead[at] == ahead[at + 1]
                and ahead[at + 2 : at + 3] in (ahead[at : at + 1], b"")
            )
            count = next(ends, len(ahead))
            coded += literal(row[:count])
        row = row[count:]
    return coded


def byte_by_byte(row: bytes) -> bytes:
    """A row as no program known codes it: each byte alone, after a control byte for nothing."""
    return b"".join(bytes([128, 0, byte]) for byte in row)


def rle_frame(frame: NDArray[Any], row: Row, *, even: bool = True, behind: bytes = b"") -> bytes:
    """Code a frame.

    Args:
        frame: (rows, columns) or (rows, columns, samples).
        row: codes the bytes of a row.
        even: fill up segments of odd length.
        behind: bytes behind the runs of each segment.
    """
    samples = np.atleast_3d(frame)
    planes = samples[..., np.newaxis].astype(samples.dtype.newbyteorder(">")).view(np.uint8)
    segments = []
    for sample in range(samples.shape[2]):
        for byte in range(samples.dtype.itemsize):
            segment = b"".join(row(line.tobytes()) for line in planes[:, :, sample, byte]) + behind
            segments.append(segment + bytes(len(segment) % 2 if even else 0))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    header = struct.pack(f"<{1 + len(segments)}L", len(segments), *offsets)
    return header.ljust(64, b"\0") + b"".join(segments)
