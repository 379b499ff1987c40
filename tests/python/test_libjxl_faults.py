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
    dtype = np.uint16 if bits <= 16 else np.uint32
    pixels = np.random.default_rng(bits).integers(0, 1 << bits, shape, np.int64).astype(dtype)
    pixels.flat[0] = (1 << bits) - 1
    return pixels


@pytest.mark.parametrize("bits", [15, 16, 32])
@pytest.mark.parametrize(
    "shape", [(2, 2), (1, 256), (8, 8), (17, 255), (64, 64, 3), (256, 256), (256, 256, 3)], ids=str
)
def test_fast_noise_in_one_group_overruns_a_buffer(shape: tuple[int, ...], bits: int) -> None:
    """Issue 4829: at effort 1, images of 15 and 16 bits that fit one group of 256 x 256."""
    pixels = noise(shape, bits)
    fast = imencode_jxl(pixels, effort=FAST)
    assert fast == imencode_jxl(pixels, effort=2)
    np.testing.assert_array_equal(imdecode_jxl(fast), pixels)
    mask = np.indices(shape[:2]).sum(axis=0) % 3 > 0
    if bits <= 16 and pixels.ndim == 2:
        found, inside = imdecode_jxl_roi(imencode_jxl_roi(pixels, mask, 0, 0, effort=FAST))
        np.testing.assert_array_equal(found, pixels)
        np.testing.assert_array_equal(inside, mask)


def test_only_such_images_are_not_fast() -> None:
    for shape, bits in (((257, 256), 16), ((256, 257), 15), ((256, 256), 14)):
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
