"""frame_positions: frames whose positions follow from those of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import item

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta
from dicube.dicom.dicom_io import (
    read_series,
)
from dicube.dicom.metadata.slice_order import positions
from dicube.dicom.series.geometry import get_space_from_DicomMeta
from dicube.exceptions import MetaDataError


@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_expb.dcm"])
def test_a_dose_has_its_frames_at_the_offsets_of_its_grid(name: str) -> None:
    path = pydicom.data.get_testdata_file(name)
    meta, volume, _, _ = read_series(str(path))
    source = pydicom.dcmread(str(path))
    np.testing.assert_array_equal(volume, source.pixel_array)
    space = get_space_from_DicomMeta(meta)
    assert space is not None
    assert tuple(space.shape) == (10, 10, 15)
    assert space.spacing[2] == source.GridFrameOffsetVector[1]


def test_a_dose_with_z_coordinates_for_offsets() -> None:
    source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
    z = source.ImagePositionPatient[2]
    told = get_space_from_DicomMeta(DicomMeta.from_datasets([source]))
    source.GridFrameOffsetVector = [z + offset for offset in source.GridFrameOffsetVector]
    assert get_space_from_DicomMeta(DicomMeta.from_datasets([source])) == told


def test_a_dose_whose_frames_are_placed_one_by_one() -> None:
    source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
    meta = DicomMeta.from_datasets([source])
    meta.set_nonshared_item("ImagePositionPatient", [[0, 0, 7 * i] for i in range(15)])
    space = get_space_from_DicomMeta(meta)
    assert space is not None
    assert (tuple(space.origin), space.spacing[2]) == ((0, 0, 0), 7)


def test_reconstructed_nuclear_medicine() -> None:
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


def test_frames_far_behind() -> None:
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


def test_frames_beyond_those_that_the_file_has(tmp_path: Path) -> None:
    source = several_frames(3)
    source.GridFrameOffsetVector = [0, 3, 6]
    document = json.loads(DicomMeta.from_datasets([source]).to_json())
    document["frames"] = [[0, 5], [0, 6], [0, 7]]
    meta = DicomMeta.from_json(json.dumps(document))
    DicomCubeImage(source.pixel_array, dicom_meta=meta).to_dicom_folder(tmp_path, exact=False)
    (written,) = tmp_path.iterdir()
    assert pydicom.dcmread(written).GridFrameOffsetVector == [0, 3, 6]


@pytest.mark.parametrize("offset", ["a", None, float("nan"), 1e300])
def test_offsets_that_are_no_lengths(offset: Any) -> None:
    source = pydicom.dcmread(str(pydicom.data.get_testdata_file("rtdose.dcm")))
    document = json.loads(DicomMeta.from_datasets([source]).to_json())
    document["_merged_data"]["3004000C"]["Value"][3] = offset
    assert get_space_from_DicomMeta(DicomMeta.from_json(json.dumps(document))) is None
