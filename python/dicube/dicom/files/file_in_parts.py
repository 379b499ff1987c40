"""Reads a file that exists only as the parts that its bytes consist of.

Original files are compared before they are written. Must not know what the parts hold.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from itertools import accumulate
from typing import Any, BinaryIO, Protocol, cast


class Part(Protocol):
    """Bytes, or an object that reads them when it is sliced."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __getitem__(self, where: slice, /) -> bytes | memoryview:
        """Return some of the bytes."""


@dataclass(frozen=True)
class FileInParts:
    """A file that exists only as the parts that its bytes consist of.

    Attributes:
        name: the name that it would have.
        parts: its bytes, in order.
    """

    name: str
    parts: Sequence[Part]

    @property
    def container(self) -> str:
        """The path of the file on disk that holds the bytes: none."""
        return ""

    @property
    def packed_size(self) -> int:
        """The number of bytes in all parts."""
        return sum(map(len, self.parts))

    def open(self) -> BinaryIO:
        """Open the file, unbuffered."""
        return cast(BinaryIO, _PartsReader(self.parts))

    def open_buffered(self) -> BinaryIO:
        """Open the file for many small reads."""
        return BufferedReader(_PartsReader(self.parts))

    def size(self, _file: Any) -> int:
        """Return the size of the file in bytes."""
        return self.packed_size


class _PartsReader(BufferedIOBase):
    """Reads a file that is given in parts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self._parts)))
        self._position = 0
        self._read: tuple[int, bytes | memoryview] = -1, b""  # the number of a part, and its bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        end = self._ends[-1] if self._ends else 0
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: end}[whence]
        self._position += offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        end = self._ends[-1] if self._ends else 0
        left = end - self._position if size is None or size < 0 else size
        found: list[bytes | memoryview] = []
        number = bisect_right(self._ends, self._position)
        while left > 0 and number < len(self._parts):
            part = self._parts[number]
            if self._read[0] != number:
                self._read = number, part[:]
            start = self._position - (self._ends[number] - len(part))
            found.append(self._read[1][start : start + left])
            left -= len(found[-1])
            self._position += len(found[-1])
            number += 1
        return b"".join(found)
