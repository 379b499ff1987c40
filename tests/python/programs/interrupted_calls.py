"""Long calls that Ctrl-C interrupts, run as a program of its own by test_ctrl_c.py.

    python interrupted_calls.py SCENE FOLDER

Each scene runs whole first, then with a SIGINT after an eighth of that work, then whole once more.
Fails unless the second run raises KeyboardInterrupt, has read and written less, and leaves nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import dicube
from dicube import DicomCubeImage
from dicube.storage import DcbReader, DcbWriter

THREADS = 2
SIDE = 160


def volume_of(frames: int, side: int = SIDE) -> np.ndarray:
    """Return frames that take JPEG XL long."""
    line = np.linspace(0, 3, side)
    noise = np.random.default_rng(0).normal(0, 40, (frames, side, side))
    return (np.sin(line + line[:, None]) * 1000 + 2000 + noise).astype(np.uint16)


def file_of(path: Path, frames: int) -> None:
    """Write a file of many frames, of which few are different."""
    few = volume_of(4)
    image, small = DicomCubeImage(few), path.with_name("few" + path.suffix)
    image.to_file(small, effort=7, roi=few > 2000 if path.suffix == ".dcbr" else None)
    with DcbReader(small) as reader:
        coded = reader.coded_frames()
    small.unlink()
    with DcbWriter(path, (frames, SIDE, SIDE), few.dtype) as writer:
        writer.write_coded_frames([coded[number % 4] for number in range(frames)])


def encode(folder: Path) -> Callable[[], bytes]:
    """Write an image."""
    image = DicomCubeImage(volume_of(8, 448))
    target = folder / "x.dcba"

    def run() -> bytes:
        image.to_file(target, effort=7, num_threads=THREADS)
        return target.read_bytes()

    return run


def generator(folder: Path) -> Callable[[], bytes]:
    """Write frames as they come."""
    volume, target = volume_of(8, 448), folder / "x.dcba"

    def run() -> bytes:
        frames, kind = iter(volume), (volume.shape, volume.dtype)
        dicube.write_frames(target, frames, *kind, effort=7, num_threads=THREADS)
        return target.read_bytes()

    return run


def transfer_syntax(folder: Path) -> Callable[[], bytes]:
    """Write DICOM files of frames that have to be encoded."""
    image = DicomCubeImage(volume_of(300))
    image.init_meta()
    target = folder / "out"

    def run() -> bytes:
        image.to_dicom_folder(target, transfer_syntax="jpegxl", num_threads=THREADS, overwrite=True)
        return b"".join(path.read_bytes() for path in sorted(target.iterdir()))

    return run


def decode(folder: Path) -> Callable[[], bytes]:
    """Read an image."""
    path = folder / "x.dcba"
    file_of(path, 1000)
    return lambda: DicomCubeImage.from_file(path, num_threads=THREADS).raw_image.tobytes()


def real_values(folder: Path) -> Callable[[], bytes]:
    """Read real values of an open file, which stays open."""
    path = folder / "x.dcba"
    file_of(path, 1000)
    cube = dicube.open(path, num_threads=THREADS)
    return lambda: cube.get_fdata().tobytes()


def file_object(folder: Path) -> Callable[[], bytes]:
    """Read a file object, which libdicube calls back for."""
    path = folder / "x.dcba"
    file_of(path, 1000)
    file = path.open("rb")
    return lambda: DicomCubeImage.from_file(file, num_threads=THREADS).raw_image.tobytes()


def masks(folder: Path) -> Callable[[], bytes]:
    """Read an image and its masks."""
    path = folder / "x.dcbr"
    file_of(path, 400)
    return lambda: DicomCubeImage.from_file(path, num_threads=THREADS).raw_image.tobytes()


SCENES = {
    scene.__name__: scene
    for scene in (encode, generator, transfer_syntax, decode, real_values, file_object, masks)
}


def files_in(folder: Path) -> dict[Path, bytes]:
    """Return the files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def threads_beyond(number: int) -> int:
    """Return how many more threads there are; one that was joined may linger."""
    for _ in range(1000):
        if len(os.listdir("/proc/self/task")) <= number:
            break
        time.sleep(0.01)
    return len(os.listdir("/proc/self/task")) - number


def bytes_moved() -> int:
    """Return how many bytes this process has read and written by calls of the system."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]) + int(counts["wchar"])


def main() -> None:
    """Run the scene of the command line."""
    folder = Path(sys.argv[2])
    run = SCENES[sys.argv[1]](folder)
    moved, worked = bytes_moved(), time.process_time()
    expected = run()
    all_moved, all_worked = bytes_moved() - moved, time.process_time() - worked
    before, threads = files_in(folder), len(os.listdir("/proc/self/task"))

    def interrupt(at: float) -> None:
        while time.process_time() < at:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    moved, worked = bytes_moved(), time.process_time()
    thread = threading.Thread(target=interrupt, args=(worked + all_worked / 8,))
    thread.start()
    try:
        run()
    except KeyboardInterrupt:
        moved = bytes_moved() - moved
    else:
        raise AssertionError("ran to its end")
    thread.join()
    assert moved < all_moved, f"{moved} of {all_moved} bytes"
    assert files_in(folder) == before
    assert threads_beyond(threads) <= 0
    assert run() == expected
    print(f"interrupted after {moved} of {all_moved} bytes")


main()
