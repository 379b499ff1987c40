"""Single images are encoded and decoded bit for bit: every codec, dtype, shape and layout."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.arrays import DTYPES, SmoothVolume
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dicube import codecs
from dicube.codecs.jph import JphCodec, imdecode_jph, imencode_jph
from dicube.codecs.jxl import (
    JxlCodec,
    imdecode_jxl,
    imencode_jxl,
    imencode_jxl_roi,
    recompress_jpeg,
)
from dicube.exceptions import CodecError, DataConsistencyError

CODECS = {"jph": (imencode_jph, imdecode_jph), "jxl": (imencode_jxl, imdecode_jxl)}
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (33, 17), (129, 5), (3, 257), (64, 64, 3), (1, 1, 3)]

codec_name = pytest.mark.parametrize("name", sorted(CODECS))
dtype_name = pytest.mark.parametrize("dtype", DTYPES)


def widths(dtype: str) -> list[int]:
    """Bit depths worth a try for a dtype."""
    size = np.dtype(dtype).itemsize * 8
    return [bits for bits in (1, 2, 7, 8, 9, 12, 15, 16, 17, 25, 31, 32) if bits <= size]


def there_and_back(name: str, image: np.ndarray[Any, Any]) -> None:
    encode, decode = CODECS[name]
    back = decode(encode(image))
    assert back.dtype == image.dtype.newbyteorder("=")
    assert back.shape == image.shape
    assert np.array_equal(back, image)


@codec_name
@dtype_name
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_over_the_full_range(
    name: str, dtype: str, shape: tuple[int, ...], full_range: SmoothVolume
) -> None:
    there_and_back(name, full_range(shape, dtype))


@codec_name
@pytest.mark.parametrize(
    ("dtype", "bits"), [(dtype, bits) for dtype in DTYPES for bits in widths(dtype)]
)
def test_exact_at_each_bit_depth(
    name: str, dtype: str, bits: int, full_range: SmoothVolume
) -> None:
    there_and_back(name, full_range((31, 40), dtype, bits))


@codec_name
@dtype_name
def test_exact_for_flat_and_extreme_images(name: str, dtype: str) -> None:
    bounds = np.iinfo(dtype)
    for value in {int(bounds.min), 0, 1, int(bounds.max)}:
        there_and_back(name, np.full((20, 21), value, dtype))
    checkers = np.indices((32, 33)).sum(axis=0) % 2 == 0
    there_and_back(name, np.where(checkers, bounds.min, bounds.max).astype(dtype))


@codec_name
@dtype_name
@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order(name: str, dtype: str, order: str, full_range: SmoothVolume) -> None:
    there_and_back(name, full_range((12, 13), dtype).astype(np.dtype(dtype).newbyteorder(order)))


def transposed(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return image.swapaxes(0, 1)


@codec_name
@pytest.mark.parametrize(
    "layout",
    [
        transposed,
        np.asfortranarray,
        lambda image: image[::-1, ::-1],
        lambda image: image[::2, 1::3],
        lambda image: np.broadcast_to(image[:1], image.shape),
    ],
    ids=["transposed", "fortran", "reversed", "steps", "broadcast"],
)
@pytest.mark.parametrize("shape", [(24, 30), (24, 30, 3)], ids=str)
def test_strides(
    name: str, layout: Callable[..., Any], shape: tuple[int, ...], full_range: SmoothVolume
) -> None:
    there_and_back(name, layout(full_range(shape, "int16")))


@codec_name
def test_input_is_untouched(name: str, full_range: SmoothVolume) -> None:
    image = full_range((40, 40), ">u2")
    before = image.copy()
    image.setflags(write=False)
    CODECS[name][0](image)
    assert np.array_equal(image, before)


@codec_name
def test_small_signed_images_by_the_thousand(name: str) -> None:
    random = np.random.default_rng(1)
    for dtype, shape in itertools.product(("int8", "int16", "int32"), ((2, 3), (1, 1), (5, 4))):
        bounds = np.iinfo(dtype)
        stack = random.integers(bounds.min, bounds.max, (250, *shape), dtype, endpoint=True)
        stack[::2] >>= np.dtype(dtype).itemsize * 4  # small values, negative ones among them
        encode, decode = CODECS[name]
        for image in stack:
            assert np.array_equal(decode(encode(image, num_threads=1), num_threads=1), image)


@codec_name
@dtype_name
def test_any_image(name: str, dtype: str) -> None:
    """Images of random shape and range, runs of equal values in them."""
    random = np.random.default_rng(5)
    bounds = np.iinfo(dtype)
    for _ in range(150):
        low, high = sorted(random.integers(bounds.min, bounds.max, 2, np.int64, endpoint=True))
        shape = random.integers(1, 20, 2)
        image = random.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
        image[image > random.choice(image.ravel())] = random.choice(image.ravel())
        there_and_back(name, image)


@codec_name
@pytest.mark.parametrize("shape", [(300, 280), (200, 190, 3)], ids=str)
def test_bytes_do_not_depend_on_threads(
    name: str, shape: tuple[int, ...], full_range: SmoothVolume
) -> None:
    image = full_range(shape, "uint16", 12)
    encode, decode = CODECS[name]
    coded = encode(image, num_threads=1)
    for threads in (2, 3, None):
        assert encode(image, num_threads=threads) == coded
        assert np.array_equal(decode(coded, num_threads=threads), image)


@pytest.mark.parametrize("effort", range(2, 10))
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_every_effort_is_exact(effort: int, dtype: str, full_range: SmoothVolume) -> None:
    image = full_range((40, 41), dtype)
    assert np.array_equal(imdecode_jxl(imencode_jxl(image, effort=effort)), image)


def test_efforts_in_words(smooth_volume: SmoothVolume) -> None:
    image = smooth_volume((60, 50), "uint16")
    for word, effort in {"fast": 2, "balanced": 3, "best": 7}.items():
        assert imencode_jxl(image, effort=word) == imencode_jxl(image, effort=effort)
    assert imencode_jxl(image) == imencode_jxl(image, effort="balanced")


def test_effort_1_means_2(smooth_volume: SmoothVolume) -> None:
    dataset = pydicom.dcmread(get_testdata_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    (jpeg,) = generate_frames(dataset.PixelData, number_of_frames=1)
    gray, colour = smooth_volume((60, 50), "uint16"), smooth_volume((60, 50, 3), "uint8")
    encode: Callable[[int], bytes]
    for encode in (
        lambda effort: imencode_jxl(gray, effort=effort),
        lambda effort: imencode_jxl(colour, effort=effort),
        lambda effort: imencode_jxl(gray, effort=effort, distance=1),
        lambda effort: imencode_jxl(gray, effort=effort, max_error=2),
        lambda effort: imencode_jxl_roi(gray, gray > 9, effort=effort),
        lambda effort: recompress_jpeg(jpeg, effort),
    ):
        assert encode(1) == encode(2)


@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (300, 280)], ids=str)
def test_libjxl_decodes_gray(shape: tuple[int, ...], full_range: SmoothVolume) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    image = full_range(shape, "uint16")
    for effort in (2, 3):
        found = imagecodecs.jpegxl_decode(imencode_jxl(image, effort=effort))
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("effort", [10, 100, 0, -1, "hard"])
def test_unknown_effort(effort: int | str) -> None:
    with pytest.raises(DataConsistencyError, match=str(effort)):
        imencode_jxl(np.zeros((4, 4), np.uint8), effort=effort)


@codec_name
def test_one_sample_on_a_third_axis(name: str, full_range: SmoothVolume) -> None:
    image = full_range((6, 7, 1), "uint16")
    encode, decode = CODECS[name]
    assert np.array_equal(decode(encode(image)), image[:, :, 0])


@codec_name
@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((4, 4), "M8[s]"), "datetime64"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((), np.uint8), r"\(\)"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        (np.zeros((4, 0, 3), np.uint8), r"\(4, 0, 3\)"),
        ([[1, 2], [3, 4]], "list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cant_be_encoded_is_refused(name: str, image: Any, told: str) -> None:
    with pytest.raises(DataConsistencyError, match=told):
        CODECS[name][0](image)


@codec_name
def test_negative_threads(name: str) -> None:
    with pytest.raises(DataConsistencyError, match="-1"):
        CODECS[name][0](np.zeros((4, 4), np.uint8), num_threads=-1)


@codec_name
@pytest.mark.parametrize(
    "held", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)]
)
def test_decodes_from_any_bytes(
    name: str, held: Callable[..., Any], full_range: SmoothVolume
) -> None:
    image = full_range((8, 8), "int16")
    encode, decode = CODECS[name]
    assert np.array_equal(decode(held(encode(image))), image)


@codec_name
@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "tail", "text"])
def test_damaged_data(name: str, damage: str, full_range: SmoothVolume) -> None:
    encode, decode = CODECS[name]
    good = encode(full_range((64, 64), "uint16", 12))
    bad = {
        "empty": b"",
        "garbage": bytes(range(256)) * 4,
        "half": good[: len(good) // 2],
        "tail": good[:20],
        "text": b"DCMCUBES not an image at all",
    }[damage]
    with pytest.raises(CodecError):
        decode(bad)


@codec_name
def test_data_of_the_wrong_type(name: str) -> None:
    with pytest.raises(DataConsistencyError, match="str"):
        CODECS[name][1]("text")


def test_each_decoder_refuses_the_others_data() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    with pytest.raises(CodecError, match="expected JPEG XL data, found HTJ2K"):
        imdecode_jxl(imencode_jph(image))
    with pytest.raises(CodecError, match="expected HTJ2K data, found JPEG XL"):
        imdecode_jph(imencode_jxl(image))


@codec_name
def test_flipped_bytes_never_crash(name: str, full_range: SmoothVolume) -> None:
    encode, decode = CODECS[name]
    image = full_range((24, 24), "int16", 12)
    good = encode(image)
    random = np.random.default_rng(2)
    offsets = [*range(min(len(good), 130)), *random.integers(0, len(good), 300)]
    for offset in offsets:
        bad = bytearray(good)
        bad[offset] ^= 1 << int(random.integers(8))
        with contextlib.suppress(CodecError):
            decode(bytes(bad), num_threads=1)


class TestRegistry:
    def test_names(self) -> None:
        assert codecs.list_codecs() == ["jph", "jxl"]

    @pytest.mark.parametrize("name", ["jph", "JPH", "Jph"])
    def test_any_case(self, name: str) -> None:
        assert isinstance(codecs.get_codec(name), JphCodec)
        assert codecs.is_codec_available(name)

    def test_unknown(self) -> None:
        assert not codecs.is_codec_available("gif")
        with pytest.raises(ValueError, match=r"Unknown codec 'gif'.*jph, jxl"):
            codecs.get_codec("gif")

    @pytest.mark.parametrize("codec", [JphCodec(), JxlCodec()], ids=str)
    def test_has_what_a_codec_has(self, codec: Any, full_range: SmoothVolume) -> None:
        assert isinstance(codec, codecs.ImageCodec)
        assert codec.is_available()
        assert any(character.isdigit() for character in codec.get_version())
        image = full_range((5, 6), "uint16")
        assert np.array_equal(codec.decode(codec.encode(image)), image)
        assert codec.encode_lossless(image) == codec.encode(image)
        assert f"id={codec.id} name={codec.name!r}" in repr(codec)

    def test_published_attributes(self) -> None:
        codec = JphCodec()
        assert (codec.id, codec.name) == (2, "jph")
        assert codec.extensions == (".j2k", ".j2c", ".jp2")

    def test_register(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(codecs, "_codecs", dict(codecs._codecs))

        class Other(JphCodec):
            name = "Other"

        codecs.register_codec(Other())
        assert isinstance(codecs.get_codec("other"), Other)
        with pytest.raises(TypeError, match="object"):
            codecs.register_codec(object())
