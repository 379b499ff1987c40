"""Cube: a dicube file as an array that is decoded where it is indexed. `dicube.open` gives it.

Here files and indices come together; of medicine only what is asked for is read, and imported. It
must not know how a file is laid out, or where its bytes come from.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.damage import Damage
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.frame_cache import FrameCache
from dicube.storage.frame_index import FrameIndex, frame_index
from dicube.storage.pixel_utils import compute_real_values
from dicube.storage.real_values import RealValues, real_dtype

if TYPE_CHECKING:
    from dicube.core.lossy.loss import Loss
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.dicom_status import DicomStatus
    from dicube.dicom.series.geometry import Space

# Of frames that are cropped so many bytes are decoded at a time: they stay in the processor's
# cache, or near. But at least a few, for the threads.
_BATCH_BYTES = 8 << 20
_LEAST_BATCH = 8


def open(  # noqa: A001 (the face's name: dicube.open)
    path: Any,
    *,
    level: int = 0,
    num_threads: int | None = None,
    cache: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    verify: bool = True,
    max_memory: int | None = None,
) -> Cube:
    """Open a `.dcbs` or `.dcba` file without decoding anything.

    Args:
        path: a path, a URL that fsspec opens, the bytes of a whole file, or a binary file object
            that can seek.
        level: of resolution; see `Cube.at_level`.
        num_threads: threads for decoding; None or 0 for one for each processor. Where many
            processes read, as those of a DataLoader do, 1 is best.
        cache: bytes of decoded frames to keep for the next read; 0 for none.
        storage_options: for the file system of a URL, as fsspec has them.
        on_error: 'raise', or 'skip' for what is intact of a damaged file: stored values of damaged
            slices are zeros, real ones NaN, and damaged sections are left out. Each is told by a
            UserWarning when it is come upon, and from then on by `damaged_frames` and
            `damaged_sections`.
        verify: compare checksums where the file has them. Without that damage may pass for pixels.
        max_memory: bytes that libdicube may take for one file or frame, and each array that is
            made; None for 4 GiB in libdicube and arrays of any size.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) there is no such file.
        InvalidCubeFileError: it is no dicube file, or a damaged or newer one, or can't be read.
        DataConsistencyError: the file does not have the level, or `on_error` is another.
        MissingPackageError: (an ImportError too) a URL needs a package that is not installed.

    Example:
        >>> cube = dicube.open("head.dcbs")
        >>> cube.shape
        (5, 48, 40)
        >>> cube[3].shape  # decodes one slice
        (48, 40)
        >>> cube[1:4, 8:24, -16:].shape  # decodes three
        (3, 16, 16)
    """
    reader = DcbReader(
        path,
        num_threads=num_threads,
        storage_options=storage_options,
        on_error=on_error,
        verify=verify,
        max_memory=max_memory,
    )
    reader.expect_frames()
    kept = FrameCache(cache) if cache else None
    cube = Cube(reader, _Parts(reader), kept)
    return cube.at_level(level) if level else cube


class Cube:
    """An open file as an array: what is indexed is decoded, and nothing is kept.

    An index is whatever numpy takes, with numpy's results and errors: integers, slices of any step,
    lists, boolean masks, `np.newaxis`, integer arrays. Only the frames that it touches are decoded,
    and each result is an array of its own. `np.asarray(cube)` is the whole volume.

    For many threads at once. A forked process opens the file again by itself, and so does one that
    the cube is pickled for: workers of a DataLoader just index it.

    Attributes:
        shape: (slices, rows, columns), or (slices, rows, columns, 3) for colour.
        dtype: of the stored values.
        level: of resolution; 0 is the full one.
    """

    def __init__(
        self, reader: DcbReader, parts: _Parts, cache: FrameCache | None, level: int = 0
    ) -> None:
        self._reader, self._parts = reader, parts
        self._cache, self._process = cache, os.getpid()
        self.shape: tuple[int, ...] = (reader.shape[0], *reader.frame_shape_at(level))
        self.dtype: np.dtype[Any] = reader.dtype
        self.level = level

    # ------------------------------------------------------------------------------- pixels

    def __getitem__(self, index: Any) -> Any:
        """Return what numpy would of the volume: an array, or a scalar."""
        return self._take(frame_index(index, self.shape), self.dtype, None)

    def read(self, index: Any = ..., *, out: NDArray[Any] | None = None) -> Any:
        """Return `cube[index]`, in an array of the caller's if there is one.

        Args:
            index: as numpy has it.
            out: of exactly the result's shape and dtype, with any strides.

        Returns:
            `out`; without it what `cube[index]` gives.

        Raises:
            IndexError: what numpy raises for such an index.
            DataConsistencyError: `out` does not fit.
            InvalidCubeFileError: a checksum differs, or the file can't be read.
            CodecError: a frame does not decode.
        """
        wanted = frame_index(index, self.shape)
        if out is not None and (out.shape != wanted.shape or out.dtype != self.dtype):
            raise DataConsistencyError(
                f"expected out of shape {wanted.shape} and dtype {self.dtype.name}, "
                f"found {out.shape} and {out.dtype.str}"
            )
        if out is not None and not out.flags.writeable:
            raise DataConsistencyError("expected out to be writeable")
        return self._take(wanted, self.dtype, None, out)

    def get_fdata(self, index: Any = ..., dtype: DTypeLike = "float32") -> Any:
        """Return real values of a part: stored value * slope + intercept, as Hounsfield units are.

        Args:
            index: as numpy has it; without it the whole volume.
            dtype: float16, float32 or float64.

        Returns:
            What `DicomCubeImage.get_fdata()[index]` would: an array, or a scalar.

        Raises:
            IndexError: what numpy raises for such an index.
            DataConsistencyError: another dtype; or a section that tells what stored values mean
                was damaged.
        """
        real = _Rescale(self._parts, dtype)
        return self._take(frame_index(index, self.shape), real.dtype, real)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a cube is decoded: an array of it is always a copy")
        volume: NDArray[Any] = self[...]
        return volume if dtype is None else volume.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames; a few are decoded at a time."""
        for first in range(0, len(self), _LEAST_BATCH):
            yield from self[first : first + _LEAST_BATCH]

    @property
    def ndim(self) -> int:
        """The number of axes: 3, or 4 for colour."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of samples."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the volume takes when it is decoded."""
        return self.size * self.dtype.itemsize

    @property
    def levels(self) -> int:
        """The highest level of resolution that there is: 0 for JPEG XL. Reads the first frame."""
        return self._reader.levels

    def at_level(self, level: int) -> Cube:
        """Return the same file at a resolution of 1/2, 1/4, 1/8…: rows and columns, not slices.

        What is taken are HTJ2K's own wavelet levels (ISO/IEC 15444-1 Annex F), much faster than
        decoding all. Each sample is the low-pass filter's at an even place of the level before, so
        `space` keeps its origin, its spacing doubles, and sides are halved and rounded up.

        Args:
            level: 1 for half the rows and columns, 2 for a quarter and so on; 0 for all.

        Returns:
            A cube of the same open file, with the same metadata, which are those of level 0.

        Raises:
            DataConsistencyError: the file does not have the level.
        """
        return Cube(self._reader, self._parts, self._cache, level)

    # ----------------------------------------------------------------------- beside the pixels

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata, parsed when first asked for; None where there are none.

        Raises:
            MetaDataError: they can't be understood.
            DataConsistencyError: they are of another number of slices.
        """
        return self._parts.meta

    @property
    def pixel_header(self) -> PixelDataHeader:
        """Rescale and window."""
        return self._parts.header

    @property
    def dicom_status(self) -> DicomStatus:
        """Whether the series is consistent."""
        return self._parts.status

    @property
    def space(self) -> Space | None:
        """The geometry of this level, in (z, y, x) order; None where it isn't known."""
        from dicube.dicom.series.geometry import space_at_level

        space = self._parts.space
        return space if space is None or not self.level else space_at_level(space, self.level)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding has changed, the earliest first; see `DicomCubeImage.losses`."""
        return self._parts.losses

    @property
    def damaged_frames(self) -> tuple[int, ...]:
        """The damaged slices among those read until now, with `on_error='skip'`, at any level."""
        return tuple(self._parts.damage().frames)

    @property
    def damaged_sections(self) -> tuple[str, ...]:
        """The names of the damaged sections among those read until now."""
        return tuple(self._parts.damage().sections)

    # ----------------------------------------------------------------------------------- file

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return self._reader.closed

    def close(self) -> None:
        """Close the file, for all levels, when reads that other threads have begun are done."""
        self._reader.close()

    def __enter__(self) -> Cube:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        level = f" level={self.level}" if self.level else ""
        return f"<Cube shape={self.shape} dtype={self.dtype.name}{level}>"

    # --------------------------------------------------------------------------------- within

    def _take(
        self,
        wanted: FrameIndex,
        dtype: np.dtype[Any],
        real: _Rescale | None,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return what an index takes, of stored values or of real ones."""
        with self._parts.warning():
            return self._taken(wanted, dtype, real, out)

    def _taken(
        self,
        wanted: FrameIndex,
        dtype: np.dtype[Any],
        real: _Rescale | None,
        out: NDArray[Any] | None,
    ) -> Any:
        frames, axis = wanted.frames, wanted.frame_axis
        at_once = real is None or (real.is_plain and self._cache is None)
        whole = at_once and wanted.is_whole(self.shape[1:])
        if whole and (out is None or out.flags.c_contiguous):
            result = self._reader.new_array(wanted.shape, dtype) if out is None else out
            decoded = result.reshape(len(frames), *self.shape[1:])
            self._decode(frames, decoded, None if real is None else real.of(frames))
            if real is not None:
                real.blank_damaged(decoded, frames)
            return result
        if axis is None:
            stored = self._reader.new_array((len(frames), *self.shape[1:]), self.dtype)
            self._decode(frames, stored)
            taken = (stored if real is None else real.compute(stored, frames))[wanted.items]
            if out is None:
                # A view would keep the whole frame in memory. Scalars have no base.
                return taken if taken.base is None else taken.copy()
            out[...] = taken
            return out
        result = self._reader.new_array(wanted.shape, dtype) if out is None else out
        along = np.moveaxis(result, axis, 0)
        frame_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        batch = min(max(_BATCH_BYTES // frame_bytes, _LEAST_BATCH), max(len(frames), 1))
        scratch = self._reader.new_array((batch, *self.shape[1:]), self.dtype)
        with self._reader.fetched(self._not_kept(frames) if result.size else ()):
            for first in range(0, len(frames) if result.size else 0, batch):
                numbers = frames[first : first + batch]
                stored = scratch[: len(numbers)]
                self._decode(numbers, stored)
                taken = np.moveaxis(stored[wanted.items], axis, 0)
                along[first : first + batch] = (
                    taken if real is None else real.compute(taken, numbers)
                )
        return result

    def _decode(
        self, frames: Sequence[int], out: NDArray[Any], real: RealValues | None = None
    ) -> None:
        """Fill an array with frames; with stored values if there is a cache, which keeps those."""
        if not out.size:
            return
        cache = self._cache_here()
        if cache is None:
            self._reader.read_frame_list(frames, out=out, level=self.level, real=real)
            return
        missing = []
        for place, frame in enumerate(frames):
            kept = cache.get((self.level, frame))
            if kept is None:
                missing.append(place)
            else:
                out[place] = kept
        if not missing:
            return
        fresh = out if len(missing) == len(frames) else np.empty_like(out[: len(missing)])
        numbers = [frames[place] for place in missing]
        self._reader.read_frame_list(numbers, out=fresh, level=self.level)
        for place, frame, decoded in zip(missing, numbers, fresh, strict=True):
            cache.put((self.level, frame), decoded)
            if fresh is not out:
                out[place] = decoded

    def _not_kept(self, frames: Sequence[int]) -> Sequence[int]:
        """Return those of some frames that will have to be read."""
        cache = self._cache_here()
        if cache is None:
            return frames
        return [frame for frame in frames if cache.get((self.level, frame)) is None]

    def _cache_here(self) -> FrameCache | None:
        """Return the cache of this process: after a fork its lock may be one that stays locked."""
        if self._cache is not None and self._process != os.getpid():
            self._cache, self._process = FrameCache(self._cache.capacity), os.getpid()
        return self._cache


class _Parts:
    """What a file holds beside its frames, each read when it is first asked for.

    The rooms of DICOM are imported then, too: they take longer than opening a thousand files.
    """

    def __init__(self, reader: DcbReader) -> None:
        self._reader = reader
        self._read: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": self._reader, "_read": {}}

    def damage(self) -> Damage:
        """Return what was skipped until now."""
        reader = self._reader
        return Damage(reader.damaged_frames.copy(), reader.damaged_sections.copy())

    @contextmanager
    def warning(self) -> Iterator[None]:
        """Warn of what is skipped within this context, and was not before."""
        known = self.damage()
        yield
        found = self.damage().beyond(known)
        if found:
            warnings.warn(f"the file read is damaged: {found}", stacklevel=5)

    @property
    def header(self) -> PixelDataHeader:
        """The pixel header."""
        if "header" not in self._read:
            from dicube.core.cube_parts import read_header

            with self.warning():
                self._read["header"] = read_header(self._reader)
        header: PixelDataHeader = self._read["header"]
        return header

    @property
    def meta(self) -> DicomMeta | None:
        """The metadata."""
        if "meta" not in self._read:
            from dicube.core.consistency import checked_meta
            from dicube.core.cube_parts import read_meta

            with self.warning():
                meta = read_meta(self._reader)
            self._read["meta"] = checked_meta(meta, self._reader.shape[0])
        found: DicomMeta | None = self._read["meta"]
        return found

    @property
    def space(self) -> Space | None:
        """The geometry of the full resolution."""
        if "space" not in self._read:
            from dicube.core.consistency import checked_space
            from dicube.core.cube_parts import read_space

            with self.warning():
                space = read_space(self._reader)
            self._read["space"] = checked_space(space, self._reader.shape)
        found: Space | None = self._read["space"]
        return found

    @property
    def status(self) -> DicomStatus:
        """The status of the series."""
        if "status" not in self._read:
            from dicube.core.cube_parts import read_status

            with self.warning():
                self._read["status"] = read_status(self._reader)
        status: DicomStatus = self._read["status"]
        return status

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding has changed."""
        if "losses" not in self._read:
            from dicube.core.lossy.loss import read_losses

            with self.warning():
                self._read["losses"] = read_losses(self._reader)
        losses: tuple[Loss, ...] = self._read["losses"]
        return losses


class _Rescale:
    """What makes real values of stored ones.

    Attributes:
        dtype: of the real values.
        is_plain: whether words are values, so that decoding itself can give real ones.
    """

    def __init__(self, parts: _Parts, dtype: DTypeLike) -> None:
        from dicube.core.slice_values import bits_of_slices, real_values

        self.dtype = real_dtype(dtype).newbyteorder("=")
        self._parts = parts
        self._real = real_values(self.dtype, parts.meta, parts.header)
        self._bits = bits_of_slices(parts.meta, parts.header)
        parts.damage().check_values()
        self.is_plain = self._bits is None

    def of(self, frames: Sequence[int]) -> RealValues:
        """Return what real values of frames are made by."""
        slopes, intercepts = (
            [given[frame] for frame in frames] if isinstance(given, Sequence) else given
            for given in (self._real.slopes, self._real.intercepts)
        )
        return RealValues(self.dtype, slopes, intercepts)

    def compute(self, stored: NDArray[Any], frames: Sequence[int]) -> NDArray[Any]:
        """Return the real values of frames, or of the same part of each."""
        bits = None if self._bits is None else [self._bits[frame] for frame in frames]
        return self.blank_damaged(compute_real_values(stored, self.of(frames), bits), frames)

    def blank_damaged(self, values: NDArray[Any], frames: Sequence[int]) -> NDArray[Any]:
        """Set the values of damaged frames, whose stored values are zeros, to NaN."""
        damaged = self._parts.damage().frames
        if damaged:
            values[[place for place, frame in enumerate(frames) if frame in damaged]] = np.nan
        return values
