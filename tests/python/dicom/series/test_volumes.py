"""volumes: series with the same slices several times, and series in any order."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import enhanced, plane
from inputs.dicom_series import each, item, make_series, make_slice, write_series
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta, DicomStatus, get_dicom_status, read_dicom_dir
from dicube.dicom.series.volumes import series_volumes


def repeated(volumes: int, slices: int, keyword: str = "", values: Any = ()) -> list[Dataset]:
    """Make volumes of the same slices, one after the other, with an element of each volume."""
    series = make_series(volumes * slices)
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [-10, 20, 2.5 * (index % slices)]
        if keyword:
            setattr(dataset, keyword, values[index // slices])
    return series


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("TemporalPositionIdentifier", [1, 2, 3]),
        ("EchoTime", [2.5, 5, 7.5]),
        ("DiffusionBValue", [0.0, 500.0, 1000.0]),
        ("TriggerTime", [0, 40, 80]),
        ("AcquisitionNumber", [1, 2, 3]),
        ("ImageType", [["ORIGINAL", "PRIMARY", kind] for kind in "MPR"]),
    ],
)
def test_volumes_by(tmp_path: Path, keyword: str, values: list[Any]) -> None:
    write_series(tmp_path, repeated(3, 4, keyword, values))
    with pytest.warns(UserWarning, match=rf"3 volumes of 4 slices \(by {keyword}\)"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    assert image.space is None
    assert image.dicom_status in (DicomStatus.REVERSED_LOCATION, DicomStatus.DWELLING_LOCATION)
    volumes = image.volumes()
    assert [len(volume.raw_image) for volume in volumes] == [4, 4, 4]
    for number, (volume, value) in enumerate(zip(volumes, values, strict=True)):
        np.testing.assert_array_equal(volume.raw_image, image.raw_image[4 * number :][:4])
        assert volume.space is not None
        assert tuple(volume.space.shape) == (4, 6, 5)
        assert volume.dicom_status is DicomStatus.CONSISTENT
        assert volume.dicom_meta is not None
        assert volume.dicom_meta.get(keyword) == value
        assert volume.volumes() == [volume]


def test_slices_in_any_order(tmp_path: Path) -> None:
    """Interleaved, descending and at random: each volume goes one way."""
    series = repeated(3, 5, "EchoTime", [1, 2, 3])
    shuffled = random.Random(3).sample(series, len(series))
    each(shuffled, "InstanceNumber", range(1, 16))
    write_series(tmp_path, shuffled)
    with pytest.warns(UserWarning, match="3 volumes of 5"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    for echo, volume in enumerate(image.volumes(), 1):
        assert volume.space is not None
        assert volume.dicom_meta is not None
        assert volume.dicom_meta.get("EchoTime") == echo
        z = [z for _, _, z in volume.dicom_meta.get("ImagePositionPatient")]
        assert z == [0, 2.5, 5, 7.5, 10]


def test_all_volumes_go_the_same_way() -> None:
    """Of one and the same place, where numbers run to and fro, as they do by chance."""
    series = repeated(2, 3, "EchoTime", [1, 2])
    to_and_fro = DicomMeta.from_datasets([*series[:3], *series[:2:-1]])
    found = series_volumes(to_and_fro)
    assert found is not None
    assert found.slices == [[0, 1, 2], [5, 4, 3]]
    against = series_volumes(DicomMeta.from_datasets(series[::-1]))
    assert against is not None
    assert against.slices == [[3, 4, 5], [0, 1, 2]]


def test_numbers_are_in_order() -> None:
    found = series_volumes(DicomMeta.from_datasets(repeated(3, 2, "EchoTime", [30, 4, 10])))
    assert found is not None
    assert found.values == [4, 10, 30]
    assert found.slices == [[2, 3], [4, 5], [0, 1]]


def test_mosaics_have_no_place(tmp_path: Path) -> None:
    kinds = [["ORIGINAL", "PRIMARY", "MOSAIC"]] * 3
    write_series(tmp_path, each(make_series(3), "ImageType", kinds))
    with pytest.warns(UserWarning, match="space is None: mosaic"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    assert image.space is None


def test_two_elements_together(tmp_path: Path) -> None:
    series = repeated(4, 3)
    each(series, "EchoTime", [1, 1, 1, 2, 2, 2] * 2)
    each(series, "FlipAngle", [10] * 6 + [20] * 6)
    each(series, "KVP", [7] * 6 + [8] * 6)
    found = series_volumes(DicomMeta.from_datasets(series))
    assert found is not None
    assert found.name == "EchoTime, FlipAngle"
    assert found.values == [(1, 10), (1, 20), (2, 10), (2, 20)] or len(found.values) == 4
    assert sorted(map(sorted, found.slices)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_nothing_but_the_order_tells(tmp_path: Path) -> None:
    found = series_volumes(DicomMeta.from_datasets(repeated(2, 3)))
    assert found is not None
    assert str(found) == "2 volumes of 3 slices (by order of the slices)"
    assert found.slices == [[0, 1, 2], [3, 4, 5]]


def test_a_volume_that_lacks_a_slice() -> None:
    series = repeated(3, 4, "EchoTime", [1, 2, 3])
    del series[5]
    found = series_volumes(DicomMeta.from_datasets(series))
    assert found is not None
    assert str(found) == "3 volumes of 3 to 4 slices (by EchoTime)"
    for dataset in series:
        del dataset.EchoTime
    assert series_volumes(DicomMeta.from_datasets(series)) is None


def test_one_volume(tmp_path: Path) -> None:
    assert series_volumes(DicomMeta.from_datasets(make_series(4))) is None
    image = DicomCubeImage(np.zeros((2, 3, 4), np.uint8))
    assert image.volumes() == [image]
    write_series(tmp_path, make_series(4))
    image = DicomCubeImage.from_dicom_folder(tmp_path)
    assert image.volumes() == [image]


def test_no_positions() -> None:
    series = make_series(4)
    each(series, "ImagePositionPatient", [...] * 4)
    assert series_volumes(DicomMeta.from_datasets(series)) is None


def test_rescale_of_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path, repeated(2, 3, "EchoTime", [1, 2]))
    series = repeated(2, 3, "EchoTime", [1, 2])
    write_series(tmp_path, each(series, "RescaleSlope", [1, 1, 1, 5, 5, 5]))
    with pytest.warns(UserWarning, match="2 volumes"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    second = image.volumes()[1]
    assert second.pixel_header.RescaleSlope == 5
    np.testing.assert_array_equal(second.get_fdata(), image.get_fdata()[3:])


@pytest.mark.parametrize("keyword", ["RescaleSlope", "WindowCenter"])
def test_what_was_set_for_all_slices_is_that_of_their_volumes(tmp_path: Path, keyword: str) -> None:
    """Also where the first slice of a volume has the same by chance."""
    series = repeated(2, 3, "EchoTime", [1, 2])
    for dataset in series:
        dataset.WindowCenter, dataset.WindowWidth = 1, 400
    write_series(tmp_path / "in", each(series, keyword, [1, 2, 3, 5, 6, 7]))
    with pytest.warns(UserWarning, match="2 volumes"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    setattr(image.pixel_header, keyword, 5.0)
    second = image.volumes()[1]
    np.testing.assert_array_equal(second.get_fdata(), image.get_fdata()[3:])
    second.to_dicom_folder(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert pydicom.dcmread(path)[keyword].value == 5


def four_dimensional() -> Dataset:
    """An enhanced MR of 2 times and 3 slices, time running fastest."""

    def groups(frame: int) -> dict[str, Any]:
        return plane(frame // 2)

    dataset = enhanced(6, groups=groups)
    for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        del group.PixelValueTransformationSequence
        content = group.FrameContentSequence[0]
        content.TemporalPositionIndex = frame % 2 + 1
        content.DimensionIndexValues = [1, frame // 2 + 1, frame % 2 + 1]
    return dataset


def test_windows_of_volumes(tmp_path: Path) -> None:
    series = repeated(2, 3, "EchoTime", [2.5, 5])
    for index, dataset in enumerate(series):
        dataset.WindowCenter, dataset.WindowWidth = 40 + index // 3, 400
    write_series(tmp_path, series)
    with pytest.warns(UserWarning, match="2 volumes"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    second = image.volumes()[1]
    assert second.pixel_header.WindowCenter == 41
    second.to_dicom_folder(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert pydicom.dcmread(path).WindowCenter == 41

    image.pixel_header.WindowCenter = 7.0  # for all, whatever the slices say
    assert image.volumes()[1].pixel_header.WindowCenter == 7


@pytest.mark.parametrize("index_only", [False, True])
def test_enhanced(tmp_path: Path, index_only: bool) -> None:
    dataset = four_dimensional()
    if index_only:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.FrameContentSequence[0].TemporalPositionIndex
    write_series(tmp_path / "in", [dataset])
    name = r"DimensionIndexValues\[2\]" if index_only else "TemporalPositionIndex"
    with pytest.warns(UserWarning, match=rf"2 volumes of 3 slices \(by {name}\)"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    first, second = image.volumes()
    np.testing.assert_array_equal(first.raw_image, image.raw_image[::2])
    np.testing.assert_array_equal(second.raw_image, image.raw_image[1::2])
    assert first.space == second.space is not None
    second.to_file(tmp_path / "x.dcbs")
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out")
    back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    np.testing.assert_array_equal(back.raw_image, second.raw_image)
    assert back.space == second.space


def test_mosaics(shared_data: Path) -> None:
    with pytest.warns(UserWarning, match=r"mosaic: .*dwelling_location.* 13 volumes of 1 slices"):
        image = DicomCubeImage.from_dicom_folder(shared_data / "mr_siemens_dti_mosaic")
    assert image.shape[0] == len(image.volumes()) == 13
    assert all(volume.space is None for volume in image.volumes())


class TestAnyOrder:
    """Tilted gantries, decreasing positions, numbers of no use, slices missing."""

    @pytest.mark.parametrize("step", [2.5, -2.5])
    @pytest.mark.parametrize("tilt", [0.0, 1.0])
    @pytest.mark.parametrize("numbers", ["kept", "repeated", "empty", "absent", "one empty"])
    def test_loaded_and_ordered(
        self, tmp_path: Path, step: float, tilt: float, numbers: str
    ) -> None:
        places = [[-10, 20 + tilt * i, step * i] for i in range(6)]
        series = each(make_series(6), "ImagePositionPatient", places)
        if numbers == "repeated":
            each(series, "InstanceNumber", [1] * 6)
        elif numbers == "empty":
            each(series, "InstanceNumber", [None] * 6)
        elif numbers == "absent":
            each(series, "InstanceNumber", [...] * 6)
        elif numbers == "one empty":
            series[5].InstanceNumber = None
        names = ["I3", "I5", "I1", "I6", "I2", "I4"]
        write_series(tmp_path, series, names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            image = DicomCubeImage.from_dicom_folder(tmp_path)
        assert image.dicom_meta is not None
        z = [z for _, _, z in image.dicom_meta.get("ImagePositionPatient")]
        by_number = numbers in ("kept", "one empty")
        assert z == ([step * i for i in range(6)] if by_number else sorted(z))
        assert (image.space is None) == bool(tilt)
        expected = {
            "kept": DicomStatus.CONSISTENT,
            "repeated": DicomStatus.DUPLICATE_INSTANCE_NUMBERS,
        }.get(numbers, DicomStatus.MISSING_INSTANCE_NUMBER)
        assert image.dicom_status is expected

    @pytest.mark.parametrize("step", [2.5, -2.5])
    def test_a_slice_missing(self, step: float) -> None:
        series = [make_slice(i) for i in range(9) if i != 4]
        for index, dataset in enumerate(series):
            dataset.ImagePositionPatient = [-10, 20, step * (index + (index >= 4))]
        meta = DicomMeta.from_datasets(each(series, "InstanceNumber", range(1, 9)))
        assert get_dicom_status(meta) is DicomStatus.GAP_LOCATION


def test_reading_by_name_is_natural(tmp_path: Path) -> None:
    """Without numbers and positions slices stay as their files are called: I9 before I10."""
    series = make_series(12)
    for keyword in ("InstanceNumber", "ImagePositionPatient"):
        each(series, keyword, [...] * 12)
    write_series(tmp_path, series)
    names = read_dicom_dir(tmp_path).filenames
    assert names == [str(tmp_path / f"I{i + 1}") for i in range(12)]


def test_b_values_of_frames() -> None:
    """A macro of its own in each frame's functional groups."""
    dataset = enhanced(6, groups=lambda frame: plane(frame % 3))
    for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.MRDiffusionSequence = [item(DiffusionBValue=1000.0 * (frame // 3))]
    found = series_volumes(DicomMeta.from_datasets([dataset]))
    assert found is not None
    assert (found.name, found.values) == ("DiffusionBValue", [0.0, 1000.0])


def test_volumes_are_independent(tmp_path: Path) -> None:
    write_series(tmp_path, repeated(2, 3, "EchoTime", [1, 2]))
    with pytest.warns(UserWarning, match="2 volumes"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    before = image.raw_image.copy()
    first = image.volumes()[0]
    first.raw_image[:] = 0
    first.pixel_header.Extras["note"] = 1
    first.pixel_header.RescaleSlope = 9
    assert first.dicom_meta is not None
    first.dicom_meta.set_shared_item("PatientName", "OTHER")
    np.testing.assert_array_equal(image.raw_image, before)
    assert image.pixel_header.Extras == {}
    assert image.pixel_header.RescaleSlope == 1
    assert image.dicom_meta is not None
    assert image.dicom_meta.get("PatientName") == "DOE^JOHN"
