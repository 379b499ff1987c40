"""Translate a numpy index of a volume into the frames it needs and an index of those frames.

numpy decides what an index means, by applying it to an array that takes no memory. So every index
that numpy accepts is accepted, and others raise numpy's own error. Knows no file.

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


class FrameIndex(NamedTuple):
    """An index of a volume, translated to the frames that it needs.

    Attributes:
        frames: the frames' numbers, in the order in which `items` expects them.
        items: index of an array of those frames that gives the result.
        shape: of the result.
        frame_axis: the axis of the result along which the frames are; None if there is none, or if
            other indices run along it too.
    """

    frames: Sequence[int]
    items: tuple[Any, ...]
    shape: tuple[int, ...]
    frame_axis: int | None

    def is_whole(self, frame_shape: tuple[int, ...]) -> bool:
        """Return whether the result is all samples of the frames, in any shape."""
        return (
            self.shape != ()  # which may have to become a scalar
            and math.prod(self.shape) == len(self.frames) * math.prod(frame_shape)
            and not any(isinstance(item, np.ndarray) for item in self.items)
            and all(not isinstance(item, slice) or item == _ALL for item in self.items)
        )


def frame_index(index: Any, shape: tuple[int, ...]) -> FrameIndex:
    """Translate an index of a volume into an index of the frames that it needs.

    Args:
        index: any index that an array of that shape accepts.
        shape: of the volume; frames are its first axis.

    Raises:
        IndexError: numpy refuses the index.
    """
    result_shape = np.broadcast_to(np.uint8(0), shape)[index].shape
    items = [_plain(item) for item in (index if isinstance(index, tuple) else (index,))]
    place = _place_of_first_axis(items, len(shape))
    if place is None:
        return _along_axis(range(shape[0]), (*items, Ellipsis), shape, result_shape)
    item, others = items[place], items[:place] + items[place + 1 :]
    frames: Sequence[int]
    if item is Ellipsis:
        return _along_axis(range(shape[0]), tuple(items), shape, result_shape)
    if isinstance(item, slice):
        frames = range(*item.indices(shape[0]))
        items[place] = _ALL
        return _along_axis(frames, tuple(items), shape, result_shape)
    if isinstance(item, int) or item.ndim == 0:
        frames = [int(item) % shape[0]]
        items[place] = 0 if isinstance(item, int) else np.zeros((), np.intp)
        return FrameIndex(frames, tuple(items), result_shape, None)
    if item.dtype == bool and item.ndim > 1:
        touched = item.reshape(len(item), -1).any(1).nonzero()[0]
        items[place] = item[touched]
        return FrameIndex(touched.tolist(), tuple(items), result_shape, None)
    numbers = item.nonzero()[0] if item.dtype == bool else item.astype(np.intp) % shape[0]
    touched, places = np.unique(numbers, return_inverse=True)
    alone = all(other is None or other is Ellipsis or isinstance(other, slice) for other in others)
    if alone and numbers.ndim == 1 and len(touched) == len(numbers):
        items[place] = _ALL  # frames are read in the order requested
        return _along_axis(numbers.tolist(), tuple(items), shape, result_shape)
    items[place] = places.reshape(numbers.shape)
    return FrameIndex(touched.tolist(), tuple(items), result_shape, None)


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


def _along_axis(
    frames: Sequence[int],
    items: tuple[Any, ...],
    shape: tuple[int, ...],
    result_shape: tuple[int, ...],
) -> FrameIndex:
    """Return an index that takes the same part of each frame."""
    one, two = (_shape_of(items, (count, *shape[1:])) for count in (1, 2))
    axis = next(axis for axis, size in enumerate(one) if size != two[axis])
    return FrameIndex(frames, items, result_shape, axis)


def _shape_of(items: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    found: NDArray[Any] = np.broadcast_to(np.uint8(0), shape)[items]
    return found.shape
