"""Measure the cost of checksums: `python tests/bench/checks.py FOLDER [FOLDER ...] [--repeats N]`.

For each folder's series, as .dcbs and as .dcba, prints two figures. The first is the processor time
of the checksum of all bytes of the file, as a share of a load without checks on one thread; it is
steady even on a busy machine. The second is the extra time of a load with checks, measured in one
process that alternates loads with and without, on one thread and on all; minimum and median of the
repeats.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from efforts import seconds

from dicube import DicomCubeImage, _native

Times = dict[bool, list[tuple[float, float]]]


def times_of(load: Callable[[bool], object], repeats: int) -> Times:
    """Return wall and processor seconds of alternating loads, with checks (True) and without."""
    found: Times = {True: [], False: []}
    load(True)
    for number in range(2 * repeats):
        verify = number % 4 in (0, 3)  # so that neither always comes second
        wall, processor = time.perf_counter(), time.process_time()
        load(verify)
        found[verify].append((time.perf_counter() - wall, time.process_time() - processor))
    return found


def share(path: Path, repeats: int) -> str:
    """Return the time of the checksum of a file's bytes, in percent of the time of a load."""
    data = np.fromfile(path, np.uint8)
    checksum = seconds(lambda: _native.checksum(data.ctypes.data, data.nbytes), repeats)
    load = seconds(lambda: DicomCubeImage.from_file(path, num_threads=1, verify=False), repeats)
    return f"{100 * checksum / load:.2f} %"


def overhead(times: Times, kind: int, of: Callable[[list[float]], float]) -> str:
    """Return the extra time of a load with checks, in percent."""
    with_checks, without = (of([time[kind] for time in times[verify]]) for verify in (True, False))
    return f"{100 * (with_checks / without - 1):+.1f} %"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    columns = ("processor, minimum", "processor, median", "wall, minimum", "wall, median")
    print(f"| series | checksum / load | threads | {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    for folder in options.folders:
        image = DicomCubeImage.from_dicom_folder(folder)
        for extension in (".dcbs", ".dcba"):
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / f"x{extension}"
                image.to_file(path)
                alone = share(path, options.repeats)
                for threads in (1, None):

                    def load(
                        verify: bool, path: Path = path, threads: int | None = threads
                    ) -> None:
                        DicomCubeImage.from_file(path, num_threads=threads, verify=verify)

                    times = times_of(load, options.repeats)
                    cells = [
                        overhead(times, kind, of)
                        for kind in (1, 0)
                        for of in (min, statistics.median)
                    ]
                    name = f"{Path(folder).name} {extension}"
                    print(
                        f"| {name} | {alone} | {threads or 'all'} | {' | '.join(cells)} |",
                        flush=True,
                    )


if __name__ == "__main__":
    sys.exit(main())
