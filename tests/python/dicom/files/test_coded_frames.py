"""HTJ2K of other encoders as the pixels of a series, against OpenJPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_slice, write_series
from inputs.original_files import contents, encapsulated, restored
from numpy.typing import NDArray

from dicube import DicomCubeImage, verify_file

imagecodecs = pytest.importorskip("imagecodecs")


def series_of(folder: Path, frames: list[bytes], like: NDArray[Any]) -> Path:
    """Write slices with these frames."""
    datasets = [make_slice(n, like.shape, like.dtype) for n in range(len(frames))]
    coded = [
        encapsulated(dataset, [frame]) for dataset, frame in zip(datasets, frames, strict=True)
    ]
    return write_series(folder, coded)


def check_files(source: Path, expected: NDArray[Any], work: Path, last_place: int) -> None:
    """Compare what files made of a source hold with pixels that may differ in the last place."""
    image = DicomCubeImage.from_dicom_folder(source)
    for extension in (".dcbs", ".dcba"):
        path = work / f"x{extension}"
        image.to_file(path)
        pixels = DicomCubeImage.from_file(path).raw_image
        assert pixels.dtype == expected.dtype
        assert np.abs(pixels.astype(int) - expected).max() <= last_place
        assert verify_file(path, source).ok
    assert restored(source, work) == contents(source)


@pytest.mark.parametrize("step", [0.002, 0.05])
@pytest.mark.parametrize("shape", [(60, 70), (60, 70, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_lossy_frames_stay_in_their_range(
    dtype: str, shape: tuple[int, ...], step: float, tmp_path: Path
) -> None:
    limits = np.iinfo(dtype)
    sides = np.random.default_rng(0).integers(0, 2, (2, *shape))
    frames = np.where(sides, limits.max, limits.min).astype(dtype)
    rgb = len(shape) == 3
    coded = [imagecodecs.htj2k_encode(f, step, reversible=False, rgb=rgb) for f in frames]
    expected = np.stack([imagecodecs.jpeg2k_decode(frame) for frame in coded])
    assert np.abs(expected.astype(int) - frames).max() < np.ptp([limits.min, limits.max]) / 2
    # OpenJPEG rounds a constant of the wavelet to five digits, which shows in 16 bits.
    check_files(series_of(tmp_path / "in", coded, frames[0]), expected, tmp_path, limits.bits // 4)
