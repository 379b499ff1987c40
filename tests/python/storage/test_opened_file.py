"""opened_file: readers work in forked processes, and can be pickled."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from programs.running import run_python

from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def write(target: Any, volume: np.ndarray[Any, Any], **options: Any) -> Any:
    with DcbWriter(target, volume.shape, volume.dtype, **options) as writer:
        writer.write_section("note", b"here")
        writer.write_frames(volume)
    return target


def run_script(code: str, *arguments: object) -> str:
    """Run a script in a process of its own: this one may have threads, and forks badly."""
    done = run_python("-W", "ignore::DeprecationWarning", "-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def volume(smooth_volume: SmoothVolume) -> np.ndarray[Any, Any]:
    return smooth_volume((12, 40, 30), "int16")


def test_pickled_by_path(
    volume: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x.dcbs", volume)
    monkeypatch.chdir(tmp_path)
    reader = DcbReader("x.dcbs", num_threads=1)
    packed = pickle.dumps(reader)
    reader.close()
    assert len(packed) < 2000
    monkeypatch.chdir("/")
    with pickle.loads(packed) as again:
        assert (again.shape, again.dtype, again.codec) == (volume.shape, volume.dtype, "jph")
        assert np.array_equal(again.read_frames(), volume)
        assert again.sections["note"] == b"here"


def test_pickled_in_memory(volume: np.ndarray[Any, Any]) -> None:
    data = write(io.BytesIO(), volume, codec="jph").getvalue()
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        again = pickle.loads(pickle.dumps(DcbReader(source)))
        assert np.array_equal(again.read_frames(), volume)


def test_an_open_file_can_not_be_pickled(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    with open(write(tmp_path / "x.dcbs", volume), "rb") as file, DcbReader(file) as reader:
        with pytest.raises(TypeError, match=r"BufferedReader can't be pickled: .* by its path"):
            pickle.dumps(reader)
        assert np.array_equal(reader.read_frames(), volume)


def test_another_file_in_its_place_is_noticed(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcbs", volume)
    packed = pickle.dumps(DcbReader(path))
    write(path, volume[:5])
    with pytest.raises(InvalidCubeFileError, match="replaced after it was opened"):
        pickle.loads(packed).read_frames()


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_another_file_of_the_same_sizes_is_noticed(extension: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x{extension}", np.full((3, 40, 30), 7, "uint16"))
    packed, size = pickle.dumps(DcbReader(path)), path.stat().st_size
    write(path, np.full((3, 40, 30), 6, "uint16"))
    assert path.stat().st_size == size
    with pytest.raises(InvalidCubeFileError, match="replaced after it was opened"):
        pickle.loads(packed).read_frames()


def test_a_closed_reader_stays_closed(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    reader = DcbReader(write(tmp_path / "x.dcbs", volume))
    reader.close()
    again = pickle.loads(pickle.dumps(reader))
    for closed in (reader, again):
        closed.close()
        with pytest.raises(ValueError, match="reader is closed"):
            closed.read_frames()


_FORKS_WHILE_THREADS_READ = """
import os, signal, sys, threading
import numpy as np
from dicube.storage import DcbReader

reader = DcbReader(sys.argv[1])
expected = reader.read_frames()
stopped = False

def read():
    while not stopped:
        reader.read_frames(0, 5)

threads = [threading.Thread(target=read) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a lock that nobody holds any more would be waited for forever
        good = np.array_equal(reader.read_frames(), expected)
        good = good and reader.sections["note"] == b"here"
        reader.close()
        os._exit(0 if good else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stopped = True
for thread in threads:
    thread.join()
print("parent", np.array_equal(reader.read_frames(), expected))
"""


@needs_fork
def test_forked_while_threads_read(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcbs", volume)
    told = run_script(_FORKS_WHILE_THREADS_READ, path).split("\n")
    assert told == ["0"] * 20 + ["parent True", ""]


_FORKS_WHILE_DECODING = """
import gc, os, signal, sys
import numpy as np
from dicube.storage import DcbReader

reader = DcbReader(sys.argv[1], num_threads=2)
expected = reader.read_frames()
for _ in range(20):
    with reader.begin_decoding() as decoding:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            decoding.__exit__()
            del decoding
            gc.collect()
            os._exit(0 if np.array_equal(reader.read_frames(), expected) else 1)
        frames, _ = decoding.finish()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), np.array_equal(frames, expected))
"""


@needs_fork
def test_forked_while_a_decoding_is_open(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcbs", volume)
    assert run_script(_FORKS_WHILE_DECODING, path) == "0 True\n" * 20


_FORKS_WITH_FILE_OBJECT = """
import io, os, sys
from dicube.exceptions import CubeFileAccessError
from dicube.storage import DcbReader

path = sys.argv[1]
in_memory = DcbReader(io.BytesIO(open(path, "rb").read()))
reader = DcbReader(open(path, "rb"))
child = os.fork()
if child == 0:
    in_memory.read_frames()
    try:
        reader.read_frames()
    except CubeFileAccessError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(reader.read_frames()))
"""


@needs_fork
def test_a_shared_position_is_refused(volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcbs", volume)
    told = run_script(_FORKS_WITH_FILE_OBJECT, path)
    assert "shares its position" in told and "open the file by its path" in told
    assert told.endswith("\n12\n")


_FORKS_WHILE_WRITING = """
import os, sys
import numpy as np
from dicube.storage import DcbWriter

volume = np.zeros((4, 8, 8), np.uint16)
writer = DcbWriter(sys.argv[1], volume.shape, volume.dtype)
writer.write_frames(volume[:2])
child = os.fork()
if child == 0:
    try:
        writer.write_frames(volume[2:])
    except ValueError as error:
        print(error, flush=True)
    writer.close()
    del writer
    os._exit(0)
os.waitpid(child, 0)
writer.write_frames(volume[2:])
writer.finish()
"""


@needs_fork
def test_a_child_does_not_take_away_what_is_being_written(tmp_path: Path) -> None:
    told = run_script(_FORKS_WHILE_WRITING, tmp_path / "x.dcbs")
    assert "writer belongs to process" in told
    assert DcbReader(tmp_path / "x.dcbs").read_frames().shape == (4, 8, 8)
