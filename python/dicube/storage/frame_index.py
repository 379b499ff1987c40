"""Translate a numpy index of a volume into the frames and the region of them that it needs.

The result has an index of those parts, too. numpy decides what an index means, by applying it to an
array that takes no memory. So every index that numpy accepts is accepted, and others raise numpy's
own error. Knows no file.

Rules: https://numpy.org/doc/stable/user/basics.indexing.html
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALL = slice(None)


class Region(NamedTuple):
    """A rectangle of a frame: its first row and column, and their numbers."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index of the region in a frame."""
        return (
            slice(self.row, self.row + self.rows),
            slice(self.column, self.column + self.columns),
        )


class FrameIndex(NamedTuple):
    """An index of a volume, translated to the part of it that it needs.

    Attributes:
        frames: the frames' numbers, in the order in which `items` expects them.
        region: what is needed of each frame.
        items: index of an array of those regions that gives the result.
        shape: of the result.
        frame_axis: the axis of the result along which the frames are; None if there is none, or if
            other indices run along it too.
    """

    frames: Sequence[int]
    region: Region
    items: tuple[Any, ...]
    shape: tuple[int, ...]
    frame_axis: int | None

    def is_whole(self, samples: tuple[int, ...]) -> bool:
        """Return whether the result is all samples of the regions, in any shape.

        Args:
            samples: the shape of a pixel.
        """
        pixels = len(self.frames) * self.region.rows * self.region.columns
        return (
            self.shape != ()  # which may have to become a scalar
            and math.prod(self.shape) == pixels * math.prod(samples)
            and not any(isinstance(item, np.ndarray) for item in self.items)
            and all(not isinstance(item, slice) or item == _ALL for item in self.items)
        )


def frame_index(index: Any, shape: tuple[int, ...]) -> FrameIndex:
    """Translate an index of a volume into an index of the part of it that is needed.

    Args:
        index: any index that an array of that shape accepts.
        shape: of the volume; frames are its first axis, rows and columns the next two.

    Raises:
        IndexError: numpy refuses the index.
    """
    result_shape = np.broadcast_to(np.uint8(0), shape)[index].shape
    given = [_plain(item) for item in (index if isinstance(index, tuple) else (index,))]
    frames, items, is_along_axis = _frames_of(given, shape)
    region, items = _region_of(items, shape)
    axis = None
    if is_along_axis:
        sides = region.rows, region.columns, *shape[3:]
        one, two = (_shape_of(items, (count, *sides)) for count in (1, 2))
        axis = next(axis for axis, size in enumerate(one) if size != two[axis])
    return FrameIndex(frames, region, items, result_shape, axis)


def _frames_of(
    items: list[Any], shape: tuple[int, ...]
) -> tuple[Sequence[int], tuple[Any, ...], bool]:
    """Return the frames that an index needs, and the index of an array of these frames.

    Returns:
        frames, index, and whether the index takes the same part of each frame along an axis of the
        result.
    """
    place = _place_of_first_axis(items, len(shape))
    if place is None:
        return range(shape[0]), (*items, Ellipsis), True
    item, others = items[place], items[:place] + items[place + 1 :]
    if item is Ellipsis:
        return range(shape[0]), tuple(items), True
    if isinstance(item, slice):
        items[place] = _ALL
        return range(*item.indices(shape[0])), tuple(items), True
    if isinstance(item, int) or item.ndim == 0:
        items[place] = 0 if isinstance(item, int) else np.zeros((), np.intp)
        return [int(item) % shape[0]], tuple(items), False
    if item.dtype == bool and item.ndim > 1:
        touched = item.reshape(len(item), -1).any(1).nonzero()[0]
        items[place] = item[touched]
        return touched.tolist(), tuple(items), False
    numbers = item.nonzero()[0] if item.dtype == bool else item.astype(np.intp) % shape[0]
    touched, places = np.unique(numbers, return_inverse=True)
    alone = all(other is None or other is Ellipsis or isinstance(other, slice) for other in others)
    if alone and numbers.ndim == 1 and len(touched) == len(numbers):
        items[place] = _ALL  # frames are read in the order requested
        return numbers.tolist(), tuple(items), True
    items[place] = places.reshape(numbers.shape)
    return touched.tolist(), tuple(items), False


def _region_of(items: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Region, tuple[Any, ...]]:
    """Return the region that contains all pixels that an index takes, and the index of it.

    Args:
        items: index of an array of frames.
        shape: of the array; only rows and columns count.
    """
    bounds = {1: (0, shape[1]), 2: (0, shape[2])}
    axis, found = 0, []
    for item in items:
        axes = len(shape) - sum(map(_axes_of, items)) if item is Ellipsis else _axes_of(item)
        for each in range(axis, axis + axes):
            if each in bounds and item is not Ellipsis:
                bounds[each], item = _bounded(item, each - axis, shape[each])
        axis += axes
        found.append(item)
    (top, bottom), (left, right) = bounds.values()
    return Region(top, left, bottom - top, right - left), tuple(found)


def _bounded(item: Any, axis: int, size: int) -> tuple[tuple[int, int], Any]:
    """Return the bounds of what an item takes, and the item for what lies within them.

    Bounds of nothing are those of the first element, because no region is empty.

    Args:
        item: of an index.
        axis: of the axes that the item indexes.
        size: of this axis.
    """
    if isinstance(item, int):
        return (item % size, item % size + 1), 0
    if isinstance(item, slice):
        places: Any = range(*item.indices(size))
        if not places:
            return (0, 1), slice(0, 0)
        step = None if places.step == 1 else places.step
        return (min(places), max(places) + 1), slice(None, None, step)
    if item.dtype == bool:
        places = item.any(tuple(each for each in range(item.ndim) if each != axis)).nonzero()[0]
    else:
        places = np.asarray(item.astype(np.intp) % size)
    first, end = (int(places.min()), int(places.max()) + 1) if places.size else (0, 1)
    if item.dtype == bool:
        return (first, end), item[(_ALL,) * axis + (slice(first, end),)]
    return (first, end), np.asarray(places - first)


def _plain(item: Any) -> Any:
    """Return an item of an index that numpy accepts: None, Ellipsis, a slice, int or array."""
    if item is None or item is Ellipsis or isinstance(item, (slice, np.ndarray)):
        return item
    if isinstance(item, (bool, np.bool_)):
        return np.array(item)
    try:
        return operator.index(item)
    except TypeError:
        array = np.asarray(item)
        return array if array.size else array.astype(np.intp)


def _place_of_first_axis(items: list[Any], axes: int) -> int | None:
    """Return the position of the item that indexes the first axis; None if none does."""
    taken = sum(map(_axes_of, items))
    for place, item in enumerate(items):
        if _axes_of(item) or (item is Ellipsis and taken < axes):
            return place
    return None


def _axes_of(item: Any) -> int:
    """Return how many axes an item indexes; 0 for Ellipsis."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype == bool else 1


def _shape_of(items: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    found: NDArray[Any] = np.broadcast_to(np.uint8(0), shape)[items]
    return found.shape
