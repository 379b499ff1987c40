"""nibabel loads a dicube file as it loads NIfTI of the series, and decodes what is taken."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import ARRANGEMENTS, two_places, write_arranged
from inputs.training import labels, library, write_labels
from programs.running import run_python

import dicube
from dicube import Cube
from dicube.exceptions import DataConsistencyError, DicomCubeError

nib = library("nibabel")

from dicube.integrations.as_nifti import has_other_real_values  # noqa: E402
from dicube.integrations.nibabel import DicubeImage  # noqa: E402 (needs nibabel)

pytestmark = pytest.mark.filterwarnings(
    "ignore:the palette|nothing but the order|the NIfTI image has no voxel|slices differ"
)


def both(folder: Path, name: str) -> tuple[Any, Any]:
    """Return the image of a dicube file, and that of the NIfTI file of the same series."""
    path, image = write_arranged(folder, name)
    image.to_nifti(folder / "a.nii.gz")
    return nib.load(path), nib.load(folder / "a.nii.gz")


@pytest.mark.parametrize("name", [name for name in ARRANGEMENTS if name != "half"])
def test_it_is_the_nifti_of_the_series(tmp_path: Path, name: str) -> None:
    ours, theirs = both(tmp_path, name)
    assert type(ours) is DicubeImage
    assert isinstance(ours, nib.spatialimages.SpatialImage)
    assert type(ours.header) is type(theirs.header)
    assert ours.shape == ours.dataobj.shape == theirs.shape
    assert np.array_equal(ours.affine, theirs.affine)
    assert ours.header.get_zooms() == theirs.header.get_zooms()
    assert ours.header.get_xyzt_units() == theirs.header.get_xyzt_units()
    assert ours.header.get_data_shape() == theirs.header.get_data_shape()
    for get in ("get_sform", "get_qform"):
        (one, one_code), (other, other_code) = (
            getattr(image.header, get)(coded=True) for image in (ours, theirs)
        )
        assert one_code == other_code
        assert (one is None and other is None) or np.array_equal(one, other)
    if ours.get_data_dtype().names:
        assert np.array_equal(ours.dataobj, theirs.dataobj)
    else:
        found, expected = ours.get_fdata(), theirs.get_fdata()
        assert found.dtype == np.float64
        assert found.flags.f_contiguous
        # NIfTI-1 has a slope of 32 bits.
        assert np.allclose(found, expected, rtol=1e-7, atol=1e-5, equal_nan=True)
        if name not in ("fractions", "mapped"):
            assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_it_is_what_cubes_hand_over(tmp_path: Path, name: str) -> None:
    path, _ = write_arranged(tmp_path, name)
    cube = dicube.open(path)
    theirs = cube.to_nibabel(real=has_other_real_values(cube))
    ours = nib.load(path)
    assert ours.header == theirs.header
    assert np.asanyarray(ours.dataobj).dtype == ours.get_data_dtype() == theirs.get_data_dtype()
    equal_nan = {"equal_nan": True} if theirs.get_data_dtype().kind == "f" else {}
    assert np.array_equal(ours.dataobj, theirs.dataobj, **equal_nan)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[...],
        np.s_[2],
        np.s_[..., 1],
        np.s_[1:3, None, ::2, -1],
        np.s_[::-1, 1:1],
        np.s_[0, 0, 0],
        np.s_[:, None],
    ],
)
@pytest.mark.parametrize("name", ["oblique", "times", "mosaics", "colours", "one slice"])
def test_parts(tmp_path: Path, name: str, index: Any) -> None:
    ours, theirs = both(tmp_path, name)
    if name == "one slice" and np.size(index) > 2:
        index = index[:2]
    found, expected = ours.dataobj[index], np.asanyarray(theirs.dataobj)[index]
    assert np.shape(found) == np.shape(expected)
    assert np.array_equal(found, expected)


def test_indices_that_nibabel_refuses(tmp_path: Path) -> None:
    for image in both(tmp_path, "oblique"):
        for index in ([0, 2], np.array([0, 1]), (0, 0, 0, 0), 99):
            with pytest.raises((ValueError, IndexError)):
                image.dataobj[index]


def test_only_what_is_taken_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[list[int]] = []
    decode = Cube._decode

    def recorded(self: Cube, frames: Any, *arguments: Any) -> None:
        decoded.append([*map(int, frames)])
        decode(self, frames, *arguments)

    monkeypatch.setattr(Cube, "_decode", recorded)
    image = nib.load(write_arranged(tmp_path, "oblique")[0])
    assert not image.in_memory
    assert nib.is_proxy(image.dataobj)
    assert decoded == []
    image.dataobj[..., 3]
    assert decoded == [[3]]
    image.slicer[..., 1:3]
    assert decoded == [[3], [1, 2]]


@pytest.mark.parametrize("index", [-7, np.s_[..., -6], np.s_[:, -8], 6, np.s_[..., 5]])
def test_indices_out_of_bounds(tmp_path: Path, index: Any) -> None:
    """nibabel's own proxies return other voxels for those that are too small."""
    proxy = nib.load(write_arranged(tmp_path, "oblique")[0]).dataobj
    assert proxy.shape == (6, 7, 5)
    with pytest.raises((ValueError, IndexError)):
        proxy[index]


@pytest.mark.parametrize("name", ["oblique", "times"])
def test_a_slicer_moves_the_affine(tmp_path: Path, name: str) -> None:
    ours, theirs = (image.slicer[1:5:2, 2:, 1:] for image in both(tmp_path, name))
    assert np.array_equal(ours.affine, theirs.affine)
    assert np.array_equal(ours.header.get_best_affine(), theirs.header.get_best_affine())
    assert ours.header.get_zooms() == theirs.header.get_zooms()
    assert np.array_equal(ours.dataobj, theirs.dataobj)


@pytest.mark.parametrize("name", ["oblique", "times", "tilted", "one slice", "colours"])
def test_saved_as_nifti(tmp_path: Path, name: str) -> None:
    ours, theirs = both(tmp_path, name)
    nib.save(ours, tmp_path / "saved.nii.gz")
    saved = nib.load(tmp_path / "saved.nii.gz")
    assert np.array_equal(saved.dataobj, theirs.dataobj)
    assert np.array_equal(saved.affine, theirs.affine)
    assert saved.header.get_zooms() == theirs.header.get_zooms()
    assert saved.header.get_xyzt_units() == theirs.header.get_xyzt_units()


def test_nibabel_writes_no_dicube_files(tmp_path: Path) -> None:
    for image in both(tmp_path, "oblique"):
        with pytest.raises(NotImplementedError, match="from_nibabel"):
            nib.save(image, tmp_path / "b.dcbs")
    assert not (tmp_path / "b.dcbs").exists()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64"])
def test_labels_keep_their_type(tmp_path: Path, dtype: str) -> None:
    array = labels((3, 4, 5), dtype)
    image = nib.load(write_labels(tmp_path / "labels.dcbs", array))
    found = np.asanyarray(image.dataobj)
    assert found.dtype == image.get_data_dtype() == dtype
    assert np.array_equal(found.T, array)
    if dtype == "int64":  # nibabel would round them
        with pytest.raises(DataConsistencyError, match="no float holds"):
            image.get_fdata()
    else:
        assert np.array_equal(image.get_fdata().T, array)


def test_sides_longer_than_nifti_1_has(tmp_path: Path) -> None:
    array = np.zeros((1, 2, 40_000), np.uint8)
    array[0, 1, -1] = 7
    dicube.DicomCubeImage(array).to_file(tmp_path / "a.dcbs")
    image = nib.load(tmp_path / "a.dcbs")
    assert isinstance(image.header, nib.Nifti2Header)
    assert np.array_equal(image.dataobj, array.T)
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(nib.load(tmp_path / "a.nii").dataobj, array.T)


def test_pickled(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, "times")
    again = pickle.loads(pickle.dumps(ours))
    assert np.array_equal(again.get_fdata(), theirs.get_fdata())
    assert again.header == ours.header


def test_an_array_of_it_is_always_new(tmp_path: Path) -> None:
    proxy = nib.load(write_arranged(tmp_path, "oblique")[0]).dataobj
    assert np.array_equal(np.asarray(proxy, np.int32), proxy[...].astype(np.int32))
    with pytest.raises(ValueError, match="always a copy"):
        proxy.__array__(copy=False)


def test_files_that_it_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "a.dcbs").write_bytes(b"something else" * 99)
    with pytest.raises(DicomCubeError, match=r"a\.dcbs"):
        nib.load(tmp_path / "a.dcbs")
    with pytest.raises(FileNotFoundError):
        nib.load(tmp_path / "absent.dcbs")
    with pytest.raises(DataConsistencyError, match="differ in shape or position"):
        nib.load(two_places(tmp_path))
    (tmp_path / "a.txt").write_bytes(b"something else" * 99)
    with pytest.raises(nib.filebasedimages.ImageFileError):
        nib.load(tmp_path / "a.txt")


@pytest.mark.parametrize("extension", [".dcba", ".DCBS"])
def test_other_names(tmp_path: Path, extension: str) -> None:
    _, image = write_arranged(tmp_path, "oblique")
    image.to_file(tmp_path / "b.dcba")
    (tmp_path / "b.dcba").rename(tmp_path / f"b{extension}")
    found = nib.load(tmp_path / f"b{extension}", mmap=False)
    assert np.array_equal(found.get_fdata().T, image.get_fdata())
    assert found.get_filename() == str(tmp_path / f"b{extension}")


def test_floats_are_rounded_once(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "fractions")
    found = nib.load(path)
    assert np.array_equal(found.get_fdata().T, image.get_fdata(dtype="float64"))
    assert np.array_equal(found.get_fdata(dtype=np.float32).T, image.get_fdata())


def test_options_of_opening(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    low = nib.load(path, level=1, num_threads=1)
    assert np.array_equal(low.affine, dicube.open(path, level=1).to_nibabel().affine)


def test_nothing_is_registered_without_the_import(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    code = (
        "import nibabel as nib, dicube, dicube.integrations\n"
        f"try: nib.load({str(path)!r})\n"
        "except nib.filebasedimages.ImageFileError: print('unknown')\n"
        f"import dicube.integrations.nibabel\nprint(nib.load({str(path)!r}).shape)"
    )
    done = run_python("-c", code)
    assert done.stdout.splitlines() == ["unknown", "(6, 7, 5)"], done.stderr


def test_warnings_are_those_of_to_nifti(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "uneven")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        nib.load(path)
    assert ["no voxel positions" in str(one.message) for one in found] == [True]
