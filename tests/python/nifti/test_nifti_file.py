"""NIfTI files are read and written byte for byte, also by way of dicube files; edits win."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from inputs.nifti_files import ORIENTATIONS, affine_of, as_dicube, nifti_bytes, same, samples
from numpy.typing import NDArray
from programs.running import run_python

from dicube import DicomCubeImage
from dicube.dicom.series.geometry import Space, grid_of_space
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MissingPackageError,
)
from dicube.storage import DcbWriter

nib = pytest.importorskip("nibabel")

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "RGB")
SHAPES = ((7,), (7, 6), (7, 6, 5), (7, 6, 5, 1), (7, 6, 5, 4), (7, 6, 1, 4), (4, 3, 2, 3, 2))
SEVERAL_VOLUMES = "ignore:.*volumes of .* slices"


# ------------------------------------------------------------------------------- there and back


@pytest.mark.filterwarnings(SEVERAL_VOLUMES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_comes_back_to_the_byte(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], version: int, order: str
) -> None:
    array = samples(shape, dtype)
    for slope in ((0, 5) if version == 1 else (np.nan, np.nan), (0.1, -3.7)):
        data = nifti_bytes(array, version, order, slope=slope)
        (tmp_path / "a.nii").write_bytes(data)
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
        assert same(image.raw_image, as_dicube(array))
        image.to_nifti(tmp_path / "b.nii")
        assert (tmp_path / "b.nii").read_bytes() == data
        loaded = nib.load(tmp_path / "a.nii")
        DicomCubeImage.from_nifti(loaded).to_nifti(tmp_path / "c.nii")
        assert (tmp_path / "c.nii").read_bytes() == data
        if dtype != "RGB":
            # Before numpy 2, nibabel computes float32 values in float32: less exact ones.
            wanted = as_dicube(loaded.get_fdata(caching="unchanged"))
            for kind in ("float64", "float32"):
                assert np.array_equal(image.get_fdata(kind), wanted.astype(kind), equal_nan=True)


@pytest.mark.filterwarnings(SEVERAL_VOLUMES)
@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_comes_back_to_the_byte_by_a_dicube_file(
    tmp_path: Path, dtype: str, extension: str
) -> None:
    for shape, version, order in (((7, 6, 5), 1, ">"), ((7, 6, 5, 4), 2, "<")):
        array = samples(shape, dtype)
        data = nifti_bytes(array, version, order, slope=(0.1, -3.7))
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data))
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii.gz")
        image.to_file(tmp_path / f"b{extension}")
        again = pickle.loads(pickle.dumps(DicomCubeImage.from_file(tmp_path / f"b{extension}")))
        assert same(again.raw_image, as_dicube(array))
        assert again.space == image.space
        again.to_nifti(tmp_path / "c.nii.gz")
        assert gzip.decompress((tmp_path / "c.nii.gz").read_bytes()) == data


def test_written_files_are_the_same_each_time(tmp_path: Path) -> None:
    image = DicomCubeImage(samples((5, 6, 7), "i2"), space=Space(shape=(5, 6, 7)))
    for name in ("a.nii.gz", "b.nii.gz"):
        image.to_nifti(tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("slope", [(np.nan, np.nan), (0, 0), (0, 5), (1, 0), (1, 2), (np.inf, 1)])
def test_rescale_as_the_file_says_it(tmp_path: Path, slope: tuple[float, float]) -> None:
    data = nifti_bytes(samples((7, 6, 5), "i2"), slope=slope)
    (tmp_path / "a.nii").write_bytes(data)
    loaded = nib.load(tmp_path / "a.nii")
    for source in (tmp_path / "a.nii", loaded):
        image = DicomCubeImage.from_nifti(source)
        assert image.pixel_header.RescaleSlope == loaded.dataobj.slope
        assert image.pixel_header.RescaleIntercept == loaded.dataobj.inter
        image.to_nifti(tmp_path / "b.nii")
        assert (tmp_path / "b.nii").read_bytes() == data


def test_the_name_does_not_matter_when_reading(tmp_path: Path) -> None:
    data = nifti_bytes(samples((7, 6, 5), "i2"))
    (tmp_path / "a.nii").write_bytes(gzip.compress(data))
    DicomCubeImage.from_nifti(str(tmp_path / "a.nii")).to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == data


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_image_in_memory(tmp_path: Path, kind: Any) -> None:
    array = samples((7, 6, 5), "f4")
    source = kind(array, affine_of("sagittal"))
    source.header["descrip"] = b"made here"
    image = DicomCubeImage.from_nifti(source)
    image.to_nifti(tmp_path / "a.nii")
    again = nib.load(tmp_path / "a.nii")
    assert type(again) is kind
    assert same(np.asarray(again.dataobj), array)
    assert np.array_equal(again.affine, source.affine)
    assert again.header["descrip"] == b"made here"
    array[:] = 0
    assert image.raw_image.any()


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize(
    "names", [("a.hdr", "a.img"), ("A.HDR", "A.IMG"), ("a.hdr.gz", "a.img.gz")]
)
def test_pairs(tmp_path: Path, kind: Any, names: tuple[str, str]) -> None:
    array = samples((7, 6, 5), "i2")
    pair = kind(array, affine_of())
    pair.header["descrip"] = b"of a pair"
    pair.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a comment"))
    pair.to_filename(tmp_path / names[1].lower())
    affine = affine_from(tmp_path / names[1].lower())
    for name in names:
        (tmp_path / name.lower()).rename(tmp_path / name)
    for name in names:
        image = DicomCubeImage.from_nifti(tmp_path / name)
        assert same(image.raw_image, as_dicube(array))
        image.to_nifti(tmp_path / "b.nii")
        again = nib.load(tmp_path / "b.nii")
        assert np.array_equal(again.affine, affine)
        assert again.header["descrip"] == b"of a pair"
        assert again.header.extensions == pair.header.extensions
    (tmp_path / names[1]).unlink()
    with pytest.raises(CubeFileNotFoundError, match=rf"{names[1]}: no such file"):
        DicomCubeImage.from_nifti(tmp_path / names[0])


def test_pairs_loaded_by_nibabel(tmp_path: Path) -> None:
    array = samples((7, 6, 5), "i2")
    nib.Nifti1Pair(array, affine_of()).to_filename(tmp_path / "a.img")
    image = DicomCubeImage.from_nifti(nib.load(tmp_path / "a.img"))
    assert same(image.raw_image, as_dicube(array))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_any_byte_of_a_pair_may_be_wrong(tmp_path: Path, kind: Any) -> None:
    kind(samples((7, 6, 5), "i2"), affine_of()).to_filename(tmp_path / "a.img")
    good = (tmp_path / "a.hdr").read_bytes()
    random = np.random.default_rng(6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in range(len(good)):
            changed = bytearray(good)
            changed[place] ^= int(random.integers(1, 256))
            (tmp_path / "a.hdr").write_bytes(changed)
            with contextlib.suppress(DicomCubeError):
                DicomCubeImage.from_nifti(tmp_path / "a.hdr").to_nifti(tmp_path / "b.nii")
        for length in range(0, len(good), 7):
            (tmp_path / "a.hdr").write_bytes(good[:length])
            with contextlib.suppress(DicomCubeError):
                DicomCubeImage.from_nifti(tmp_path / "a.img")
    for offset in (-1.0, np.nan, np.inf, 3e38):
        block = nib.Nifti1Header.from_header(nib.Nifti1Header(), check=False)
        block.set_data_shape((7, 6, 5))
        block["magic"], block["vox_offset"] = b"ni1", offset
        (tmp_path / "a.hdr").write_bytes(block.binaryblock)
        with pytest.raises(InvalidCubeFileError, match="offset"):
            DicomCubeImage.from_nifti(tmp_path / "a.hdr")


def test_bytes_around_the_voxels_of_a_pair_are_counted(tmp_path: Path) -> None:
    array = samples((7, 6, 5), "i2")
    nib.Nifti1Pair(array, affine_of()).to_filename(tmp_path / "a.img")
    header = bytearray((tmp_path / "a.hdr").read_bytes())
    struct.pack_into("<f", header, 108, 16)
    (tmp_path / "a.hdr").write_bytes(header)
    (tmp_path / "a.img").write_bytes(bytes(16) + array.tobytes(order="F") + b"footer")
    with pytest.warns(UserWarning, match=r"a\.hdr: 22 bytes around the voxels are left out"):
        image = DicomCubeImage.from_nifti(tmp_path / "a.hdr")
    assert same(image.raw_image, as_dicube(array))


# ------------------------------------------------------------ bytes behind voxels, odd offsets


def with_offset(data: bytes, version: int, order: str, offset: float) -> bytes:
    """Return a file with another `vox_offset` in its header."""
    changed = bytearray(data)
    form, place = ("f", 108) if version == 1 else ("q", 168)
    struct.pack_into(order + form, changed, place, offset if version == 1 else int(offset))
    return bytes(changed)


def bare_header(array: NDArray[Any], version: int, order: str) -> bytes:
    """Return a header without extender and extensions."""
    data = nifti_bytes(array, version, order)
    return data[: 348 if version == 1 else 540]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".dcbs", ".dcba"])
@pytest.mark.parametrize(("version", "order"), [(1, "<"), (1, ">"), (2, "<"), (2, ">")])
@pytest.mark.parametrize("dtype", ["i2", "RGB"])
def test_bytes_behind_the_voxels_come_back(
    tmp_path: Path, dtype: str, version: int, order: str, extension: str
) -> None:
    data = nifti_bytes(samples((7, 6, 5), dtype), version, order) + b"footer"
    source = tmp_path / f"a{extension if extension.startswith('.nii') else '.nii'}"
    source.write_bytes(gzip.compress(data) if extension == ".nii.gz" else data)
    image = DicomCubeImage.from_nifti(source)
    if extension.startswith(".dcb"):
        image.to_file(tmp_path / f"b{extension}")
        image = pickle.loads(pickle.dumps(DicomCubeImage.from_file(tmp_path / f"b{extension}")))
    image.to_nifti(tmp_path / "c.nii")
    assert (tmp_path / "c.nii").read_bytes() == data


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("before", [4, 5, 9, 20, 21])
@pytest.mark.parametrize("stored", [None, 0, 1, -4, -3, -1, 0.5])
def test_offsets_come_back(tmp_path: Path, version: int, before: int, stored: float | None) -> None:
    """`stored` is None for the true offset, below 0 counted from the end of the extender."""
    array = samples((7, 6, 5), "i2")
    header = bare_header(array, version, "<")
    begin = len(header) + before
    if stored is not None and before != 4:
        begin = len(header) + 4  # only the least offset is left out by writers
    offset = begin if stored is None else stored if stored >= 0 else len(header) + 4 + stored
    filler = bytes([0, 1, 2, 3] * 6)[: begin - len(header)]
    data = with_offset(header, version, "<", offset) + filler + array.tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(data)
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert same(image.raw_image, as_dicube(array))
    image.to_file(tmp_path / "a.dcbs")
    again = DicomCubeImage.from_file(tmp_path / "a.dcbs")
    again.to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == data
    again.pixel_header.RescaleSlope = 2.0
    again.to_nifti(tmp_path / "c.nii")
    loaded = nib.load(tmp_path / "c.nii")
    assert same(np.asarray(loaded.dataobj.get_unscaled()), array)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("before", range(4))
def test_voxels_may_begin_within_the_extender(tmp_path: Path, version: int, before: int) -> None:
    array = samples((7, 6, 5), "i2")
    header = bare_header(array, version, "<")
    for stored in {len(header) + before, 0 if before == 0 else len(header) + before}:
        data = with_offset(header, version, "<", stored) + bytes(before) + array.tobytes(order="F")
        (tmp_path / "a.nii").write_bytes(data)
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
        assert same(image.raw_image, as_dicube(array))
        image.to_file(tmp_path / "a.dcba")
        again = DicomCubeImage.from_file(tmp_path / "a.dcba")
        again.to_nifti(tmp_path / "b.nii")
        assert (tmp_path / "b.nii").read_bytes() == data
        again.to_nifti(tmp_path / "c.nii", version=3 - version)
        assert same(np.asarray(nib.load(tmp_path / "c.nii").dataobj), array)


def test_an_uncertain_offset_is_reported(tmp_path: Path) -> None:
    data = with_offset(nifti_bytes(samples((7, 6, 5), "i2")), 1, "<", 348)
    (tmp_path / "a.nii").write_bytes(data + b"footer")
    with pytest.warns(UserWarning, match=r"a\.nii: vox_offset lies within the header"):
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == data + b"footer"


def test_bytes_behind_other_voxels_are_left_out(tmp_path: Path) -> None:
    data = nifti_bytes(samples((7, 6, 5), "i2"))
    (tmp_path / "a.nii").write_bytes(data + b"the old voxels")
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.raw_image[2, 3, 4] += 1
    for write in (
        lambda: image.to_nifti(tmp_path / "b.nii"),
        lambda: image.to_file(tmp_path / "b.dcbs"),
    ):
        with pytest.warns(UserWarning, match=r"the 14 bytes behind them .* are left out"):
            write()
    DicomCubeImage.from_file(tmp_path / "b.dcbs").to_nifti(tmp_path / "c.nii")
    assert (tmp_path / "c.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()
    assert len((tmp_path / "b.nii").read_bytes()) == len(data)


@pytest.mark.filterwarnings(SEVERAL_VOLUMES)
def test_bytes_behind_several_volumes_belong_to_none_of_them(tmp_path: Path) -> None:
    data = nifti_bytes(samples((7, 6, 5, 2), "i2"))
    (tmp_path / "a.nii").write_bytes(data + b"footer")
    for volume in DicomCubeImage.from_nifti(tmp_path / "a.nii").volumes():
        volume.to_nifti(tmp_path / "b.nii")
        assert not (tmp_path / "b.nii").read_bytes().endswith(b"footer")


def test_too_many_bytes_behind_the_voxels_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicube.nifti.nifti_file._MOST_KEPT", 1000)
    data = nifti_bytes(samples((7, 6, 5), "i2"))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data + bytes(1001)))
    with pytest.warns(UserWarning, match=r"a\.nii\.gz: 1001 bytes around the voxels are left out"):
        DicomCubeImage.from_nifti(tmp_path / "a.nii.gz").to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == data


@pytest.mark.parametrize("end", [b"\0" * 9, bytes(32)])
def test_damaged_end_section(tmp_path: Path, end: bytes) -> None:
    header = nifti_bytes(np.zeros((2, 2), "u1"))[:-4]
    with DcbWriter(tmp_path / "a.dcbs", (1, 2, 2), np.uint8) as writer:
        writer.write_section("nifti", zstandard.ZstdCompressor().compress(header))
        writer.write_section("nifti_end", zstandard.ZstdCompressor().compress(end))
        writer.write_frames(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(InvalidCubeFileError, match="section nifti_end: "):
        DicomCubeImage.from_file(tmp_path / "a.dcbs")


# ---------------------------------------------------------------------------------- geometry


def corners_by_nibabel(image: Any) -> NDArray[np.float64]:
    """Where nibabel has the corners of a volume, in LPS."""
    ends = np.array(np.meshgrid(*([0, n - 1] for n in image.shape[:3]))).reshape(3, -1).T
    found = nib.affines.apply_affine(image.affine, ends) * [-1, -1, 1]
    return np.asarray(found, np.float64)


def corners_by_space(space: Space) -> NDArray[np.float64]:
    """Where spacetransformer has them, of a Space in (z, y, x)."""
    ends = np.array(np.meshgrid(*([0, n - 1] for n in space.shape[::-1]))).reshape(3, -1).T
    return np.asarray(space.to_world_transform.apply_point(ends[:, ::-1]), np.float64)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_space_puts_corners_where_nibabel_does(tmp_path: Path, name: str) -> None:
    array = samples((7, 6, 5), "i2")
    (tmp_path / "a.nii").write_bytes(nifti_bytes(array, affine=affine_of(name)))
    source = nib.load(tmp_path / "a.nii")
    image = DicomCubeImage.from_nifti(source)
    assert image.space is not None
    assert image.space.shape == (5, 6, 7)
    assert np.allclose(corners_by_space(image.space), corners_by_nibabel(source), rtol=0, atol=1e-4)
    # From the space alone, and exactly: NIfTI-2 has 64 bits.
    bare = DicomCubeImage(image.raw_image, space=image.space)
    bare.to_nifti(tmp_path / "b.nii", version=2)
    again = nib.load(tmp_path / "b.nii")
    assert np.allclose(again.affine, source.affine, rtol=0, atol=1e-12)
    assert np.allclose(again.get_qform(), source.affine, rtol=0, atol=1e-5)
    assert same(np.asarray(again.dataobj), array)


@pytest.mark.parametrize("units", ["meter", "mm", "micron", "unknown"])
def test_space_is_in_millimetres(tmp_path: Path, units: str) -> None:
    data = nifti_bytes(samples((7, 6, 5), "i2"), edit=lambda h: h.set_xyzt_units(units))
    (tmp_path / "a.nii").write_bytes(data)
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert image.space is not None
    factor = {"meter": 1000, "micron": 0.001}.get(units, 1)
    assert np.allclose(image.space.spacing, np.array([3.25, 1.5, 0.75]) * factor)
    image.space = image.space.apply_swap(0, 1).apply_swap(0, 1)
    image.to_nifti(tmp_path / "b.nii")
    affines = [nib.load(tmp_path / name).affine for name in ("a.nii", "b.nii")]
    assert np.allclose(*affines, rtol=1e-6)


def test_sheared_affine_is_kept(tmp_path: Path) -> None:
    affine = affine_of() @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    data = nifti_bytes(samples((7, 6, 5), "i2"), affine=affine, edit=lambda h: h.set_qform(None, 0))
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.warns(UserWarning, match=r"a\.nii: space is None: .*ortho"):
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert image.space is None
    image.to_file(tmp_path / "a.dcbs")
    DicomCubeImage.from_file(tmp_path / "a.dcbs").to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == data
    with pytest.raises(DataConsistencyError, match="right angles"):
        image.init_meta()


def affine_from(path: Path) -> NDArray[np.float64]:
    return np.asarray(nib.load(path).affine, np.float64)


def test_changed_space_wins(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2")))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert image.space is not None
    permuted = image.space.apply_permute([2, 0, 1])  # leaves numpy's integers in the space
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.space = None
    image.raw_image = image.raw_image.transpose(2, 0, 1)
    image.space = permuted
    image.to_file(tmp_path / "a.dcbs")
    again = DicomCubeImage.from_file(tmp_path / "a.dcbs")
    again.to_nifti(tmp_path / "b.nii")
    written = nib.load(tmp_path / "b.nii")
    assert written.shape == (6, 5, 7)
    # The axes that were (x, y, z) are (z, x, y) now: (y, z, x) of the old file.
    assert np.allclose(written.affine[:3, :3], affine_of()[:3, [1, 2, 0]], atol=1e-5)
    assert np.allclose(written.affine, written.get_qform(), atol=1e-4)
    assert written.header.get_zooms() == pytest.approx((1.5, 3.25, 0.75))
    # Slices are others now: their times are gone, all else is there.
    assert written.header["slice_code"] == written.header["slice_duration"] == 0
    assert written.header["descrip"] == b"what it is"
    assert [e.get_code() for e in written.header.extensions] == [6, 44]


def test_flipped_space_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2"), affine=affine_of("RAS")))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert image.space is not None
    flipped = image.space.apply_flip(0)
    image.space = flipped
    image.to_file(tmp_path / "a.dcba")
    DicomCubeImage.from_file(tmp_path / "a.dcba").to_nifti(tmp_path / "b.nii")
    written = nib.load(tmp_path / "b.nii")
    assert written.affine[2, 2] == -3.25
    assert np.allclose(corners_by_nibabel(written), corners_by_space(flipped), rtol=0, atol=1e-4)


def test_removed_space_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2")))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.space = None
    with pytest.warns(UserWarning, match="has no voxel positions"):
        image.to_nifti(tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert header["sform_code"] == header["qform_code"] == 0
    assert not header["srow_x"].any() and header["qoffset_x"] == header["quatern_b"] == 0


def test_changed_pixels_and_rescale_win(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2"), slope=(0.1, -3.7)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.raw_image = samples((5, 6, 7), "f8")
    image.pixel_header.RescaleSlope, image.pixel_header.RescaleIntercept = 2.0, 0.5
    image.to_nifti(tmp_path / "b.nii")
    again = nib.load(tmp_path / "b.nii")
    assert same(np.asarray(again.dataobj.get_unscaled()), image.raw_image.T)
    assert (again.dataobj.slope, again.dataobj.inter) == (2.0, 0.5)
    assert np.array_equal(again.affine, nib.load(tmp_path / "a.nii").affine)
    for slope in (0.0, np.nan, 1e300):
        image.pixel_header.RescaleSlope = slope
        with pytest.raises(DataConsistencyError, match="can't store a rescale"):
            image.to_nifti(tmp_path / "c.nii")
    image.to_nifti(tmp_path / "c.nii", version=2) if slope == 1e300 else None
    assert nib.load(tmp_path / "c.nii").dataobj.slope == 1e300


def test_versions_convert(tmp_path: Path) -> None:
    array = samples((7, 6, 5), "i2")
    (tmp_path / "a.nii").write_bytes(nifti_bytes(array, 1, ">", slope=(0.1, -3.7)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.to_nifti(tmp_path / "b.nii", version=2)
    one, two = (nib.load(tmp_path / name) for name in ("a.nii", "b.nii"))
    assert isinstance(two, nib.Nifti2Image)
    assert np.array_equal(one.get_fdata(), two.get_fdata())
    assert np.array_equal(one.affine, two.affine)
    for name in ("descrip", "cal_max", "intent_name", "slice_code", "toffset", "xyzt_units"):
        assert one.header[name] == two.header[name]
    assert one.header.extensions == two.header.extensions
    DicomCubeImage.from_nifti(tmp_path / "b.nii").to_nifti(tmp_path / "c.nii", version=1)
    assert (tmp_path / "c.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()
    with pytest.raises(DataConsistencyError, match="version 1 or 2"):
        image.to_nifti(tmp_path / "d.nii", version=3)


def test_long_dimension_makes_nifti_2(tmp_path: Path) -> None:
    image = DicomCubeImage(np.zeros((1, 2, 40000), np.uint8), space=Space(shape=(1, 2, 40000)))
    image.to_nifti(tmp_path / "a.nii")
    assert isinstance(nib.load(tmp_path / "a.nii"), nib.Nifti2Image)
    with pytest.raises(DataConsistencyError):
        image.to_nifti(tmp_path / "b.nii", version=1)
    assert not (tmp_path / "b.nii").exists()


# ----------------------------------------------------------------------------- several volumes


def test_volumes(tmp_path: Path) -> None:
    array = samples((7, 6, 5, 2, 2), "i2")
    data = nifti_bytes(array, slope=(2, 1))
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.warns(UserWarning, match=r"space is None: 4 volumes of 5 slices: see volumes"):
        image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert image.shape == (20, 6, 7)
    image.to_file(tmp_path / "a.dcbs")
    volumes = DicomCubeImage.from_file(tmp_path / "a.dcbs").volumes()
    assert len(volumes) == 4
    for number, volume in enumerate(volumes):
        assert same(volume.raw_image, array[..., number % 2, number // 2].T)
        assert volume.space is not None
        assert np.allclose(
            corners_by_space(volume.space), corners_by_nibabel(nib.load(tmp_path / "a.nii")), 1e-6
        )
        volume.to_nifti(tmp_path / "v.nii")
        alone = nib.load(tmp_path / "v.nii")
        assert alone.shape == (7, 6, 5)
        assert np.array_equal(alone.affine, affine_from(tmp_path / "a.nii"))
        assert alone.dataobj.slope == 2
        assert [one.shape for one in volume.volumes()] == [(5, 6, 7)]


# ---------------------------------------------------------------------------------- bad files


def bad_files() -> dict[str, tuple[bytes, str]]:
    good = nifti_bytes(samples((7, 6, 5), "i2"))
    two = nifti_bytes(samples((7, 6, 5), "i2"), 2)

    def patched(data: bytes, place: int, form: str, *values: Any) -> bytes:
        changed = bytearray(data)
        struct.pack_into(form, changed, place, *values)
        return bytes(changed)

    return {
        "empty": (b"", "not a NIfTI file"),
        "text": (b"hello, world" * 50, "not a NIfTI file"),
        "magic": (patched(good, 344, "4s", b"abc"), "magic"),
        "analyze": (patched(good, 344, "4s", b""), "magic"),
        "pair": (patched(good, 344, "4s", b"ni1"), "pair"),
        "header cut": (good[:300], "not a NIfTI|truncated"),
        "header of 2 cut": (two[:500], "truncated"),
        "extensions cut": (good[:380], "truncated"),
        "voxels cut": (good[:-1], "truncated"),
        "voxels of 2 cut": (two[:-1], "truncated"),
        "no voxels": (good[:352], "truncated"),
        "offset nan": (patched(good, 108, "<f", np.nan), "offset"),
        "offset negative": (patched(good, 108, "<f", -5), "offset"),
        "offset far": (patched(good, 108, "<f", 3e38), "offset"),
        "offset of 2 far": (patched(two, 168, "<q", 1 << 62), "offset"),
        "dims huge": (patched(good, 40, "<8h", 7, *[32767] * 7), "truncated"),
        "dims of 2 huge": (patched(two, 16, "<8q", 7, *[1 << 62] * 7), "truncated"),
        "dims zero": (patched(good, 42, "<3h", 0, 6, 5), "shape"),
        "dims negative": (patched(good, 42, "<3h", 7, -6, 5), "shape"),
        "dims all negative": (patched(good, 42, "<3h", -7, -6, 5), "shape"),
        "no dims": (patched(good, 40, "<h", 0), "shape"),
        "too many dims": (patched(good, 40, "<h", 8), "shape"),
        "freesurfer": (patched(good, 40, "<4h", 3, -1, 1, 1), "dim|truncated"),
        "datatype": (patched(good, 70, "<h", 77), "NIfTI"),
        "binary": (patched(good, 70, "<h", 1), "."),
        "intercept": (patched(good, 112, "<2f", 1, np.inf), "intercept"),
        "gzip of nothing": (gzip.compress(b""), "not a NIfTI file"),
        "gzip cut": (gzip.compress(good)[:-30], "gzip"),
        "gzip checksum": (gzip.compress(good)[:-8] + bytes(8), "gzip"),
        "gzip damaged": (gzip.compress(good)[:40] + b"\xff" * 400, "gzip"),
        "gzip bomb": (gzip.compress(patched(good, 40, "<8h", 7, *[32767] * 7)), "truncated"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_bad_file(tmp_path: Path, name: str) -> None:
    data, message = bad_files()[name]
    (tmp_path / "bad.nii").write_bytes(data)
    with pytest.raises((InvalidCubeFileError, DataConsistencyError), match=message) as caught:
        DicomCubeImage.from_nifti(tmp_path / "bad.nii")
    assert "bad.nii" in caught.value.message


@pytest.mark.skipif(sys.platform == "win32", reason="it has other kinds of files")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.img"])
def test_other_than_regular_files(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    if name == "a.img":
        nib.Nifti1Pair(samples((7, 6, 5), "i2"), affine_of()).to_filename(tmp_path / "b.img")
        (tmp_path / "b.hdr").rename(tmp_path / "a.hdr")
    with pytest.raises(CubeFileAccessError, match="not a regular file"):
        DicomCubeImage.from_nifti(tmp_path / name)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit has no effect")
def test_more_voxels_than_memory(tmp_path: Path) -> None:
    """A sparse file that really has them."""
    data = bytearray(nifti_bytes(np.zeros((2, 2), "u1")))
    struct.pack_into("<4h", data, 40, 3, 30_000, 30_000, 4)
    (tmp_path / "a.nii").write_bytes(data)
    os.truncate(tmp_path / "a.nii", len(data) + 3_600_000_000)
    script = """
import resource, sys
from dicube import DicomCubeImage
from dicube.exceptions import OutOfMemoryError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2)
try:
    DicomCubeImage.from_nifti(sys.argv[1])
except OutOfMemoryError as error:
    print("refused:", error.message)
"""
    assert "a.nii: an array of 3600000000" in run_python("-c", script, tmp_path / "a.nii").stdout


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    good = nifti_bytes(samples((7, 6, 5), "i2"))
    random = np.random.default_rng(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in range(352):
            changed = bytearray(good)
            changed[place] ^= int(random.integers(1, 256))
            (tmp_path / "a.nii").write_bytes(changed)
            try:
                image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
                image.to_nifti(tmp_path / "b.nii")
            except DicomCubeError:
                continue
            assert (tmp_path / "b.nii").read_bytes() == changed


@pytest.mark.parametrize("header", [b"", b"no header", nifti_bytes(np.zeros((2, 2), "u1"))[:90]])
def test_damaged_section(tmp_path: Path, header: bytes) -> None:
    with DcbWriter(tmp_path / "a.dcbs", (1, 2, 2), np.uint8) as writer:
        writer.write_section("nifti", zstandard.ZstdCompressor().compress(header))
        writer.write_frames(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(InvalidCubeFileError, match="section nifti: "):
        DicomCubeImage.from_file(tmp_path / "a.dcbs")


def test_section_of_another_volume_says_nothing_of_its_shape(tmp_path: Path) -> None:
    header = nifti_bytes(np.zeros((7, 6, 5, 4), "u1"))[: -7 * 6 * 5 * 4]
    with DcbWriter(tmp_path / "a.dcbs", (1, 2, 2), np.uint8) as writer:
        writer.write_section("nifti", zstandard.ZstdCompressor().compress(header))
        writer.write_frames(np.zeros((1, 2, 2), np.uint8))
    image = DicomCubeImage.from_file(tmp_path / "a.dcbs")
    assert len(image.volumes()) == 1
    with pytest.warns(UserWarning, match="has no voxel positions"):
        image.to_nifti(tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").shape == (2, 2, 1)


@pytest.mark.parametrize(
    "dtype", ["c8", "c16", [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]]
)
def test_types_that_cannot_be_stored_are_refused(tmp_path: Path, dtype: Any) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(np.zeros((3, 4, 5), dtype)))
    with pytest.raises(DataConsistencyError, match=r"a\.nii: voxels of type (RGBA|complex)"):
        DicomCubeImage.from_nifti(tmp_path / "a.nii")
    with pytest.raises(DataConsistencyError, match="voxels of type"):
        DicomCubeImage.from_nifti(nib.load(tmp_path / "a.nii"))


def test_other_images_are_refused(tmp_path: Path) -> None:
    for other in (nib.MGHImage(np.zeros((3, 4, 5), "f4"), np.eye(4)), 17, None):
        with pytest.raises(DataConsistencyError, match="expected a path or a NIfTI image"):
            DicomCubeImage.from_nifti(other)


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError):
        DicomCubeImage.from_nifti(tmp_path / "missing.nii")
    with pytest.raises(CubeFileAccessError):
        DicomCubeImage.from_nifti(tmp_path)
    image = DicomCubeImage(np.zeros((1, 2, 3), np.uint8), space=Space(shape=(1, 2, 3)))
    with pytest.raises(DataConsistencyError, match=r"\.nii or \.nii\.gz"):
        image.to_nifti(tmp_path / "a.dcbs")
    with pytest.raises(CubeFileNotFoundError):
        image.to_nifti(tmp_path / "no" / "a.nii")
    (tmp_path / "a.nii").write_bytes(b"before")
    image.pixel_header.RescaleSlope = 0
    with pytest.raises(DataConsistencyError):
        image.to_nifti(tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_without_nibabel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2")))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.to_file(tmp_path / "a.dcbs")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingPackageError, match=r"nibabel") as caught:
        DicomCubeImage.from_nifti(tmp_path / "a.nii")
    assert isinstance(caught.value, ImportError)
    assert "dicube[nifti]" in str(caught.value)
    again = DicomCubeImage.from_file(tmp_path / "a.dcbs")  # needs no nibabel
    assert [volume.shape for volume in again.volumes()] == [(5, 6, 7)]
    again.to_file(tmp_path / "b.dcba")
    again.init_meta("MR")
    again.to_dicom_folder(tmp_path / "dicom")
    with pytest.raises(MissingPackageError):
        again.to_nifti(tmp_path / "b.nii")
    monkeypatch.undo()
    DicomCubeImage.from_file(tmp_path / "b.dcba").to_nifti(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()


# --------------------------------------------------------------------------- images not of NIfTI


@pytest.mark.parametrize("dtype", ["<f2", ">f2"])
def test_samples_of_16_bit_floating_point_are_widened(dtype: str, tmp_path: Path) -> None:
    array = np.linspace(-3, 3, 60).astype(dtype).reshape(3, 4, 5)
    DicomCubeImage(array, space=Space(shape=(3, 4, 5))).to_nifti(tmp_path / "a.nii")
    again = nib.load(tmp_path / "a.nii")
    assert again.get_data_dtype() == np.float32
    assert np.array_equal(np.asarray(again.dataobj), array.T)


def test_colours_of_other_than_bytes_are_refused(tmp_path: Path) -> None:
    image = DicomCubeImage(np.zeros((2, 3, 4, 3), np.uint16), space=Space(shape=(2, 3, 4)))
    with pytest.raises(DataConsistencyError, match="colour of uint8 only"):
        image.to_nifti(tmp_path / "a.nii")


def test_plain_image_says_what_it_is(tmp_path: Path) -> None:
    space = Space(shape=(2, 3, 4), spacing=(3, 2, 1), origin=(5, 6, 7))
    DicomCubeImage(np.zeros((2, 3, 4), np.int16), space=space).to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert written.header.get_xyzt_units()[0] == "mm"
    assert (written.header["sform_code"], written.header["qform_code"]) == (1, 1)
    assert struct.unpack_from("<2f", (tmp_path / "a.nii").read_bytes(), 112) == (1, 0)
    assert written.header.get_zooms() == (1, 2, 3)
    grid = grid_of_space(space)
    assert np.array_equal(written.affine[:3, 3], grid.origin * [-1, -1, 1])
