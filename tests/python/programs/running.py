"""Run Python programs in processes of their own, with this package or the published one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PUBLISHED = "dicube[nifti]==0.3.0"

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = Path(__file__).resolve().parent
GOLDEN = ROOT / "tests" / "golden"


def needs(*programs: str) -> list[str]:
    """Return the paths of programs; skips the test where one is missing.

    `ci/run full` reads the reason: it fails where it names a program that it installed.
    """
    found = [shutil.which(program) or pytest.skip(f"needs {program}") for program in programs]
    return [str(path) for path in found]


def path_with(module: str) -> str:
    """Return a PYTHONPATH with the folder of a test module, so that a process can import it."""
    return os.pathsep.join([str(Path(module).parent), *sys.path])


def run_python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process that imports what this one does."""
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return _run(sys.executable, arguments, {**os.environ, **path, **environment})


def run_published(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the published package's Python, which must not see ours."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return _run(python, arguments, environment)


def _run(
    python: str | Path, arguments: Sequence[object], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
