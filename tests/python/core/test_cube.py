"""Cube: indexes like the numpy volume, and decodes no more frames than needed."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from inputs.arrays import SmoothVolume
from programs.running import run_python

import dicube
from dicube import Cube, DicomCubeImage, PixelDataHeader
from dicube.dicom.series.geometry import Space
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
)
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.frame_cache import FrameCache
from dicube.storage.frame_index import frame_index

SPACE = Space(shape=(9, 21, 34), origin=(-5.0, 3.0, 8.0), spacing=(2.5, 0.7, 0.6))


@pytest.fixture(scope="module")
def volume(smooth_volume: SmoothVolume) -> np.ndarray[Any, Any]:
    return smooth_volume((9, 21, 34), "int16")


@pytest.fixture(scope="module")
def path(volume: np.ndarray[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "x.dcbs"
    header = PixelDataHeader(RescaleSlope=2.0, RescaleIntercept=-1000.0)
    DicomCubeImage(volume, header, space=SPACE).to_file(path)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the frames decoded so far."""
    numbers: list[int] = []
    read = DcbReader.read_frame_list

    def recorded(self: DcbReader, frames: Sequence[int], **options: Any) -> Any:
        numbers.extend(frames)
        return read(self, frames, **options)

    monkeypatch.setattr(DcbReader, "read_frame_list", recorded)
    return numbers


# ------------------------------------------------------------------------------- as numpy has it

_numbers = st.integers(-10, 10)
_near = st.integers(-3, 2)
_steps = st.none() | st.integers(-4, 4).filter(bool)
_ends = st.none() | _numbers


def items(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """One item of an index: what numpy takes, and what it doesn't."""
    leading = [shape[:axes] for axes in range(len(shape) + 1)]
    inner = [shape[1:axes] for axes in range(2, len(shape) + 1)]
    return st.one_of(
        _near,
        _numbers,
        st.builds(np.int16, _near),
        st.builds(np.array, _near),
        st.sampled_from([None, Ellipsis, slice(None), True, False, np.True_]),
        st.builds(slice, _ends, _ends, _steps),
        st.lists(_near, max_size=4),
        st.lists(st.lists(_near, min_size=2, max_size=2), max_size=3),
        hnp.arrays(bool, st.sampled_from(leading + inner)),
        hnp.arrays(
            st.sampled_from(["i1", "u8"]),
            hnp.array_shapes(max_dims=2, max_side=3),
            elements=st.integers(0, 2),
        ),
        st.sampled_from(["x", 1.0, [1.5], (), [], range(2), [True, False], (0, 1), object()]),
    )


def check_index(cube: Any, volume: np.ndarray[Any, Any], index: Any) -> None:
    try:
        expected = volume[index]
    except Exception as error:
        with pytest.raises(type(error)) as raised:
            cube[index]
        assert str(raised.value) == str(error)
        return
    found = cube[index]
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)
    out = np.full(expected.shape, 77, expected.dtype, order="F")
    assert cube.read(index, out=out) is out
    assert np.array_equal(out, expected)


@pytest.fixture(scope="module")
def cubes(
    smooth_volume: SmoothVolume, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Cube, np.ndarray[Any, Any]]]:
    folder = tmp_path_factory.mktemp("cubes")
    made = []
    for shape in [(5, 4, 3), (1, 1, 1), (6, 3, 4, 3), (20, 2, 2)]:
        volume = smooth_volume(shape, "uint16")
        path = folder / f"{len(made)}.dcbs"
        DicomCubeImage(volume).to_file(path)
        made.append((dicube.open(path, num_threads=1), volume))
    return made


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_any_index(cubes: list[tuple[Cube, np.ndarray[Any, Any]]], data: st.DataObject) -> None:
    cube, volume = data.draw(st.sampled_from(cubes))
    item = items(volume.shape)
    index = data.draw(item | st.lists(item, max_size=5).map(tuple))
    check_index(cube, volume, index)


@pytest.mark.parametrize(
    "index",
    [
        *(40, -1, 4, np.s_[2:7, ::2, 10:30], np.s_[..., -1], np.s_[::-1], np.s_[::-3, 5]),
        *([1, 5, 5, 2], [True] * 8 + [False], np.s_[None, [3, 1], ..., None], np.s_[[1, 2], :, 3]),
        *(np.s_[None, [1, 2], :, 3], np.s_[3, [1, 2], [4, 5]], np.s_[:, [1, 2], [4, 5]]),
        *(np.s_[:, [[0], [1]], ::2], np.s_[1:1], [], np.s_[2, 3, 4], np.s_[2, 3, 4, ...], ()),
        *(np.s_[:, :, :, 0], "name", 1.5, [0.5], np.s_[[1, 2], [1, 2, 3]], [True] * 4),
    ],
    ids=repr,
)
def test_index(path: Path, volume: np.ndarray[Any, Any], index: Any) -> None:
    with dicube.open(path) as cube:
        check_index(cube, volume, index)


def test_masks(path: Path, volume: np.ndarray[Any, Any]) -> None:
    with dicube.open(path) as cube:
        for mask in (volume > volume.mean(), volume > volume.max(), volume[:, :, 0] > 1800):
            check_index(cube, volume, mask)
        check_index(cube, volume, (slice(None), volume[3] > 1800))


@pytest.mark.parametrize(
    ("index", "frames"),
    [
        (4, [4]),
        (-1, [8]),
        (np.s_[2, 3, 4], [2]),
        (np.s_[2:5, ::2, 3:9], [2, 3, 4]),
        (np.s_[::-3], [8, 5, 2]),
        ([7, 1, 1, 7], [1, 7]),
        ([7, -8], [7, 1]),
        ([True, False, True] * 3, [0, 2, 3, 5, 6, 8]),
        (np.s_[[0, 3], [1, 2], 5], [0, 3]),
        (np.s_[3:3], []),
        (np.s_[:, 5:5], []),
        (np.s_[..., 0], list(range(9))),
    ],
    ids=repr,
)
def test_only_the_frames_touched_are_decoded(
    path: Path, decoded: list[int], index: Any, frames: list[int]
) -> None:
    cube = dicube.open(path)
    assert cube[index] is not None
    assert decoded == frames


@pytest.mark.parametrize(
    ("index", "region"),
    [
        (4, (0, 0, 21, 34)),
        (np.s_[2:5], (0, 0, 21, 34)),
        (np.s_[..., 5], (0, 5, 21, 1)),
        (np.s_[2, 3, -1], (3, 33, 1, 1)),
        (np.s_[2:5, 3:9, 10:30], (3, 10, 6, 20)),
        (np.s_[:, None, 3:9, ..., 10:30], (3, 10, 6, 20)),
        (np.s_[2, 4:20:5, 3::-2], (4, 1, 16, 3)),
        (np.s_[::2, ::-1, 7:8], (0, 7, 21, 1)),
        (np.s_[[3, 1], [5, -2]], (5, 0, 15, 34)),
        (np.s_[:, [5, 9, 5], 2:4], (5, 2, 5, 2)),
        (np.s_[:, [[5], [9]], [4, 6]], (5, 4, 5, 3)),
        (np.s_[0, [False, True, False, True] + [False] * 17, 1], (1, 1, 3, 1)),
        (np.s_[0, np.eye(21, 34, 3, dtype=bool) & (np.arange(34) > 8)], (6, 9, 15, 15)),
        (np.s_[0, 3:3], (0, 0, 1, 34)),
    ],
    ids=repr,
)
def test_only_a_rectangle_around_the_pixels_is_decoded(index: Any, region: tuple[int, ...]) -> None:
    assert frame_index(index, (9, 21, 34)).region == region


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_parts_come_from_the_region_alone(
    extension: str, volume: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DicomCubeImage(volume).to_file(tmp_path / f"x{extension}")
    asked: list[Any] = []
    read = DcbReader.read_frame_list

    def recorded(self: DcbReader, frames: Sequence[int], **options: Any) -> Any:
        asked.append((options["region"], options["out"]))
        return read(self, frames, **options)

    monkeypatch.setattr(DcbReader, "read_frame_list", recorded)
    cube = dicube.open(tmp_path / f"x{extension}")
    part = cube[2:5, 3:9, 10:30]
    assert np.array_equal(part, volume[2:5, 3:9, 10:30])
    region, out = asked.pop()
    assert region == (3, 10, 6, 20)
    assert np.shares_memory(out, part)  # decoded in place
    real = cube.get_fdata(np.s_[4, 3:9, 10:30])
    assert np.array_equal(real, volume[4, 3:9, 10:30].astype("float32"))
    assert asked.pop()[0] == (3, 10, 6, 20)


def test_a_cache_has_whole_frames(path: Path, volume: np.ndarray[Any, Any]) -> None:
    with dicube.open(path, cache=1 << 20) as cube:
        for index in (np.s_[2:5, 3:9, 10:30], np.s_[3:7, 5:6], np.s_[4, 1, 2], np.s_[4]):
            assert np.array_equal(cube[index], volume[index])
            assert np.array_equal(cube[index], volume[index])


def test_a_mask_of_the_volume_touches_frames_with_something_in_it(
    path: Path, volume: np.ndarray[Any, Any], decoded: list[int]
) -> None:
    mask = np.zeros(volume.shape, bool)
    mask[3, 2:5, 6] = mask[7, 0, 0] = True
    assert np.array_equal(dicube.open(path)[mask], volume[mask])
    assert decoded == [3, 7]


def test_memory_of_an_index_is_no_more_than_its_own(path: Path) -> None:
    with dicube.open(path) as cube:
        for index in (np.s_[2, 3, :4], np.s_[2:5, 1, 2:4], np.s_[4, ..., 0]):
            found = cube[index]
            assert found.base is None or found.base.nbytes == found.nbytes
            assert found.flags.writeable


# --------------------------------------------------------------------------------- as an array


def test_what_it_is(path: Path, volume: np.ndarray[Any, Any], decoded: list[int]) -> None:
    with dicube.open(path) as cube:
        assert (cube.shape, cube.dtype) == (volume.shape, volume.dtype)
        assert (cube.ndim, cube.size, cube.nbytes) == (volume.ndim, volume.size, volume.nbytes)
        assert len(cube) == len(volume)
        assert cube.space == SPACE
        assert cube.pixel_header.RescaleSlope == 2.0
        assert cube.dicom_status is dicube.DicomStatus.CONSISTENT
        assert cube.dicom_meta is None
        assert repr(cube) == "<Cube shape=(9, 21, 34) dtype=int16>"
        assert not decoded


def test_as_an_array(path: Path, volume: np.ndarray[Any, Any]) -> None:
    cube = dicube.open(path)
    assert np.array_equal(np.asarray(cube), volume)
    assert np.asarray(cube).dtype == volume.dtype
    assert np.asarray(cube, "float32").dtype == np.float32
    assert np.array_equal(np.array(cube, "float64"), volume.astype("float64"))
    assert np.array_equal(np.add(cube, 1), volume + 1)
    assert np.max(cube) == volume.max()
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="always a copy"):
            np.array(cube, copy=False)
        with pytest.raises(ValueError, match="always a copy"):
            np.asarray(cube, copy=False)


def test_iteration(path: Path, volume: np.ndarray[Any, Any]) -> None:
    frames = list(dicube.open(path))
    assert np.array_equal(np.stack(frames), volume)
    first, *_ = dicube.open(path)
    assert np.array_equal(first, volume[0])


def test_out(path: Path, volume: np.ndarray[Any, Any]) -> None:
    cube = dicube.open(path)
    out = np.zeros((3, *volume.shape), volume.dtype)
    part = out[1]
    assert cube.read(out=part) is part
    assert np.array_equal(out[1], volume)
    assert not out[0].any() and not out[2].any()
    strided = np.zeros((9, 42, 68), volume.dtype)[:, ::2, ::2]
    assert np.array_equal(cube.read(np.s_[...], out=strided), volume)
    read_only = np.zeros_like(volume)
    read_only.setflags(write=False)
    for bad in (out, out[1].astype("uint16"), read_only, out[1, :5]):
        with pytest.raises(DataConsistencyError, match="expected out"):
            cube.read(out=bad)


@pytest.mark.parametrize("index", [..., 4, np.s_[2:5, 3:9], np.s_[[5, 1, 5], 2], np.s_[1, 2, 3]])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_real_values(path: Path, index: Any, dtype: str) -> None:
    expected = DicomCubeImage.from_file(path).get_fdata(dtype)[index]
    found = dicube.open(path).get_fdata(index, dtype)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_rectangles_are_decoded_in_place(
    path: Path, volume: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    read = DcbReader.read_frame_list

    def recorded(self: DcbReader, frames: Sequence[int], **options: Any) -> Any:
        given.append(options["out"])
        return read(self, frames, **options)

    monkeypatch.setattr(DcbReader, "read_frame_list", recorded)
    cube = dicube.open(path)
    whole = (4, np.s_[2:5], np.s_[None, 3, ..., None], [7, 2], ..., np.s_[::-2, :, :])
    for index in (*whole, np.s_[2:5, 3:9, 10:30], np.s_[4, 5], np.s_[:, 5, None, 7:8]):
        out = np.empty_like(volume[index])
        assert cube.read(index, out=out) is out
        assert np.array_equal(out, volume[index])
        assert np.shares_memory(given.pop(), out)


def test_real_values_of_no_such_dtype(path: Path) -> None:
    with pytest.raises(DataConsistencyError, match="int16"):
        dicube.open(path).get_fdata(2, "int16")


def test_of_a_real_series(shared_data: Path, tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(shared_data / "mr_siemens_sag")
    image.to_file(tmp_path / "x.dcbs")
    with dicube.open(tmp_path / "x.dcbs") as cube:
        assert cube.dicom_meta == image.dicom_meta
        assert cube.space == image.space
        assert cube.dicom_status is image.dicom_status
        assert cube.pixel_header.to_dict() == image.pixel_header.to_dict()
        assert np.array_equal(cube[3:7], image.raw_image[3:7])
        part = np.s_[-5:, 20:40, ::3]
        assert np.array_equal(cube.get_fdata(part), image.get_fdata()[part])
        meta = cube.dicom_meta
    assert meta is not None
    assert meta == image.dicom_meta  # also after the file was closed


# -------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("level", [1, 2, 3])
def test_level(path: Path, level: int) -> None:
    full = dicube.open(path)
    cube = full.at_level(level)
    factor = 1 << level
    assert cube.shape == (9, -(-21 // factor), -(-34 // factor))
    assert dicube.open(path, level=level).shape == cube.shape
    expected = DcbReader(path).read_frames(level=level)
    assert np.array_equal(cube[...], expected)
    check_index(cube, expected, np.s_[2:8:2, 1:, ::-1])
    assert f"level={level}" in repr(cube)
    space = cube.space
    assert space is not None
    assert tuple(space.shape) == cube.shape
    assert tuple(space.origin) == tuple(SPACE.origin)
    assert tuple(space.spacing) == (2.5, 0.7 * factor, 0.6 * factor)
    assert cube.at_level(0).shape == full.shape
    assert full.space == SPACE


def test_space_of_a_level_is_where_its_samples_are(tmp_path: Path) -> None:
    # A ramp along the columns: what a level holds tells where its samples lie.
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint16) * 16, (2, 256, 256)).copy()
    space = Space(shape=ramp.shape, origin=(0.0, 0.0, 0.0), spacing=(1.0, 1.0, 1.0))
    DicomCubeImage(ramp, space=space).to_file(tmp_path / "x.dcbs")
    for level in (1, 2, 3):
        cube = dicube.open(tmp_path / "x.dcbs", level=level)
        assert cube.space is not None
        places = np.arange(cube.shape[2]) * cube.space.spacing[2]
        inner = slice(2, -2)  # the filter mirrors at the border
        assert np.abs(cube[0, 5, inner] / 16 - places[inner]).max() < 0.1


def test_no_such_level(path: Path, volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    with pytest.raises(
        DataConsistencyError, match="HTJ2K frames have resolution levels 0 to 5, found 99"
    ):
        dicube.open(path, level=99)
    with pytest.raises(DataConsistencyError, match="level"):
        dicube.open(path).at_level(-1)
    DicomCubeImage(volume).to_file(tmp_path / "x.dcba")
    assert dicube.open(tmp_path / "x.dcba").levels == 0
    with pytest.raises(DataConsistencyError, match="JPEG XL frames have no resolution levels"):
        dicube.open(tmp_path / "x.dcba", level=1)


# --------------------------------------------------------------------------------------- cache


def test_nothing_is_kept_unless_asked_for(
    path: Path, volume: np.ndarray[Any, Any], decoded: list[int]
) -> None:
    plain, keeping = dicube.open(path), dicube.open(path, cache=3 * volume[0].nbytes)
    for cube, expected in ((plain, [4, 4, 3, 4]), (keeping, [4, 3])):
        decoded.clear()
        for index in (4, np.s_[4, 2:5], np.s_[3:5]):
            check = cube[index]
            assert np.array_equal(check, volume[index])
            check[...] = 0  # what is kept is not what was given
        assert decoded == expected
    decoded.clear()
    for frame in (6, 7, 3, 4):  # 4 was used longest ago and had to go, 3 was not
        assert np.array_equal(keeping[frame], volume[frame])
    assert decoded == [6, 7, 3, 4] or decoded == [6, 7, 4]
    assert np.array_equal(keeping.at_level(1)[4], plain.at_level(1)[4])


def test_cache_lets_go_of_what_was_used_longest_ago() -> None:
    cache = FrameCache(100)
    for key in "abc":
        cache.put(key, np.zeros(40, np.uint8))
    assert cache.get("a") is None and cache.size == 80
    assert cache.get("b") is not None
    cache.put("d", np.zeros(40, np.uint8))
    assert cache.get("c") is None and cache.get("b") is not None
    cache.put("e", np.zeros(101, np.uint8))
    assert cache.get("e") is None and cache.size == 80
    assert pickle.loads(pickle.dumps(cache)).size == 0


# ----------------------------------------------------------------- threads, processes, endings


@pytest.mark.parametrize("cache", [0, 5000])
def test_many_threads(path: Path, volume: np.ndarray[Any, Any], cache: int) -> None:
    cube = dicube.open(path, cache=cache)
    wrong: list[Any] = []

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(50):
            start, row = random.integers(0, 8), random.integers(0, 20)
            index = np.s_[start : start + 3, row:, ::2]
            if not np.array_equal(cube[index], volume[index]):
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


_WORKERS = """
import multiprocessing, sys
import numpy as np
import dicube

cube = dicube.open(sys.argv[1], num_threads=1, cache=10**6)
half = cube.at_level(1)

def read(frame):
    return int(cube[frame].sum()), int(half[frame].sum())

def read_of(pair):
    return int(pair[0][pair[1]].sum()), int(pair[0].at_level(1)[pair[1]].sum())

if __name__ == "__main__":
    expected = [read(frame) for frame in range(len(cube))]
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(3) as pool:
        print(pool.map(read, range(len(cube))) == expected)
        print(pool.map(read_of, [(cube, frame) for frame in range(len(cube))]) == expected)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes(path: Path, tmp_path: Path, method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "workers.py"
    script.write_text(_WORKERS)
    done = run_python("-W", "ignore::DeprecationWarning", script, path, method)
    assert done.stdout == "True\nTrue\n", done.stderr


def test_pickled(path: Path, volume: np.ndarray[Any, Any]) -> None:
    cube = dicube.open(path, level=1, cache=1000)
    _ = cube.dicom_meta, cube.space, cube[2]
    packed = pickle.dumps(cube)
    assert len(packed) < 2000
    again = pickle.loads(packed)
    assert (again.shape, again.level, again.space) == (cube.shape, 1, cube.space)
    assert np.array_equal(again[2:4], cube[2:4])
    assert np.array_equal(again.at_level(0)[3], volume[3])


def test_closed(path: Path) -> None:
    with dicube.open(path) as cube:
        half = cube.at_level(1)
        assert not cube.closed
    assert cube.closed and half.closed
    for one in (cube, half):
        with pytest.raises(ValueError, match="reader is closed"):
            one[3]
    cube.close()


def test_what_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError):
        dicube.open(tmp_path / "nothing.dcbs")
    (tmp_path / "x.dcbs").write_bytes(b"other bytes" * 100)
    with pytest.raises(InvalidCubeFileError, match="not a dicube file"):
        dicube.open(tmp_path / "x.dcbs")
    with DcbWriter(tmp_path / "e.dcbs", (0, 4, 4), "uint8"):
        pass
    with pytest.raises(InvalidCubeFileError, match="no frames"):
        dicube.open(tmp_path / "e.dcbs")


def test_pixels_alone_import_nothing_of_dicom(path: Path) -> None:
    code = (
        "import sys, dicube; cube = dicube.open(sys.argv[1]); cube[3:5, ::2], cube.dtype;"
        "print([m for m in ('pydicom', 'spacetransformer', 'fsspec') if m in sys.modules])"
    )
    assert run_python("-c", code, path).stdout.strip() == "[]"


def test_frame_index_of_a_huge_volume_takes_no_memory() -> None:
    shape = (1 << 20, 1 << 15, 1 << 15)
    found = frame_index(np.s_[5:-5:7, 3], shape)
    assert found.shape == (149796, 1 << 15)
    assert found.frames == range(5, (1 << 20) - 5, 7)
