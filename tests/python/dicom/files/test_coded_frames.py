"""HTJ2K of other encoders as the pixels of a series, against OpenJPEG."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_slice, write_series
from inputs.original_files import contents, encapsulated, restored
from numpy.typing import NDArray

from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imdecode_jph, imencode_jph

imagecodecs = pytest.importorskip("imagecodecs")

FAR = 1 << 20  # a multiple of precincts of 2^15 pixels in each of five decompositions


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


def at_offset(coded: bytes) -> bytes:
    """Move the image and its tiles so far that the wavelet sees no difference."""
    width, height = struct.unpack_from(">LL", coded, 8)
    moved = bytearray(coded)
    struct.pack_into(">4L", moved, 8, FAR + width, FAR + height, FAR, FAR)
    struct.pack_into(">2L", moved, 32, FAR, FAR)
    return bytes(moved)


def in_precincts(coded: bytes) -> bytes:
    """Declare the least precincts that hold each resolution of an 8 x 8 image."""
    cod = coded.index(b"\xff\x52")
    length, levels = coded[cod + 3], coded[cod + 9]
    declared = bytearray(coded)
    declared[cod + 3], declared[cod + 4] = length + levels + 1, 1
    sides = [0x11 * max(3 - level, 1) for level in range(levels, -1, -1)]
    sides[0] = 0x00
    end = cod + 2 + length
    return bytes(declared[:end]) + bytes(sides) + coded[end:]


@pytest.mark.parametrize(
    "change",
    [
        at_offset,
        in_precincts,
        lambda coded: in_precincts(at_offset(coded)),
        lambda coded: imagecodecs.htj2k_encode(imdecode_jph(coded), reversible=True, tile=(3, 2)),
    ],
    ids=["offset", "precincts", "both", "tiles"],
)
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)], ids=["grey", "colour"])
def test_any_geometry_is_read(change: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 4096, (2, *shape), "uint16")
    coded = [change(imencode_jph(frame)) for frame in frames]
    for frame, pixels in zip(coded, frames, strict=True):
        np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(frame), pixels)
    check_files(series_of(tmp_path / "in", coded, frames[0]), frames, tmp_path, 0)
