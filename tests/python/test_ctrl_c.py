"""Ctrl-C in the middle of long calls: they end soon, raise, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import run_python

from dicube import DicomCubeImage
from dicube.storage.interruption import interruptible

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals, reads /proc")


@pytest.fixture(autouse=True)
def sigint_is_not_ignored() -> Iterator[None]:
    """As it is, for processes started from here too, where a shell runs the tests in background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "scene",
    [
        *("encode", "generator", "transfer_syntax"),
        *("decode", "real_values", "file_object", "masks"),
    ],
)
def test_a_long_call_ends_soon(scene: str, tmp_path: Path) -> None:
    done = run_python(HERE / "interrupted_calls.py", scene, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "interrupted in" in done.stdout


def test_the_command(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(2000, 40, (200, 256, 256)).astype(np.uint16)
    DicomCubeImage(noise).to_file(tmp_path / "x.dcbs")
    target = tmp_path / "x.dcba"
    command = ["-m", "dicube", "convert", tmp_path / "x.dcbs", target, "--effort", "9"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not any(path.name.startswith(".dicube-") for path in tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "dicube: error: interrupted\n"
    assert process.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcbs"]


def test_errors_of_the_call_reach_the_caller() -> None:
    def fail() -> None:
        raise ValueError("of the call")

    with pytest.raises(ValueError, match="of the call"):
        interruptible(fail, lambda: None)
