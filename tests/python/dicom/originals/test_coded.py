"""Files with compressed pixels are restored byte for byte, including their coded frames."""

from __future__ import annotations

import struct
import warnings
from copy import copy as shallow_copy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import make_series, make_slice, pixels_of, write_series
from inputs.original_files import (
    HTJ2K,
    JPEG,
    JPEG_XL,
    PYDICOM_FILES,
    contents,
    encapsulated,
    packed,
    restored,
)
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames

from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import imencode_jxl
from dicube.dicom.files.coded_frames import coded_pixels
from dicube.dicom.originals.model import Originals
from dicube.dicom.transfer_syntaxes import coded_syntax_of
from dicube.exceptions import CodecError, DataConsistencyError, DicomCubeError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")


@pytest.mark.parametrize("how", [{}, {"fragments_per_frame": 3}, {"has_bot": False}], ids=str)
@pytest.mark.parametrize(
    ("syntax", "encode", "extension"),
    [(HTJ2K, imencode_jph, ".dcbs"), (JPEG_XL, imencode_jxl, ".dcba")],
)
@pytest.mark.parametrize("count", [1, 3])
def test_frames_of_our_codecs_pass_through(
    syntax: str, encode: Any, extension: str, how: dict[str, Any], count: int, tmp_path: Path
) -> None:
    pixels = [pixels_of(n, (9, 7), "uint16") for n in range(2 * count)]
    coded = [encode(frame) for frame in pixels]
    series = make_series(2, shape=(9, 7))
    for n, dataset in enumerate(series):
        if count > 1:
            dataset.NumberOfFrames = count
        encapsulated(dataset, coded[n * count : (n + 1) * count], **how)
    write_series(tmp_path / "in", series)
    for path in (tmp_path / "in").iterdir():  # pydicom writes no transfer syntax it does not know
        path.write_bytes(path.read_bytes().replace(HTJ2K.encode(), syntax.encode()))
    assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")
    with DcbReader(tmp_path / f"x{extension}") as reader:
        assert np.array_equal(reader.read_frames(), pixels)
        assert [reader.coded(n) for n in range(2 * count)] == coded

    other = ".dcba" if extension == ".dcbs" else ".dcbs"
    image = DicomCubeImage.from_file(tmp_path / f"x{extension}")
    image.to_file(tmp_path / f"y{other}")
    image = DicomCubeImage.from_file(tmp_path / f"y{other}")
    assert np.array_equal(image.raw_image, pixels)
    assert image.why_not_exact() == "the dicube file holds no original files"
    assert image.dicom_meta.get("TransferSyntaxUID") == syntax


def test_frames_of_fewer_bits_than_the_file_says_are_decoded(tmp_path: Path) -> None:
    pixels = pixels_of(0, (9, 7), "uint8")
    dataset = make_slice(0, shape=(9, 7))
    dataset.BitsStored, dataset.HighBit = 8, 7
    write_series(tmp_path / "in", [encapsulated(dataset, [imencode_jph(pixels)])])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.dtype == np.uint16
    assert np.array_equal(image.raw_image, [pixels])
    assert "which can't be coded again" in image.why_not_exact()
    image.to_file(tmp_path / "x.dcbs")
    assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, [pixels])


def damaged(damage: str, folder: Path) -> Path:
    coded = imencode_jph(pixels_of(0, (9, 7), "uint8" if damage == "sign" else "int16"))
    if damage == "bytes":
        coded = coded[: len(coded) // 2]
    dataset = make_slice(0, shape=(8, 7) if damage == "shape" else (9, 7), dtype="int16")
    return write_series(folder, [encapsulated(dataset, [coded])])


@pytest.mark.usefixtures("no_decoder_plugins")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("shape", r"I1: expected frames of 8 x 7 with 1 .* has 9 x 7"),
        ("sign", "I1: expected samples of int16, decoded uint8"),
        (
            "bytes",
            "I1: can't decode pixels in .*: HTJ2K codestream: expected a tile-part of .* bytes",
        ),
    ],
)
def test_frames_that_are_not_what_the_file_says_are_an_error(
    damage: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(DicomCubeError, match=told) as caught:
        DicomCubeImage.from_dicom_folder(damaged(damage, tmp_path))
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("damage", ["shape", "sign", "bytes"])
def test_plugins_that_decode_such_frames_are_not_believed(damage: str, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg")
    with pytest.raises(
        DicomCubeError,
        match=r"I1: (can't decode pixels|expected (samples of int16|frames of 8 x 7))",
    ):
        DicomCubeImage.from_dicom_folder(damaged(damage, tmp_path))


@pytest.mark.usefixtures("no_decoder_plugins")
def test_jpeg_that_our_codecs_do_not_decode_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="more than 8 bits"):
        DicomCubeImage.from_dicom_folder(PYDICOM_FILES / "JPGExtended.dcm")


def test_jpeg_is_recompressed_and_comes_back(tmp_path: Path) -> None:
    source = PYDICOM_FILES / "examples_ybr_color.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_dicom_folder(source)
        assert restored(source, tmp_path, ".dcba") == {source.name: source.read_bytes()}
    assert image.dicom_meta.get("PhotometricInterpretation") == "RGB"
    assert image.shape == (30, 240, 320, 3)
    assert (tmp_path / "x.dcba").stat().st_size < 0.95 * source.stat().st_size
    again = DicomCubeImage.from_file(tmp_path / "x.dcba")
    assert np.array_equal(again.raw_image, image.raw_image)
    again.to_file(tmp_path / "y.dcba")  # again without coding anew
    assert (tmp_path / "y.dcba").read_bytes() == (tmp_path / "x.dcba").read_bytes()
    assert "have JPEG frames, which" in again.why_not_exact("jph")


def test_a_copy_of_an_image_knows_of_changes_too(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    other = shallow_copy(image)
    image.raw_image[1] += 1
    with pytest.raises(
        DataConsistencyError, match="the pixels of the original file of slice 1 were changed"
    ):
        other.to_dicom_folder(tmp_path / "out", exact=True)


def test_numbers_beyond_what_dicom_allows_come_back(tmp_path: Path) -> None:
    series = make_series(2)
    for dataset, text in zip(series, ("9" * 24, "-" + "9" * 307), strict=True):
        tag = pydicom.tag.Tag("AcquisitionNumber")
        value = text.encode() + b" " * (len(text) % 2)
        dataset[tag] = RawDataElement(tag, "IS", len(value), value, 0, False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path / "in", series)
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    for exact in (False, True):
        image.to_file(tmp_path / "x.dcbs", exact=exact)
        again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert again.dicom_meta == image.dicom_meta
    again.to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_files_are_hashed_when_they_are_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert not any(file.digest for file in image._origin.provenance.originals.files)
    image.to_dicom_folder(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "first.dcbs")
    monkeypatch.setattr(Originals, "with_digests", lambda *_: pytest.fail("hashed again"))
    image.to_file(tmp_path / "second.dcbs")
    first, second = ((tmp_path / f"{name}.dcbs").read_bytes() for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("looked", [False, True])
def test_an_exchanged_array_is_known_by_its_values(tmp_path: Path, looked: bool) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    values = DicomCubeImage.from_dicom_folder(tmp_path / "in").raw_image
    if looked:
        assert np.array_equal(image.raw_image, values)
    image.raw_image = values.astype(values.dtype.newbyteorder(">"))
    assert image.why_not_exact() == ""
    values[2, 0, 0] += 1
    image.raw_image = values
    assert image.why_not_exact() == "the pixels of the original file of slice 2 were changed"
    image.to_file(tmp_path / "x.dcbs")
    assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, values)


def test_changed_pixels_are_coded_anew(tmp_path: Path) -> None:
    pixels = [pixels_of(n, (9, 7), "uint16") for n in range(2)]
    series = make_series(2, shape=(9, 7))
    for dataset, frame in zip(series, pixels, strict=True):
        encapsulated(dataset, [imencode_jph(frame)])
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.raw_image[1, 2, 3] ^= 1
    assert image.why_not_exact() == "the pixels of the original file of slice 1 were changed"
    image.to_file(tmp_path / "x.dcbs")
    again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert np.array_equal(again.raw_image, image.raw_image)
    assert again.raw_image[1, 2, 3] == pixels[1][2, 3] ^ 1


@pytest.mark.parametrize("fragments", [1, 3])
def test_colours_that_a_jpeg_leaves_open_are_as_dicom_has_them(
    fragments: int, tmp_path: Path
) -> None:
    """A JPEG without JFIF or Adobe marker: RGB after DICOM, YCbCr after the codec."""
    dataset = pydicom.dcmread(PYDICOM_FILES / "SC_jpeg_no_color_transform.dcm")
    (jpeg,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([jpeg], fragments_per_frame=fragments)
    dataset.save_as(tmp_path / "I1")
    assert restored(tmp_path / "I1", tmp_path, ".dcba") == {"I1": (tmp_path / "I1").read_bytes()}
    image = DicomCubeImage.from_file(tmp_path / "x.dcba")
    assert image.dicom_meta.get("PhotometricInterpretation") == "RGB"
    # Gray, as every decoder has it that takes the samples for RGB, and within what decoders of
    # JPEG differ.
    assert abs(image.raw_image[0, ::40, 30].astype(int) - 244).max() <= 1
    syntax = coded_syntax_of(JPEG)
    assert syntax is not None
    told = coded_pixels(syntax, dataset.PixelData, 1, "YBR_FULL")
    assert told is not None and told.interpretation == "RGB"
    assert abs(told.decode(0)[::40, 30].astype(int) - 244).max() > 100


def test_frames_that_another_processor_rounds_otherwise_are_not_changed(tmp_path: Path) -> None:
    source = PYDICOM_FILES / "SC_jpeg_no_color_transform.dcm"
    image = DicomCubeImage.from_dicom_folder(source)
    image.to_file(tmp_path / "x.dcba")
    with DcbReader(tmp_path / "x.dcba") as reader:
        data = bytearray(unpack_bytes(reader.sections["originals"]))
        (length,) = struct.unpack_from("<L", data)
        data[4 + length + 32] ^= 1  # as if the samples had been others where it was written
        with DcbWriter(tmp_path / "other.dcba", reader.shape, reader.dtype) as writer:
            for name in set(reader.sections) & {"dicom_status", "dicom_meta", "pixel_header"}:
                writer.write_section(name, reader.sections[name])
            writer.write_section("originals", packed(bytes(data)))
            writer.write_coded(reader.coded(0))
    assert verify_file(tmp_path / "other.dcba").ok
    image = DicomCubeImage.from_file(tmp_path / "other.dcba")
    image.raw_image[0, 0, 0, 0] ^= 1
    assert image.why_not_exact() == "the pixels of the original file of slice 0 were changed"
    image.raw_image[0, 0, 0, 0] ^= 1
    assert image.why_not_exact() == ""
    image.to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == {source.name: source.read_bytes()}
