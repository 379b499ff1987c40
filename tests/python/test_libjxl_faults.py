"""Faults of libjxl 0.11 that could be reached: each is fenced, and each fence is shown here.

Beside these, what JPEG XL lacks (signed integers, more than 16 bits) is mapped, of which
test_codecs and test_sample_types tell; that its lossy model takes small 16-bit values for black,
test_lossy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_python
from numpy.typing import NDArray

from dicube.codecs.jxl import imdecode_jxl, imdecode_jxl_roi, imencode_jxl, imencode_jxl_roi
from dicube.codecs.jxl.codestream import read_jxl

FAST = 1


def noise(shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    """Return an image that can't be compressed, of all bits."""
    dtype = np.uint8 if bits <= 8 else np.uint16
    pixels = np.random.default_rng(bits).integers(0, 1 << bits, shape, np.int64).astype(dtype)
    pixels.flat[0] = (1 << bits) - 1
    return pixels


def wild(shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    """Return an image whose samples jump as far as they can, but in the rows in its middle."""
    pixels = (np.indices(shape).sum(axis=0) % 2 * ((1 << bits) - 1)).astype(np.uint16)
    pixels[shape[0] // 2 - 8 : shape[0] // 2 + 8] = 0
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        *(noise((256, 256), bits) for bits in (15, 16)),
        *(wild((256, 256), bits) for bits in (11, 12, 14, 16)),
        *(noise(shape, bits) for shape in ((2, 2, 3), (36, 15, 3)) for bits in (9, 14, 16)),
        wild((300, 300, 3), 14),
    ],
    ids=lambda pixels: f"{pixels.shape} {pixels.max()}",
)
def test_fast_overruns_buffers(pixels: NDArray[Any]) -> None:
    """Issue 4829 and beyond: at effort 1, images that don't fit the buffers made for them."""
    fast = imencode_jxl(pixels, effort=FAST)
    assert fast == imencode_jxl(pixels, effort=2)
    np.testing.assert_array_equal(imdecode_jxl(fast), pixels)


def test_fast_takes_two_colours_for_one() -> None:
    """Issue 4287: at effort 1, colours of the same hash in the palette that libjxl looks for."""
    colours = np.arange(1 << 24, dtype=np.uint32)
    hashes = (colours * np.uint32(2654435761)) >> 16
    by_hash = np.argsort(hashes, kind="stable")
    first = np.flatnonzero(hashes[by_hash[1:]] == hashes[by_hash[:-1]])
    for hash_of_black in (False, True):
        place = 0 if hash_of_black else first[len(first) // 2]
        pair = by_hash[place : place + 2].astype("<u4")
        image = np.full((16, 16, 3), 200, np.uint8)
        image[:3, :, 0] = np.arange(16)
        image[8, 8:10] = pair.view(np.uint8).reshape(2, 4)[:, :3]
        fast = imencode_jxl(image, effort=FAST)
        np.testing.assert_array_equal(imdecode_jxl(fast), image)
        image[8, 9] = image[8, 8]
        assert imencode_jxl(image, effort=FAST) != imencode_jxl(image, effort=2)


def test_fast_breaks_colours() -> None:
    """At effort 1, on x86, now and then where colours are far from those beside them."""
    pixels = noise((1, 200000, 3), 8)
    np.testing.assert_array_equal(imdecode_jxl(imencode_jxl(pixels, effort=FAST)), pixels)
    smooth = np.indices((30, 40)).sum(axis=0).astype(np.uint8)
    for far in ([255, 0, 0], [0, 255, 0]):
        pixels = np.stack([smooth + 64, smooth * 2, 255 - smooth], axis=2)
        assert imencode_jxl(pixels, effort=FAST) != imencode_jxl(pixels, effort=2)
        pixels[7, 9] = far
        for turned in (pixels, pixels.swapaxes(0, 1)):
            assert imencode_jxl(turned, effort=FAST) == imencode_jxl(turned, effort=2)


@pytest.mark.parametrize("bits", [15, 16])
@pytest.mark.parametrize("shape", [(2, 2), (17, 255), (256, 256)], ids=str)
def test_fast_noise_with_a_mask(shape: tuple[int, ...], bits: int) -> None:
    pixels = noise(shape, bits)
    mask = np.indices(shape).sum(axis=0) % 3 > 0
    found, inside = imdecode_jxl_roi(imencode_jxl_roi(pixels, mask, 0, 0, effort=FAST))
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(inside, mask)


@pytest.mark.parametrize(
    ("shape", "bits"),
    [((257, 256), 16), ((256, 257), 15), ((256, 256), 10), ((2, 2), 16), ((64, 64, 3), 7)],
    ids=str,
)
def test_all_others_are_fast(shape: tuple[int, ...], bits: int) -> None:
    pixels = noise(shape, bits)
    fast = imencode_jxl(pixels, effort=FAST)
    assert fast != imencode_jxl(pixels, effort=2)
    np.testing.assert_array_equal(imdecode_jxl(fast), pixels)


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (300, 280)], ids=str)
def test_fast_gray_is_a_valid_file(shape: tuple[int, ...], bits: int) -> None:
    """Issue 4587: at effort 1, gray that is not said to be gray."""
    pixels = noise(shape, bits)
    coded = imencode_jxl(pixels, effort=FAST)
    assert read_jxl(coded).samples == 1
    np.testing.assert_array_equal(imdecode_jxl(coded), pixels)


def test_others_decode_fast_gray() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    for shape in ((1, 1), (40, 30), (300, 280)):
        pixels = noise(shape, 16)
        found = imagecodecs.jpegxl_decode(imencode_jxl(pixels, effort=FAST))
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_few_bytes_take_no_gigabytes(tmp_path: Path) -> None:
    """Issue 3793: what libjxl allocates is counted, and ends at `max_memory`."""
    script = """
import pathlib, re, sys
import numpy as np
from dicube.exceptions import InvalidCubeFileError
from dicube.storage.dcb_file import DcbReader, DcbWriter

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
import pathlib, re, resource, sys
import numpy as np
from dicube.storage.dcb_file import DcbReader, DcbWriter

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
    assert status("Threads") == before
"""
    done = run_python("-c", script, tmp_path / "x.dcba")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_that_the_system_lacks(tmp_path: Path) -> None:
    """libjxl does not tell that from other failures."""
    script = """
import os, pathlib, re, resource, sys, time
import numpy as np
from dicube.exceptions import OutOfMemoryError
from dicube.storage.dcb_file import DcbReader, DcbWriter

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
