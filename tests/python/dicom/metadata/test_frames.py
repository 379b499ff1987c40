"""frames, frame_positions, frame_attributes: files of several frames."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import enhanced, frames_like, plane, several_frames
from inputs.dicom_series import each, item, make_series, set_pixels, write_series
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from dicube import DicomCubeImage
from dicube.core.streaming import DcbStreamingReader
from dicube.dicom import DicomMeta, DicomStatus, SortMethod, get_dicom_status
from dicube.dicom.dicom_io import (
    pixel_header_of,
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

    @pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_expb.dcm"])
    def test_a_dose_has_its_frames_at_the_offsets_of_its_grid(self, name: str) -> None:
        path = pydicom.data.get_testdata_file(name)
        meta, volume, _, _ = read_series(str(path))
        source = pydicom.dcmread(str(path))
        np.testing.assert_array_equal(volume, source.pixel_array)
        space = get_space_from_DicomMeta(meta)
        assert space is not None
        assert tuple(space.shape) == (10, 10, 15)
        assert space.spacing[2] == source.GridFrameOffsetVector[1]

    def test_a_dose_with_z_coordinates_for_offsets(self) -> None:
        source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
        z = source.ImagePositionPatient[2]
        told = get_space_from_DicomMeta(DicomMeta.from_datasets([source]))
        source.GridFrameOffsetVector = [z + offset for offset in source.GridFrameOffsetVector]
        assert get_space_from_DicomMeta(DicomMeta.from_datasets([source])) == told

    def test_a_dose_whose_frames_are_placed_one_by_one(self) -> None:
        source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
        meta = DicomMeta.from_datasets([source])
        meta.set_nonshared_item("ImagePositionPatient", [[0, 0, 7 * i] for i in range(15)])
        space = get_space_from_DicomMeta(meta)
        assert space is not None
        assert (tuple(space.origin), space.spacing[2]) == ((0, 0, 0), 7)

    def test_reconstructed_nuclear_medicine(self) -> None:
        source = several_frames(4)
        source.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        source.PixelSpacing = [4, 4]
        source.SpacingBetweenSlices = -3
        source.DetectorInformationSequence = [
            item(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        ]
        meta = DicomMeta.from_datasets([source])
        space = get_space_from_DicomMeta(meta)
        assert space is not None
        assert tuple(space.z_orientation) == (0, 0, -1)
        assert tuple(space.origin) == (1, 2, 3)
        assert space.spacing[2] == 3
        del source.SpacingBetweenSlices
        assert get_space_from_DicomMeta(DicomMeta.from_datasets([source])) is None

    def test_frames_far_behind(self) -> None:
        source = several_frames(2)
        source.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        source.SpacingBetweenSlices = 3
        source.DetectorInformationSequence = [
            item(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        ]
        document = json.loads(DicomMeta.from_datasets([source]).to_json())
        document["frames"] = [[0, 1_999_999_999], [0, 2_000_000_000]]
        told = positions(DicomMeta.from_json(json.dumps(document)))
        assert told == [(1, 2, 3 + 3 * 1_999_999_998), (1, 2, 3 + 3 * 1_999_999_999)]
        document["frames"] = [[0, 1], [0, 1 << 31]]
        with pytest.raises(MetaDataError, match="valid frames for"):
            DicomMeta.from_json(json.dumps(document))

    def test_frames_beyond_those_that_the_file_has(self, tmp_path: Path) -> None:
        source = several_frames(3)
        source.GridFrameOffsetVector = [0, 3, 6]
        document = json.loads(DicomMeta.from_datasets([source]).to_json())
        document["frames"] = [[0, 5], [0, 6], [0, 7]]
        meta = DicomMeta.from_json(json.dumps(document))
        DicomCubeImage(source.pixel_array, dicom_meta=meta).to_dicom_folder(tmp_path, exact=False)
        (written,) = tmp_path.iterdir()
        assert pydicom.dcmread(written).GridFrameOffsetVector == [0, 3, 6]

    @pytest.mark.parametrize("offset", ["a", None, float("nan"), 1e300])
    def test_offsets_that_are_no_lengths(self, offset: Any) -> None:
        source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
        document = json.loads(DicomMeta.from_datasets([source]).to_json())
        document["_merged_data"]["3004000C"]["Value"][3] = offset
        assert get_space_from_DicomMeta(DicomMeta.from_json(json.dumps(document))) is None

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

    def test_export_of_some_frames(self, tmp_path: Path) -> None:
        sources = [enhanced(4, n, lambda f, n=n: plane(f, start=n)) for n in (1, 2)]
        write_series(tmp_path, sources)
        meta, volume, _, _ = read_series(tmp_path)
        for merged in (meta, DicomMeta.from_json(meta.to_json())):
            chosen = merged.select([5, 1, 3])
            header = pixel_header_of(chosen, "uint16")
            assert chosen.get("ImagePositionPatient") == [[-10, 20, z] for z in (4.5, 3.5, 8.5)]
            out = tmp_path / "out"
            paths = write_dicom_folder(out, chosen, volume[[5, 1, 3]], header, overwrite=True)
            one, two = map(pydicom.dcmread, paths)
            assert (one.NumberOfFrames, two.NumberOfFrames) == (1, 2)
            np.testing.assert_array_equal(two.pixel_array, volume[[1, 3]])
            groups = two.PerFrameFunctionalGroupsSequence
            assert [
                g.RescaleSlope for g in (g.PixelValueTransformationSequence[0] for g in groups)
            ] == [2, 4]
            assert one.InstanceNumber == 2
            uids = {one.SOPInstanceUID, two.SOPInstanceUID}
            assert len(uids) == 2
            assert uids.isdisjoint(source.SOPInstanceUID for source in sources)

    def test_export_of_some_frames_of_a_dose(self, tmp_path: Path) -> None:
        path = str(pydicom.data.get_testdata_file("rtdose.dcm"))
        meta, volume, header, _ = read_series(path)
        chosen = meta.select(range(4, 10))
        space = get_space_from_DicomMeta(chosen)
        write_dicom_folder(tmp_path, chosen, volume[4:10], header)
        again, values, _, _ = read_series(tmp_path)
        np.testing.assert_array_equal(values, volume[4:10])
        assert get_space_from_DicomMeta(again) == space

    @pytest.mark.parametrize("in_dataset", [False, True])
    def test_export_of_some_frames_of_nuclear_medicine(
        self, in_dataset: bool, tmp_path: Path
    ) -> None:
        source = several_frames(6)
        source.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        source.PixelSpacing = [4, 4]
        source.SpacingBetweenSlices = -3
        where = {
            "ImagePositionPatient": [1, 2, 3],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }
        if in_dataset:
            source.update(item(**where))
        else:
            source.DetectorInformationSequence = [item(**where, StartAngle=7)]
        meta = DicomMeta.from_datasets([source])
        for chosen in ([2, 3, 4], [1, 3, 5], [5], [4, 0]):
            part = meta.select(chosen)
            volume = source.pixel_array[chosen]
            image = DicomCubeImage(volume, pixel_header_of(part, "uint16"), part)
            image.to_dicom_folder(tmp_path, overwrite=True)
            again = DicomMeta.from_datasets([pydicom.dcmread(tmp_path / "slice_0000.dcm")])
            assert positions(again) == [(1, 2, 3 - 3 * number) for number in sorted(chosen)]
            if not in_dataset:
                assert again.get("DetectorInformationSequence")[0]["00540200"]["Value"] == [7]
        part = meta.select([1, 2, 4])
        with pytest.raises(DataConsistencyError, match="2, 3, 5"):
            DicomCubeImage(volume[:1].repeat(3, 0), None, part).to_dicom_folder(tmp_path / "no")

    def test_export_of_some_frames_tells_their_times(self, tmp_path: Path) -> None:
        def written(chosen: list[int], **times: Any) -> Dataset:
            source = several_frames(6)
            source.update(item(**times))
            meta = DicomMeta.from_datasets([source]).select(chosen)
            image = DicomCubeImage(source.pixel_array[chosen], dicom_meta=meta)
            image.to_dicom_folder(tmp_path, overwrite=True)
            return pydicom.dcmread(tmp_path / "slice_0000.dcm")

        vector = {"FrameTimeVector": [0, 10, 20, 30, 40, 50]}
        assert written([1, 2, 5], **vector).FrameTimeVector == [0, 20, 120]
        assert written([4, 0], **vector).FrameTimeVector == [0, 100]
        steady = {"FrameTime": 33.3, "FrameIncrementPointer": 0x00181063}
        assert written([2, 3, 4], **steady).FrameTime == 33.3
        assert written([1, 3, 5], **steady).FrameTime == 66.6
        unsteady = written([1, 2, 5], **steady)
        assert "FrameTime" not in unsteady
        assert unsteady.FrameTimeVector == [0, 33.3, 99.9]
        assert unsteady.FrameIncrementPointer == 0x00181065


class TestEdits:
    """What stands in functional groups is set there."""

    def test_shared_stays_shared(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(4)])
        meta.set_shared_item("PixelSpacing", [3, 4])
        assert meta.get("PixelSpacing") == [3, 4]
        assert "PixelSpacing" not in meta.dataset(0)
        measures = meta.dataset(0).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert (measures.PixelSpacing, measures.SliceThickness) == ([3, 4], 2.5)

    def test_what_comes_to_differ_moves_to_the_frames(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(4)])
        meta.set_nonshared_item("SliceThickness", [1, 2, 3, 4])
        assert meta.get("SliceThickness") == [1, 2, 3, 4]
        assert meta.get("PixelSpacing") == [0.5, 0.75]
        dataset = meta.dataset(3)
        assert "PixelMeasuresSequence" not in dataset.SharedFunctionalGroupsSequence[0]
        group = dataset.PerFrameFunctionalGroupsSequence[2]
        assert group.PixelMeasuresSequence[0].SliceThickness == 3
        assert group.PixelMeasuresSequence[0].PixelSpacing == [0.5, 0.75]

    @pytest.mark.parametrize("order", [range(7), [6, 2, 0, 5, 1, 4, 3]])
    def test_of_each_frame_of_several_files(self, order: Any) -> None:
        files = [enhanced(n, n, lambda f, n=n: plane(f, start=10.0 * n)) for n in (3, 4)]
        meta = DicomMeta.from_datasets(files)
        meta.reorder(list(order))
        meta = DicomMeta.from_json(meta.to_json())
        values = [[float(i), 0.0, 1.0] for i in range(7)]
        meta.set_nonshared_item("ImagePositionPatient", values)
        assert meta.get("ImagePositionPatient") == values
        assert DicomMeta.from_json(meta.to_json()).get("ImagePositionPatient") == values
        for slices, count in zip(sorted(meta.instances(), key=len), (3, 4), strict=True):
            groups = meta.dataset(slices[0]).PerFrameFunctionalGroupsSequence
            assert [group.PlanePositionSequence[0].ImagePositionPatient for group in groups] == [
                values[index] for index in slices
            ]
            assert len(groups) == count
        meta.set_shared_item("ImagePositionPatient", [1, 2, 3])
        assert meta.get("ImagePositionPatient") == [1, 2, 3]
        assert meta.get("RescaleSlope", force_nonshared=True)[0] == meta.frames[0].number

    def test_the_rest_of_a_macro_stays(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(4)])
        meta.set_nonshared_item("RescaleSlope", [9, 8, 7, 6])
        assert meta.get("RescaleSlope") == [9, 8, 7, 6]
        assert meta.get("RescaleIntercept") == [0, -1, -2, -3]
        meta.set_nonshared_item("RescaleSlope", [None] * 4)
        assert meta.is_missing("RescaleSlope")
        assert meta.get("RescaleType") == "US"

    @pytest.mark.parametrize("stored", [False, True])
    def test_frames_that_lack_the_macro_get_the_element_alone(self, stored: bool) -> None:
        def groups(frame: int) -> dict[str, Any]:
            mapping = [item(LUTLabel="one", RealWorldValueSlope=1.5), item(LUTLabel="two")]
            return {**plane(frame), **({"RealWorldValueMappingSequence": mapping} if frame else {})}

        meta = DicomMeta.from_datasets([enhanced(3, n, groups) for n in (1, 2)])
        if stored:
            meta = DicomMeta.from_json(meta.to_json())
        meta.set_nonshared_item("LUTLabel", ["a", "b", None, "d", "e", "f"])
        assert meta.get("LUTLabel") == ["a", "b", None, "d", "e", "f"]
        assert meta.get("RealWorldValueSlope") == [None, 1.5, 1.5, None, 1.5, 1.5]
        for slices in meta.instances():
            frames = meta.dataset(slices[0]).PerFrameFunctionalGroupsSequence
            maps = [frame.RealWorldValueMappingSequence for frame in frames]
            assert [mapping[0].get("LUTLabel") for mapping in maps] == [
                meta.get("LUTLabel")[index] for index in slices
            ]
            assert [[m.LUTLabel for m in mapping[1:]] for mapping in maps] == [[], ["two"], ["two"]]

    def test_files_that_share_no_macro_with_others_get_the_element_alone(self) -> None:
        voi = {"FrameVOILUTSequence": [item(WindowCenter=40, WindowWidth=400)]}
        meta = DicomMeta.from_datasets([enhanced(2, 1, shared=voi), enhanced(2, 2)])
        meta.set_shared_item("WindowCenter", 50)
        assert meta.get("WindowCenter") == 50
        assert meta.get("WindowWidth") == [400, 400, None, None]

    def test_a_file_without_shared_groups_is_not_left_out(self) -> None:
        voi = {"FrameVOILUTSequence": [item(WindowCenter=40, WindowWidth=400)]}
        other = enhanced(2, 2)
        del other.SharedFunctionalGroupsSequence
        meta = DicomMeta.from_datasets([enhanced(2, 1, shared=voi), other])
        with pytest.raises(MetaDataError, match="share"):
            meta.set_shared_item("WindowCenter", 50)
        assert meta.get("WindowCenter") == [40, 40, None, None]

    def test_files_of_the_same_groups(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(3, n) for n in (1, 2)])
        positions = [[0.0, 1.0, float(i)] for i in range(6)]
        meta.set_nonshared_item("ImagePositionPatient", positions)
        for slices in meta.instances():
            frames = meta.dataset(slices[0]).PerFrameFunctionalGroupsSequence
            assert [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames] == [
                positions[index] for index in slices
            ]

    def test_an_element_is_removed(self) -> None:
        meta = DicomMeta.from_datasets([enhanced(3)])
        del meta["RescaleSlope"]
        del meta["PixelSpacing"]
        assert "RescaleSlope" not in meta
        assert "PixelSpacing" not in meta
        assert (meta.get("RescaleType"), meta.get("SliceThickness")) == ("US", 2.5)
        with pytest.raises(KeyError):
            del meta["RescaleSlope"]

    def test_what_stands_in_the_dataset_too_is_not_contradicted(self) -> None:
        dataset = enhanced(3)
        dataset.RescaleSlope = 1
        meta = DicomMeta.from_datasets([dataset])

        def told() -> list[Any]:
            written = meta.dataset(0)
            groups = written.PerFrameFunctionalGroupsSequence
            macros = [group.PixelValueTransformationSequence[0] for group in groups]
            return [written.get("RescaleSlope"), *(macro.get("RescaleSlope") for macro in macros)]

        assert told() == [1, 1, 2, 3]
        meta.set_shared_item("RescaleSlope", 5)
        assert told() == [5, 5, 5, 5]
        meta.set_nonshared_item("RescaleSlope", [7, 8, 9])
        assert meta.get("RescaleSlope") == [7, 8, 9]
        assert told() == [None, 7, 8, 9]
        meta.set_shared_item("RescaleSlope", 5)
        del meta["RescaleSlope"]
        assert told() == [None] * 4

    def test_too_few_groups(self) -> None:
        dataset = enhanced(4)
        del dataset.PerFrameFunctionalGroupsSequence
        meta = DicomMeta.from_datasets([dataset])
        with pytest.raises(MetaDataError, match="functional groups"):
            meta.set_nonshared_item("SliceThickness", [1, 2, 3, 4])

    def test_another_space_and_rescale_are_exported(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", [enhanced(4)])
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        assert image.space is not None
        moved = copy.deepcopy(image.space)
        moved.origin = (5, 6, 7)
        image.pixel_header.RescaleSlope = 7.0
        meta, volume, header, _ = read_series(tmp_path / "in")
        header.RescaleSlope = 7.0
        write_dicom_folder(tmp_path / "out", meta, volume, header, moved)
        image.space = moved
        image.to_dicom_folder(tmp_path / "again")
        for folder in ("out", "again"):
            back = DicomCubeImage.from_dicom_folder(tmp_path / folder)
            assert back.space == moved
            assert back.dicom_meta is not None
            assert back.dicom_meta.get("RescaleSlope") == 7
            (path,) = (tmp_path / folder).iterdir()
            assert "ImagePositionPatient" not in pydicom.dcmread(path)

    @pytest.mark.parametrize("columns", [slice(2), slice(1, 4)])
    def test_frames_that_are_cropped_stay_apart(self, columns: slice, tmp_path: Path) -> None:
        image = DicomCubeImage.from_dicom_folder(enhanced(4))
        space, cropped = image.space, image.raw_image[:, :, columns]
        assert space is not None
        x, y, z = space.origin
        image.space = None
        image.raw_image = cropped
        image.space = dataclasses.replace(
            space, shape=cropped.shape, origin=(x + columns.indices(5)[0] * 0.75, y, z)
        )
        image.to_dicom_folder(tmp_path / "out")
        back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert back.space == image.space
        np.testing.assert_array_equal(back.raw_image, cropped)

    @pytest.mark.parametrize("window", [(500.0, 900.0), (None, None)])
    @pytest.mark.parametrize("place", ["shared", "frames", "dataset"])
    def test_another_window_is_exported(
        self, window: tuple[Any, Any], place: str, tmp_path: Path
    ) -> None:
        def groups(frame: int) -> dict[str, Any]:
            return plane(frame) | (voi(40 + frame) if place == "frames" else {})

        def voi(center: float) -> dict[str, Any]:
            return {"FrameVOILUTSequence": [item(WindowCenter=center, WindowWidth=400)]}

        source = enhanced(3, groups=groups, shared=voi(40) if place == "shared" else None)
        if place == "dataset":
            source.WindowCenter, source.WindowWidth = 40, 400
        image = DicomCubeImage.from_dicom_folder(source)
        assert image.pixel_header.WindowCenter == 40
        image.pixel_header.WindowCenter, image.pixel_header.WindowWidth = window
        image.to_dicom_folder(tmp_path / "out")
        image.to_file(tmp_path / "x.dcbs")
        with DcbStreamingReader(tmp_path / "x.dcbs") as reader:
            (tmp_path / "frame").write_bytes(reader.get_dicom_for_frame(1))
        for path in ("out", "frame"):
            back = DicomCubeImage.from_dicom_folder(tmp_path / path)
            header = back.pixel_header
            assert (header.WindowCenter, header.WindowWidth) == window
            assert back.dicom_meta is not None
            centers = back.dicom_meta.get("WindowCenter", force_nonshared=True)
            assert set(centers) == {window[0]}
        (path,) = (tmp_path / "out").iterdir()
        assert ("WindowCenter" in pydicom.dcmread(path)) == (place == "dataset" and any(window))

    def test_frames_without_groups_stay_where_they_are(self, tmp_path: Path) -> None:
        path = str(pydicom.data.get_testdata_file("rtdose.dcm"))
        meta, volume, header, _ = read_series(path)
        moved = get_space_from_DicomMeta(meta, "zyx")
        assert moved is not None
        moved.origin = (5, 6, 7)
        with pytest.raises(DataConsistencyError, match="functional groups"):
            write_dicom_folder(tmp_path / "out", meta, volume, header, moved)


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


def test_what_differs_within_a_file_cant_be_exported(tmp_path: Path) -> None:
    write_series(tmp_path, [several_frames(3)])
    meta, volume, header, _ = read_series(tmp_path)
    meta.set_nonshared_item("ImageComments", ["a", "b", "c"])
    with pytest.raises(DataConsistencyError, match="ImageComments"):
        write_dicom_folder(tmp_path / "out", meta, volume, header)
    assert not (tmp_path / "out").exists()
