"""The files that a series was read from, so that each can be made again to the byte.

A file is kept as pieces: its own bytes, and in between what the volume gives back, which is samples
of frames or coded frames. Next to the pixels that costs nothing: the headers of a series are nearly
the same, and compress so.

Knows hashes and how samples lie in a file. Must not know elements, dicube files or compression.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicube.codecs import get_codec
from dicube.codecs.jxl import restore_jpeg
from dicube.exceptions import CodecError, DataConsistencyError
from dicube.threads import Threads

Bytes: TypeAlias = "bytes | memoryview"

LITTLE, BIG, PAIRS = "little", "big", "pairs"


class SampleForm(NamedTuple):
    """How samples lie in a file.

    Attributes:
        order: bytes of a sample: LITTLE or BIG; PAIRS: bytes in swapped pairs, as 8-bit samples
            are in big-endian words.
        planar: one plane for each sample of a pixel (PlanarConfiguration 1).
        packed: one bit for each sample, eight in a byte, the first one lowest.
    """

    order: str
    planar: bool
    packed: bool

    def encode(self, frames: NDArray[Any]) -> Bytes | None:
        """Return the bytes of frames; None if samples don't fit one bit."""
        if self.packed:
            if frames.dtype.itemsize > 1 or frames.max(initial=0) > 1:
                return None
            frames = np.packbits(frames.reshape(-1), bitorder="little")
        elif self.planar:
            frames = np.moveaxis(frames, -1, 1)
        dtype = frames.dtype.newbyteorder(">" if self.order == BIG else "<")
        samples = np.ascontiguousarray(frames, dtype)
        data = samples.reshape(-1).view(np.uint8)
        if self.order == PAIRS:
            data = np.append(data, np.zeros(data.size % 2, np.uint8))
            data = np.ascontiguousarray(data.reshape(-1, 2)[:, ::-1]).reshape(-1)
        return data.data


IN_MEMORY = SampleForm(LITTLE, planar=False, packed=False)


Runs: TypeAlias = "tuple[tuple[int, int], ...]"
"""Numbers of frames, as (first, count) of those that follow each other."""


class Samples(NamedTuple):
    """A piece that is the samples of frames."""

    form: SampleForm
    runs: Runs


class Coded(NamedTuple):
    """A piece that is bytes `start` to `stop` of a frame as it is coded, or of the JPEG in it."""

    frame: int
    start: int
    stop: int
    jpeg: bool


Piece: TypeAlias = "bytes | memoryview | Samples | Coded"


@dataclass(frozen=True)
class Original:
    """One file.

    Attributes:
        name: its path in the folder that was read, with slashes.
        digest: SHA-256 of its bytes; empty of a file that was just read and is just what its
            pieces make, until `Originals.with_digests`.
        pieces: what these are made of.
        frames: the frames whose samples are not among the pieces; of these nothing would tell that
            they were changed, but for the next.
        frames_digest: SHA-256 of the samples of `frames`, as they lie in little-endian memory, and
            as they were decoded when the file was read; empty if there are none.
        is_plain: the first piece is what stands before the value of the pixels, and the last one,
            if it isn't the pixels, what stands behind; known only of files that were read.
    """

    name: str
    digest: bytes
    pieces: tuple[Piece, ...]
    frames: Runs = ()
    frames_digest: bytes = b""
    is_plain: bool = field(default=False, compare=False)

    def all_runs(self) -> Iterator[tuple[int, int]]:
        """Return the frames that the file holds, as (first, count)."""
        for piece in self.pieces:
            if isinstance(piece, Samples):
                yield from piece.runs
        yield from self.frames

    def all_numbers(self) -> Iterator[int]:
        """Return the numbers of the frames that the file holds."""
        yield from frames_of(self.all_runs())

    def renumbered(self, numbers: Mapping[int, int]) -> Original | None:
        """Return the file with other numbers of its frames; None if one of them has none."""

        def new(runs: Runs) -> Runs:
            return runs_of([numbers[frame] for frame in frames_of(runs)])

        try:
            pieces: list[Piece] = []
            for piece in self.pieces:
                if isinstance(piece, Samples):
                    piece = piece._replace(runs=new(piece.runs))
                elif isinstance(piece, Coded):
                    piece = piece._replace(frame=numbers[piece.frame])
                else:
                    piece = bytes(piece)  # a view of all files' bytes can't be pickled
                pieces.append(piece)
            return replace(self, pieces=tuple(pieces), frames=new(self.frames))
        except KeyError:
            return None


@dataclass
class Originals:
    """The files of a series, which together hold each frame of its volume once.

    Attributes:
        files: in the order of the slices.
        copies: further files, of the same frames.
        shape, dtype: of the volume.
        codec: of the coded frames, by its name in `dicube.codecs`; '' if the files have none.
        coded: the coded frames, in the order of the slices; none if the files have none.
    """

    files: tuple[Original, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str = ""
    coded: Sequence[bytes] = ()
    copies: tuple[Original, ...] = ()

    @property
    def all_files(self) -> tuple[Original, ...]:
        """The files, and behind them the copies."""
        return self.files + self.copies

    def of_slices(self, slices: Sequence[int]) -> Originals | str:
        """Return the files of some of the slices; why not, if one has frames of the others too."""
        numbers = {old: new for new, old in enumerate(slices)}
        files = [file for file in self.files if any(n in numbers for n in file.all_numbers())]
        kept = [file.renumbered(numbers) for file in files]
        for file, found in zip(files, kept, strict=True):
            if found is None:
                return f"of {file.name} not all frames are there"
        copies = [file.renumbered(numbers) for file in self.copies]
        return replace(
            self,
            files=tuple(file for file in kept if file is not None),
            copies=tuple(file for file in copies if file is not None),
            shape=(len(slices), *self.shape[1:]),
            coded=[self.coded[old] for old in slices] if self.coded else (),
        )

    def first_with(self, frames: set[int]) -> Original | None:
        """Return the first file that holds any of some frames; None if none does."""
        for file in self.files:
            for first, count in file.all_runs():
                if not frames.isdisjoint(range(first, first + count)):
                    return file
        return None

    def parts(self, file: Original, volume: NDArray[Any]) -> list[Bytes] | None:
        """Return the bytes of a file in parts; None if they can't be had from the frames."""
        found: list[Bytes] = []
        for piece in file.pieces:
            part: Bytes | None
            if isinstance(piece, Samples):
                part = piece.form.encode(frames_in(volume, piece.runs))
            elif isinstance(piece, Coded):
                part = self._coded_bytes(piece)
            else:
                part = piece
            if part is None:
                return None
            found.append(part)
        return found

    def _coded_bytes(self, piece: Coded) -> bytes | None:
        if piece.frame >= len(self.coded):
            return None
        coded = self.coded[piece.frame]
        try:
            return (restore_jpeg(coded) if piece.jpeg else coded)[piece.start : piece.stop]
        except CodecError:
            return None

    def _gives_frames(self, file: Original, volume: NDArray[Any]) -> bool:
        """Return whether the frames of a file that are not among its pieces are the volume's."""
        if frames_digest(volume, file.frames) == file.frames_digest:
            return True
        # Processors differ in how they round what is coded with loss: what counts is what this one
        # makes of the bytes that the file is restored from.
        coded = {piece.frame for piece in file.pieces if isinstance(piece, Coded)}
        decode = get_codec(self.codec).decode if coded else None
        try:
            return decode is not None and all(
                frame in coded and np.array_equal(decode(self.coded[frame]), volume[frame])
                for frame in frames_of(file.frames)
            )
        except CodecError:
            return False

    def with_digests(self, volume: NDArray[Any]) -> Originals:
        """Return the originals with each file's digest.

        Args:
            volume: the samples, as they were when the files were read.
        """

        def complete(file: Original) -> Original:
            if file.digest:
                return file
            parts = self.parts(file, volume)
            if parts is None:
                raise DataConsistencyError(f"the volume does not give {file.name} back")
            return replace(file, digest=digest_of(parts))

        return replace(
            self,
            files=tuple(map(complete, self.files)),
            copies=tuple(map(complete, self.copies)),
        )

    def first_changed(self, volume: NDArray[Any], num_threads: int) -> Original | None:
        """Return the first file that a volume does not give back to the byte; None if it gives all.

        Args:
            volume: the samples, as they are now.
            num_threads: how many files are made at a time.
        """
        return next(self.changed(volume, num_threads), None)

    def changed(self, volume: NDArray[Any], num_threads: int) -> Iterator[Original]:
        """Yield the files that a volume would not give back to the byte: see `first_changed`."""
        if volume.shape != self.shape or volume.dtype.newbyteorder("=") != self.dtype:
            yield from self.all_files
            return

        def holds(file: Original) -> bool:
            parts = self.parts(file, volume)
            return (
                parts is not None
                and digest_of(parts) == file.digest
                and self._gives_frames(file, volume)
            )

        with Threads(max(1, num_threads)) as threads:
            held = threads.map(holds, self.all_files)
            yield from (f for f, holds in zip(self.all_files, held, strict=True) if not holds)


def digest_of(parts: Iterable[Bytes]) -> bytes:
    """Return the SHA-256 of bytes in parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def runs_of(frames: Sequence[int]) -> Runs:
    """Return numbers of frames as runs of those that follow each other."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and sum(runs[-1]) == frame:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((frame, 1))
    return tuple(runs)


def frames_of(runs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield the numbers of frames that runs stand for."""
    for first, count in runs:
        yield from range(first, first + count)


def frames_in(volume: NDArray[Any], runs: Runs) -> NDArray[Any]:
    """Return frames of a volume; where they follow each other, without copying them."""
    found = [volume[first : first + count] for first, count in runs]
    return found[0] if len(found) == 1 else np.concatenate(found)


def frames_digest(volume: NDArray[Any], runs: Runs) -> bytes:
    """Return the SHA-256 of the samples of frames; empty if there are none."""
    return digest_of([IN_MEMORY.encode(frames_in(volume, runs)) or b""]) if runs else b""
