"""Open, call and close handles of libdicube, safely with threads, signals and forks."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from dicube._native.callbacks import Callback, call_with
from dicube._native.library import functions


class Handle:
    """A handle of libdicube, opened by the function `name`.

    `close` closes it, and so does the end of the last reference to it, but never during a call:
    calls in progress are counted. Only the process that opened it may use it: after a fork, threads
    that no longer exist may hold its locks, and a writer must not close the other process's file.
    """

    _process = 0  # no process, so that a handle isn't closed that a signal left half built

    def __init__(
        self, close: str, kept: Any, callback: Callback | None, name: str, *arguments: Any
    ) -> None:
        # Set before the handle is opened, so that it is closed even if a signal interrupts this.
        self._handle = ctypes.c_void_p()
        self._close_handle = functions[close]
        self._kept = kept  # memory that the handle points to
        self._callback = callback
        self._lock = threading.Lock()
        self._in_flight = 0
        self._closed = False
        self._process = os.getpid()
        call_with(callback, functions[name], *arguments, self._handle)

    def _call(self, name: str, *arguments: Any) -> None:
        """Call a function on the handle; raise the exception of its callback, if there is one."""
        self._hold_open()
        try:
            call_with(self._callback, functions[name], self._handle, *arguments)
        finally:
            self._let_close()

    def _hold_open(self) -> None:
        """Delay any `close` until `_let_close` was called as often as this method.

        Raises:
            ValueError: the handle is closed, or another process opened it.
        """
        if not self.is_here:
            raise ValueError(f"{type(self).__name__.lower()} belongs to process {self._process}")
        with self._lock:
            if self._closed:
                raise ValueError(f"{type(self).__name__.lower()} is closed")
            self._in_flight += 1

    def _let_close(self) -> None:
        """End one `_hold_open`."""
        with self._lock:
            self._in_flight -= 1
            if self._closed:
                self._release()

    def _release(self) -> None:
        """Close the handle, if it is open and no call is in progress."""
        if self._handle and not self._in_flight:
            address, self._handle.value = self._handle.value, None
            self._close_handle(address)
            self._kept = None

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    @property
    def is_here(self) -> bool:
        """Whether this process opened it."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Close it as soon as calls in progress have ended. May be called again."""
        if not self.is_here:
            return
        with self._lock:
            self._closed = True
            self._release()

    def __del__(self) -> None:
        self._in_flight = 0  # a signal may have left the count too high
        self.close()
