"""What a store is: a way to keep a volume, with a method for each thing that is timed.

Stores run inside a peer's own environment, so each imports its library when it is made, before any
clock starts. They must not know how often or against what they are run.

The terms are the same for all. Files are in the page cache. `threads` is how many a store may use;
where a library is single-threaded (numpy, pydicom, nibabel, zlib) it uses one all the same. Each
method opens its file anew. Arrays are (slice, row, column), in memory of their own. What a store
settles beyond its library's defaults is said at its class, with the reason.
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
Range = tuple[int, int]  # first, and one behind the last


@dataclass(frozen=True)
class Series:
    """A volume and where it comes from, as paths, so that every process can have it.

    Attributes:
        volume: a .npy file of the stored values.
        folder: the DICOM folder.
        files: the DICOM files in it, in the order of the slices.
        slope, intercept: of the rescale.
        as_read: whether the volume is what the folder holds, or was made from it.
    """

    volume: str
    folder: str
    files: list[str]
    slope: float
    intercept: float
    as_read: bool = True


class Store:
    """A way to keep a volume in a file; a subclass has the methods that its library has a way for.

    Args:
        series: what is kept; another may be assigned.
        threads: how many may be used.

    Attributes:
        title: of the store, in tables.
        extension: of its files; '' where the DICOM folder itself is what is read.
        environment: that it runs in (environments.py).
        packages: whose versions are to be named.
        rescaled: whether it gives real values, where others give stored ones.
        for_patches: whether it is one of those that patches for training are read from.
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
        self.load_library()

    def load_library(self) -> None:
        """Import the library and set its number of threads."""

    def versions(self) -> str:
        """Return the names and versions of the packages that do the work."""
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.packages)

    def array(self, result: Any) -> Array:
        """Return what an operation gave as an array, to be compared; not timed."""
        return result

    def source(self) -> Any:
        """Return what `write` takes, which a caller would have at hand; not timed."""
        return self.volume()

    def volume(self) -> Array:
        """Return the stored values, in memory."""
        return np.load(self.series.volume)

    def expected(self, operation: str, *arguments: Any) -> Array | Shape | None:
        """Return what an operation has to give; None where it gives nothing."""
        if operation == "write":
            return None
        volume = np.load(self.series.volume, mmap_mode="r")
        if operation == "open":
            return volume.shape
        if operation == "level":
            frames, *sides = volume.shape
            return (frames, *(-(-side // 8) for side in sides))
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
