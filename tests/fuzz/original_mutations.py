"""Change original files in a section: the index that describes them, or the files themselves.

Files that are changed get right digests, so that restoring them shows what readers then do. Must
not know what readers do with a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from field_mutations import mutated_fields
from inputs.sealing import checksum
from json_mutations import mutated_text
from numpy.typing import NDArray

from dicube.core.cube_parts import read_originals
from dicube.dicom.originals.model import (
    Bulk,
    Bytes,
    Original,
    Originals,
    Samples,
    digest_of,
    frames_digest,
    frames_of,
    runs_of,
)
from dicube.dicom.originals.section import originals_to_bytes
from dicube.storage import DcbReader
from dicube.storage.packed_text import pack_range

_MEMORY = 64 << 20
_GROUPS = ("files", "copies", "others")
_NAMES = (
    *("../x", "/x", "a/../../x", "a//b", ".", "..", "", "C:x", "c:/x", "a\\..\\x", "x\0y", "a/"),
    *("CON", "-rf", "x\n\x1b[2Jy", "é", "\ud800", "a" * 255, "a" * 300, "a/" * 2000 + "b"),
    *("I1", "I1/x", "i1", ".x", "slice_0000.dcm", "I1.tmp", ".I1.part", "::"),
    *("http://x.invalid/y", "file:///x", "simplecache::http://x.invalid/y"),
)


class _Kept(Bulk):
    """Bulk in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def chunks(self) -> Iterator[Bytes]:
        """Yield the bytes."""
        yield self.data


def mutated_index(data: bytes, pick: Random) -> bytes:
    """Change the index of original files, and nothing else."""
    size = int.from_bytes(data[:4], "little")
    text = mutated_text(data[4 : 4 + size], pick).encode()
    return len(text).to_bytes(4, "little") + text + data[4 + size :]


def changed_originals(
    file: bytes, change: Callable[[Originals, Random], Originals], pick: Random
) -> dict[str, bytes]:
    """Return the sections of a file's originals after a change, with right digests.

    Raises:
        ValueError: the file has no originals.
        DicomCubeError: they can't be read, or can't be stored after the change.
    """
    with DcbReader(file, num_threads=1, max_memory=_MEMORY) as reader:
        stored = read_originals(reader)
        if stored is None:
            raise ValueError("no originals")
        originals = stored()
        coded = reader.coded_frames() if originals.codec else ()
        no_frames = not reader.shape[0]
        volume = np.zeros(reader.shape, reader.dtype) if no_frames else reader.read_frames()
        originals = _each(replace(originals, coded=coded), _in_memory)
    originals = _each(change(originals, pick), lambda file: _digested(file, volume))
    others = [replace(o, digest=digest_of(originals.parts(o, volume))) for o in originals.others]
    bulk = bytearray()

    def store(content: bytes) -> tuple[int, int, int, int]:
        stored = bytes(pack_range(content))
        place = (len(bulk), len(stored), len(content), checksum(stored))
        bulk.extend(stored)
        return place

    section = originals_to_bytes(replace(originals, others=tuple(others)), volume, store)
    return {"originals": section} | ({"originals_bulk": bytes(bulk)} if bulk else {})


def _each(originals: Originals, change: Callable[[Original], Original]) -> Originals:
    """Return originals of which each file is changed."""
    groups: Any = {group: tuple(map(change, getattr(originals, group))) for group in _GROUPS}
    return replace(originals, **groups)


def _in_memory(file: Original) -> Original:
    """Return a file whose pieces don't need the dicube file."""

    def own(piece: Any) -> Any:
        if isinstance(piece, Bulk):
            return _Kept(b"".join(map(bytes, piece.chunks())))
        return bytes(piece) if isinstance(piece, memoryview) else piece

    return replace(file, pieces=tuple(map(own, file.pieces)))


def _digested(file: Original, volume: NDArray[Any]) -> Original:
    """Return a file with the digest of its frames; that of its bytes is made when it is stored."""
    digest = frames_digest(volume, file.frames) if file.frames else b""
    return replace(file, digest=b"", frames_digest=digest)


def copied_originals(originals: Originals, pick: Random) -> Originals:
    """Add thousands of copies of one file."""
    file = pick.choice(originals.files)
    copies = (replace(file, name=f"c/{number}") for number in range(3000))
    return replace(originals, copies=(*originals.copies, *copies))


def mutated_originals(originals: Originals, pick: Random) -> Originals:
    """Change names, copies, frames, pieces or bytes of original files."""
    groups = {name: list(getattr(originals, name)) for name in _GROUPS}
    files = groups[pick.choice([name for name, found in groups.items() if found])]
    at = pick.randrange(len(files))
    file: Original = files[at]
    pieces, kind = list(file.pieces), pick.randrange(8)
    if kind == 0:
        files[at] = replace(file, name=pick.choice(_NAMES))
    elif kind == 1:
        more = [replace(file, name=f"c/{number}") for number in range(pick.choice((1, 2, 50)))]
        groups[pick.choice(("copies", "others"))] += more
    elif kind == 2:
        other = pick.choice(files)
        files[at] = replace(file, pieces=other.pieces, frames=other.frames)
    elif kind == 3:
        numbers = list(range(originals.shape[0]))
        pick.shuffle(numbers)
        moved = [f.renumbered(dict(enumerate(numbers))) for f in groups["files"]]
        groups["files"] = [file for file in moved if file is not None]
    elif kind == 4:
        runs = runs_of([*frames_of(file.all_runs())] * pick.choice((1, 2, 500)))
        pieces = [p._replace(runs=runs) if isinstance(p, Samples) else p for p in pieces]
        files[at] = replace(file, pieces=tuple(pieces))
    elif kind == 5:
        pieces.insert(pick.randrange(len(pieces) + 1), pick.choice((*pieces, bytes(4))))
        files[at] = replace(file, pieces=tuple(pieces))
    else:
        own = [i for i, piece in enumerate(pieces) if isinstance(piece, (bytes, _Kept))]
        for i in own[: pick.choice((1, 1, 9))]:
            piece = pieces[i]
            if isinstance(piece, _Kept):
                pieces[i] = _Kept(_mutated_bytes(piece.data, pick))
            elif isinstance(piece, bytes):
                pieces[i] = _mutated_bytes(piece, pick)
        files[at] = replace(file, pieces=tuple(pieces))
    if pick.random() < 0.1:
        groups["files"].reverse()
    changed: Any = {key: tuple(value) for key, value in groups.items()}
    return replace(originals, **changed)


def _mutated_bytes(data: bytes, pick: Random) -> bytes:
    """Change bytes of an original file: mostly text in it, and mostly not its length."""
    kind = pick.randrange(8)
    at = pick.randrange(len(data) + 1)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + pick.choice((b"\0", b"DICM", bytes(8), data[:132])) + data[at:]
    if kind == 2:
        return pick.choice((b"", b"#!/bin/sh\necho x\n", b"%PDF-1.4", data[:132]))
    texts = list(re.finditer(rb"[ -~]{4,}", data[128:]))
    if kind < 6 and texts:
        found = pick.choice(texts)
        at = 128 + pick.randrange(found.start(), found.end())
        return data[:at] + pick.choice((b"9", b"A", b"^", b"\\", b" ", b"-")) + data[at + 1 :]
    return mutated_fields(data, pick)
