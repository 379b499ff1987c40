"""Limits of libjxl 0.11 that dicube guards against: memory and threads.

Other tests cover what JPEG XL itself lacks: signed integers and more than 16 bits are mapped
(test_codecs, test_sample_types), and small 16-bit values are scaled before lossy coding, which
would take them for black (test_lossy).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from programs.running import run_python


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_few_bytes_take_no_gigabytes(tmp_path: Path) -> None:
    """Issue 3793: what libjxl allocates is counted, and ends at `max_memory`."""
    script = """
import pathlib, re, sys
import numpy as np
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter

pixels = np.zeros((1, 3000, 3000), np.uint16)
with DcbWriter(sys.argv[1], pixels.shape, pixels.dtype) as writer:
    writer.write_frames(pixels)
assert pathlib.Path(sys.argv[1]).stat().st_size < 100000

def resident(field):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.findall(field + r":\\s*(\\d+) kB", text)[0]) * 1024

pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = resident("VmRSS")
with DcbReader(sys.argv[1], max_memory=4 << 20, num_threads=1) as reader:
    try:
        reader.read_frame_list([0], out=pixels)
    except InvalidCubeFileError as error:
        print(error.message)
# The array, which is filled with zeros in the end, and twice what was allowed.
assert resident("VmHWM") - before < pixels.nbytes + (8 << 20), resident("VmHWM") - before
"""
    done = run_python("-c", script, tmp_path / "x.dcba")
    assert done.returncode == 0, done.stderr
    assert "needs more than the 4194304 bytes of max_memory" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_threads_that_the_system_lacks(tmp_path: Path) -> None:
    """A frame is decoded by those that there are, and none is left behind."""
    script = """
import pathlib, re, resource, sys, time
import numpy as np
from dicube.storage import DcbReader, DcbWriter

def status(field):
    return int(re.findall(field + r":\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[0])

pixels = np.arange(300 * 300, dtype=np.uint16).reshape(1, 300, 300)
with DcbWriter(sys.argv[1], pixels.shape, pixels.dtype) as writer:
    writer.write_frames(pixels)
with DcbReader(sys.argv[1], num_threads=1000) as reader:
    # Room for the stacks of some threads more.
    most = (status("VmSize") << 10) + (400 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    before = status("Threads")
    for _ in range(3):
        assert np.array_equal(reader.read_frames(), pixels)
    for _ in range(100):  # the system counts a thread for a moment after it was joined
        if status("Threads") == before:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(status("Threads"), before)
"""
    done = run_python("-c", script, tmp_path / "x.dcba")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_that_the_system_lacks(tmp_path: Path) -> None:
    """libjxl does not distinguish that from other failures."""
    script = """
import os, pathlib, re, resource, sys, time
import numpy as np
from dicube.exceptions import OutOfMemoryError
from dicube.storage import DcbReader, DcbWriter

def outcomes_of(call):
    found, threads = set(), len(os.listdir("/proc/self/task"))
    for room in range(0, 32 << 20, 2 << 20):
        # A thread that is ending lets go of memory, and one that begins aborts where it lacks some.
        while len(os.listdir("/proc/self/task")) > threads:
            time.sleep(0.001)
        text = pathlib.Path("/proc/self/status").read_text()
        held = int(re.findall(r"VmSize:\\s*(\\d+)", text)[0]) << 10
        resource.setrlimit(resource.RLIMIT_AS, (held + room, resource.RLIM_INFINITY))
        try:
            call()
        except OutOfMemoryError as error:
            found.add(error.message)
        else:
            found.add("done")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    print(*sorted(found), sep=", ")

noise = np.random.default_rng(0).integers(0, 1 << 16, (1, 1500, 1500)).astype(np.uint16)
def write():
    with DcbWriter(sys.argv[1], noise.shape, noise.dtype, num_threads=1) as writer:
        writer.write_frames(noise)

if sys.argv[2] == "encode":
    outcomes_of(write)
    write()
else:
    with DcbReader(sys.argv[1], num_threads=1) as reader:
        outcomes_of(lambda: reader.read_frames(out=noise))
"""
    for action in ("encode", "decode"):
        done = run_python("-c", script, tmp_path / "x.dcba", action)
        assert done.stdout in ("done, out of memory\n", "out of memory\n"), done.stderr
