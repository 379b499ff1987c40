"""new_series: metadata for arrays that don't come from DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicube.dicom import DicomStatus, get_dicom_status, get_space_from_DicomMeta
from dicube.dicom.dicom_io import read_series
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.series.geometry import Space, same_space
from dicube.exceptions import (
    DataConsistencyError,
    MetaDataError,
)
from dicube.pixel_header import PixelDataHeader

OBLIQUE = Space(
    shape=(3, 4, 5),
    origin=(-7.25, 2.5, 1.0),
    spacing=(2.5, 0.5, 0.75),
    x_orientation=(0, -0.6, 0.8),
    y_orientation=(0, 0.8, 0.6),
    z_orientation=(1, 0, 0),
)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
@pytest.mark.parametrize("space", [None, OBLIQUE])
def test_a_new_series(tmp_path: Path, dtype: str, space: Any) -> None:
    volume = np.arange(60).reshape(3, 4, 5).astype(dtype)
    meta = make_meta(volume.shape, volume.dtype, space, "MR", "王^小東", "id")
    assert get_dicom_status(meta) in (DicomStatus.CONSISTENT, DicomStatus.MISSING_DTYPE)
    write_dicom_folder(tmp_path / "out", meta, volume, PixelDataHeader(), space)
    again, values, _, _ = read_series(tmp_path / "out")
    np.testing.assert_array_equal(values, volume)
    assert again == meta
    found = get_space_from_DicomMeta(again, "zyx")
    assert found is not None
    if space is not None:
        assert same_space(found, space)
    else:
        assert (tuple(found.spacing), tuple(found.origin)) == ((1, 1, 1), (0, 0, 0))
    written = pydicom.dcmread(tmp_path / "out" / "slice_0002.dcm")
    assert written.SOPClassUID.name == "MR Image Storage"
    assert (written.PatientName, written.PatientID) == ("王^小東", "id")
    assert written.InstanceNumber == 3


def test_new_series_differ_and_colour_is_rgb() -> None:
    one, other = (make_meta((2, 3, 4, 3), "uint8") for _ in range(2))
    assert one.get("SeriesInstanceUID") != other.get("SeriesInstanceUID")
    assert len(set(one.get("SOPInstanceUID"))) == 2
    assert (one.get("PhotometricInterpretation"), one.get("SamplesPerPixel")) == ("RGB", 3)
    assert one.get("SOPClassUID") == pydicom.uid.SecondaryCaptureImageStorage
    assert one.get("PatientName") == "ANONYMOUS^"


def test_what_makes_no_series() -> None:
    for empty in ({"modality": ""}, {"patient_name": " "}, {"patient_id": ""}):
        with pytest.raises(MetaDataError):
            make_meta((2, 3, 4), "uint8", **empty)
    for shape in ((3, 4), (0, 3, 4), (1, 2, 3, 4, 5)):
        with pytest.raises(DataConsistencyError):
            make_meta(shape, "uint8")
    with pytest.raises(DataConsistencyError):
        make_meta((2, 3, 4), "uint8", Space(shape=(4, 3, 2)))
