"""DcbWriter: a dicube file that is written, the mirror image of the reader.

What a section means, and which there are, is for the caller. Knows no DICOM, no JSON, no geometry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, cycle
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube import _native
from dicube.codecs import get_codec
from dicube.codecs.efforts import Effort, effort_number
from dicube.codecs.samples import image_of
from dicube.exceptions import DataConsistencyError
from dicube.storage.byte_source import SeekableFile
from dicube.storage.formats import codec_of_path, kind_of
from dicube.threads import Progress, Task, Threads, batches, interruptible, thread_count

# Bytes of frames that are gathered before they are encoded together, if those are several.
_MOST_WAITING = 8 << 20


class DcbWriter:
    """A dicube file that is being written. For one thread at a time.

    A path is written under a temporary name and takes its own when `finish` succeeds: until then,
    and after any failure, what was there before stays. As a context manager it finishes at the end
    of the block, and leaves the target alone when the block raises.

    Args:
        target: a path, or a binary file object that can seek (it is not closed).
        shape: (frames, rows, columns), or (frames, rows, columns, 3) for colour.
        dtype: of the frames that will be given, byte order included.
        codec: name of the codec; None for the one that the path's extension stands for.
        num_threads: threads for encoding; None or 0 for one for each processor.
        effort: of JPEG XL, 2 (fast) to 9 (small), or 'fast', 'balanced', 'best'; 1 means 2, None
            the default.
        verify: decode each frame after it was encoded, and compare. Lossy frames always are.
        extension: of the kind of file, such as '.dcbr'; None for the path's.
        lossy: what may be lost, and of what: `max_error`, `background_error`, `distance`, `least`
            and `greatest` as in `dicube_codec_options`; None for nothing.
        least_bits: that each codestream declares a sample, as far as the dtype has them; None for
            as few as hold the frame's samples.

    Raises:
        DataConsistencyError: a shape, dtype, effort or extension that can't be written, or not
            lossily.
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
        extension: str | None = None,
        lossy: Mapping[str, int | float] | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._frame_shape = self.shape[1:]
        image = image_of(self._frame_shape, self._dtype)
        is_path = isinstance(target, (str, os.PathLike))
        if codec is None:
            if not is_path:
                raise DataConsistencyError("a codec must be named when the target is no path")
            codec = codec_of_path(target)
        self._threads = thread_count(num_threads)
        self._cancel = _native.Cancel()
        options = _native.CodecOptions(
            codec=get_codec(codec).id,
            num_threads=self._threads,
            effort=effort_number(effort),
            skip_verify=not verify,
            least_bits=least_bits or 0,
            kind=kind_of(extension or (str(target) if is_path else ""), codec),
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
        """Add a section. Those added before the first frame stand at the front of the file.

        Args:
            name: 1 to 16 of the characters A-Z a-z 0-9 _ - and dot, the first no capital letter.
            data: any bytes.

        Raises:
            DataConsistencyError: the name is not allowed, or there is such a section already.
        """
        if not name.isascii():
            raise DataConsistencyError(f"section name {name!r} has other than ASCII characters")
        self._writer.section(name, data)

    def write_frames(
        self,
        frames: NDArray[Any],
        *,
        masks: NDArray[np.uint8] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Encode the next frames.

        Args:
            frames: (n, rows, columns[, 3]) of the dtype that the writer was opened with, with any
                strides. It is not changed.
            masks: of a `.dcbr` file, (n, rows, columns): 0 outside.
            progress: called as `progress(done, n)`.

        Raises:
            DataConsistencyError: shape or dtype differ from the file's, or they are too many.
            CodecError: a frame did not encode, or not to what it was.
            CubeFileAccessError: the system refused to write.
        """
        if frames.shape[1:] != self._frame_shape or frames.dtype != self._dtype:
            raise DataConsistencyError(
                f"expected frames of shape {self._frame_shape} and dtype {self._dtype.str}, "
                f"found {frames.shape[1:]} and {frames.dtype.str}"
            )
        # Frames with gaps are copied a batch at a time, so as never to hold the volume twice.
        for first, last in batches(len(frames), progress, split=not frames.flags.c_contiguous):
            part = np.ascontiguousarray(frames[first:last])
            mask = None if masks is None else np.ascontiguousarray(masks[first:last])
            interruptible(partial(self._encode, part, mask), self._cancel)

    def _encode(self, frames: NDArray[Any], masks: NDArray[np.uint8] | None) -> None:
        """Encode frames without gaps."""
        given = (len(frames), frames.ctypes.data, frames.nbytes)
        if masks is None:
            self._writer.encode(*given)
        else:
            self._writer.encode_roi(*given, masks.ctypes.data, masks.nbytes)

    def loss(self) -> _native.Loss:
        """Return what the frames written so far lost, measured on what they decode to."""
        return self._writer.loss()

    def write_each(
        self, frames: Iterable[NDArray[Any]], *, progress: Progress | None = None
    ) -> None:
        """Encode frames as they come, while the next ones are made; holds a few of them.

        Args:
            frames: (rows, columns[, 3]) each, of the dtype that the writer was opened with.
            progress: called as `progress(done, n)`, n being the frames of the file.

        Raises:
            As `write_frames` does, and whatever making a frame raises.
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
        """Store bytes that are already coded, by the same codec, as the next frame.

        Raises:
            CodecError: they are not of the file's codec, or not of an image like the file's.
        """
        self._writer.coded(bytes(coded))

    def write_coded_frames(
        self, frames: Sequence[bytes], *, progress: Progress | None = None
    ) -> None:
        """Store frames that are already coded, by the same codec.

        Args:
            frames: the coded frames.
            progress: called as `progress(done, n)`.

        Raises:
            CodecError: they are not of the file's codec, or not of images like the file's.
        """
        for done, coded in enumerate(frames, 1):
            self.write_coded(coded)
            if progress is not None:
                progress(done, len(frames))

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            DicomCubeError: frames are missing.
            CubeFileAccessError: the system refused to write.
        """
        try:
            self._writer.finish()
        finally:
            self._writer.close()

    def close(self) -> None:
        """Give up; what was at the target before stays. Does nothing after `finish`."""
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


def _gathered(
    frames: Iterable[NDArray[Any]], buffers: Sequence[NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    """Yield frames in stacks, which stand in the buffers by turns."""
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
