"""Make 8-bit pictures of slices of a cube: a slice by a window, or a small one of the middle slice.

Must not know how values are shown, or how frames are stored.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dicube.core.pictures.windowing import Values, in_bytes, shades_of_slice, stretched
from dicube.dicom.series.colours import has_palette, in_rgb
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.series.geometry import Space
    from dicube.dicom.series.precedence import Window
    from dicube.pixel_header import PixelDataHeader


class Source(Protocol):
    """What a cube must have; see `Cube`."""

    shape: tuple[int, ...]
    level: int

    @property
    def levels(self) -> int:
        """The highest resolution level."""

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata."""

    @property
    def pixel_header(self) -> PixelDataHeader:
        """Rescale and window."""

    @property
    def space(self) -> Space | None:
        """The geometry."""

    def at_level(self, level: int) -> Source:
        """Return the same at a lower resolution."""

    def get_fdata(self, index: Any, dtype: str) -> Any:
        """Return real values."""

    def __getitem__(self, index: Any) -> Any:
        """Return stored values."""


def thumbnail(cube: Source, side: int) -> NDArray[np.uint8]:
    """Return the middle slice as a picture; see `Cube.thumbnail`."""
    if side < 1:
        raise DataConsistencyError(f"expected a side of at least 1 pixel, found {side}")
    middle, meta = cube.shape[0] // 2, cube.dicom_meta
    part = None if meta is None else meta.select([middle])
    rows, columns = _picture_shape(cube, side)
    # Averages of a palette's indices mean nothing.
    if not has_palette(part):
        cube = smallest_level(cube, middle, rows, columns)
    shown = _shown(cube, middle, part, None)
    return in_bytes(shrunk(shrunk(shown, rows, 0), columns, 1))


def picture(cube: Source, index: int, window: Window | None = None) -> NDArray[np.uint8]:
    """Return a slice as viewers show it; see `Cube.thumbnail`.

    Args:
        cube: the cube.
        index: of the slice.
        window: of grey values; None for the slice's own.

    Returns:
        uint8, (rows, columns), or (rows, columns, 3) for colour.

    Raises:
        DataConsistencyError: the colours can't be converted to RGB.
    """
    meta = cube.dicom_meta
    part = None if meta is None else meta.select([index])
    return in_bytes(_shown(cube, index, part, window))


def _shown(cube: Source, index: int, meta: DicomMeta | None, window: Window | None) -> Values:
    """Return a slice, which has these metadata, as grey values or colours from 0 to 1."""
    if len(cube.shape) == 4 or has_palette(meta):
        return _colours(cube, index, meta)
    return _greys(cube, index, meta, window)


def _picture_shape(cube: Source, side: int) -> tuple[int, int]:
    """Return rows and columns of a picture with square pixels, none smaller than the cube's."""
    _, rows, columns = cube.shape[:3]
    tall = 1.0  # height of a pixel, whose width is 1
    if cube.space is not None:
        tall = cube.space.spacing[1] / cube.space.spacing[2]
    if not 0 < tall < math.inf:
        tall = 1.0
    pixel = max(tall, 1.0, rows * tall / side, columns / side)
    return max(round(rows * tall / pixel), 1), max(round(columns / pixel), 1)


def smallest_level(cube: Source, index: int, rows: int, columns: int) -> Source:
    """Return the smallest level of a slice with at least so many rows and columns."""
    for level in range(cube.levels, cube.level, -1):
        smaller = cube.at_level(level)
        if smaller.shape[1] >= rows and smaller.shape[2] >= columns:
            try:
                smaller[index, :1, :1]
            except DataConsistencyError:  # this slice has fewer levels than the first
                continue
            return smaller
    return cube


def _colours(cube: Source, index: int, meta: DicomMeta | None) -> Values:
    """Return a slice as RGB from 0 to 1."""
    colours: NDArray[Any] = in_rgb(cube[index : index + 1], meta)[0]
    if colours.dtype == np.uint8:
        return colours.astype(np.float64) / 255
    return stretched(colours.astype(np.float64))


def _greys(cube: Source, index: int, meta: DicomMeta | None, window: Window | None) -> Values:
    """Return a slice as grey values from 0, black, to 1, white."""
    shades = shades_of_slice(cube.dicom_meta, cube.pixel_header, index, window)
    try:
        return shades(cube.get_fdata(index, "float64"))
    except DataConsistencyError:  # several mappings to real values
        return replace(shades, window=window, table=None)(cube[index].astype(np.float64))


def shrunk(values: Values, size: int, axis: int) -> Values:
    """Average neighbours along an axis, so that `size` are left."""
    count = values.shape[axis]
    starts = np.arange(size) * count // size
    sums = np.add.reduceat(values, starts, axis)
    shape = [1] * values.ndim
    shape[axis] = size
    shrunk: Values = sums / np.diff(starts, append=count).reshape(shape)
    return shrunk
