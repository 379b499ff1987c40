"""Find out which frames of a damaged file fail to decode, and why.

Must not know how frames are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

from dicube.exceptions import DataConsistencyError, DicomCubeError


def skips_damage(on_error: str) -> bool:
    """Return whether damaged parts are to be skipped.

    Raises:
        DataConsistencyError: it is neither 'raise' nor 'skip'.
    """
    if on_error not in ("raise", "skip"):
        raise DataConsistencyError(f"expected on_error 'raise' or 'skip', found {on_error!r}")
    return on_error == "skip"


def failure_of(read: Callable[[], object]) -> DicomCubeError | None:
    """Return the error of a read; None if it succeeds.

    Raises:
        OSError: the operating system refuses, which doesn't mean that the file is damaged.
    """
    try:
        read()
    except OSError:
        raise
    except DicomCubeError as error:
        return error
    return None


def failures_of(
    decode: Callable[[int, int], object], first: int, last: int
) -> Iterator[tuple[int, DicomCubeError]]:
    """Decode frames together and, if that fails, one by one; yield each that fails and its error.

    Args:
        decode: called with start and stop.
        first, last: start and stop of the frames.
    """
    if failure_of(partial(decode, first, last)) is None:
        return
    for index in range(first, last):
        error = failure_of(partial(decode, index, index + 1))
        if error is not None:
            yield index, error


def ranges_of(frames: Sequence[int]) -> str:
    """Return ascending frame numbers as text, such as '3, 35-36'."""
    starts = [b for a, b in pairwise([-2, *frames]) if b != a + 1]
    ends = [a for a, b in pairwise([*frames, frames[-1] + 2]) if b != a + 1] if frames else []
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
