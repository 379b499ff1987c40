"""Which real values to compute: their dtype, and how each frame's stored values become real.

Knows numbers; no file, no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_FLOAT_DTYPES = ("float16", "float32", "float64")


Mapped: TypeAlias = "Callable[[NDArray[Any]], NDArray[np.float64]]"
"""Returns the real values of stored ones of any shape."""


class RealValues(NamedTuple):
    """Stored value * slope + intercept, computed in float64 and rounded once.

    Attributes:
        dtype: float16, float32 or float64.
        slopes, intercepts: one number for all frames, or one for each frame that is read.
        bits: for each frame, the number of bits in a word that hold the value, and the lowest of
            them; None for frames whose words are the values, or for all frames.
        maps: for each frame, what makes real values in place of slope and intercept; None for
            frames that these suffice for, or for all frames.
    """

    dtype: DTypeLike = "float32"
    slopes: float | Sequence[float] = 1.0
    intercepts: float | Sequence[float] = 0.0
    bits: Sequence[tuple[int, int] | None] | None = None
    maps: Sequence[Mapped | None] | None = None

    @property
    def is_linear(self) -> bool:
        """Whether slopes and intercepts suffice, so that frames can be decoded to real values."""
        return self.bits is None and self.maps is None

    @property
    def line(self) -> tuple[float, float] | None:
        """The slope and intercept of all frames, words with other bits aside; None if they differ.

        None also if a frame needs more than these.
        """
        slopes, intercepts = self.slopes, self.intercepts
        if (
            self.maps is not None
            or isinstance(slopes, Sequence)
            or isinstance(intercepts, Sequence)
        ):
            return None
        return slopes, intercepts

    def same_as(self, other: RealValues) -> bool:
        """Return whether both are linear and give the same values."""
        return (
            self.is_linear
            and other.is_linear
            and np.dtype(self.dtype) == np.dtype(other.dtype)
            and np.array_equal(self.slopes, other.slopes, equal_nan=True)
            and np.array_equal(self.intercepts, other.intercepts, equal_nan=True)
        )

    def of_frames(self, frames: Sequence[int]) -> RealValues:
        """Return what computes the real values of these frames only."""

        def chosen(given: Any) -> Any:
            return [given[frame] for frame in frames] if isinstance(given, Sequence) else given

        return RealValues(self.dtype, *map(chosen, self[1:]))

    def rescale_of(self, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the slopes and intercepts of so many frames, as arrays.

        Raises:
            DataConsistencyError: there is another number of them.
        """
        return (
            _one_for_each("slopes", self.slopes, frames),
            _one_for_each("intercepts", self.intercepts, frames),
        )


def real_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Check a dtype for real values, and return it.

    Raises:
        DataConsistencyError: it isn't one of float16, float32 and float64.
    """
    target = np.dtype(dtype)
    if target.name not in _FLOAT_DTYPES:
        raise DataConsistencyError(
            f"expected a dtype of {', '.join(_FLOAT_DTYPES)}, found {target.name}"
        )
    return target


def _one_for_each(name: str, given: float | Sequence[float], frames: int) -> NDArray[np.float64]:
    numbers = np.asarray(given, np.float64)
    if numbers.ndim and numbers.shape != (frames,):
        raise DataConsistencyError(f"expected {frames} {name}, found {numbers.size}")
    return np.ascontiguousarray(np.broadcast_to(numbers, frames))
