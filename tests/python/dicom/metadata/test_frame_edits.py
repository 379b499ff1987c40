"""frame_edits: edits of elements that functional groups hold."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import enhanced, plane
from inputs.dicom_series import item, write_series

from dicube import DicomCubeImage
from dicube.core.streaming import DcbStreamingReader
from dicube.dicom import DicomMeta
from dicube.dicom.dicom_io import (
    read_series,
)
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.series.geometry import get_space_from_DicomMeta
from dicube.exceptions import DataConsistencyError, MetaDataError


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
