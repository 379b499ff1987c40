"""LazyVolumes: what is taken of it equals what is taken of the whole, and only that is decoded."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import ARRANGEMENTS, two_places, write_arranged
from inputs.sealing import entries, with_section
from numpy.typing import NDArray

import dicube
from dicube import Cube, DicomCubeImage
from dicube.core.lazy_volumes import LazyVolumes, lazy_volumes
from dicube.exceptions import CodecError, DataConsistencyError

pytest.importorskip("nibabel")

pytestmark = pytest.mark.filterwarnings("ignore:the palette|nothing but the order")


def opened(folder: Path, name: str, real: bool = True, level: int = 0) -> tuple[LazyVolumes, Any]:
    """Return the lazy volumes of a file, and the whole array as it should be."""
    path, _ = write_arranged(folder, name)
    cube = dicube.open(path, level=level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lazy_volumes(cube, real).array, cube._volumes(real).array


def taken(array: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Return what a key takes of an array, each item along its axis alone."""
    for axis, item in reversed([*enumerate(key)]):
        array = array[(slice(None),) * axis + (item,)]
    return array


def keys(shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Return keys of every kind of item for each axis, mixed."""
    random = np.random.default_rng(0)
    found: list[tuple[Any, ...]] = [(slice(None),) * len(shape), (0,) * len(shape)]
    for _ in range(40):
        choices = [
            [
                slice(None),
                int(random.integers(-n, n)),
                slice(*sorted(random.integers(0, n + 1, 2).tolist()), 2),
                slice(None, None, -1),
                random.integers(-n, n, 3),
                np.array([], np.intp),
            ]
            for n in shape
        ]
        found.append(tuple(each[random.integers(len(each))] for each in choices))
    return found


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_parts_are_those_of_the_whole(tmp_path: Path, name: str, real: bool) -> None:
    lazy, whole = opened(tmp_path, name, real)
    assert (lazy.shape, lazy.dtype) == (whole.shape, whole.dtype)
    for key in keys(lazy.shape):
        found, expected = lazy.read(key), taken(whole, key)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def test_chunks_are_frames(tmp_path: Path) -> None:
    chunks = {name: opened(tmp_path / name, name)[0].chunks for name in made(tmp_path)}
    assert chunks == {
        "times": (1, 1, 7, 6),
        "mosaics": (1, 7, 16, 12),  # all slices are in one frame
        "colours": (1, 6, 5, 3),
        "one slice": (1, 5, 6),
    }


def made(folder: Path) -> list[str]:
    names = ["times", "mosaics", "colours", "one slice"]
    for name in names:
        (folder / name).mkdir()
    return names


def test_a_level(tmp_path: Path) -> None:
    lazy, whole = opened(tmp_path, "oblique", level=1)
    assert lazy.shape == whole.shape == (5, 4, 3)
    assert np.array_equal(lazy.read((slice(1, 3), 2, slice(None))), whole[1:3, 2])


def test_only_what_is_taken_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[list[int]] = []
    decode = Cube._decode

    def recorded(self: Cube, frames: Any, *arguments: Any) -> None:
        decoded.append([*map(int, frames)])
        decode(self, frames, *arguments)

    path, _ = write_arranged(tmp_path, "times")
    monkeypatch.setattr(Cube, "_decode", recorded)
    lazy = lazy_volumes(dicube.open(path)).array
    assert decoded == []
    lazy.read((1, [0, 2], slice(2, 4), 0))
    assert decoded == [[1, 5]]  # slices of both times alternate


@pytest.mark.parametrize("name", ["oblique", "mosaics", "palettes"])
def test_pickled(tmp_path: Path, name: str) -> None:
    lazy, whole = opened(tmp_path, name)
    data = pickle.dumps(lazy)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert np.array_equal(again.read((slice(None),) * again.ndim), whole)


@pytest.mark.parametrize("name", ["oblique", "mosaics", "palettes"])
def test_many_threads(tmp_path: Path, name: str) -> None:
    lazy, whole = opened(tmp_path, name)
    rest = (slice(None),) * (lazy.ndim - 1)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda index: lazy.read((index, *rest)), [*range(len(whole))] * 20)]
    assert all(np.array_equal(part, whole[i % len(whole)]) for i, part in enumerate(found))


def test_integers_that_no_float_holds_are_refused_when_taken(tmp_path: Path) -> None:
    stored = np.zeros((2, 3, 4), np.int64)
    stored[1, 0, 0] = (1 << 53) + 1
    DicomCubeImage(stored).to_file(tmp_path / "a.dcbs")
    lazy = lazy_volumes(dicube.open(tmp_path / "a.dcbs")).array
    assert lazy.read((0, slice(None), slice(None))).dtype == np.float64
    with pytest.raises(DataConsistencyError, match="real=False"):
        lazy.read((1, slice(None), slice(None)))


def test_real_values_are_rounded_once(tmp_path: Path) -> None:
    lazy, _ = opened(tmp_path, "fractions")
    everything = (slice(None),) * 3
    found = lazy.read(everything, np.float64)
    assert np.array_equal(found, lazy.cube.get_fdata(dtype="float64"))
    assert np.array_equal(lazy.read(everything), found.astype(np.float32))
    assert not np.array_equal(lazy.read(everything), found)


@pytest.mark.parametrize("item", [7, -6, [0, 5], True, [True, False]])
def test_numbers_out_of_bounds_are_errors(tmp_path: Path, item: Any) -> None:
    lazy, whole = opened(tmp_path, "oblique")
    assert whole.shape[0] == 5
    with pytest.raises(IndexError, match="expected integers of -5 to 4"):
        lazy.read((item, slice(None), slice(None)))


def test_a_size_that_a_file_only_claims_takes_no_memory(tmp_path: Path) -> None:
    DicomCubeImage(np.zeros((2, 6, 5), np.uint16)).to_file(tmp_path / "a.dcbs")
    file = (tmp_path / "a.dcbs").read_bytes()
    place, size, *_ = entries(file)["Image"]
    claim = struct.pack("<2Q", 6, 30_000_000) + file[place + 16 : place + size]
    (tmp_path / "a.dcbs").write_bytes(with_section(file, "Image", claim))
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="expected 6 x 30000000"):
            lazy_volumes(dicube.open(tmp_path / "a.dcbs"))
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_volumes_of_different_positions_are_refused(tmp_path: Path) -> None:
    path = two_places(tmp_path)
    with pytest.raises(DataConsistencyError, match=r"(?s)differ in shape or position.*volumes\(\)"):
        lazy_volumes(dicube.open(path))


@pytest.mark.parametrize("name", ["oblique", "times", "colours", "volumes", "volumes of colours"])
def test_levels_have_the_same_volumes(tmp_path: Path, name: str) -> None:
    path, _ = write_arranged(tmp_path, name)
    with dicube.open(path) as cube:
        whole, smaller = lazy_volumes(cube).array, lazy_volumes(cube).array.at_level(1)
        order = whole._layout.order
        real = whole.dtype.kind == "f"
        stored = cube.at_level(1).get_fdata() if real else cube.at_level(1)[:]
        frames = stored if order is None else stored[list(order)]
        assert smaller.ndim == whole.ndim
        assert smaller.dtype == whole.dtype
        found = smaller.read((slice(None),) * smaller.ndim)
        assert found.shape == smaller.shape
        assert np.array_equal(found.reshape(frames.shape), frames)


def test_there_is_no_level_beyond_the_last(tmp_path: Path) -> None:
    volumes, _ = opened(tmp_path, "times")
    with pytest.raises(DataConsistencyError, match="levels"):
        volumes.at_level(40)
