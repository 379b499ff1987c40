"""Crops have the pixels, positions and metadata of what they were taken from."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import read_both
from inputs.dicom_series import make_series, write_series
from inputs.nifti_files import ORIENTATIONS, nifti_bytes
from inputs.peers import points_by_simpleitk
from inputs.placed_series import UNEVEN, values, write_placed
from pydicom import dcmread

import dicube
from dicube import DicomCubeImage
from dicube.dicom.dicom_meta import DicomMeta
from dicube.exceptions import DataConsistencyError
from dicube.storage import DcbReader

nib = pytest.importorskip("nibabel")

TILT = 0.3
INDICES = [
    np.s_[1:4, 2:6, 1:5],
    np.s_[::2, ::3, ::2],
    np.s_[2:, 1::2, 2:4],
    np.s_[3, -2, 0],
    np.s_[..., 4:],
    np.s_[:, 3:],
    np.s_[1:-1],
]


def kept(index: Any, shape: tuple[int, ...]) -> list[list[int]]:
    """Return the numbers of slices, rows and columns that an index takes; integers keep an axis."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in items:
        place = items.index(Ellipsis)
        items[place : place + 1] = [slice(None)] * (len(shape) + 1 - len(items))
    items += [slice(None)] * (len(shape) - len(items))
    return [np.atleast_1d(np.arange(n)[i]).tolist() for i, n in zip(items, shape, strict=True)]


def meta_of(image: DicomCubeImage) -> DicomMeta:
    assert image.dicom_meta is not None
    return image.dicom_meta


# ---------------------------------------------------------------------------------- positions


@pytest.mark.parametrize("tilt", [0.0, TILT])
@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize(
    "index",
    [pytest.param(i, marks=[pytest.mark.slow] * (n > 1)) for n, i in enumerate(INDICES)],
    ids=str,
)
def test_voxels_stay_where_they_were(tmp_path: Path, name: str, tilt: float, index: Any) -> None:
    """By SimpleITK: in the series, and in the DICOM files of the crop."""
    folder = write_placed(tmp_path / "in", name, tilt=tilt)
    before = points_by_simpleitk(folder)
    for number, volume in enumerate(read_both(folder, tmp_path)):
        part = volume.crop(index)
        slices, rows, columns = kept(index, volume.shape)
        assert np.array_equal(part.raw_image, values()[np.ix_(slices, rows, columns)])
        part.to_dicom_folder(tmp_path / f"out{number}")
        after = points_by_simpleitk(tmp_path / f"out{number}")
        assert len(after) == len(slices)
        assert (part.space is None) == (bool(tilt) and len(slices) > 1)
        assert part.affine_lps is not None
        for z, y, x in product(*((0, size - 1) for size in part.shape)):
            wanted = before[slices[z]](rows[y], columns[x])
            assert np.allclose(after[z](y, x), wanted, rtol=0, atol=1e-4)
            assert np.allclose((part.affine_lps @ (x, y, z, 1))[:3], wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tilt", [0.0, TILT])
def test_uneven_slices_keep_their_positions(tmp_path: Path, tilt: float) -> None:
    folder = write_placed(tmp_path / "in", "oblique", places=UNEVEN, tilt=tilt)
    before = points_by_simpleitk(folder)
    image = read_both(folder, tmp_path)[0].crop(np.s_[1:, 2:, 3:])
    image.to_dicom_folder(tmp_path / "out")
    after = points_by_simpleitk(tmp_path / "out")
    assert image.affine is None and image.geometry_problem.startswith("gap_location")
    for one, other in zip(before[1:], after, strict=True):
        assert np.allclose(one(2, 3), other(0, 0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("level", [1, 2])
def test_a_crop_of_a_level(tmp_path: Path, level: int) -> None:
    cube = read_both(write_placed(tmp_path / "in", "oblique", tilt=TILT), tmp_path)[1]
    low = cube.at_level(level)
    part = low.crop(np.s_[1:3, 1:, 1:])
    assert np.array_equal(part.raw_image, low[1:3, 1:, 1:])
    assert part.affine is not None and cube.affine is not None
    step = 1 << level
    assert np.allclose(part.affine @ (0, 0, 0, 1), cube.affine @ (step, step, 1, 1))
    assert meta_of(part).get("PixelSpacing") == [0.5 * step, 0.75 * step]


# ----------------------------------------------------------------------------------- metadata


def test_metadata_of_a_crop(tmp_path: Path) -> None:
    series = make_series(4, dtype="int16")
    for index, dataset in enumerate(series):
        dataset.RescaleSlope = index + 1
        dataset.ImagerPixelSpacing = [0.25, 0.5]
        dataset.SpacingBetweenSlices = 2.5
        dataset.LargestImagePixelValue = 99
        dataset.add_new(0x60000010, "US", 6)
        dataset.add_new(0x60000050, "SS", [1, 1])
        dataset.ShutterShape, dataset.ShutterLeftVerticalEdge = "RECTANGULAR", 2
    for volume in read_both(write_series(tmp_path / "in", series), tmp_path):
        meta = meta_of(volume.crop(np.s_[1::2, 1:, ::2]))
        assert meta.get("InstanceNumber") == [2, 4]
        assert meta.get("RescaleSlope") == [2, 4]
        assert (meta.get("Rows"), meta.get("Columns")) == (5, 3)
        assert meta.get("PixelSpacing") == [0.5, 1.5]
        assert meta.get("ImagerPixelSpacing") == [0.25, 1]
        assert meta.get("SpacingBetweenSlices") == 5
        assert meta.get("PatientName") == "DOE^JOHN"
        for gone in ("LargestImagePixelValue", "60000010", "60000050", "ShutterShape"):
            assert meta.is_missing(gone)
        real = volume.crop(np.s_[1::2, 1:, ::2]).get_fdata()
        assert np.array_equal(real, volume.get_fdata()[1::2, 1:, ::2])
        of_slices = meta_of(volume.crop(np.s_[1:3]))
        assert of_slices.get("LargestImagePixelValue") == 99
        assert not of_slices.is_missing("60000010")


def test_the_image_itself_stays(tmp_path: Path) -> None:
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    part = image.crop(np.s_[1:, 1:, 1:])
    part.raw_image[:] = 0
    part.pixel_header.RescaleSlope = 7
    assert np.array_equal(image.raw_image, values())
    assert image.why_not_exact() == ""
    assert meta_of(image).get("Rows") == 7
    assert image.pixel_header.RescaleSlope == 1


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_the_file_of_a_crop_passes_verification(tmp_path: Path, index: Any, extension: str) -> None:
    for volume in read_both(write_placed(tmp_path / "in", "sagittal"), tmp_path):
        part = volume.crop(index)
        assert part.why_not_exact()
        part.to_file(tmp_path / f"part{extension}")
        assert dicube.verify_file(tmp_path / f"part{extension}").ok
        again = dicube.load(tmp_path / f"part{extension}")
        assert np.array_equal(again.raw_image, part.raw_image)
        assert np.allclose(again.affine, part.affine)


@pytest.mark.parametrize("name", ["ct_philips_thin", "mr_siemens_sag", "ct_ge_head", "mr_enhanced"])
def test_real_series(tmp_path: Path, shared_data: Path, name: str) -> None:
    image, cube = read_both(shared_data / name, tmp_path)
    index = np.s_[2:9, 10:50, 8:60:2]
    part = image.crop(index)
    assert np.array_equal(part.raw_image, image.raw_image[index])
    part.to_file(tmp_path / "part.dcbs")
    assert dicube.verify_file(tmp_path / "part.dcbs").ok
    of_cube = cube.crop(index)
    assert np.array_equal(of_cube.raw_image, part.raw_image)
    assert of_cube.dicom_meta == part.dicom_meta
    positions = np.array(meta_of(image).get("ImagePositionPatient"))[2:9]
    turned = np.array(meta_of(image).get("ImageOrientationPatient", force_nonshared=True)[0])
    rows, columns = meta_of(image).get("PixelSpacing")
    wanted = positions + 10 * rows * turned[3:] + 8 * columns * turned[:3]
    found = np.array(meta_of(part).get("ImagePositionPatient"))
    assert np.allclose(found, wanted, rtol=0, atol=1e-3)


def test_files_of_a_crop_are_new_ones(tmp_path: Path) -> None:
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    image.crop(np.s_[1:3, 2:, 3:]).to_dicom_folder(tmp_path / "out")
    for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
        dataset = dcmread(path)
        assert np.array_equal(dataset.pixel_array, values()[index + 1, 2:, 3:])
        assert dataset.InstanceNumber == index + 2


# -------------------------------------------------------------------------------------- NIfTI


@pytest.mark.parametrize("shear", [0.0, 0.4])
def test_crops_of_nifti(tmp_path: Path, shear: float) -> None:
    affine = np.array([[-0.75, shear, 0, 1], [0, -1.5, 0, 2], [0, 0, 3.25, 3], [0, 0, 0, 1]])

    def unsheared(header: Any) -> None:
        header["qform_code"] = 0

    array = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
    data = nifti_bytes(array, affine=affine, edit=unsheared) + b"behind"
    (tmp_path / "in.nii").write_bytes(data)
    for volume in read_both(tmp_path / "in.nii", tmp_path):
        part = volume.crop(np.s_[1:, 2:5, 3::2])
        theirs = nib.load(tmp_path / "in.nii").slicer[3::2, 2:5, 1:]
        part.to_nifti(tmp_path / "part.nii")
        ours = nib.load(tmp_path / "part.nii")
        assert np.allclose(part.affine, theirs.affine, atol=1e-5)
        assert np.allclose(ours.affine, theirs.affine, atol=1e-5)
        assert np.array_equal(ours.dataobj, theirs.dataobj)
        assert ours.header["descrip"] == b"what it is"
        assert not (tmp_path / "part.nii").read_bytes().endswith(b"behind")


def test_crops_of_several_volumes(tmp_path: Path) -> None:
    array = np.arange(6 * 5 * 4 * 3, dtype=np.int16).reshape(6, 5, 4, 3)
    (tmp_path / "in.nii").write_bytes(nifti_bytes(array))
    for volume in read_both(tmp_path / "in.nii", tmp_path):
        part = volume.crop(np.s_[:, 2:5, 3:])
        assert np.array_equal(part.to_nibabel(real=False).dataobj, array[3:, 2:5])
        assert np.allclose(
            part.to_nibabel().affine, nib.load(tmp_path / "in.nii").slicer[3:, 2:5].affine
        )
        with pytest.raises(DataConsistencyError, match="slices of 3 volumes"):
            volume.crop(np.s_[:4])


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (np.s_[::-1], DataConsistencyError, "slices: expected a step above 0, found -1"),
        (np.s_[:, 3:3], DataConsistencyError, r"rows: slice\(3, 3, None\) takes none of 7"),
        (np.s_[:, :, [1, 2]], DataConsistencyError, "columns: expected a slice or an int.*list"),
        (np.s_[5], IndexError, "slices: 5 is out of bounds for 5"),
        (np.s_[:, -8], IndexError, "rows: -8 is out of bounds for 7"),
        (np.s_[:, :, :, :], IndexError, "at most 3"),
        (np.s_[..., :, ...], IndexError, "at most 3"),
    ],
    ids=str,
)
def test_wrong_indices(tmp_path: Path, index: Any, error: type[Exception], message: str) -> None:
    for volume in read_both(write_placed(tmp_path / "in", "axial"), tmp_path):
        with pytest.raises(error, match=message):
            volume.crop(index)


def test_pixels_that_the_metadata_do_not_describe(tmp_path: Path) -> None:
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    part = DicomCubeImage(image.raw_image[:, 1:], None, image.dicom_meta)
    with pytest.raises(DataConsistencyError, match=r"metadata of 6 Rows.*found \[7"):
        part.crop(np.s_[:, 1:])
    assert part.crop(np.s_[1:]).shape == (4, 6, 6)


def test_mosaics(tmp_path: Path, shared_data: Path) -> None:
    image = read_both(shared_data / "mr_siemens_dti_mosaic", tmp_path)[0]
    with pytest.raises(DataConsistencyError, match="mosaics"):
        image.crop(np.s_[:, 1:])
    assert len(image.crop(np.s_[1:]).raw_image) == 12


def test_damage_stays_marked(tmp_path: Path) -> None:
    image = read_both(write_placed(tmp_path / "in", "axial"), tmp_path)[0]
    image.to_file(tmp_path / "a.dcbs", exact=False)
    data = bytearray((tmp_path / "a.dcbs").read_bytes())
    with DcbReader(tmp_path / "a.dcbs") as reader:
        offset, size = reader.coded_range(2)
    data[offset + size // 2] ^= 1
    (tmp_path / "b.dcbs").write_bytes(data)
    with pytest.warns(UserWarning, match="damaged"):
        damaged = dicube.open(tmp_path / "b.dcbs", on_error="skip")
        part = damaged.crop(np.s_[1:4, 1:])
    assert part.damaged_frames == (1,)
    with pytest.raises(DataConsistencyError):
        part.to_file(tmp_path / "c.dcbs")
