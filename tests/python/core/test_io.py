"""io: published functions and files, where they do more than in the published package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from inputs.dicom_series import each, make_series, write_series

import dicube
from dicube import DicomCubeImage, DicomStatus, PixelDataHeader
from dicube.core.io import DicomCubeImageIO
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError
from dicube.storage import DcbReader
from dicube.storage.dcb_file import DcbAFile, DcbFile, DcbSFile
from dicube.storage.pixel_utils import derive_pixel_header_from_array


@pytest.fixture
def image(smooth_volume: SmoothVolume) -> DicomCubeImage:
    return DicomCubeImage(smooth_volume((3, 20, 24), "int16"))


@pytest.mark.parametrize(("file_type", "name"), [("s", "x.dcbs"), ("a", "x.dcba")])
@pytest.mark.parametrize("given", ["x", "full"])
def test_paths_and_types(
    file_type: str, name: str, given: str, image: DicomCubeImage, tmp_path: Path
) -> None:
    dicube.save(image, tmp_path / (name if given == "full" else given), file_type)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert np.array_equal(dicube.load(tmp_path / name).raw_image, image.raw_image)
    assert Path(name).suffix == type(DcbFile(tmp_path / name)).FILE_EXTENSION


def test_one_slice_stays_a_volume(image: DicomCubeImage, tmp_path: Path) -> None:
    one = DicomCubeImage(image.raw_image[0], PixelDataHeader(PixelDtype="int16"))
    dicube.save(one, tmp_path / "x.dcbs")
    back = dicube.load(tmp_path / "x.dcbs")
    assert back.shape == (1, 20, 24)
    dicube.save(back, tmp_path / "y.dcbs")
    frame = DcbFile(tmp_path / "y.dcbs").read_images()
    assert isinstance(frame, np.ndarray)
    assert np.array_equal(frame, image.raw_image[0])


def test_export_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("of three years")
    image = dicube.load_from_dicom_folder(tmp_path / "in")
    for _ in range(2):
        dicube.save_to_dicom_folder(image, tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "slice_0000.dcm",
            "slice_0001.dcm",
            "thesis.txt",
        ]
    assert (tmp_path / "out" / "thesis.txt").read_text() == "of three years"


def test_export_without_metadata_says_that_it_makes_some(
    image: DicomCubeImage, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="init_meta"):
        DicomCubeImageIO.save_to_dicom_folder(image, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("slopes", [[1, 1, 1], [1, 2, 0.5]], ids=["one slope", "several"])
def test_metadata_are_skipped_unless_values_need_them(slopes: list[float], tmp_path: Path) -> None:
    series = each(make_series(3), "RescaleSlope", slopes)
    write_series(tmp_path / "in", series)
    image = dicube.load_from_dicom_folder(tmp_path / "in")
    dicube.save(image, tmp_path / "x.dcbs")
    skipped = dicube.load(tmp_path / "x.dcbs", skip_meta=True)
    assert (skipped.dicom_meta is None) == (len(set(slopes)) == 1)
    assert np.array_equal(skipped.get_fdata(), image.get_fdata())


def test_metadata_alone(tmp_path: Path, image: DicomCubeImage) -> None:
    write_series(tmp_path / "in", make_series(3))
    series = dicube.load_from_dicom_folder(tmp_path / "in")
    dicube.save(series, tmp_path / "x.dcbs")
    dicube.save(image, tmp_path / "y.dcbs")
    assert dicube.load_meta(tmp_path / "x.dcbs") == series.dicom_meta
    assert dicube.load_meta(tmp_path / "y.dcbs") is None


def test_number_of_threads() -> None:
    from dicube.core import num_threads

    before = num_threads._num_threads
    try:
        dicube.set_num_threads(3)
        assert dicube.get_num_threads() == 3
        with pytest.raises(ValueError, match="found 0"):
            dicube.set_num_threads(0)
        assert dicube.get_num_threads() == 3
    finally:
        num_threads._num_threads = before
    assert dicube.get_num_threads() >= 1


def test_nothing_is_appended(image: DicomCubeImage, tmp_path: Path) -> None:
    for _ in range(2):
        DcbSFile(tmp_path / "x", "w").write(image.raw_image, image.pixel_header)
    before = (tmp_path / "x.dcbs").read_bytes()
    with pytest.raises(InvalidCubeFileError, match="nothing can be appended"):
        DcbSFile(tmp_path / "x.dcbs", "a").write(image.raw_image[:1], image.pixel_header)
    assert (tmp_path / "x.dcbs").read_bytes() == before
    DcbSFile(tmp_path / "y.dcbs", "a").write(image.raw_image, image.pixel_header)
    assert (tmp_path / "y.dcbs").read_bytes() == before


def test_file_is_of_the_kind_that_its_magic_tells(image: DicomCubeImage, tmp_path: Path) -> None:
    file = DcbAFile(tmp_path / "x", "w")
    file.write(image.raw_image, image.pixel_header, dicom_status=DicomStatus.GAP_LOCATION)
    (tmp_path / "x.dcba").rename(tmp_path / "x.dcbs")
    for kind in (DcbFile, DcbSFile, DcbAFile):
        file = kind(tmp_path / "x.dcbs")
        assert type(file) is DcbAFile
        assert file.get_transfer_syntax_uid() == "1.2.840.10008.1.2.4.110"
        assert file.read_dicom_status() is DicomStatus.GAP_LOCATION
    assert np.array_equal(np.stack(list(file.read_images())), image.raw_image)


def test_header_tells_where_sections_are(image: DicomCubeImage, tmp_path: Path) -> None:
    dicube.save(image, tmp_path / "x.dcbs")
    header, data = DcbFile(tmp_path / "x.dcbs").header, (tmp_path / "x.dcbs").read_bytes()
    with DcbReader(tmp_path / "x.dcbs") as reader:
        start = header["pixel_header_offset"]
        found = data[start : start + header["pixel_header_length"]]
        assert found == reader.sections["pixel_header"]
    assert header["frame_count"] == 3


@pytest.mark.parametrize(
    ("images", "told"),
    [([], "at least one array"), ([np.zeros((2, 2)), np.zeros((2, 3))], "same shape")],
    ids=["none", "differing"],
)
def test_frames_that_make_no_volume(images: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataConsistencyError, match=told):
        DcbSFile(tmp_path / "x", "w").write(images, PixelDataHeader())
    assert not list(tmp_path.iterdir())


def test_file_of_no_kind(image: DicomCubeImage, tmp_path: Path) -> None:
    with pytest.raises(InvalidCubeFileError, match="of no kind"):
        DcbFile(str(tmp_path / "x"), "w").write(image.raw_image, image.pixel_header)


def test_real_values_as_raw_ones(tmp_path: Path) -> None:
    """The line of the README that gives what 0.3.0 had as raw_image."""
    write_series(tmp_path / "in", make_series(3))
    image = dicube.load_from_dicom_folder(tmp_path / "in")
    raw, header = derive_pixel_header_from_array(image.get_fdata("float64"))
    assert np.array_equal(raw, image.raw_image.astype(int) - 1024)
    assert raw.dtype == header.PixelDtype == "int32"  # of all 16 bits, less 1024
    assert (header.RescaleSlope, header.RescaleIntercept) == (1.0, 0.0)


@pytest.mark.parametrize("option", [{"reversible": False}, {"num_decompositions": 3}])
def test_codestreams_of_another_layout_are_refused(option: dict[str, Any]) -> None:
    codec = dicube.codecs.get_codec("jph")
    with pytest.raises(CodecError, match=next(iter(option))):
        codec.encode(np.zeros((4, 4), np.uint8), **option)


def test_published_places() -> None:
    from dicube.codecs.jph.codec import JphCodec
    from dicube.core import DicomCubeImageIO as FromCore
    from dicube.dicom.space_from_meta import get_space_from_DicomMeta
    from dicube.storage import DcbFile as FromStorage

    assert FromCore is DicomCubeImageIO
    assert FromStorage is DcbFile
    assert isinstance(dicube.codecs.get_codec("jph"), JphCodec)
    assert get_space_from_DicomMeta is dicube.dicom.get_space_from_DicomMeta
