"""Has worker processes do the same operation by turns, and keeps how long they took.

Must not know which operations and stores there are, or what is made of the figures.
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

# Who has run this often, and this long altogether, has been measured well enough: one that takes
# seconds varies by little.
_ENOUGH_RUNS = 3
_ENOUGH_SECONDS = 8.0

Jobs = list[dict[str, Any]]


class WorkerFailed(Exception):
    """A worker could not do what it was told, or (`wrong`) gave something else; says what."""

    def __init__(self, message: str, wrong: bool = False) -> None:
        super().__init__(message)
        self.wrong = wrong


@dataclass
class Measured:
    """What was measured of one contestant.

    Attributes:
        seconds: of each counted run, for one job.
        peak: bytes of memory beyond the start, the most of all runs.
        versions: of what did it.
        error: why there are no runs; '' if there are.
        wrong: whether that is because it gave something else than was kept.
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
        """Half of the range that the middle half of the runs lies in, in seconds."""
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
        with contextlib.suppress(BrokenPipeError):  # receive() tells
            self._process.stdin.write(json.dumps(jobs) + "\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"the process ended with {self._process.wait()}")
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
    """A store that does an operation, in one process or in several at once.

    Args:
        store, operation: a store, and the name of one of its methods.
        series: a file with the list of Series.
        jobs: called with the number of the run and of the process; returns the jobs to do.
        threads: that a process may use.
        processes: how many there are.

    Attributes:
        measured: so far.
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
        """Wait until the processes are."""
        try:
            for worker in self._workers:
                self.measured.versions = worker.receive()["versions"]
        except WorkerFailed as error:
            self._fail(error)

    def run(self, number: int) -> None:
        """Run once; run 0 warms up, and is not counted."""
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
    """Run all by turns, once to warm up and `repeats` times to count."""
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
