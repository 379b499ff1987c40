"""The body in a volume: what is not air around it.

Knows arrays of numbers and nothing of where they come from.

The method keeps too much rather than too little:

1. Each slice is cut into blocks of 4 x 4 pixels, each of which counts by the greatest of the means
   of its quarters: single noisy pixels don't count.
2. Air is told from the rest by a threshold: six times the spread of the darker of two classes
   (Otsu 1979) above its median, but not above what parts the two. What padding puts outside the
   field of view, one value over and over, is left out of this.
3. What is brighter is foreground, in all three directions so is what lies next to it, by two
   blocks (8 pixels) within a slice and one slice up and down; so is what can't be reached from the
   edges of the slice (lungs, bowel gas), even on a diagonal.

The table that a patient lies on is foreground too, where it is bright.
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
    """Return where in a volume the body is.

    Args:
        volume: (slices, rows, columns) or (slices, rows, columns, 3), of integers.

    Returns:
        (slices, rows, columns), True inside. Everywhere, if nothing tells body from air.
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
    """Return of each block of a slice the greatest of the means of its quarters."""
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
    """Return the value up to which a block is air."""
    values = blocks[blocks > blocks.min()]  # the least is padding, or exact zero
    if not values.size:
        return float(blocks.min())
    parting = _otsu(values)
    air = values[values <= parting]
    middle = float(np.median(air))
    spread = float(np.median(np.abs(air - middle))) * _MAD_TO_SIGMA
    return min(parting, middle + _SPREADS * spread)


def _otsu(values: NDArray[np.float32]) -> float:
    """Return what parts values into the two classes that differ most (Otsu 1979)."""
    # The brightest thousandth, metal and such, would stretch the bins.
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
    """Return a mask and what is at most so many steps away from it, diagonals among them."""
    grown = mask
    for axis in (0, 1):
        wide = np.pad(grown, [(steps, steps) if a == axis else (0, 0) for a in (0, 1)])
        size = grown.shape[axis]
        parts = [np.take(wide, range(i, i + size), axis) for i in range(2 * steps + 1)]
        grown = np.logical_or.reduce(parts)
    return grown


def _reached_from_edges(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what of a free area is joined, side by side, to the edges."""
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
