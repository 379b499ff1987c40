"""Cube.view and DicomCubeImage.view: what ipyniivue gets."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, set_pixels
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage, PixelDataHeader
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError, MissingPackageError

nib = pytest.importorskip("nibabel")
pytest.importorskip("ipyniivue")

# The kernels of notebooks have these warnings off.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def series(count: int = 6, shape: tuple[int, int] = (48, 40), **elements: Any) -> list[Any]:
    datasets = make_series(count, shape=shape, dtype="uint16")
    for number, dataset in enumerate(datasets):
        values = np.random.default_rng(number).integers(0, 4096, shape)
        set_pixels(dataset, values.astype("uint16"))
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return datasets


def volume_of(view: Any) -> Any:
    """The only volume of a view, and its NIfTI image."""
    (volume,) = view.volumes
    return volume, nib.Nifti1Image.from_file_map(
        {"image": nib.FileHolder(fileobj=io.BytesIO(volume.data))}
    )


def written(image: DicomCubeImage, folder: Path) -> Any:
    image.to_nifti(folder / "x.nii")
    return nib.load(folder / "x.nii")


@pytest.mark.parametrize(
    "orientation",
    [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1], [0.8, 0.6, 0, 0, 0, -1]],
)
def test_real_values_at_their_place(orientation: list[float], tmp_path: Path) -> None:
    datasets = series(WindowCenter=40, WindowWidth=400, ImageOrientationPatient=orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    for number, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [*np.round(normal * 2.5 * number + (5, -7, 9), 6)]
    image = DicomCubeImage.from_dicom_folder(datasets)
    image.to_file(tmp_path / "x.dcbs")
    wanted = written(image, tmp_path)
    for shown in (image, dicube.open(tmp_path / "x.dcbs")):
        view = shown.view()
        volume, found = volume_of(view)
        assert np.array_equal(found.get_fdata(), image.get_fdata("float64").transpose(2, 1, 0))
        assert found.get_data_dtype() == np.int16
        assert np.allclose(found.affine, wanted.affine, rtol=0, atol=1e-4)
        assert (volume.name, volume.colormap) == ("volume.nii", "gray")
        assert (volume.cal_min, volume.cal_max) == (-160, 240)
        assert view.height == 400 and not volume.colormap_invert
        assert view.opts.is_radiological_convention and view.opts.sagittal_nose_left


def test_fractions_stay_fractions(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(series(RescaleSlope=0.37))
    _, found = volume_of(image.view())
    assert found.get_data_dtype() == np.float32
    assert np.array_equal(found.get_fdata(dtype=np.float32), image.get_fdata().transpose(2, 1, 0))


def test_values_beyond_16_bits_and_unknown_ones() -> None:
    for value in (40_000, np.nan):
        volume = np.zeros((3, 8, 8), np.float32)
        volume[1, 2, 3] = value
        _, found = volume_of(DicomCubeImage(volume).view())
        assert np.array_equal(found.get_fdata()[3, 2, 1], value, equal_nan=True)


def test_colours_and_inversion() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), np.uint8)
    volume, found = volume_of(DicomCubeImage(colours).view())
    shown: NDArray[Any] = np.asarray(found.dataobj)
    assert np.array_equal(shown["G"], colours[..., 1].transpose(2, 1, 0))
    datasets = series(PhotometricInterpretation="MONOCHROME1")
    volume, _ = volume_of(DicomCubeImage.from_dicom_folder(datasets).view())
    assert volume.colormap_invert


def test_a_large_volume_is_shown_at_a_coarser_level(tmp_path: Path) -> None:
    datasets = series(10, (96, 80))
    image = DicomCubeImage.from_dicom_folder(datasets)
    image.to_file(tmp_path / "x.dcbs")
    image.to_file(tmp_path / "x.dcba")
    whole = 10 * 96 * 80 * 4
    with dicube.open(tmp_path / "x.dcbs") as cube:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cube.view(most_bytes=whole)
            _, found = volume_of(cube.view(2))
        level = cube.at_level(2)
        assert np.array_equal(found.get_fdata(), level.get_fdata().transpose(2, 1, 0))
        assert np.allclose(found.header.get_zooms(), (3, 2, 2.5))
        with pytest.warns(UserWarning, match="shows level 1 of the volume, because"):
            _, found = volume_of(cube.view(most_bytes=whole - 1))
        assert found.shape == (40, 48, 10)
        assert np.allclose(found.affine[:3, 3], written(image, tmp_path).affine[:3, 3])
        with pytest.raises(DataConsistencyError, match="level 0 takes 307,200 bytes, more"):
            cube.view(0, most_bytes=whole - 1)
        with pytest.warns(UserWarning, match="level 5 of the volume, one of 2 rows"):
            _, found = volume_of(cube.view(most_bytes=80))
        assert found.shape == (2, 2, 5)
        with pytest.raises(DataConsistencyError, match="levels 0 to"):
            cube.view(9)
    for shown in (image, dicube.open(tmp_path / "x.dcba")):
        with pytest.warns(UserWarning, match="level 0 of the volume, one of 2 rows"):
            _, found = volume_of(shown.view(most_bytes=whole - 1))
        wanted = image.get_fdata()[::2, ::2, ::2]
        assert np.array_equal(found.get_fdata(), wanted.transpose(2, 1, 0))
        assert np.allclose(found.header.get_zooms(), (1.5, 1, 5))


def test_without_geometry_the_voxels_have_their_size() -> None:
    volume, found = volume_of(DicomCubeImage(np.zeros((3, 4, 5), np.uint8)).view())
    assert found.shape == (5, 4, 3) and volume.cal_min is None
    space = Space((3, 4, 5), (0, 0, 0), (3, 2, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    image = DicomCubeImage(
        np.zeros((3, 4, 5), np.uint8),
        PixelDataHeader(WindowCenter=5.0, WindowWidth=2.0),
        space=space,
    )
    volume, found = volume_of(image.view())
    assert np.allclose(found.header.get_zooms(), (1, 2, 3))
    assert (volume.cal_min, volume.cal_max) == (4, 6)


def test_the_first_of_several_nifti_volumes(tmp_path: Path) -> None:
    data = np.arange(4 * 3 * 2 * 5, dtype=np.int16).reshape(4, 3, 2, 5)
    affine = np.diag([2.0, 3, 4, 1])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "x.nii")
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_nifti(tmp_path / "x.nii")
    _, found = volume_of(image.view())
    assert np.array_equal(found.get_fdata(), data[..., 0])
    assert np.array_equal(found.affine, affine)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    image = DicomCubeImage(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(MissingPackageError, match="the view needs the package ipyniivue"):
        image.view()
