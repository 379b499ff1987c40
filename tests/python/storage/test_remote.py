"""Files over a network: few requests, only the needed bytes, and clear errors."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from inputs.http_server import FileServer
from programs.running import run_python

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
    MissingPackageError,
)
from dicube.storage import DcbReader, DcbWriter, byte_source
from dicube.storage.packed_text import pack_text

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

FRAMES = 120  # of 30 KB: together far more than comes with the first request


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def volume() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 4096, (FRAMES, 140, 150), np.uint16)


def file_bytes(volume: np.ndarray[Any, Any]) -> bytes:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
        writer.write_section("note", b"first")
        writer.write_frames(volume)
        writer.write_section("late", b"last")
    return target.getvalue()


@pytest.fixture(scope="module")
def content(volume: np.ndarray[Any, Any]) -> bytes:
    return file_bytes(volume)


def test_frames_of_a_file_whose_metadata_are_bad_are_not_fetched(
    volume: np.ndarray[Any, Any], server: FileServer
) -> None:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
        writer.write_section("dicom_meta", pack_text('{"_merged_data": []}'))
        writer.write_frames(volume)
    with pytest.raises(MetaDataError, match="_merged_data"):
        DicomCubeImage.from_file(server.add("bad.dcbs", target.getvalue()))
    asked = sum(stop - start for _, start, stop in server.requests if start is not None)
    assert asked < len(target.getvalue()) / 2


def published_bytes(frames: list[bytes], count: int | None = None) -> bytes:
    """A file as published writers make them, without a directory; of `count` frames, it claims."""
    count = len(frames) if count is None else count
    at = 120 + 16 * len(frames)
    offsets = [at + sum(map(len, frames[:frame])) for frame in range(len(frames))]
    sections = [116, 4, 0, 0, 0, 0, 0, 0, 120, count * 8, 120 + 8 * len(frames), count * 8, count]
    header = struct.pack("<8sI13Q", b"DCMCUBES", 1, *sections)
    tables = struct.pack(f"<{2 * len(frames)}Q", *offsets, *map(len, frames))
    return b"".join([header, b"okay", tables, *frames])


def test_one_frame_takes_two_requests(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    server.latency = 0.02
    with DcbReader(server.add("x.dcbs", content)) as reader:
        assert len(server.requests) == 1
        assert reader.shape == volume.shape
        assert reader.file_size == len(content)
        assert reader.sections["note"] == b"first"
        assert np.array_equal(reader.read_frames(70, 71)[0], volume[70])
        (_, _, first_stop), (method, start, stop) = server.requests
        offset, size = reader.coded_range(70)
        assert (method, start, stop) == ("GET", offset, offset + size)
        assert first_stop == 1 << 18


def test_requests_do_not_grow_with_the_frames(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    server.latency = 0.02
    counts = []
    for frames in (FRAMES // 2, FRAMES):
        server.requests.clear()
        url = server.add("x.dcbs", content if frames == FRAMES else file_bytes(volume[:frames]))
        with DcbReader(url) as reader:
            assert np.array_equal(reader.read_frames(), volume[:frames])
        counts.append(len(server.requests))
        given = sum(stop - start for _, start, stop in server.requests)
        assert given < len(server.files["x.dcbs"]) + (1 << 18)
    assert max(counts) <= 9
    assert server.at_once > 1


def test_near_frames_are_joined_and_far_ones_are_not(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    with DcbReader(server.add("x.dcbs", content)) as reader:
        server.requests.clear()
        frames = [30, 31, 33, 100, 101]
        assert np.array_equal(reader.read_frame_list(frames), volume[frames])
        assert len(server.requests) == 2
        for (_, start, stop), first, last in zip(
            sorted(server.requests), (30, 100), (33, 101), strict=True
        ):
            assert start == reader.coded_range(first)[0]
            assert stop == sum(reader.coded_range(last))


def test_levels_fetch_only_the_beginnings_of_frames(server: FileServer) -> None:
    """140 frames of 512 x 512, whose third level is 4 % of a frame."""
    rows = np.arange(512)
    smooth = np.sin(np.add.outer(rows, rows) / 40) * 900
    noise = np.random.default_rng(1).normal(0, 12, (4, 512, 512))
    few = (smooth + noise).astype(np.int16)
    target = io.BytesIO()
    with DcbWriter(target, (140, 512, 512), few.dtype, codec="jph") as writer:
        writer.write_frames(few[np.arange(140) % 4])
    content = target.getvalue()
    server.latency = 0.02
    with DcbReader(content) as local, dicube.open(server.add("x.dcbs", content)) as cube:
        small = cube.at_level(3)
        assert len(server.requests) == 1  # which has the section, and the first frame's beginning
        assert np.array_equal(small[...], local.read_frames(level=3))
        (_, _, front), *fetched = server.requests
        assert 1 + -(-len(fetched) // server.at_once) <= 10  # one waits for the other
        assert front + sum(stop - start for _, start, stop in fetched) < 0.08 * len(content)
        ends = {local._file.reader.level_range(frame, 3) for frame in range(140)}
        assert {(start, stop - start) for _, start, stop in fetched} <= ends
        server.requests.clear()
        assert np.array_equal(
            cube.at_level(1)[20:24, 40:60, 9:80],
            local.read_frames(20, 24, level=1)[:, 40:60, 9:80],
        )
        ((_, start, stop), *more) = sorted(server.requests)
        assert (start, stop - start) == local._file.reader.level_range(20, 1)
        assert len(more) == 3
        server.requests.clear()
        assert np.array_equal(small[90:, ::2, ::3], local.read_frames(90, level=3)[:, ::2, ::3])
        assert {(start, stop - start) for _, start, stop in server.requests} <= ends


def test_several_reads_by_one_fetch(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    with DcbReader(server.add("x.dcbs", content)) as reader:
        server.requests.clear()
        with reader.fetched(range(40, 60)):
            for frame in range(40, 60):
                assert np.array_equal(reader.read_frames(frame, frame + 1)[0], volume[frame])
        assert len(server.requests) == 1
        reader.read_frames(50, 51)  # nothing was kept
        assert len(server.requests) == 2


def test_many_threads(server: FileServer, content: bytes, volume: np.ndarray[Any, Any]) -> None:
    wrong = []
    with DcbReader(server.add("x.dcbs", content)) as reader:

        def read(first: int) -> None:
            if not np.array_equal(
                reader.read_frames(first, first + 40), volume[first : first + 40]
            ):
                wrong.append(first)

        threads = [threading.Thread(target=read, args=(first,)) for first in range(0, 80, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_front_longer_than_the_first_request(
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    volume: np.ndarray[Any, Any],
    content: bytes,
) -> None:
    monkeypatch.setattr(byte_source, "_FRONT_SIZE", 500)
    with DcbReader(server.add("x.dcbs", content)) as reader:
        assert reader.sections["note"] == b"first"
        assert reader.sections["late"] == b"last"
        assert np.array_equal(reader.read_frames(7, 9), volume[7:9])


def test_published_files_do_not_say_their_size(server: FileServer, content: bytes) -> None:
    reader = DcbReader(content)
    published = published_bytes([reader.coded(frame) for frame in range(FRAMES)])
    with DcbReader(server.add("x.dcbs", published)) as remote:
        assert len(server.requests) == 1
        assert remote.file_size == len(published)
        assert not remote.has_checksums
        assert np.array_equal(remote.read_frames(), reader.read_frames())


def test_small_file_comes_at_once(server: FileServer, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((5, 20, 30), "int16")
    with DcbReader(server.add("x.dcbs", file_bytes(volume))) as reader:
        assert np.array_equal(reader.read_frames(), volume)
    assert len(server.requests) == 1


def test_server_without_ranges(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    server.ranges = False
    with DcbReader(server.add("x.dcbs", content)) as reader:
        assert np.array_equal(reader.read_frames(), volume)
    assert len(server.requests) == 1


def test_server_that_forgets_ranges(server: FileServer, content: bytes) -> None:
    with DcbReader(server.add("x.dcbs", content)) as reader:
        server.ranges = False
        with pytest.raises(CubeFileAccessError, match="support range requests"):
            reader.read_frames(50, 60)


def test_no_such_file(server: FileServer) -> None:
    with pytest.raises(CubeFileNotFoundError, match=r"nothing\.dcbs: no such file") as raised:
        DcbReader(server.url("nothing.dcbs?key=secret"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [500, 503, 403])
def test_failing_server(server: FileServer, content: bytes, status: int) -> None:
    url = server.add("x.dcbs", content)
    with DcbReader(url) as reader:
        server.failing = status
        out = np.ones((60, *reader.shape[1:]), reader.dtype)
        with pytest.raises(CubeFileAccessError, match=f"x.dcbs: cannot read: {status}"):
            reader.read_frames(30, 90, out=out)
        assert not out.any()
        with pytest.raises(CubeFileAccessError, match=str(status)):
            DcbReader(url)
        server.failing = 0
        assert reader.read_frames(3, 5).any()


def test_no_server(server: FileServer, content: bytes) -> None:
    url = server.add("x.dcbs", content)
    with DcbReader(url) as reader:
        server.close()
        with pytest.raises(CubeFileAccessError, match=r"x\.dcbs: cannot read"):
            DcbReader(url.replace("127.0.0.1", "127.0.0.2"))
        assert reader.shape[0] == FRAMES


@pytest.mark.parametrize("lost", [1, 100_000, 2_000_000])
def test_truncated(server: FileServer, content: bytes, lost: int) -> None:
    server.lost = lost
    url = server.add("x.dcbs", content)
    with (
        pytest.raises(InvalidCubeFileError, match=r"expected \d+ bytes at offset \d+, found"),
        DcbReader(url) as reader,
    ):
        reader.read_frames()
        assert reader.sections["late"]


@pytest.mark.parametrize("size", [0, 5, 115, 300])
def test_truncated_front(server: FileServer, content: bytes, size: int) -> None:
    with pytest.raises(InvalidCubeFileError):
        DcbReader(server.add("x.dcbs", content[:size]))


def test_not_a_dicube_file(server: FileServer) -> None:
    with pytest.raises(InvalidCubeFileError, match="not a dicube file"):
        DcbReader(server.add("x.dcbs", b"<html>" * 100_000))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


DAMAGES = {
    "empty": lambda data, frame: b"",
    "header": lambda data, frame: flipped(data, 20),
    "cut": lambda data, frame: data[: len(data) // 2],
    "version": lambda data, frame: data[:8] + b"\xff" * 4 + data[12:],
    "frame": lambda data, frame: flipped(data, frame + 10),
}
READS = {
    "image": lambda url: DicomCubeImage.from_file(url),
    "real": lambda url: DicomCubeImage.from_file(url, dtype="float32"),
    "cube": lambda url: dicube.open(url)[:],
    "level": lambda url: dicube.open(url).at_level(1)[:],
    "coded": lambda url: DcbReader(url).coded_frames(),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_errors_name_the_url(server: FileServer, content: bytes, damage: str, read: str) -> None:
    with DcbReader(content) as reader:
        offset, _ = reader.coded_range(2)
    url = server.add("x.dcbs", DAMAGES[damage](content, offset))
    with pytest.raises(InvalidCubeFileError) as caught:
        READS[read](url)
    assert str(caught.value).count(url) == 1


@pytest.mark.parametrize("name", ["dicom_meta", "space", "pixel_header", "dicom_status"])
def test_errors_of_sections_name_the_url(server: FileServer, tmp_path: Path, name: str) -> None:
    frames = np.zeros((2, 3, 4), np.uint16)
    with DcbWriter(tmp_path / "x.dcbs", frames.shape, frames.dtype) as writer:
        writer.write_section(name, b"{")
        writer.write_frames(frames)
    url = server.add("x.dcbs", (tmp_path / "x.dcbs").read_bytes())
    for source in (url, str(tmp_path / "x.dcbs")):
        with pytest.raises(DicomCubeError) as caught:
            DicomCubeImage.from_file(source)
        assert str(caught.value).startswith(source)


def test_pickled(server: FileServer, content: bytes, volume: np.ndarray[Any, Any]) -> None:
    packed = pickle.dumps(DcbReader(server.add("x.dcbs", content)))
    with pickle.loads(packed) as again:
        assert np.array_equal(again.read_frames(80, 85), volume[80:85])


def test_cube(server: FileServer, content: bytes, volume: np.ndarray[Any, Any]) -> None:
    with dicube.open(server.add("x.dcbs", content)) as cube:
        assert np.array_equal(cube[70], volume[70])
        assert len(server.requests) == 2
        server.requests.clear()
        assert np.array_equal(cube[10:100:2, 5:9, ::7], volume[10:100:2, 5:9, ::7])
        assert len(server.requests) <= 8
        server.requests.clear()
        assert np.array_equal(np.asarray(cube), volume)
        assert len(server.requests) <= 8


def test_cache_spares_requests(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    with dicube.open(server.add("x.dcbs", content), cache=1 << 24) as cube:
        assert np.array_equal(cube[40:60, 3:], volume[40:60, 3:])
        server.requests.clear()
        assert np.array_equal(cube[45:55, :, 4:], volume[45:55, :, 4:])
        assert np.array_equal(cube[50], volume[50])
        assert not server.requests


def test_image_metadata_and_summary(
    server: FileServer, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = DicomCubeImage.from_dicom_folder(shared_data / "mr_siemens_sag")
    image.to_file(tmp_path / "x.dcbs")
    url = server.add("x.dcbs", (tmp_path / "x.dcbs").read_bytes())
    with dicube.open(url) as cube:
        assert cube.dicom_meta == image.dicom_meta
        assert cube.space == image.space
        assert cube.dicom_status is image.dicom_status
        before = len(server.requests)
        assert before <= 2  # the front, and long elements in the originals behind the frames
    back = DicomCubeImage.from_file(url, storage_options={})
    assert len(server.requests) - before <= 10
    assert np.array_equal(back.raw_image, image.raw_image)
    assert back.dicom_meta == image.dicom_meta
    assert back.why_not_exact() == ""
    assert dicube.load_meta(url) == image.dicom_meta
    assert main(["info", url]) == 0
    told = capsys.readouterr().out
    assert url in told and "35 x 256 x 256 uint16" in told


_FORKS = """
import multiprocessing, sys
import dicube

cube = dicube.open(sys.argv[1], num_threads=1)
cube[70]  # now there are a connection and fsspec's thread, which no child has

def read(frame):
    return int(cube[frame].sum())

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(*pool.map_async(read, range(50, 60)).get(60))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    (tmp_path / "forks.py").write_text(_FORKS)
    url = server.add("x.dcbs", content)
    done = run_python("-W", "ignore::DeprecationWarning", tmp_path / "forks.py", url)
    assert done.stdout.split() == [str(volume[frame].sum()) for frame in range(50, 60)], done.stderr


def test_any_file_system(content: bytes, volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/remote/x.dcbs", content)
    (tmp_path / "x.dcbs").write_bytes(content)
    for url in ("memory://remote/x.dcbs", (tmp_path / "x.dcbs").as_uri()):
        with DcbReader(url) as reader:
            assert np.array_equal(reader.read_frames(), volume)
    with pytest.raises(CubeFileNotFoundError):
        DcbReader("memory://remote/nothing.dcbs")


def test_chained_url(content: bytes, volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.dcbs", content)
    with DcbReader(f"zip://a.dcbs::{(tmp_path / 'x.zip').as_uri()}") as reader:
        assert np.array_equal(reader.read_frames(50, 60), volume[50:60])


def test_file_object_of_fsspec(
    server: FileServer, content: bytes, volume: np.ndarray[Any, Any]
) -> None:
    server.add("x.dcbs", content)
    with fsspec.open(server.url("x.dcbs"), "rb") as file, DcbReader(file) as reader:
        assert np.array_equal(reader.read_frames(50, 60), volume[50:60])


def test_storage_options(server: FileServer, content: bytes) -> None:
    url = server.add("x.dcbs", content)
    with DcbReader(url, storage_options={"headers": {"X-Key": "1"}}) as reader:
        assert reader.shape[0] == FRAMES
    with pytest.raises(DataConsistencyError, match="for URLs only"):
        DcbReader(io.BytesIO(content), storage_options={"key": 1})
    with pytest.raises(DataConsistencyError, match="nonsense"):
        DcbReader("nonsense://x.dcbs")


def test_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingPackageError, match=r"needs the package fsspec(.|\n)*dicube\[remote\]"
    ) as raised:
        DcbReader("https://example.org/x.dcbs")
    assert isinstance(raised.value, ImportError)


def test_with_fsspec_but_without_aiohttp() -> None:
    opening = "import sys, dicube; sys.modules['aiohttp'] = None; dicube.open('http://host/x.dcbs')"
    *_, error, suggestion = run_python("-c", opening).stderr.strip().splitlines()
    assert "MissingPackageError: http://host/x.dcbs: " in error
    assert "dicube[remote]" in suggestion


def test_claims_of_a_server_allocate_nothing(server: FileServer) -> None:
    claimed = published_bytes([b"x"], count=1 << 24) + bytes(1 << 18)
    with pytest.raises(InvalidCubeFileError, match=f"expected {1 << 20} bytes at offset 120"):
        DcbReader(server.add("x.dcbs", claimed))
