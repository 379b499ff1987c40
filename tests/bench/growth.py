"""Measure how time and memory grow with frames, threads, frame size and beyond 4 GiB.

usage: python tests/bench/growth.py [--folder FOLDER] [--frames N ...] [--large] [--scratch FOLDER]

For each number of frames of 512 x 512 (100, 1,000 and 4,000), and for one and two threads, measures
the seconds to write them from a generator, to load them, and to read one; and the memory that each
needs beyond its input and output. The frames are those of a DICOM series (--folder) with added
noise, or synthetic ones.

--large also measures one frame of 16384 x 16384 in both formats, and a file beyond 4 GiB, of which
it reads the last frame. That takes 5 GB of disk and some minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dicube
from dicube import DicomCubeImage
from dicube.storage import DcbReader, DcbWriter

SIDE = 512
LARGE_SIDE = 16384
FRAMES = [100, 1000, 4000]


def status(field: str) -> int:
    """Return a field of this process's status, in bytes (Linux)."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def frames_like(source: Any, count: int) -> Iterator[Any]:
    """Yield the frames of a volume again and again, each with different noise."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 8, (64, SIDE, SIDE), np.int16)
    for number in range(count):
        yield source[number % len(source)] + noise[number * 37 % 64]


def source_of(folder: str) -> Any:
    """Return the volume that the frames are made from."""
    if folder:
        volume = DicomCubeImage.from_dicom_folder(folder).raw_image
        if volume.shape[1:] == (SIDE, SIDE):
            return volume.astype(np.int16)
    wave = np.sin(np.arange(SIDE) / 40)
    noise = np.random.default_rng(0).normal(0, 12, (16, SIDE, SIDE))
    return (1000 + 400 * wave[:, None] * wave + noise).astype(np.int16)


def large_frame() -> Any:
    """Return one frame of 16k x 16k."""
    rows = np.arange(LARGE_SIDE, dtype=np.uint32)
    frame = (rows[:, None] // 7 + rows // 5).astype(np.uint16) & 0xFFF
    frame ^= np.random.default_rng(0).integers(0, 8, frame.shape, np.uint16)
    return frame[np.newaxis]


def prepare(task: str, path: str, count: int, threads: int, folder: str) -> Callable[[], int]:
    """Return the function to measure. It returns the bytes of its input and output arrays."""
    if task == "write":
        source = source_of(folder)

        def write() -> int:
            shape = (count, SIDE, SIDE)
            frames = frames_like(source, count)
            dicube.write_frames(path, frames, shape, np.int16, num_threads=threads)
            return 64 * SIDE * SIDE * 2

        return write
    if task == "write large":
        volume = large_frame()

        def write_large() -> int:
            DicomCubeImage(volume).to_file(path, num_threads=threads)
            return 0

        return write_large
    if task == "load":
        return lambda: DicomCubeImage.from_file(path, num_threads=threads).raw_image.nbytes

    def one_frame() -> int:
        with DcbReader(path, num_threads=threads) as reader:
            return reader.read_frame_list([count - 1]).nbytes

    return one_frame


def run_task(arguments: list[str]) -> None:
    """Run one task and print its figures; needs a process of its own."""
    task, path, count, threads, folder = arguments
    action = prepare(task, path, int(count), int(threads), folder)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = status("VmRSS"), time.perf_counter()
    arrays = action()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "beyond": status("VmHWM") - before - arrays}))


def measure(task: str, path: Path, count: int, threads: int, folder: Path | None) -> str:
    """Return the figures of a task as table cells."""
    command = [sys.executable, __file__, "--task", task, str(path), str(count), str(threads)]
    done = subprocess.run([*command, str(folder or "")], stdout=subprocess.PIPE, check=True)
    figures = json.loads(done.stdout)
    return f"{figures['seconds']:.3f} s, {figures['beyond'] / 1e6:.0f} MB"


def grow(scratch: Path, counts: list[int], folder: Path | None) -> None:
    """Print time and memory by number of frames and threads."""
    print("| frames | threads | bytes | write | load | one frame |\n|---|---|---|---|---|---|")
    for count in counts:
        for threads in (1, 2):
            path = scratch / "growth.dcbs"
            tasks = ("write", "load", "one frame")
            cells = [measure(task, path, count, threads, folder) for task in tasks]
            size = f"{path.stat().st_size / 1e6:.0f} MB"
            print(f"| {count} | {threads} | {size} | " + " | ".join(cells), "|", flush=True)


def beyond_4_gib(scratch: Path) -> None:
    """Write a file beyond 4 GiB, and read its last frame."""
    noise = np.random.default_rng(2).integers(0, 1 << 16, (2, 4096, 4096), np.uint16)
    path, parts = scratch / "beyond.dcbs", []
    for frame in noise:
        with DcbWriter(scratch / "one.dcbs", (1, *frame.shape), frame.dtype) as writer:
            writer.write_frames(frame[np.newaxis])
        with DcbReader(scratch / "one.dcbs") as reader:
            parts.append(reader.coded(0))
    count = (1 << 32) // len(parts[0]) + 2
    start = time.perf_counter()
    with DcbWriter(path, (count, *noise.shape[1:]), noise.dtype) as writer:
        for _ in range(count - 1):
            writer.write_coded(parts[0])
        writer.write_coded(parts[1])
    with DcbReader(path) as reader:
        assert reader.coded_range(count - 1)[0] > 1 << 32
        assert np.array_equal(reader.read_frame_list([-1, 0]), noise[::-1])
        size = reader.file_size
    print(f"\n{size / (1 << 30):.2f} GiB: written and read in {time.perf_counter() - start:.1f} s")


def large_frames(scratch: Path) -> None:
    """Write and read one frame of 16k x 16k in both formats, on one thread and on two."""
    print(f"\n| {LARGE_SIDE}² | threads | bytes | write | load |\n|---|---|---|---|---|")
    for extension in (".dcbs", ".dcba"):
        path = scratch / f"large{extension}"
        for threads in (1, 2):
            tasks = ("write large", "load")
            cells = [measure(task, path, 1, threads, None) for task in tasks]
            size = f"{path.stat().st_size / 1e6:.0f} MB"
            print(f"| {extension} | {threads} | {size} | " + " | ".join(cells), "|", flush=True)


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["--task"]:
        run_task(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a DICOM series of 512 x 512")
    parser.add_argument("--frames", type=int, nargs="*", default=FRAMES, metavar="N")
    parser.add_argument("--large", action="store_true", help="also beyond 4 GiB, and 16k x 16k")
    parser.add_argument("--scratch", type=Path, help="the folder for files (default: /tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        grow(Path(scratch), options.frames, options.folder)
        if options.large:
            beyond_4_gib(Path(scratch))
            large_frames(Path(scratch))


if __name__ == "__main__":
    main()
