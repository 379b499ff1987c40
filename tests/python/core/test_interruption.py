"""Writers that are killed, find the disk full, lose power or meet: the target is one whole file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs.running import PROGRAMS, run_python

from dicube.storage.dcb_file import DcbWriter

fcntl = pytest.importorskip("fcntl")


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and preloads a library")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("disk") / "interrupted_disk.so"
    source = PROGRAMS / "interrupted_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(params=["x.dcbs", "x.dcm"])
def target(request: pytest.FixtureRequest) -> str:
    """A file that libdicube writes, and one that Python does."""
    return str(request.param)


def run_scene(name: str, target: str, folder: Path, **environment: str) -> str:
    (folder / "files").mkdir()
    script = PROGRAMS / "interrupted_writes.py"
    done = run_python(script, name, target, folder / "files", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_at_any_instant(target: str, tmp_path: Path) -> None:
    assert "200 killed" in run_scene("killed", target, tmp_path)


def test_two_writers_of_one_target(target: str, tmp_path: Path) -> None:
    assert "120 written" in run_scene("together", target, tmp_path)


def test_disk_full_at_every_call(target: str, tmp_path: Path, disk: Path) -> None:
    told = run_scene("full", target, tmp_path, LD_PRELOAD=str(disk)).split()
    calls, refused = int(told[0]), int(told[2])
    # libdicube: front, sections, six frames, tables, two syncs (the last may fail), rename. Python:
    # six parts, and the same.
    assert refused == calls - 1
    assert calls >= (12 if target == "x.dcbs" else 8)


def test_power_lost_at_any_instant(target: str, tmp_path: Path, disk: Path) -> None:
    """Of each beginning of the calls only what was synced is there, and perhaps the rename."""
    run_scene("recorded", target, tmp_path, LD_PRELOAD=str(disk))
    new = (tmp_path / "files" / target).read_bytes()
    calls = calls_of((tmp_path / "record").read_bytes())
    names = [name for name, *_ in calls]
    assert names.count("rename") == 1
    assert len(calls) >= 8
    for count in range(len(calls) + 1):
        assert targets_after(calls[:count]) <= {None, new}
    assert targets_after(calls) == {new}  # what is finished stays


def test_power_lost_in_an_export(tmp_path: Path, disk: Path) -> None:
    """Each file is there whole or not at all, at any instant; when the export ends all are."""
    run_scene("export", "x.dcm", tmp_path, LD_PRELOAD=str(disk))
    calls = calls_of((tmp_path / "record").read_bytes())
    written = {path.read_bytes() for path in (tmp_path / "files").iterdir()}
    names = {file for _, file, _, _ in calls} - {"."}
    assert len(written) == len(names) == 20
    seen = set[bytes | None]()
    for name in names:
        of_file = [call for call in calls if call[1] in (name, ".")]
        (whole,) = targets_after(of_file)
        for count in range(len(of_file)):
            assert targets_after(of_file[:count]) <= {None, whole}
        seen.add(whole)
    assert seen == written


Call = tuple[str, str, int, bytes]


def calls_of(record: bytes) -> list[Call]:
    calls = []
    while record:
        line, _, record = record.partition(b"\n")
        name, file, offset, size = line.decode().split()
        calls.append((name, file, int(offset), record[: int(size)]))
        record = record[int(size) :]
    return calls


def targets_after(calls: list[Call]) -> set[bytes | None]:
    """What may be the target after a loss of power; None for what it was before."""
    synced, waiting, renamed, is_kept = bytearray(), list[Call](), False, False
    for call in calls:
        if call[0] == "write":
            waiting.append(call)
        elif call[0] == "sync":
            for _, _, offset, data in waiting:
                synced.extend(bytes(max(0, offset + len(data) - len(synced))))
                synced[offset : offset + len(data)] = data
            waiting = []
        elif call[0] == "rename":
            renamed = True
        else:
            is_kept = renamed
    targets: set[bytes | None] = set() if is_kept else {None}
    return targets | ({bytes(synced)} if renamed else set())


def test_losing_power_before_a_sync_would_be_seen() -> None:
    calls: list[Call] = [("write", "x", 0, b"new"), ("rename", "x", 0, b""), ("sync", "x", 0, b"")]
    assert targets_after(calls[:2]) == {None, b""}
    assert targets_after(calls) == {None, b"new"}


def test_leftovers_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    frames = np.zeros((1, 8, 8), np.int16)
    target = tmp_path / "x.dcbs"
    held = DcbWriter(target, frames.shape, frames.dtype)
    (name,) = [path.name for path in tmp_path.iterdir()]
    with DcbWriter(target, frames.shape, frames.dtype) as writer:
        writer.write_frames(frames)
    assert {path.name for path in tmp_path.iterdir()} == {name, "x.dcbs"}
    held.write_frames(frames)
    held.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcbs"]

    # What nobody holds goes; what somebody holds, and other files, stay.
    (tmp_path / name).write_bytes(b"left behind")
    (tmp_path / ".dicube-000000000000").write_bytes(b"of another target")
    with (tmp_path / name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with DcbWriter(target, frames.shape, frames.dtype) as writer:
            writer.write_frames(frames)
        assert (tmp_path / name).exists()
    with DcbWriter(target, frames.shape, frames.dtype) as writer:
        writer.write_frames(frames)
    assert {path.name for path in tmp_path.iterdir()} == {".dicube-000000000000", "x.dcbs"}
