"""How many threads the functions of `core.io` and `core.dcb_files` use, which take no number.

All else is told by a parameter, and does not look here.
"""

from __future__ import annotations

import os

_num_threads: int | None = None


def get_num_threads() -> int:
    """Return what `set_num_threads` set; before, the number of processors."""
    return _num_threads or os.cpu_count() or 1


def set_num_threads(num_threads: int) -> None:
    """Set how many threads `dicube.load`, `save` and their like use from now on.

    Raises:
        ValueError: fewer than one.
    """
    global _num_threads
    if num_threads < 1:
        raise ValueError(f"expected 1 thread or more, found {num_threads}")
    _num_threads = num_threads
