"""Counts work, so that tests can compare it for inputs of two sizes without a clock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_MOST_GROWTH = 2.5  # of work, where the input is twice as large; 4 if it is quadratic


def lines_run(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs, in all threads that it starts.

    Each round of a loop or of a comprehension counts.
    """
    counted = [0]

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        counted[0] += event == "line"
        return trace

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]
    return counted[0]


def assert_linear(call_of: Callable[[int], Callable[[], object]], size: int) -> None:
    """Check that twice the input takes about twice the work.

    Args:
        call_of: prepares an input of a size, and returns the call that is measured.
        size: of the smaller input; large enough that work beyond the input hardly counts.
    """
    small, large = (lines_run(call_of(number)) for number in (size, 2 * size))
    assert large < _MOST_GROWTH * small, f"{small} lines for {size}, {large} for {2 * size}"
