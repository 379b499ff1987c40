"""Volumes in SimpleITK, nibabel and xarray are where SimpleITK and dcm2niix read the same DICOM."""

from __future__ import annotations

import sys
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import read_both
from inputs.dicom_series import make_series, write_series
from inputs.mapped_series import mapping, without_rescale
from inputs.nifti_files import ORIENTATIONS, nifti_bytes, samples
from inputs.peers import assert_same_but_for_flips, dcm2niix, points_by_simpleitk
from inputs.placed_series import UNEVEN, time_series, values, write_placed
from numpy.typing import NDArray

import dicube
from dicube import Cube, DicomCubeImage, PixelDataHeader
from dicube.exceptions import DataConsistencyError, MissingPackageError

nib = pytest.importorskip("nibabel")

TILT = 0.3
INTERCEPT = -1024


def corners(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the (z, y, x) of the corners of a volume."""
    return list(product(*((0, size - 1) for size in shape)))


# ---------------------------------------------------------------------------------- SimpleITK


class TestSimpleITK:
    sitk: Any

    @pytest.fixture(autouse=True)
    def _simpleitk(self) -> None:
        self.sitk = pytest.importorskip("SimpleITK")

    @pytest.mark.parametrize("name", ORIENTATIONS)
    def test_corners_are_where_it_reads_them(self, tmp_path: Path, name: str) -> None:
        folder = write_placed(tmp_path / "in", name)
        points = points_by_simpleitk(folder)
        for volume in read_both(folder, tmp_path):
            image = volume.to_sitk()
            assert image.GetPixelID() == self.sitk.sitkFloat32
            for z, y, x in corners(volume.shape):
                found = image.TransformIndexToPhysicalPoint((x, y, z))
                assert np.allclose(found, points[z](y, x), rtol=0, atol=1e-4)
                assert image[x, y, z] == values()[z, y, x] + INTERCEPT

    def test_a_real_series_is_the_one_it_reads(self, tmp_path: Path, shared_data: Path) -> None:
        reader = self.sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / "mr_siemens_sag")))
        theirs = reader.Execute()
        for volume in read_both(shared_data / "mr_siemens_sag", tmp_path):
            ours = volume.to_sitk(real=False)[:, :, ::-1]  # it sorts slices along their normal
            assert np.allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-6)
            assert np.allclose(ours.GetSpacing(), theirs.GetSpacing(), atol=1e-5)
            assert np.allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-6)
            found = map(self.sitk.GetArrayFromImage, (ours, theirs))
            assert np.array_equal(*found)

    def test_stored_values(self, tmp_path: Path) -> None:
        for volume in read_both(write_placed(tmp_path / "in", "axial"), tmp_path):
            image = volume.to_sitk(real=False)
            assert image.GetPixelID() == self.sitk.sitkInt16
            assert np.array_equal(self.sitk.GetArrayFromImage(image), values())

    @pytest.mark.parametrize("level", [1, 2])
    def test_at_a_level(self, tmp_path: Path, level: int) -> None:
        folder = write_placed(tmp_path / "in", "oblique")
        points = points_by_simpleitk(folder)
        low = read_both(folder, tmp_path)[1].at_level(level)
        image = low.to_sitk()
        assert image.GetSize() == low.shape[::-1]
        for z, y, x in corners(low.shape):
            found = image.TransformIndexToPhysicalPoint((x, y, z))
            assert np.allclose(found, points[z](y << level, x << level), rtol=0, atol=1e-4)

    def test_several_volumes_have_four_dimensions(self, tmp_path: Path) -> None:
        folder = time_series(tmp_path / "in", RepetitionTime=1500)
        for volume in read_both(folder, tmp_path):
            image = volume.to_sitk(real=False)
            assert image.GetSize() == (6, 7, 3, 2)
            assert image.GetSpacing() == pytest.approx((0.75, 0.5, 2.5, 1.5))
            found = self.sitk.GetArrayFromImage(image)
            assert np.array_equal(found, [values((6, 7, 6))[time::2] for time in range(2)])
            first = self.sitk.GetArrayFromImage(image[:, :, :, 0])
            assert np.array_equal(first, found[0])
            assert image[:, :, :, 1].TransformIndexToPhysicalPoint((0, 0, 2)) == (-10, 20, 5)

    def test_colours_are_vectors(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "in", make_series(3, shape=(6, 5, 3), dtype="uint8"))
        for volume in read_both(folder, tmp_path):
            image = volume.to_sitk()
            assert image.GetPixelIDTypeAsString() == "vector of 8-bit unsigned integer"
            assert image.GetSize() == (5, 6, 3)
            assert np.array_equal(self.sitk.GetArrayFromImage(image), np.asarray(volume_of(volume)))
            again = DicomCubeImage.from_sitk(image)
            assert np.array_equal(again.raw_image, volume_of(volume))

    def test_a_tilted_gantry_is_refused(self, tmp_path: Path) -> None:
        for volume in read_both(write_placed(tmp_path / "in", "axial", tilt=TILT), tmp_path):
            with pytest.raises(DataConsistencyError, match=r"(?s)right angles.*regrid\(\)"):
                volume.to_sitk()

    def test_uneven_slices_are_refused(self, tmp_path: Path) -> None:
        for volume in read_both(write_placed(tmp_path / "in", "axial", places=UNEVEN), tmp_path):
            with pytest.raises(DataConsistencyError, match=r"(?s)uneven slice spacing.*regrid\(\)"):
                volume.to_sitk()

    @pytest.mark.parametrize("name", ORIENTATIONS)
    @pytest.mark.parametrize("real", [True, False])
    def test_there_and_back(self, tmp_path: Path, name: str, real: bool) -> None:
        image = read_both(write_placed(tmp_path / "in", name), tmp_path)[0]
        again = DicomCubeImage.from_sitk(image.to_sitk(real))
        assert np.allclose(again.affine, image.affine)
        assert np.array_equal(again.raw_image, values() + (INTERCEPT if real else 0))
        again.to_file(tmp_path / "again.dcbs")
        assert dicube.verify_file(tmp_path / "again.dcbs").ok

    def test_sheared_axes_give_no_space(self) -> None:
        image = self.sitk.GetImageFromArray(values())
        image.SetDirection([1, 0, 0, 0, 1, 0.3, 0, 0, 0.95])
        with pytest.warns(UserWarning, match="space is None"):
            assert DicomCubeImage.from_sitk(image).space is None

    @pytest.mark.parametrize("kind", ["2D", "array"])
    def test_another_kind_is_refused(self, kind: str) -> None:
        image = np.zeros((2, 3, 4)) if kind == "array" else self.sitk.Image(3, 4, 2)
        with pytest.raises(DataConsistencyError, match=r"expected a SimpleITK.Image of 3 dim"):
            DicomCubeImage.from_sitk(image)

    @pytest.mark.parametrize("dtype", ["float16", ">i2", ">f8"])
    def test_types_that_it_lacks(self, tmp_path: Path, dtype: str) -> None:
        placed = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
        array = values().astype(dtype)
        image = DicomCubeImage(array, PixelDataHeader(), None, placed.space).to_sitk(real=False)
        assert np.array_equal(self.sitk.GetArrayFromImage(image), values())


def volume_of(volume: DicomCubeImage | Cube) -> NDArray[Any]:
    return np.asarray(volume if isinstance(volume, Cube) else volume.raw_image)


# ------------------------------------------------------------------------------------ nibabel


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_nibabel_as_dcm2niix_has_it(tmp_path: Path, name: str) -> None:
    folder = write_placed(tmp_path / "in", name)
    (theirs,) = dcm2niix(folder, tmp_path / "out")
    for volume in read_both(folder, tmp_path):
        image = volume.to_nibabel()
        assert image.get_data_dtype() == np.float32
        assert np.array_equal(image.affine, nib.load(written(volume, tmp_path)).affine)
        assert np.allclose(image.affine, volume.affine, atol=1e-5)
        assert_same_but_for_flips(image, theirs)


def written(volume: DicomCubeImage | Cube, folder: Path) -> Path:
    image = volume.crop(...) if isinstance(volume, Cube) else volume
    image.to_nifti(folder / "written.nii")
    return folder / "written.nii"


def test_nibabel_of_a_tilted_gantry(tmp_path: Path) -> None:
    folder = write_placed(tmp_path / "in", "coronal", tilt=TILT)
    points = points_by_simpleitk(folder)
    for volume in read_both(folder, tmp_path):
        image = volume.to_nibabel()
        for z, y, x in corners(volume.shape):
            found = image.affine @ (x, y, z, 1)
            assert np.allclose(found[:3] * [-1, -1, 1], points[z](y, x), rtol=0, atol=1e-4)


def test_stored_values_in_nibabel_are_not_copied(tmp_path: Path) -> None:
    image, cube = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)
    found = image.to_nibabel(real=False)
    assert np.shares_memory(found.dataobj, image.raw_image)
    for each in (found, cube.to_nibabel(real=False)):
        assert each.get_data_dtype() == np.int16
        assert np.array_equal(each.dataobj, values().T)


def test_changes_of_handed_pixels_are_noticed(tmp_path: Path) -> None:
    """The original files must not be restored after a neighbour changed the pixels in place."""
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    np.asanyarray(image.to_nibabel(real=False).dataobj)[0, 0, 0] += 1
    assert "were changed" in image.why_not_exact()


def test_several_volumes_in_nibabel(tmp_path: Path) -> None:
    folder = time_series(tmp_path / "in", RepetitionTime=1500)
    for volume in read_both(folder, tmp_path):
        image = volume.to_nibabel(real=False)
        assert image.shape == (6, 7, 3, 2)
        assert image.header.get_zooms() == (0.75, 0.5, 2.5, 1.5)
        assert image.header.get_xyzt_units() == ("mm", "sec")
        assert np.array_equal(
            image.dataobj, np.stack([values((6, 7, 6))[t::2].T for t in (0, 1)], -1)
        )


def test_colours_in_nibabel(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "in", make_series(3, shape=(6, 5, 3), dtype="uint8"))
    for volume in read_both(folder, tmp_path):
        found = np.asarray(volume.to_nibabel().dataobj)
        stored = volume_of(volume)
        assert all(np.array_equal(found[name], stored[..., i].T) for i, name in enumerate("RGB"))


@pytest.mark.parametrize("dtype", ["int16", "int64", "uint8", "float64", "RGB"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3, 2, 5)])
def test_nibabel_there_and_back(
    tmp_path: Path, dtype: str, version: int, shape: tuple[int, ...]
) -> None:
    """What was NIfTI keeps its header, and volumes."""
    array = samples(shape, dtype)
    (tmp_path / "in.nii").write_bytes(nifti_bytes(array, version))
    theirs = nib.load(tmp_path / "in.nii")
    for volume in read_both(tmp_path / "in.nii", tmp_path):
        ours = volume.to_nibabel(real=False)
        assert isinstance(ours, nib.Nifti1Image if version == 1 else nib.Nifti2Image)
        assert np.asarray(ours.dataobj).tobytes("F") == array.tobytes("F")
        assert np.array_equal(ours.affine, theirs.affine)
        assert {**ours.header}["descrip"] == b"what it is"
        assert ours.header["sform_code"] == theirs.header["sform_code"]
        assert ours.header.get_zooms() == theirs.header.get_zooms()
        assert [e.get_content() for e in ours.header.extensions] == [
            e.get_content() for e in theirs.header.extensions
        ]
        again = DicomCubeImage.from_nibabel(ours) if len(shape) == 3 else None
        if again is not None:
            assert np.array_equal(again.affine, volume.affine)
            assert again.raw_image.tobytes() == volume_of(volume).tobytes()


# ------------------------------------------------------------------------------------- xarray


class TestXarray:
    @pytest.fixture(autouse=True)
    def _xarray(self) -> None:
        pytest.importorskip("xarray")

    @pytest.mark.parametrize("tilt", [0.0, TILT])
    @pytest.mark.parametrize("name", ORIENTATIONS)
    def test_corners_are_where_simpleitk_reads_them(
        self, tmp_path: Path, name: str, tilt: float
    ) -> None:
        folder = write_placed(tmp_path / "in", name, tilt=tilt)
        points = points_by_simpleitk(folder)
        for volume in read_both(folder, tmp_path):
            array = volume.to_xarray()
            assert array.dims == ("z", "y", "x")
            assert array.dtype == np.float32
            assert np.array_equal(array, values() + INTERCEPT)
            for z, y, x in corners(volume.shape):
                voxel = array.isel(z=z, y=y, x=x)
                found = np.reshape(array.attrs["direction"], (3, 3)) @ [voxel.x, voxel.y, voxel.z]
                assert np.allclose(found, points[z](y, x), rtol=0, atol=1e-4)

    def test_coordinates_of_axial_slices_are_lps(self, tmp_path: Path) -> None:
        array = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0].to_xarray()
        assert array.x.values[:2].tolist() == pytest.approx([-10, -9.25])
        assert array.y.values[:2].tolist() == pytest.approx([20, 20.5])
        assert array.z.values[:2].tolist() == pytest.approx([30, 32.5])
        assert array.z.attrs == {"units": "mm", "spacing": 2.5}

    def test_stored_values_are_not_copied(self, tmp_path: Path) -> None:
        image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
        array = image.to_xarray(real=False)
        assert np.shares_memory(array.values, image.raw_image)
        assert (array.attrs["scale_factor"], array.attrs["add_offset"]) == (1, INTERCEPT)
        again = DicomCubeImage.from_xarray(array)
        assert np.shares_memory(again.raw_image, image.raw_image)
        assert np.array_equal(again.get_fdata(), image.get_fdata())
        assert np.allclose(again.affine, image.affine)

    @pytest.mark.parametrize("name", ORIENTATIONS)
    @pytest.mark.parametrize(
        "index",
        [np.s_[1:4, 2:, :3], np.s_[::2, ::3, 1::2], np.s_[2:3, 4:5, 5:6], np.s_[::-1, :, ::-2]],
    )
    def test_a_selection_keeps_its_position(
        self, tmp_path: Path, name: str, index: tuple[slice, ...]
    ) -> None:
        folder = write_placed(tmp_path / "in", name)
        points = points_by_simpleitk(folder)
        image = read_both(folder, tmp_path)[0]
        part = DicomCubeImage.from_xarray(image.to_xarray(real=False)[index])
        numbers = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1)[index]
        assert part.affine_lps is not None
        strides = [abs(item.step or 1) for item in index]
        assert part.spacing == pytest.approx(np.array([2.5, 0.5, 0.75]) * strides)
        for place in corners(part.shape):
            z, y, x = numbers[place].tolist()
            found = part.affine_lps @ (*place[::-1], 1)
            assert np.allclose(found[:3], points[z](y, x), rtol=0, atol=1e-4)
            assert part.raw_image[place] == values()[z, y, x]

    def test_several_volumes_have_times(self, tmp_path: Path) -> None:
        folder = time_series(tmp_path / "in", RepetitionTime=1500)
        for volume in read_both(folder, tmp_path):
            array = volume.to_xarray(real=False)
            assert array.dims == ("t", "z", "y", "x")
            assert array.t.values.tolist() == [0, 1.5]
            assert np.array_equal(array[1], values((6, 7, 6))[1::2])
            with pytest.raises(DataConsistencyError, match=r"expected an xarray.DataArray of dims"):
                DicomCubeImage.from_xarray(array)
            assert DicomCubeImage.from_xarray(array[1]).shape == (3, 7, 6)

    def test_stored_values_of_several_mappings_have_no_scale(self, tmp_path: Path) -> None:
        series = without_rescale()
        for dataset in series:
            dataset.RealWorldValueMappingSequence = [mapping(2.0), mapping(3.0, label="y")]
        for volume in read_both(write_series(tmp_path / "in", series), tmp_path):
            array = volume.to_xarray(real=False)
            assert np.array_equal(array, volume_of(volume))
            assert array.dtype == volume.dtype
            assert not {"scale_factor", "add_offset"} & array.attrs.keys()
            with pytest.raises(DataConsistencyError, match="2 mappings to real values"):
                volume.to_xarray()

    def test_colours_have_samples(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "in", make_series(3, shape=(6, 5, 3), dtype="uint8"))
        for volume in read_both(folder, tmp_path):
            array = volume.to_xarray()
            assert array.dims == ("z", "y", "x", "sample")
            turned = array.transpose("sample", "x", "z", "y")
            assert np.array_equal(DicomCubeImage.from_xarray(turned).raw_image, volume_of(volume))

    def test_uneven_slices_have_no_coordinates(self, tmp_path: Path) -> None:
        for volume in read_both(write_placed(tmp_path / "in", "axial", places=UNEVEN), tmp_path):
            array = volume.to_xarray()
            assert not array.coords
            assert array.attrs["geometry_problem"].startswith("gap_location")
            with pytest.warns(UserWarning, match="space is None: gap_location"):
                assert DicomCubeImage.from_xarray(array).space is None

    def test_an_uneven_selection_has_no_space(self, tmp_path: Path) -> None:
        array = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0].to_xarray()
        with pytest.warns(UserWarning, match="coordinates z are not evenly spaced"):
            DicomCubeImage.from_xarray(array.isel(z=[0, 1, 3]))

    def test_it_can_be_written_as_netcdf(self, tmp_path: Path) -> None:
        """Attributes of netCDF are numbers, texts, or lists of one dimension."""
        array = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0].to_xarray(real=False)
        for value in array.attrs.values():
            assert isinstance(value, (float, str)) or np.ndim(value) == 1


# -------------------------------------------------------------------------------- real values


@pytest.mark.parametrize(
    ("dtype", "real"),
    [("uint8", "float32"), ("int16", "float32"), ("int32", "float64"), ("float64", "float64")],
)
def test_real_values_hold_each_stored_value(dtype: str, real: str) -> None:
    stored = np.full((2, 3, 4), 123, dtype)
    if np.dtype(dtype).itemsize >= 4:
        stored[0, 0, 0] = (1 << 24) + 1
    array = handed(DicomCubeImage(stored))
    assert array.get_data_dtype() == real
    assert np.array_equal(np.asarray(array.dataobj).T, stored)


def test_integers_that_no_float_holds_are_refused() -> None:
    stored = np.full((2, 3, 4), (1 << 53) + 1)
    image = DicomCubeImage(stored)
    with pytest.raises(DataConsistencyError, match="real=False"):
        handed(image)
    with pytest.warns(UserWarning, match="no voxel positions"):
        assert np.array_equal(np.asarray(image.to_nibabel(real=False).dataobj).T, stored)


def handed(image: DicomCubeImage) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return image.to_nibabel()


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    series = make_series(3, dtype="int16")
    for index, dataset in enumerate(series):
        dataset.RescaleSlope = index + 1
    for volume in read_both(write_series(tmp_path / "in", series), tmp_path):
        image = volume.to_nibabel()
        real = volume.get_fdata()
        assert np.array_equal(np.asarray(image.dataobj).T, real)


@pytest.mark.parametrize(
    ("method", "module", "extra"),
    [("to_sitk", "SimpleITK", "sitk"), ("to_xarray", "xarray", "xarray")],
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, module: str, extra: str
) -> None:
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"(?s){module}.*pip install 'dicube\[{extra}\]"):
        getattr(image, method)()
    with pytest.raises(MissingPackageError, match=rf"(?s){module}.*pip install 'dicube\[{extra}\]"):
        getattr(DicomCubeImage, method.replace("to", "from"))(None)
