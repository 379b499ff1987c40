"""Calls that take long, in such a way that Ctrl-C ends them.

Python's main thread handles signals when it next runs Python: a call of libdicube, which codes a
thousand frames, would have to end first. Must not know what a call does.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

_SECONDS = 0.2  # Windows wakes nobody who waits for longer


def interruptible(call: Callable[[], None], cancel: Callable[[], None]) -> None:
    """Run a call; let what a signal raises meanwhile, such as KeyboardInterrupt, end it.

    In the main thread the call goes to a thread of its own, and the main thread waits: that a
    signal can interrupt.

    Args:
        call: what is to be run. It has to hold the memory that it works on, since a second signal
            may interrupt the waiting for its end.
        cancel: makes the call end soon.

    Raises:
        BaseException: what the call raised, or the signal's handler.
    """
    if threading.get_ident() != threading.main_thread().ident:
        call()
        return
    errors: list[BaseException] = []
    is_running = [True]
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            is_running.clear()
            ended.release()

    # A signal may raise between any two steps of Python. In threading's classes, which are written
    # in it, that can leave a lock locked that the other thread then waits for, for ever. And as it
    # has to be known whether there is a thread, that is started and put down in one step.
    threads: list[int] = []
    try:
        try:
            threads.extend(map(_thread.start_new_thread, (run,), ((),)))
        except RuntimeError:  # the system has no more threads, or Python is ending
            run()
        while is_running:
            ended.acquire(timeout=_SECONDS)
    except BaseException:
        if threads:
            cancel()
            while is_running:
                ended.acquire(timeout=_SECONDS)
        raise
    if errors:
        raise errors.pop()
