"""JPEG Lossless as libjpeg-turbo and liblj92 encode it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicube.codecs.lossless_jpeg import decode_lossless_jpeg
from dicube.exceptions import CodecError

imagecodecs = pytest.importorskip("imagecodecs")


def image(bits: int, shape: tuple[int, ...] = (37, 53)) -> NDArray[Any]:
    """A ramp with noise, whose samples have all values of these bits where they are few."""
    ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) << bits >> 7
    noise = np.random.default_rng(bits).integers(0, 1 << bits, (*shape, 1)[:3]) >> bits // 2
    samples = (ramp[..., np.newaxis] + noise) % (1 << bits)
    return samples.reshape(shape).astype("uint8" if bits <= 8 else "uint16")


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", range(2, 17))
def test_predictors_and_bits(bits: int, predictor: int) -> None:
    for shape in ((37, 53), (37, 53, 3), (1, 1), (1, 90), (90, 1)):
        expected = image(bits, shape)
        colours = {} if len(shape) == 2 else {"colorspace": "RGB", "outcolorspace": "RGB"}
        jpeg = imagecodecs.jpeg8_encode(
            expected, lossless=True, predictor=predictor, bitspersample=bits, **colours
        )
        samples, found = decode_lossless_jpeg(jpeg)
        assert (samples.dtype, found) == (expected.dtype, bits)
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("bits", range(9, 17))
def test_another_encoder(bits: int) -> None:
    expected = image(bits, (64, 48))
    samples, found = decode_lossless_jpeg(imagecodecs.ljpeg_encode(expected, bitspersample=bits))
    assert found == bits
    np.testing.assert_array_equal(samples, expected)


def test_other_images_are_refused() -> None:
    gray = image(8)
    lossless = imagecodecs.jpeg8_encode(gray, lossless=True)
    for other in (
        imagecodecs.jpeg8_encode(gray),
        imagecodecs.jpegls_encode(gray),
        b"",
        b"\xff\xd8",
        lossless[:200],
        b"\0" + lossless,
    ):
        with pytest.raises(CodecError, match="JPEG Lossless"):
            decode_lossless_jpeg(other)
