"""Functions of Python that libdicube calls: what they raise, and how they meet Python's end."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any


class Callback:
    """A Python function that libdicube calls, and the exception that it ended in.

    ctypes would print such an exception and forget it. It is kept here, libdicube told of a
    failure, and the exception raised where the library was called.
    """

    def __init__(self, function: Callable[[int, memoryview], None]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def __call__(
        self, _user: int | None, offset: int, address: int | None, size: int, done: int
    ) -> int:
        if _calls.are_ending:
            return 1
        try:
            if size:
                buffer = (ctypes.c_char * size).from_address(address or 0)
                self._function(offset, memoryview(buffer).cast("B"))
            ctypes.c_size_t.from_address(done).value = size
            return 0
        except BaseException as error:  # KeyboardInterrupt too: it must not vanish
            with self._lock:
                self._error = self._error or error
            return 1

    def take_error(self) -> BaseException | None:
        """Return the first exception since the last call, and forget it."""
        with self._lock:
            error, self._error = self._error, None
            return error


class _CallsThatCallBack:
    """Calls in flight that call Python back, which the interpreter's end must not come upon.

    From then on a thread that asks for the interpreter is ended on the spot (before Python 3.14):
    the C++ above it is unwound as it can't be, and the process aborts. Other threads than the main
    one are daemons by then: their calls are made to fail, and they stay where they return.

    Attributes:
        are_ending: whether callbacks have to fail.
    """

    _SECONDS = 5.0  # that a callback may be waiting for, a server say

    def __init__(self) -> None:
        self.are_ending = False
        self._have_ended = False
        self._in_flight = set[int]()  # without a lock, which a fork could leave locked

    def __enter__(self) -> None:
        self._stay_if_ended()
        self._in_flight.add(threading.get_ident())
        self._stay_if_ended()

    def __exit__(self, *_exception: object) -> None:
        self._in_flight.discard(threading.get_ident())
        self._stay_if_ended()

    def _stay_if_ended(self) -> None:
        if self._have_ended and threading.current_thread() is not threading.main_thread():
            self._in_flight.discard(threading.get_ident())
            threading.Event().wait()

    def end(self) -> None:
        """Let those of other threads fail, and wait for that; atexit calls this."""
        self.are_ending = self._have_ended = True
        last = time.monotonic() + self._SECONDS
        while self._in_flight and time.monotonic() < last:
            time.sleep(0.001)
        self.are_ending = False  # what else is called at the exit may read

    def forget(self) -> None:
        """Forget calls of threads that a forked process does not have."""
        self._in_flight.clear()


_calls = _CallsThatCallBack()
atexit.register(_calls.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.forget)


def call_with(callback: Callback | None, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function of libdicube, or one that calls such; if a callback raised, raise that."""
    if callback is None:
        function(*arguments)
        return
    with _calls:
        try:
            function(*arguments)
        except Exception:
            error = callback.take_error()
            if error is None:
                raise
            try:
                raise error from None
            finally:
                del error  # which holds this frame
