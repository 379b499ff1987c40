"""Replays the seeds of the Python fuzz targets, and the inputs that once failed."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from inputs.sealing import sealed
from programs.running import ROOT

from dicube.storage import DcbReader

FUZZ = ROOT / "tests" / "fuzz"
CORPUS = sorted(path for path in (FUZZ / "corpus_python").rglob("*") if path.is_file())


@pytest.fixture(scope="module", autouse=True)
def _fuzz_folder_is_importable() -> None:
    sys.path.append(str(FUZZ))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path: Path) -> None:
    import fuzz_python

    fuzz_python.run(fuzz_python.TARGETS[path.parent.name], path.read_bytes())


@pytest.mark.slow
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
    documents = {fuzz_python.mutated_text(seed[1:], pick) for _ in range(50)}
    assert len(documents) > 30


def test_documents_that_would_fill_memory_are_not_mutated() -> None:
    import json_mutations

    with pytest.raises(ValueError, match="characters"):
        json_mutations.mutated_text("[" + "0," * (3 << 20) + "0]", random.Random(0))
    pick = random.Random(0)
    long = '[["' + "x" * 200_000 + '"]]'
    assert max(len(json_mutations.mutated_text(long, pick)) for _ in range(200)) < 1 << 24


def test_files_are_taken_apart_and_sealed_again() -> None:
    import file_parts
    import fuzz_python

    for target, name, content in fuzz_python.seeds():
        if target == "files":
            again = file_parts.joined(file_parts.parsed(content))
            assert file_parts.parsed(again) == file_parts.parsed(content), name
            with DcbReader(again, num_threads=1) as reader:
                assert all(reader.sections[section] is not None for section in reader.sections)
                reader.read_frames()


def test_mutated_files_have_right_checksums() -> None:
    import file_mutations
    import fuzz_python

    (seed,) = (c for _, name, c in fuzz_python.seeds() if name == "several.dcbs")
    mutants = {file_mutations.mutated_file(seed, random.Random(n)) for n in range(60)} - {seed}
    assert len(mutants) > 40
    for mutant in mutants:
        assert sealed(mutant) == mutant


@pytest.mark.parametrize("what", ["write", "read", "connect", "memory", "disk"])
def test_guard_finds_escapes(tmp_path: Path, what: str) -> None:
    import guard

    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    watcher = guard.Guard(inside)

    def connect() -> None:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.connect(("127.0.0.1", 9))

    def fill() -> None:
        with (inside / "sparse").open("wb") as file:
            file.truncate(guard.MOST_WRITTEN + 1)

    acts = {
        "disk": fill,
        "write": lambda: (inside / ".." / "outside").write_bytes(b"x"),
        "read": lambda: (tmp_path / "secret").read_bytes(),
        "connect": connect,
        "memory": lambda: np.ones(guard.MOST_MEMORY + (64 << 20), np.uint8).sum(),
    }
    with watcher.watching("nothing", inside):
        (inside / "x").write_bytes(b"x")
    with pytest.raises(guard.Escape, match="one act"), watcher.watching("one act", inside):
        acts[what]()
