"""Zarr reads and writes chunks that are frames of dicube files."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs.arrangements import write_lossy_files
from inputs.arrays import random_bits
from inputs.entry_points import environment
from inputs.training import library
from numpy.typing import NDArray

import dicube
from dicube.codecs.samples import SUPPORTED_DTYPES
from dicube.exceptions import CodecError, DataConsistencyError, DicomCubeError
from dicube.storage import DcbReader

zarr = library("zarr")
if zarr.__version__ < "3":
    pytest.skip("zarr 3 has codecs of this kind", allow_module_level=True)

from zarr.registry import register_codec  # noqa: E402

from dicube.integrations.zarr import HTJ2KCodec, JXLCodec  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")

CODECS = (HTJ2KCodec, JXLCodec)
for codec in CODECS:
    register_codec(codec.name, codec)


def create(store: Any, array: NDArray[Any], codec: Any, chunks: tuple[int, ...]) -> Any:
    """Return a new array in a store, with these values."""
    made = zarr.create_array(
        store,
        shape=array.shape,
        chunks=chunks,
        dtype=array.dtype,
        serializer=codec,
        compressors=None,
    )
    made[...] = array
    return made


def with_chunk(folder: Path, codec: Any, shape: tuple[int, ...], dtype: str, data: bytes) -> Any:
    """Return an array of one chunk, which has these bytes."""
    create(folder, np.ones((1, *shape), dtype), codec, (1, *shape))
    (folder / "c" / "/".join("0" * (1 + len(shape)))).write_bytes(data)
    return zarr.open_array(folder, mode="r")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
@pytest.mark.parametrize("samples", [1, 3])
def test_values_of_any_type_come_back(tmp_path: Path, codec: Any, dtype: str, samples: int) -> None:
    frame = (7, 9) if samples == 1 else (7, 9, 3)
    array = random_bits((3, *frame), dtype)
    create(tmp_path, array, codec(samples=samples), (1, *frame))
    found = zarr.open_array(tmp_path, mode="r")[...]
    assert found.dtype == dtype
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", [">i2", ">f4"])
def test_arrays_in_the_other_byte_order(tmp_path: Path, codec: Any, dtype: str) -> None:
    array = random_bits((2, 4, 5), dtype[1:]).byteswap().view(dtype)
    made = create(tmp_path, array, codec(), (1, 4, 5))
    assert made[...].astype(dtype).tobytes() == array.tobytes()


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_chunks_are_the_frames_of_files(tmp_path: Path, extension: str, dtype: str) -> None:
    array = random_bits((2, 6, 5), dtype)
    path = tmp_path / f"a{extension}"
    dicube.DicomCubeImage(array).to_file(path)
    codec = HTJ2KCodec() if extension == ".dcbs" else JXLCodec()
    with DcbReader(path) as reader:
        frame = reader.coded(1)
    found = with_chunk(tmp_path / "zarr", codec, (6, 5), dtype, frame)
    assert found[0].tobytes() == array[1].tobytes()


def test_lossy_frames_and_frames_with_a_mask_are_decoded(tmp_path: Path) -> None:
    array = write_lossy_files(tmp_path)
    for path in (tmp_path / "a.dcbl", tmp_path / "a.dcbr"):
        with DcbReader(path) as reader:
            frame, expected = reader.coded(1), reader.read_frames()[1]
        found = with_chunk(tmp_path / path.suffix, JXLCodec(), (32, 32), "uint16", frame)
        assert np.array_equal(found[0], expected)
        assert not np.array_equal(expected, array[1])


def test_frames_may_have_any_number_of_axes_before_them(tmp_path: Path) -> None:
    array = random_bits((2, 3, 4, 3), "int16")  # (time, slice, row, column): no colours
    create(tmp_path / "a", array, HTJ2KCodec(), (1, 1, 4, 3))
    create(tmp_path / "b", array[0, 0], HTJ2KCodec(), (4, 3))
    assert np.array_equal(zarr.open_array(tmp_path / "a", mode="r")[1, 2], array[1, 2])
    assert np.array_equal(zarr.open_array(tmp_path / "b", mode="r")[...], array[0, 0])


def test_frames_in_shards(tmp_path: Path) -> None:
    array = random_bits((4, 6, 5), "int16")
    made = zarr.create_array(
        tmp_path,
        shape=array.shape,
        chunks=(1, 6, 5),
        shards=(4, 6, 5),
        dtype=array.dtype,
        serializer=HTJ2KCodec(),
        compressors=None,
    )
    made[...] = array
    assert np.array_equal(zarr.open_array(tmp_path, mode="r")[2:], array[2:])


def test_the_metadata_name_the_codec(tmp_path: Path) -> None:
    create(tmp_path / "a", random_bits((1, 4, 3), "int16"), HTJ2KCodec(), (1, 4, 3))
    colours = random_bits((1, 4, 3, 3), "uint8")
    create(tmp_path / "b", colours, JXLCodec(samples=3, effort="best"), (1, 4, 3, 3))
    found = [json.loads((tmp_path / name / "zarr.json").read_text())["codecs"] for name in "ab"]
    assert found[0] == [{"name": "dicube.htj2k", "configuration": {"samples": 1}}]
    assert found[1] == [{"name": "dicube.jxl", "configuration": {"samples": 3, "effort": "best"}}]
    assert HTJ2KCodec.from_dict(found[0][0]) == HTJ2KCodec()
    assert HTJ2KCodec.from_dict("dicube.htj2k") == HTJ2KCodec()
    assert JXLCodec.from_dict(found[1][0]) == JXLCodec(samples=3, effort="best")


def test_the_effort_counts(tmp_path: Path, smooth_volume: Any) -> None:
    array = smooth_volume((1, 64, 64), "int16")
    sizes = {}
    for effort in ("fast", "best"):
        create(tmp_path / effort, array, JXLCodec(effort=effort), (1, 64, 64))
        sizes[effort] = (tmp_path / effort / "c/0/0/0").stat().st_size
    assert sizes["best"] < sizes["fast"]


@pytest.mark.parametrize(
    ("codec", "configuration"),
    [
        (HTJ2KCodec, {"samples": 2}),
        (HTJ2KCodec, {"samples": True}),
        (HTJ2KCodec, {"samples": [1]}),
        (HTJ2KCodec, {"effort": 3}),
        (JXLCodec, {"effort": "utmost"}),
        (JXLCodec, {"effort": -1}),
        (JXLCodec, {"effort": 42}),
        (JXLCodec, {"effort": [1]}),
        (JXLCodec, {"distance": 3}),
        (JXLCodec, ["samples"]),
    ],
)
def test_a_malformed_configuration_is_an_error(codec: Any, configuration: Any) -> None:
    with pytest.raises(DataConsistencyError, match=r"expected|efforts"):
        codec.from_dict({"name": codec.name, "configuration": configuration})


@pytest.mark.parametrize(
    ("codec", "chunks", "dtype"),
    [
        (HTJ2KCodec(), (2, 8, 9), "int16"),
        (HTJ2KCodec(samples=3), (1, 8, 9), "int16"),
        (HTJ2KCodec(), (1, 8, 9), "bool"),
        (JXLCodec(), (1, 8, 9), "complex64"),
    ],
)
def test_chunks_that_are_no_frame_are_refused(
    tmp_path: Path, codec: Any, chunks: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(DataConsistencyError, match="expected"):
        create(tmp_path, np.zeros((4, 8, 9), dtype), codec, chunks)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("stored", [(5, 4), (4, 5, 3)])
def test_a_frame_of_another_shape_is_an_error(
    tmp_path: Path, codec: Any, stored: tuple[int, ...]
) -> None:
    samples = 3 if len(stored) == 3 else 1
    create(tmp_path / "a", np.ones(stored, np.int16), codec(samples=samples), stored)
    data = (tmp_path / "a" / "c" / "/".join("0" * len(stored))).read_bytes()
    found = with_chunk(tmp_path / "b", codec(), (4, 5), "int16", data)
    with pytest.raises(CodecError):
        found[...]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["uint16", "int8", "int32", "uint8"])
def test_a_frame_of_another_type_is_an_error(tmp_path: Path, codec: Any, dtype: str) -> None:
    create(tmp_path / "a", random_bits((1, 4, 5), "int16"), codec(), (1, 4, 5))
    data = (tmp_path / "a/c/0/0/0").read_bytes()
    found = with_chunk(tmp_path / "b", codec(), (4, 5), dtype, data)
    with pytest.raises(CodecError):
        found[...]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hostile_chunks_are_errors_of_dicube(
    tmp_path_factory: pytest.TempPathFactory, codec: Any, data: Any
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    create(folder / "a", random_bits((1, 8, 8), "int16"), codec(), (1, 8, 8))
    coded = bytearray((folder / "a/c/0/0/0").read_bytes())
    coded = coded[: data.draw(st.integers(0, len(coded)))]
    for _ in range(data.draw(st.integers(0, 4)) if coded else 0):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a/c/0/0/0").write_bytes(coded)
    try:
        found = zarr.open_array(folder / "a", mode="r")[...]
    except DicomCubeError:
        return
    assert found.shape == (1, 8, 8)


def test_a_huge_chunk_is_an_error_before_it_takes_memory(tmp_path: Path) -> None:
    create(tmp_path, random_bits((1, 4, 5), "int64"), HTJ2KCodec(), (1, 4, 5))
    side = 1 << 20
    metadata = json.loads((tmp_path / "zarr.json").read_text())
    metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [1, side, side]
    (tmp_path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(DicomCubeError, match="takes"):
        zarr.open_array(tmp_path, mode="r")[0, 0, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_a_chunk_much_larger_than_its_frame_takes_no_memory(tmp_path: Path, codec: Any) -> None:
    create(tmp_path, random_bits((1, 4, 5), "int16"), codec(), (1, 4, 5))
    metadata = json.loads((tmp_path / "zarr.json").read_text())
    metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [1, 9000, 9000]
    (tmp_path / "zarr.json").write_text(json.dumps(metadata))
    array = zarr.open_array(tmp_path, mode="r")
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="9000 x 9000"):
            array[0, 0, 0]
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_zarr_finds_the_codecs_by_their_entry_points(tmp_path: Path) -> None:
    array = random_bits((2, 4, 5), "int16")
    for codec in CODECS:
        create(tmp_path / codec.name, array, codec(), (1, 4, 5))
    script = (
        "import sys, zarr\n"
        "for path in sys.argv[1:]:\n"
        "    print(zarr.open_array(path, mode='r')[...].astype('int64').sum())\n"
    )
    paths = [tmp_path / codec.name for codec in CODECS]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *paths],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == [str(array.astype("int64").sum())] * 2


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr.abc.codec", None)
    monkeypatch.delitem(sys.modules, "dicube.integrations.zarr")
    with pytest.raises(ImportError, match=r"dicube\[zarr\]"):
        import dicube.integrations.zarr  # noqa: F401
