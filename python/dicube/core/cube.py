"""Cube: a dicube file as an array that decodes what is indexed. `dicube.open` returns one.

Metadata and geometry are read, and their modules imported, only when needed. Must not know how a
file is laid out, or where its bytes come from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.lazy_parts import LazyParts
from dicube.core.volume import Volume
from dicube.exceptions import DataConsistencyError, reporting_memory
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.frame_cache import FrameCache
from dicube.storage.frame_index import FrameIndex, Region, frame_index
from dicube.storage.pixel_utils import compute_real_values
from dicube.storage.real_values import RealValues, real_dtype

if TYPE_CHECKING:
    from dicube.core.cube_parts import CubeParts
    from dicube.core.image import DicomCubeImage
    from dicube.core.lossy.loss import Loss
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.dicom_status import DicomStatus
    from dicube.dicom.series.geometry import Grid, Space

# Regions that are cropped further are decoded in batches of this size, which fits the processor's
# cache, but of at least a few frames, to give all threads work.
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
    """Open a dicube file without decoding anything.

    Args:
        path: a path, a URL that fsspec opens, the bytes of a whole file, or a seekable binary file
            object.
        level: resolution level; see `Cube.at_level`.
        num_threads: threads for decoding; None or 0 for one per processor. 1 is best if many
            processes read, such as the workers of a DataLoader.
        cache: bytes of decoded frames to keep for the next read; 0 for none.
        storage_options: for the file system of a URL, as in fsspec.
        on_error: 'raise', or 'skip' to read what is intact in a damaged file: damaged slices become
            zeros (NaN in real values), damaged sections are left out. Each is reported by a
            UserWarning when it is first read, and then by `damaged_frames` and
            `damaged_sections`.
        verify: compare the checksums in the file. Without them damage may look like data.
        max_memory: bytes that libdicube may use for one file or frame, and that each array may
            have; None for 4 GiB in libdicube and arrays of any size.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
        InvalidCubeFileError: not a dicube file, or a damaged or newer one, or one that can't be
            read.
        DataConsistencyError: the file does not have the level, or an unknown `on_error`.
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
    if not reader.shape[0]:
        from dicube.core.instances.stored_files import expect_frames

        expect_frames(reader)
    kept = FrameCache(cache) if cache else None
    cube = Cube(reader, LazyParts(reader), kept)
    return cube.at_level(level) if level else cube


def cube_of(reader: DcbReader) -> Cube:
    """Return the cube of a file that a reader has open."""
    return Cube(reader, LazyParts(reader), None)


class Cube(Volume):
    """An open file as an array: indexing decodes, and nothing is cached by default.

    Indices work as in numpy, with the same results and errors: integers, slices of any step,
    lists, boolean masks, `np.newaxis`, integer arrays. Only the frames touched are decoded; of
    HTJ2K frames (`.dcbs`), only the code blocks that the smallest rectangle around the rows and
    columns needs. JPEG XL frames are decoded whole, whatever is taken of them. Each result is a new
    array. `np.asarray(cube)` is the whole volume.

    Many threads may use a cube at once. In a forked process, and after unpickling, it opens the
    file again by itself, so workers of a DataLoader can simply index it.

    Attributes:
        shape: (slices, rows, columns), or (slices, rows, columns, 3) for colour.
        dtype: of the stored values.
        level: resolution level; 0 is the full resolution.

    Example:
        >>> cube = dicube.open("head.dcbs")
        >>> cube
        <Cube shape=(5, 48, 40) dtype=int16>
        >>> cube[[0, 3], ::2].shape
        (2, 24, 40)
        >>> bool((np.asarray(cube) == dicube.load("head.dcbs").raw_image).all())
        True
    """

    def __init__(
        self, reader: DcbReader, parts: LazyParts, cache: FrameCache | None, level: int = 0
    ) -> None:
        self._reader, self._parts = reader, parts
        self._cache, self._process = cache, os.getpid()
        self.shape: tuple[int, ...] = (reader.shape[0], *reader.frame_shape_at(level))
        self.dtype: np.dtype[Any] = reader.dtype
        self.level = level

    # ------------------------------------------------------------------------------- pixels

    def __getitem__(self, index: Any) -> Any:
        """Return what numpy would return for the volume: an array or a scalar."""
        return self._take(frame_index(index, self.shape), self.dtype, None)

    def read(self, index: Any = ..., *, out: NDArray[Any] | None = None) -> Any:
        """Return `cube[index]`, in an array of the caller if one is given.

        Args:
            index: as in numpy.
            out: of exactly the result's shape and dtype, with any strides.

        Returns:
            `out`; without it, `cube[index]`.

        Raises:
            IndexError: numpy would raise it for this index.
            DataConsistencyError: `out` does not fit.
            InvalidCubeFileError: a checksum differs, or the file can't be read.
            CodecError: a frame can't be decoded.

        Example:
            >>> cube = dicube.open("head.dcbs")
            >>> batch = np.empty((3, 48, 40), cube.dtype)
            >>> cube.read([3, 1, 4], out=batch) is batch
            True
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

    def get_fdata(
        self,
        index: Any = ...,
        dtype: DTypeLike = "float32",
        *,
        real_world: int | str | None = None,
    ) -> Any:
        """Return real values of a part, such as Hounsfield units: stored value * slope + intercept.

        Args:
            index: as in numpy; by default the whole volume.
            dtype: float16, float32 or float64.
            real_world: see `DicomCubeImage.get_fdata`.

        Returns:
            The same as `DicomCubeImage.get_fdata()[index]`: an array or a scalar.

        Raises:
            IndexError: numpy would raise it for this index.
            DataConsistencyError: another dtype; a section that defines real values was damaged;
                several mappings and none chosen; or no such mapping.
            InvalidCubeFileError: a checksum differs, or the file can't be read.
            CodecError: a frame can't be decoded.
            MetaDataError: the metadata can't be parsed.

        Warns:
            UserWarning: see `DicomCubeImage.get_fdata`.

        Example:
            >>> cube = dicube.open("head.dcbs")
            >>> cube.get_fdata(np.s_[3, 8:24, 8:24]).shape  # decodes one slice
            (16, 16)
        """
        from dicube.core.slice_values import real_values

        parts, kind = self._parts, real_dtype(dtype).newbyteorder("=")
        values = real_values(kind, self.dtype, parts.meta, parts.header, real_world)
        parts.damage().check_values()
        real = _ToReal(parts, values, kind)
        return self._take(frame_index(index, self.shape), real.dtype, real)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a cube decodes its frames, so an array of it is always a copy")
        volume: NDArray[Any] = self[...]
        return volume if dtype is None else volume.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames, decoding a few at a time."""
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
        """The bytes of the decoded volume."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of a frame in the volume, (1, rows, columns[, 3]).

        Because of it, `dask.array.from_array(cube)` has chunks of whole frames, as many as dask's
        configuration allows. `from_array(cube, chunks=cube.chunks)` has chunks of one frame.
        """
        return (1, *self.shape[1:])

    @property
    def levels(self) -> int:
        """The highest resolution level. Reads the first frame.

        It is 0 for JPEG XL, floating-point and 64-bit samples, and integers of more than 30 bits.
        """
        return self._reader.levels

    def at_level(self, level: int) -> Cube:
        """Return the same file at a resolution of 1/2, 1/4, 1/8…: rows and columns, not slices.

        Uses the wavelet levels of HTJ2K (ISO/IEC 15444-1 Annex F), which is much faster than
        decoding everything. Files written by this version record which bytes a level needs, and
        only these are read: about 37 % of a frame for level 1, 12 % for level 2, 4 % for level 3.
        Each sample is the output of the low-pass filter at an even position of the level before, so
        `space` keeps its origin, its spacing doubles, and sides are halved and rounded up.

        Args:
            level: 1 for half the rows and columns, 2 for a quarter and so on; 0 for all.

        Returns:
            A cube of the same open file, with the same metadata, which describe level 0.

        Raises:
            DataConsistencyError: the file does not have the level.

        Example:
            >>> half = dicube.open("head.dcbs").at_level(1)
            >>> half.shape, half.spacing
            ((5, 24, 20), (2.5, 1.0, 1.5))
        """
        return Cube(self._reader, self._parts, self._cache, level)

    def thumbnail(self, side: int = 256) -> NDArray[np.uint8]:
        """Return a small picture of the middle slice, such as for a list of series.

        Grey values are shown by the first VOI LUT of the slice, else by its first window (PS3.3
        C.11.2, also SIGMOID and LINEAR_EXACT). Without both, the range of values is shown, except
        0.5 % at each end. MONOCHROME1 is inverted, so that white is always bright.
        Palettes and YCbCr become RGB. Rows and columns are those of the stored slice; where pixels
        are not square, the finer axis is shrunk until they are. Decodes the smallest level that has
        enough pixels, and fetches no more from a URL.

        Args:
            side: the most rows and columns; smaller slices are not enlarged.

        Returns:
            uint8, (rows, columns), or (rows, columns, 3) for colour.

        Raises:
            DataConsistencyError: `side` is below 1, or the colours can't be converted to RGB.
            InvalidCubeFileError: a checksum differs, or the file can't be read.
            CodecError: a frame can't be decoded.
            MetaDataError: the metadata can't be parsed.

        Example:
            >>> with dicube.open("head.dcbs") as cube:
            ...     picture = cube.thumbnail(24)
            >>> picture.shape, picture.dtype.name
            ((19, 24), 'uint8')
        """
        from dicube.core.pictures.thumbnail import thumbnail

        return thumbnail(self, side)

    def view(
        self, level: int | None = None, *, height: int = 400, most_bytes: int = 128 << 20
    ) -> Any:
        """Return an interactive view for a notebook: three planes and 3D, by ipyniivue.

        Shows real values at their place in the patient. The browser gets the whole volume, so a
        large one is shown at the first resolution level that fits `most_bytes`; if none does, every
        second, fourth... row, column and slice of the coarsest is shown. A warning then says what
        is shown. The volume is decoded in parts, so it may be larger than memory. Of a series of
        several volumes the largest is shown.

        Args:
            level: resolution level to show; None for the finest that fits.
            height: of the view, in pixels.
            most_bytes: what the browser gets at most.

        Returns:
            An `ipyniivue.NiiVue`, which a notebook shows.

        Raises:
            MissingPackageError: (an ImportError too) ipyniivue or nibabel is not installed:
                `pip install 'dicube[notebook]'`.
            DataConsistencyError: the file does not have the level; or its volume is larger than
                `most_bytes`; or the colours can't be converted to RGB.

        Warns:
            UserWarning: less than the whole resolution is shown.
        """
        from dicube.core.pictures.volume_view import view_of

        return view_of(self, level, height, most_bytes)

    def crop(self, index: Any) -> DicomCubeImage:
        """Return a part of the volume as an image, with its metadata and geometry.

        Of a cube, only this part is decoded. The metadata are those of the slices taken, with
        Rows, Columns and ImagePositionPatient of the part; strides also multiply PixelSpacing (and
        ImagerPixelSpacing and NominalScannedPixelSpacing) and SpacingBetweenSlices. UIDs are kept.
        Overlays, shutters and collimators, which refer to pixels by row and column, and the
        smallest and largest pixel values are left out if rows or columns are cropped. The original
        files are not kept, so neither are files beside the volume.

        Args:
            index: slices of slices, rows and columns, from `np.s_`; an integer takes one and keeps
                the axis. Steps are above 0.

        Raises:
            IndexError: an integer is out of bounds; or there are more than three items, or two of
                `...`.
            DataConsistencyError: nothing is taken; another kind of index, or a step below 1; rows
                or columns are cropped of mosaics, or of pixels that the metadata don't describe; or
                slices are taken of a NIfTI image of several volumes (see `volumes`).

        Example:
            >>> part = dicube.open("head.dcbs").crop(np.s_[1:4, 8:24, ::2])
            >>> part.shape, part.spacing
            ((3, 16, 20), (2.5, 0.5, 1.5))
            >>> part.dicom_meta.get("ImagePositionPatient")[0]
            [-10.0, 24.0, 2.5]
            >>> part.to_file("part.dcbs")
        """
        from dicube.core.geometry.crop import Crop, cropped_parts
        from dicube.core.image import DicomCubeImage

        crop = Crop.of_index(index, self.shape)
        pixels = self[crop.items]
        header, meta, space, status, origin = cropped_parts(self._all_parts(), self.shape, crop)
        origin = replace(origin, damage=self._parts.damage().of_slices(crop.slices))
        return DicomCubeImage(pixels, header, meta, space, status, origin=origin)

    # ---------------------------------------------------------------------- besides the pixels

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata, parsed when first needed; None if there are none.

        Long elements, such as those with a value for each of many slices, are parsed and checked
        when they are first used: a MetaDataError of a malformed one is raised then.

        Raises:
            MetaDataError: they can't be parsed.
            DataConsistencyError: they have another number of slices.
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
        """The geometry of this level, in (z, y, x) order; None if it isn't known."""
        from dicube.dicom.series.geometry import space_at_level

        space = self._parts.space
        return space if space is None or not self.level else space_at_level(space, self.level)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding changed, the earliest first; see `DicomCubeImage.losses`."""
        return self._parts.losses

    @property
    def damaged_frames(self) -> tuple[int, ...]:
        """The damaged slices among those read so far with `on_error='skip'`, at any level."""
        return tuple(self._parts.damage().frames)

    @property
    def damaged_sections(self) -> tuple[str, ...]:
        """The names of the damaged sections among those read so far."""
        return tuple(self._parts.damage().sections)

    # ----------------------------------------------------------------------------------- file

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return self._reader.closed

    def close(self) -> None:
        """Close the file, for all levels, after reads in other threads have ended."""
        self._reader.close()

    def __enter__(self) -> Cube:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __dask_tokenize__(self) -> tuple[str, int, str]:
        """Return what identifies the content of the file, and the level, for dask.

        It doesn't depend on the path. All sections are read, such as the metadata; frames only if
        the file has no checksums of them.
        """
        from dicube.core.cube_parts import ORIGINALS_BULK

        with self._parts.warning(), reporting_memory:
            # The originals, which remain, have checksums of their bulk.
            return "dicube.Cube", self.level, self._reader.digest(but={ORIGINALS_BULK})

    def __repr__(self) -> str:
        level = f" level={self.level}" if self.level else ""
        return f"<Cube shape={self.shape} dtype={self.dtype.name}{level}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: middle planes (with Pillow), and what the file holds.

        Names, IDs and dates of patients are left out, because notebooks are shared. Burnt-in
        texts in the pixels are not. Never raises: what can't be read is shown as a text.
        """
        from dicube.core.pictures.notebook import html_of

        facts: dict[str, Any] = {"level": self.level} if self.level else {}
        if self.closed:
            facts["note"] = "the file is closed"
        return html_of(self, self._reader.name, self._reader.codec, facts)

    # --------------------------------------------------------------------------------- within

    def _stored(self) -> NDArray[Any]:
        volume: NDArray[Any] = self[...]
        return volume

    def _fdata(self, dtype: DTypeLike) -> NDArray[Any]:
        values: NDArray[Any] = self.get_fdata(dtype=dtype)
        return values

    def _all_parts(self) -> CubeParts:
        parts = self._parts.all
        if not self.level:
            return parts
        from dicube.core.geometry.crop import Crop, cropped_parts

        shape = self._reader.shape
        return cropped_parts(parts, shape, Crop.of_level(shape, self.level))

    def _placement(self) -> tuple[Grid | None, str]:
        grid, problem = self._parts.placement
        return grid and grid.at_level(self.level), problem

    def _take(
        self,
        wanted: FrameIndex,
        dtype: np.dtype[Any],
        real: _ToReal | None,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return the indexed part, as stored or real values."""
        with self._parts.warning(), reporting_memory:
            return self._taken(wanted, dtype, real, out)

    def _taken(
        self,
        wanted: FrameIndex,
        dtype: np.dtype[Any],
        real: _ToReal | None,
        out: NDArray[Any] | None,
    ) -> Any:
        frames, region, axis = wanted.frames, wanted.region, wanted.frame_axis
        part = region.rows, region.columns, *self.shape[3:]
        at_once = real is None or (real.is_linear and self._cache is None)
        whole = at_once and wanted.is_whole(self.shape[3:])
        if whole and (out is None or out.flags.c_contiguous):
            result = self._reader.new_array(wanted.shape, dtype) if out is None else out
            decoded = result.reshape(len(frames), *part)
            self._decode(frames, region, decoded, None if real is None else real.of(frames))
            if real is not None:
                real.blank_damaged(decoded, frames)
            return result
        if axis is None:
            stored = self._reader.new_array((len(frames), *part), self.dtype)
            self._decode(frames, region, stored)
            taken = (stored if real is None else real.compute(stored, frames))[wanted.items]
            if out is None:
                # A view would keep the whole region in memory. Scalars have no base.
                return taken if taken.base is None else taken.copy()
            out[...] = taken
            return out
        result = self._reader.new_array(wanted.shape, dtype) if out is None else out
        along = np.moveaxis(result, axis, 0)
        part_bytes = math.prod(part) * self.dtype.itemsize
        batch = min(max(_BATCH_BYTES // part_bytes, _LEAST_BATCH), max(len(frames), 1))
        scratch = self._reader.new_array((batch, *part), self.dtype)
        wanted_frames = self._not_kept(frames) if result.size else ()
        with self._reader.fetched(wanted_frames, self.level):
            for first in range(0, len(frames) if result.size else 0, batch):
                numbers = frames[first : first + batch]
                stored = scratch[: len(numbers)]
                self._decode(numbers, region, stored)
                taken = np.moveaxis(stored[wanted.items], axis, 0)
                along[first : first + batch] = (
                    taken if real is None else real.compute(taken, numbers)
                )
        return result

    def _decode(
        self,
        frames: Sequence[int],
        region: Region,
        out: NDArray[Any],
        real: RealValues | None = None,
    ) -> None:
        """Fill an array with a region of frames.

        If there is a cache, which holds stored values of whole frames, the values are stored ones.
        """
        if not out.size:
            return
        cache = self._cache_here()
        if cache is None:
            self._reader.read_frame_list(
                frames, out=out, level=self.level, region=region, real=real
            )
            return
        missing = []
        for place, frame in enumerate(frames):
            kept = cache.get((self.level, frame))
            if kept is None:
                missing.append(place)
            else:
                out[place] = kept[region.slices]
        if not missing:
            return
        numbers = [frames[place] for place in missing]
        fresh = self._reader.read_frame_list(numbers, level=self.level)
        for place, frame, decoded in zip(missing, numbers, fresh, strict=True):
            cache.put((self.level, frame), decoded)
            out[place] = decoded[region.slices]

    def _not_kept(self, frames: Sequence[int]) -> Sequence[int]:
        """Return the frames that are not in the cache."""
        cache = self._cache_here()
        if cache is None:
            return frames
        return [frame for frame in frames if cache.get((self.level, frame)) is None]

    def _cache_here(self) -> FrameCache | None:
        """Return the cache of this process. After a fork the old one may be locked forever."""
        if self._cache is not None and self._process != os.getpid():
            self._cache, self._process = FrameCache(self._cache.capacity), os.getpid()
        return self._cache


class _ToReal:
    """The conversion of stored values to real ones.

    Attributes:
        dtype: of the real values.
        is_linear: whether frames can be decoded directly to real values.
    """

    def __init__(self, parts: LazyParts, real: RealValues, dtype: np.dtype[Any]) -> None:
        self.dtype, self.is_linear = dtype, real.is_linear
        self._parts, self._real = parts, real

    def of(self, frames: Sequence[int]) -> RealValues:
        """Return what computes the real values of some frames."""
        return self._real.of_frames(frames)

    def compute(self, stored: NDArray[Any], frames: Sequence[int]) -> NDArray[Any]:
        """Return the real values of frames, or of the same part of each frame."""
        return self.blank_damaged(compute_real_values(stored, self.of(frames)), frames)

    def blank_damaged(self, values: NDArray[Any], frames: Sequence[int]) -> NDArray[Any]:
        """Set the values of damaged frames to NaN; their stored values are zeros."""
        damaged = self._parts.damage().frames
        if damaged:
            values[[place for place, frame in enumerate(frames) if frame in damaged]] = np.nan
        return values
