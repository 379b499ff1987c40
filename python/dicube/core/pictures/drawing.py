"""Pictures of a volume: its middle planes, and a contact sheet of its slices.

Reads little: a coarse level where the file has one, and no more slices than a picture has rows.
Pictures are turned as radiologists look at them: the head or the front of the patient is up, the
patient's right is at the left. Must not know how frames are stored, or what is made of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.core.pictures.files import labelled, scaled
from dicube.core.pictures.thumbnail import Source, shrunk, smallest_level
from dicube.core.pictures.windowing import Shades, Values, in_bytes, shades_of_slice
from dicube.dicom.metadata.slice_order import normal_of, orientations, positions
from dicube.dicom.series.colours import has_palette, in_rgb
from dicube.dicom.series.geometry import Grid, grid_of_space, grid_or_reason, voxel_size
from dicube.dicom.series.vendors import is_mosaic
from dicube.dicom.series.volumes import series_volumes
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.series.precedence import Window

# What a batch of slices may take while planes are cut from it; a batch has at least one.
_BATCH_BYTES = 64 << 20
# What is read for planes if there are no levels, unless slices are so large that too few would do.
_MOST_SAMPLES, _LEAST_SLICES = 1 << 24, 32
_MOST_SIDE = 4096  # pixels
_GAP = 2  # pixels between the pictures of a sheet
_LEAST_WITH_LABELS = 48  # pixels

_SLICE, _ROW, _COLUMN = range(3)  # axes of a volume
_LEFT, _BACK, _UP = range(3)  # axes of the patient (LPS)
# Which axes of the patient run down and to the right in the picture of a plane, and which way.
_SHOWN = {
    "axial": ((_BACK, 1), (_LEFT, 1)),
    "coronal": ((_UP, -1), (_LEFT, 1)),
    "sagittal": ((_UP, -1), (_BACK, 1)),
}
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # at the low and high end of each axis


@dataclass(frozen=True)
class Picture:
    """A plane of a volume.

    Attributes:
        name: axial, coronal or sagittal; without geometry slice, row or column.
        index: of the plane, among the slices, rows or columns of the file.
        pixels: uint8, (rows, columns), or (rows, columns, 3) for colour.
        spacing: from row to row, and from column to column, in mm; both above 0.
        ends: letters of the patient's sides at the top, bottom, left and right; '' if unknown.
    """

    name: str
    index: int
    pixels: NDArray[np.uint8]
    spacing: tuple[float, float]
    ends: tuple[str, str, str, str] = ("", "", "", "")

    @property
    def size(self) -> tuple[float, float]:
        """Height and width in mm."""
        return self.spacing[0] * self.pixels.shape[0], self.spacing[1] * self.pixels.shape[1]

    def square(self, mm: float, label: bool = False) -> NDArray[np.uint8]:
        """Return the picture with square pixels of a size in mm.

        Args:
            mm: the size of a pixel.
            label: write the index and the letters at its edges, where there is room.

        Returns:
            uint8, (rows, columns), or (rows, columns, 3) for colour.

        Raises:
            MissingPackageError: Pillow is not installed.
        """
        rows, columns = (min(max(round(size / mm), 1), _MOST_SIDE) for size in self.size)
        pixels = scaled(self.pixels, rows, columns)
        if not label or min(rows, columns) < _LEAST_WITH_LABELS:
            return pixels
        top, bottom, left, right = self.ends
        places = ((0, 0.5, top), (1, 0.5, bottom), (0.5, 0, left), (0.5, 1, right))
        return labelled(pixels, [(0, 0, str(self.index)), *(p for p in places if p[2])])


class Stack(NamedTuple):
    """The slices of one volume, in their order, and where they are.

    Attributes:
        frames: their numbers.
        grid: of the volume at the cube's level; None if its place isn't known.
        spacing: from slice to slice, row to row, column to column; in mm.
    """

    frames: Sequence[int]
    grid: Grid | None
    spacing: tuple[float, float, float]


def stack_of(cube: Source) -> Stack:
    """Return the slices of the only volume of a cube, or of its largest one."""
    meta, space = cube.dicom_meta, cube.space
    frames: Sequence[int] = range(cube.shape[0])
    if space is not None:
        return _stack(frames, grid_of_space(space))
    if meta is None or is_mosaic(meta):
        return Stack(frames, None, (1.0, 1.0, 1.0))
    split = series_volumes(meta)
    if split is not None:
        frames = max(split.slices, key=len)
    return _stack_of_slices(cube, meta.select(frames), frames)


def mid_planes(
    cube: Source, side: int, window: Window | None = None, level: int | None = None
) -> list[Picture]:
    """Return the planes through the middle of a volume: axial, coronal and sagittal.

    All are shown as the middle slice is. Of oblique slices the planes are those nearest to the
    patient's. Without geometry the planes are named slice, row and column, and not turned. Of a
    single slice, and of mosaics, only that slice is shown.

    Args:
        cube: the volume.
        side: about how many rows and columns the pictures need; some may have more.
        window: of grey values; None for that of the middle slice.
        level: resolution level to read; None for the smallest with enough rows and columns.

    Raises:
        DataConsistencyError: the file does not have the level.
        DicomCubeError: the slices can't be decoded, or their colours can't be converted.
    """
    stack, meta = stack_of(cube), cube.dicom_meta
    middle = len(stack.frames) // 2
    is_stack = len(stack.frames) > 1 and not (meta is not None and is_mosaic(meta))
    every = _thinning(cube, len(stack.frames), side) if is_stack else len(stack.frames)
    places = range(middle % every, len(stack.frames), every)
    frames = [stack.frames[place] for place in places]
    index = stack.frames[middle]
    source = _level_for(cube, index, side, level)
    row, column = source.shape[1] // 2, source.shape[2] // 2
    cuts: tuple[list[Values], ...] = ([], [], [])
    in_colour = is_in_colour(source, index)
    shades = None if in_colour else shades_for(source, index, window)
    for first, block in values_in_batches(source, frames, in_colour):
        if index in frames[first : first + len(block)]:
            # A copy, because the block is large.
            cuts[_SLICE].append(block[frames.index(index) - first].copy())
        cuts[_ROW].append(block[:, row].copy())
        cuts[_COLUMN].append(block[:, :, column].copy())
    planes = [cuts[_SLICE][0]]
    if is_stack:
        planes += [np.concatenate(cuts[_ROW]), np.concatenate(cuts[_COLUMN])]
    among = np.concatenate([plane.reshape(-1) for plane in planes])
    factor = 1 << (source.level - cube.level)
    spacing = stack.spacing[0] * every, stack.spacing[1] * factor, stack.spacing[2] * factor
    indices = index, row * factor, column * factor
    pictures = [
        _turned(_drawn(plane, shades, among), axis, indices[axis], stack.grid, spacing)
        for axis, plane in enumerate(planes)
    ]
    return sorted(pictures, key=lambda one: [*_SHOWN, one.name].index(one.name))


def spread_slices(
    cube: Source,
    count: int,
    side: int,
    window: Window | None = None,
    level: int | None = None,
) -> list[Picture]:
    """Return slices at equal distances through a file, each shown by its own window.

    Without windows and VOI LUTs, the range of values in all of them is shown.

    Args:
        cube: the volume.
        count: how many; all if there are fewer.
        side: the rows and columns that the pictures need.
        window: of grey values; None for that of each slice.
        level: resolution level to read; None for the smallest with enough rows and columns.

    Raises:
        DataConsistencyError: the file does not have the level.
        DicomCubeError: a slice can't be decoded, or its colours can't be converted.
    """
    stack, meta = stack_of(cube), cube.dicom_meta
    frames: Sequence[int] = stack.frames
    if len(frames) < cube.shape[0]:
        frames = range(cube.shape[0])
    count = min(count, len(frames))
    frames = [frames[(2 * n + 1) * len(frames) // (2 * count)] for n in range(count)]
    slices: list[tuple[Shades | None, Values, tuple[float, float]]] = []
    for frame in frames:
        source = _level_for(cube, frame, side, level)
        in_colour = is_in_colour(source, frame)
        shades = None if in_colour else shades_for(source, frame, window)
        ((_, block),) = values_in_batches(source, [frame], in_colour)
        rows, columns = (min(size, 2 * side) for size in block.shape[1:3])
        small = shrunk(shrunk(block[0], rows, 0), columns, 1)
        scales = cube.shape[1] / rows, cube.shape[2] / columns
        slices.append((shades, small, scales))
    among = np.concatenate([values.reshape(-1) for _, values, _ in slices])
    stacks = [stack] * count
    if meta is not None and len(stack.frames) < cube.shape[0]:
        stacks = [_stack_of_slices(cube, meta.select([frame]), [frame]) for frame in frames]
    return [
        _turned(
            _drawn(values, shades, among),
            _SLICE,
            frame,
            one.grid,
            (one.spacing[0], one.spacing[1] * down, one.spacing[2] * across),
        )
        for frame, one, (shades, values, (down, across)) in zip(frames, stacks, slices, strict=True)
    ]


def contact_sheet(
    cube: Source,
    *,
    count: int = 20,
    window: Window | None = None,
    level: int | None = None,
    width: int = 1000,
) -> NDArray[np.uint8]:
    """Return one picture of a volume: its middle planes, and slices in rows of five below.

    Letters at the edges are the patient's sides (R, L, A, P, H, F), numbers those of the slices.

    Args:
        cube: the volume.
        count: how many slices to show; 0 for the planes alone.
        window: of grey values; None for those of the metadata.
        level: resolution level to read; None for the smallest with enough rows and columns.
        width: of the picture, in pixels.

    Returns:
        uint8, (rows, columns, 3).

    Raises:
        DataConsistencyError: the file does not have the level.
        DicomCubeError: the slices can't be decoded, or their colours can't be converted.
        MissingPackageError: Pillow is not installed.
    """
    across = 5
    planes = mid_planes(cube, width // 3, window, level)
    rows = [_row_of(planes, 3, width)]
    slices = spread_slices(cube, count, width // across, window, level) if count else []
    firsts = range(0, len(slices), across)
    rows += [_row_of(slices[first : first + across], across, width) for first in firsts]
    return np.concatenate(rows)


def common_scale(pictures: Sequence[Picture], side: int) -> float:
    """Return the size of a pixel in mm at which no picture is larger than so many pixels."""
    return max(max(picture.size) for picture in pictures) / side


def _row_of(pictures: Sequence[Picture], across: int, width: int) -> NDArray[np.uint8]:
    """Return pictures beside each other, in cells of equal width; black around them."""
    cell = width // across
    mm = common_scale(pictures, cell - 2 * _GAP)
    tiles = [picture.square(mm, label=True) for picture in pictures]
    height = max(len(tile) for tile in tiles)
    row = np.zeros((height + 2 * _GAP, width, 3), np.uint8)
    for place, tile in enumerate(tiles):
        tile = tile if tile.ndim == 3 else tile[..., None]
        top = (len(row) - tile.shape[0]) // 2
        left = place * cell + (cell - tile.shape[1]) // 2
        row[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return row


# --------------------------------------------------------------------------------------- values


def is_in_colour(cube: Source, index: int) -> bool:
    """Return whether a slice is in colour, stored values of a palette included."""
    meta = cube.dicom_meta
    return len(cube.shape) == 4 or (meta is not None and has_palette(meta.select([index])))


def values_in_batches(
    cube: Source, frames: Sequence[int], in_colour: bool
) -> Iterator[tuple[int, Values]]:
    """Yield values of slices, a few slices at a time, so that no more need be held.

    Args:
        cube: the volume.
        frames: the slices.
        in_colour: whether they are in colour.

    Yields:
        The place of the first slice among `frames`; and float64, (slices, rows, columns): real
        values, or stored ones if several mappings to real values are defined and none is chosen;
        or colours from 0 to 1, (slices, rows, columns, 3).
    """
    size = math.prod(cube.shape[1:]) * np.dtype(np.float64).itemsize
    batch = max(_BATCH_BYTES // max(size, 1), 1)
    take = _colours if in_colour else _greys
    for first in range(0, len(frames), batch):
        yield first, take(cube, list(frames[first : first + batch]))


def _greys(cube: Source, frames: list[int]) -> Values:
    try:
        values: Values = cube.get_fdata(frames, "float64")
    except DataConsistencyError:  # several mappings to real values
        values = cube[frames].astype(np.float64)
    return values


def _colours(cube: Source, frames: list[int]) -> Values:
    """Return colours from 0 to 1."""
    meta = cube.dicom_meta
    colours = in_rgb(cube[frames], None if meta is None else meta.select(frames))
    most = np.iinfo(colours.dtype).max if colours.dtype.kind in "iu" else 1
    return np.clip(np.asarray(colours / most), 0, 1)


def shades_for(cube: Source, index: int, window: Window | None = None) -> Shades:
    """Return how the grey values of slices are shown: as those of one slice are.

    Args:
        cube: the volume.
        index: of the slice.
        window: of grey values; None for that of the slice.
    """
    shades = shades_of_slice(cube.dicom_meta, cube.pixel_header, index, window)
    try:
        cube.get_fdata([], "float64")
    except DataConsistencyError:  # several mappings: stored values are shown, not what it is for
        return replace(shades, window=window, table=None)
    return shades


def _drawn(values: Values, shades: Shades | None, among: Values) -> NDArray[np.uint8]:
    """Return values as bytes; those without shades are colours."""
    return in_bytes(values if shades is None else shades(values, among))


def _thinning(cube: Source, slices: int, side: int) -> int:
    """Return n, where each n-th slice is enough for planes across the slices."""
    most = max(side, 1)
    if not cube.levels:  # frames are decoded whole
        fitting = _MOST_SAMPLES // math.prod(cube.shape[1:])
        most = min(most, max(fitting, _LEAST_SLICES))
    return -(-slices // most)


def _level_for(cube: Source, index: int, side: int, level: int | None) -> Source:
    """Return the level wanted, or the smallest with so many rows or columns, or all there are."""
    if level is not None:
        return cube.at_level(level)
    meta = cube.dicom_meta
    # Averages of a palette's indices mean nothing.
    if meta is not None and has_palette(meta.select([index])):
        return cube
    size = cube.shape[1:3]
    rows, columns = (-(-n * min(side, max(size)) // max(size)) for n in size)
    return smallest_level(cube, index, rows, columns)


# ------------------------------------------------------------------------------------- geometry


def _stack_of_slices(cube: Source, meta: DicomMeta, frames: Sequence[int]) -> Stack:
    """Return the stack of some slices, which have these metadata.

    The grid of uneven slices is one that has their orientation and order.
    """
    factor = 1 << cube.level  # the metadata describe level 0
    grid = grid_or_reason(meta)[0]
    if grid is not None and cube.shape[1:3] == tuple(-(-n // factor) for n in grid.shape[1::-1]):
        return _stack(frames, replace(grid, spacing=grid.spacing * (factor, factor, 1)))
    x, y, z = voxel_size(meta)[0]
    size = x, y, z = x * factor, y * factor, z
    orientation, places = orientations(meta)[0], positions(meta)
    normal = None if orientation is None else normal_of(orientation)
    if orientation is None or normal is None:
        return Stack(frames, None, _sound((z, y, x)))
    first, last = places[0], places[-1]
    if first is not None and last is not None and np.subtract(last, first) @ normal < 0:
        normal = -normal
    axes = np.array([orientation[:3], orientation[3:], normal])
    origin = np.zeros(3) if first is None else np.array(first)
    shape = cube.shape[2], cube.shape[1], len(frames)
    return _stack(frames, Grid(shape, origin, np.array(size), axes))


def _stack(frames: Sequence[int], grid: Grid) -> Stack:
    x, y, z = grid.spacing.tolist()
    return Stack(frames, grid, _sound((z, y, x)))


def _sound(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a spacing that pictures can be drawn with: 1 in place of impossible ones.

    Where one is a thousand times another, which no scanner makes, all are 1.
    """
    z, y, x = (size if 0 < size < math.inf else 1.0 for size in spacing)
    return (z, y, x) if max(z, y, x) / min(z, y, x) <= 1000 else (1.0, 1.0, 1.0)


def _turned(
    pixels: NDArray[np.uint8],
    axis: int,
    index: int,
    grid: Grid | None,
    spacing: tuple[float, float, float],
) -> Picture:
    """Return the picture of a plane, turned as it is looked at.

    Args:
        pixels: of the plane; their axes are the volume's without `axis`.
        axis: of the volume, on which the plane stands.
        index: of the plane on this axis.
        grid: of the volume; None to turn nothing.
        spacing: of the pixels: from slice to slice, row to row, column to column.
    """
    down, across = (one for one in (_SLICE, _ROW, _COLUMN) if one != axis)
    sizes = spacing[down], spacing[across]
    if grid is None:
        return Picture(("slice", "row", "column")[axis], index, pixels, sizes)
    sides = _sides_of(grid)
    name = next(
        name
        for name, shown in _SHOWN.items()
        if {side for side, _ in shown} == {sides[down][0], sides[across][0]}
    )
    wanted = _SHOWN[name]
    if sides[down][0] != wanted[0][0]:
        pixels, (down, across), sizes = pixels.swapaxes(0, 1), (across, down), sizes[::-1]
    ends: list[str] = []
    for place, one in enumerate((down, across)):
        (side, sign), direction = sides[one], wanted[place][1]
        if sign != direction:
            pixels = np.flip(pixels, place)
        ends += _LETTERS[side][::direction]
    top, bottom, left, right = ends
    return Picture(name, index, pixels, sizes, (top, bottom, left, right))


def _sides_of(grid: Grid) -> list[tuple[int, int]]:
    """Return the patient's axis nearest to each axis of a volume, and 1 or -1: its direction."""
    cosines = grid.axes[::-1]  # slices, rows, columns

    def fit(order: tuple[int, ...]) -> float:
        return float(sum(abs(cosines[axis, side]) for axis, side in enumerate(order)))

    best = max(permutations(range(3)), key=fit)
    return [(side, -1 if cosines[axis, side] < 0 else 1) for axis, side in enumerate(best)]
