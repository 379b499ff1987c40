"""Run calls on threads so that a signal never leaves a lock held, and Ctrl-C ends long calls.

Python's main thread handles signals between any two bytecodes. An exception raised there, such as
KeyboardInterrupt, may leave a lock held for ever in threading and concurrent.futures, whose classes
are written in Python; threads that wait for the lock then hang. So this module takes a lock, fills
a queue and starts a thread in one bytecode each, and waits for locks only with a timeout.

Must not know what the calls do.
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

_SECONDS = 0.2  # on Windows a signal doesn't end a wait: the handler runs after it

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


def thread_count(num_threads: int | None, name: str = "num_threads") -> int:
    """Return how many threads to use: None or 0 means one for each processor this process may use.

    Args:
        num_threads: the number, as given.
        name: what to call it in an error.

    Raises:
        DataConsistencyError: the number is negative.
    """
    if num_threads is not None and num_threads < 0:
        raise DataConsistencyError(f"expected {name} of 0 or more, found {num_threads}")
    return num_threads or _processor_count()


def _processor_count() -> int:
    """Count the processors by affinity: containers and job schedulers grant a part of them."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Dropped(Exception):
    """A call was cancelled before it started."""


class Task(Generic[T]):
    """A call that runs on a thread."""

    def __init__(self, call: Callable[[], T], wanted: list[bool]) -> None:
        self._call, self._wanted = call, wanted
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def run(self) -> None:
        """Run the call, unless it was cancelled."""
        try:
            if not self._wanted:
                raise Dropped
            self._results.append(self._call())
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ended.release()
            del self  # the error refers to this frame, which would make a reference cycle

    def result(self) -> T:
        """Wait for the call, and return its result.

        Raises:
            BaseException: the call raised it.
            Dropped: the call was cancelled before it started.
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
    """A context with threads that run calls in the order of submission.

    It ends when all calls have ended. If an exception leaves it, calls that have not started are
    cancelled. Only one thread may submit calls.

    Args:
        most: number of threads. If the system can't start any, `submit` runs the call itself.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._wanted = [True]
        self._threads: list[int] = []
        self._ended: list[int] = []
        self._wake = _thread.allocate_lock()
        # If a signal keeps __exit__ from running, this ends the threads.
        self._gone = weakref.ref(self, partial(self._tasks.put, None))

    def __enter__(self) -> Threads:
        return self

    def submit(self, call: Callable[..., T], *arguments: Any) -> Task[T]:
        """Run a call on a thread."""
        task = Task(partial(call, *arguments), self._wanted)
        if len(self._threads) < self._most:
            work = self._tasks, self._ended, self._wake, self._gone
            try:
                # In one bytecode, so that each thread started is counted.
                self._threads.extend(map(_thread.start_new_thread, (_work,), (work,)))
            except RuntimeError:  # no more threads are available, or Python is shutting down
                if not self._threads:
                    task.run()
                    return task
        self._tasks.put(task)
        return task

    def map(self, call: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
        """Submit a call for each item; return an iterator over the results, in the items' order.

        Raises:
            BaseException: the iterator raises what a call raised, when it reaches its result.
        """
        return _results(deque([self.submit(call, item) for item in items]))

    def drop(self) -> None:
        """Cancel all calls that have not started: their results raise Dropped."""
        self._wanted.clear()

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if kind is not None:
            self.drop()
        try:
            self._end()
        except BaseException:  # raised by a signal's handler
            self._end()
            raise

    def _end(self) -> None:
        """Wait until all threads have ended."""
        self._tasks.put(None)
        while len(self._ended) < len(self._threads):
            self._wake.acquire(timeout=_SECONDS)


def _results(tasks: deque[Task[T]]) -> Iterator[T]:
    """Yield results; keep no reference to a task whose error is raised."""
    while tasks:
        yield tasks.popleft().result()


def _work(
    tasks: SimpleQueue[Task[Any] | None], ended: list[int], wake: _thread.LockType, _gone: object
) -> None:
    """Run calls until None comes, and pass None on to the other threads."""
    while (task := tasks.get()) is not None:
        task.run()
        del task  # its result must not stay in memory while this waits
    tasks.put(None)
    ended.append(threading.get_ident())
    with suppress(RuntimeError):  # another thread has released it
        wake.release()


def interruptible(call: Callable[[], None], cancel: Callable[[], None]) -> None:
    """Run a call so that an exception from a signal's handler, such as KeyboardInterrupt, ends it.

    Python's main thread can't handle signals during a call of libdicube, which may code a thousand
    frames. So the main thread runs the call on another thread, and waits for it.

    Args:
        call: the call. It must keep references to the memory it works on, as a second signal may
            end the wait before the call.
        cancel: makes the call end soon.

    Raises:
        BaseException: raised by the call or by a signal's handler.
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
