"""volume: every kind of stored values is read, converted to real values and written again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import each, make_series, make_slice, set_pixels, write_series
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
)

from dicube import DicomCubeImage, verify_file
from dicube.dicom.dicom_io import read_series
from dicube.dicom.export.folder import write_dicom_folder
from dicube.exceptions import CodecError, DataConsistencyError

ALL_DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)


def any_values(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Bits at random: of floating-point types with NaNs, infinities and subnormals."""
    kind = np.dtype(dtype)
    bits = np.random.default_rng(5).integers(0, 256, (*shape, kind.itemsize), np.uint8)
    values = bits.reshape(-1).view(kind).reshape(shape)
    if kind.kind == "f":
        values.flat[:5] = [np.nan, -np.inf, np.inf, -0.0, np.finfo(kind).smallest_subnormal]
    return values


@pytest.mark.filterwarnings("ignore:.*space is None")
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_bits_in_big_endian_words(tmp_path: Path, vr: str, frames: int) -> None:
    """PS3.5 8.1.1: bits fill words, and of OW these are swapped. pydicom doesn't swap them."""
    bits = np.random.default_rng(3).integers(0, 2, (frames, 5, 7), np.uint8)
    packed = np.packbits(bits, bitorder="little")
    packed = np.append(packed, np.zeros(len(packed) % 2, np.uint8))
    dataset = make_slice(0, (5, 7), "uint8")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    dataset.NumberOfFrames = frames
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    words = packed.reshape(-1, 2)[:, ::-1] if vr == "OW" else packed
    dataset.add_new(0x7FE00010, vr, words.tobytes())
    write_series(tmp_path / "in", [dataset])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert np.array_equal(image.raw_image, bits)
    image.to_file(tmp_path / "x.dcbs", exact=False)
    assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok


class TestAllDtypes:
    @pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
    @pytest.mark.parametrize("dtype", ALL_DTYPES)
    @pytest.mark.parametrize("shape", [(3, 9, 7), (2, 5, 6, 3)])
    def test_there_and_back(
        self, tmp_path: Path, extension: str, dtype: str, shape: tuple[int, ...]
    ) -> None:
        volume = any_values(shape, dtype)
        DicomCubeImage(volume).to_file(tmp_path / f"x{extension}")
        back = DicomCubeImage.from_file(tmp_path / f"x{extension}")
        assert back.dtype == dtype
        assert back.raw_image.tobytes() == volume.tobytes()

    @pytest.mark.parametrize("dtype", ["float32", "float64", "uint64"])
    def test_real_values(self, dtype: str) -> None:
        volume = np.arange(24).reshape(2, 3, 4).astype(dtype)
        image = DicomCubeImage(volume)
        np.testing.assert_array_equal(image.get_fdata(), volume.astype("float32"))
        image.pixel_header.RescaleSlope, image.pixel_header.RescaleIntercept = 0.5, -1
        np.testing.assert_array_equal(image.get_fdata("float64"), volume * 0.5 - 1)

    @pytest.mark.parametrize("order", "<>")
    def test_big_endian_arrays(self, tmp_path: Path, order: str) -> None:
        volume = any_values((2, 3, 4), "float64").astype(f"{order}f8")
        DicomCubeImage(volume).to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image
        np.testing.assert_array_equal(back, volume)


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "float32"), ("DoubleFloatPixelData", "float64")]
)
def test_float_pixel_data(tmp_path: Path, keyword: str, dtype: str) -> None:
    series = make_series(3)
    volume = any_values((3, 6, 5), dtype)
    for dataset, frame in zip(series, volume, strict=True):
        for absent in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, absent)
        setattr(dataset, keyword, frame.tobytes())
        dataset.BitsAllocated = frame.dtype.itemsize * 8
    write_series(tmp_path / "in", series)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out")
    back = read_series(tmp_path / "out").volume
    assert back.tobytes() == volume.tobytes()
    for written, source in zip(sorted((tmp_path / "out").iterdir()), series, strict=True):
        assert getattr(pydicom.dcmread(written), keyword) == getattr(source, keyword)


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_integers_of_64_bits(tmp_path: Path, dtype: str) -> None:
    write_series(tmp_path / "in", make_series(2, dtype=dtype))
    meta, volume, header, _ = read_series(tmp_path / "in")
    assert volume.dtype == dtype
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    np.testing.assert_array_equal(read_series(tmp_path / "out").volume, volume)


def words_of(
    values: np.ndarray[Any, Any], stored: int, high: int, other_bits: int
) -> np.ndarray[Any, Any]:
    """Put values of so many bits into words of 16, with other bits around them."""
    shift = high + 1 - stored
    mask = ((1 << stored) - 1) << shift
    return ((values.astype(np.int64) << shift) & mask | other_bits & ~mask & 0xFFFF).astype("u2")


def series_of_words(stored: int, high: int, signed: bool, other_bits: int) -> list[Dataset]:
    series = make_series(3)
    for dataset in series:
        dataset.BitsStored, dataset.HighBit = stored, high
        dataset.PixelRepresentation = int(signed)
        set_pixels(dataset, words_of(values_of(stored, signed), stored, high, other_bits))
    return series


def values_of(stored: int, signed: bool) -> np.ndarray[Any, Any]:
    low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    values = np.random.default_rng(stored).integers(low, high, (6, 5))
    values.flat[:2] = low, high - 1
    return values


class TestUnusedBits:
    """Words that hold more than values: nothing of them is lost, and real values are of values."""

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("other_bits", [0, 0xFFFF, 0xA5A5])
    @pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 15), (10, 12), (1, 0), (15, 14)])
    @pytest.mark.parametrize("through_file", [False, True])
    def test_words_and_values(
        self,
        tmp_path: Path,
        stored: int,
        high: int,
        signed: bool,
        other_bits: int,
        through_file: bool,
    ) -> None:
        series = series_of_words(stored, high, signed, other_bits)
        write_series(tmp_path / "in", series)
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        if through_file:
            image.to_file(tmp_path / "x.dcbs")
            image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert image.raw_image.tobytes() == b"".join(dataset.PixelData for dataset in series)
        expected = np.stack([values_of(stored, signed)] * 3) - 1024.0
        np.testing.assert_array_equal(image.get_fdata("float64"), expected)
        meta = image.dicom_meta
        assert meta is not None
        paths = write_dicom_folder(tmp_path / "out", meta, image.raw_image, image.pixel_header)
        for path, source in zip(paths, series, strict=True):
            written = pydicom.dcmread(path)
            assert sorted(written.keys()) == sorted(source.keys())
            assert all(written[element.tag] == element for element in source)

    def test_only_where_there_are_any(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", series_of_words(12, 11, False, 0))
        assert read_series(tmp_path / "a").header.Extras == {}
        write_series(tmp_path / "b", series_of_words(12, 11, False, 0x8000))
        assert read_series(tmp_path / "b").header.Extras == {"UnusedBits": True}

    def test_small_values_in_high_bits(self, tmp_path: Path) -> None:
        dataset = make_slice()
        dataset.BitsStored, dataset.HighBit = 12, 15
        values = np.arange(30).reshape(6, 5)
        set_pixels(dataset, words_of(values, 12, 15, 0))
        write_series(tmp_path, [dataset])
        image = DicomCubeImage.from_dicom_folder(tmp_path)
        np.testing.assert_array_equal(image.get_fdata()[0], values - 1024)

    @pytest.mark.parametrize("syntax", [RLELossless, ExplicitVRBigEndian])
    def test_other_transfer_syntaxes_keep_them(self, tmp_path: Path, syntax: str) -> None:
        series = series_of_words(12, 11, True, 0x7000)
        expected = b"".join(dataset.PixelData for dataset in series)
        for dataset in series:
            if syntax == RLELossless:
                dataset.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
            else:
                dataset.file_meta.TransferSyntaxUID = syntax
                dataset.PixelData = np.frombuffer(dataset.PixelData, "u2").byteswap().tobytes()
        write_series(tmp_path, series)
        _, volume, header, _ = read_series(tmp_path)
        assert volume.tobytes() == expected
        assert header.Extras == {"UnusedBits": True}

    def test_planes_keep_them(self, tmp_path: Path) -> None:
        dataset = make_slice(0, (6, 5, 3), "uint8")
        dataset.PlanarConfiguration = 1
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 5, 4, 1
        write_series(tmp_path / "in", [dataset])
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        planes = np.moveaxis(image.raw_image[0], -1, 0)
        assert planes.tobytes() == dataset.PixelData

    def test_new_pixels_are_values(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", series_of_words(12, 11, False, 0xF000))
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        image.raw_image = np.full_like(image.raw_image, 5000)
        assert image.get_fdata("float64").max() == 5000 - 1024
        image.to_dicom_folder(tmp_path / "out")
        written = pydicom.dcmread(next((tmp_path / "out").iterdir()))
        assert (written.BitsStored, written.HighBit) == (16, 15)
        np.testing.assert_array_equal(written.pixel_array, 5000)

    def test_a_real_overlay(self) -> None:
        path = str(pydicom.data.get_testdata_file("examples_overlay.dcm"))
        volume = read_series(path).volume
        np.testing.assert_array_equal(volume[0], pixel_array(path, raw=True))


class TestRescale:
    def test_of_each_slice(self, tmp_path: Path) -> None:
        slopes, intercepts = [0.5, 2, 3.25, 1], [1, -2, 0, 10]
        series = each(make_series(4), "RescaleSlope", slopes)
        write_series(tmp_path / "in", each(series, "RescaleIntercept", intercepts))
        DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        factors = np.reshape(slopes, (4, 1, 1)), np.reshape(intercepts, (4, 1, 1))
        expected = image.raw_image * factors[0] + factors[1]
        np.testing.assert_array_equal(image.get_fdata("float64"), expected)

    def test_of_each_frame(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", [enhanced(5)])
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        frames = np.arange(5).reshape(5, 1, 1)
        expected = image.raw_image * (frames + 1.0) - frames
        np.testing.assert_array_equal(image.get_fdata("float64"), expected)
        image.to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        np.testing.assert_array_equal(back.get_fdata("float64"), expected)
        assert back.space == image.space


class TestRealFiles:
    @pytest.mark.parametrize(
        "name",
        [
            *("CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_padded.dcm"),
            *("examples_palette.dcm", "examples_rgb_color.dcm", "ExplVR_BigEnd.dcm"),
            *("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_rle.dcm"),
            *("SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit.dcm", "image_dfl.dcm"),
            *("liver_1frame.dcm", "liver_expb_1frame.dcm", "rtdose.dcm", "rtdose_expb.dcm"),
            *("rtdose_rle.dcm", "SC_ybr_full_422_uncompressed.dcm"),
        ],
    )
    def test_pixels_are_those_of_pydicom(self, name: str) -> None:
        path = str(pydicom.data.get_testdata_file(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            volume = read_series(path).volume
            expected = pydicom.dcmread(path)
            expected.pixel_array_options(raw=True)
            np.testing.assert_array_equal(
                volume.reshape(expected.pixel_array.shape), expected.pixel_array
            )

    @pytest.mark.filterwarnings("ignore:.*space is None")
    def test_frames_of_subsampled_colours(self, tmp_path: Path) -> None:
        path = str(pydicom.data.get_testdata_file("SC_ybr_full_422_uncompressed.dcm"))
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
        dataset.NumberOfFrames = 3
        dataset.PixelData += dataset.PixelData[::-1] + bytes(len(dataset.PixelData))
        dataset.save_as(tmp_path / "x.dcm")
        image = DicomCubeImage.from_dicom_folder(tmp_path)
        expected = pixel_array(tmp_path / "x.dcm", raw=True)
        assert len(np.unique(expected[1])) > 1
        np.testing.assert_array_equal(image.raw_image, expected)
        image.to_dicom_folder(tmp_path / "out", exact=False)
        again = pixel_array(tmp_path / "out" / "slice_0000.dcm", raw=True)
        np.testing.assert_array_equal(again, expected)

    @pytest.mark.parametrize(
        ("name", "package"),
        [
            *(("693_J2KI.dcm", "openjpeg"), ("GDCMJ2K_TextGBR.dcm", "openjpeg")),
            *(("J2K_pixelrep_mismatch.dcm", "openjpeg"), ("JPEG2000.dcm", "openjpeg")),
            *(("MR_small_jp2klossless.dcm", "openjpeg"), ("examples_jpeg2k.dcm", "openjpeg")),
            *(("JPEGLSNearLossless_08.dcm", "gdcm"), ("JPEGLSNearLossless_16.dcm", "gdcm")),
            *(("MR_small_jpeg_ls_lossless.dcm", "gdcm"), ("SC_rgb_jpeg_gdcm.dcm", "gdcm")),
            *(("SC_rgb_jls_lossy_line.dcm", "gdcm"), ("SC_rgb_jls_lossy_sample.dcm", "gdcm")),
        ],
    )
    def test_compressed_pixels_are_those_of_pydicom(self, name: str, package: str) -> None:
        pytest.importorskip(package)
        self.test_pixels_are_those_of_pydicom(name)

    @pytest.mark.usefixtures("no_decoder_plugins")
    @pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
    def test_a_missing_decoder_is_named(self, name: str) -> None:
        path = str(pydicom.data.get_testdata_file(name))
        with pytest.raises(CodecError, match=name) as caught:
            read_series(path)
        assert "pip install dicube[dicom-codecs]" in str(caught.value)


def test_damaged_frames_are_no_missing_decoder(tmp_path: Path) -> None:
    dataset = make_slice()
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.PixelData = dataset.PixelData[:-40] + bytes(40)
    write_series(tmp_path, [dataset])
    with pytest.raises(CodecError, match="RLE") as caught:
        read_series(tmp_path)
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("bits", [0, 2, 12, 24, 128])
def test_other_sizes_of_samples_are_refused(tmp_path: Path, bits: int) -> None:
    dataset = make_slice()
    dataset.BitsAllocated = bits
    write_series(tmp_path, [dataset])
    with pytest.raises(DataConsistencyError, match=f"BitsAllocated {bits}"):
        read_series(tmp_path)
