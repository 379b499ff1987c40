"""Describes the files that a series was read from, so that each can be restored byte for byte.

A file is stored as pieces: some of its own bytes, and references to samples or coded frames of the
volume. The stored bytes are mostly headers, which compress well because those of a series are
nearly the same, so they add little to the size of the pixels.

Knows hashes and how files store samples. Must not know elements, dicube files or compression.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dicube.codecs import get_codec
from dicube.codecs.codestream import probe
from dicube.codecs.jxl import restore_jpeg
from dicube.codecs.recipes import KINDS, code_by_recipe
from dicube.codecs.records import record_of
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError, shown
from dicube.threads import Threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bytes: TypeAlias = "bytes | memoryview"

LITTLE, BIG, PAIRS = "little", "big", "pairs"


class SampleForm(NamedTuple):
    """How a file stores samples.

    Attributes:
        order: byte order: LITTLE or BIG; or PAIRS, where the bytes of each pair are swapped, as for
            8-bit samples in big-endian words.
        planar: whether each sample of a pixel has a plane of its own (PlanarConfiguration 1).
        packed: whether each sample is one bit, eight in a byte, the first one lowest.
    """

    order: str
    planar: bool
    packed: bool

    def encode(self, frames: NDArray[Any]) -> Bytes | None:
        """Return the bytes of frames; None if the form is packed and samples exceed one bit."""
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
"""Numbers of frames, as (first, count) for each run of consecutive ones."""


class Samples(NamedTuple):
    """A piece that consists of the samples of frames."""

    form: SampleForm
    runs: Runs


class Coded(NamedTuple):
    """A piece that consists of bytes `start` to `stop` of a coded frame, or of the JPEG in it."""

    frame: int
    start: int
    stop: int
    jpeg: bool


class Recipe(NamedTuple):
    """How frames are coded again.

    Attributes:
        kind: one of `dicube.codecs.recipes.KINDS`; or another one, of a newer version.
        data: its bytes.
        keys: JSON of further keys that its record in the section has, which no known kind does.
    """

    kind: str
    data: bytes
    keys: str = "{}"

    @property
    def is_known(self) -> bool:
        """Whether frames can be coded by it."""
        return self.kind in KINDS and self.keys == "{}"


class Recoded(NamedTuple):
    """A piece that consists of bytes `start` to `stop` of a frame as a recipe codes it."""

    recipe: Recipe
    frame: int
    start: int
    stop: int


class Bulk(ABC):
    """A piece that is kept outside memory because it is large."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of its bytes."""

    @abstractmethod
    def chunks(self) -> Iterator[Bytes]:
        """Yield its bytes, at most `LARGEST_RANGE` at a time."""

    def problem(self) -> str:
        """Return why its bytes can't be read any more; '' if they can."""
        return ""


LARGEST_RANGE = 1 << 26
"""The most bytes that a range of the section `originals_bulk` may stand for."""

MOST_GROWTH = 4096
"""How many bytes it may stand for at most for each byte stored."""


Piece: TypeAlias = "bytes | memoryview | Samples | Coded | Recoded | Bulk"


@dataclass(frozen=True)
class Original:
    """One original file.

    Attributes:
        name: its path relative to the folder that was read, with slashes.
        digest: SHA-256 of its bytes. Empty until `Originals.with_digests` if the file was just read
            and its pieces are known to reproduce it.
        pieces: the pieces that its bytes consist of.
        frames: the frames whose samples are not among the pieces.
        frames_digest: SHA-256 of the samples of `frames` in little-endian order, as decoded when
            the file was read; it detects changes that the pieces don't show. Empty if there are no
            such frames.
        why: of a file that holds no frames of the volume: why its pixels, if any, are not frames.
            Of one whose coded frames are kept as they are: which frames, and why.
        is_plain: whether the first piece is the bytes before the value of the pixels, and the last
            one, unless it is the pixels, the bytes after it. Set only for files that were read.
    """

    name: str
    digest: bytes
    pieces: tuple[Piece, ...]
    frames: Runs = ()
    frames_digest: bytes = b""
    why: str = ""
    is_plain: bool = field(default=False, compare=False)

    @property
    def kept_size(self) -> int:
        """The number of bytes that coded frames take which are kept as they are."""
        return sum(len(piece) for piece in self.pieces if isinstance(piece, Bulk) and self.frames)

    def keeping(self, bulk_of: Callable[[int, Sequence[Piece]], Bulk], why: str) -> Original:
        """Return the file with its coded frames kept as they are, with everything between them.

        Args:
            bulk_of: makes bulk of an offset in the file, and of pieces that begin there.
            why: why the frames can't be coded again.
        """
        coded = [at for at, piece in enumerate(self.pieces) if isinstance(piece, Coded)]
        first, end = coded[0], coded[-1] + 1
        bulk = bulk_of(sum(map(size_of, self.pieces[:first])), self.pieces[first:end])
        pieces = (*self.pieces[:first], bulk, *self.pieces[end:])
        return replace(self, pieces=pieces, why=why)

    @property
    def label(self) -> str:
        """What errors say in place of the name, which may identify a patient."""
        first = next(self.all_numbers(), None)
        if first is None:
            return "an original file without frames"
        return f"the original file of slice {first}"

    def all_runs(self) -> Iterator[tuple[int, int]]:
        """Yield the frames that the file holds, as (first, count)."""
        for piece in self.pieces:
            if isinstance(piece, Samples):
                yield from piece.runs
        yield from self.frames

    def all_numbers(self) -> Iterator[int]:
        """Yield the numbers of the frames that the file holds."""
        yield from frames_of(self.all_runs())

    def renumbered(self, numbers: Mapping[int, int]) -> Original | None:
        """Return the file with its frames renumbered; None if a frame has no new number."""

        def new(runs: Runs) -> Runs:
            return runs_of([numbers[frame] for frame in frames_of(runs)])

        try:
            pieces: list[Piece] = []
            for piece in self.pieces:
                if isinstance(piece, Samples):
                    piece = piece._replace(runs=new(piece.runs))
                elif isinstance(piece, (Coded, Recoded)):
                    piece = piece._replace(frame=numbers[piece.frame])
                elif not isinstance(piece, Bulk):
                    piece = bytes(piece)  # a view of all files' bytes can't be pickled
                pieces.append(piece)
            return replace(self, pieces=tuple(pieces), frames=new(self.frames))
        except KeyError:
            return None


_ALWAYS_KEPT = 1 << 24  # bytes of restored JPEG frames
_LARGE_CHUNK = 1 << 24  # bytes of bulk that are made at a time


class _RestoredJpegs:
    """JPEG frames that were restored, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self.jpegs: dict[int, bytes] = {}
        self._left = most

    def keep(self, frame: int, jpeg: bytes) -> None:
        if len(jpeg) <= self._left:
            self.jpegs[frame] = jpeg
            self._left -= len(jpeg)


@dataclass
class Originals:
    """The original files of a series.

    Attributes:
        files: the files that together hold each frame of the volume once, in the order of the
            slices.
        copies: further files that hold the same frames.
        others: further files, which hold none of the frames.
        shape: shape of the volume.
        dtype: dtype of the volume.
        codec: name of the coded frames' codec in `dicube.codecs`; '' if the files have none.
        coded: the coded frames, in the order of the slices, each empty if its file has none; empty
            if no file has any.
    """

    files: tuple[Original, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str = ""
    coded: Sequence[bytes] = ()
    copies: tuple[Original, ...] = ()
    others: tuple[Original, ...] = ()
    _restored: _RestoredJpegs | None = field(default=None, repr=False, compare=False)

    def remembering(self) -> Originals:
        """Return the originals for one operation that needs bytes of the same file repeatedly.

        They keep restored JPEG frames, as far as these take no more memory than the volume, or than
        16 MiB.
        """
        most = max(math.prod(self.shape) * self.dtype.itemsize, _ALWAYS_KEPT)
        return replace(self, _restored=_RestoredJpegs(most))

    @property
    def all_files(self) -> tuple[Original, ...]:
        """The files, the copies and the others."""
        return self.files + self.copies + self.others

    def keeping(self, codec: str) -> Originals:
        """Return the originals for a file whose frames are of a codec.

        Coded frames of another codec are kept as they are.

        Args:
            codec: its name in `dicube.codecs`.
        """
        if self.codec in ("", codec):
            return self

        def kept(file: Original) -> Original:
            coded = next((piece for piece in file.pieces if isinstance(piece, Coded)), None)
            if coded is None:
                return file
            label = "JPEG" if coded.jpeg else record_of(self.codec).label
            why = f"{label} frames, which a file with {record_of(codec).label} frames can't store"
            return file.keeping(lambda _offset, pieces: _CodedBulk(self, pieces), why)

        files, copies = tuple(map(kept, self.files)), tuple(map(kept, self.copies))
        return replace(self, files=files, copies=copies, codec="", coded=())

    @property
    def bulk(self) -> tuple[Bulk, ...]:
        """The pieces that are not in memory."""
        return tuple(p for file in self.all_files for p in file.pieces if isinstance(p, Bulk))

    def of_slices(self, slices: Sequence[int]) -> Originals | str:
        """Return the files of some slices; or, if a file also has frames of others, the reason."""
        numbers = {old: new for new, old in enumerate(slices)}
        files = [file for file in self.files if any(n in numbers for n in file.all_numbers())]
        kept = [file.renumbered(numbers) for file in files]
        for file, found in zip(files, kept, strict=True):
            if found is None:
                return f"{file.label} also has frames of other slices"
        copies = [file.renumbered(numbers) for file in self.copies]
        return replace(
            self,
            files=tuple(file for file in kept if file is not None),
            copies=tuple(file for file in copies if file is not None),
            shape=(len(slices), *self.shape[1:]),
            coded=[self.coded[old] for old in slices] if self.coded else (),
        )

    def first_with(self, frames: set[int]) -> Original | None:
        """Return the first file that holds any of these frames; None if none does."""
        for file in self.files:
            for first, count in file.all_runs():
                if not frames.isdisjoint(range(first, first + count)):
                    return file
        return None

    def parts(self, file: Original, volume: NDArray[Any]) -> Iterable[Bytes] | None:
        """Return the bytes of a file in parts; None if the frames don't provide them.

        Bulk is read while the parts are iterated over.

        Raises:
            InvalidCubeFileError: the file needs an unknown recipe.
        """
        found = self.parts_with_bulk(file, volume)
        return None if found is None else _flat(found)

    def parts_with_bulk(self, file: Original, volume: NDArray[Any]) -> list[Bytes | Bulk] | None:
        """Return what `parts` does, with a part for each piece, and bulk that is not read yet."""
        found: list[Bytes | Bulk] = []
        frames: dict[tuple[int, bool], bytes | None] = {}  # a JPEG is restored once for all pieces
        recoded: bytes | None = None
        ends = {piece.frame: piece.stop for piece in file.pieces if isinstance(piece, Recoded)}
        for piece in file.pieces:
            part: Bytes | Bulk | None
            if isinstance(piece, Samples):
                part = piece.form.encode(frames_in(volume, piece.runs))
            elif isinstance(piece, Coded):
                key = piece.frame, piece.jpeg
                if key not in frames:
                    frames[key] = self.coded_frame(piece)
                coded = frames[key]
                part = None if coded is None else coded[piece.start : piece.stop]
            elif isinstance(piece, Recoded):
                if not piece.recipe.is_known:
                    raise InvalidCubeFileError(
                        f"{file.label} can't be restored: its frames are coded by a recipe of the "
                        f"unknown kind ({shown(piece.recipe.kind)})"
                    )
                if piece.start == 0:  # the other pieces of the frame follow
                    recoded = _recoded_bytes(piece, ends[piece.frame], volume)
                part = None if recoded is None else recoded[piece.start : piece.stop]
            else:
                part = piece
            if part is None:
                return None
            found.append(part)
        return found

    def coded_frame(self, piece: Coded) -> bytes | None:
        """Return the whole frame that a piece is a part of; None if there is no such frame."""
        if piece.frame >= len(self.coded):
            return None
        coded = self.coded[piece.frame]
        if not piece.jpeg:
            return coded
        jpegs = {} if self._restored is None else self._restored.jpegs
        jpeg = jpegs.get(piece.frame)
        if jpeg is None:
            try:
                jpeg = restore_jpeg(coded)
            except CodecError:
                return None
            if self._restored is not None:
                self._restored.keep(piece.frame, jpeg)
        return jpeg

    def gives_frames(self, file: Original, volume: NDArray[Any]) -> bool:
        """Return whether a file's frames that are not among its pieces match the volume."""
        if frames_digest(volume, file.frames) == file.frames_digest:
            return True
        # Lossy frames decode slightly differently on different processors. So compare with what
        # this one decodes from the bytes that the file is restored from.
        coded = {piece.frame for piece in file.pieces if isinstance(piece, Coded)}
        decode = get_codec(self.codec).decode if coded else None
        try:
            return decode is not None and all(
                frame in coded
                and not probe(self.coded[frame]).is_reversible
                and np.array_equal(decode(self.coded[frame]), volume[frame])
                for frame in frames_of(file.frames)
            )
        except CodecError:
            return False

    def with_digests(self, volume: NDArray[Any]) -> Originals:
        """Return the originals with the digest of each file that holds frames.

        Args:
            volume: the samples, unchanged since the files were read.

        Raises:
            DataConsistencyError: the volume doesn't reproduce a file.
        """

        def complete(file: Original) -> Original:
            if file.digest:
                return file
            parts = self.parts(file, volume)
            if parts is None:
                raise DataConsistencyError(f"{file.label} can't be restored from the volume")
            return replace(file, digest=digest_of(parts))

        return replace(
            self,
            files=tuple(map(complete, self.files)),
            copies=tuple(map(complete, self.copies)),
        )

    def first_changed(self, volume: NDArray[Any], num_threads: int) -> Original | None:
        """Return the first file with frames that a volume doesn't give; None if there is none.

        Args:
            volume: the current samples.
            num_threads: how many files are restored at the same time.
        """
        return next(self._changed(self.files + self.copies, volume, num_threads), None)

    def changed(self, volume: NDArray[Any], num_threads: int) -> Iterator[Original]:
        """Yield all files that can't be restored from a volume; see `first_changed`."""
        yield from self._changed(self.all_files, volume, num_threads)

    def _changed(
        self, files: Sequence[Original], volume: NDArray[Any], num_threads: int
    ) -> Iterator[Original]:
        if volume.shape != self.shape or volume.dtype.newbyteorder("=") != self.dtype:
            yield from files
            return

        def can_be_restored(file: Original) -> bool:
            parts = self.parts(file, volume)
            return (
                parts is not None
                and digest_of(parts) == file.digest
                and self.gives_frames(file, volume)
            )

        with Threads(max(1, num_threads)) as threads:
            restored = threads.map(can_be_restored, files)
            yield from (file for file, ok in zip(files, restored, strict=True) if not ok)


class _CodedBulk(Bulk):
    """Coded frames that the dicube file doesn't hold as frames, and the bytes between them."""

    def __init__(self, originals: Originals, pieces: Sequence[Piece]) -> None:
        self._originals, self._pieces = originals, pieces

    def __len__(self) -> int:
        return sum(map(size_of, self._pieces))

    def chunks(self) -> Iterator[Bytes]:
        """Yield its bytes.

        Raises:
            InvalidCubeFileError: a frame can't be restored.
        """
        gathered = bytearray()
        for part in self._parts():
            gathered += part
            if len(gathered) >= _LARGE_CHUNK:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)

    def _parts(self) -> Iterator[Bytes]:
        frame: tuple[int, bytes | None] = -1, None
        for piece in self._pieces:
            if isinstance(piece, (bytes, memoryview)):
                yield piece
                continue
            if not isinstance(piece, Coded):
                raise InvalidCubeFileError("an original has other pieces among its coded frames")
            if frame[0] != piece.frame:
                frame = piece.frame, self._originals.coded_frame(piece)
            coded = frame[1]
            if coded is None or len(coded) < piece.stop:
                raise InvalidCubeFileError(f"the coded frame of slice {piece.frame} is missing")
            for start in range(piece.start, piece.stop, _LARGE_CHUNK):
                yield coded[start : min(start + _LARGE_CHUNK, piece.stop)]


def size_of(piece: Piece, frame_size: int = 0) -> int:
    """Return the number of bytes of a piece; `frame_size` is that of a frame's samples."""
    if isinstance(piece, Samples):
        size = frame_size * sum(count for _, count in piece.runs)
        size = -(-size // 8) if piece.form.packed else size
        return size + (size % 2 if piece.form.order == PAIRS else 0)
    return piece.stop - piece.start if isinstance(piece, (Coded, Recoded)) else len(piece)


def _recoded_bytes(piece: Recoded, size: int, volume: NDArray[Any]) -> bytes | None:
    """Return a frame as its recipe codes it; None if the recipe is not one of such a frame.

    Args:
        piece: of the frame.
        size: of all its pieces.
        volume: the samples.
    """
    try:
        coded = code_by_recipe(piece.recipe.kind, volume[piece.frame], piece.recipe.data, size)
    except CodecError:
        return None
    return coded if len(coded) == size else None


def _flat(parts: Iterable[Bytes | Bulk]) -> Iterator[Bytes]:
    for part in parts:
        if isinstance(part, Bulk):
            yield from part.chunks()
        else:
            yield part


def digest_of(parts: Iterable[Bytes]) -> bytes:
    """Return the SHA-256 of bytes given in parts."""
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def runs_of(frames: Sequence[int]) -> Runs:
    """Return numbers of frames as runs of consecutive ones."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and sum(runs[-1]) == frame:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((frame, 1))
    return tuple(runs)


def frames_of(runs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield the numbers of the frames in runs."""
    for first, count in runs:
        yield from range(first, first + count)


def frames_in(volume: NDArray[Any], runs: Runs) -> NDArray[Any]:
    """Return frames of a volume, as a view if they are consecutive."""
    found = [volume[first : first + count] for first, count in runs]
    return found[0] if len(found) == 1 else np.concatenate(found)


def frames_digest(volume: NDArray[Any], runs: Runs) -> bytes:
    """Return the SHA-256 of the samples of frames; empty if there are no frames."""
    return digest_of([IN_MEMORY.encode(frames_in(volume, runs)) or b""]) if runs else b""
