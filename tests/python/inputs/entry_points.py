"""The distribution of dicube as other programs find it, made from pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs.running import ROOT


def distribution(folder: Path) -> Path:
    """Make a folder that, on the path of Python, has the entry points of dicube."""
    toml = pytest.importorskip("tomllib", reason="tomllib is in Python from 3.11")
    project = toml.loads((ROOT / "pyproject.toml").read_text())["project"]
    made = folder / "distribution" / "dicube-0.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: dicube\nVersion: 0.0\n")
    lines = []
    for group, names in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (made / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return made.parent


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that finds dicube, which need not be installed."""
    paths = [str(distribution(folder)), str(ROOT / "python")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
