"""No hidden copies: memory taken beside the caller's arrays doesn't grow with the volume."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from programs.running import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

FRAMES, SIDE = 160, 512
VOLUME = FRAMES * SIDE * SIDE * 2
MB = 1 << 20
MOST = 32 * MB

# Written before each script. What a thread takes of memory is its own doing, not the volume's.
PRELUDE = f"""
import re, resource, sys
from pathlib import Path
import numpy as np
import dicube
from dicube import DicomCubeImage
from dicube.storage import DcbReader, DcbWriter

path, THREADS = sys.argv[1], 2
SHAPE = ({FRAMES}, {SIDE}, {SIDE})

def status(field):
    text = Path("/proc/self/status").read_text()
    return int(re.search(field + r":\\s*(\\d+) kB", text)[1]) * 1024

def frame(number):
    random = np.random.default_rng(number)
    return (random.integers(0, 64, SHAPE[1:]) + 900 + number).astype(np.int16)

def whole():
    volume = np.empty(SHAPE, np.int16)
    for number in range(SHAPE[0]):
        volume[number] = frame(number)
    return volume

def warm_up():
    small = np.stack([frame(0), frame(1)])
    DicomCubeImage(small).to_file(path + ".dcbs", num_threads=THREADS)
    DicomCubeImage.from_file(path + ".dcbs", num_threads=THREADS).get_fdata()

warm_up()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
"""
REPORT = "\nprint(status('VmHWM') - before)\n"


def peak_of(script: str, path: Path) -> int:
    """Bytes that a script's process took at most, beyond what it had before."""
    done = run_python("-c", PRELUDE + script + REPORT, path)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


WRITE = """
with DcbWriter(path, SHAPE, np.int16, num_threads=THREADS) as writer:
    for first in range(0, SHAPE[0], 8):
        writer.write_frames(np.stack([frame(first + i) for i in range(8)]))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "x.dcbs"
    assert peak_of(WRITE, path) < MOST
    return path


def test_the_volume_is_worth_measuring(path: Path) -> None:
    assert VOLUME > 2 * MOST
    assert path.stat().st_size > 2 * MOST / 3


def test_load(path: Path) -> None:
    script = "image = DicomCubeImage.from_file(path, num_threads=THREADS)"
    assert VOLUME * 0.9 < peak_of(script, path) < VOLUME + MOST


def test_load_of_real_values(path: Path) -> None:
    script = """
image = DicomCubeImage.from_file(path, num_threads=THREADS, dtype="float32")
values = image.get_fdata()
"""
    assert 2 * VOLUME * 0.9 < peak_of(script, path) < 2 * VOLUME + MOST


def test_one_frame(path: Path) -> None:
    assert peak_of("DcbReader(path, num_threads=THREADS).read_frame_list([77])", path) < MOST / 2


def test_save(path: Path) -> None:
    script = """
volume = whole()
DicomCubeImage(volume).to_file(path + "-again.dcbs", num_threads=THREADS)
"""
    assert VOLUME * 0.9 < peak_of(script, path) < VOLUME + MOST


def test_save_of_an_array_with_gaps(path: Path) -> None:
    script = """
volume = whole()
DicomCubeImage(volume[:, ::-1]).to_file(path + "-again.dcbs", num_threads=THREADS)
"""
    assert peak_of(script, path) < VOLUME + MOST


@pytest.mark.parametrize("how", ["map", "generator"])
def test_save_of_what_is_not_in_memory(how: str, path: Path, tmp_path: Path) -> None:
    raw = tmp_path / "volume.raw"
    source = np.memmap(raw, np.int16, "w+", shape=(FRAMES, SIDE, SIDE))
    source[:] = np.arange(FRAMES, dtype=np.int16)[:, None, None]
    source.flush()
    frames = {
        "map": f"np.memmap({str(raw)!r}, np.int16, 'r', shape=SHAPE)",
        "generator": "(frame(i) for i in range(SHAPE[0]))",
    }
    # Pages of a mapped file count as resident, but go when memory is short; writable ones don't.
    script = f"""
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + {2 * MOST},) * 2)
dicube.write_frames(path + "-again.dcbs", {frames[how]}, SHAPE, np.int16, num_threads=THREADS)
assert DcbReader(path + "-again.dcbs").shape == SHAPE
"""
    peak = peak_of(script, path)
    assert how == "map" or peak < MOST
