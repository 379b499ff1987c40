"""The number of threads of the published package's functions, which take no such argument.

These are `dicube.load`, `dicube.save`, `dicube.load_from_dicom_folder`, `DcbFile` and
`DcbStreamingReader`. The setting has no effect elsewhere.
"""

from __future__ import annotations

from dicube.threads import thread_count

_num_threads: int | None = None


def get_num_threads() -> int:
    """Return the number set by `set_num_threads`; by default one for each usable processor."""
    return thread_count(_num_threads)


def set_num_threads(num_threads: int) -> None:
    """Set how many threads functions without an argument `num_threads` use from now on.

    These are `dicube.load`, `dicube.save`, `dicube.load_from_dicom_folder`, `DcbFile` and
    `DcbStreamingReader`. The setting has no effect elsewhere.

    Raises:
        ValueError: fewer than one.
    """
    global _num_threads
    if num_threads < 1:
        raise ValueError(f"expected 1 thread or more, found {num_threads}")
    _num_threads = num_threads
