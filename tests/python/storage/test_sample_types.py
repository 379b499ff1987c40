"""Every sample type in every lossless format is restored exactly, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import LOSSLESS
from numpy.typing import NDArray

from dicube import DicomCubeImage
from dicube.codecs.samples import SUPPORTED_DTYPES
from dicube.exceptions import DataConsistencyError


def any_bits(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return samples of random bits: of floating-point types NaNs with payloads among them."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    values = np.frombuffer(np.random.default_rng(4).bytes(size), kind).reshape(shape).copy()
    if kind.kind == "f":
        bits = kind.itemsize * 8
        special = values.view(f"u{kind.itemsize}")
        infinity = int(np.array(np.inf, kind).view(f"u{kind.itemsize}"))
        for place, pattern in enumerate(
            (
                1 << (bits - 1),  # -0.0
                0,
                1,  # the smallest subnormal
                infinity,
                infinity | 1 << (bits - 1),
                infinity | 1,  # a signalling NaN
                (1 << bits) - 1,  # a NaN with all its payload
            )
        ):
            special.flat[place] = pattern
    else:
        limits = np.iinfo(kind)
        values.flat[:2] = limits.min, limits.max
    return values


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 17, 13), (2, 9, 8, 3)], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_every_bit_comes_back(
    dtype: str, order: str, shape: tuple[int, ...], extension: str, tmp_path: Path
) -> None:
    volume = any_bits(shape, dtype)
    given = volume.astype(volume.dtype.newbyteorder(order))
    DicomCubeImage(given).to_file(tmp_path / f"x{extension}")
    image = DicomCubeImage.from_file(tmp_path / f"x{extension}")
    assert image.dtype == volume.dtype and image.losses == ()
    assert image.raw_image.tobytes() == volume.tobytes()


@pytest.mark.parametrize("dtype", ["bool", "complex64", "longdouble", "M8[s]", "S4", "O"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(DataConsistencyError, match="expected a dtype of uint8, "):
        DicomCubeImage(np.zeros((1, 4, 4), dtype))
