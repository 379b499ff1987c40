"""codecs.jph.codestream and codecs.jxl.codestream: what coded images say of themselves."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicube import DicomCubeImage
from dicube.codecs.jph import imdecode_jph, imencode_jph
from dicube.codecs.jph.codestream import read_jph
from dicube.codecs.jxl import imdecode_jxl, imencode_jxl, recompress_jpeg
from dicube.codecs.jxl.codestream import read_jxl
from dicube.exceptions import CodecError
from dicube.storage import DcbReader

SHAPES = [(1, 1), (64, 65), (200, 130), (33, 257, 3), (700, 1), (1000, 3000)]


def image(shape: tuple[int, ...], bits: int, dtype: str = "uint16") -> NDArray[Any]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype[0] == "i" else (0, (1 << bits) - 1)
    values = np.linspace(low, high, int(np.prod(shape))).astype(dtype).reshape(shape)
    values.flat[-1] = high
    return values


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [1, 7, 8, 9, 10, 12, 13, 16])
def test_depth_and_samples_are_read(shape: tuple[int, ...], bits: int) -> None:
    pixels = image(shape, bits, "uint8" if bits <= 8 else "uint16")
    samples = shape[2] if len(shape) == 3 else 1
    jph, jxl = read_jph(imencode_jph(pixels)), read_jxl(imencode_jxl(pixels, effort=2))
    assert (jph.bits, jph.is_signed, jph.samples) == (bits, False, samples)
    assert jph.is_lossless and jph.is_progressive and not jph.is_transformed
    assert (jxl.bits, jxl.samples, jxl.is_mapped, jxl.is_plain) == (bits, samples, False, True)
    np.testing.assert_array_equal(imdecode_jxl(jxl.codestream), pixels)
    assert jxl.codestream.startswith(b"\xff\x0a")


@pytest.mark.parametrize("effort", range(2, 10))
def test_each_effort_of_jpeg_xl_is_plain(effort: int) -> None:
    jxl = read_jxl(imencode_jxl(image((70, 90), 12), effort=effort))
    assert (jxl.bits, jxl.is_plain) == (12, True)


def test_signed_samples() -> None:
    pixels = image((40, 50), 12, "int16")
    assert read_jph(imencode_jph(pixels)).is_signed
    assert read_jph(imencode_jph(pixels)).bits == 12
    assert read_jxl(imencode_jxl(pixels)).is_mapped


@pytest.mark.parametrize(("least", "bits"), [(None, 9), (12, 12), (16, 16), (40, 16), (3, 9)])
def test_least_bits(least: int | None, bits: int) -> None:
    pixels = image((60, 50), 9)
    jph, jxl = imencode_jph(pixels, least_bits=least), imencode_jxl(pixels, least_bits=least)
    assert read_jph(jph).bits == read_jxl(jxl).bits == bits
    np.testing.assert_array_equal(imdecode_jph(jph), pixels)
    np.testing.assert_array_equal(imdecode_jxl(jxl), pixels)


def test_a_recompressed_jpeg_is_not_plain() -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pydicom.encaps import generate_frames

    dataset = dcmread(get_testdata_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    jpeg = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert not read_jxl(recompress_jpeg(jpeg)).is_plain


@pytest.mark.parametrize("read", [read_jph, read_jxl])
@pytest.mark.parametrize("encode", [imencode_jph, imencode_jxl])
def test_damage_is_a_codec_error(read: Any, encode: Any) -> None:
    coded = encode(image((20, 30), 13))
    for stop in range(0, 60):
        with contextlib.suppress(CodecError):
            read(coded[:stop])


def test_another_codecs_bytes_are_refused() -> None:
    with pytest.raises(CodecError, match="without SOC"):
        read_jph(imencode_jxl(image((2, 2), 12)))
    with pytest.raises(CodecError, match="no codestream"):
        read_jxl(imencode_jph(image((2, 2), 12)))


def test_frames_of_the_published_package_are_not_for_rpcl(shared_data: Path) -> None:
    """They have no tile-part lengths."""

    path = next(shared_data.joinpath("published_dicube_0_3_0").rglob("*.dcbs"))
    with DcbReader(path) as reader:
        codestream = read_jph(reader.coded(0))
    assert codestream.is_lossless and not codestream.is_progressive


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_frames_of_a_file_declare_bits_stored(tmp_path: Path, extension: str) -> None:
    volume = np.stack([image((20, 30), bits) for bits in (9, 11, 10)])
    cube = DicomCubeImage(volume)
    cube.init_meta("CT").set_shared_item("BitsStored", 12)
    path = tmp_path / f"x{extension}"
    cube.to_file(path)
    read = read_jph if extension == ".dcbs" else read_jxl
    with DcbReader(path) as reader:
        assert [read(reader.coded(frame)).bits for frame in range(3)] == [12, 12, 12]
        np.testing.assert_array_equal(reader.read_frames(), volume)
