"""Runs tasks on any executor: few at a time, with a second chance for those of a lost worker.

Uses only `submit` of a picklable function, and futures with `add_done_callback` and `result`, which
those of concurrent.futures, loky, dask, mpi4py and Parsl have. Must not know what the tasks do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from dicube.exceptions import DicomCubeError
from dicube.threads import thread_count

Key = TypeVar("Key")
Job = TypeVar("Job")

_SECONDS = 0.2  # after which a wait ends, so that signals are handled on Windows too


class Future(Protocol):
    """What is used of a future."""

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> Any:
        """Call a function with the future when it is done."""

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""


class Executor(Protocol):
    """What is used of an executor."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Run a picklable function somewhere; return a `Future`."""


class LostWorkerError(DicomCubeError):
    """The process that worked on a task has ended, or its executor lost the task, twice."""


class OwnProcesses:
    """A context with processes of our own, which end when this process does, however it does.

    Args:
        count: how many; None or 0 for one for each processor.
    """

    def __init__(self, count: int | None) -> None:
        self.count = thread_count(count, "workers")

    def __enter__(self) -> OwnProcesses:
        self._begin()
        return self

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function in one of the processes; start new ones after one was lost."""
        try:
            return self._executor.submit(fn, *args)
        except BrokenExecutor:
            self._end(wait=False)
            self._begin()
            return self._executor.submit(fn, *args)

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._end(wait=kind is None)

    def _begin(self) -> None:
        # Forked processes would inherit locks that threads hold.
        context = multiprocessing.get_context("spawn")
        ends_with_us, self._held_open = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_begin_worker, initargs=(ends_with_us,)
        )

    def _end(self, wait: bool) -> None:
        if not wait:
            self._held_open.close()  # running tasks end at once
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._held_open.close()


def _begin_worker(ends_with_us: Connection) -> None:
    """Prepare a process: Ctrl-C is the coordinator's affair, with which this process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(ends_with_us,), daemon=True).start()


def _end_with(coordinator: Connection) -> None:
    try:
        coordinator.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


class _Running(Generic[Key, Job]):
    """A job, what identifies it here, and how often it was lost."""

    def __init__(self, key: Key, job: Job) -> None:
        self.key, self.job = key, job
        self.losses = 0


def results(
    executor: Executor,
    function: Callable[[Job], Any],
    jobs: Iterable[tuple[Key, Job]],
    in_flight: int,
) -> Generator[tuple[Key, Any], None, None]:
    """Run a function for each job; yield results, in any order, as they become known.

    A job whose worker is lost is run a second time, when no other job runs: many tasks are lost
    with one process, and only one of them may have killed it.

    Args:
        executor: where to run it.
        function: picklable; returns what goes wrong as well, and raises nothing.
        jobs: what identifies each, and its picklable argument; taken one by one as others end.
        in_flight: how many jobs are submitted at a time.

    Yields:
        What identifies each job, and its result, or a LostWorkerError.
    """
    waiting, lost = iter(jobs), deque[_Running[Key, Job]]()
    running: dict[Any, _Running[Key, Job]] = {}
    done: SimpleQueue[Any] = SimpleQueue()

    def start(one: _Running[Key, Job]) -> Exception | None:
        try:
            future = executor.submit(function, one.job)
        except Exception as error:  # each executor has its own exceptions
            return error
        running[future] = one
        future.add_done_callback(done.put)
        return None

    def failed(one: _Running[Key, Job], error: BaseException) -> LostWorkerError | None:
        one.losses += 1
        if one.losses == 1:
            lost.append(one)
            return None
        return LostWorkerError(
            f"its worker was lost twice ({type(error).__name__})",
            suggestion="memory may be short: fewer workers, or look in the system's log. A script "
            'needs `if __name__ == "__main__":`, since each worker imports it',
        )

    try:
        while True:
            error: BaseException | None = None
            one: _Running[Key, Job] | None = None
            is_alone = any(other.losses for other in running.values())
            while error is None and not lost and not is_alone and len(running) < in_flight:
                following = next(waiting, None)
                if following is None:
                    break
                one = _Running(*following)
                error = start(one)
            if lost and not running and error is None:
                one = lost.popleft()
                error = start(one)
            if error is not None and one is not None:
                if (failure := failed(one, error)) is not None:
                    yield one.key, failure
                continue
            if not running:
                return
            future = _taken(done)
            one = running.pop(future)
            try:
                result = future.result()
            except BaseException as raised:  # CancelledError is no Exception everywhere
                if isinstance(raised, (KeyboardInterrupt, SystemExit)):
                    raise
                result = failed(one, raised)
                if result is None:
                    continue
            yield one.key, result
    finally:
        for future in running:
            if hasattr(future, "cancel"):
                future.cancel()


def _taken(done: SimpleQueue[Any]) -> Any:
    while True:
        with suppress(Empty):
            return done.get(timeout=_SECONDS)
