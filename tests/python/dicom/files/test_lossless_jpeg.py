"""Files in JPEG Lossless are loaded without a plugin, with the samples that were coded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import make_slice, write_series
from inputs.original_files import encapsulated
from inputs.peers import coded_by_dcmcjpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

from dicube.dicom.dicom_io import check_series, read_series
from dicube.exceptions import CodecError

imagecodecs = pytest.importorskip("imagecodecs")

pytestmark = pytest.mark.usefixtures("no_decoder_plugins")


def in_jpeg(dataset: Dataset, words: NDArray[Any], bits: int) -> Dataset:
    """Give a dataset words coded in JPEG Lossless for pixels; the codec knows no sign."""
    words = words.astype("uint8" if bits <= 8 else "uint16") & ((1 << bits) - 1)
    options = {"colorspace": "RGB", "outcolorspace": "RGB"} if dataset.SamplesPerPixel == 3 else {}
    frames = words if "NumberOfFrames" in dataset else [words]
    coded = [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(frame), lossless=True, predictor=1, bitspersample=bits, **options
        )
        for frame in frames
    ]
    changed = encapsulated(dataset, coded)
    changed.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return changed


def loaded(folder: Path, dataset: Dataset) -> NDArray[Any]:
    check_series(write_series(folder, [dataset]))
    return read_series(folder).volume


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("shape", [(60, 50), (60, 50, 3)], ids=["gray", "colour"])
def test_samples_of_fewer_bits(
    shape: tuple[int, ...], dtype: str, bits: int, tmp_path: Path
) -> None:
    dataset = make_slice(shape=shape, dtype=dtype)
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    least = -(1 << bits - 1) if dtype == "int16" else 0
    samples = np.random.default_rng(0).integers(least, least + (1 << bits), shape)
    volume = loaded(tmp_path, in_jpeg(dataset, samples, bits))
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume[0], samples)


def test_signs_within_more_bits_than_stored(tmp_path: Path) -> None:
    """Words of all bits allocated are kept as they are, like those of files that are not coded."""
    samples = np.random.default_rng(0).integers(-2048, 2048, (60, 50))
    dataset = make_slice(shape=(60, 50), dtype="int16")
    dataset.BitsStored, dataset.HighBit = 12, 11
    np.testing.assert_array_equal(loaded(tmp_path, in_jpeg(dataset, samples, 16))[0], samples)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_samples_of_one_byte(dtype: str, tmp_path: Path) -> None:
    dataset = make_slice(shape=(60, 50), dtype=dtype)
    expected = np.frombuffer(dataset.PixelData, dtype).reshape(60, 50)
    volume = loaded(tmp_path, in_jpeg(dataset, expected, 8))
    np.testing.assert_array_equal(volume[0], expected)


def test_several_frames(tmp_path: Path) -> None:
    dataset = several_frames(5, shape=(30, 20))
    expected = np.frombuffer(dataset.PixelData, "<u2").reshape(5, 30, 20)
    volume = loaded(tmp_path, in_jpeg(dataset, expected, 16))
    np.testing.assert_array_equal(volume, expected)


@pytest.mark.parametrize("kept", [0.3, 0.97])
def test_truncated_frames_are_refused(kept: float, tmp_path: Path) -> None:
    dataset = make_slice(shape=(60, 50))
    words = np.frombuffer(dataset.PixelData, "<u2").reshape(60, 50)
    coded = imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=16)
    encapsulated(dataset, [coded[: int(len(coded) * kept)]])
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    with pytest.raises(CodecError, match="JPEG Lossless: expected 60 rows"):
        loaded(tmp_path, dataset)


def test_subsampled_components_are_left_to_plugins(tmp_path: Path) -> None:
    dataset = make_slice(shape=(60, 50, 3), dtype="uint8")
    samples = np.frombuffer(dataset.PixelData, "uint8").reshape(60, 50, 3)
    (coded,) = generate_frames(in_jpeg(dataset, samples, 8).PixelData, number_of_frames=1)
    frame = coded.index(b"\xff\xc3")
    assert coded[frame + 11] == 0x11
    encapsulated(dataset, [coded[: frame + 11] + b"\x21" + coded[frame + 12 :]])
    dataset.file_meta.TransferSyntaxUID = JPEGLossless
    with pytest.raises(CodecError, match="pip install dicube"):
        loaded(tmp_path, dataset)


@pytest.mark.parametrize("predictor", range(8), ids=lambda n: f"predictor{n}" if n else "sv1")
@pytest.mark.parametrize("name", ["ct_ge_head/15.dcm", "ct_philips_thin/I100"])
def test_real_files_by_dcmtk(shared_data: Path, tmp_path: Path, name: str, predictor: int) -> None:
    source, target = shared_data / name, tmp_path / "x.dcm"
    coded_by_dcmcjpeg(source, target, predictor)
    coded, plain = read_series(target), read_series(source)
    syntax = JPEGLossless if predictor else JPEGLosslessSV1
    assert syntax.encode() in target.read_bytes()
    assert coded.volume.dtype == plain.volume.dtype
    np.testing.assert_array_equal(coded.volume, plain.volume)
