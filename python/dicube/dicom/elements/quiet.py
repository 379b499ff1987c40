"""Keeps pydicom from warning of and logging the texts of elements that it finds invalid.

Must not know what pydicom is called for.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

_here = threading.local()


def _action_here() -> str:
    """Return what happens to warnings in this thread: 'ignore' or 'error'; '' outside a context."""
    return getattr(_here, "action", "")


@cache
def _filter_log() -> None:
    """Drop what is logged within `pydicom_quiet`, in the same thread."""
    import logging

    logging.getLogger("pydicom").addFilter(lambda _record: not _action_here())


class _OfThread(type):
    """A category of warnings that has all those of the threads with its action, and no others.

    Filters are those of the whole process. If threads exchanged them (warnings.catch_warnings), one
    could restore those of another: to show what must be hidden, or to hide all warnings for good.
    """

    action: str

    def __subclasscheck__(cls, _category: type) -> bool:
        return cls.action == _action_here()


class _Ignored(Warning, metaclass=_OfThread):
    action = "ignore"


class _Raised(Warning, metaclass=_OfThread):
    action = "error"


_FILTERS = {(category.action, None, category, None, 0) for category in (_Ignored, _Raised)}


@contextmanager
def pydicom_quiet(action: Literal["ignore", "error"] = "ignore") -> Iterator[None]:
    """Let pydicom log nothing in this context, nor warn. Other threads warn as before.

    Args:
        action: 'error' to raise what it would warn of.
    """
    _filter_log()
    if {*warnings.filters[:2]} != _FILTERS:  # callers may have put others first
        for category in (_Ignored, _Raised):
            warnings.simplefilter(category.action, category)  # type: ignore[arg-type]
    before = _action_here()
    try:
        _here.action = action
        yield
    finally:
        _here.action = before
