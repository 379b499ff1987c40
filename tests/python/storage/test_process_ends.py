"""Processes that end or fork while other threads read: exit status and results are right."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from programs.running import run_python

from dicube.storage import DcbWriter

_OPEN = """
import os, sys, threading, time
import numpy as np
import dicube
from dicube.storage import DcbReader, DcbWriter

path, source = sys.argv[1:3]
def opened():
    if source == "path":
        return dicube.open(path, num_threads=2)
    return dicube.open(open(path, "rb"), num_threads=2)

begun = threading.Event()
def read():
    cube = opened()
    while True:
        begun.set()
        cube[...]
        cube.get_fdata()
"""

_ENDING = """
def write():
    volume = np.random.default_rng(0).integers(0, 4000, (500, 64, 64)).astype(np.int16)
    with DcbWriter(path + ".dcba", volume.shape, volume.dtype, effort=9) as writer:
        begun.set()
        writer.write_frames(volume)

for _ in range(3):
    threading.Thread(target={target}, daemon=True).start()
    begun.wait()
    begun.clear()
time.sleep(0.05)
sys.exit(7)
"""

_FORKING = """
for _ in range(2):
    threading.Thread(target=read, daemon=True).start()
begun.wait()
cube = opened()
expected = cube[...]
children = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = not np.array_equal(cube[...], expected)
            status += not np.array_equal(opened()[2:5], expected[2:5])
        finally:
            os._exit(status)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children))
print(np.array_equal(cube[...], expected))
"""


@pytest.fixture(scope="module", params=[".dcbs", ".dcba"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    volume = np.random.default_rng(0).integers(0, 4000, (40, 128, 128)).astype(np.int16)
    path = tmp_path_factory.mktemp("ends") / f"x{request.param}"
    with DcbWriter(path, volume.shape, volume.dtype) as writer:
        writer.write_frames(volume)
    return path


@pytest.mark.parametrize("source", ["path", "file object"])
@pytest.mark.parametrize("target", ["read", "write"])
def test_the_interpreter_ends_in_the_middle(target: str, source: str, path: Path) -> None:
    for _ in range(2):
        done = run_python("-c", _OPEN + _ENDING.format(target=target), path, source)
        assert done.returncode == 7, (done.returncode, done.stderr)
        assert done.stdout + done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_forks_while_threads_read(path: Path) -> None:
    done = run_python("-W", "ignore::DeprecationWarning", "-c", _OPEN + _FORKING, path, "path")
    assert done.stdout == "True\nTrue\n", done.stderr
    assert done.returncode == 0
