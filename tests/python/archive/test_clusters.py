"""The same archive on executors of others: loky's, and a dask cluster that loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from inputs.dicom_series import write_series
from inputs.series_trees import Inline, add, files_in, series_of, write_tree
from programs.running import path_with

from dicube import Archive
from dicube.archive import dask_cluster
from dicube.cli import main
from dicube.exceptions import CubeFileAccessError


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def expected(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an archive of the tree."""
    folder = tmp_path_factory.mktemp("expected")
    add(Archive(folder), tree)
    return files_in(folder)


def test_standard_executors(tree: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, get_context("forkserver")) as pool:
        assert Archive(tmp_path / "a").add(tree, executor=pool).counts == {"added": 6}
    assert files_in(tmp_path / "a") == expected
    with ThreadPoolExecutor(2) as pool:
        assert Archive(tmp_path / "b").add(tree / "a", executor=pool).counts == {"added": 1}


def test_loky(tree: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    loky = pytest.importorskip("loky")
    executor = loky.get_reusable_executor(2)
    try:
        assert Archive(tmp_path / "a").add(tree, executor=executor).counts == {"added": 6}
    finally:
        executor.shutdown(wait=True, kill_workers=True)
    assert files_in(tmp_path / "a") == expected


# ------------------------------------------------------------------------------------------ dask


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler with two worker processes, and the IDs of these."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "PYTHONPATH": path_with(__file__)}
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=folder)
        started.append(process)
        return process

    file = str(folder / "scheduler.json")
    try:
        start("dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file)
        for _ in range(2):
            options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--no-jupyter")
            start("dask_worker", "--scheduler-file", file, *options[:4])
        from distributed import Client

        while not Path(file).exists():
            time.sleep(0.05)
        client: Any = Client(scheduler_file=file, timeout=600)  # type: ignore[no-untyped-call]
        with client:
            client.wait_for_workers(2, timeout=600)
            address = client.scheduler.address
        yield address, [process.pid for process in started[1:]]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_dask_cluster_that_loses_a_worker(
    scheduler: tuple[str, list[int]], tmp_path: Path
) -> None:
    address, workers = scheduler
    for number in range(1, 25):
        write_series(tmp_path / "tree" / str(number), series_of(number, 8, shape=(64, 64)))
    add(Archive(tmp_path / "expected"), tmp_path / "tree")
    killed = threading.Event()

    def kill(_result: Any) -> None:
        if not killed.is_set():
            killed.set()
            os.kill(workers[0], signal.SIGKILL)

    archive = Archive(tmp_path / "archive")
    with dask_cluster.dask_executor(address) as (executor, threads):
        assert threads == 2
        report = archive.add(
            tmp_path / "tree", executor=executor, in_flight=2 * threads, on_series=kill
        )
    assert killed.is_set()
    assert sum(report.counts.get(outcome, 0) for outcome in ("added", "present")) == 24
    assert files_in(tmp_path / "archive") == files_in(tmp_path / "expected")


def test_the_command_takes_a_scheduler(
    scheduler: tuple[str, list[int]],
    tree: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    address, _ = scheduler
    folder = tmp_path / "archive"
    assert main(["archive", "add", str(folder), str(tree), "--dask", address]) == 0
    assert files_in(folder) == expected


def test_no_scheduler_is_an_error() -> None:
    pytest.importorskip("distributed")
    with (
        pytest.raises(CubeFileAccessError, match="no scheduler at"),
        dask_cluster.dask_executor("nosuch://user:secret@host"),
    ):
        pass


def test_tasks_are_small(tree: Path, tmp_path: Path) -> None:
    """They travel to other machines: files go by name, and nothing of the catalogue."""
    import pickle

    executor = Inline()
    Archive(tmp_path / "a").add(tree, executor=executor)
    assert max(len(pickle.dumps(task)) for task in executor.tasks) < 3000
