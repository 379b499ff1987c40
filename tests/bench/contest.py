"""Run an operation in several worker processes in turn, and record the times.

Must not know which operations and stores exist, or how the figures are used.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import NotInstalled, python_for, variables_for
from stores import Store

WORKER = str(Path(__file__).parent / "worker.py")

# A contestant is done after this many runs if they took this long in total: runs of seconds vary
# little.
_ENOUGH_RUNS = 3
_ENOUGH_SECONDS = 8.0

Jobs = list[dict[str, Any]]


class WorkerFailed(Exception):
    """A worker failed, or (`wrong`) returned wrong values; the message says how."""

    def __init__(self, message: str, wrong: bool = False) -> None:
        super().__init__(message)
        self.wrong = wrong


@dataclass
class Measured:
    """The measurements of one contestant.

    Attributes:
        seconds: time per job, for each counted run.
        peak: bytes of memory beyond those at the start, the maximum of all runs.
        versions: versions of the libraries measured.
        error: why there are no runs; '' if there are.
        wrong: whether the reason is that it returned wrong values.
    """

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    versions: str = ""
    error: str = ""
    wrong: bool = False

    @property
    def median(self) -> float:
        """The median run, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the interquartile range of the runs, in seconds."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2


class _Worker:
    """A worker process."""

    def __init__(self, store: type[Store], operation: str, threads: int, series: Path) -> None:
        command = [WORKER, store.__name__, operation, str(threads), str(series)]
        self._process = subprocess.Popen(
            [python_for(store.environment), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables_for(store.environment),
        )

    def send(self, jobs: Jobs) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # receive() reports it
            self._process.stdin.write(json.dumps(jobs) + "\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"the process exited with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(answer["error"], answer["wrong"])
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Contestant:
    """A store and one of its operations, run in one process or in several at once.

    Args:
        store, operation: a store, and the name of one of its methods.
        series: a file with the list of Series.
        jobs: called with the number of the run and of the process; returns the jobs to run.
        threads: the number of threads that a process may use.
        processes: the number of processes.

    Attributes:
        measured: the measurements so far.
    """

    def __init__(
        self,
        store: type[Store],
        operation: str,
        series: Path,
        jobs: Callable[[int, int], Jobs],
        threads: int,
        processes: int = 1,
    ) -> None:
        self.measured = Measured()
        self._jobs = jobs
        self._spent = 0.0
        self._workers: list[_Worker] = []
        try:
            for _ in range(processes):
                self._workers.append(_Worker(store, operation, threads, series))
        except NotInstalled as error:
            self.measured.error = f"not installed: {error}"

    @property
    def done(self) -> bool:
        """Whether there is nothing left to measure."""
        enough = len(self.measured.seconds) >= _ENOUGH_RUNS and self._spent > _ENOUGH_SECONDS
        return enough or bool(self.measured.error)

    def get_ready(self) -> None:
        """Wait until the processes are ready."""
        try:
            for worker in self._workers:
                self.measured.versions = worker.receive()["versions"]
        except WorkerFailed as error:
            self._fail(error)

    def run(self, number: int) -> None:
        """Run once; run 0 is a warm-up and is not counted."""
        jobs = [self._jobs(number, process) for process in range(len(self._workers))]
        try:
            start = time.perf_counter()
            for worker, mine in zip(self._workers, jobs, strict=True):
                worker.send(mine)
            answers = [worker.receive() for worker in self._workers]
            seconds = time.perf_counter() - start
        except WorkerFailed as error:
            self._fail(error)
            return
        if len(answers) == 1:
            seconds = answers[0]["seconds"]
        self.measured.peak = max(self.measured.peak, *(answer["peak"] for answer in answers))
        if number:
            self._spent += seconds
            self.measured.seconds.append(seconds / sum(map(len, jobs)))

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def _fail(self, error: WorkerFailed) -> None:
        self.measured.seconds.clear()
        self.measured.error, self.measured.wrong = str(error), error.wrong


def compete(contestants: list[Contestant], repeats: int) -> None:
    """Run all in turn, once to warm up and `repeats` times counted."""
    try:
        for contestant in contestants:
            contestant.get_ready()
        for number in range(repeats + 1):
            for contestant in contestants:
                if not contestant.done:
                    contestant.run(number)
    finally:
        for contestant in contestants:
            contestant.close()
