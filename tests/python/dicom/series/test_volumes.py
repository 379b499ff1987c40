"""volumes: series with the same slices several times, and series in any order."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import enhanced, frames_like, plane, several_frames
from inputs.dicom_series import each, item, make_series, make_slice, set_pixels, write_series
from inputs.private_elements import csa_header, unknown
from inputs.work import assert_linear
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta, DicomStatus, get_dicom_status, read_dicom_dir
from dicube.dicom.series.volumes import series_volumes
from dicube.exceptions import DataConsistencyError


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
    assert str(found) == "3 volumes of 3 to 4 slices (by EchoTime), slices 0-3; 4-6; 7-10"
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
    with pytest.raises(DataConsistencyError, match=r"to_nifti\(\) takes mosaics apart"):
        image.regrid()


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


AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def turned(orientation: list[float], places: list[int], first: int = 0) -> list[Dataset]:
    """Make slices of an orientation at places along its normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    series = []
    for index, place in enumerate(places):
        dataset = make_slice(first + index)
        dataset.ImageOrientationPatient = orientation
        dataset.ImagePositionPatient = [float(x) for x in 10 * place * normal]
        series.append(dataset)
    return series


class TestOrientations:
    @pytest.mark.parametrize("place", [0, 4])
    def test_a_scout_is_a_volume_of_its_own(self, tmp_path: Path, place: int) -> None:
        series = turned(AXIAL, [0, 1, 2, 3], 1)
        series.insert(place, turned(CORONAL, [0])[0])
        write_series(tmp_path, each(series, "InstanceNumber", range(1, 6)))
        which = "slices 0; 1-4" if place == 0 else "slices 0-3; 4"
        with pytest.warns(
            UserWarning, match=rf"by ImageOrientationPatient\), {which}; see volumes"
        ):
            image = DicomCubeImage.from_dicom_folder(tmp_path)
        volumes = image.volumes()
        assert [len(volume.raw_image) for volume in volumes] == [1, 4][:: 1 if place == 0 else -1]
        spaces = [volume.space for volume in volumes]
        assert all(space is not None for space in spaces)
        with pytest.raises(DataConsistencyError, match=f"{which} differ in shape"):
            image.to_nifti(tmp_path / "x.nii")

    def test_three_planes(self) -> None:
        planes = (AXIAL, CORONAL, SAGITTAL)
        series = [dataset for plane in planes for dataset in turned(plane, [0, 1, 2])]
        shuffled = random.Random(1).sample(series, 9)
        found = series_volumes(DicomMeta.from_datasets(shuffled))
        assert found is not None
        assert found.name == "ImageOrientationPatient"
        for slices in found.slices:
            assert len({str(shuffled[i].ImageOrientationPatient) for i in slices}) == 1
            places = [shuffled[i].ImagePositionPatient for i in slices]
            normal = np.cross(*np.reshape(shuffled[slices[0]].ImageOrientationPatient, (2, 3)))
            assert np.allclose(np.abs(np.diff(places @ normal)), 10)

    def test_each_orientation_over_time(self) -> None:
        series = [s for plane in (AXIAL, SAGITTAL) for _ in "ab" for s in turned(plane, [0, 1, 2])]
        each(series, "EchoTime", [1, 1, 1, 2, 2, 2] * 2)
        found = series_volumes(DicomMeta.from_datasets(series))
        assert found is not None
        assert found.name == "ImageOrientationPatient, EchoTime"
        assert found.slices == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
        assert [echo for _, echo in found.values] == [1, 2, 1, 2]

    def test_slices_without_position(self, tmp_path: Path) -> None:
        """Such as a page of text that is stored with the images that it is about."""
        series = turned(AXIAL, [0, 1, 2, 3, 4])
        del series[2].ImagePositionPatient, series[2].ImageOrientationPatient
        write_series(tmp_path, series)
        with pytest.warns(UserWarning, match="slices 0-1, 3-4; 2; see volumes"):
            image = DicomCubeImage.from_dicom_folder(tmp_path)
        np.testing.assert_array_equal(image.volumes()[1].raw_image, image.raw_image[2:3])

    def test_rounding_is_no_orientation(self) -> None:
        series = turned(AXIAL, [0, 1, 2])
        series[1].ImageOrientationPatient = [1, 0.0004, 0, 0, 1, 0]
        assert series_volumes(DicomMeta.from_datasets(series)) is None

    def test_stacks_of_an_enhanced_image(self) -> None:
        dataset = enhanced(6, groups=lambda frame: plane(frame % 3))
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            orientation = AXIAL if frame < 3 else CORONAL
            group.PlaneOrientationSequence = [item(ImageOrientationPatient=orientation)]
            normal = np.cross(orientation[:3], orientation[3:]) * frame
            group.PlanePositionSequence = [item(ImagePositionPatient=normal.tolist())]
        found = series_volumes(DicomMeta.from_datasets([dataset]))
        assert found is not None
        assert found.slices == [[0, 1, 2], [3, 4, 5]]


def philips(dataset: Dataset, number: int) -> None:
    bs, ways = [0, 1000, 1000, 1000], [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", bs[number])
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    for place, component in enumerate(ways[number]):
        block.add_new(0xB0 + place, "FL", component)
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
    block.add_new(0x12, "IS", 1 + (number > 0))
    block.add_new(0x13, "IS", [1, 1, 2, 3][number])


def ge(dataset: Dataset, number: int) -> None:
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [0 if number == 0 else 1000, 8, 0, 0])
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    for place in range(3):
        block.add_new(0xBB + place, "DS", int(number == place + 1))


def uih(dataset: Dataset, number: int) -> None:
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x09, "FD", 0 if number == 0 else 1000)
    block.add_new(0x37, "FD", [float(number == place) for place in (1, 2, 3)])


def siemens(dataset: Dataset, number: int) -> None:
    dataset.private_block(0x0019, "OTHER", create=True).add_new(0x0C, "IS", 7)
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 0 if number == 0 else 1000)
    if number:
        block.add_new(0x0E, "FD", [float(number == place) for place in (1, 2, 3)])


def siemens_csa(dataset: Dataset, number: int) -> None:
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    way = [f"{float(number == place):.8f}" for place in (1, 2, 3)] if number else []
    values = {"B_value": [str(1000 * (number > 0))], "DiffusionGradientDirection": way}
    block.add_new(0x10, "OB", csa_header(values))


@pytest.mark.parametrize("vendor", [philips, ge, uih, siemens, siemens_csa])
@pytest.mark.parametrize("as_unknown", [False, True])
def test_diffusion_of_vendors(vendor: Any, as_unknown: bool) -> None:
    """Directions in private elements, and instance numbers that say nothing."""
    series = repeated(4, 3)
    numbers = [index // 3 for index in range(12)]
    for dataset, number in zip(series, numbers, strict=True):
        vendor(dataset, number)
        for element in dataset:
            if as_unknown and element.tag.is_private and not element.tag.is_private_creator:
                dataset[element.tag] = unknown(element)
    order = random.Random(7).sample(range(12), 12)
    found = series_volumes(DicomMeta.from_datasets([series[i] for i in order]))
    assert found is not None
    assert not found.is_guessed
    parts = [{numbers[order[i]] for i in slices} for slices in found.slices]
    assert all(len(part) == 1 for part in parts)
    if vendor is philips and not as_unknown:  # by b-value, then by the number of the direction
        assert parts == [{0}, {1}, {2}, {3}]


def test_a_guess_is_said(tmp_path: Path) -> None:
    write_series(tmp_path, repeated(2, 3))
    with pytest.warns(UserWarning, match="order of the slices"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    with pytest.warns(UserWarning, match="nothing but the order of the slices"):
        image.to_nifti(tmp_path / "x.nii")


# -------------------------------------------------------------------------- nuclear medicine


def nuclear(kind: str, count: int, vectors: dict[str, list[int]], place: bool = True) -> Dataset:
    """Make a file of nuclear medicine with a value of each frame in its vectors."""
    source = several_frames(count)
    source.Modality, source.ImageType = "NM", ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    source.PixelSpacing, source.SpacingBetweenSlices = [4, 4], -4
    source.FrameIncrementPointer = [tag_for_keyword(name) for name in vectors]
    for name, values in vectors.items():
        setattr(source, name, values)
    detector = item(ImageOrientationPatient=AXIAL, ImagePositionPatient=[-30, -40, 50])
    source.DetectorInformationSequence = [detector if place else item(CollimatorType="PARA")]
    return source


@pytest.mark.parametrize("place", [True, False])
@pytest.mark.parametrize("interleaved", [True, False])
def test_gated_tomography(tmp_path: Path, place: bool, interleaved: bool) -> None:
    gates, slices = [1] * 3 + [2] * 3, [1, 2, 3] * 2
    if interleaved:
        gates, slices = [1, 2] * 3, [1, 1, 2, 2, 3, 3]
    vectors = {"RRIntervalVector": [1] * 6, "TimeSlotVector": gates, "SliceVector": slices}
    write_series(tmp_path, [nuclear("RECON GATED TOMO", 6, vectors, place)])
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    volumes = image.volumes()
    for gate, volume in enumerate(volumes, 1):
        chosen = [i for i in range(6) if gates[i] == gate]
        np.testing.assert_array_equal(volume.raw_image, image.raw_image[chosen])
        assert (volume.space is not None) == place
        if volume.space is not None:
            assert volume.space.origin == (-30, -40, 50)
            assert volume.space.spacing == (4, 4, 4)
            assert tuple(volume.space.x_orientation) == (0, 0, -1)
    assert len(volumes) == 2
    if place:
        volumes[1].to_dicom_folder(tmp_path / "out")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert back.space == volumes[1].space


def test_projections_are_one_stack_of_each_energy_window() -> None:
    vectors = {
        "EnergyWindowVector": [1] * 4 + [2] * 4,
        "DetectorVector": [1] * 8,
        "RotationVector": [1] * 8,
        "AngularViewVector": [1, 2, 3, 4] * 2,
    }
    found = series_volumes(DicomMeta.from_datasets([nuclear("TOMO", 8, vectors)]))
    assert found is not None
    assert (found.name, found.values) == ("EnergyWindowVector", [1, 2])
    assert found.slices == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_dynamic_frames_are_times() -> None:
    vectors = {"PhaseVector": [1, 1, 2, 2], "TimeSliceVector": [1, 2, 1, 2]}
    found = series_volumes(DicomMeta.from_datasets([nuclear("DYNAMIC", 4, vectors)]))
    assert found is not None
    assert found.values == [(1, 1), (1, 2), (2, 1), (2, 2)]


# ------------------------------------------------------- frames of a file with one position


def stack(**elements: Any) -> Dataset:
    """Make a file of four frames with its geometry once, as of cone beam CT."""
    source = make_slice()
    source.NumberOfFrames = 4
    set_pixels(source, frames_like(4))
    for name, value in elements.items():
        setattr(source, name, value)
    return source


def test_frames_without_slice_spacing_are_one_volume() -> None:
    assert series_volumes(DicomMeta.from_datasets([stack()])) is None


@pytest.mark.parametrize("name", ["FrameTime", "FrameTimeVector"])
def test_frames_at_times_are_no_stack(name: str) -> None:
    source = stack(SpacingBetweenSlices=2.5, FrameIncrementPointer=tag_for_keyword(name))
    found = series_volumes(DicomMeta.from_datasets([source]))
    assert found is not None
    assert len(found.slices) == 4


def test_two_stacks_at_one_place() -> None:
    series = [stack(SpacingBetweenSlices=2.5), stack(SpacingBetweenSlices=2.5)]
    found = series_volumes(DicomMeta.from_datasets(each(series, "EchoTime", [1, 2])))
    assert found is not None
    assert (found.name, found.slices) == ("EchoTime", [[0, 1, 2, 3], [4, 5, 6, 7]])


class TestWork:
    """Twice as many slices take twice the work, whatever the volumes are."""

    def test_many_dimensions(self) -> None:
        def call(count: int) -> Callable[[], object]:
            dataset = enhanced(16, groups=lambda frame: plane(frame // 4))
            for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
                bits = [frame % 4 >> number % 2 & 1 for number in range(count)]
                group.FrameContentSequence[0].DimensionIndexValues = bits
            meta = DicomMeta.from_datasets([dataset])
            found = series_volumes(meta)
            assert found is not None
            assert found.name == "DimensionIndexValues[0], DimensionIndexValues[1]"
            return partial(series_volumes, meta)

        assert_linear(call, 400)

    @pytest.mark.parametrize(
        ("files", "frames"), [(1, 100), pytest.param(2, 80, marks=pytest.mark.slow)]
    )
    def test_many_volumes_of_frames(self, files: int, frames: int) -> None:
        def call(count: int) -> Callable[[], object]:
            datasets = []
            for number in range(files):
                dataset = enhanced(count, number + 1, groups=lambda frame: plane(frame % 2))
                for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
                    group.FrameContentSequence[0].TemporalPositionIndex = (
                        frame // 2 + number * count
                    )
                datasets.append(dataset)
            meta = DicomMeta.from_datasets(datasets)
            image = DicomCubeImage(np.zeros((files * count, 6, 5), np.uint16), dicom_meta=meta)
            assert len(image.volumes()) == files * count // 2
            return image.volumes

        assert_linear(call, frames)


def test_orientations_that_differ_little_from_the_first_one() -> None:
    """Whatever the digits that they are rounded at."""
    random.seed(5)
    series, firsts, expected = make_series(200), list[list[float]](), dict[int, list[int]]()
    for index, dataset in enumerate(series):
        around, scale = random.choice((0, 0.004, 0.008, -0.008)), random.choice((3e-4, 2e-3))
        row = [1, *(around + random.uniform(-scale, scale) for _ in range(2))]
        turned = [round(cosine, 7) for cosine in [*row, -row[1], 1, 0]]
        dataset.ImageOrientationPatient = turned
        dataset.ImagePositionPatient = [0, 0, index]
        near = [
            number
            for number, first in enumerate(firsts)
            if max(abs(a - b) for a, b in zip(turned, first, strict=True)) <= 1e-3
        ]
        if not near:
            firsts.append(turned)
        expected.setdefault(near[0] if near else len(firsts) - 1, []).append(index)
    found = series_volumes(DicomMeta.from_datasets(series))
    assert found is not None
    assert len(firsts) > 20
    assert [sorted(slices) for slices in found.slices] == list(expected.values())
