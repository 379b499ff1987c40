"""Decoded frames that are kept: those used last, up to a number of bytes.

For many threads at once. Knows arrays; must not know files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray


class FrameCache:
    """Arrays by key, at most `capacity` bytes of them.

    Attributes:
        capacity: in bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameCache, (self.capacity,)  # what is kept is for this process

    @property
    def size(self) -> int:
        """The bytes of what is kept."""
        return self._size

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return an array, which must not be changed; None if it isn't kept."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Hashable, array: NDArray[Any]) -> None:
        """Keep a copy of an array, and let go of those that were not used for longest."""
        if array.nbytes > self.capacity:
            return
        kept = array.copy()
        with self._lock:
            if key in self._arrays:
                return
            self._arrays[key] = kept
            self._size += kept.nbytes
            while self._size > self.capacity:
                self._size -= self._arrays.popitem(last=False)[1].nbytes
