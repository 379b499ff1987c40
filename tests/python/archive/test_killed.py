"""After kill -9 at any instant, the next run ends with the archive of an undisturbed one.

A short sweep; `python tests/bench/archive.py kills` makes a long one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from programs.running import ROOT

sys.path.append(str(ROOT / "tests" / "bench"))

import archive as bench

SERIES = 12
KILLS = 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_kills_leave_no_trace(tmp_path: Path, seed: int) -> None:
    found = bench.measure_kills(tmp_path, SERIES, KILLS, seed)
    assert set(found.values()) == {f"{KILLS} of {KILLS}"}


def test_a_difference_would_be_found(tmp_path: Path) -> None:
    bench.make_tree(tmp_path / "tree", 2)
    for name in ("one", "other"):
        bench.add(str(tmp_path / name), str(tmp_path / "tree"), "1")
    assert bench.differences(tmp_path / "one", tmp_path / "other") == []
    (path,) = (tmp_path / "other").glob("*/*.1.dcba")
    path.write_bytes(path.read_bytes() + b"0")
    (tmp_path / "other" / ".dicube-work-1").mkdir()
    (tmp_path / "other" / ".dicube-work-1" / "new.dcba").touch()
    assert len(bench.differences(tmp_path / "one", tmp_path / "other")) == 2
