"""Regridded volumes have at each place what the slices have there, and say that they are derived.

A volume whose values are a linear function of the place is resampled without any error.
"""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from inputs.nifti_files import ORIENTATIONS, nifti_bytes
from inputs.peers import dcm2niix, points_by_simpleitk
from inputs.placed_series import EVEN, SHAPE, UNEVEN, values, write_placed
from numpy.typing import NDArray
from pydicom import dcmread

import dicube
from dicube import DicomCubeImage
from dicube.dicom.dicom_meta import DicomMeta
from dicube.exceptions import DataConsistencyError, MissingPackageError

sitk = pytest.importorskip("SimpleITK")

TILT = 0.3
SLOPES = np.array([3.0, -2.0, 5.0])
GRIDS = [
    pytest.param(places, tilt, id=f"{name}, tilt {tilt}")
    for (name, places), tilt in product(
        {"even": EVEN, "uneven": UNEVEN, "falling": UNEVEN[::-1]}.items(), [0.0, TILT, -TILT]
    )
]


def read(folder: Path) -> DicomCubeImage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DicomCubeImage.from_dicom_folder(folder)


def meta_of(image: DicomCubeImage) -> DicomMeta:
    assert image.dicom_meta is not None
    return image.dicom_meta


def with_linear_values(image: DicomCubeImage, folder: Path) -> DicomCubeImage:
    """Return an image whose values are a linear function of the LPS that SimpleITK reads."""
    points = points_by_simpleitk(folder)
    _, rows, columns = image.shape
    found = [[[p(y, x) for x in range(columns)] for y in range(rows)] for p in points]
    return DicomCubeImage(np.array(found) @ SLOPES, None, image.dicom_meta)


def centres(image: DicomCubeImage) -> NDArray[Any]:
    """Return the LPS of all voxels."""
    assert image.affine_lps is not None
    z, y, x = np.meshgrid(*map(np.arange, image.shape), indexing="ij")
    return (np.stack([x, y, z, np.ones_like(x)], -1) @ image.affine_lps.T)[..., :3]


# ------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", ["axial", "sagittal, left-handed", "oblique", "oblique, flipped"])
@pytest.mark.parametrize(("places", "tilt"), GRIDS)
@pytest.mark.parametrize("spacing", [None, (1.25, 0.4, 0.6)])
def test_values_are_those_of_the_place(
    tmp_path: Path, name: str, places: tuple[float, ...], tilt: float, spacing: Any
) -> None:
    folder = write_placed(tmp_path / "in", name, tilt=tilt, places=places)
    image = with_linear_values(read(folder), folder)
    result = image.regrid(spacing, fill=-1e6)
    assert result.space is not None and result.geometry_problem == ""
    values_there = result.raw_image
    inside = values_there != -1e6
    wanted = centres(result) @ SLOPES
    # Within half a voxel beyond the outermost centres, the values are those of the edge.
    is_within = within(result, folder, image.shape)
    assert inside[is_within].all()
    assert np.allclose(values_there[is_within], wanted[is_within], rtol=0, atol=1e-6)
    assert is_within.sum() > 100


def within(result: DicomCubeImage, folder: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which voxels are between the centres of the outermost pixels, by SimpleITK."""
    points = points_by_simpleitk(folder)
    origin = np.array([p(0, 0) for p in points])
    right, down = points[0](0, 1) - origin[0], points[0](1, 0) - origin[0]
    normal = np.cross(right, down)
    places = origin @ normal
    order = np.argsort(places)
    found = centres(result)
    height = found @ normal
    corner = np.stack([np.interp(height, places[order], origin[order, i]) for i in range(3)], -1)
    columns = (found - corner) @ right / (right @ right)
    rows = (found - corner) @ down / (down @ down)
    allowed = 1e-6
    return (
        (height >= places.min() - allowed)
        & (height <= places.max() + allowed)
        & (rows >= -allowed)
        & (rows <= shape[1] - 1 + allowed)
        & (columns >= -allowed)
        & (columns <= shape[2] - 1 + allowed)
    )


@pytest.mark.parametrize(("places", "tilt"), GRIDS)
def test_the_grid_contains_all_pixels(
    tmp_path: Path, places: tuple[float, ...], tilt: float
) -> None:
    folder = write_placed(tmp_path / "in", "oblique", tilt=tilt, places=places)
    result = read(folder).regrid()
    assert result.affine_lps is not None
    to_index = np.linalg.inv(result.affine_lps)
    lowest = np.full(3, np.inf)
    for point in points_by_simpleitk(folder):
        for y, x in product((0, SHAPE[1] - 1), (0, SHAPE[2] - 1)):
            index = (to_index @ (*point(y, x), 1))[:3]
            assert (index > -1e-3).all()
            assert (index < np.array(result.shape[::-1]) - 1 + 1e-2).all()
            lowest = np.minimum(lowest, index)
    assert lowest == pytest.approx([0, 0, 0], abs=1e-3)
    axes = result.affine_lps[:3, :3] / np.array(result.spacing)[::-1]
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_an_even_volume_stays_as_it_is(tmp_path: Path, name: str) -> None:
    image = read(write_placed(tmp_path / "in", name))
    result = image.regrid()
    assert np.array_equal(result.raw_image, image.raw_image)
    assert result.dtype == np.int16
    assert np.allclose(result.affine, image.affine)
    assert np.array_equal(result.get_fdata(), image.get_fdata())


def test_rows_are_sheared_in_nifti(tmp_path: Path) -> None:
    affine = np.array([[-1, 0.5, 0, 1], [0, -1.5, 0, 2], [0, 0, 3.25, 3], [0, 0, 0, 1]])
    array = np.arange(6 * 5 * 4, dtype=np.float64).reshape(6, 5, 4)
    indices = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), -1)
    array = (indices @ affine[:3, :3].T + affine[:3, 3]) @ (SLOPES * [-1, -1, 1])

    def unsheared(header: Any) -> None:
        header["qform_code"] = 0

    (tmp_path / "in.nii").write_bytes(nifti_bytes(array, affine=affine, edit=unsheared))
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_nifti(tmp_path / "in.nii")
    result = image.regrid(fill=-1e6)
    assert result.space is not None
    assert result.orientation == image.orientation
    inner = result.raw_image[:, :, 3:-3]
    assert np.allclose(inner, (centres(result) @ SLOPES)[:, :, 3:-3])


def test_as_simpleitk_resamples(tmp_path: Path) -> None:
    image = read(write_placed(tmp_path / "in", "oblique"))
    result = image.regrid((2.0, 1.0, 0.5))
    theirs = sitk.Resample(image.to_sitk(), result.to_sitk(), sitk.Transform(), sitk.sitkLinear)
    found = sitk.GetArrayFromImage(theirs)
    assert np.abs(found - result.get_fdata())[:-1, :-1, :-1].max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", ">i2"])
def test_nearest_makes_no_new_values(tmp_path: Path, dtype: str) -> None:
    placed = read(write_placed(tmp_path / "in", "axial"))
    labels = (values() % 7 * 17).astype(dtype)
    if labels.dtype == np.int64:
        labels[0, 0, 0] = (1 << 53) - 1
    image = DicomCubeImage(labels, None, None, placed.space)
    result = image.regrid(0.3, "nearest")
    assert result.dtype == labels.dtype.newbyteorder("=")
    assert set(result.raw_image.ravel().tolist()) == set(labels.ravel().tolist())
    assert result.dicom_meta is None


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_integers_that_no_float_holds_are_refused(tmp_path: Path, interpolation: str) -> None:
    placed = read(write_placed(tmp_path / "in", "axial"))
    image = DicomCubeImage(values().astype("int64") + (1 << 53), None, None, placed.space)
    with pytest.raises(DataConsistencyError, match="no float holds"):
        image.regrid(1.0, interpolation)


def test_outside_is_the_smallest_value_or_the_one_given(tmp_path: Path) -> None:
    image = read(write_placed(tmp_path / "in", "axial", tilt=1.5))
    assert image.regrid().raw_image[0, -1, 0] == values().min()
    result = image.regrid(fill=-2000)
    assert result.get_fdata()[0, -1, 0] == -2000
    assert result.raw_image[0, -1, 0] == -976
    with pytest.raises(DataConsistencyError, match="fill is beyond"):
        image.regrid(fill=1e6)


def test_slices_of_different_rescale_become_real_values(tmp_path: Path) -> None:
    series = make_series(4, dtype="int16")
    for index, dataset in enumerate(series):
        dataset.RescaleSlope = index + 1
    image = read(write_series(tmp_path / "in", series))
    result = image.regrid()
    assert result.dtype == np.float32
    assert np.allclose(result.get_fdata(), image.get_fdata(), rtol=1e-6)
    assert meta_of(result).get("RescaleSlope") == 1  # a CT must have it
    result.to_file(tmp_path / "a.dcbs")
    assert np.array_equal(dicube.load(tmp_path / "a.dcbs").get_fdata(), result.get_fdata())


def test_colours(tmp_path: Path) -> None:
    image = read(write_series(tmp_path / "in", make_series(3, shape=(6, 5, 3), dtype="uint8")))
    assert np.array_equal(image.regrid().raw_image, image.raw_image)
    result = image.regrid((2.5, 0.25, 0.375))
    assert result.shape == (3, 11, 9, 3)
    assert np.array_equal(result.raw_image[:, ::2, ::2], image.raw_image)


# ----------------------------------------------------------------------------------- metadata


@pytest.mark.parametrize(("places", "tilt"), GRIDS)
def test_files_of_the_result(tmp_path: Path, places: tuple[float, ...], tilt: float) -> None:
    folder = write_placed(tmp_path / "in", "oblique", tilt=tilt, places=places)
    result = read(folder).regrid((1.0, 0.5, 0.5))
    result.to_file(tmp_path / "a.dcbs")
    assert dicube.verify_file(tmp_path / "a.dcbs").ok
    assert result.why_not_exact()
    result.to_dicom_folder(tmp_path / "out")
    points = points_by_simpleitk(tmp_path / "out")
    assert result.affine_lps is not None
    for z, y, x in product(*((0, size - 1) for size in result.shape)):
        found = (result.affine_lps @ (x, y, z, 1))[:3]
        assert np.allclose(points[z](y, x), found, rtol=0, atol=1e-4)
    datasets = [dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    pixels = [dataset.pixel_array for dataset in datasets]
    assert np.array_equal(pixels, result.raw_image)
    assert [dataset.InstanceNumber for dataset in datasets] == list(range(1, len(pixels) + 1))


def test_the_result_says_that_it_is_derived(tmp_path: Path) -> None:
    folder = write_placed(
        tmp_path / "in",
        "axial",
        places=UNEVEN,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        DerivationDescription="filtered",
        FrameOfReferenceUID="1.2.3",
        SliceThickness=7,
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
    )
    image = read(folder)
    meta_of(image).set_nonshared_item("TriggerTime", [1, 2, 3, 4, 5])
    meta_of(image).set_shared_item("60000010", 7)
    meta = meta_of(image.regrid((1.5, 0.5, 0.75)))
    before = meta_of(image)
    assert meta.get("ImageType") == ["DERIVED", "PRIMARY", "AXIAL"]
    assert meta.get("DerivationDescription").startswith(
        "filtered; Resampled by dicube (linear interpolation) from 5 slices of 7 x 6 pixels to "
        "voxels of 0.75 x 0.5 x 1.5 mm; gap_location: uneven slice spacing"
    )
    assert meta.get("DerivationCodeSequence")[0]["00080100"]["Value"] == ["113085"]
    for same in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert meta.get(same) == before.get(same)
    for same in ("SeriesDescription", "RescaleIntercept", "PhotometricInterpretation", "HighBit"):
        assert meta.get(same) == before.get(same)
    assert meta.get("SeriesInstanceUID") != before.get("SeriesInstanceUID")
    assert not {*meta.get("SOPInstanceUID")} & {*before.get("SOPInstanceUID")}
    assert meta.get("SliceThickness") == 1.5
    assert meta.is_missing("TriggerTime") and meta.is_missing("60000010")


@pytest.mark.parametrize("name", ["ct_ge_head", "mr_siemens_sag"])
def test_real_series(tmp_path: Path, shared_data: Path, name: str) -> None:
    image = read(shared_data / name)
    result = image.regrid(3.0)
    assert result.spacing == pytest.approx((3, 3, 3))
    result.to_file(tmp_path / "a.dcbs")
    assert dicube.verify_file(tmp_path / "a.dcbs").ok
    assert meta_of(result).get("PatientID") == meta_of(image).get("PatientID")
    assert result.to_sitk().GetSize() == result.shape[::-1]


def test_a_real_tilted_series_as_dcm2niix_corrects_it(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in sorted((shared_data / "ct_ge_head").iterdir())[:14]:  # evenly spaced
        (tmp_path / "in" / path.name).symlink_to(path)
    theirs = dcm2niix(tmp_path / "in", tmp_path / "out")[1]
    result = read(tmp_path / "in").regrid()
    ours = result.to_nibabel()
    assert ours.shape == theirs.shape == (512, 548, 14)
    turned = ours.slicer[:, slice(547, None, -1)]  # its rows run upwards
    assert np.allclose(turned.affine, theirs.affine, rtol=0, atol=0.3)
    middle = np.s_[100:400, 150:400]
    difference = turned.get_fdata()[middle] - theirs.get_fdata()[middle]
    assert np.median(np.abs(difference)) < 3


def test_frames_of_multi_frame_files(shared_data: Path) -> None:
    image = read(shared_data / "mr_enhanced")
    with pytest.raises(DataConsistencyError, match=r"see volumes\(\)|volumes\(\)"):
        image.regrid()
    first = image.volumes()[0]
    result = first.regrid()
    assert np.array_equal(result.raw_image, first.raw_image)
    assert not meta_of(result).has_frames
    assert meta_of(result).is_missing("PerFrameFunctionalGroupsSequence")
    assert np.allclose(result.affine, first.affine, atol=1e-4)


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spacing": 0}, "above 0"),
        ({"spacing": (1, 2)}, "1 or 3 numbers"),
        ({"spacing": "x"}, "1 or 3 numbers"),
        ({"spacing": np.nan}, "above 0"),
        ({"interpolation": "cubic"}, "linear or nearest"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    image = read(write_placed(tmp_path / "in", "axial"))
    with pytest.raises(DataConsistencyError, match=message):
        image.regrid(**arguments)


def test_unknown_positions(tmp_path: Path) -> None:
    image = read(write_placed(tmp_path / "in", "axial"))
    del meta_of(image)["ImagePositionPatient"]
    with pytest.raises(DataConsistencyError, match="can't resample"):
        image.regrid()
    with pytest.raises(DataConsistencyError, match="can't resample: the image has no space"):
        DicomCubeImage(values()).regrid()


def test_slices_that_are_not_parallel(tmp_path: Path) -> None:
    series = make_series(3)
    series[1].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    with pytest.raises(DataConsistencyError, match="can't resample"):
        read(write_series(tmp_path / "in", series)).regrid()


def test_mosaics(shared_data: Path) -> None:
    with pytest.raises(DataConsistencyError, match="mosaic"):
        read(shared_data / "mr_siemens_dti_mosaic").regrid()


def test_it_needs_simpleitk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(write_placed(tmp_path / "in", "axial"))
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(MissingPackageError, match=r"dicube\[sitk\]"):
        image.regrid()
