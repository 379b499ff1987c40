"""Python functions that libdicube calls: their exceptions, and their end when Python exits."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from dicube.exceptions import DicomCubeError


class Callback:
    """A Python function that libdicube calls, and the exception that it raised.

    ctypes would print the exception and discard it. This class stores it and reports a failure to
    libdicube, and `call_with` raises it.

    Attributes:
        source: name of the file that it reads, which libdicube doesn't know; '' for none.
    """

    def __init__(self, function: Callable[[int, memoryview], None], source: str = "") -> None:
        self._function = function
        self.source = source
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
        except BaseException as error:  # KeyboardInterrupt too, which must not be lost
            with self._lock:
                self._error = self._error or error
            return 1

    def take_error(self) -> BaseException | None:
        """Return the first exception since the last call of this, and clear it."""
        with self._lock:
            error, self._error = self._error, None
            return error


class _CallsThatCallBack:
    """Calls of libdicube with callbacks, which must end before the interpreter does.

    When the interpreter ends, Python before 3.14 kills any thread that needs it. If libdicube is
    below that thread's callback, this unwinds through C++ code that can't be unwound, and the
    process aborts. So at exit the callbacks of all other threads, which are daemons by then, fail,
    and these threads block when their call returns.

    Attributes:
        are_ending: whether callbacks must fail.
    """

    _SECONDS = 5.0  # limit for a callback that waits, for a server perhaps

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
        """Let the calls of other threads fail, and wait until they have; atexit calls this."""
        self.are_ending = self._have_ended = True
        last = time.monotonic() + self._SECONDS
        while self._in_flight and time.monotonic() < last:
            time.sleep(0.001)
        self.are_ending = False  # other exit handlers may still read

    def forget(self) -> None:
        """Remove calls of threads that don't exist in a forked process."""
        self._in_flight.clear()


_calls = _CallsThatCallBack()
atexit.register(_calls.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.forget)


def call_with(callback: Callback | None, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function that may call libdicube; raise the callback's exception, if there is one."""
    if callback is None:
        function(*arguments)
        return
    with _calls:
        try:
            function(*arguments)
        except Exception as raised:
            error = callback.take_error()
            if error is None:
                if isinstance(raised, DicomCubeError):
                    raised.name_source(callback.source)
                raise
            try:
                raise error from None
            finally:
                del error  # it refers to this frame: a reference cycle
