"""Every sample type in every lossless format is restored exactly, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs.arrays import LOSSLESS, random_bits

from dicube import DicomCubeImage
from dicube.codecs.samples import SUPPORTED_DTYPES
from dicube.exceptions import DataConsistencyError


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 17, 13), (2, 9, 8, 3)], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_every_bit_comes_back(
    dtype: str, order: str, shape: tuple[int, ...], extension: str, tmp_path: Path
) -> None:
    volume = random_bits(shape, dtype)
    given = volume.astype(volume.dtype.newbyteorder(order))
    DicomCubeImage(given).to_file(tmp_path / f"x{extension}")
    image = DicomCubeImage.from_file(tmp_path / f"x{extension}")
    assert image.dtype == volume.dtype and image.losses == ()
    assert image.raw_image.tobytes() == volume.tobytes()


@pytest.mark.parametrize("dtype", ["bool", "complex64", "longdouble", "M8[s]", "S4", "O"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(DataConsistencyError, match="expected a dtype of uint8, "):
        DicomCubeImage(np.zeros((1, 4, 4), dtype))
