"""Ctrl-C during long calls: they end soon, raise KeyboardInterrupt, and leave nothing behind."""

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
from programs.running import PROGRAMS, run_python

from dicube import DicomCubeImage

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
        *("encode", "decode"),
        *(
            pytest.param(scene, marks=pytest.mark.slow)
            for scene in ("generator", "transfer_syntax", "real_values", "file_object", "masks")
        ),
    ],
)
def test_a_long_call_ends_soon(scene: str, tmp_path: Path) -> None:
    done = run_python(PROGRAMS / "interrupted_calls.py", scene, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "interrupted after" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True], ids=["stored", "real"])
@pytest.mark.parametrize("of", ["path", "file"])
def test_two_signals_take_no_memory_away(of: str, real: bool, tmp_path: Path) -> None:
    """The second comes while the first waits for a frame that is being decoded."""
    noise = np.random.default_rng(0).integers(0, 4096, (3, 3000, 3000), np.uint16)
    DicomCubeImage(noise).to_file(tmp_path / "x.dcba", effort=1, verify=False)
    done = run_python("-c", INTERRUPTED_TWICE, tmp_path / "x.dcba", of, "real" if real else "")
    assert (done.returncode, done.stderr) == (0, "")


INTERRUPTED_TWICE = """
import signal, sys, time, weakref
import numpy as np
from dicube.storage import DcbReader
from dicube.storage.real_values import RealValues

path, of, is_real = sys.argv[1:]
signals = []

def handler(*_):
    signals.append(time.monotonic())
    if len(signals) == 1:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
    raise KeyboardInterrupt

def read():
    reader = DcbReader(path if of == "path" else open(path, "rb"), num_threads=2)
    real = RealValues("float32", [1.0, 2.0, 3.0], [3.0, 4.0, 5.0]) if is_real else None
    out = np.ones(reader.shape, "float32" if real else "uint16")
    signals.clear()
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            reader.read_frames(out=out, real=real)
        except KeyboardInterrupt:
            time.sleep(1)  # for the second, if it has not come yet
    except KeyboardInterrupt:
        pass
    assert len(signals) == 2
    assert not out.any() or of == "file", "decoding went on"
    return weakref.ref(out)

signal.signal(signal.SIGALRM, handler)
assert read()() is None, "something goes on, and holds what it writes to"
"""


@pytest.mark.parametrize("way", ["write", "read", "read unverified", "read a path"])
def test_signals_at_any_instant(way: str, tmp_path: Path) -> None:
    """No call hangs, and none gives other bytes, also where they end a callback unheard."""
    done = run_python("-c", INTERRUPTED_ANYWHERE, way, tmp_path / "x.dcbs")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100


INTERRUPTED_ANYWHERE = """
import io, random, signal, sys, time
import numpy as np
from dicube.exceptions import CubeFileAccessError
from dicube.storage import DcbReader, DcbWriter

way, path = sys.argv[1:]
volume = np.random.default_rng(0).integers(0, 4000, (3, 40, 40), np.uint16)

class Stop(BaseException):
    pass

def stop(*_):
    raise Stop

def write(target):
    with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
        for number in range(20):
            writer.write_section(f"note.{number}", b"abc" * 50)
        writer.write_frames(volume)

def bytes_of():
    target = io.BytesIO()
    write(target)
    return target.getvalue()

def read():
    source = path if way == "read a path" else io.BytesIO(good)
    with DcbReader(source, verify=way != "read unverified", num_threads=2) as reader:
        sections = [reader.sections[name] for name in reader.sections]
        return reader.read_frames().tobytes(), sections

def run():
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, longest))
            found = bytes_of() if way == "write" else read()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (Stop, CubeFileAccessError):
        return 1
    assert found == expected
    return 0

random.seed(0)
write(path)
good = bytes_of()
expected = good if way == "write" else read()
signal.signal(signal.SIGALRM, stop)
# Half of the signals come while a run is under way, however fast the machine is. The quickest of
# several runs is the one that waited least for other programs.
longest, seconds = 60, []
for _ in range(20):
    started = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - started)
longest = 2 * min(seconds)
sys.unraisablehook = lambda _: None
stopped = 0
for _ in range(1000):
    try:
        stopped += run()
    except Stop:  # it came when all was done
        pass
print(stopped)
"""


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
