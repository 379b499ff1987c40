"""The volumes of a cube as one array that decodes what is indexed.

For xarray, nibabel and napari. Must not know any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube import Cube
from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.layout import Layout, layout_of
from dicube.core.nifti_image import shown_samples
from dicube.core.slice_values import bits_of_slices
from dicube.core.volume import check_real_values
from dicube.dicom.series.colours import has_palette
from dicube.storage.pixel_utils import float_for

_ALL = slice(None)


class LazyVolumes:
    """An array that decodes what is read, with the values of `Cube.to_xarray`.

    Many threads may use it at once, and it can be pickled, as a cube can.

    Attributes:
        cube: that is read.
        shape: ([…, volume,] slice, row, column[, sample]).
        dtype: of its values.
        chunks: the shape of the part that a frame holds.
    """

    def __init__(
        self,
        cube: Cube,
        layout: Layout,
        samples: tuple[int, ...],
        dtype: np.dtype[Any],
        real: bool,
        as_stored: bool,
    ) -> None:
        """Take what `lazy_volumes` found.

        Args:
            cube: to read.
            layout: of its volumes.
            samples: the shape of a pixel.
            dtype: of the values.
            real: whether these are real values.
            as_stored: whether they are the stored ones unless they are real.
        """
        self.cube, self.dtype = cube, dtype
        self.shape: tuple[int, ...] = (*layout.array_shape, *samples)
        self._layout = layout._replace(grid=None, meta=None)  # less to pickle
        self._real, self._as_stored = real, as_stored
        self._slice_axes = len(layout.array_shape) - 2
        slices = layout.shape[2] if layout.tiles else 1
        of_pixels = self.shape[self._slice_axes :]
        self.chunks: tuple[int, ...] = (*(1,) * (self._slice_axes - 1), slices, *of_pixels)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def read(self, key: Sequence[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return a part of the volumes.

        Args:
            key: for each axis an integer, a slice or a list of integers, which count for this axis
                alone. So several lists make a grid, unlike in numpy.
            dtype: to round real values to, once: float16, float32 or float64; None for `dtype`.
                Stored values and colours keep their type.

        Raises:
            IndexError: an integer is out of bounds.
            DataConsistencyError: 64-bit integers that no float holds, or colours that can't be
                converted.
            InvalidCubeFileError, CodecError: see `Cube.read`.
        """
        kind = np.dtype((self._real and dtype) or self.dtype)
        pairs = [*zip(key, self.shape, strict=True)]
        # Of a size that the file only claims, not even the numbers below are made.
        found = self.cube._reader.new_array(tuple(_count(i, n) for i, n in pairs), kind)
        if found.size:
            found = self._grid([_numbers(i, n) for i, n in pairs], kind)
        return found[tuple(0 if isinstance(i, (int, np.integer)) else _ALL for i in key)]

    def at_level(self, level: int) -> LazyVolumes:
        """Return the same volumes at a resolution level; see `Cube.at_level`. Not of mosaics.

        Raises:
            DataConsistencyError: the file does not have the level.
        """
        cube = self.cube.at_level(level)
        rows, columns, *samples = cube.shape[1:3] + self.shape[self._slice_axes + 2 :]
        layout = self._layout._replace(shape=(columns, rows, *self._layout.shape[2:]))
        return LazyVolumes(cube, layout, tuple(samples), self.dtype, self._real, self._as_stored)

    def _grid(self, picked: list[NDArray[np.intp]], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return what is at the given numbers of each axis."""
        of_slices, of_pixels = picked[: self._slice_axes], picked[self._slice_axes :]
        sizes = self.shape[: self._slice_axes]
        slices = np.ravel_multi_index(np.ix_(*of_slices), sizes)
        parts = [slice(numbers.min(), numbers.max() + 1) for numbers in of_pixels[:2]]
        found = self._slices(slices.ravel(), parts[0], parts[1], dtype)
        for axis, numbers in enumerate(of_pixels, 1):
            inner = numbers - numbers.min() if axis < 3 else numbers
            if not np.array_equal(inner, np.arange(found.shape[axis])):
                found = found.take(inner, axis)
        return found.reshape(*slices.shape, *found.shape[1:])

    def _slices(
        self, slices: NDArray[np.intp], rows: slice, columns: slice, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return a region of slices, numbered volume after volume, as (slice, row, column[, 3])."""
        if self._layout.tiles is None:
            order = self._layout.order
            frames = slices if order is None else np.asarray(order)[slices]
            return self._frames(frames, rows, columns, dtype)
        count = self._layout.shape[2]
        frames, places = np.unique(slices // count, return_inverse=True)
        tiles = self._layout.arranged(self._frames(frames, _ALL, _ALL, dtype))
        return tiles[places * count + slices % count, rows, columns]

    def _frames(
        self, frames: NDArray[np.intp], rows: slice, columns: slice, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return a region of stored frames, as they are shown."""
        cube, index = self.cube, (frames, rows, columns)
        if self._real:
            check_real_values(cube.dtype, lambda: cube[index])
            values: NDArray[Any] = cube.get_fdata(index, dtype)
            return values
        if self._as_stored:
            stored: NDArray[Any] = cube[index]
            return stored
        numbers, places = np.unique(frames, return_inverse=True)
        parts = cube._all_parts()
        if parts.meta is not None:
            parts = parts._replace(meta=parts.meta.select(numbers.tolist()))
        return shown_samples(cube[numbers, rows, columns], parts)[places]


def _count(item: Any, size: int) -> int:
    """Return how many numbers an item takes along an axis."""
    return len(range(*item.indices(size))) if isinstance(item, slice) else int(np.size(item))


def _numbers(item: Any, size: int) -> NDArray[np.intp]:
    """Return the numbers that an item takes along an axis."""
    if isinstance(item, slice):
        return np.arange(*item.indices(size))
    numbers = np.atleast_1d(np.asarray(item))
    if numbers.dtype.kind not in "iu" or (numbers < -size).any() or (numbers >= size).any():
        raise IndexError(f"expected integers of {-size} to {size - 1}, found {item}")
    return numbers.astype(np.intp) % size


class LazyCube(NamedTuple):
    """The volumes of a cube, and what describes them.

    Attributes:
        array: of the values.
        layout: how the slices form volumes.
        parts: of the cube.
    """

    array: LazyVolumes
    layout: Layout
    parts: CubeParts


def lazy_volumes(cube: Cube, real: bool = True) -> LazyCube:
    """Return the volumes of a cube, without decoding any.

    Args:
        cube: to read from; it must stay open.
        real: see `Cube.to_xarray`.

    Raises:
        DataConsistencyError: the volumes of a series differ in shape or position, or its colours
            can't be converted.

    Warns:
        UserWarning: see `Cube.to_xarray`.
    """
    parts = cube._all_parts()
    pixels = shown_samples(np.zeros((len(cube), 1, 1, *cube.shape[3:]), cube.dtype), parts)
    layout = layout_of((*cube.shape[:3], *pixels.shape[3:]), parts)
    cube._reader.new_array((sum(layout.shape),), np.float64)  # as large as coordinates
    real = real and cube.ndim == 3 and not has_palette(parts.meta)
    as_stored = pixels.ndim == 3 and bits_of_slices(parts.meta, parts.header) is None
    dtype = float_for(cube.dtype) if real else pixels.dtype
    array = LazyVolumes(cube, layout, pixels.shape[3:], dtype, real, as_stored)
    return LazyCube(array, layout, parts)
