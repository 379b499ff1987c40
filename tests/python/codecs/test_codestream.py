"""codecs.codestream: what probing reports about coded images."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicube import DicomCubeImage
from dicube.codecs.codestream import probe
from dicube.codecs.jph import imdecode_jph, imencode_jph
from dicube.codecs.jxl import imdecode_jxl, imencode_jxl, recompress_jpeg
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
    jph, jxl = probe(imencode_jph(pixels)), probe(imencode_jxl(pixels, effort=2))
    assert (jph.codec, jph.bits, jph.is_signed, jph.components) == ("jph", bits, False, samples)
    assert (jph.rows, jph.columns) == (jxl.rows, jxl.columns) == shape[:2]
    assert jph.is_reversible and not jph.has_colour_transform
    assert (jph.progression, jph.has_tile_lengths) == ("RPCL", True)
    assert min(shape[:2]) >> jph.levels < 64
    assert (jxl.codec, jxl.bits, jxl.is_signed, jxl.components) == ("jxl", bits, False, samples)
    assert (jxl.is_mapped, jxl.is_reversible, jxl.has_colour_transform) == (False, True, False)
    assert (jxl.levels, jxl.progression, jxl.has_tile_lengths) == (0, "", False)
    np.testing.assert_array_equal(imdecode_jxl(jxl.codestream), pixels)
    assert jxl.codestream.startswith(b"\xff\x0a")


@pytest.mark.parametrize("effort", range(2, 10))
def test_each_effort_of_jpeg_xl_is_reversible(effort: int) -> None:
    jxl = probe(imencode_jxl(image((70, 90), 12), effort=effort))
    assert (jxl.bits, jxl.is_reversible) == (12, True)


def test_signed_samples() -> None:
    pixels = image((40, 50), 12, "int16")
    assert probe(imencode_jph(pixels)).is_signed
    assert probe(imencode_jph(pixels)).bits == 12
    assert probe(imencode_jxl(pixels)).is_mapped


@pytest.mark.parametrize(("least", "bits"), [(None, 9), (12, 12), (16, 16), (40, 16), (3, 9)])
def test_least_bits(least: int | None, bits: int) -> None:
    pixels = image((60, 50), 9)
    jph, jxl = imencode_jph(pixels, least_bits=least), imencode_jxl(pixels, least_bits=least)
    assert probe(jph).bits == probe(jxl).bits == bits
    np.testing.assert_array_equal(imdecode_jph(jph), pixels)
    np.testing.assert_array_equal(imdecode_jxl(jxl), pixels)


def test_a_recompressed_jpeg_has_a_jpeg() -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pydicom.encaps import generate_frames

    dataset = dcmread(get_testdata_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    jpeg = next(generate_frames(dataset.PixelData, number_of_frames=1))
    found = probe(recompress_jpeg(jpeg))
    assert found.has_jpeg and not found.is_reversible and not found.is_mapped
    assert not probe(imencode_jxl(image((20, 30), 8, "uint8"))).has_jpeg


@pytest.mark.parametrize("encode", [imencode_jph, imencode_jxl])
def test_damage_is_a_codec_error(encode: Any) -> None:
    coded = encode(image((20, 30), 13))
    for stop in range(0, 60):
        with contextlib.suppress(CodecError):
            probe(coded[:stop])


def test_bytes_of_no_codec_are_refused() -> None:
    for data in (b"", b"neither of both", bytes(1000)):
        with pytest.raises(CodecError, match=r"expected HTJ2K or JPEG XL, found \d+ bytes"):
            probe(data)


@pytest.mark.parametrize("encode", [imencode_jph, imencode_jxl])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("zeros", [1, 2, 11])
def test_zeros_that_pad_a_frame_are_not_its_own(encode: Any, bits: int, zeros: int) -> None:
    pixels = image((20, 30), bits)
    coded = encode(pixels)
    found, padded = probe(coded), probe(coded + bytes(zeros))
    assert found == padded
    assert found.coded_size == len(coded) and coded.endswith(found.codestream)
    decode = imdecode_jph if encode is imencode_jph else imdecode_jxl
    np.testing.assert_array_equal(decode(coded + bytes(zeros)), pixels)
    for data in (coded + b"\1", coded + b"\0\1"):
        for read in (probe, decode):
            with pytest.raises(CodecError):
                read(data)


def test_a_lossy_image_is_not_reversible() -> None:
    found = probe(imencode_jxl(image((70, 90), 8, "uint8"), distance=1.0))
    assert not found.is_reversible and found.is_mapped and found.has_colour_transform


def test_wide_samples_take_extra_channels() -> None:
    found = probe(imencode_jxl(image((20, 30), 30, "uint32")))
    assert (found.components, found.is_mapped, found.is_reversible) == (2, True, False)


def test_frames_of_the_published_package_are_not_for_rpcl(shared_data: Path) -> None:
    """They have no tile-part lengths."""

    path = next(shared_data.joinpath("published_dicube_0_3_0").rglob("*.dcbs"))
    with DcbReader(path) as reader:
        codestream = probe(reader.coded(0))
    assert codestream.is_reversible and not codestream.has_tile_lengths
    assert codestream.progression == "RPCL"


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_frames_of_a_file_declare_bits_stored(tmp_path: Path, extension: str) -> None:
    volume = np.stack([image((20, 30), bits) for bits in (9, 11, 10)])
    cube = DicomCubeImage(volume)
    cube.init_meta("CT").set_shared_item("BitsStored", 12)
    path = tmp_path / f"x{extension}"
    cube.to_file(path)
    with DcbReader(path) as reader:
        assert [probe(reader.coded(frame)).bits for frame in range(3)] == [12, 12, 12]
        np.testing.assert_array_equal(reader.read_frames(), volume)
