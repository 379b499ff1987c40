"""dicom_io: folders of any kind become metadata and a volume."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import (
    SERIES_UID,
    each,
    make_series,
    make_slice,
    pixels_of,
    set_pixels,
    write_series,
)
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicube.dicom import SortMethod, read_dicom_dir
from dicube.dicom.dicom_io import read_series
from dicube.exceptions import (
    CodecError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
)

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


def test_a_series(tmp_path: Path) -> None:
    series = make_series(12, dtype="int16")
    for dataset in series:
        dataset.WindowCenter, dataset.WindowWidth = [40, 50], [80, 90]
    write_series(tmp_path, series[::-1])
    meta, volume, header, _ = read_series(tmp_path)
    assert volume.shape == (12, 6, 5)
    assert volume.dtype == np.int16
    assert volume.dtype.isnative
    assert volume.flags.c_contiguous
    for index in range(12):
        np.testing.assert_array_equal(volume[index], pixels_of(index, (6, 5), "int16"))
    assert meta.get("InstanceNumber") == list(range(1, 13))
    assert meta.filenames == [str(tmp_path / f"I{12 - i}") for i in range(12)]
    assert (header.RescaleSlope, header.RescaleIntercept) == (1.0, -1024.0)
    assert (header.OriginalPixelDtype, header.PixelDtype) == ("int16", "int16")
    assert (header.WindowCenter, header.WindowWidth) == (40.0, 80.0)
    assert read_dicom_dir(tmp_path) == meta
    assert read_dicom_dir(str(tmp_path)) == meta


@pytest.mark.parametrize("threads", [1, 2, 0, None])
@pytest.mark.parametrize("method", SortMethod)
def test_order_and_threads(tmp_path: Path, threads: int | None, method: SortMethod) -> None:
    series = each(make_series(5), "ImagePositionPatient", [[0, 0, z] for z in (2, 1, 5, 4, 3)])
    write_series(tmp_path, series)
    meta, volume, _, _ = read_series(tmp_path, method, threads)
    for place, number in enumerate(meta.get("InstanceNumber")):
        np.testing.assert_array_equal(volume[place], pixels_of(number - 1, (6, 5), "uint16"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (6, 5), (3, 5, 3)])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_pixels_are_those_of_pydicom(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], syntax: str
) -> None:
    dataset = make_slice(3, shape, dtype)
    if syntax == ExplicitVRBigEndian:
        big = pixels_of(3, shape, dtype).astype(np.dtype(dtype).newbyteorder(">")).tobytes()
        dataset.PixelData = big + b"\0" * (len(big) % 2)
        dataset["PixelData"].VR = "OB" if dtype.endswith("int8") else "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    write_series(tmp_path, [dataset])
    volume = read_series(tmp_path).volume
    np.testing.assert_array_equal(volume[0], pixels_of(3, shape, dtype))
    assert volume.dtype == dtype
    if syntax != DeflatedExplicitVRLittleEndian:  # which this function of pydicom can't read
        np.testing.assert_array_equal(volume[0], pixel_array(tmp_path / "I1", raw=True))


def test_planar_colour(tmp_path: Path) -> None:
    dataset = make_slice(1, (4, 5, 3), "uint8")
    dataset.PlanarConfiguration = 1
    dataset.PixelData = np.moveaxis(pixels_of(1, (4, 5, 3), "uint8"), -1, 0).tobytes()
    write_series(tmp_path, [dataset])
    volume = read_series(tmp_path).volume
    np.testing.assert_array_equal(volume[0], pixels_of(1, (4, 5, 3), "uint8"))


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")]
)
def test_float_pixels(tmp_path: Path, keyword: str, dtype: str) -> None:
    dataset = make_slice()
    del dataset.PixelData
    values = np.linspace(-1, 1, 30).astype(dtype).reshape(6, 5)
    setattr(dataset, keyword, values.tobytes())
    dataset.BitsAllocated = values.dtype.itemsize * 8
    write_series(tmp_path, [dataset])
    _, volume, header, _ = read_series(tmp_path)
    np.testing.assert_array_equal(volume[0], values)
    assert header.PixelDtype == values.dtype.name


def test_one_bit(tmp_path: Path) -> None:
    dataset = make_slice(0, (6, 5), "uint8")
    bits = np.arange(30).reshape(6, 5) % 3 == 0
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = 0
    dataset.PixelData = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    write_series(tmp_path, [dataset])
    volume = read_series(tmp_path).volume
    np.testing.assert_array_equal(volume[0], bits)


def test_run_length_encoded(tmp_path: Path) -> None:
    series = make_series(2)
    for dataset in series:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    write_series(tmp_path, series)
    meta, volume, _, _ = read_series(tmp_path)
    np.testing.assert_array_equal(volume[1], pixels_of(1, (6, 5), "uint16"))
    assert meta.get("TransferSyntaxUID") == RLELossless


@pytest.mark.usefixtures("no_decoder_plugins")
def test_compressed_pixels_without_a_decoder_name_what_is_missing(tmp_path: Path) -> None:
    dataset = make_slice()
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    write_series(tmp_path, [dataset])
    with pytest.raises(CodecError, match="JPEG 2000") as caught:
        read_series(tmp_path)
    assert "I1" in str(caught.value)
    assert "dicom-codecs" in str(caught.value)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("frames", [1, 3])
def test_a_decoder_whose_arrays_are_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Some plugins' are, and pydicom's `iter_array` then fails to correct the sign of samples."""
    from pydicom.pixels.decoders.base import Decoder

    dataset = make_slice()
    expected = np.random.default_rng(0).integers(0, 9, (frames, 6, 5), "uint16")
    dataset.NumberOfFrames = frames
    set_pixels(dataset, expected)
    dataset.compress(RLELossless, generate_instance_uid=False)
    whole = Decoder.iter_array

    def iter_array(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from islice(whole(*arguments, **options), frames - 1)
        raise ValueError("output array is read-only")

    monkeypatch.setattr(Decoder, "iter_array", iter_array)
    folder = write_series(tmp_path / "in", [dataset])
    np.testing.assert_array_equal(read_series(folder).volume, expected)


def test_progress_ends_at_all(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(3))
    (tmp_path / "note.txt").write_text("x")
    steps: list[tuple[int, int]] = []
    read_series(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert {total for _, total in steps} == {8}
    assert steps[-1] == (8, 8)
    steps.clear()
    read_dicom_dir(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (4, 4)


def test_a_messy_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["a/1.dcm", "a/b/2", "3.IMA", "4"]
    write_series(tmp_path, make_series(4), names)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / ".DS_Store").write_bytes(bytes(10))
    (tmp_path / "._4").write_bytes(b"\x08\0" * 100)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x").write_bytes((tmp_path / "4").read_bytes())
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").symlink_to(tmp_path / "a", target_is_directory=True)
    with (
        caplog.at_level("INFO", "dicube"),
        pytest.warns(UserWarning, match="a link .*, and 1 more links are passed over"),
    ):
        meta, volume, _, _ = read_series(tmp_path)
    assert meta.get("InstanceNumber") == [1, 2, 3, 4]
    assert len(volume) == 4
    assert "notes.txt" in caplog.text


def test_one_file_and_a_list_of_files(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(3))
    assert read_series(tmp_path / "I2").volume.shape == (1, 6, 5)
    paths = [tmp_path / "I3", str(tmp_path / "I1")]
    assert read_dicom_dir(paths).get("InstanceNumber") == [1, 3]
    with pytest.raises(CubeFileNotFoundError):
        read_dicom_dir([tmp_path / "I9"])


def two_series(folder: Path) -> None:
    write_series(folder, make_series(3))
    other = make_series(2, shape=(7, 8))
    each(other, "SeriesInstanceUID", ["1.2.3"] * 2)
    each(other, "SeriesDescription", ["localizer"] * 2)
    write_series(folder, other, ["L1", "L2"])


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    two_series(tmp_path)
    for read in (read_dicom_dir, read_series):
        with pytest.raises(DataConsistencyError) as caught:
            read(tmp_path)
        message = str(caught.value)
        for told in ("3 files", "2 files", "7 x 8", "I1", "L1"):
            assert told in message
        assert SERIES_UID not in message
        assert "series_uid=" in message
    assert read_series(tmp_path, series_uid="1.2.3").volume.shape == (2, 7, 8)
    assert read_dicom_dir(tmp_path, series_uid=SERIES_UID).slice_count == 3
    with pytest.raises(DataConsistencyError, match="no series 9"):
        read_dicom_dir(tmp_path, series_uid="9")


def test_a_series_without_pixels_does_not_count_beside_images(tmp_path: Path) -> None:
    report = make_slice()
    report.SeriesInstanceUID = "1.9"
    del report.PixelData
    write_series(tmp_path, [*make_series(2), report])
    with pytest.warns(UserWarning, match="1 left out: 1 CT Image Storage"):
        assert len(read_series(tmp_path).volume) == 2
    assert read_dicom_dir(tmp_path, series_uid="1.9").slice_count == 1


def test_a_dicomdir_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(2))
    directory = make_slice()
    directory.SOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPClassUID = directory.SOPClassUID
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2"
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert len(read_series(tmp_path).volume) == 2


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (make_slice(1, (6, 7)), "6 x 7 uint16"),
        (make_slice(1, (6, 5), "int16"), "6 x 5 int16"),
        (make_slice(1, (6, 5), "uint8"), "6 x 5 uint8"),
        (make_slice(1, (6, 5, 3), "uint16"), "6 x 5 x 3 uint16"),
    ],
)
def test_images_that_make_no_volume(tmp_path: Path, other: Any, told: str) -> None:
    write_series(tmp_path, [make_slice(0), make_slice(2), other])
    with pytest.raises(DataConsistencyError) as caught:
        read_series(tmp_path)
    assert told in str(caught.value)
    assert "2 of 6 x 5 uint16" in str(caught.value)


def cut(path: Path, bytes_left: int) -> None:
    path.write_bytes(path.read_bytes()[:bytes_left])


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(3))
    cut(tmp_path / "I2", -10)
    with pytest.raises(DataConsistencyError, match=r"I2 is truncated: expected 60 .* found 50"):
        read_series(tmp_path)
    cut(tmp_path / "I2", 500)
    with pytest.raises(MetaDataError, match="I2"):
        read_series(tmp_path)
    with pytest.raises(MetaDataError, match="I2"):
        read_dicom_dir(tmp_path)


def test_a_file_without_pixels_is_named(tmp_path: Path) -> None:
    series = make_series(3)
    del series[1].PixelData
    write_series(tmp_path, series)
    with pytest.raises(DataConsistencyError, match="I2 has no pixel data"):
        read_series(tmp_path)
    assert read_dicom_dir(tmp_path).slice_count == 3


def test_a_file_cut_before_its_series_uid_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(3))
    data = (tmp_path / "I2").read_bytes()
    cut(tmp_path / "I2", data.index(b"\x10\x00\x10\x00PN"))
    with pytest.raises(MetaDataError, match="I2"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("Rows", ..., "no image shape"),
        ("Columns", 0, "no image shape"),
        ("BitsAllocated", 12, "BitsAllocated 12"),
        ("BitsAllocated", ..., "BitsAllocated 0"),
        ("NumberOfFrames", 2, "truncated: expected 120 bytes"),
    ],
)
def test_pixels_that_are_not_described(tmp_path: Path, keyword: str, value: Any, told: str) -> None:
    dataset = make_slice()
    dataset.NumberOfFrames = 1
    write_series(tmp_path, each([dataset], keyword, [value]))
    with pytest.raises(DataConsistencyError, match=told) as caught:
        read_series(tmp_path)
    assert "I1" in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError) as caught:
        read_dicom_dir(tmp_path / "missing")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(MetaDataError, match="no DICOM"):
        read_dicom_dir(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(MetaDataError, match="1 files"):
        read_series(tmp_path)
    with pytest.raises(InvalidCubeFileError, match="neither"):
        read_series(tmp_path / "notes.txt")


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0,
    reason="nothing is refused to root, or so on Windows",
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(2))
    (tmp_path / "I1").chmod(0)
    with pytest.raises(DicomCubeError, match="I1"):
        read_series(tmp_path)


def test_nonsense_after_the_preamble_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    write_series(tmp_path, make_series(1))
    (tmp_path / "bad").write_bytes(bytes(128) + b"DICM" + os.urandom(0) + b"\xff" * 400)
    with pytest.raises(DicomCubeError, match="bad"):
        read_series(tmp_path)
