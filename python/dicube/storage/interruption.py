"""Calls that take long, in such a way that Ctrl-C ends them.

Python's main thread handles signals when it next runs Python: a call of libdicube, which codes a
thousand frames, would have to end first. Must not know what a call does.
"""

from __future__ import annotations

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
    if threading.current_thread() is not threading.main_thread():
        call()
        return
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run)
    try:
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or Python is ending
            run()
        while not ended.wait(_SECONDS):
            pass
    except BaseException:
        cancel()
        raise
    finally:
        if thread.ident is not None:
            thread.join()
    if errors:
        raise errors.pop()
