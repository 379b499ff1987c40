"""MONAI reads dicube files as it reads the NIfTI of the same series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import write_arranged
from inputs.peers import dcm2niix
from inputs.training import (
    SERIES,
    UNKNOWN,
    colours,
    image_of,
    labels,
    library,
    pair_of,
    placed_pair,
    write_labels,
)

import dicube

pytest.importorskip("nibabel")
library("monai")
transforms = library("monai.transforms")
data = library("monai.data")

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:NvImgCodec"
)

READER = "dicube.integrations.monai.DicubeReader"


def by_monai(path: Any, reader: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return array and metadata as MONAI's transform loads them."""
    load = transforms.LoadImaged("image", reader=reader, image_only=False, **options)
    found = load({"image": path})
    return found["image"], found["image_meta_dict"]


def assert_equal_meta(ours: dict[str, Any], theirs: dict[str, Any], but: set[str]) -> None:
    """All keys are the same, and all values but those of the file and of its samples."""
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - but:
        one, other = ours[key], theirs[key]
        if hasattr(one, "dtype"):
            assert np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f"), key
        else:
            assert one == other or (one != one and other != other), key


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("canonical", [False, True])
def test_array_affine_and_metadata_are_those_of_nifti(
    tmp_path: Path, name: str, canonical: bool
) -> None:
    pair = placed_pair(tmp_path, **SERIES[name])
    ours, our_meta = by_monai(pair.dcbs, READER, as_closest_canonical=canonical)
    theirs, their_meta = by_monai(pair.nifti, "NibabelReader", as_closest_canonical=canonical)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)
    assert np.array_equal(ours.affine, theirs.affine)
    of_file = {"filename_or_obj", "datatype", "bitpix"}
    assert_equal_meta(our_meta, their_meta, of_file)
    assert our_meta["filename_or_obj"] == str(pair.dcbs)


def test_a_series_converted_by_dcm2niix_is_the_same(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path, "sagittal")
    (theirs,) = dcm2niix(tmp_path / "dicom", tmp_path / "theirs")
    to_ras = transforms.Orientationd("image", axcodes="RAS", labels=None)
    found = []
    for path, reader in ((pair.dcbs, READER), (theirs.get_filename(), "NibabelReader")):
        load = transforms.LoadImaged("image", reader=reader, ensure_channel_first=True)
        found.append(to_ras(load({"image": path}))["image"])
    assert np.array_equal(*found)
    assert np.allclose(found[0].affine, found[1].affine, atol=1e-4)


def test_several_volumes_are_the_last_axis(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    with pytest.warns(UserWarning, match="2 volumes"):
        pair = pair_of(image_of(array), tmp_path)
    ours, our_meta = by_monai(pair.dcbs, READER, dtype=None)
    theirs, their_meta = by_monai(pair.nifti, "NibabelReader", dtype=None)
    assert ours.shape == (5, 4, 3, 2)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)
    assert_equal_meta(our_meta, their_meta, {"filename_or_obj"})
    channels = transforms.EnsureChannelFirst()(ours)
    assert channels.shape == (2, 5, 4, 3)


def test_files_become_channels(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path)
    load = transforms.LoadImage(reader=READER, ensure_channel_first=True)
    both = load([pair.dcbs, pair.dcbs])
    assert np.array_equal(both[0], both[1])
    assert np.array_equal(both[0], dicube.open(pair.dcbs).get_fdata().T)


def test_colours_are_channels(tmp_path: Path) -> None:
    path = colours(tmp_path)
    with pytest.warns(UserWarning, match="no voxel positions"):
        found = transforms.LoadImage(reader=READER, ensure_channel_first=True)(path)
    assert np.array_equal(found, dicube.open(path)[...].T)


def test_colours_of_several_volumes_are_channels(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "volumes of colours")
    found = transforms.LoadImage(reader=READER, ensure_channel_first=True)(path)
    voxels = image.raw_image.reshape(3, 4, 5, 6, 3)  # (volume, z, y, x, sample)
    assert found.shape == (9, 6, 5, 4)
    assert np.array_equal(found, voxels.transpose(4, 0, 3, 2, 1).reshape(found.shape))


def test_nifti_without_slices_has_two_axes(tmp_path: Path) -> None:
    pair = pair_of(image_of(np.arange(30, dtype=np.int16).reshape(5, 6)), tmp_path)
    ours, our_meta = by_monai(pair.dcbs, READER, dtype=None)
    theirs, their_meta = by_monai(pair.nifti, "NibabelReader", dtype=None)
    assert ours.shape == theirs.shape == (6, 5)
    assert np.array_equal(ours, theirs)
    assert_equal_meta(our_meta, their_meta, {"filename_or_obj"})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_labels_are_not_rounded(tmp_path: Path, dtype: str) -> None:
    array = labels((3, 4, 5), dtype)
    path = write_labels(tmp_path / "labels.dcbs", array)
    found = transforms.LoadImage(reader=READER, dtype=None)(path)
    assert not found.dtype.is_floating_point
    assert np.array_equal(found.numpy().astype(dtype), array.T)


def test_an_unknown_position_is_warned_of(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path, **UNKNOWN)
    with pytest.warns(UserWarning, match="no voxel positions"):
        ours, _ = by_monai(pair.dcbs, READER)
    theirs, _ = by_monai(pair.nifti, "NibabelReader")
    assert np.array_equal(ours, theirs)
    assert np.array_equal(ours.affine, theirs.affine)


def test_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    pair = placed_pair(tmp_path)
    with fsspec.open("memory://training/a.dcbs", "wb") as file:
        file.write(pair.dcbs.read_bytes())
    load = transforms.LoadImage(reader=READER, expanduser=False, num_threads=1)
    assert np.array_equal(load("memory://training/a.dcbs"), load(str(pair.dcbs)))


def test_what_is_no_dicube_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcbs").write_bytes(b"DCMCUBES and no more")
    with pytest.raises(RuntimeError, match="InvalidCubeFileError"):
        transforms.LoadImage(reader=READER)(tmp_path / "a.dcbs")


def test_it_takes_files_by_their_extension(tmp_path: Path) -> None:
    from dicube.integrations.monai import DicubeReader

    pair = placed_pair(tmp_path)
    load = transforms.LoadImage()
    load.register(DicubeReader())
    assert np.array_equal(load(pair.dcbs), load(pair.nifti))
    assert not DicubeReader().verify_suffix([pair.dcbs, pair.nifti])


def test_in_the_workers_of_a_loader(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path)
    load = transforms.LoadImaged("image", reader=READER, num_threads=1, ensure_channel_first=True)
    dataset = data.Dataset([{"image": pair.dcbs}] * 4, load)
    for batch in data.DataLoader(dataset, batch_size=2, num_workers=2):
        assert batch["image"].shape == (2, 1, 6, 7, 5)
