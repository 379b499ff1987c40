"""What checksums cost of a load: `python tests/bench/checks.py FOLDER [FOLDER ...] [--repeats N]`.

Of each folder's series as .dcbs and .dcba: the processor time that the checksum of all the file's
bytes takes, as a share of that of a load without checks on one thread, which is steady on a busy
machine; and how much longer a load takes with checks than without, in one process, the two in
turns, on one thread and on all, by the least and the middle of all repeats.
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
    """Return wall and processor seconds of loads, with checks (True) and without, in turns."""
    found: Times = {True: [], False: []}
    load(True)
    for number in range(2 * repeats):
        verify = number % 4 in (0, 3)  # so that neither is always the second
        wall, processor = time.perf_counter(), time.process_time()
        load(verify)
        found[verify].append((time.perf_counter() - wall, time.process_time() - processor))
    return found


def share(path: Path, repeats: int) -> str:
    """Return the time that the checksum of a file's bytes takes, in percent of a load's."""
    data = np.fromfile(path, np.uint8)
    checksum = seconds(lambda: _native.checksum(data.ctypes.data, data.nbytes), repeats)
    load = seconds(lambda: DicomCubeImage.from_file(path, num_threads=1, verify=False), repeats)
    return f"{100 * checksum / load:.2f} %"


def overhead(times: Times, kind: int, of: Callable[[list[float]], float]) -> str:
    """Return how much longer a load takes with checks, in percent."""
    with_checks, without = (of([time[kind] for time in times[verify]]) for verify in (True, False))
    return f"{100 * (with_checks / without - 1):+.1f} %"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    columns = ("processor, least", "processor, middle", "wall, least", "wall, middle")
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
