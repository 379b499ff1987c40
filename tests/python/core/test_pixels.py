"""Images decoded directly to real values: stored values are still available."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume

from dicube import DicomCubeImage
from dicube.dicom.series.stored_bits import UNUSED_BITS
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError
from dicube.pixel_header import PixelDataHeader
from dicube.storage import DcbReader


@pytest.fixture
def image(smooth_volume: SmoothVolume) -> DicomCubeImage:
    header = PixelDataHeader(RescaleSlope=0.3, RescaleIntercept=-7.5)
    return DicomCubeImage(smooth_volume((20, 30, 40), "int16"), header)


@pytest.fixture
def path(image: DicomCubeImage, tmp_path: Path) -> Path:
    image.to_file(tmp_path / "x.dcbs")
    return tmp_path / "x.dcbs"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_real_and_stored_values(dtype: str, path: Path, image: DicomCubeImage) -> None:
    expected = image.get_fdata(dtype)
    loaded = DicomCubeImage.from_file(path, dtype=dtype)
    assert loaded.shape == image.shape
    assert loaded.dtype == np.int16
    first, second = loaded.get_fdata(dtype), loaded.get_fdata(dtype)
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)
    assert first.dtype == dtype
    first += 1
    assert np.array_equal(loaded.get_fdata(dtype), expected)
    assert np.array_equal(loaded.raw_image, image.raw_image)
    assert np.array_equal(loaded.get_fdata(dtype), expected)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which each decoding adds the real values it gives, None for stored ones."""
    reads: list[Any] = []
    read_frames, begin_decoding = DcbReader.read_frames, DcbReader.begin_decoding

    def counted(reader: DcbReader, *arguments: Any, **options: Any) -> Any:
        reads.append(options.get("real"))
        return read_frames(reader, *arguments, **options)

    def begun(reader: DcbReader, *arguments: Any) -> Any:
        reads.append(None)
        return begin_decoding(reader, *arguments)

    monkeypatch.setattr(DcbReader, "read_frames", counted)
    monkeypatch.setattr(DcbReader, "begin_decoding", begun)
    return reads


def test_each_is_decoded_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.get_fdata()
    assert [real.dtype for real in reads] == ["float32"]
    assert loaded.raw_image is loaded.raw_image
    loaded.get_fdata()
    assert len(reads) == 2
    DicomCubeImage.from_file(path).get_fdata()
    assert reads[2:] == [None]


def test_changes_are_seen(path: Path, image: DicomCubeImage) -> None:
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.pixel_header.RescaleSlope = 2.0
    assert np.array_equal(loaded.get_fdata(), image.raw_image * 2.0 - 7.5)
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.raw_image[3] = 5
    assert np.all(loaded.get_fdata()[3] == np.float32(5 * 0.3 - 7.5))
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.raw_image = np.ones((20, 30, 40), np.uint8)
    assert loaded.dtype == np.uint8
    assert np.all(loaded.get_fdata() == np.float32(0.3 - 7.5))


def test_the_file_may_go(path: Path, image: DicomCubeImage) -> None:
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.to_file(path)
    assert np.array_equal(DicomCubeImage.from_file(path).raw_image, image.raw_image)
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    copy = pickle.loads(pickle.dumps(loaded))
    path.unlink()
    for each in (loaded, copy):
        assert np.array_equal(each.raw_image, image.raw_image)
        assert np.array_equal(each.get_fdata(), image.get_fdata())


def test_a_failure_is_not_for_ever(path: Path, image: DicomCubeImage) -> None:
    content = path.read_bytes()
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.get_fdata()
    with open(path, "r+b") as file:
        file.truncate(600)
        for _ in range(2):
            with pytest.raises(InvalidCubeFileError):
                assert loaded.raw_image.size
        file.seek(0)
        file.write(content)
    assert np.array_equal(loaded.get_fdata(), image.get_fdata())
    assert np.array_equal(loaded.raw_image, image.raw_image)


def test_stored_values_while_real_ones_are_read(
    path: Path, image: DicomCubeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = DicomCubeImage.from_file(path, dtype="float32")
    loaded.get_fdata()
    read_frames = DcbReader.read_frames

    def late(reader: DcbReader, *, real: Any = None, **options: Any) -> Any:
        if real is not None:  # as another thread does just now
            assert np.array_equal(loaded.raw_image, image.raw_image)
        return read_frames(reader, real=real, **options)

    monkeypatch.setattr(DcbReader, "read_frames", late)
    assert np.array_equal(loaded.get_fdata(), image.get_fdata())


def make_words(image: DicomCubeImage) -> None:
    """Have values be the lower 8 bits of an image's words."""
    image.init_meta()
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("BitsStored", 8)
    image.dicom_meta.set_shared_item("HighBit", 7)
    image.pixel_header.Extras[UNUSED_BITS] = True


def test_words_that_are_changed_or_replaced(image: DicomCubeImage) -> None:
    make_words(image)
    expected = image.get_fdata()
    image.raw_image |= 0
    assert np.array_equal(image.get_fdata(), expected)
    other = DicomCubeImage(image.raw_image, image.pixel_header, image.dicom_meta)
    other.raw_image = other.raw_image.copy()
    assert np.array_equal(other.get_fdata("float64"), image.raw_image * 0.3 - 7.5)
    assert np.array_equal(image.get_fdata(), expected)


def test_words_that_are_no_values(path: Path, image: DicomCubeImage, tmp_path: Path) -> None:
    make_words(image)
    image.to_file(tmp_path / "words.dcbs")
    loaded = DicomCubeImage.from_file(tmp_path / "words.dcbs", dtype="float32")
    assert np.array_equal(loaded.get_fdata(), image.get_fdata())
    low = (image.raw_image << 8) >> 8
    assert np.array_equal(loaded.get_fdata("float64"), low * 0.3 - 7.5)


def test_faults(path: Path) -> None:
    with pytest.raises(DataConsistencyError, match="found int32"):
        DicomCubeImage.from_file(path, dtype="int32")
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    with pytest.raises((InvalidCubeFileError, CodecError), match="frame 19"):
        DicomCubeImage.from_file(bytes(content), dtype="float32")
