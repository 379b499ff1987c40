"""The bench measures what it claims. Its peers are not installed here."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from programs.running import ROOT

# Behind the tests' own folder: each has a fidelity.py.
sys.path.append(str(ROOT / "tests" / "bench"))

from contest import Contestant, compete
from report import markdown
from results import Results
from run import ROUNDS, TRAINING, Bench
from stores import STORES, Series, Store
from worker import Worker

HERE = [store for store in STORES.values() if store.environment == "here"]
SHAPE = (4, 24, 20)


@pytest.fixture
def series(tmp_path: Path) -> Series:
    """Four slices, as DICOM files and as a volume."""
    datasets = make_series(SHAPE[0], shape=SHAPE[1:])
    folder = write_series(tmp_path / "dicom", datasets)
    files = [str(folder / f"I{index + 1}") for index in range(SHAPE[0])]
    np.save(tmp_path / "volume.npy", np.stack([dataset.pixel_array for dataset in datasets]))
    return Series(str(tmp_path / "volume.npy"), str(folder), files, 1.0, -1024.0)


def job(path: Path, *arguments: Any) -> dict[str, Any]:
    return {"series": 0, "path": str(path), "arguments": arguments}


PATCH = [(1, 3), (0, 8), (5, 20)]
ARGUMENTS: dict[str, list[Any]] = {"slice": [2], "patch": PATCH, "patch_held": PATCH}


@pytest.mark.slow
@pytest.mark.parametrize("store", HERE)
def test_operations(store: type[Store], series: Series, tmp_path: Path) -> None:
    path = tmp_path / f"file{store.extension}"
    operations = [operation for each in ROUNDS for operation in each.operations]
    for operation in [*operations, *(operation for operation, _ in TRAINING.values())]:
        if hasattr(store, operation):
            worker = Worker(store(series, threads=1), operation, [series])
            answer = worker.run([job(path, *ARGUMENTS.get(operation, []))])
            assert "error" not in answer, operation
            assert answer["seconds"] > 0


@pytest.mark.parametrize("operation", ["read", "open", "slice", "patch"])
def test_what_is_wrong_is_seen(operation: str, series: Series, tmp_path: Path) -> None:
    path = tmp_path / "wrong.npy"
    volume = np.load(series.volume)
    np.save(path, volume[1:] if operation == "open" else volume + 1)
    worker = Worker(STORES["Npy"](series, threads=1), operation, [series])
    answer = worker.run([job(path, *ARGUMENTS.get(operation, []))])
    assert answer["wrong"]


def test_contestants_run_by_turns(series: Series, tmp_path: Path) -> None:
    about = tmp_path / "series.json"
    about.write_text(json.dumps([asdict(series)]))
    turns = []

    def contestant(name: str, path: Path, processes: int = 1) -> Contestant:
        def jobs(run: int, process: int) -> list[dict[str, Any]]:
            turns.append((run, name, process))
            return [job(path)]

        return Contestant(STORES["Npy"], "read", about, jobs, 1, processes)

    np.save(tmp_path / "other.npy", np.zeros(SHAPE, np.uint16))
    good = contestant("good", Path(series.volume), processes=2)
    wrong = contestant("wrong", tmp_path / "other.npy")
    gone = contestant("gone", tmp_path / "none.npy")
    compete([good, wrong, gone], repeats=2)
    assert turns[:4] == [(0, "good", 0), (0, "good", 1), (0, "wrong", 0), (0, "gone", 0)]
    assert turns[4:] == [(run, "good", process) for run in (1, 2) for process in (0, 1)]
    assert len(good.measured.seconds) == 2 and not good.measured.error
    assert wrong.measured.wrong and "values are wrong" in wrong.measured.error
    assert not gone.measured.wrong and "FileNotFoundError" in gone.measured.error

    results = Results(1000)
    results.sizes["Npy"] = 1100
    results.measured = {("read", "Npy"): good.measured, ("open", "Npy"): gone.measured}
    text = markdown("a series", "ci/run bench", results)
    assert "| .npy |" in text and "numpy" in text
    assert ".npy, open: FileNotFoundError" in text
    assert json.loads(json.dumps(results.as_data()))["stores"]["Npy"]["bytes"] == 1100


def test_only_series_that_all_can_keep(tmp_path: Path) -> None:
    colour = make_series(1, shape=(6, 5, 3), dtype="uint8")
    folder = write_series(tmp_path / "colour", colour)
    with pytest.raises(SystemExit, match="expected a series of gray slices"):
        Bench(folder, tmp_path, HERE, repeats=1)
