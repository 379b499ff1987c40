"""Which real values to compute: their dtype, and the rescale of each frame.

Knows numbers; no file, no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.exceptions import DataConsistencyError

_FLOAT_DTYPES = ("float16", "float32", "float64")


class RealValues(NamedTuple):
    """Stored value * slope + intercept, computed in float64 and rounded once.

    Attributes:
        dtype: float16, float32 or float64.
        slopes, intercepts: one number for all frames, or one for each frame that is read.
    """

    dtype: DTypeLike = "float32"
    slopes: float | Sequence[float] = 1.0
    intercepts: float | Sequence[float] = 0.0

    def same_as(self, other: RealValues) -> bool:
        """Return whether both give the same values."""
        return (
            np.dtype(self.dtype) == np.dtype(other.dtype)
            and np.array_equal(self.slopes, other.slopes)
            and np.array_equal(self.intercepts, other.intercepts)
        )

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
