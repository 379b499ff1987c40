"""frames: files of several frames, and functional groups."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import enhanced, frames_like, plane, several_frames
from inputs.dicom_series import each, item, make_series, set_pixels, write_series
from inputs.work import assert_linear
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from dicube.dicom import DicomMeta, DicomStatus, SortMethod, get_dicom_status
from dicube.dicom.dicom_io import (
    read_dicom_dir,
    read_series,
)
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.metadata.slice_order import positions
from dicube.dicom.series.geometry import get_space_from_DicomMeta, space_or_reason
from dicube.exceptions import DataConsistencyError, MetaDataError


def same_elements(one: Dataset, other: Dataset) -> None:
    """Check that two datasets have the same elements, pixels included."""
    assert sorted(one.keys()) == sorted(other.keys())
    for element in one:
        assert element == other[element.tag]


def exported(folder: Path, source: Path, **options: Any) -> list[Dataset]:
    """Read and write a series; return the files written."""
    meta, volume, header, _ = read_series(source, **options)
    space = get_space_from_DicomMeta(meta, "zyx")
    meta = DicomMeta.from_json(meta.to_json())
    return [
        pydicom.dcmread(path) for path in write_dicom_folder(folder, meta, volume, header, space)
    ]


class TestEnhanced:
    def test_each_frame_is_a_slice(self, tmp_path: Path) -> None:
        write_series(tmp_path, [enhanced(7)])
        meta, volume, header, _ = read_series(tmp_path)
        np.testing.assert_array_equal(volume, frames_like(7, 100))
        assert meta.slice_count == 7
        assert meta.filenames == [str(tmp_path / "I1")] * 7
        assert meta.get("ImagePositionPatient") == [[-10, 20, 2.5 * i] for i in range(7)]
        assert meta.get("PixelSpacing") == [0.5, 0.75]
        assert meta.get("PixelSpacing", force_nonshared=True) == [[0.5, 0.75]] * 7
        assert meta.get("RescaleSlope") == [1, 2, 3, 4, 5, 6, 7]
        assert meta.get_vr("RescaleSlope") == "DS"
        assert meta.is_shared("ImageOrientationPatient")
        assert not meta.is_shared("ImagePositionPatient")
        assert "ImagePositionPatient" in meta
        assert not meta.is_missing("SliceThickness")
        assert meta.is_missing("SpacingBetweenSlices")
        assert "00200032" not in meta.keys()  # noqa: SIM118
        assert (header.RescaleSlope, header.RescaleIntercept) == (1, 0)
        assert read_dicom_dir(tmp_path) == meta

    def test_geometry_and_status(self, tmp_path: Path) -> None:
        write_series(tmp_path, [enhanced(7)])
        meta = read_dicom_dir(tmp_path)
        assert get_dicom_status(meta) is DicomStatus.NON_UNIFORM_RESCALE_FACTOR
        space = get_space_from_DicomMeta(meta)
        assert space is not None
        assert tuple(space.shape) == (5, 6, 7)
        np.testing.assert_allclose(space.spacing, (0.75, 0.5, 2.5))
        np.testing.assert_allclose(space.origin, (-10, 20, 0))

    def test_a_frame_missing_in_the_middle_is_reported(self, tmp_path: Path) -> None:
        for sign in (1, -1):
            write_series(
                tmp_path, [enhanced(6, groups=lambda f, s=sign: plane(f + (f > 2), step=s * 2.5))]
            )
            meta = read_dicom_dir(tmp_path)
            assert get_dicom_status(meta) is DicomStatus.GAP_LOCATION

    def test_several_files_are_joined_in_order(self, tmp_path: Path) -> None:
        files = [enhanced(n, n, lambda f, n=n: plane(f, start=10.0 * n)) for n in (4, 3, 5)]
        write_series(tmp_path, files)
        meta, volume, _, _ = read_series(tmp_path)
        expected = [frames_like(n, n * 100) for n in (3, 4, 5)]
        np.testing.assert_array_equal(volume, np.concatenate(expected))
        assert meta.get("InstanceNumber") == [3] * 3 + [4] * 4 + [5] * 5
        assert [z for _, _, z in meta.get("ImagePositionPatient")] == [
            10.0 * n + 2.5 * f for n in (3, 4, 5) for f in range(n)
        ]
        assert meta.instances() == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10, 11]]
        assert DicomMeta.from_json(meta.to_json()) == meta
        back = exported(tmp_path / "out", tmp_path)
        for written, source in zip(back, (files[1], files[0], files[2]), strict=True):
            same_elements(written, source)

    def test_the_json_holds_each_file_once(self) -> None:
        """Not a value for each frame of each file in each frame's item."""
        files = [enhanced(10, n, lambda f, n=n: plane(f, start=n)) for n in range(1, 11)]
        groups = json.loads(DicomMeta.from_datasets(files).to_json())["_merged_data"]["52009230"]
        assert groups["columns"] == [n for n in range(10) for _ in range(10)]
        place = groups["Value"][3]["00209113"]["Value"][0]["00200032"]
        assert len(place["Value"]) == 10

    def test_descending_reverses_frames_too_and_export_restores_them(self, tmp_path: Path) -> None:
        files = [enhanced(3, 1), enhanced(4, 2, lambda f: plane(f, start=7.5))]
        write_series(tmp_path, files)
        meta, volume, _, _ = read_series(tmp_path, SortMethod.INSTANCE_NUMBER_DESC)
        expected = np.concatenate([frames_like(3, 100), frames_like(4, 200)])[::-1]
        np.testing.assert_array_equal(volume, expected)
        z = [z for _, _, z in meta.get("ImagePositionPatient")]
        assert z == [2.5 * i for i in reversed(range(7))]
        back = exported(tmp_path / "out", tmp_path, sort_method=SortMethod.INSTANCE_NUMBER_DESC)
        same_elements(back[0], files[1])
        same_elements(back[1], files[0])

    def test_sorting_by_position_reorders_frames_and_export_restores_them(
        self, tmp_path: Path
    ) -> None:
        mixed = [3, 0, 2, 4, 1]
        source = enhanced(5, groups=lambda f: plane(mixed[f]))
        write_series(tmp_path, [source])
        meta, volume, _, _ = read_series(tmp_path, SortMethod.POSITION_RIGHT_HAND)
        order = [mixed.index(i) for i in range(5)]
        np.testing.assert_array_equal(volume, frames_like(5, 100)[order])
        assert [z for _, _, z in meta.get("ImagePositionPatient")] == [0, 2.5, 5, 7.5, 10]
        assert [frame.number - 1 for frame in meta.frames] == order
        assert DicomMeta.from_json(meta.to_json()).get("RescaleSlope") == [1, 2, 3, 4, 5]
        (back,) = exported(tmp_path / "out", tmp_path, sort_method=SortMethod.POSITION_RIGHT_HAND)
        same_elements(back, source)

    def test_one_frame_per_file(self, tmp_path: Path) -> None:
        files = [enhanced(1, n, lambda _, n=n: plane(n)) for n in (1, 2, 3)]
        write_series(tmp_path, files)
        meta = read_dicom_dir(tmp_path)
        assert meta.get("ImagePositionPatient") == [[-10, 20, 2.5 * n] for n in (1, 2, 3)]
        assert "frames" not in json.loads(meta.to_json())
        for written, source in zip(exported(tmp_path / "out", tmp_path), files, strict=True):
            same_elements(written, source)

    def test_what_stands_in_the_dataset_comes_first(self) -> None:
        dataset = enhanced(3)
        dataset.PixelSpacing = [9, 9]
        assert DicomMeta.from_datasets([dataset]).get("PixelSpacing") == [9, 9]

    def test_per_frame_comes_before_shared(self) -> None:
        shared = {"PlanePositionSequence": [item(ImagePositionPatient=[7, 7, 7])]}
        dataset = enhanced(3, shared=shared)
        del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
        del (
            dataset.PerFrameFunctionalGroupsSequence[2]
            .PlanePositionSequence[0]
            .ImagePositionPatient
        )
        meta = DicomMeta.from_datasets([dataset])
        assert meta.get("ImagePositionPatient") == [[-10, 20, 0], [7, 7, 7], [7, 7, 7]]

    def test_frames_without_the_element(self) -> None:
        dataset = enhanced(3)
        dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence = []
        del dataset.PerFrameFunctionalGroupsSequence[2]
        meta = DicomMeta.from_datasets([dataset])
        assert meta.get("ImagePositionPatient") == [[-10, 20, 0], None, None]
        assert get_dicom_status(meta) is DicomStatus.MISSING_LOCATION

    def test_copies(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(3)])
        meta.get("ImagePositionPatient")
        for other in (copy.copy(meta), copy.deepcopy(meta), pickle.loads(pickle.dumps(meta))):
            assert other == meta
            other.reorder([2, 1, 0])
            assert other.get("RescaleSlope") == [3, 2, 1]
            assert meta.get("RescaleSlope") == [1, 2, 3]
            assert other != meta


class TestOtherFiles:
    def test_ultrasound_in_colour(self, tmp_path: Path) -> None:
        source = several_frames(4, shape=(6, 5, 3))
        write_series(tmp_path, [source])
        meta, volume, _, _ = read_series(tmp_path)
        np.testing.assert_array_equal(volume, frames_like(4, 100, (6, 5, 3)))
        space, reason = space_or_reason(meta)
        assert space is None
        assert "missing_spacing" in reason
        same_elements(exported(tmp_path / "out", tmp_path)[0], source)

    def test_planar_colour(self, tmp_path: Path) -> None:
        source = several_frames(4, shape=(6, 5, 3))
        source.PlanarConfiguration = 1
        set_pixels(source, np.moveaxis(frames_like(4, 100, (6, 5, 3)), -1, 1))
        write_series(tmp_path, [source])
        volume = read_series(tmp_path).volume
        np.testing.assert_array_equal(volume, frames_like(4, 100, (6, 5, 3)))
        same_elements(exported(tmp_path / "out", tmp_path)[0], source)

    @pytest.mark.parametrize("shape", [(3, 5), (4, 4)])
    def test_one_bit_frames_that_do_not_end_with_a_byte(
        self, tmp_path: Path, shape: tuple[int, int]
    ) -> None:
        source = several_frames(5, shape=shape)
        bits = np.random.default_rng(1).integers(0, 2, (5, *shape), np.uint8)
        source.BitsAllocated = source.BitsStored = 1
        source.HighBit = 0
        packed = np.packbits(bits.reshape(-1), bitorder="little")
        set_pixels(source, packed)
        write_series(tmp_path, [source])
        volume = read_series(tmp_path).volume
        np.testing.assert_array_equal(volume, bits)
        (written,) = exported(tmp_path / "out", tmp_path)
        assert written.PixelData == source.PixelData
        np.testing.assert_array_equal(written.pixel_array, bits)

    def test_compressed_frames(self, tmp_path: Path) -> None:
        source = several_frames(3)
        source.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        write_series(tmp_path, [source])
        volume = read_series(tmp_path).volume
        np.testing.assert_array_equal(volume, frames_like(3, 100))
        volume = read_series(tmp_path, SortMethod.INSTANCE_NUMBER_DESC).volume
        np.testing.assert_array_equal(volume, frames_like(3, 100)[::-1])

    def test_a_real_segmentation(self, tmp_path: Path) -> None:
        path = str(pydicom.data.get_testdata_file("liver_1frame.dcm"))
        source = pydicom.dcmread(path)
        (written,) = exported(tmp_path / "out", Path(path))
        same_elements(written, source)

    def test_more_frames_than_pixels(self, tmp_path: Path) -> None:
        source = several_frames(3)
        source.NumberOfFrames = 4
        write_series(tmp_path, [source])
        with pytest.raises(DataConsistencyError, match="I1 is truncated"):
            read_series(tmp_path)
        source.NumberOfFrames = 2_000_000_000
        write_series(tmp_path, [source])
        with pytest.raises(MetaDataError, match=r"I1: NumberOfFrames is .* only 180 bytes"):
            read_dicom_dir(tmp_path)


class TestSelect:
    def test_values_become_shared(self) -> None:
        meta = DicomMeta.from_datasets(
            each(make_series(4), "EchoTime", [1.5, 1.5, 3, 3]), ["a", "b", "c", "d"]
        )
        assert not meta.is_shared("EchoTime")
        for merged in (meta, DicomMeta.from_json(meta.to_json(), meta.filenames)):
            chosen = merged.select([3, 2])
            assert chosen.get("EchoTime") == 3
            assert chosen.get("InstanceNumber") == [4, 3]
            assert chosen.filenames == ["d", "c"]
            assert chosen == DicomMeta.from_datasets(
                each(make_series(4), "EchoTime", [1.5, 1.5, 3, 3])[:1:-1]
            )
        assert meta.get("InstanceNumber") == [1, 2, 3, 4]

    def test_elements_of_other_slices_are_gone(self) -> None:
        datasets = make_series(3)
        datasets[0].PatientComments = "secret"
        datasets[0].ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2.3")]
        meta = DicomMeta.from_datasets(datasets)
        for merged in (meta, DicomMeta.from_json(meta.to_json())):
            chosen = merged.select([1, 2])
            assert chosen.is_missing("PatientComments")
            assert chosen.is_missing("ReferencedImageSequence")
            assert "secret" not in chosen.to_json()

    @pytest.mark.parametrize("chosen", [[], [0, 0], [1, -3]])
    def test_no_choice(self, chosen: list[int]) -> None:
        with pytest.raises(DataConsistencyError):
            DicomMeta.from_datasets(make_series(4)).select(chosen)


@pytest.mark.parametrize(
    "frames", [[[0, 1]], [[0, 1], [0, 1], [0, 2]], [[0, 0], [0, 1], [0, 2]], "x", [1, 2, 3]]
)
def test_frames_that_are_malformed(frames: Any) -> None:
    document = json.loads(DicomMeta.from_datasets([enhanced(3)]).to_json())
    assert document["frames"] == [[0, 1], [0, 2], [0, 3]]
    document["frames"] = frames
    with pytest.raises(MetaDataError, match="frames"):
        DicomMeta.from_json(json.dumps(document))


@pytest.mark.parametrize("columns", [[0, 0, 0], [0, 0, 0, 0, 0, 6], [0, 0, 0, 1, 1, -1], "x", None])
def test_columns_that_are_malformed(columns: Any) -> None:
    files = [enhanced(3, n, lambda f, n=n: plane(f, start=n)) for n in (1, 2)]
    document = json.loads(DicomMeta.from_datasets(files).to_json())
    assert document["_merged_data"]["52009230"]["columns"] == [0, 0, 0, 1, 1, 1]
    document["_merged_data"]["52009230"]["columns"] = columns
    with pytest.raises(MetaDataError, match="52009230"):
        DicomMeta.from_json(json.dumps(document))


class TestWork:
    """Twice as many files or frames take twice the work."""

    def test_frames_among_single_frame_files(self) -> None:
        def call(count: int) -> Callable[[], object]:
            datasets = [enhanced(count), *make_series(count)[1:]]
            return DicomMeta.from_datasets(datasets).to_json

        assert_linear(call, 100)

    @pytest.mark.parametrize("files", [1, 2])
    def test_reading_functional_groups(self, files: int) -> None:
        def call(count: int) -> Callable[[], object]:
            meta = DicomMeta.from_datasets([enhanced(count, n + 1) for n in range(files)])
            document = meta.to_json()

            def read() -> None:
                found = DicomMeta.from_json(document)
                assert [len(items) for items in found.get("52009230", force_nonshared=True)] == [
                    count
                ] * (files * count)

            return read

        assert_linear(call, 80)

    def test_a_long_sequence_among_short_ones(self) -> None:
        def call(count: int) -> Callable[[], object]:
            series = make_series(count)
            items = [item(ReferencedSOPInstanceUID=f"1.2.{number}") for number in range(count)]
            each(series, "ReferencedImageSequence", [items, *[items[:1]] * (count - 1)])
            return DicomMeta.from_datasets(series).to_json

        assert_linear(call, 100)

    def test_positions_of_many_files(self) -> None:
        def call(count: int) -> Callable[[], object]:
            files = [several_frames(2, number + 1) for number in range(count)]
            each(files, "ImagePositionPatient", [[0, 0, 10 * number] for number in range(count)])
            detector = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
            for file in files:
                file.DetectorInformationSequence = [detector]
                file.SpacingBetweenSlices = 5
            return partial(positions, DicomMeta.from_datasets(files))

        assert_linear(call, 150)


def test_files_without_a_sequence_share_its_column() -> None:
    datasets = [*make_series(3), enhanced(2, 7)]
    meta = DicomMeta.from_datasets(datasets)
    (groups,) = (entry for key, entry in meta.items() if key == "52009230")
    assert groups["columns"] == [0, 0, 0, 1, 1]
    assert groups["counts"] == [None, 2]
    again = DicomMeta.from_json(meta.to_json())
    assert again == meta
    for index, dataset in enumerate([*datasets, datasets[-1]]):
        same = "PerFrameFunctionalGroupsSequence" in again.dataset(index)
        assert same == ("PerFrameFunctionalGroupsSequence" in dataset)
    assert [len(part.get("52009230") or ()) for part in again.split([[0, 1], [2, 4]])] == [0, 2]
