"""Writers that are interrupted, run as a program of its own by test_whole_files.py.

    python interrupted_writes.py killed|together|full|recorded|export TARGET FOLDER

TARGET is a name in inputs.file_writers. Prints one line with what was tried. Fails if the target is
ever anything but one whole file.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time
from pathlib import Path

from inputs.file_writers import write_target

from dicube.exceptions import CubeFileAccessError
from dicube.whole_files import WholeFiles

KILLS = 60
ROUNDS = 20
FILES = 20


def leftovers(folder: Path) -> list[str]:
    """Return the names in the folder that are not the target's."""
    return [name for name in os.listdir(folder) if name.startswith(".")]


def child(target: Path, values: list[int], rounds: int | None) -> int:
    """Start a process that writes; for ever, if no number of rounds is given."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            while rounds is None or rounds > 0:
                for value in values:
                    write_target(target, value)
                rounds = None if rounds is None else rounds - 1
            status = 0
        finally:
            os._exit(status)
    return pid


def killed(folder: Path, target: Path, whole: list[bytes]) -> None:
    """Kill writers at random instants; each next one removes what the last one left."""
    left = 0
    chance = random.Random(0)
    for _ in range(KILLS):
        pid = child(target, [1, 2], None)
        time.sleep(chance.uniform(0.001, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert target.read_bytes() in whole
        found = leftovers(folder)
        assert len(found) <= 1, found
        left += len(found)
    write_target(target, 1)
    assert leftovers(folder) == []
    print(f"{KILLS} killed, {left} left something behind")
    assert left > 0


def together(folder: Path, target: Path, whole: list[bytes]) -> None:
    """Let two writers write one target at once; both succeed, and readers see whole files."""
    writers = {child(target, [value], ROUNDS) for value in (1, 2)}
    reads = 0
    while writers:
        assert target.read_bytes() in whole
        reads += 1
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            assert status == 0
            writers.remove(pid)
    assert leftovers(folder) == []
    print(f"{2 * ROUNDS} written, {reads} reads")


def full(folder: Path, target: Path, whole: list[bytes]) -> None:
    """Let the disk be full at each call in turn."""
    disk = ctypes.CDLL(None)
    disk.disk_full_at(0)
    write_target(target, 1)
    calls = disk.disk_calls()
    refused = 0
    names = (target, f"{folder}: the original file of slice 0")  # as restored files are named
    told = [f"{name}: cannot write: No space left on device" for name in names]
    for call in range(1, calls + 1):
        disk.disk_full_at(call)
        try:
            write_target(target, 2)
        except CubeFileAccessError as error:
            assert error.message in told
            assert target.read_bytes() == whole[0]
            refused += 1
        else:  # the folder was not flushed, after the file took its name
            assert call == calls
            assert target.read_bytes() == whole[1]
        assert leftovers(folder) == []
    print(f"{calls} calls, {refused} refused")


def recorded(folder: Path, target: Path, whole: list[bytes]) -> None:
    """Record what a writer asks of the disk."""
    target.chmod(0o600)
    disk = ctypes.CDLL(None)
    disk.record_to(os.fsencode(folder.parent / "record"))
    write_target(target, 2)
    disk.record_to(None)
    assert target.read_bytes() == whole[1]


def export(folder: Path, target: Path, whole: list[bytes]) -> None:
    """Record what writing many files, one of which is there, asks of the disk."""
    disk = ctypes.CDLL(None)
    disk.record_to(os.fsencode(folder.parent / "record"))
    with WholeFiles(str(folder)) as files:
        for number in range(FILES):
            files.write(
                f"{number}.dcm" if number else target.name,
                [bytes([number]) * 30000 for _ in range(3)],
            )
    disk.record_to(None)
    assert len(os.listdir(folder)) == FILES


def main() -> None:
    """Run the scene of the command line, on a target that is there already."""
    folder = Path(sys.argv[3])
    target = folder / sys.argv[2]
    whole = []
    for value in (2, 1):
        write_target(target, value)
        whole.insert(0, target.read_bytes())
    scenes = (killed, together, full, recorded, export)
    {scene.__name__: scene for scene in scenes}[sys.argv[1]](folder, target, whole)


main()
