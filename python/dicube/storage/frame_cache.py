"""Keeps the most recently used decoded frames, up to a number of bytes.

Many threads may use it at once. Knows arrays; must not know files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray


class FrameCache:
    """Arrays by key, of at most `capacity` bytes in all.

    Attributes:
        capacity: in bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameCache, (self.capacity,)  # another process begins with an empty cache

    @property
    def size(self) -> int:
        """The bytes of all arrays in the cache."""
        return self._size

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return an array, which must not be changed; None if it isn't in the cache."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Hashable, array: NDArray[Any]) -> None:
        """Store a copy of an array; remove the least recently used ones."""
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
