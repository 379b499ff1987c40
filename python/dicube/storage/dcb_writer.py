"""DcbWriter: writes frames given as numpy arrays, and sections given as bytes, to a dicube file.

Callers know which sections there are and what they mean. Knows no DICOM, no JSON, no geometry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, cycle, groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.codecs import get_codec
from dicube.codecs.records import Effort, record_of
from dicube.codecs.samples import image_of
from dicube.exceptions import DataConsistencyError
from dicube.storage.byte_source import SeekableFile
from dicube.storage.formats import codec_of_path, kind_number
from dicube.threads import Progress, Task, Threads, batches, interruptible, thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Several small frames are gathered and encoded together, up to so many bytes.
_MOST_WAITING = 8 << 20


class DcbWriter:
    """A dicube file that is being written, by one thread at a time.

    A path is written under a temporary name and renamed when `finish` succeeds: until then, and
    after any failure, the file that was there before stays. As a context manager, it finishes at
    the end of the block, and leaves the target alone if the block raises. See `DcbReader` for an
    example.

    Args:
        target: a path, or a seekable binary file object (it is not closed).
        shape: (frames, rows, columns), or (frames, rows, columns, 3) for colour; (0,) for a file
            without frames.
        dtype: of the frames that will be written, byte order included.
        codec: name of the codec; None for the codec of the path's extension.
        num_threads: threads for encoding; None or 0 for one for each processor.
        effort: of JPEG XL, 2 (fast) to 9 (small), or 'fast', 'balanced', 'best'; 1 means 2, None
            the default.
        verify: decode each encoded frame, and compare. Lossy frames are always compared.
        extension: of the kind of file, such as '.dcbr'; None for the path's.
        lossy: fields of `dicube_codec_options` that permit losses: `max_error`,
            `background_error`, `distance`, `least` and `greatest`; None for lossless.
        least_bits: the fewest bits per sample that a codestream declares, if the dtype has so
            many; None for as few as the frame's samples need.
        block_side: rows and columns of HTJ2K's code blocks, 64 or 32; None for 64.

    Raises:
        DataConsistencyError: a shape, dtype, effort, block_side or extension that can't be written,
            or can't be written with losses.
        CubeFileNotFoundError: the target's folder does not exist.
        CubeFileAccessError: the target can't be written.

    Attributes:
        shape: as given.
    """

    def __init__(
        self,
        target: Any,
        shape: tuple[int, ...],
        dtype: Any,
        *,
        codec: str | None = None,
        num_threads: int | None = None,
        effort: Effort | None = None,
        verify: bool = True,
        least_bits: int | None = None,
        block_side: int | None = None,
        extension: str | None = None,
        lossy: Mapping[str, int | float] | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._frame_shape = self.shape[1:]
        image = image_of(self._frame_shape, self._dtype) if self.shape[0] else None
        is_path = isinstance(target, (str, os.PathLike))
        if codec is None:
            if not is_path:
                raise DataConsistencyError("a target that isn't a path needs the argument codec")
            codec = codec_of_path(target)
        if block_side not in (None, 32, 64):
            raise DataConsistencyError(f"expected a block_side of 32 or 64, found {block_side!r}")
        self._threads = thread_count(num_threads)
        self._cancel = _native.Cancel()
        options = _native.CodecOptions(
            codec=get_codec(codec).id,
            num_threads=self._threads,
            effort=record_of(codec).effort_number(effort),
            skip_verify=not verify,
            least_bits=least_bits or 0,
            block_side=block_side or 0,
            kind=kind_number(extension or (str(target) if is_path else ""), codec),
            has_range=lossy is not None,
            cancel=self._cancel.address,
            **(lossy or {}),
        )
        if is_path:
            self._writer = _native.Writer.open_path(target, image, shape[0], options)
        else:
            self._writer = _native.Writer.open_sink(
                SeekableFile(target).write_at, image, shape[0], options
            )

    def write_section(self, name: str, data: bytes) -> None:
        """Add a section. Sections added before the first frame come first in the file.

        Args:
            name: 1 to 16 of the characters A-Z a-z 0-9 _ - and dot, not beginning with a capital
                letter.
            data: any bytes.

        Raises:
            DataConsistencyError: the name is not allowed, or the file already has such a section.
        """
        _check_section_name(name)
        self._writer.section(name, data)

    def append_section(self, name: str, data: bytes) -> None:
        """Append bytes to the section added last, or begin it, for one too large for memory.

        Args:
            name: as for `write_section`.
            data: any bytes.

        Raises:
            DataConsistencyError: as for `write_section`.
            DicomCubeError: not all frames were written.
        """
        _check_section_name(name)
        self._writer.append_section(name, data)

    def write_frames(
        self,
        frames: NDArray[Any],
        *,
        masks: NDArray[np.uint8] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Encode the next frames.

        Args:
            frames: (n, rows, columns[, 3]) of the file's dtype, with any strides; not changed.
            masks: of a `.dcbr` file, (n, rows, columns): 0 outside the region of interest.
            progress: called as `progress(done, n)`.

        Raises:
            DataConsistencyError: shape or dtype differ from the file's.
            DicomCubeError: there are too many frames.
            CodecError: a frame can't be encoded, or decodes to other samples.
            CubeFileAccessError: the operating system refuses to write.
        """
        if frames.shape[1:] != self._frame_shape or frames.dtype != self._dtype:
            raise DataConsistencyError(
                f"expected frames of shape {self._frame_shape} and dtype {self._dtype.str}, "
                f"found {frames.shape[1:]} and {frames.dtype.str}"
            )
        # Frames that aren't contiguous are copied by batches, so that the volume is not held twice.
        for first, last in batches(len(frames), progress, split=not frames.flags.c_contiguous):
            part = np.ascontiguousarray(frames[first:last])
            mask = None if masks is None else np.ascontiguousarray(masks[first:last])
            interruptible(partial(self._encode, part, mask), self._cancel)

    def _encode(self, frames: NDArray[Any], masks: NDArray[np.uint8] | None) -> None:
        """Encode contiguous frames."""
        given = (len(frames), frames.ctypes.data, frames.nbytes)
        if masks is None:
            self._writer.encode(*given)
        else:
            self._writer.encode_roi(*given, masks.ctypes.data, masks.nbytes)

    def loss(self) -> _native.Loss:
        """Return what the frames written so far lost, measured on the decoded frames."""
        return self._writer.loss()

    def write_each(
        self, frames: Iterable[NDArray[Any]], *, progress: Progress | None = None
    ) -> None:
        """Encode frames from an iterator while it produces the next ones; only a few are held.

        Args:
            frames: (rows, columns[, 3]) each, of the file's dtype.
            progress: called as `progress(done, n)`, where n is the file's number of frames.

        Raises:
            As `write_frames` does, and whatever the iterator raises.
        """
        size = int(np.prod(self._frame_shape)) * self._dtype.itemsize
        batch = max(1, min(4 * self._threads, _MOST_WAITING // max(size, 1), self.shape[0]))
        buffers = [np.empty((batch, *self._frame_shape), self._dtype) for _ in range(2)]
        encoding: list[Task[None]] = []
        done = 0
        with Threads(1) as threads:
            try:
                for part in chain(_gathered(frames, buffers), [None]):
                    if encoding:
                        encoding.pop().result()
                        if progress:
                            progress(done, self.shape[0])
                    if part is not None:
                        encoding.append(threads.submit(self.write_frames, part))
                        done += len(part)
            except BaseException:
                self._cancel()
                raise

    def write_coded(self, coded: bytes) -> None:
        """Store the bytes of a frame that the file's codec has already coded.

        Raises:
            CodecError: another codec coded the bytes, or their image doesn't match the file's.
        """
        self._writer.coded(bytes(coded))

    def write_coded_frames(
        self, frames: Sequence[bytes], *, progress: Progress | None = None
    ) -> None:
        """Store frames that the file's codec has already coded.

        Args:
            frames: the coded frames.
            progress: called as `progress(done, n)`.

        Raises:
            CodecError: another codec coded a frame, or its image doesn't match the file's.
        """
        for done, coded in enumerate(frames, 1):
            self.write_coded(coded)
            if progress is not None:
                progress(done, len(frames))

    def write_kept_frames(
        self, frames: NDArray[Any], coded: Sequence[bytes], *, progress: Progress | None = None
    ) -> None:
        """Store frames that the file's codec has already coded, and encode all others.

        Args:
            frames: see `write_frames`.
            coded: the coded form of each frame; empty for a frame to encode.
            progress: called as `progress(done, n)`.

        Raises:
            As `write_frames` and `write_coded` do.
        """
        for is_coded, group in groupby(range(len(frames)), lambda number: bool(coded[number])):
            numbers = list(group)
            first, end = numbers[0], numbers[-1] + 1

            def count(done: int, _total: int, first: int = first) -> None:
                if progress is not None:
                    progress(first + done, len(frames))

            if is_coded:
                self.write_coded_frames(coded[first:end], progress=count)
            else:
                self.write_frames(frames[first:end], progress=count)

    def finish(self) -> None:
        """Complete the file and rename it to its target.

        Raises:
            DicomCubeError: frames are missing.
            CubeFileAccessError: the operating system refuses to write.
        """
        try:
            self._writer.finish()
        finally:
            self._writer.close()

    def close(self) -> None:
        """Abandon the file; the target stays as it was. Does nothing after `finish`."""
        self._writer.close()

    def __enter__(self) -> DcbWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._writer.closed:
            self.finish()
        self.close()


def _check_section_name(name: str) -> None:
    if not name.isascii():
        raise DataConsistencyError(f"section name {name!r} has characters that aren't ASCII")


def _gathered(
    frames: Iterable[NDArray[Any]], buffers: Sequence[NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    """Yield frames in stacks, copied to the buffers in turn."""
    turns, filled = cycle(buffers), 0
    buffer = next(turns)
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.shape != buffer.shape[1:] or frame.dtype != buffer.dtype:
            raise DataConsistencyError(
                f"frame {number}: expected shape {buffer.shape[1:]} and dtype "
                f"{buffer.dtype.str}, found {frame.shape} and {frame.dtype.str}"
            )
        buffer[filled] = frame
        filled += 1
        if filled == len(buffer):
            yield buffer
            buffer, filled = next(turns), 0
    if filled:
        yield buffer[:filled]
