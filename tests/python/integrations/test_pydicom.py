"""integrations.pydicom: pixel_array and compress of pydicom use dicube's codecs."""

from __future__ import annotations

from base64 import b85decode
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import make_slice, set_pixels
from numpy.typing import NDArray
from programs.running import run_python
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import UID

import dicube.integrations.pydicom
from dicube.codecs.codestream import probe
from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import imencode_jxl, recompress_jpeg

PREFIX = "1.2.840.10008.1.2.4."
JXL, JXL_OF_JPEG, JXL_LOSSY = (PREFIX + n for n in ("110", "111", "112"))
JPH, RPCL, JPH_LOSSY = (PREFIX + n for n in ("201", "202", "203"))

ROW, COLUMN = np.mgrid[:12, :16]
GRAY = (COLUMN * 200 + ROW * 50).astype("uint16")
COLOUR = np.stack([COLUMN * 15, ROW * 20, COLUMN + ROW], -1).astype("uint8")
# GRAY and COLOUR, lossy: by OpenJPH (irreversible wavelet, quality 0.01; colours transformed) and
# libjxl (distances 0.5, with 12 bits, and 1; perceptual colours), through imagecodecs 2026.3.
LOSSY = {
    (JPH_LOSSY, "MONOCHROME2"): (
        "|4;u>04YEK0000G0000C00000000000000G0000C0000000000009pH0sl|{2mk^A001EWQUDA90ssL31q1{@0RLP7"
        "BO+m`VT)mlVQyKOS(#aeQOi-wQQAsEN<vDOLLfpQLD>If02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000H2?ws"
        "lfVSP!TbXUbN~Rr319?(;s6J90Q@I&0KgIe`XX}xz$5_pv*Q2&|Je"
    ),
    (JPH_LOSSY, "YBR_ICT"): (
        "|4;u>053oQ0000G0000C00000000000000G0000C000000000000RdB0S5sA2LS>9Pyh%30ssI2ApcST3;+TE0RaUB"
        "1V8})TmT~?VX0w@VT)mIS(#axS%y)|QOi-<N<vCPN|r((LLfod|6~9c00B>MWo}APNFY{aav(4+GBz$VF8`1K3IG5A"
        "009610soW01i+j90*7<}zyzSd0ta*ezyzTB0LOFy0002M319@E(g6o_0L%f0bO68!U<9Du0Ect{?EwdL0Kf@g1fW&{"
        "hjai*0f%$|z!N|cfY$y10(1Z|{xUNFz!Ja`0CxbwbO81WGXTI7z!CsKplJX?v;e9SGXTIUAQhk_Dxq`oQxyQr%pd^Z"
        "KmY*uI?%WPz$AcFfUI(K09F5g2|diMwgA8?pcO!hkRr%lede2X0A1a?`*}UjF}47}O#xWI=YdP*00351b$j<-%Q1}U"
        "0H7*B|9|=i@89gV0KiWHQo!ew^zwE9|9|=i@89gV0RPz"
    ),
    (JXL_LOSSY, "MONOCHROME2"): (
        "{|Z<zm=rAn022rR<N<d-$N>OQp)$(2!OOXxFF$lxOxw85&{o?PmM}Kk3xkA&GsN9ok=_*hBJ_KY2Jiq&5eBG`0@*-x"
        "bSxXo7$ZxHF)}K~NXE%a06feesN$o!^iY&8ZtePt@(%jy;oC!^LpOJk!52|HvL$e4q`uZW#{ZTE2#f#"
    ),
    (JXL_LOSSY, "XYB"): (
        "{|Z>J0RR(-0s!a%wVxmW02L~uj2pb1>-q9ShsCsw>kMtRZD9#xv%N4#ND`~)&IL>mLP^p6Z$97xk3d`g%>8PE^L$3K"
        "s02_U1=0XZCK*Y_7)3@gM&|!N0^noB{VU@$0^5tgbhyHSjb#=ftw;GlbB1dy?DQxAy4yRa_r`57&>j"
    ),
}


def coded(frames: list[bytes], syntax: str, like: NDArray[Any], **elements: Any) -> Dataset:
    """A dataset of frames that are coded already."""
    dataset = make_slice(shape=like.shape, dtype=like.dtype)
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def only_ours(dataset: Dataset) -> NDArray[Any]:
    dataset.pixel_array_options(decoding_plugin="dicube")
    array: NDArray[Any] = dataset.pixel_array
    return array


@pytest.mark.parametrize("name", ["integrations.pydicom", "pydicom_plugin"])
def test_without_the_import_pydicom_knows_no_jpeg_xl(name: str) -> None:
    code = (
        "import dicube.integrations, dicube.dicom.export\n"
        "from pydicom.uid import UID\nfrom pydicom.pixels import get_decoder\n"
        "uid = UID('1.2.840.10008.1.2.4.110')\nprint(uid.is_transfer_syntax)\n"
        f"import dicube.{name}\n"
        "print(uid.is_transfer_syntax, uid.keyword, get_decoder(uid).available_plugins)"
    )
    told = run_python("-c", code).stdout.split("\n")
    assert told[0] == "False" or "JPEGXLLossless" in told[1]  # a later pydicom may know it
    assert told[1] == "True JPEGXLLossless ('dicube',)"


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_samples_of_another_sign_than_told_are_an_error(dtype: str) -> None:
    frame = (GRAY * 16).astype(dtype)
    dataset = coded([imencode_jph(frame)], JPH, frame)
    dataset.PixelRepresentation ^= 1
    with pytest.raises(RuntimeError, match=f"decoded samples of {dtype}"):
        only_ours(dataset)


def test_registering_again_changes_nothing() -> None:
    dicube.integrations.pydicom.register()
    assert get_decoder(JPH).available_plugins.count("dicube") == 1


@pytest.mark.parametrize("syntax", [JPH, RPCL, JPH_LOSSY, JXL, JXL_LOSSY])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_gray(tmp_path: Path, syntax: str, bits: int) -> None:
    pixels = np.linspace(0, (1 << bits) - 1, 12 * 17).astype("uint16").reshape(12, 17)
    encode = imencode_jxl if syntax in (JXL, JXL_LOSSY) else imencode_jph
    as_coded = pixels.astype("uint8") if bits == 8 else pixels
    dataset = coded([encode(as_coded)], syntax, pixels, BitsStored=bits, HighBit=bits - 1)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    array = only_ours(pydicom.dcmread(tmp_path / "x.dcm"))
    assert array.dtype == "uint16"
    np.testing.assert_array_equal(array, pixels)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_signed(dtype: str) -> None:
    bounds = np.iinfo(dtype)
    pixels = np.linspace(bounds.min, bounds.max, 60).astype(dtype).reshape(6, 10)
    array = only_ours(coded([imencode_jph(pixels)], JPH, pixels))
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, pixels)


def test_signed_jpeg_xl_is_twos_complement_of_bits_stored() -> None:
    """As other writers have it; JPEG XL itself has no signed samples."""
    pixels = np.array([[-2048, -1, 0], [1, 5, 2047]], "int16")
    words = (pixels & 0xFFF).astype("uint16")
    dataset = coded([imencode_jxl(words)], JXL, pixels, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(only_ours(dataset), pixels)


@pytest.mark.parametrize("syntax", [JPH, JXL])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_several_frames_in_colour(syntax: str, dtype: str) -> None:
    encode = imencode_jxl if syntax == JXL else imencode_jph
    pixels = np.stack([(COLOUR.astype(dtype) + i) << 4 * (dtype == "uint16") for i in range(3)])
    dataset = coded([encode(frame) for frame in pixels], syntax, pixels[0], NumberOfFrames=3)
    np.testing.assert_array_equal(only_ours(dataset), pixels)


@pytest.mark.parametrize(("syntax", "interpretation"), LOSSY)
def test_lossy(syntax: str, interpretation: str) -> None:
    like = COLOUR if interpretation in ("YBR_ICT", "XYB") else GRAY
    dataset = coded([b85decode(LOSSY[syntax, interpretation])], syntax, like)
    dataset.PhotometricInterpretation = interpretation
    if like is GRAY and syntax == JXL_LOSSY:
        dataset.BitsStored, dataset.HighBit = 12, 11
    array = only_ours(dataset)
    assert array.dtype == like.dtype
    error = np.abs(array.astype(int) - like)
    assert error.max() > 0 and error.mean() < (8 if like is COLOUR else 80)


def test_lossy_htj2k_is_what_openjpeg_decodes() -> None:
    pytest.importorskip("openjpeg")
    for (syntax, interpretation), data in LOSSY.items():
        if syntax == JPH_LOSSY:
            like = GRAY if interpretation == "MONOCHROME2" else COLOUR
            dataset = coded([b85decode(data)], syntax, like)
            dataset.PhotometricInterpretation = interpretation
            ours = only_ours(dataset).astype(int)
            dataset.pixel_array_options(decoding_plugin="pylibjpeg")
            assert np.abs(dataset.pixel_array.astype(int) - ours).max() <= 1


def test_recompressed_jpeg() -> None:
    source = pydicom.dcmread(get_testdata_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    (jpeg,) = generate_frames(source.PixelData, number_of_frames=1)
    source.PixelData = encapsulate([recompress_jpeg(jpeg)])
    source.file_meta.TransferSyntaxUID = UID(JXL_OF_JPEG)
    plain = pydicom.dcmread(get_testdata_file("SC_rgb_rle.dcm")).pixel_array
    array = only_ours(source)
    assert array.shape == plain.shape
    assert np.abs(array.astype(int) - plain).mean() < 5


@pytest.mark.parametrize("syntax", [JPH, RPCL, JXL])
@pytest.mark.parametrize("bits", [8, 11, 16])
def test_compress(tmp_path: Path, syntax: str, bits: int) -> None:
    dataset = make_slice(shape=(70, 90))
    pixels = dataset.pixel_array >> (16 - bits)
    set_pixels(dataset, pixels)
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    again = pydicom.dcmread(tmp_path / "x.dcm")
    np.testing.assert_array_equal(only_ours(again), pixels)
    (frame,) = generate_frames(again.PixelData, number_of_frames=1)
    assert probe(frame).bits == bits
    again.decompress()
    np.testing.assert_array_equal(again.pixel_array, pixels)


@pytest.mark.parametrize("syntax", [JPH, JXL])
@pytest.mark.parametrize("planar", [0, 1])
def test_compress_colour(syntax: str, planar: int) -> None:
    dataset = make_slice(shape=COLOUR.shape, dtype="uint8")
    set_pixels(dataset, np.moveaxis(COLOUR, -1, 0) if planar else COLOUR)
    dataset.PlanarConfiguration = planar
    dataset.compress(syntax)
    np.testing.assert_array_equal(only_ours(dataset), COLOUR)


@pytest.mark.parametrize("syntax", [JPH, JXL])
def test_compress_several_frames(syntax: str) -> None:
    dataset = enhanced(4)
    pixels = dataset.pixel_array.copy()
    dataset.compress(syntax)
    np.testing.assert_array_equal(only_ours(dataset), pixels)


def test_compress_an_array() -> None:
    dataset = make_slice(shape=GRAY.shape)
    dataset.compress(JXL, GRAY)
    np.testing.assert_array_equal(only_ours(dataset), GRAY)


def test_compress_signed_words_whose_sign_is_not_extended() -> None:
    dataset = make_slice(shape=(2, 3), dtype="int16")
    pixels = np.array([[-2048, -1, 0], [1, 5, 2047]], "int16")
    set_pixels(dataset, pixels & 0xFFF)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.compress(JPH)
    np.testing.assert_array_equal(only_ours(dataset), pixels)


@pytest.mark.parametrize(
    ("syntax", "dtype", "changes", "message"),
    [
        (JXL, "int16", {}, "JPEG XL codes unsigned integers"),
        (JXL, "uint32", {}, "at most 16 bits"),
        (JPH, "uint16", {"BitsStored": 12}, "more than the 12 bits"),
        (JPH, "int16", {"BitsStored": 12}, "more than the 12 bits"),
        (JPH, "uint16", {"PhotometricInterpretation": "YBR_RCT"}, "found YBR_RCT"),
    ],
)
def test_what_can_not_be_encoded(
    syntax: str, dtype: str, changes: dict[str, Any], message: str
) -> None:
    dataset = make_slice(dtype=dtype)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    before = dataset.PixelData
    with pytest.raises(RuntimeError, match=message):
        dataset.compress(syntax)
    assert dataset.PixelData == before


def test_a_frame_of_another_shape_is_an_error() -> None:
    dataset = coded([imencode_jph(GRAY)], JPH, GRAY, Rows=11)
    with pytest.raises(RuntimeError, match=r"expected a frame of shape \(11, 16\)"):
        only_ours(dataset)


def test_damage_is_an_error() -> None:
    for syntax, frame in ((JPH, imencode_jph(GRAY)), (JXL, imencode_jxl(GRAY))):
        with pytest.raises(RuntimeError, match="dicube: "):
            only_ours(coded([frame[: len(frame) // 2]], syntax, GRAY))


def test_encoders_are_there() -> None:
    for syntax in (JPH, RPCL, JXL):
        assert "dicube" in get_encoder(syntax).available_plugins
