"""libjxl's decoder, as patched in ci/recipes, gives what the unpatched one of imagecodecs gives.

The patch decodes four full groups (256 x 256) together, and channels of effort 3 by a loop of its
own; all else, and every damaged stream, is left to libjxl's own loops.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicube.codecs.jxl import imdecode_jxl, imencode_jxl
from dicube.exceptions import CodecError

imagecodecs = pytest.importorskip("imagecodecs")

SHAPES = [
    (64, 64),  # the least that the loop is for
    (63, 65),
    (256, 256),
    (512, 512),  # four groups
    (513, 767),  # four, and partial ones
    (300, 1100),
    (1024, 768),  # three times four
    (512, 520, 3),
]
BITS = [8, 9, 12, 16]


def image_of(content: str, shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    random = np.random.default_rng(bits)
    greatest = (1 << bits) - 1
    rows, columns = np.indices(shape[:2])
    if len(shape) == 3:
        rows, columns = (np.stack([grid, grid + 40, grid * 2], axis=2) for grid in (rows, columns))
    noise = random.integers(0, greatest + 1, shape)
    if content == "noise":
        image = noise
    elif content == "extremes":
        image = np.where(noise & 1, greatest, 0)
    elif content == "steps":
        image = (columns // 16 * 7 + rows // 16 * 3) % 40 * (greatest // 40)
    else:
        smooth = greatest * (2 + np.sin(rows / 45) + np.cos(columns / 31)) / 4
        image = smooth + random.normal(0, greatest / 200, shape)
        image[rows < 40] = 0  # where all errors are 0
    return np.clip(image, 0, greatest).astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["noise", "extremes", "steps", "smooth"])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_effort_3(shape: tuple[int, ...], bits: int, content: str) -> None:
    image = image_of(content, shape, bits)
    coded = imencode_jxl(image, effort=3)
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(coded), image)
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(imdecode_jxl(coded, threads), image)


@pytest.mark.parametrize("content", ["smooth", "steps"])
@pytest.mark.parametrize("effort", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("shape", [(256, 256), (512, 512), (512, 512, 3)], ids=str)
def test_other_trees_and_codes(shape: tuple[int, ...], effort: int, content: str) -> None:
    image = image_of(content, shape, 12)
    for speed in (0, 1):  # of decoding: higher ones have simpler trees
        options = {"effort": effort, "decodingspeed": speed, "bitspersample": 12}
        coded = imagecodecs.jpegxl_encode(image, lossless=True, **options)
        np.testing.assert_array_equal(imdecode_jxl(coded, 1), image)


def expect_the_same(coded: bytes) -> bool:
    """Compare both decoders' samples or refusal of a stream; returns whether it was decoded."""
    try:
        expected = imagecodecs.jpegxl_decode(coded)
    except imagecodecs.JpegxlError:
        with pytest.raises(CodecError):
            imdecode_jxl(coded, 1)
        return False
    np.testing.assert_array_equal(imdecode_jxl(coded, 1), expected)
    return True


@pytest.mark.parametrize("shape", [(256, 256), (512, 512)], ids=str)
@pytest.mark.parametrize("content", ["noise", "smooth"])
def test_damaged_streams(shape: tuple[int, ...], content: str) -> None:
    coded = imencode_jxl(image_of(content, shape, 12), effort=3)
    random = np.random.default_rng(7)
    for place in random.integers(len(coded) // 50, len(coded), 60):
        damaged = bytearray(coded)
        damaged[place] ^= 1 << random.integers(8)
        expect_the_same(bytes(damaged))


@pytest.mark.parametrize("shape", [(256, 256), (512, 512)], ids=str)
def test_streams_that_end_early(shape: tuple[int, ...]) -> None:
    coded = imencode_jxl(image_of("smooth", shape, 12), effort=3)
    for size in (len(coded) - 1, len(coded) - 2, len(coded) - 9, len(coded) * 3 // 4):
        assert not expect_the_same(coded[:size])


@pytest.mark.parametrize("name", ["prefix_codes", "transforms_of_groups"])
def test_foreign_streams(name: str) -> None:
    """Files of libjxl 0.11.2, with options that imagecodecs lacks.

    One is responsive, at effort 3 and decoding speed 2. The other has groups of 128 x 128,
    at effort 7 and without learning its tree.
    """
    coded = (Path(__file__).parent / "foreign_jxl" / f"{name}.jxl").read_bytes()
    assert expect_the_same(coded)


@pytest.mark.skipif(sys.platform != "linux", reason="calls mprotect")
@pytest.mark.parametrize("shape", [(256, 256), (512, 512)], ids=str)
def test_nothing_is_read_beyond_a_stream(shape: tuple[int, ...]) -> None:
    """The stream ends where readable memory ends."""
    image = image_of("noise", shape, 12)
    coded = imencode_jxl(image, effort=3)
    end = -(-len(coded) // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, end + mmap.PAGESIZE)
    pages[end - len(coded) : end] = coded
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages, end))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, 0) == 0
    np.testing.assert_array_equal(imdecode_jxl(memoryview(pages)[end - len(coded) : end], 1), image)
