"""Keeps pydicom from warning of and logging the texts of elements that it finds invalid.

Must not know what pydicom is called for.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

_here = threading.local()


def _is_wanted(_record: logging.LogRecord) -> bool:
    return not getattr(_here, "depth", 0)


# Drops only what is logged within `pydicom_quiet`, in the same thread.
logging.getLogger("pydicom").addFilter(_is_wanted)


@contextmanager
def pydicom_quiet(action: Literal["ignore", "error"] = "ignore") -> Iterator[None]:
    """Let pydicom log nothing in this context, nor warn.

    Args:
        action: 'error' to raise what it would warn of.
    """
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            yield
    finally:
        _here.depth -= 1
