"""Threads: results, exceptions and their order; no signal leaves a call waiting."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref
from typing import NoReturn

import numpy as np
import pytest
from programs.running import run_python

import dicube
from dicube.exceptions import DataConsistencyError
from dicube.threads import Dropped, Threads, interruptible, thread_count


def test_a_number_of_threads_is_taken_as_given() -> None:
    assert thread_count(3) == 3
    with pytest.raises(DataConsistencyError, match="num_threads of 0 or more, found -1"):
        thread_count(-1)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the affinity of a process")
def test_all_threads_are_those_that_the_affinity_allows() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # of this thread only
    try:
        assert thread_count(None) == thread_count(0) == dicube.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert thread_count(None) == len(allowed)


def test_results_come_in_order() -> None:
    second = threading.Event()

    def call(number: int) -> int:
        if number == 0:
            assert second.wait(60)
        elif number == 1:
            second.set()
        return number * number

    with Threads(3) as threads:
        assert list(threads.map(call, range(100))) == [n * n for n in range(100)]


def test_as_many_threads_as_said() -> None:
    used: set[int] = set()
    both = threading.Barrier(2)

    def call() -> None:
        used.add(threading.get_ident())
        both.wait(60)

    with Threads(2) as threads:
        for task in [threads.submit(call) for _ in range(10)]:
            task.result()
    assert len(used) == 2
    assert threading.get_ident() not in used


def test_an_error_comes_in_its_place_and_drops_what_was_not_begun() -> None:
    dropped, made = threading.Event(), []

    class Told(Threads):
        def drop(self) -> None:
            super().drop()
            dropped.set()

    def call(number: int) -> int:
        made.append(number)
        if number == 2:
            raise ValueError("of two")
        if number == 3:
            assert dropped.wait(60)
        return number

    def all_calls() -> None:
        with Told(1) as threads:
            results = threads.map(call, range(10))
            assert [next(results), next(results)] == [0, 1]
            next(results)

    with pytest.raises(ValueError, match="of two"):
        all_calls()
    assert made == [0, 1, 2, 3]


def test_dropped_calls_tell_all_who_wait() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert let_go.wait(60)

    told = []

    def wait() -> None:
        with pytest.raises(Dropped):
            task.result()
        told.append(True)

    with Threads(1) as threads:
        first, task = threads.submit(hold), threads.submit(hold)
        waiting = [threading.Thread(target=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        assert begun.wait(60)
        threads.drop()
        let_go.set()
        for thread in waiting:
            thread.join()
        first.result()
    assert len(told) == 3


def test_all_calls_have_ended_when_the_context_does() -> None:
    made = []
    with Threads(2) as threads:
        for number in range(50):
            threads.submit(made.append, number)
    assert sorted(made) == list(range(50))


def test_a_system_that_has_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", none)
    with Threads(3) as threads:
        assert list(threads.map(str, range(5))) == ["0", "1", "2", "3", "4"]
    ran = []
    interruptible(lambda: ran.append(True), lambda: None)
    assert ran == [True]


@pytest.mark.parametrize("way", ["map", "interruptible"])
def test_an_error_holds_no_memory(way: str) -> None:
    """Of a volume, say: until the garbage collector runs."""

    def attempt() -> weakref.ref[np.ndarray]:
        volume = np.zeros(10)

        def fail() -> None:
            raise ValueError(f"of {volume.size}")

        try:
            if way == "interruptible":
                interruptible(fail, lambda: None)
            else:
                with Threads(2) as threads:
                    for _ in threads.map(lambda _: fail(), range(3)):
                        pass
        except ValueError as error:
            assert str(error) == "of 10"
        return weakref.ref(volume)

    assert attempt()() is None


def test_errors_of_an_interruptible_call_reach_the_caller() -> None:
    cancelled = []

    def fail() -> None:
        raise ValueError("of the call")

    with pytest.raises(ValueError, match="of the call"):
        interruptible(fail, lambda: cancelled.append(True))
    assert not cancelled


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals, reads /proc")
def test_signals_at_any_instant() -> None:
    """In ThreadPoolExecutor the same makes the program hang for ever, soon."""
    done = run_python("-c", INTERRUPTED_ANYWHERE)
    assert (done.returncode, done.stderr) == (0, "")
    stopped, threads = map(int, done.stdout.split())
    assert stopped > 100
    assert threads == 1


INTERRUPTED_ANYWHERE = """
import os, random, signal
from dicube.threads import Threads

class Stop(BaseException):
    pass

def stop(*_):
    raise Stop

def run():
    with Threads(2) as threads:
        assert list(threads.map(str, range(20))) == [str(number) for number in range(20)]

random.seed(0)
run()
signal.signal(signal.SIGALRM, stop)
stopped = 0
for _ in range(5000):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-3))
            run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        stopped += 1
while len(os.listdir("/proc/self/task")) > 1:  # one that has ended may linger
    signal.sigtimedwait([], 0.01)
print(stopped, len(os.listdir("/proc/self/task")))
"""
