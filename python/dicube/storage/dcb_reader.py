"""DcbReader: reads the frames of a dicube file as numpy arrays, and its sections as bytes by name.

Callers know which sections there are and what they mean. Knows no DICOM, no JSON, no geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.codecs.records import record_of
from dicube.codecs.samples import dtype_of, frame_shape_of, new_array, sample_type_of
from dicube.exceptions import DataConsistencyError
from dicube.storage.formats import KIND_OF_NUMBER, SPEED
from dicube.storage.frame_index import Region
from dicube.storage.intact_frames import failure_of, failures_of, skips_damage
from dicube.storage.opened_file import OpenedFile
from dicube.storage.real_values import RealValues, real_dtype
from dicube.threads import Progress, batches, interruptible, thread_count

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

# Larger arrays are decoded into only if they are not far larger than the file, or the first frame
# has the shape that the file states.
_CLAIM_ALWAYS_ALLOWED = 64 << 20  # bytes
_MOST_CLAIM = 256  # times the size of the file


class DcbReader:
    """An open dicube file. Many threads may use it at once.

    In a forked process, and after unpickling, it opens the file again. That is impossible for a
    file object that is not in memory.

    Args:
        source: a path, a URL that fsspec opens, the bytes of a whole file, or a seekable binary
            file object (its position is moved; it is not closed).
        num_threads: threads for decoding; None or 0 for one for each processor.
        verify: compare checksums, if the file has them. Without that, damage may go unnoticed.
        max_memory: the most bytes that libdicube may allocate for one file or frame (arrays
            returned not counted), that an array returned may take, and that a section may take
            when it is unpacked. None for 4 GiB in libdicube and no limit for arrays.
        storage_options: options of the fsspec file system of a URL. For http and https, `timeout`
            is the most seconds that a request may take (SECURITY.md has the default).
        on_error: 'raise', or 'skip' to read what is intact of a damaged file: frames that fail are
            filled with zeros, and sections that fail are treated as absent; `damaged_frames` and
            `damaged_sections` list both.

    Raises:
        CubeFileNotFoundError: the path does not exist.
        CubeFileAccessError: the file can't be read.
        InvalidCubeFileError: it isn't a dicube file, or it is damaged or of a newer version;
            header, directory and frame tables must be intact even with `on_error='skip'`.
        OutOfMemoryError: (an InvalidCubeFileError too) the file needs more than `max_memory`.
        DataConsistencyError: `on_error` is neither.

    Attributes:
        shape: (frames, rows, columns), or (frames, rows, columns, 3) for colour.
        dtype: of the stored values.
        codec: name of the frames' codec in `dicube.codecs`.
        extension: the extension for this kind of file, such as '.dcba'.
        format_version: of the container.
        file_size, coded_size: bytes of the file, and of all coded frames.
        has_checksums: whether the file has checksums of its sections and frames.
        sections: the sections' bytes by name; each is read when it is looked up.
        max_memory: as given.
        damaged_frames, damaged_sections: the reason for each frame (by number) and section (by
            name) that was skipped so far.

    Example:
        >>> import io
        >>> from dicube.storage import DcbReader, DcbWriter
        >>> file = io.BytesIO()
        >>> volume = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
        >>> with DcbWriter(file, volume.shape, volume.dtype, codec="jph") as writer:
        ...     writer.write_section("note", b"text")
        ...     writer.write_frames(volume)
        >>> with DcbReader(file) as reader:
        ...     reader.sections["note"], int(reader.read_frames(1)[0, 2, 3])
        (b'text', 23)
    """

    def __init__(
        self,
        source: Any,
        *,
        num_threads: int | None = None,
        verify: bool = True,
        max_memory: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        on_error: str = "raise",
    ) -> None:
        self._skips, self._verifies = skips_damage(on_error), verify
        self.max_memory = max_memory
        self._file = OpenedFile(
            source,
            storage_options,
            max_memory=max_memory or 0,
            num_threads=thread_count(num_threads),
            skip_checksums=not verify,
        )
        image, frames = self._file.reader.image()
        info = self._file.reader.info()
        self.shape: tuple[int, ...] = (frames, *frame_shape_of(image))
        # A file without frames has no dtype.
        self.dtype: np.dtype[Any] = dtype_of(image) if frames else np.dtype(np.uint8)
        self._kind = KIND_OF_NUMBER[info.kind]
        self.codec = record_of(info.codec).name
        self.extension = self._kind.extension
        self.format_version = int(info.format_version)
        self.file_size = int(info.file_size)
        self.coded_size = int(info.coded_size)
        self.has_checksums = bool(info.has_checksums)
        self.damaged_frames: dict[int, str] = {}
        self.damaged_sections: dict[str, str] = {}
        skipped = self.damaged_sections if self._skips else None
        self.sections = Sections(self._file, info.sections, skipped)
        self._levels: int | None = None

    def read_frames(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        out: NDArray[Any] | None = None,
        level: int = 0,
        real: RealValues | None = None,
        progress: Progress | None = None,
    ) -> NDArray[Any]:
        """Decode frames `start` to `stop`, the latter not included.

        Args:
            start, stop: frame numbers as in a Python slice of step 1; negative ones count from the
                end.
            out, level, real, progress: as in `read_frame_list`.

        Returns:
            `out`, or a new array: (stop - start, rows, columns[, 3]).

        Raises:
            As `read_frame_list` does.
        """
        numbers = np.arange(*slice(start, stop).indices(self.shape[0]), dtype=np.uint64)
        return self._read(numbers, out, level, None, real, progress)

    def begin_decoding(self, progress: Progress | None = None) -> Decoding:
        """Begin to decode all frames, and let the caller do something else in the meantime.

        For example::

            with reader.begin_decoding() as decoding:
                text = reader.sections["dicom_meta"]
                frames, masks = decoding.finish()

        `finish` decodes everything itself where Python has to take part in the decoding: with a
        `progress` callback, with `on_error='skip'`, for bytes that Python reads (URLs and file
        objects), and for the masks of a `.dcbr`.

        Args:
            progress: called as `progress(done, total)`, in frames.

        Raises:
            OutOfMemoryError: the frames need more than `max_memory` or the memory available.
            ValueError: the file was closed.
        """
        if self._kind.has_masks:
            return Decoding(partial(self._read_frames_and_masks, progress))
        if self._skips or progress or self._file.needs_python or not self.shape[0]:
            return Decoding(lambda: (self.read_frames(progress=progress), None))
        numbers = np.arange(self.shape[0], dtype=np.uint64)
        frames = self.new_array(self.shape, self.dtype)
        begun = self._file.reader.begin_decoding(
            *_decode_arguments(numbers, frames, _native.DecodeOptions())
        )

        def finish() -> tuple[NDArray[Any], None]:
            begun.finish()
            return frames, None

        return Decoding(finish, begun)

    def read_frame_list(
        self,
        frames: Sequence[int] | NDArray[np.integer[Any]],
        *,
        out: NDArray[Any] | None = None,
        level: int = 0,
        region: Region | None = None,
        real: RealValues | None = None,
        progress: Progress | None = None,
    ) -> NDArray[Any]:
        """Decode frames by number, spread over the reader's threads.

        Args:
            frames: numbers in any order; negative ones count from the end.
            out: array to decode into: C-contiguous, writeable, of exactly the result's shape and
                dtype.
            level: resolution level, 0 to `levels`: 1 for half the rows and columns, 2 for a
                quarter, and so on, by the wavelet decompositions of HTJ2K (ISO/IEC 15444-1 F.3).
                Data of finer resolutions is not decoded, and not read if the file says where it
                begins, as those of this version do.
            region: what to return of each frame, in pixels of the level; None for all. HTJ2K
                decodes what the region needs, JPEG XL everything.
            real: return real values, converted while a frame is in the processor's cache; None for
                stored values.
            progress: called as `progress(done, total)`, in frames.

        Returns:
            `out`, or a new array: (len(frames), rows, columns[, 3]), rows and columns those of the
            region, or of `frame_shape_at(level)`; of `dtype`, or that of the real values.

        Raises:
            IndexError: there is no frame with such a number.
            DataConsistencyError: `out` does not fit, the frames lack this level, or the region is
                not within them.
            InvalidCubeFileError: a checksum differs: that of the whole frame, or of what the level
                needs of it.
            CodecError: a frame does not decode. Without a checksum, damage outside of the region
                may not be found. `out` is filled with zeros where it failed.
        """
        return self._read(self._numbers(frames), out, level, region, real, progress)

    @property
    def levels(self) -> int:
        """The highest resolution level, according to the first frame, whose beginning this reads.

        5 or more for HTJ2K as dicube writes it. 0 for JPEG XL, and for samples whose averages
        would be meaningless or overflow: floating-point, 64-bit, and integers of more than 30 bits.
        """
        if self._levels is None:
            self._levels = self._file.reader.levels()
        return self._levels

    def frame_shape_at(self, level: int) -> tuple[int, ...]:
        """Return the shape of a frame decoded at a level: (rows, columns[, 3]).

        Rows and columns are halved `level` times, rounded up.

        Raises:
            DataConsistencyError: there is no such level.
        """
        self._check_level(level)
        return frame_shape_of(self._file.reader.decoded_image(_native.DecodeOptions(level=level)))

    def fetched(self, frames: Iterable[int], level: int = 0) -> AbstractContextManager[None]:
        """Return a context in which several reads of frames share one fetch.

        From a URL, the coded bytes of all these frames are fetched concurrently, and kept until
        the context ends. For all other sources the context does nothing.

        Args:
            frames: numbers, from 0 on.
            level: at which they will be read; a higher one needs fewer bytes.
        """
        return self._file.fetched(frames, level)

    def coded(self, frame: int) -> bytes:
        """Return the coded bytes of a frame, as stored in the file.

        Raises:
            IndexError: there is no such frame.
            InvalidCubeFileError: the checksum differs.
        """
        self._check_frame(frame)
        return self._file.reader.coded(frame)

    def coded_frames(self) -> tuple[bytes, ...]:
        """Return the coded bytes of all frames, as stored in the file.

        Raises:
            InvalidCubeFileError: a checksum differs; with `on_error='skip'`, the frame's bytes are
                empty instead.
        """
        frames = range(self.shape[0])
        coded = [b""] * len(frames)

        def read(frame: int) -> None:
            coded[frame] = self._file.reader.coded(frame)

        with self.fetched(frames):
            for frame in frames:
                if not self._skips:
                    read(frame)
                elif (error := failure_of(partial(read, frame))) is not None:
                    self.damaged_frames[frame] = error.message
        return tuple(coded)

    def digest(self, but: Iterable[str] = ()) -> str:
        """Return a SHA-256 of the content: image type, sections and frames, wherever they are.

        Frames count by their checksums, which are a section. The frames themselves are read if the
        file has no checksums, or if they don't matter to this reader, which may return damage.

        Args:
            but: names of sections to leave out.

        Raises:
            InvalidCubeFileError: a checksum differs; with `on_error='skip'`, what is damaged counts
                as absent.
        """
        import hashlib  # slow to load

        found = hashlib.sha256(repr((self.shape, self.dtype.str, self.codec)).encode())
        for name in sorted({*self.sections} - {*but}):
            data = self.sections.get(name)
            found.update(repr((name, data and len(data))).encode() + (data or b""))
        if not (self.has_checksums and self._verifies) or self._skips:
            for coded in self.coded_frames():
                found.update(repr(len(coded)).encode() + coded)
        return found.hexdigest()

    def coded_range(self, frame: int) -> tuple[int, int]:
        """Return offset and size of a frame's coded bytes in the file.

        Raises:
            IndexError: there is no such frame.
        """
        self._check_frame(frame)
        return self._file.reader.coded_range(frame)

    def new_array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array to decode into.

        Raises:
            OutOfMemoryError: it needs more than `max_memory` or the memory available.
            CodecError: it is far larger than the file, and the first frame has another shape.
        """
        array = new_array(shape, dtype, self.max_memory)  # takes no memory until it is written
        if array.nbytes > max(_CLAIM_ALWAYS_ALLOWED, _MOST_CLAIM * self.file_size):
            self._check_claim()
        return array

    @property
    def name(self) -> str:
        """The path or URL for messages; '' for bytes and file objects."""
        return self._file.name

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file, after reads that other threads have begun."""
        self._file.close()

    def __enter__(self) -> DcbReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DcbReader shape={self.shape} dtype={self.dtype.name} codec={self.codec!r}>"

    def _check_claim(self) -> None:
        """Check that the first frame has the shape that the file states, by decoding a pixel."""
        options = _native.DecodeOptions(row=0, column=0, rows=1, columns=1)
        pixel = np.empty((1, 1, 1, *self.shape[3:]), self.dtype)
        self._file.reader.decode(*_decode_arguments(np.zeros(1, np.uint64), pixel, options))

    def _read_frames_and_masks(
        self, progress: Progress | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Decode all frames of a `.dcbr` file, and their masks: True inside."""
        frames, masks = self.new_array(self.shape, self.dtype), self.new_array(self.shape[:3], bool)

        def decode(first: int, last: int) -> None:
            part, mask = frames[first:last], masks[first:last]
            self._file.reader.decode_roi(
                first, last - first, part.ctypes.data, part.nbytes, mask.ctypes.data, mask.nbytes
            )

        self._decode_all(decode, np.arange(self.shape[0]), progress, split=True)
        return frames, masks

    def _read(
        self,
        numbers: NDArray[np.uint64],
        out: NDArray[Any] | None,
        level: int,
        region: Region | None,
        real: RealValues | None,
        progress: Progress | None,
    ) -> NDArray[Any]:
        self._check_level(level)
        cancel = _native.Cancel()
        options = _native.DecodeOptions(level=level, cancel=cancel.address)
        if region is not None:
            options.row, options.column, options.rows, options.columns = region
        frame_shape = frame_shape_of(self._file.reader.decoded_image(options))
        shape, dtype = (len(numbers), *frame_shape), self.dtype
        if real is not None:
            dtype = real_dtype(real.dtype).newbyteorder("=")
            options.real_type = sample_type_of(dtype)
            slopes, intercepts = real.rescale_of(len(numbers))
        if out is None:
            out = self.new_array(shape, dtype)
        else:
            _check_out(out, shape, dtype)

        def decode(first: int, last: int) -> None:
            wanted, part = numbers[first:last], out[first:last]
            rescale: tuple[NDArray[np.float64], ...] = ()
            if real is not None:
                rescale = slopes[first:], intercepts[first:]
                options.slopes = _native.doubles_at(rescale[0].ctypes.data)
                options.intercepts = _native.doubles_at(rescale[1].ctypes.data)
            arguments = _decode_arguments(wanted, part, options, cancel, *rescale)
            call = partial(self._file.reader.decode, *arguments)
            # A signal's handler may raise in the Python code that reads the bytes, and libdicube
            # then reports a read error. One frame is not worth a thread that prevents this.
            if self._file.needs_python and len(wanted) > 1:
                interruptible(call, cancel)
            else:
                call()

        with self.fetched(numbers, level):
            self._decode_all(decode, numbers, progress)
        return out

    def _decode_all(
        self,
        decode: Callable[[int, int], None],
        numbers: NDArray[np.integer[Any]],
        progress: Progress | None,
        split: bool = False,
    ) -> None:
        """Decode frames in batches; `decode` takes start and stop positions in `numbers`."""
        # Without a split, one damaged frame would cause all frames to be decoded one by one.
        for first, last in batches(len(numbers), progress, split=split or self._skips):
            if not self._skips:
                decode(first, last)
                continue
            for index, error in failures_of(decode, first, last):
                self.damaged_frames[int(numbers[index])] = error.message

    def _numbers(self, frames: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
        """Check frame numbers, and convert them for libdicube."""
        count = self.shape[0]
        given = np.asarray(frames)
        if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
            raise DataConsistencyError(
                f"expected a list of frame numbers, found {given.ndim} axes of {given.dtype.name}"
            )
        wrong = given[(given < -count) | (given >= count)]
        if wrong.size:
            raise IndexError(f"expected frames of {-count} to {count - 1}, found {wrong[0]}")
        numbers = given.astype(np.int64)
        return np.where(numbers < 0, numbers + count, numbers).astype(np.uint64)

    def _check_level(self, level: int) -> None:
        if level == 0 or 0 < level <= self.levels:  # which reads a frame; level 0 must not
            return
        codec = record_of(self.codec)
        if self.levels:
            raise DataConsistencyError(
                f"{codec.label} frames have resolution levels 0 to {self.levels}, found {level}"
            )
        samples = f" of {self.dtype.name}" if codec.has_levels else ""
        raise DataConsistencyError(
            f"{codec.label} frames{samples} have no resolution levels (asked for level {level})",
            suggestion=None if codec.has_levels else f"write {SPEED.extension} to read levels",
        )

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < self.shape[0]:
            raise IndexError(f"expected a frame of 0 to {self.shape[0] - 1}, found {frame}")


class Decoding:
    """The decoding of all frames of a file; see `DcbReader.begin_decoding`.

    A context for one thread. Leaving it before `finish` cancels the decoding.
    """

    def __init__(
        self,
        finish: Callable[[], tuple[NDArray[Any], NDArray[np.bool_] | None]],
        begun: _native.Decoding | None = None,
    ) -> None:
        """Take the function that finishes the decoding, and the decoding if it has begun."""
        self._finish, self._begun = finish, begun

    def finish(self) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Wait until all frames are decoded. Call it once.

        Returns:
            The frames, and the masks of a `.dcbr`: (frames, rows, columns), True inside. The masks
            of all other files are None.

        Raises:
            InvalidCubeFileError: a checksum differs.
            CodecError: a frame does not decode, or has no mask.
        """
        return self._finish()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._begun is not None:
            self._begun.close()


class Sections(Mapping[str, bytes]):
    """The sections of an open file: bytes by name, each read when it is looked up."""

    def __init__(self, file: OpenedFile, count: int, skipped: dict[str, str] | None) -> None:
        """Take the file, its number of sections, and a dictionary for the skipped ones, if any."""
        self._file, self._skipped = file, skipped
        self._names = file.reader.section_names(count)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        if self._skipped is None:
            return self._file.reader.section(name)
        found: list[bytes] = []
        error = failure_of(lambda: found.append(self._file.reader.section(name)))
        if error is None:
            return found[0]
        self._skipped[name] = error.message
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def size(self, name: str) -> int:
        """Return the size of a section in bytes, without reading it."""
        if name not in self._names:
            raise KeyError(name)
        return self._file.reader.section_range(name)[1]

    def part(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a section, which may be too large for memory.

        Raises:
            DataConsistencyError: the section ends before.
            CubeFileNotFoundError: the file has no such section.
        """
        return self._file.reader.section_at(name, offset, size)


def _check_out(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless frames can be decoded directly into an array."""
    if out.shape != shape or out.dtype != dtype:
        raise DataConsistencyError(
            f"expected out of shape {shape} and dtype {dtype.name}, "
            f"found {out.shape} and {out.dtype.str}"
        )
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise DataConsistencyError("expected out to be C-contiguous and writeable")


def _decode_arguments(
    numbers: NDArray[np.uint64], pixels: NDArray[Any], options: _native.DecodeOptions, *kept: object
) -> tuple[Any, ...]:
    """Return the arguments of `_native.Reader.decode`.

    Args:
        numbers: which frames.
        pixels: the array to decode into.
        options: how to decode.
        kept: objects that the options point to.
    """
    owners = numbers, pixels, options, *kept
    return numbers.ctypes.data, len(numbers), options, pixels.ctypes.data, pixels.nbytes, owners
