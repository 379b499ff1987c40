"""Replays the seeds of the Python fuzz targets, and the inputs that once failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from programs.running import ROOT

FUZZ = ROOT / "tests" / "fuzz"
CORPUS = sorted(path for path in (FUZZ / "corpus_python").rglob("*") if path.is_file())


@pytest.fixture(scope="module", autouse=True)
def _fuzz_folder_is_importable() -> None:
    sys.path.append(str(FUZZ))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path: Path) -> None:
    import fuzz_python

    fuzz_python.run(fuzz_python.TARGETS[path.parent.name], path.read_bytes())


def test_seeds() -> None:
    import fuzz_python

    seeds = list(fuzz_python.seeds())
    assert {target for target, *_ in seeds} == fuzz_python.TARGETS.keys()
    for target, _, content in seeds:
        fuzz_python.run(fuzz_python.TARGETS[target], content)


def test_mutations_are_of_json_too() -> None:
    import fuzz_python

    (seed,) = (c for _, name, c in fuzz_python.seeds() if name == "several-space")
    pick = fuzz_python.random.Random(0)
    documents = {
        fuzz_python.json.dumps(fuzz_python.mutated(fuzz_python.json.loads(seed[1:]), pick))
        for _ in range(50)
    }
    assert len(documents) > 30
