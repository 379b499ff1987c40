"""Affine, orientation and spacing of images and cubes: as SimpleITK, dcm2niix and nibabel say."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from inputs.nifti_files import ORIENTATIONS, nifti_bytes
from inputs.peers import by_simpleitk, dcm2niix, points_by_simpleitk
from inputs.placed_series import UNEVEN, values, write_placed
from numpy.typing import NDArray

import dicube
from dicube import Cube, DicomCubeImage
from dicube.dicom.series.geometry import Grid

nib = pytest.importorskip("nibabel")

TILT = 0.3


def read(source: Path, folder: Path) -> tuple[DicomCubeImage, Cube]:
    """Return an image, and the cube of its file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_nifti = isinstance(source, Path) and source.suffix == ".nii"
        image = (DicomCubeImage.from_nifti if is_nifti else DicomCubeImage.from_dicom_folder)(
            source
        )
    image.to_file(folder / "a.dcbs")
    return image, dicube.open(folder / "a.dcbs")


def corners(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the (z, y, x) of the corners of a volume, and of a voxel within."""
    return [*product(*((0, size - 1) for size in shape)), tuple(size // 2 for size in shape)]


def places(affine: NDArray[Any], voxels: list[tuple[int, ...]]) -> NDArray[Any]:
    """Return the positions of voxels (z, y, x)."""
    return np.array([affine @ (x, y, z, 1) for z, y, x in voxels])[:, :3]


# ------------------------------------------------------------------------------- other readers


@pytest.mark.parametrize("tilt", [0.0, TILT])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_corners_are_where_simpleitk_reads_them(tmp_path: Path, name: str, tilt: float) -> None:
    folder = write_placed(tmp_path / "in", name, tilt=tilt)
    theirs = points_by_simpleitk(folder)
    for volume in read(folder, tmp_path):
        voxels = corners(volume.shape)
        wanted = [theirs[z](y, x) for z, y, x in voxels]
        assert volume.affine is not None and volume.affine_lps is not None
        assert np.allclose(places(volume.affine_lps, voxels), wanted, rtol=0, atol=1e-4)
        assert np.allclose(places(volume.affine, voxels), wanted * np.array([-1, -1, 1]), atol=1e-4)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_corners_are_where_dcm2niix_puts_them(tmp_path: Path, name: str) -> None:
    """Of tilted slices, only old versions of it keep the shear."""
    folder = write_placed(tmp_path / "in", name, RescaleIntercept=0)
    theirs = dcm2niix(folder, tmp_path / "out")[0]
    found = np.asarray(theirs.dataobj)
    for volume in read(folder, tmp_path):
        voxels = corners(volume.shape)
        at = [np.argwhere(found == values()[voxel])[0] for voxel in voxels]
        wanted = nib.affines.apply_affine(theirs.affine, np.array(at))
        assert volume.affine is not None
        assert np.allclose(places(volume.affine, voxels), wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["ct_philips_thin", "mr_siemens_sag"])
def test_corners_of_real_series(tmp_path: Path, shared_data: Path, name: str) -> None:
    image, cube = read(shared_data / name, tmp_path)
    (niix,) = dcm2niix(shared_data / name, tmp_path / "out")
    theirs = by_simpleitk(shared_data / name)
    for other in (niix, theirs):
        wanted = {tuple(point) for point in ends(other.affine, other.shape)}
        for volume in (image, cube):
            assert volume.affine is not None
            found = ends(volume.affine, volume.shape[::-1])
            assert all(any(np.allclose(f, w, atol=1e-2) for w in wanted) for f in found)


def ends(affine: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the positions of the corners of an array (x, y, z)."""
    found = nib.affines.apply_affine(affine, np.array(corners(shape)[:8]))
    return np.asarray(found.round(3))


def test_corners_of_a_real_tilted_series(tmp_path: Path, shared_data: Path) -> None:
    paths = sorted((shared_data / "ct_ge_head").iterdir())[:14]  # evenly spaced
    (tmp_path / "in").mkdir()
    for path in paths:
        (tmp_path / "in" / path.name).symlink_to(path)
    theirs = points_by_simpleitk(tmp_path / "in")
    for volume in read(tmp_path / "in", tmp_path):
        voxels = corners(volume.shape)
        assert volume.space is None and volume.affine_lps is not None
        wanted = [theirs[z](y, x) for z, y, x in voxels]
        assert np.allclose(places(volume.affine_lps, voxels), wanted, rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_orientation_and_spacing(tmp_path: Path, name: str) -> None:
    for volume in read(write_placed(tmp_path / "in", name), tmp_path):
        assert volume.orientation == "".join(nib.aff2axcodes(volume.affine))
        assert volume.spacing == pytest.approx((2.5, 0.5, 0.75))
        assert volume.geometry_problem == ""


def test_a_tilted_gantry_has_an_affine_without_a_space(tmp_path: Path) -> None:
    for volume in read(write_placed(tmp_path / "in", "axial", tilt=TILT), tmp_path):
        assert volume.space is None
        assert volume.affine_lps is not None
        assert volume.affine_lps[:3, 2] == pytest.approx([0, 2.5 * TILT, 2.5])
        assert volume.spacing == pytest.approx((2.5 * np.hypot(1, TILT), 0.5, 0.75))
        assert (volume.orientation, volume.geometry_problem) == ("LPS", "")


def test_orientation_is_that_of_nibabel() -> None:
    """Of axes that are clearly closest to one of the patient's: else its versions differ."""
    random, tried = np.random.default_rng(7), 0
    while tried < 300:
        axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
        if np.abs(axes).max(axis=1).min() < 0.75:
            continue
        sheared = axes + random.uniform(-0.1, 0.1, (3, 3))
        grid = Grid.from_steps((2, 3, 4), random.normal(size=3), sheared * [[0.5], [0.75], [2.5]])
        affine = np.diag([-1, -1, 1, 1]) @ grid.affine
        assert grid.orientation == "".join(nib.aff2axcodes(affine))
        tried += 1


def test_orientation_of_axes_halfway() -> None:
    axes = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    assert Grid.from_steps((2, 2, 2), np.zeros(3), axes).orientation in ("LPS", "PRS")


@pytest.mark.parametrize("tilt", [0.0, TILT])
@pytest.mark.parametrize("level", [1, 2])
def test_at_a_level(tmp_path: Path, tilt: float, level: int) -> None:
    cube = read(write_placed(tmp_path / "in", "oblique", tilt=tilt), tmp_path)[1]
    low = cube.at_level(level)
    voxels = [(z, y, x) for z, y, x in corners(low.shape) if x + y]
    scaled = [(z, y << level, x << level) for z, y, x in voxels]
    assert cube.affine is not None and low.affine is not None
    assert np.allclose(places(low.affine, voxels), places(cube.affine, scaled))


def test_uneven_slices_have_a_problem(tmp_path: Path) -> None:
    for volume in read(write_placed(tmp_path / "in", "axial", places=UNEVEN), tmp_path):
        assert (volume.affine, volume.affine_lps, volume.orientation, volume.spacing) == (None,) * 4
        assert volume.geometry_problem.startswith("gap_location: uneven slice spacing: steps of 1 ")


def test_several_volumes_have_a_problem(tmp_path: Path) -> None:
    series = make_series(6)
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [0, 0, 2.5 * (index % 3)]
        dataset.TemporalPositionIdentifier = index // 3 + 1
    for volume in read(write_series(tmp_path / "in", series), tmp_path):
        assert volume.affine is None
        assert volume.geometry_problem.endswith(
            "2 volumes of 3 slices (by TemporalPositionIdentifier); see volumes()"
        )


def test_several_volumes_of_nifti_have_a_problem(tmp_path: Path) -> None:
    (tmp_path / "in.nii").write_bytes(nifti_bytes(np.zeros((4, 3, 2, 5), np.int16)))
    for volume in read(tmp_path / "in.nii", tmp_path):
        assert volume.affine is None
        assert volume.geometry_problem == "5 volumes of 2 slices: see volumes()"


@pytest.mark.parametrize("shear", [0.0, 0.4])
def test_affine_of_nifti_is_the_one_read(tmp_path: Path, shear: float) -> None:
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3], affine[0, 1] = (7, 8, 9), shear

    def unsheared(header: Any) -> None:
        header["qform_code"] = 0

    array = np.zeros((4, 3, 2), np.int16)
    (tmp_path / "in.nii").write_bytes(nifti_bytes(array, affine=affine, edit=unsheared))
    for volume in read(tmp_path / "in.nii", tmp_path):
        assert (volume.space is None) == bool(shear)
        assert np.allclose(volume.affine, affine)


def test_an_array_has_no_space() -> None:
    image = DicomCubeImage(np.zeros((2, 3, 4), np.int16))
    assert (image.affine, image.geometry_problem) == (None, "the image has no space")


def test_cropped_pixels_are_not_where_the_metadata_say(tmp_path: Path) -> None:
    image = read(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    part = DicomCubeImage(image.raw_image[:, 1:], image.pixel_header, image.dicom_meta)
    assert part.affine is None
    assert part.geometry_problem == (
        "the metadata describe 5 slices of 7 x 6 pixels, the volume has 5 of 6 x 6"
    )


@pytest.mark.parametrize("axis", [0.0, np.nan])
def test_a_flat_or_invalid_grid_has_a_problem(axis: float) -> None:
    grid = Grid.from_steps((2, 2, 2), np.zeros(3), np.diag([1, axis, 1]))
    assert grid.problem


def test_edits_of_the_metadata_move_the_affine(tmp_path: Path) -> None:
    image = read(write_placed(tmp_path / "in", "axial", tilt=TILT), tmp_path)[0]
    assert image.dicom_meta is not None and image.spacing is not None
    image.dicom_meta.set_shared_item("PixelSpacing", [1.5, 1.25])
    assert image.spacing[1:] == (1.5, 1.25)
