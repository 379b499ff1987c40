"""Tasks on any executor: bounded, and with a second chance after a lost worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from programs.running import path_with

from dicube.archive.executors import LostWorkerError, OwnProcesses, results


def double(number: int) -> int:
    return 2 * number


def jobs(count: int) -> Iterator[tuple[str, int]]:
    return ((f"job {number}", number) for number in range(count))


class Losing:
    """An executor of three threads that loses jobs: how often is a function of the job."""

    def __init__(self, losses: Callable[[int], int], error: BaseException) -> None:
        self.losses, self.error, self.pool = losses, error, ThreadPoolExecutor(3)
        self.active: set[int] = set()
        self.beside: dict[int, list[set[int]]] = {}  # what each run of a job ran beside

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        return self.pool.submit(self.run, fn, args[0])

    def run(self, fn: Callable[..., Any], job: int) -> Any:
        self.active.add(job)
        self.beside.setdefault(job, []).append(self.active - {job})
        time.sleep(0.01)
        self.active.discard(job)
        if len(self.beside[job]) <= self.losses(job):
            raise self.error
        return fn(job)


def test_each_job_gets_its_result() -> None:
    with ThreadPoolExecutor(3) as pool:
        found = dict(results(pool, double, jobs(50), 4))
    assert found == {f"job {number}": 2 * number for number in range(50)}


def test_few_jobs_are_in_flight_and_taken_as_others_end() -> None:
    taken = []

    def taking() -> Iterator[tuple[int, int]]:
        for number in range(20):
            taken.append(number)
            yield number, number

    with ThreadPoolExecutor(2) as pool:
        running = results(pool, double, taking(), 3)
        for done, _ in enumerate(running, 1):
            assert len(taken) <= done + 3
        assert len(taken) == 20


@pytest.mark.parametrize("error", [BrokenExecutor("ended"), CancelledError(), OSError("gone")])
def test_a_lost_job_runs_again_and_alone(error: BaseException) -> None:
    executor = Losing(lambda job: int(job in (1, 2)), error)
    found = dict(results(executor, double, jobs(9), 3))
    assert found == {f"job {number}": 2 * number for number in range(9)}
    assert {job: len(runs) for job, runs in executor.beside.items() if len(runs) > 1} == {
        1: 2,
        2: 2,
    }
    assert [executor.beside[job][1] for job in (1, 2)] == [set(), set()]


def test_a_job_that_is_lost_twice_fails_alone() -> None:
    executor = Losing(lambda job: 9 if job == 4 else 0, BrokenExecutor("ended"))
    found = dict(results(executor, double, jobs(9), 3))
    failure = found.pop("job 4")
    assert isinstance(failure, LostWorkerError)
    assert "BrokenExecutor" in failure.message
    assert found == {f"job {number}": 2 * number for number in range(9) if number != 4}
    assert len(executor.beside[4]) == 2


def test_an_executor_that_takes_nothing_ends_no_run() -> None:
    class Broken:
        def submit(self, fn: Any, /, *args: Any) -> Any:
            raise BrokenExecutor("always")

    found = dict(results(Broken(), double, jobs(5), 2))
    assert len(found) == 5
    assert all(isinstance(result, LostWorkerError) for result in found.values())


def test_closing_cancels_what_waits() -> None:
    with ThreadPoolExecutor(1) as pool:
        running = results(pool, slow, jobs(10), 5)
        next(running)
        begun = time.monotonic()
        running.close()
    assert time.monotonic() - begun < 60  # not a measurement: ten jobs would take ten seconds


def slow(number: int) -> int:
    time.sleep(0.05)
    return number


# ------------------------------------------------------------------------------- our own processes


def ends_the_first_time(path: str) -> str:
    if os.path.exists(path):
        return "done"
    Path(path).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def ends_always(path: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def process_id(path: str) -> int:
    return os.getpid()


def test_own_processes_begin_again_after_one_is_killed(tmp_path: Path) -> None:
    for name in "bc":
        (tmp_path / name).touch()  # only the job "a" ends its process
    with OwnProcesses(1) as processes:
        paths = [(name, str(tmp_path / name)) for name in "abc"]
        found = dict(results(processes, ends_the_first_time, paths, 2))
    assert found == dict.fromkeys("abc", "done")


def test_a_job_that_kills_each_worker_costs_itself_alone(tmp_path: Path) -> None:
    with OwnProcesses(2) as processes:
        (pair,) = results(processes, ends_always, [("bad", "x")], 2)
        assert isinstance(pair[1], LostWorkerError)
        assert dict(results(processes, process_id, [("good", "x")], 2))["good"] != os.getpid()


COORDINATOR = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
from dicube.archive.executors import OwnProcesses, results
from test_executors import announce
if __name__ == "__main__":
    with OwnProcesses(2) as processes:
        list(results(processes, announce, [(n, sys.argv[1]) for n in range(2)], 2))
"""


def announce(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_coordinator(tmp_path: Path, number: signal.Signals) -> None:
    program, folder = tmp_path / "coordinator.py", tmp_path / "pids"
    program.write_text(COORDINATOR)
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, program, folder],
        env={**os.environ, "PYTHONPATH": path_with(__file__)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(list(folder.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.wait()
    workers = [int(path.name) for path in folder.iterdir()]
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        time.sleep(0.02)  # faulthandler_timeout ends a test that hangs
