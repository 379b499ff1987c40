"""The real series beside the project: loaded, exported, and equal to what pydicom reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicube.dicom import DicomMeta, DicomStatus, get_dicom_status, get_space_from_DicomMeta
from dicube.dicom.dicom_io import read_dicom_dir, read_series
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.series.geometry import space_or_reason
from dicube.exceptions import DataConsistencyError

SERIES = {
    "ct_ge_head": (28, DicomStatus.GAP_LOCATION),
    "ct_philips_thin": (140, DicomStatus.CONSISTENT),
    "mr_siemens_sag": (35, DicomStatus.CONSISTENT),
    "mr_siemens_dti_mosaic": (13, DicomStatus.DWELLING_LOCATION),
}


@pytest.mark.parametrize("name", SERIES)
def test_there_and_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    meta, volume, header, _ = read_series(shared_data / name)
    count, status = SERIES[name]
    assert len(volume) == meta.slice_count == count
    assert get_dicom_status(meta) is status
    space = get_space_from_DicomMeta(meta, "zyx")
    assert (space is not None) == (status is DicomStatus.CONSISTENT)
    assert DicomMeta.from_json(meta.to_json()) == meta

    paths = write_dicom_folder(tmp_path / "out", meta, volume, header, space)
    assert meta.filenames is not None
    for index, (path, original) in enumerate(zip(paths, meta.filenames, strict=True)):
        written, source = pydicom.dcmread(path), pydicom.dcmread(original)
        np.testing.assert_array_equal(source.pixel_array, volume[index])
        assert list(written.keys()) == sorted(source.keys())
        for tag in list(source.keys()):  # as bytes, before pydicom makes values of them
            ours, theirs = written.get_item(tag), source.get_item(tag)
            if not isinstance(theirs, pydicom.DataElement):
                assert (ours.VR, ours.value or b"") == (theirs.VR, theirs.value or b"")
        assert written == source
    again, values, same_header, _ = read_series(tmp_path / "out")
    assert again == meta
    assert same_header == header
    np.testing.assert_array_equal(values, volume)


def test_pydicom_s_own_json_says_the_same(shared_data: Path) -> None:
    for name in SERIES:
        meta = read_dicom_dir(shared_data / name)
        assert meta.filenames is not None
        for index in (0, meta.slice_count - 1):
            source = pydicom.dcmread(meta.filenames[index], stop_before_pixels=True)
            assert meta.index(index) == source.to_json_dict()


def test_a_tilted_gantry_with_even_steps_has_no_space_but_is_consistent(shared_data: Path) -> None:
    meta = read_dicom_dir(shared_data / "ct_ge_head")
    first = np.array(meta.get("ImagePositionPatient")[0])
    step = np.array([0, 1.5, 4.0])
    meta.set_nonshared_item("ImagePositionPatient", [first + i * step for i in range(28)])
    meta.set_shared_item("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
    assert get_dicom_status(meta) is DicomStatus.CONSISTENT
    space, reason = space_or_reason(meta)
    assert space is None
    assert "20.6 degrees" in reason


def test_shapes_that_make_no_volume_are_told(shared_data: Path) -> None:
    with pytest.raises(DataConsistencyError) as caught:
        read_series(shared_data / "ct_philips_tilt")
    for told in ("6 files", "256 x 512", "741 x 650 x 3"):
        assert told in str(caught.value)
