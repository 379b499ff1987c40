"""TorchIO reads dicube files as it reads the NIfTI of the same series."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from inputs.training import (
    SERIES,
    colours,
    image_of,
    labels,
    library,
    pair_of,
    placed_pair,
    write_labels,
)

import dicube
from dicube.integrations.torchio import read

pytest.importorskip("nibabel")
tio = library("torchio")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("name", [name for name in SERIES if name != "tilted"])
def test_tensor_and_affine_are_those_of_nifti(tmp_path: Path, name: str) -> None:
    pair = placed_pair(tmp_path, **SERIES[name])
    ours, theirs = tio.ScalarImage(pair.dcbs, reader=read), tio.ScalarImage(pair.nifti)
    assert ours.shape == theirs.shape
    assert ours.orientation == theirs.orientation
    assert np.array_equal(ours.data, theirs.data)
    assert np.allclose(ours.affine, theirs.affine, rtol=0, atol=1e-5)
    assert np.allclose(ours.spacing, theirs.spacing)


def test_a_tilted_series_keeps_its_affine(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path, **SERIES["tilted"])
    with dicube.open(pair.dcbs) as cube:
        ours = tio.ScalarImage(pair.dcbs, reader=partial(read, num_threads=1))
        assert np.array_equal(ours.data[0], cube.get_fdata().T)
        assert np.allclose(ours.affine, cube.affine, rtol=0, atol=1e-5)


def test_several_volumes_are_channels(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    with pytest.warns(UserWarning, match="2 volumes"):
        pair = pair_of(image_of(array), tmp_path)
    ours, theirs = tio.ScalarImage(pair.dcbs, reader=read), tio.ScalarImage(pair.nifti)
    assert ours.shape == theirs.shape == (2, 5, 4, 3)
    assert np.array_equal(ours.data, theirs.data)


def test_colours_are_channels(tmp_path: Path) -> None:
    path = colours(tmp_path)
    with pytest.warns(UserWarning, match="no voxel positions"):
        found = tio.ScalarImage(path, reader=read).data
    assert np.array_equal(found, dicube.open(path)[...].T)


def test_nifti_without_slices_has_one(tmp_path: Path) -> None:
    pair = pair_of(image_of(np.arange(30, dtype=np.int16).reshape(5, 6)), tmp_path)
    ours, theirs = tio.ScalarImage(pair.dcbs, reader=read), tio.ScalarImage(pair.nifti)
    assert ours.shape == theirs.shape == (1, 6, 5, 1)
    assert np.array_equal(ours.data, theirs.data)
    assert np.allclose(ours.affine[:2], theirs.affine[:2])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_labels_are_not_rounded(tmp_path: Path, dtype: str) -> None:
    array = labels((3, 4, 5), dtype)
    path = write_labels(tmp_path / "labels.dcbs", array)
    found = tio.LabelMap(path, reader=read).data
    assert not found.is_floating_point()
    assert np.array_equal(found[0].numpy().astype(dtype), array.T)


def test_a_subject_is_transformed(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path, "sagittal")
    subject = tio.Subject(
        ours=tio.ScalarImage(pair.dcbs, reader=read), theirs=tio.ScalarImage(pair.nifti)
    )
    done = tio.Compose([tio.ToCanonical(), tio.Resample(1.5)])(subject)
    assert np.allclose(done["ours"].data, done["theirs"].data, atol=1e-3)
