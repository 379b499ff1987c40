"""Long calls that Ctrl-C interrupts, run as a program of its own by test_ctrl_c.py.

    python interrupted_calls.py SCENE FOLDER

Each scene runs whole first, then again with a SIGINT in the middle, then whole once more. Fails
unless the second run raises KeyboardInterrupt long before it would have ended, and leaves nothing.
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
from dicube.storage.dcb_file import DcbReader, DcbWriter

THREADS = 2
SHAPE = (16, 160, 160)


def volume_of(frames: int) -> np.ndarray:
    """Return frames that take JPEG XL long."""
    axes = np.meshgrid(*(np.linspace(0, 3, side) for side in SHAPE[1:]), indexing="ij")
    noise = np.random.default_rng(0).normal(0, 40, (frames, *SHAPE[1:]))
    return (np.sin(axes[0] + axes[1]) * 1000 + 2000 + noise).astype(np.uint16)


def file_of(path: Path, frames: int) -> None:
    """Write a file of many frames, of which few are different."""
    few = volume_of(4)
    image, small = DicomCubeImage(few), path.with_name("few" + path.suffix)
    image.to_file(small, roi=few > 2000 if path.suffix == ".dcbr" else None)
    with DcbReader(small) as reader:
        coded = reader.coded_frames()
    small.unlink()
    with DcbWriter(path, (frames, *SHAPE[1:]), few.dtype) as writer:
        writer.write_coded_frames([coded[number % 4] for number in range(frames)])


def encode(folder: Path) -> Callable[[], bytes]:
    """Write an image."""
    image = DicomCubeImage(volume_of(SHAPE[0]))
    target = folder / "x.dcba"

    def run() -> bytes:
        image.to_file(target, effort=7, num_threads=THREADS)
        return target.read_bytes()

    return run


def generator(folder: Path) -> Callable[[], bytes]:
    """Write frames as they come."""
    volume, target = volume_of(SHAPE[0]), folder / "x.dcba"

    def run() -> bytes:
        frames = iter(volume)
        dicube.write_frames(target, frames, SHAPE, volume.dtype, effort=7, num_threads=THREADS)
        return target.read_bytes()

    return run


def transfer_syntax(folder: Path) -> Callable[[], bytes]:
    """Write DICOM files of frames that have to be encoded."""
    image = DicomCubeImage(volume_of(60))
    image.init_meta()
    target = folder / "out"

    def run() -> bytes:
        image.to_dicom_folder(target, transfer_syntax="jpegxl", num_threads=THREADS, overwrite=True)
        return b"".join(path.read_bytes() for path in sorted(target.iterdir()))

    return run


def decode(folder: Path) -> Callable[[], bytes]:
    """Read an image."""
    path = folder / "x.dcba"
    file_of(path, 150)
    return lambda: DicomCubeImage.from_file(path, num_threads=THREADS).raw_image.tobytes()


def real_values(folder: Path) -> Callable[[], bytes]:
    """Read real values of an open file, which stays open."""
    path = folder / "x.dcba"
    file_of(path, 150)
    cube = dicube.open(path, num_threads=THREADS)
    return lambda: cube.get_fdata().tobytes()


def file_object(folder: Path) -> Callable[[], bytes]:
    """Read a file object, which libdicube calls back for."""
    path = folder / "x.dcba"
    file_of(path, 150)
    file = path.open("rb")
    return lambda: DicomCubeImage.from_file(file, num_threads=THREADS).raw_image.tobytes()


def masks(folder: Path) -> Callable[[], bytes]:
    """Read an image and its masks."""
    path = folder / "x.dcbr"
    file_of(path, 80)
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


def main() -> None:
    """Run the scene of the command line."""
    folder = Path(sys.argv[2])
    run = SCENES[sys.argv[1]](folder)
    run()  # loads what is loaded once
    begin = time.monotonic()
    expected = run()
    whole = time.monotonic() - begin
    before, threads = files_in(folder), len(os.listdir("/proc/self/task"))

    sent = [0.0]

    def interrupt() -> None:
        sent[0] = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(whole / 4, interrupt)
    timer.start()
    try:
        run()
    except KeyboardInterrupt:
        waited = time.monotonic() - sent[0]
    timer.join()
    assert files_in(folder) == before
    assert threads_beyond(threads) <= 0
    assert waited < whole / 2, f"{waited:.2f} of {whole:.2f} s"
    assert run() == expected
    print(f"{whole:.2f} s, interrupted in {waited:.3f} s")


main()
