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

from dicube.core.picture_files import labelled, scaled
from dicube.core.thumbnail import Source, shrunk, smallest_level
from dicube.core.windowing import Values, in_bytes, shades_of_slice
from dicube.dicom.series.colours import has_palette, in_rgb
from dicube.dicom.series.geometry import Grid, grid_of_space, grid_or_reason, voxel_size
from dicube.dicom.series.vendors import is_mosaic
from dicube.dicom.series.volumes import series_volumes
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from dicube.dicom.series.precedence import Window

# What a batch of slices may take while planes are cut from it; a batch has at least one.
_BATCH_BYTES = 64 << 20
_MOST_SIDE = 4096  # pixels
_GAP = 2  # pixels between the pictures of a sheet

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
        """Return the picture with square pixels of a size in mm, and with letters if wanted.

        Raises:
            MissingPackageError: Pillow is not installed.
        """
        rows, columns = (min(max(round(size / mm), 1), _MOST_SIDE) for size in self.size)
        pixels = scaled(self.pixels, rows, columns)
        if not label:
            return pixels
        top, bottom, left, right = self.ends
        places = ((0, 0.5, top), (1, 0.5, bottom), (0.5, 0, left), (0.5, 1, right))
        return labelled(pixels, [(0, 0, str(self.index)), *(p for p in places if p[2])])


class Stack(NamedTuple):
    """The slices of one volume, in their order, and where they are.

    Attributes:
        frames: their numbers.
        grid: of the volume; None if its place isn't known.
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
        return _stack(frames, grid_of_space(space), cube)
    if meta is None or is_mosaic(meta):
        return Stack(frames, None, (1.0, 1.0, 1.0))
    split = series_volumes(meta)
    if split is not None:
        frames = max(split.slices, key=len)
        meta = meta.select(frames)
    grid = grid_or_reason(meta)[0]
    if grid is not None and cube.shape[1:3] == grid.shape[1::-1]:
        return _stack(frames, grid, cube)
    x, y, z = voxel_size(meta)[0]
    return Stack(frames, None, _sound((z, y, x)))


def mid_planes(cube: Source, side: int, window: Window | None = None) -> list[Picture]:
    """Return the planes through the middle of a volume: axial, coronal and sagittal.

    All are shown as the middle slice is. Of oblique slices the planes are those nearest to the
    patient's. Without geometry the planes are named slice, row and column, and not turned. Of a
    single slice, and of mosaics, only that slice is shown.

    Args:
        cube: the volume.
        side: about how many rows and columns the pictures need; some may have more.
        window: of grey values; None for that of the middle slice.

    Raises:
        DicomCubeError: the slices can't be decoded, or their colours can't be converted.
    """
    stack, meta = stack_of(cube), cube.dicom_meta
    middle = len(stack.frames) // 2
    is_stack = len(stack.frames) > 1 and not (meta is not None and is_mosaic(meta))
    every = max(len(stack.frames) // max(side, 1), 1) if is_stack else len(stack.frames)
    places = range(middle % every, len(stack.frames), every)
    frames = [stack.frames[place] for place in places]
    index = stack.frames[middle]
    source = _level_for(cube, index, side)
    row, column = source.shape[1] // 2, source.shape[2] // 2
    cuts: tuple[list[Values], ...] = ([], [], [])
    shown = _Shown(source, index, window)
    for first, block in shown.blocks(frames):
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
        _turned(shown.pixels(plane, among), axis, indices[axis], stack.grid, spacing)
        for axis, plane in enumerate(planes)
    ]
    return sorted(pictures, key=lambda one: [*_SHOWN, one.name].index(one.name))


def spread_slices(
    cube: Source, count: int, side: int, window: Window | None = None
) -> list[Picture]:
    """Return slices at equal distances through a volume, each shown by its own window.

    Without windows and VOI LUTs, the range of values in all of them is shown.

    Args:
        cube: the volume.
        count: how many; all if there are fewer.
        side: the rows and columns that the pictures need.
        window: of grey values; None for that of each slice.

    Raises:
        DicomCubeError: a slice can't be decoded, or its colours can't be converted.
    """
    stack = stack_of(cube)
    count = min(count, len(stack.frames))
    frames = [stack.frames[(2 * n + 1) * len(stack.frames) // (2 * count)] for n in range(count)]
    slices: list[tuple[_Shown, Values, tuple[float, float]]] = []
    for frame in frames:
        source = _level_for(cube, frame, side)
        shown = _Shown(source, frame, window)
        ((_, block),) = shown.blocks([frame])
        rows, columns = (min(size, 2 * side) for size in block.shape[1:3])
        small = shrunk(shrunk(block[0], rows, 0), columns, 1)
        scales = cube.shape[1] / rows, cube.shape[2] / columns
        slices.append((shown, small, scales))
    among = np.concatenate([values.reshape(-1) for _, values, _ in slices])
    return [
        _turned(
            shown.pixels(values, among),
            _SLICE,
            frame,
            stack.grid,
            (stack.spacing[0], stack.spacing[1] * down, stack.spacing[2] * across),
        )
        for frame, (shown, values, (down, across)) in zip(frames, slices, strict=True)
    ]


def contact_sheet(
    cube: Source,
    *,
    count: int = 20,
    window: Window | None = None,
    width: int = 1000,
) -> NDArray[np.uint8]:
    """Return one picture of a volume: its middle planes, and slices in rows of five below.

    Letters at the edges are the patient's sides (R, L, A, P, H, F), numbers those of the slices.

    Args:
        cube: the volume.
        count: how many slices to show; 0 for the planes alone.
        window: of grey values; None for those of the metadata.
        width: of the picture, in pixels.

    Returns:
        uint8, (rows, columns, 3).

    Raises:
        DicomCubeError: the slices can't be decoded, or their colours can't be converted.
        MissingPackageError: Pillow is not installed.
    """
    across = 5
    planes = mid_planes(cube, width // 3, window)
    rows = [_row_of(planes, 3, width)]
    slices = spread_slices(cube, count, width // across, window) if count else []
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
        top = (len(row) - tile.shape[0]) // 2
        left = place * cell + (cell - tile.shape[1]) // 2
        row[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return row


# --------------------------------------------------------------------------------------- values


class _Shown:
    """Values of slices, and how they are shown.

    Args:
        cube: the volume at the level to read.
        index: of the slice whose window counts.
        window: of grey values; None for that of the slice.
    """

    def __init__(self, cube: Source, index: int, window: Window | None) -> None:
        self._cube = cube
        meta = cube.dicom_meta
        self._is_colour = len(cube.shape) == 4 or (
            meta is not None and has_palette(meta.select([index]))
        )
        self._window = window
        self._shades = shades_of_slice(meta, cube.pixel_header, index, window)

    def blocks(self, frames: Sequence[int]) -> Iterator[tuple[int, Values]]:
        """Yield the values of slices, real values or colours, a few slices at a time."""
        size = math.prod(self._cube.shape[1:]) * np.dtype(np.float64).itemsize
        batch = max(_BATCH_BYTES // max(size, 1), 1)
        take = self._colours if self._is_colour else self._greys
        for first in range(0, len(frames), batch):
            yield first, take(list(frames[first : first + batch]))

    def pixels(self, values: Values, among: Values) -> NDArray[np.uint8]:
        """Return values as they are shown: bytes."""
        return in_bytes(np.clip(values, 0, 1) if self._is_colour else self._shades(values, among))

    def _greys(self, frames: list[int]) -> Values:
        try:
            values: Values = self._cube.get_fdata(frames, "float64")
        except DataConsistencyError:  # several mappings to real values
            self._shades = replace(self._shades, window=self._window, table=None)
            values = self._cube[frames].astype(np.float64)
        return values

    def _colours(self, frames: list[int]) -> Values:
        """Return colours from 0 to 1."""
        meta = self._cube.dicom_meta
        colours = in_rgb(self._cube[frames], None if meta is None else meta.select(frames))
        most = np.iinfo(colours.dtype).max if colours.dtype.kind in "iu" else 1
        return np.asarray(colours / most)


def _level_for(cube: Source, index: int, side: int) -> Source:
    """Return the smallest level with at least so many rows and columns, or all there are."""
    meta = cube.dicom_meta
    # Averages of a palette's indices mean nothing.
    if meta is not None and has_palette(meta.select([index])):
        return cube
    return smallest_level(cube, index, min(side, cube.shape[1]), min(side, cube.shape[2]))


# ------------------------------------------------------------------------------------- geometry


def _stack(frames: Sequence[int], grid: Grid, cube: Source) -> Stack:
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
