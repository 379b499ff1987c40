"""Threads that no signal leaves locked, and long calls that Ctrl-C ends.

Python's main thread handles signals between any two steps of Python. What is raised there, such as
KeyboardInterrupt, may leave a lock locked for ever in the classes of threading and of
concurrent.futures, which are written in Python; whoever waits for it then hangs. So here a lock is
taken, a queue filled and a thread started in one step each, and nobody waits for a lock alone.

Must not know what a call does.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from dicube.exceptions import DataConsistencyError

T = TypeVar("T")
Item = TypeVar("Item")

_SECONDS = 0.2  # Windows wakes nobody who waits for longer


Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all items."""

# Often enough for a moving bar and for Ctrl-C; rarely enough that waiting for the slowest thread of
# each batch costs nothing measurable.
_MOST_BATCHES = 50
_LEAST_BATCH = 16


def batches(
    count: int, progress: Progress | None, *, split: bool = False
) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the batches of a long call; report each when it is done.

    Args:
        count: how many items there are.
        progress: called after each batch; None if nobody wants to know.
        split: make several batches even without `progress`.
    """
    if not count:
        return
    batch = count
    if progress or split:
        batch = max(_LEAST_BATCH, -(-count // _MOST_BATCHES))
    for first in range(0, count, batch):
        last = min(first + batch, count)
        yield first, last
        if progress:
            progress(last, count)


def thread_count(num_threads: int | None) -> int:
    """Return how many threads to use: None or 0 means one for each processor this process may use.

    Raises:
        DataConsistencyError: the number is negative.
    """
    if num_threads is not None and num_threads < 0:
        raise DataConsistencyError(f"expected num_threads of 0 or more, found {num_threads}")
    return num_threads or _processor_count()


def _processor_count() -> int:
    """Count the processors by affinity: containers and job schedulers grant a part of them."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Dropped(Exception):
    """A call was not begun, as nobody wants it any more."""


class Task(Generic[T]):
    """A call that a thread makes."""

    def __init__(self, call: Callable[[], T], wanted: list[bool]) -> None:
        self._call, self._wanted = call, wanted
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def run(self) -> None:
        """Make the call, if it is still wanted."""
        try:
            if not self._wanted:
                raise Dropped
            self._results.append(self._call())
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ended.release()
            del self  # an error holds this frame, and would by that hold itself

    def result(self) -> T:
        """Return what the call returned; waits for it.

        Raises:
            BaseException: what the call raised.
            Dropped: it was not made.
        """
        while not (self._results or self._errors):
            if self._ended.acquire(timeout=_SECONDS):
                self._ended.release()  # others may wait too
        try:
            if self._errors:
                raise self._errors[0]
            return self._results[0]
        finally:
            del self


class Threads:
    """Threads that make calls, in the order of their submission, until this context ends.

    It ends when all calls have; those that were not begun are dropped when it is left by an
    exception. One thread submits.

    Args:
        most: threads. Where the system has none, whoever submits makes the call.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._wanted = [True]
        self._threads: list[int] = []
        self._ended: list[int] = []
        self._wake = _thread.allocate_lock()
        # A signal may come before __exit__ has done anything; in one step here too.
        self._gone = weakref.ref(self, partial(self._tasks.put, None))

    def __enter__(self) -> Threads:
        return self

    def submit(self, call: Callable[..., T], *arguments: Any) -> Task[T]:
        """Let a thread make a call."""
        task = Task(partial(call, *arguments), self._wanted)
        if len(self._threads) < self._most:
            work = self._tasks, self._ended, self._wake, self._gone
            try:
                # In one step, since it has to be known how many there are.
                self._threads.extend(map(_thread.start_new_thread, (_work,), (work,)))
            except RuntimeError:  # the system has no more threads, or Python is ending
                if not self._threads:
                    task.run()
                    return task
        self._tasks.put(task)
        return task

    def map(self, call: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
        """Return an iterator over what calls return, in the order of the items; all are submitted.

        Raises:
            BaseException: when one is reached, what it raised.
        """
        return _results(deque([self.submit(call, item) for item in items]))

    def drop(self) -> None:
        """Let calls that were not begun end by raising Dropped."""
        self._wanted.clear()

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if kind is not None:
            self.drop()
        try:
            self._end()
        except BaseException:  # of a signal
            self._end()
            raise

    def _end(self) -> None:
        """Wait until all threads have ended."""
        self._tasks.put(None)
        while len(self._ended) < len(self._threads):
            self._wake.acquire(timeout=_SECONDS)


def _results(tasks: deque[Task[T]]) -> Iterator[T]:
    """Yield results; a task whose error is raised is held no more."""
    while tasks:
        yield tasks.popleft().result()


def _work(
    tasks: SimpleQueue[Task[Any] | None], ended: list[int], wake: _thread.LockType, _gone: object
) -> None:
    """Do what a thread does: make calls until None comes, which is for all threads."""
    while (task := tasks.get()) is not None:
        task.run()
        del task  # what it returned is not to be held while waiting
    tasks.put(None)
    ended.append(threading.get_ident())
    with suppress(RuntimeError):  # another has released it
        wake.release()


def interruptible(call: Callable[[], None], cancel: Callable[[], None]) -> None:
    """Run a call; let what a signal raises meanwhile, such as KeyboardInterrupt, end it.

    A call of libdicube that codes a thousand frames would have to end before Python's main thread
    handles a signal. So in the main thread the call goes to another, and the main thread waits.

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
    is_running = [True]

    def run() -> None:
        try:
            call()
        finally:
            is_running.clear()

    with Threads(1) as threads:
        try:
            threads.submit(run).result()
        except BaseException:
            if is_running:
                cancel()
            raise
