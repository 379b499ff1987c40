"""DcbStreamingReader: each frame is the same DICOM file that an export writes for its slice."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.arrays import SmoothVolume
from inputs.dicom_frames import enhanced
from inputs.dicom_series import each, make_series, write_series
from pydicom.dataset import Dataset

import dicube.integrations.pydicom  # noqa: F401 (lets pydicom decode)
from dicube import DicomCubeImage, PixelDataHeader
from dicube.dicom import DcbStreamingReader
from dicube.dicom.series.geometry import Space
from dicube.exceptions import CubeFileNotFoundError, InvalidCubeFileError

EXPLICIT, HTJ2K, JPEG_XL = (f"1.2.840.10008.1.2.{end}" for end in ("1", "4.201", "4.110"))

extension = pytest.mark.parametrize(
    ("extension", "syntax"), [(".dcbs", HTJ2K), (".dcba", JPEG_XL)], ids=["dcbs", "dcba"]
)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def exported(image: DicomCubeImage, folder: Path, **options: Any) -> list[bytes]:
    image.to_dicom_folder(folder, exact=False, **options)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def same(files: list[bytes], others: list[bytes], edited: bool) -> bool:
    """Whether files are the same; numbers that were edited may be written as 7 or 7.0."""
    if not edited:
        return files == others
    return [read(file) for file in files] == [read(file) for file in others]


@extension
@pytest.mark.parametrize("edited", [False, True], ids=["as it was", "edited"])
def test_each_frame_is_what_an_export_writes(
    extension: str, syntax: str, edited: bool, tmp_path: Path
) -> None:
    series = make_series(4, shape=(24, 20))
    each(series, "RescaleSlope", [1, 2, 0.5, 3])
    each(series, "WindowCenter", [40, 50, 60, 70])
    each(series, "WindowWidth", [400, 500, 600, 700])
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", series))
    if edited:
        image.pixel_header.RescaleSlope = 7.0
        image.pixel_header.WindowCenter = 1.0
        assert image.space is not None
        image.space = Space(
            shape=image.space.shape,
            origin=(1.0, 2.0, 3.0),
            spacing=image.space.spacing,
            x_orientation=image.space.x_orientation,
            y_orientation=image.space.y_orientation,
            z_orientation=image.space.z_orientation,
        )
    path = tmp_path / f"x{extension}"
    image.to_file(path)
    coded = exported(image, tmp_path / "coded", transfer_syntax=syntax)
    native = exported(image, tmp_path / "native")
    with DcbStreamingReader(path) as reader:
        assert reader.transfer_syntax_uid == syntax
        assert same([reader.get_dicom_for_frame(i) for i in range(4)], coded, edited)
    with DcbStreamingReader(path, force_uncompressed=True) as reader:
        assert same([reader.get_dicom_for_frame(i) for i in range(4)], native, edited)


@extension
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("shape", [(3, 24, 20), (3, 24, 20, 3)], ids=["grey", "colour"])
def test_pixels_of_an_array(
    extension: str,
    syntax: str,
    dtype: str,
    shape: tuple[int, ...],
    tmp_path: Path,
    smooth_volume: SmoothVolume,
) -> None:
    image = DicomCubeImage(smooth_volume(shape, dtype), PixelDataHeader(2.0, -1.0))
    image.to_file(tmp_path / f"x{extension}")
    with DcbStreamingReader(tmp_path / f"x{extension}") as reader:
        files = [read(reader.get_dicom_for_frame(index)) for index in range(3)]
    # What JPEG XL in DICOM can't be of comes uncompressed.
    expected = syntax if syntax == HTJ2K or dtype.startswith("uint") else EXPLICIT
    for index, file in enumerate(files):
        assert file.file_meta.TransferSyntaxUID == expected
        assert np.array_equal(file.pixel_array, image.raw_image[index])
        assert (file.RescaleSlope, file.RescaleIntercept) == (2, -1)
    assert len({file.SOPInstanceUID for file in files}) == 3
    assert len({file.SeriesInstanceUID for file in files}) == 1


def test_frames_of_a_multi_frame_file(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", [enhanced(4)]))
    image.to_file(tmp_path / "x.dcbs")
    with DcbStreamingReader(tmp_path / "x.dcbs") as reader:
        files = [read(reader.get_dicom_for_frame(index)) for index in range(4)]
    assert len({file.SOPInstanceUID for file in files}) == 4
    for index, file in enumerate(files):
        (groups,) = file.PerFrameFunctionalGroupsSequence
        assert file.NumberOfFrames == 1
        assert np.array_equal(file.pixel_array, image.raw_image[index])
        position = image.dicom_meta.get("ImagePositionPatient")[index]
        assert groups.PlanePositionSequence[0].ImagePositionPatient == position


def test_threads_and_cache(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", make_series(6)))
    image.to_file(tmp_path / "x.dcbs")
    asked = [index % 6 for index in range(60)]
    with DcbStreamingReader(tmp_path / "x.dcbs", chunk_size=1, cache_size=4) as reader:
        once = [reader.get_dicom_for_frame(index) for index in range(6)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(reader.get_dicom_for_frame, asked)) == once * 10
        assert reader.get_cache_stats()["cached_frames"] == 4
        reader.clear_cache()
        assert reader.get_cache_stats()["cached_frames"] == 0
        told = reader.get_metadata()
    assert told["frame_count"] == 6
    assert told["file_type"] == "DcbSFile"
    assert told["has_dicom_meta"]
    assert told["has_space"]


@pytest.mark.parametrize("index", [-1, 3, 99])
def test_no_such_frame(index: int, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
    DicomCubeImage(smooth_volume((3, 8, 9), "uint8")).to_file(tmp_path / "x.dcbs")
    with (
        DcbStreamingReader(tmp_path / "x.dcbs") as reader,
        pytest.raises(IndexError, match=f"0 to 2, found {index}"),
    ):
        reader.get_dicom_for_frame(index)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError):
        DcbStreamingReader(tmp_path / "x.dcbs")
    (tmp_path / "x.dcbs").write_bytes(b"DCMCUBES")
    with pytest.raises(InvalidCubeFileError):
        DcbStreamingReader(tmp_path / "x.dcbs")
    DicomCubeImage(np.eye(9, dtype=np.uint8)).to_file(tmp_path / "x.dcbr", roi="auto")
    told = r"expected the magic of \.dcbs or \.dcba or \.dcbl, found another$"
    with pytest.raises(InvalidCubeFileError, match=told):
        DcbStreamingReader(tmp_path / "x.dcbr")
