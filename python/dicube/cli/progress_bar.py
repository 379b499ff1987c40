"""ProgressBar: shows progress on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class ProgressBar:
    """A progress line on the standard error output; shows nothing if that is no terminal.

    Called as `bar(done, total)`. Leaving its context clears the line.
    """

    _WIDTH = 30
    _SECONDS = 0.1  # between two updates

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show progress, at most once per `_SECONDS`."""
        now = time.monotonic()
        if not self._shown or (done < total and now - self._last < self._SECONDS):
            return
        self._last = now
        filled = self._WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self._WIDTH - filled)
        text = f"{self._label}  [{bar}] {done}/{total}{self.note(done, total)}"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def note(self, _done: int, _total: int) -> str:
        """Return what is shown behind the numbers."""
        return ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
