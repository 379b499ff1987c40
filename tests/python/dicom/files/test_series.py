"""series: which files make the series, copies of files, and messy folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import (
    SERIES_UID,
    each,
    make_series,
    make_slice,
    write_series,
)

from dicube import DicomCubeImage
from dicube.dicom import read_dicom_dir
from dicube.dicom.dicom_io import read_series
from dicube.dicom.dicom_tree import find_series
from dicube.exceptions import (
    DataConsistencyError,
)


class TestCopies:
    def test_the_same_file_twice_counts_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_series(tmp_path, make_series(4))
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "x").write_bytes((tmp_path / "I2").read_bytes())
        with caplog.at_level("INFO", "dicube"):
            numbers = read_dicom_dir(tmp_path).get("InstanceNumber")
        assert numbers == [1, 2, 3, 4]
        assert "copy" in caplog.text

    def test_a_copy_with_another_preamble_counts_once(self, tmp_path: Path) -> None:
        write_series(tmp_path, make_series(4))
        data = bytearray((tmp_path / "I2").read_bytes())
        data[3] = 7
        (tmp_path / "x").write_bytes(data)
        assert read_dicom_dir(tmp_path).get("InstanceNumber") == [1, 2, 3, 4]

    @pytest.mark.parametrize("what", ["pixels", "element", "no pixels"])
    def test_the_same_instance_with_other_content_is_an_error(
        self, tmp_path: Path, what: str
    ) -> None:
        series = [*make_series(4), make_slice(1)]
        if what == "pixels":
            data = bytearray(series[4].PixelData)
            data[-1] ^= 1
            series[4].PixelData = bytes(data)
        elif what == "element":
            series[4].ImageComments = "other"
        else:
            del series[4].PixelData
        write_series(tmp_path, series)
        with pytest.raises(
            DataConsistencyError, match=r"I2 and .*I5 have the same SOPInstanceUID but differ"
        ):
            read_dicom_dir(tmp_path)

    def test_without_instance_uids_all_count(self, tmp_path: Path) -> None:
        series = each(make_series(4), "SOPInstanceUID", [None] * 4)
        assert read_dicom_dir(series).slice_count == 4


class TestMessyFolders:
    def test_localizers_of_their_own_series(self, tmp_path: Path) -> None:
        localizers = make_series(2, shape=(9, 9))
        each(localizers, "SeriesInstanceUID", ["1.2.3"] * 2)
        each(localizers, "SOPInstanceUID", ["1.2.3.1", "1.2.3.2"])
        each(localizers, "SeriesDescription", ["scout"] * 2)
        write_series(tmp_path, make_series(4))
        write_series(tmp_path, localizers, ["L1", "L2"])
        with pytest.raises(DataConsistencyError) as caught:
            read_dicom_dir(tmp_path)
        for told in (f"4 files, 6 x 5, e.g. {tmp_path / 'I1'}", "2 files, 9 x 9", "series_uid="):
            assert told in str(caught.value)
        image = DicomCubeImage.from_dicom_folder(tmp_path, series_uid=SERIES_UID)
        assert image.shape == (4, 6, 5)

    def test_frames_are_counted(self, tmp_path: Path) -> None:
        other = several_frames(7)
        other.SeriesInstanceUID = "1.2.3"
        write_series(tmp_path, [*make_series(2), other])
        with pytest.raises(DataConsistencyError, match="1 files, 7 frames, 6 x 5"):
            read_dicom_dir(tmp_path)

    def test_the_study_that_pydicom_carries(self) -> None:
        """A DICOMDIR and seven series, in folders."""
        folder = os.path.dirname(str(pydicom.data.get_testdata_file("dicomdirtests/DICOMDIR")))
        with pytest.raises(DataConsistencyError) as caught:
            read_dicom_dir(folder)
        listed = str(caught.value).splitlines()[1:]
        uids = {
            series.uid
            for series in find_series(folder).series
            if "PixelData" in pydicom.dcmread(series.files[0].name)
        }
        assert len([line for line in listed if line.startswith("  ")]) == len(uids) > 6
        for uid in uids:
            meta, volume, _, _ = read_series(folder, series_uid=uid)
            assert meta.filenames is not None
            for path, frame in zip(meta.filenames, volume, strict=True):
                np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, frame)
