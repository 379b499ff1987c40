"""Take dicube files apart, and put changed parts together with the checksums that they then have.

Must not know what the sections mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate

from inputs.sealing import DIRECTORY, ENTRY, HEADER, HEADER_SECTIONS, entries, sealed, table
from mutations import PUBLISHED_HEADER

TABLES = ("frame_offsets", "frame_lengths", "frame_checksums")


@dataclass
class Parts:
    """A dicube file, taken apart.

    Attributes:
        magic: the first eight bytes.
        sections: as stored, without the tables of frames.
        frames: the coded frames.
        in_header: the names that the header lists.
        has_directory: whether there is an extension directory, which published files lack.
        shares: whether equal frames are stored once.
    """

    magic: bytes
    sections: dict[str, bytes]
    frames: list[bytes]
    in_header: set[str]
    has_directory: bool
    shares: bool = False


def parsed(file: bytes) -> Parts:
    """Take a file apart.

    Raises:
        ValueError, struct.error, LookupError: it is no dicube file.
    """
    if not file.startswith(b"DCMCUBE"):
        raise ValueError("no dicube file")
    numbers = PUBLISHED_HEADER.unpack_from(file)[2:]
    count = numbers[-1]
    listed = {n: numbers[2 * i : 2 * i + 2] for i, n in enumerate(HEADER_SECTIONS)}
    in_header = {name: where for name, where in listed.items() if where[1]}
    has_directory = file[HEADER : HEADER + 8] == b"DCUBEEXT"
    places = {n: e[:2] for n, e in entries(file).items()} if has_directory else in_header
    if not count:
        offsets, lengths = [], []
    elif has_directory:
        offsets, lengths = table(file, TABLES[0]), table(file, TABLES[1])
    else:
        starts = (in_header[name][0] for name in TABLES[:2])
        offsets, lengths = (list(struct.unpack_from(f"<{count}Q", file, at)) for at in starts)
    return Parts(
        file[:8],
        {name: file[at : at + size] for name, (at, size) in places.items() if name not in TABLES},
        [file[at : at + size] for at, size in zip(offsets, lengths, strict=True)],
        set(in_header),
        has_directory,
    )


def joined(parts: Parts) -> bytes:
    """Return the file that has these parts, sealed."""
    sections, count = dict(parts.sections), len(parts.frames)
    if count:
        sections |= dict.fromkeys(TABLES[: 3 if parts.has_directory else 2], bytes(8 * count))
    start = HEADER + (DIRECTORY - HEADER + ENTRY * len(sections)) * parts.has_directory
    *starts, first_frame = accumulate(map(len, sections.values()), initial=start)
    stored = list(dict.fromkeys(parts.frames)) if parts.shares else parts.frames
    *offsets, size = accumulate(map(len, stored), initial=first_frame)
    if count:
        if parts.shares:
            places = dict(zip(stored, offsets, strict=True))
            offsets = [places[frame] for frame in parts.frames]
        for name, values in zip(TABLES[:2], (offsets, map(len, parts.frames)), strict=True):
            sections[name] = struct.pack(f"<{count}Q", *values)
    extents = {n: (at, len(sections[n])) for n, at in zip(sections, starts, strict=True)}
    listed = [extents.get(n, (0, 0)) if n in parts.in_header else (0, 0) for n in HEADER_SECTIONS]
    header = PUBLISHED_HEADER.pack(parts.magic, 1, *sum(listed, ()), count)
    content = b"".join((*sections.values(), *stored))
    if not parts.has_directory:
        return header + content
    head = struct.pack("<8sLLQ8x", b"DCUBEEXT", 1, len(sections), size)
    directory = (struct.pack("<16s2Q8x", n.encode()[:16], *extents[n]) for n in sections)
    return sealed(header + head + b"".join(directory) + content)
