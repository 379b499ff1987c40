"""Datasets of PyTorch give the values, places and labels that cubes have."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import write_arranged
from inputs.dicom_series import without_pixels, write_series
from inputs.http_server import FileServer
from inputs.placed_series import write_placed
from inputs.training import (
    UNKNOWN,
    colours,
    image_of,
    labels,
    library,
    placed_pair,
    write_labels,
)
from numpy.typing import NDArray
from programs.running import run_python
from pydicom.uid import BasicTextSRStorage

import dicube
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError

torch = library("torch")
loading = library("torch.utils.data")
datasets = library("dicube.integrations.torch")

pytest.importorskip("nibabel")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SHAPES = ((6, 40, 50), (9, 30, 20))


def ramp(shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a volume that is linear along each axis."""
    z, y, x = np.indices(shape)
    return (100 * z + 7 * y - 3 * x).astype(np.int16)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two volumes."""
    made = []
    for number, shape in enumerate(SHAPES):
        made.append(tmp_path / f"{number}.dcbs")
        image_of(ramp(shape)).to_file(made[-1])
    return made


@pytest.fixture
def masks(tmp_path: Path) -> list[Path]:
    """Their masks: one voxel of label 1, and some of label 700."""
    made = []
    for number, shape in enumerate(SHAPES):
        array = np.zeros(shape, np.uint16)
        array[2, 3, 4] = 1
        array[4, 20:24, 10:14] = 700
        made.append(write_labels(tmp_path / f"mask{number}.dcbs", array))
    return made


def assert_is_part(sample: dict[str, Any], cube: dicube.Cube) -> None:
    """The image of a sample is the part of a volume where `start` and `affine` say."""
    z, y, x = sample["meta"]["start"]
    image = sample["image"]
    assert image.dtype == torch.float32
    depth, height, width = image.shape[-3:] if image.ndim == 4 else (1, *image.shape[-2:])
    part = cube.get_fdata(np.s_[z : z + depth, y : y + height, x : x + width])
    assert np.array_equal(image.reshape(part.shape), part)
    last = (width - 1, height - 1, depth - 1, 1)
    found = sample["affine"] @ torch.tensor(last, dtype=torch.float64)
    assert np.allclose(found, cube.affine @ (x + last[0], y + last[1], z + last[2], 1))


def equal(one: Any, other: Any) -> bool:
    """Return whether two samples are the same."""
    return one["meta"] == other["meta"] and all(
        torch.equal(one[key], other[key]) for key in one if key != "meta"
    )


def of_batches(loader: Any) -> Iterator[Any]:
    """Yield the samples of a loader whose batches have one each."""
    for batch in loader:
        (sample,) = batch
        yield sample


def loader_of(dataset: Any, workers: int, **options: Any) -> Any:
    return loading.DataLoader(
        dataset, batch_size=1, num_workers=workers, collate_fn=list, **options
    )


# -------------------------------------------------------------------------------------- slices


def test_slices_are_those_of_all_volumes(paths: list[Path], masks: list[Path]) -> None:
    slices = datasets.SliceDataset(paths, masks=masks)
    assert len(slices) == 15
    for index, (volume, number) in enumerate(
        [*[(0, n) for n in range(6)], *[(1, n) for n in range(9)]]
    ):
        sample = slices[index]
        cube = dicube.open(paths[volume])
        assert sample["image"].shape == (1, *cube.shape[1:])
        assert_is_part(sample, cube)
        assert sample["mask"].dtype == torch.uint16
        assert np.array_equal(sample["mask"][0], dicube.open(masks[volume])[number])
        assert sample["meta"]["path"] == str(paths[volume])
        assert sample["meta"]["spacing"] == (2.5, 0.5, 0.75)
    assert equal(slices[-1], slices[14])
    for index in (15, -16):
        with pytest.raises(IndexError):
            slices[index]


def test_slices_of_dicom_are_in_hounsfield_units(tmp_path: Path) -> None:
    path = placed_pair(tmp_path, "oblique", PatientID="4711").dcbs
    slices = datasets.SliceDataset(path, elements=["PatientID", "InstanceNumber", "StudyID"])
    assert [s["meta"]["InstanceNumber"] for s in slices] == [1, 2, 3, 4, 5]
    for sample in slices:
        assert_is_part(sample, dicube.open(path))
        assert sample["meta"]["PatientID"] == "4711"
        assert sample["meta"]["StudyID"] == ""
    assert slices[0]["image"].min() == -1024


def test_slices_of_colours(tmp_path: Path) -> None:
    path = colours(tmp_path)
    sample = datasets.SliceDataset([path])[1]
    assert np.array_equal(sample["image"], np.moveaxis(dicube.open(path)[1], -1, 0))
    assert sample["affine"].isnan().all()


def test_an_unknown_position_is_nan(tmp_path: Path) -> None:
    sample = datasets.SliceDataset([placed_pair(tmp_path, **UNKNOWN).dcbs])[1]
    assert sample["affine"].isnan().all()
    assert np.isnan(sample["meta"]["spacing"]).all()


def test_batches_are_stacked_by_default(paths: list[Path], masks: list[Path]) -> None:
    patches = datasets.PatchDataset(paths, (2, 8, 8), masks=masks, samples_per_volume=2)
    (batch,) = loading.DataLoader(patches, batch_size=4)
    assert batch["image"].shape == batch["mask"].shape == (4, 1, 2, 8, 8)
    assert batch["affine"].shape == (4, 4, 4)
    assert batch["meta"]["volume"].tolist() == [0, 0, 1, 1]


def test_a_transform_gets_the_sample(paths: list[Path]) -> None:
    slices = datasets.SliceDataset(paths, transform=lambda sample: sample["image"].mean())
    assert slices[3] == dicube.open(paths[0])[3].mean(dtype=np.float64)


# ------------------------------------------------------------------------------------- patches


def test_patches_are_parts_of_their_volumes(paths: list[Path]) -> None:
    patches = datasets.PatchDataset(paths, (3, 16, 8), samples_per_volume=20, seed=3)
    assert len(patches) == 40
    starts = []
    for index in range(40):
        sample = patches[index]
        assert sample["image"].shape == (1, 3, 16, 8)
        assert_is_part(sample, dicube.open(paths[index // 20]))
        starts.append(sample["meta"]["start"])
    of_first = np.array(starts[:20])
    assert (of_first.min(0) >= 0).all()
    assert (of_first.max(0) <= np.array(SHAPES[0]) - (3, 16, 8)).all()
    assert (np.ptp(of_first, axis=0) > 0).all()


@pytest.mark.parametrize(
    ("name", "found"), [("times", "found 2"), ("volumes", "found 3"), ("mosaics", "3 mosaics")]
)
def test_patches_never_go_from_one_volume_into_another(
    tmp_path: Path, name: str, found: str
) -> None:
    path, _ = write_arranged(tmp_path, name)
    with pytest.raises(DataConsistencyError, match=f"{path.name}: expected .*{found}"):
        datasets.PatchDataset(path, (2, 2, 2))[0]
    assert datasets.SliceDataset(path)[0]["image"].ndim == 3


def test_both_ends_of_a_volume_are_reached(paths: list[Path]) -> None:
    patches = datasets.PatchDataset(paths[:1], (5, 39, 49), samples_per_volume=40)
    assert {patches[index]["meta"]["start"] for index in range(40)} == {
        (z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)
    }


def test_patches_depend_on_seed_epoch_and_index_only(paths: list[Path]) -> None:
    def starts(patches: Any, *indices: int) -> list[Any]:
        return [patches[index]["meta"]["start"] for index in indices]

    one = datasets.PatchDataset(paths, (2, 5, 5), samples_per_volume=8, seed=1)
    first = starts(one, *range(16))
    assert starts(one, *reversed(range(16))) == first[::-1]
    assert len(set(first)) > 12
    again = pickle.loads(pickle.dumps(one))
    assert starts(again, *range(16)) == first
    other = datasets.PatchDataset(paths, (2, 5, 5), samples_per_volume=8, seed=2)
    assert starts(other, *range(16)) != first
    one.set_epoch(1)
    assert starts(one, *range(16)) != first
    one.set_epoch(0)
    assert starts(one, *range(16)) == first


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_make_the_same_samples(paths: list[Path], masks: list[Path], context: str) -> None:
    patches = datasets.PatchDataset(
        paths, (2, 8, 8), samples_per_volume=4, seed=5, masks=masks, in_mask=0.5
    )
    alone = [patches[index] for index in range(8)]  # opens the files before the workers fork
    found = list(of_batches(loader_of(patches, 2, multiprocessing_context=context)))
    assert len(found) == 8
    assert all(map(equal, found, alone))


def test_workers_that_live_on_see_the_next_epoch(paths: list[Path]) -> None:
    patches = datasets.PatchDataset(paths, (2, 8, 8), samples_per_volume=4)
    loader = loader_of(patches, 2, persistent_workers=True)
    first = [sample["meta"]["start"] for sample in of_batches(loader)]
    patches.set_epoch(1)
    second = [sample["meta"]["start"] for sample in of_batches(loader)]
    assert second != first
    assert second == [patches[index]["meta"]["start"] for index in range(8)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_has_each_sample_once(paths: list[Path], workers: int) -> None:
    patches = datasets.PatchDataset([*paths, *paths, paths[0]], (2, 8, 8), samples_per_volume=3)
    alone = list(patches.stream())
    found = list(of_batches(loader_of(patches.stream(), workers)))
    assert len(patches.stream()) == len(alone) == len(found) == 15

    def keys(samples: list[Any]) -> list[Any]:
        return [(sample["meta"]["volume"], sample["meta"]["start"]) for sample in samples]

    in_order = keys([patches[index] for index in range(15)])
    assert sorted(keys(found)) == sorted(keys(alone)) == sorted(in_order)
    assert keys(list(patches.stream(shuffle=False))) == in_order
    assert keys(alone) != in_order
    volumes = [volume for volume, _ in keys(alone)]
    assert volumes == [volume for volume in volumes[::3] for _ in range(3)]
    patches.set_epoch(1)
    assert [volume for volume, _ in keys(list(patches.stream()))] != volumes


def test_small_volumes_are_padded(paths: list[Path], masks: list[Path]) -> None:
    for fill, expected in ((None, dicube.open(paths[0])[...].min()), (-9000, -9000)):
        patches = datasets.PatchDataset(
            paths[:1], (9, 8, 60), masks=masks[:1], fill=fill, in_mask=1
        )
        sample = patches[0]
        z, y, x = sample["meta"]["start"]
        assert (z, x) == (-2, -5)
        assert sample["image"].shape == sample["mask"].shape == (1, 9, 8, 60)
        inside = sample["image"][0, 2:8, :, 5:55]
        assert np.array_equal(inside, dicube.open(paths[0])[:, y : y + 8])
        outside = [sample["image"][0, :2], sample["image"][0, 8:], sample["image"][0, :, :, :5]]
        if fill is not None:
            assert all((part == expected).all() for part in outside)
        else:
            assert all((part == inside.min()).all() for part in outside)
        assert np.array_equal(sample["mask"][0, 2:8, :, 5:55], dicube.open(masks[0])[:, y : y + 8])
        assert not sample["mask"][0, :2].any()


# --------------------------------------------------------------------------------------- masks


def test_patches_are_placed_around_labels(paths: list[Path], masks: list[Path]) -> None:
    patches = datasets.PatchDataset(paths, (3, 9, 9), masks=masks, samples_per_volume=30, seed=1)
    centres = []
    for index in range(60):
        sample = patches[index]
        z, y, x = sample["meta"]["start"]
        mask = dicube.open(masks[index // 30])
        assert np.array_equal(sample["mask"][0], mask[z : z + 3, y : y + 9, x : x + 9])
        centres.append(int(sample["mask"][0, 1, 4, 4]))
        # That of label 1 is so near to the border that a patch can't have it in the middle.
        assert centres[-1] == 700 or (z, y, x) == (1, 0, 0)
    of_one = sum(centre != 700 for centre in centres)
    assert 15 < of_one < 45


def test_a_share_of_patches_is_placed_anywhere(paths: list[Path], masks: list[Path]) -> None:
    def share(in_mask: float) -> float:
        patches = datasets.PatchDataset(
            paths[:1], (1, 3, 3), masks=masks[:1], in_mask=in_mask, samples_per_volume=60
        )
        return sum(bool(patches[index]["mask"].any()) for index in range(60)) / 60

    assert share(1) == 1
    assert 0.3 < share(0.5) < 0.7
    assert share(0) < 0.2


def test_an_empty_mask_places_patches_anywhere(paths: list[Path], tmp_path: Path) -> None:
    empty = write_labels(tmp_path / "empty.dcbs", np.zeros(SHAPES[0], np.uint8))
    patches = datasets.PatchDataset(paths[0], (2, 4, 4), masks=empty, samples_per_volume=9)
    assert len({patches[index]["meta"]["start"] for index in range(9)}) > 5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_labels_keep_their_type_and_value(tmp_path: Path, dtype: str) -> None:
    array = labels((4, 6, 8), dtype)
    mask = write_labels(tmp_path / "mask.dcbs", array)
    image_of(ramp((4, 6, 8))).to_file(tmp_path / "a.dcbs")
    for spacing in (None, (2.5, 0.5, 0.75)):
        patches = datasets.PatchDataset(tmp_path / "a.dcbs", (4, 6, 8), spacing, masks=mask)
        found = patches[0]["mask"]
        assert found.dtype == getattr(torch, dtype)
        assert np.array_equal(found[0], array)
    found = datasets.SliceDataset(tmp_path / "a.dcbs", masks=[mask])[2]["mask"]
    assert np.array_equal(found[0].numpy(), array[2])


def test_what_is_no_mask_is_an_error(paths: list[Path], tmp_path: Path) -> None:
    image_of(np.zeros(SHAPES[0], np.float32)).to_file(tmp_path / "float.dcbs")
    write_labels(tmp_path / "small.dcbs", np.ones((2, 3, 4), np.uint8))
    scaled = image_of(np.ones(SHAPES[0], np.uint8))
    scaled.pixel_header.RescaleSlope = 0.5
    scaled.to_file(tmp_path / "scaled.dcbs")
    for name, text in (("float", "of integers"), ("small", "of shape"), ("scaled", "a rescale")):
        mask = tmp_path / f"{name}.dcbs"
        for dataset in (
            datasets.SliceDataset(paths[0], masks=mask),
            datasets.PatchDataset(paths[0], (1, 2, 2), masks=mask),
        ):
            with pytest.raises(DataConsistencyError, match=text):
                dataset[0]
    with pytest.raises(DataConsistencyError, match="a mask for each of 2 volumes, found 1"):
        datasets.SliceDataset(paths, masks=tmp_path / "small.dcbs")


# ------------------------------------------------------------------------------------- spacing


@pytest.mark.parametrize("spacing", [0.4, (1.0, 1.0, 1.0), (5.0, 0.5, 0.75), (2.5, 0.8, 0.9)])
def test_patches_are_resampled(paths: list[Path], spacing: Any) -> None:
    patches = datasets.PatchDataset(paths, (3, 9, 7), spacing, samples_per_volume=5, seed=2)
    for index in range(10):
        sample = patches[index]
        assert sample["meta"]["spacing"] == pytest.approx(np.broadcast_to(spacing, 3).tolist())
        steps = np.broadcast_to(spacing, 3) / (2.5, 0.5, 0.75)
        start = np.array(sample["meta"]["start"])
        z, y, x = start[:, None, None, None] + np.indices((3, 9, 7)) * steps[:, None, None, None]
        assert np.allclose(sample["image"][0], 100 * z + 7 * y - 3 * x, atol=1e-3)
        cube = dicube.open(paths[index // 5])
        far = cube.affine @ (x[2, 8, 6], y[2, 8, 6], z[2, 8, 6], 1)
        assert np.allclose(sample["affine"] @ torch.tensor([6, 8, 2, 1.0]).double(), far)


def test_labels_are_those_of_the_nearest_voxels(paths: list[Path], tmp_path: Path) -> None:
    array = np.arange(np.prod(SHAPES[0]), dtype=np.uint16).reshape(SHAPES[0])
    mask = write_labels(tmp_path / "mask.dcbs", array)
    patches = datasets.PatchDataset(paths[0], (3, 9, 7), (1.7, 0.4, 1.2), masks=mask, in_mask=0)
    sample = patches[0]
    steps = np.array((1.7, 0.4, 1.2)) / (2.5, 0.5, 0.75)
    z, y, x = (
        first + np.rint(np.arange(size) * step).astype(int)
        for first, size, step in zip(sample["meta"]["start"], (3, 9, 7), steps, strict=True)
    )
    assert np.array_equal(sample["mask"][0], array[np.ix_(z, y, x)])


def test_coarse_patches_are_read_at_a_level(
    paths: list[Path], masks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    at_level = dicube.Cube.at_level
    monkeypatch.setattr(
        dicube.Cube,
        "at_level",
        lambda cube, level: (levels.append(level), at_level(cube, level))[1],
    )
    patches = datasets.PatchDataset(
        paths, (3, 7, 5), (2.5, 2.0, 3.0), masks=masks, samples_per_volume=6, seed=1
    )
    for index in range(12):
        sample = patches[index]
        z, y, x = np.indices((3, 7, 5)) * np.array([1, 4, 4])[:, None, None, None]
        z, y, x = (
            axis + first for axis, first in zip((z, y, x), sample["meta"]["start"], strict=True)
        )
        # Low-pass filters keep lines, except near the border, and round.
        assert np.allclose(sample["image"][0], 100 * z + 7 * y - 3 * x, atol=30)
        assert np.abs(sample["image"][0] - (100 * z + 7 * y - 3 * x)).median() < 3
        mask = dicube.open(masks[index // 6])
        assert np.array_equal(sample["mask"][0], mask[...][z, y, x])
    assert set(levels) == {2}


def test_datasets_of_a_level(paths: list[Path], masks: list[Path]) -> None:
    low = [dicube.open(path, level=1) for path in paths]
    for sample in datasets.SliceDataset(paths, level=1):
        assert_is_part(sample, low[sample["meta"]["volume"]])
    for sample in datasets.PatchDataset(paths, (2, 5, 5), samples_per_volume=4, level=1):
        assert_is_part(sample, low[sample["meta"]["volume"]])
    sample = datasets.PatchDataset(paths[0], (2, 7, 9), (2.5, 2.0, 3.0), level=1)[0]
    z, y, x = np.indices((2, 7, 9)) * np.array([1, 2, 2])[:, None, None, None]
    z, y, x = (axis + first for axis, first in zip((z, y, x), sample["meta"]["start"], strict=True))
    assert np.abs(sample["image"][0] - (100 * z + 14 * y - 6 * x)).median() < 3
    with pytest.raises(DataConsistencyError, match="a mask of shape"):
        datasets.SliceDataset(paths, masks=masks, level=1)[0]


def test_a_whole_volume_at_another_spacing_needs_no_padding(paths: list[Path]) -> None:
    patches = datasets.PatchDataset(paths[:1], (6, 20, 25), (2.5, 1.0, 1.5), fill=-9000)
    sample = patches[0]
    assert min(sample["meta"]["start"]) >= 0
    assert sample["image"].min() > -300


def test_a_spacing_needs_that_of_the_volume(tmp_path: Path) -> None:
    path = placed_pair(tmp_path, **UNKNOWN).dcbs
    assert datasets.PatchDataset(path, (2, 2, 2))[0]["affine"].isnan().all()
    with pytest.raises(DataConsistencyError, match="which is unknown: "):
        datasets.PatchDataset(path, (2, 2, 2), 1.0)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"size": (1, 2)},
        {"size": (1, 2, 0)},
        {"size": (1, 2, 2.5)},
        {"samples_per_volume": 0},
        {"spacing": 0.0},
        {"spacing": (1, -1, 1)},
        {"spacing": (1, 2)},
        {"in_mask": 1.5},
    ],
)
def test_invalid_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(DataConsistencyError, match=next(iter(options))):
        datasets.PatchDataset([], **{"size": (1, 2, 2), **options})


# --------------------------------------------------------------------------------------- files


def test_files_need_no_sqlalchemy() -> None:
    code = "import sys; sys.modules['sqlalchemy'] = None; import dicube.integrations.torch"
    assert run_python("-c", code).returncode == 0


def test_an_archive_and_its_series(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    for number, name in enumerate(("axial", "coronal")):
        uids = {"SeriesInstanceUID": f"1.2.{number}", "StudyInstanceUID": "1.2"}
        write_placed(tmp_path / "in" / name, name, PatientID=name, **uids)
    report = without_pixels(BasicTextSRStorage, 1, "1.2.9")  # a file without frames
    write_series(tmp_path / "in" / "report", [report])
    archive = dicube.Archive(tmp_path / "archive")
    assert archive.add(tmp_path / "in", workers=1).counts == {"added": 3}
    slices = datasets.SliceDataset(archive, elements=["PatientID"])
    assert len(slices) == 10
    assert {sample["meta"]["PatientID"] for sample in slices} == {"axial", "coronal"}
    (series,) = archive.series(patient="coronal")
    for given in (series, [series]):
        patches = datasets.PatchDataset(given, (2, 3, 4), samples_per_volume=3)
        assert len(patches) == 3
        for sample in of_batches(loader_of(patches, 2)):
            assert_is_part(sample, dicube.open(series.path))


def test_urls(paths: list[Path]) -> None:
    pytest.importorskip("aiohttp")
    server = FileServer()
    try:
        urls = [server.add(path.name, path.read_bytes()) for path in paths]
        remote = datasets.PatchDataset(urls, (2, 8, 8), samples_per_volume=3)
        local = datasets.PatchDataset(paths, (2, 8, 8), samples_per_volume=3)
        remote[0]  # the workers then have an open connection, which they must not use
        for index, sample in enumerate(of_batches(loader_of(remote, 2))):
            assert torch.equal(sample["image"], local[index]["image"])
            assert sample["meta"]["path"] == urls[index // 3]
    finally:
        server.close()


def test_few_files_stay_open(paths: list[Path]) -> None:
    slices = datasets.SliceDataset(paths * 30)
    first = slices._images[0]
    for number in range(1, 60):
        assert not slices._images[number].closed
    assert slices._images[0] is not first


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidCubeFileError):
        datasets.SliceDataset(tmp_path / "none.dcbs")
    with pytest.raises(InvalidCubeFileError):
        datasets.PatchDataset(tmp_path / "none.dcbs", (1, 1, 1))[0]
