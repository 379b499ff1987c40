"""How callers are told how far something is, and the batches of frames between two tellings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Called with the number of frames that are done, and of all.
Progress = Callable[[int, int], None]

# With a progress callback, frames are given to libdicube in this many batches at most, and at
# least so many at a time: often enough for a moving bar and for Ctrl-C, seldom enough that waiting
# for the slowest thread of each batch costs nothing that can be measured.
_MOST_BATCHES = 50
_LEAST_BATCH = 16


def batches(
    count: int, progress: Progress | None, *, split: bool = False
) -> Iterator[tuple[int, int]]:
    """Yield the ranges that `count` frames are done in, reporting each when it is done."""
    if not count:
        return
    batch = count
    if progress or split:
        batch = max(_LEAST_BATCH, -(-count // _MOST_BATCHES))
    for first in range(0, count, batch):
        last = min(first + batch, count)
        yield first, last
        if progress:
            progress(last, count)
