"""Many threads that read many files in all ways at once; a program of its own, for test_load.py.

    python mixed_reads.py FOLDER FILES READS

Prints one line of counts. Fails on a wrong byte, an error that is none, or growth of the process.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader

THREADS = 8
SHARED = 16  # cubes that all threads read from
SHAPE = (12, 24, 36)
KINDS = (".dcbs", ".dcba", ".dcbr", ".dcbs", ".dcbl")
DAMAGED = 7  # the frame of each tenth file
MOST_GROWTH = 24 << 20

MASK = np.zeros(SHAPE, bool)
MASK[:, 5:15, 8:30] = True
NOISE = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.int16)


def volume_of(number: int) -> NDArray[np.int16]:
    """Return the frames of a file: no two files have the same."""
    return NOISE + np.int16(number) * 3 - 1000


class File:
    """A file, and what any read of it has to give."""

    def __init__(self, folder: Path, number: int) -> None:
        """Write it."""
        self.name = f"P{number}"
        self.path = folder / f"{number}{KINDS[number % len(KINDS)]}"
        self.volume = volume_of(number)
        image = DicomCubeImage(self.volume)
        image.init_meta(patient_name=self.name)
        image.pixel_header.RescaleIntercept = -1024.0
        if self.path.suffix == ".dcbl":
            image.to_file(self.path, max_error=3, num_threads=1)
            self.volume = DicomCubeImage.from_file(self.path, num_threads=1).raw_image
        else:
            roi = {"roi": MASK, "background": 0} if self.path.suffix == ".dcbr" else {}
            image.to_file(self.path, num_threads=1, **roi)
        with DcbReader(self.path, num_threads=1) as reader:
            levels = reader.levels
            self.half = reader.read_frames(level=1) if levels else None
            self.coded = [reader.coded(frame) for frame in range(SHAPE[0])]
            offset = reader.coded_range(DAMAGED)[0]
        self.is_damaged = number % 10 == 9
        if self.is_damaged:
            data = bytearray(self.path.read_bytes())
            data[offset + 9] ^= 1
            self.path.write_bytes(data)


def expect(found: object, expected: object) -> None:
    """Fail unless two arrays, or anything else, are the same."""
    if not np.array_equal(found, expected):  # type: ignore[arg-type]
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def whole(file: File, chance: random.Random) -> None:
    """Read an image, all that is intact of it."""
    try:
        image = DicomCubeImage.from_file(file.path, num_threads=chance.choice([1, 2]))
    except InvalidCubeFileError as error:
        expect(f"frame {DAMAGED}" in str(error) and file.is_damaged, True)
        image = DicomCubeImage.from_file(file.path, on_error="skip")
        expect(image.damaged_frames, (DAMAGED,))
        image = image.intact_part()
        expect(image.raw_image, np.delete(file.volume, DAMAGED, axis=0))
        return
    expect(file.is_damaged, False)
    expect(image.raw_image, file.volume)


def part(cube: dicube.Cube, file: File, chance: random.Random) -> None:
    """Read a frame, a region, real values or a level of a cube."""
    frame = chance.randrange(SHAPE[0])
    if file.is_damaged and frame == DAMAGED:
        try:
            cube[frame]
        except InvalidCubeFileError as error:
            expect(f"frame {DAMAGED}" in str(error), True)
            return
        raise AssertionError("the damaged frame was read")
    way = chance.randrange(4)
    if way == 0:
        expect(cube[frame], file.volume[frame])
    elif way == 1:
        row = chance.randrange(SHAPE[1])
        expect(cube[frame, row:, ::2], file.volume[frame, row:, ::2])
    elif way == 2:
        expect(cube.get_fdata(frame), file.volume[frame].astype("float32") - 1024)
    elif file.half is not None:
        expect(cube.at_level(1)[frame], file.half[frame])


def opened(file: File, chance: random.Random) -> None:
    """Open a file, read parts, leave closing to the last reference."""
    cube = dicube.open(file.path, num_threads=1, cache=chance.choice([0, 10000]))
    part(cube, file, chance)
    part(cube, file, chance)


def metadata(file: File, _chance: random.Random) -> None:
    """Read metadata alone."""
    meta = dicube.load_meta(file.path)
    expect(meta is not None and str(meta.get("PatientName")), file.name)


def coded(file: File, chance: random.Random) -> None:
    """Read a frame as it is coded."""
    frame = chance.randrange(SHAPE[0])
    with DcbReader(file.path.read_bytes()) as reader:
        if not file.is_damaged or frame != DAMAGED:
            expect(reader.coded(frame), file.coded[frame])


def resident() -> int:
    """Return the bytes that the process has in memory, those not given back apart."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    text = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmRSS:\s*(\d+) kB", text)[0]) * 1024


def main() -> None:
    """Write the files and read them."""
    folder, count, reads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore", UserWarning)  # of damage; tested elsewhere
    files = [File(folder, number) for number in range(count)]
    shared = [(dicube.open(file.path, cache=5000), file) for file in files[:SHARED]]
    counts: Counter[str] = Counter()
    failures: list[BaseException] = []
    lock = threading.Lock()

    def read(seed: int, times: int) -> Counter[str]:
        chance, done = random.Random(seed), Counter[str]()
        for _ in range(times):
            way = chance.choice([whole, opened, metadata, coded, part])
            if way is part:
                cube, file = chance.choice(shared)
                part(cube, file, chance)
            else:
                way(chance.choice(files), chance)
            done[way.__name__] += 1
        return done

    def run(seed: int, times: int) -> None:
        try:
            done = read(seed, times)
            with lock:
                counts.update(done)
        except BaseException as error:
            failures.append(error)
            raise

    sizes, handles, tasks = [], [], []
    begin = time.monotonic()
    for turn in range(4):
        threads = [
            threading.Thread(target=run, args=(turn * THREADS + seed, reads // THREADS // 4))
            for seed in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        sizes.append(resident())
        handles.append(len(os.listdir("/proc/self/fd")))
        tasks.append(threading.active_count())
    seconds = time.monotonic() - begin
    told = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    total = sum(counts.values())
    print(f"{THREADS} threads, {count} files, {total} reads in {seconds:.0f} s ({told})")
    print(f"resident {[size >> 20 for size in sizes]} MB, handles {handles}")
    assert sizes[-1] - sizes[0] < MOST_GROWTH, sizes
    assert len({*handles}) == 1, handles
    assert {*tasks} == {1}, tasks


main()
