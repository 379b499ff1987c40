"""frame_attributes: exports of some frames of a file, and of edited ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import enhanced, plane, several_frames
from inputs.dicom_series import item, write_series
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta
from dicube.dicom.dicom_io import read_series
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.metadata.slice_order import positions
from dicube.dicom.series.geometry import get_space_from_DicomMeta
from dicube.dicom.series.precedence import pixel_header_of
from dicube.exceptions import DataConsistencyError


def test_export_of_some_frames(tmp_path: Path) -> None:
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


def test_export_of_some_frames_of_a_dose(tmp_path: Path) -> None:
    path = str(pydicom.data.get_testdata_file("rtdose.dcm"))
    meta, volume, header, _ = read_series(path)
    chosen = meta.select(range(4, 10))
    space = get_space_from_DicomMeta(chosen)
    write_dicom_folder(tmp_path, chosen, volume[4:10], header)
    again, values, _, _ = read_series(tmp_path)
    np.testing.assert_array_equal(values, volume[4:10])
    assert get_space_from_DicomMeta(again) == space


@pytest.mark.parametrize("in_dataset", [False, True])
def test_export_of_some_frames_of_nuclear_medicine(in_dataset: bool, tmp_path: Path) -> None:
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


def test_export_of_some_frames_tells_their_times(tmp_path: Path) -> None:
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


def test_what_differs_within_a_file_cant_be_exported(tmp_path: Path) -> None:
    write_series(tmp_path, [several_frames(3)])
    meta, volume, header, _ = read_series(tmp_path)
    meta.set_nonshared_item("ImageComments", ["a", "b", "c"])
    with pytest.raises(DataConsistencyError, match="ImageComments"):
        write_dicom_folder(tmp_path / "out", meta, volume, header)
    assert not (tmp_path / "out").exists()
