"""Finds the body in a volume: everything but the air around it.

Works on arrays; must not know where they come from. The method keeps too much rather than too
little:

1. Each slice is divided into blocks of 4 x 4 pixels. The value of a block is the largest mean of
   its four quarters, so that single noisy pixels don't count.
2. A threshold separates air from the rest. Otsu's method (1979) makes two classes; the threshold is
   six times the spread of the darker class above its median, but at most the value that separates
   the two. Padding outside the field of view, which repeats one value, is ignored here.
3. Brighter blocks are foreground. So are their neighbours, by two blocks (8 pixels) within a slice
   and one slice up and down, and whatever can't be reached from the edges of the slice (lungs,
   bowel gas), not even diagonally.

A bright patient table is foreground too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4
_MARGIN = 2  # blocks within a slice
_SPREADS = 6.0
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_BINS = 1024


def find_body(volume: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the body in a volume.

    Args:
        volume: (slices, rows, columns) or (slices, rows, columns, 3), of integers.

    Returns:
        (slices, rows, columns), True inside; all True if body and air can't be separated.
    """
    blocks = np.stack([_block_values(frame) for frame in volume])
    bright = blocks > _air_threshold(blocks)
    if not bright.any():
        return np.ones(volume.shape[:3], np.bool_)
    kept = bright.copy()
    kept[1:] |= bright[:-1]
    kept[:-1] |= bright[1:]
    for index in range(len(kept)):
        kept[index] = ~_reached_from_edges(~_grown(kept[index], _MARGIN))
    rows, columns = volume.shape[1:3]
    full = np.repeat(np.repeat(kept, _BLOCK, axis=1), _BLOCK, axis=2)
    return np.ascontiguousarray(full[:, :rows, :columns])


def _block_values(frame: NDArray[Any]) -> NDArray[np.float32]:
    """Return the value of each block of a slice: the largest mean of its four quarters."""
    gray = frame.max(axis=2) if frame.ndim == 3 else frame
    rows, columns = gray.shape
    padded = np.pad(gray, ((0, -rows % _BLOCK), (0, -columns % _BLOCK)), mode="edge")
    half = _BLOCK // 2
    wide = padded.astype(np.float32)
    means = wide.reshape(padded.shape[0] // half, half, -1, half).mean(axis=(1, 3))
    shape = (means.shape[0] // 2, 2, means.shape[1] // 2, 2)
    greatest: NDArray[np.float32] = means.reshape(shape).max(axis=(1, 3))
    return greatest


def _air_threshold(blocks: NDArray[np.float32]) -> float:
    """Return the largest value of a block of air."""
    values = blocks[blocks > blocks.min()]  # the least is padding, or exact zero
    if not values.size:
        return float(blocks.min())
    parting = _otsu(values)
    air = values[values <= parting]
    middle = float(np.median(air))
    spread = float(np.median(np.abs(air - middle))) * _MAD_TO_SIGMA
    return min(parting, middle + _SPREADS * spread)


def _otsu(values: NDArray[np.float32]) -> float:
    """Return the value that separates the two classes that differ most (Otsu 1979)."""
    # The brightest thousandth (metal, for example) would stretch the bins.
    top = float(np.quantile(values, 0.999))
    counts, edges = np.histogram(np.minimum(values, top), _BINS)
    weights = counts.cumsum()
    sums = (counts * (edges[:-1] + edges[1:]) / 2).cumsum()
    below, above = weights[:-1], weights[-1] - weights[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * gap**2)
    return float(edges[int(between.argmax()) + 1])


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Return a mask grown by a number of steps, in diagonal directions too."""
    grown = mask
    for axis in (0, 1):
        wide = np.pad(grown, [(steps, steps) if a == axis else (0, 0) for a in (0, 1)])
        size = grown.shape[axis]
        parts = [np.take(wide, range(i, i + size), axis) for i in range(2 * steps + 1)]
        grown = np.logical_or.reduce(parts)
    return grown


def _reached_from_edges(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of a free area that is connected to the edges, without diagonals."""
    reached = np.zeros_like(free)
    reached[[0, -1]] = free[[0, -1]]
    reached[:, [0, -1]] = free[:, [0, -1]]
    count = -1
    while (found := int(reached.sum())) != count:
        count = found
        for grid, area in ((reached, free), (reached.T, free.T)):
            for order in (slice(None), slice(None, None, -1)):
                lines, room = grid[order], area[order]
                for before, line, here in zip(lines[:-1], lines[1:], room[1:], strict=True):
                    line |= before & here
    return reached
