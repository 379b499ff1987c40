"""The number of threads of `dicube.load`, `dicube.save` and `DcbFile`, which take no such argument.

All other functions take `num_threads` and ignore this setting.
"""

from __future__ import annotations

from dicube.threads import thread_count

_num_threads: int | None = None


def get_num_threads() -> int:
    """Return the number set by `set_num_threads`; by default one for each usable processor."""
    return thread_count(_num_threads)


def set_num_threads(num_threads: int) -> None:
    """Set how many threads `dicube.load`, `dicube.save` and `DcbFile` use from now on.

    Raises:
        ValueError: fewer than one.
    """
    global _num_threads
    if num_threads < 1:
        raise ValueError(f"expected 1 thread or more, found {num_threads}")
    _num_threads = num_threads
