"""mosaics: slices in the images of Siemens and UIH, as dcm2niix has them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_slice, write_series
from inputs.mosaics import siemens, uih
from inputs.peers import assert_same_but_for_flips, dcm2niix
from inputs.private_elements import unknown
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta
from dicube.dicom.series.mosaics import mosaics_of
from dicube.exceptions import DataConsistencyError

nib = pytest.importorskip("nibabel")


def written(folder: Path, series: list[Dataset]) -> Any:
    """Read a series, write it as NIfTI, and return that."""
    write_series(folder / "in", series)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        image = DicomCubeImage.from_dicom_folder(folder / "in")
    assert image.space is None
    image.to_nifti(folder / "x.nii")
    return nib.load(folder / "x.nii")


@pytest.mark.parametrize("vendor", [siemens, uih])
@pytest.mark.parametrize("count", [12, 20, 25])
@pytest.mark.parametrize("sign", [1, -1])
def test_as_dcm2niix_has_them(tmp_path: Path, vendor: Any, count: int, sign: int) -> None:
    ours = written(tmp_path, [vendor(time, count, sign) for time in range(3)])
    assert ours.shape == (12, 16, count, 3)
    assert ours.header.get_zooms()[2:] == (3.5, 2)
    (theirs,) = dcm2niix(tmp_path / "in", tmp_path / "judge")
    assert_same_but_for_flips(ours, theirs)


def test_real_mosaics(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "mr_siemens_dti_mosaic"
    with pytest.warns(UserWarning, match="mosaic"):
        image = DicomCubeImage.from_dicom_folder(folder)
    image.to_nifti(tmp_path / "x.nii")
    (theirs,) = dcm2niix(folder, tmp_path / "judge")
    assert_same_but_for_flips(nib.load(tmp_path / "x.nii"), theirs)


def test_one_image_is_one_volume(tmp_path: Path) -> None:
    ours = written(tmp_path, [siemens(0, 9)])
    stored = np.frombuffer(siemens(0, 9).PixelData, "<u2").reshape(48, 36)
    assert ours.shape == (12, 16, 9)
    for number in range(9):
        row, column = divmod(number, 3)
        tile = stored[16 * row :][:16, 12 * column :][:, :12]
        assert np.array_equal(np.asarray(ours.dataobj)[..., number].T, tile)


def test_private_elements_of_unknown_representation(tmp_path: Path) -> None:
    dataset = siemens(0, 9)
    for number in (0x0019100A, 0x00291010):
        dataset[number] = unknown(dataset[number])
    assert written(tmp_path, [dataset]).shape == (12, 16, 9)


def without(tag: int) -> Any:
    def change(dataset: Dataset) -> None:
        del dataset[tag]

    return change


def odd_size(dataset: Dataset) -> None:
    dataset[0x0019, 0x100A].value = 30


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without(0x00291010), "no CSA header"),
        (without(0x00280030), "no orientation, pixel spacing or size"),
        (without(0x00200032), "no position"),
        (odd_size, "can't hold 30 slices"),
    ],
)
def test_what_is_unknown_is_refused(tmp_path: Path, change: Any, problem: str) -> None:
    series = [siemens(time, 20) for time in range(2)]
    change(series[1])
    write_series(tmp_path, series)
    with pytest.warns(UserWarning, match="mosaic"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    with pytest.raises(DataConsistencyError, match=f"mosaic: image 1 .*{problem}"):
        image.to_nifti(tmp_path / "x.nii")


def test_the_number_of_slices_may_be_in_the_csa_header_only() -> None:
    dataset = siemens(0, 20)
    del dataset[0x0019, 0x100A]
    (found,) = mosaics_of(DicomMeta.from_datasets([dataset]))
    assert (found.count, found.tiles) == (20, (5, 5))
    del dataset[0x0029, 0x1010]
    with pytest.raises(DataConsistencyError, match="how many slices"):
        mosaics_of(DicomMeta.from_datasets([dataset]))


def test_a_grid_without_its_frames_is_refused() -> None:
    dataset = uih(0, 12)
    del dataset[0x0065, 0x1051]
    with pytest.raises(DataConsistencyError, match="mosaic: image 0"):
        mosaics_of(DicomMeta.from_datasets([dataset]))


def test_images_that_differ_are_refused(tmp_path: Path) -> None:
    single = make_slice(1, (80, 60))
    single.RescaleIntercept = 0
    for number, other in enumerate((siemens(1, 20, -1), single)):
        write_series(tmp_path / f"{number}", [siemens(0, 20), other])
        with pytest.warns(UserWarning, match="mosaic"):
            image = DicomCubeImage.from_dicom_folder(tmp_path / f"{number}")
        with pytest.raises(DataConsistencyError, match=r"differ|1 of 2 images are mosaics"):
            image.to_nifti(tmp_path / "x.nii")


def test_cropped_mosaics_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [siemens(0, 20)])
    with pytest.warns(UserWarning, match="mosaic"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    image.raw_image = image.raw_image[:, :16, :12]
    with pytest.raises(DataConsistencyError, match="mosaics of 80 x 60"):
        image.to_nifti(tmp_path / "x.nii")
