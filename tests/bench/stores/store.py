"""Base class of the stores: ways to store a volume, with a method for each timed operation.

A store runs inside the environment of its library, and imports it when created, before any timing.
Stores must not know how often they run, or what they are compared with.

The conditions are the same for all. Files are in the page cache. `threads` is the number of threads
that a store may use; a single-threaded library (numpy, pydicom, nibabel, zlib) uses one. Each
method but `patch_held` reopens its file. Arrays are (slice, row, column) and own their memory.
Settings that differ from a library's defaults are explained at the class.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
Range = tuple[int, int]  # start and stop


@dataclass(frozen=True)
class Series:
    """A volume and its source, as paths, so that any process can open them.

    Attributes:
        volume: a .npy file of the stored values.
        folder: the DICOM folder.
        files: the DICOM files in it, in the order of the slices.
        slope, intercept: of the rescale.
        as_read: whether the volume is that of the folder, rather than one made from it.
    """

    volume: str
    folder: str
    files: list[str]
    slope: float
    intercept: float
    as_read: bool = True


class Store:
    """A way to store a volume in a file; a subclass has the methods that its library supports.

    Args:
        series: the series to store; another may be assigned.
        threads: the number of threads to use.

    Attributes:
        title: the name of the store in tables.
        extension: the extension of its files; '' if it reads the DICOM folder itself.
        environment: the environment that it runs in (environments.py).
        packages: packages whose versions are reported.
        rescaled: whether it returns real values instead of stored ones.
        for_patches: whether patches for training are read from it.
    """

    title: ClassVar[str]
    extension: ClassVar[str] = ""
    environment: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    rescaled: ClassVar[bool] = False
    for_patches: ClassVar[bool] = False

    def __init__(self, series: Series, threads: int) -> None:
        self.series = series
        self.threads = threads
        self._held: dict[str, Any] = {}
        self.load_library()

    def load_library(self) -> None:
        """Import the library and set its number of threads."""

    def versions(self) -> str:
        """Return the names and versions of the packages that do the work."""
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.packages)

    def array(self, result: Any) -> Array:
        """Return the result of an operation as an array, for comparison; not timed."""
        return result

    def source(self) -> Any:
        """Return the argument of `write`, which a caller would already have; not timed."""
        return self.volume()

    def held(self, path: str) -> Any:
        """Return what `opened` returns for this path; it stays open."""
        if path not in self._held:
            self._held[path] = self.opened(path)
        return self._held[path]

    def opened(self, path: str) -> Any:
        """Return an open file."""
        raise NotImplementedError

    def volume(self) -> Array:
        """Return the stored values, in memory."""
        return np.load(self.series.volume)

    def expected(self, operation: str, *arguments: Any) -> Array | Shape | None:
        """Return the expected result of an operation; None if it returns nothing."""
        if operation == "write":
            return None
        volume = np.load(self.series.volume, mmap_mode="r")
        if operation == "open":
            return volume.shape
        if operation.startswith("level_"):
            frames, *sides = volume.shape
            return (frames, *(-(-side // 2 ** int(operation[6:])) for side in sides))
        if operation == "slice":
            volume = volume[arguments[0]]
        elif operation == "patch":
            volume = volume[index_of(arguments)]
        if self.rescaled or operation == "real":
            return volume * self.series.slope + self.series.intercept
        return volume


def index_of(box: Sequence[Range]) -> tuple[slice, ...]:
    """Return the index of a box."""
    return tuple(slice(start, stop) for start, stop in box)
