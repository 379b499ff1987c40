"""Measure what opening costs: `python tests/bench/opening.py FOLDER [--slices N ...]`.

For files of 100, 1,000 and 4,000 slices of 8 x 8, measures `dicube.open`, then PatientName, then
the positions of the slices. Their metadata are those of the series in FOLDER, repeated, with values
of their own where slices differ in any series. Then measures commands, each in a new process.
Prints the least of several runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import dicube

SLICES = [100, 1000, 4000]
REPEATS = 9
COMMANDS = {
    "python -c 'import numpy'": ["-c", "import numpy"],
    "dicube --version": ["-m", "dicube", "--version"],
    "dicube info FILE": ["-m", "dicube", "info"],
}


def write_slices(path: Path, folder: Path, count: int) -> None:
    """Write a file of small slices with the metadata of a series, repeated."""
    source = dicube.read_dicom_dir(folder)
    datasets = []
    for number in range(count):
        dataset = source.dataset(number % source.slice_count)
        dataset.Rows = dataset.Columns = 8
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = [-115.5, -1.85, number * 0.5]
        datasets.append(dataset)
    meta = dicube.DicomMeta.from_datasets(datasets)
    dicube.DicomCubeImage(np.zeros((count, 8, 8), np.uint16), dicom_meta=meta).to_file(path)


def measure_file(path: Path) -> list[float]:
    """Return the milliseconds to open a file, to get a value of the series, and one per slice."""
    runs = []
    for _ in range(REPEATS):
        times = [time.perf_counter()]
        with dicube.open(path) as cube:
            times.append(time.perf_counter())
            assert cube.dicom_meta is not None
            cube.dicom_meta.get("PatientName")
            times.append(time.perf_counter())
            cube.dicom_meta.get("ImagePositionPatient")
            times.append(time.perf_counter())
        runs.append(np.diff(times) * 1e3)
    return [float(least) for least in np.min(runs, axis=0)]


def measure_command(arguments: list[str]) -> float:
    """Return the milliseconds that a command takes."""
    runs = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        runs.append(time.perf_counter() - start)
    return min(runs) * 1e3


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a DICOM series")
    parser.add_argument("--slices", type=int, nargs="*", default=SLICES, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print("| slices | open, ms | PatientName, ms | positions, ms |\n|---|---|---|---|")
        for count in options.slices:
            path = Path(scratch) / f"{count}.dcbs"
            write_slices(path, options.folder, count)
            cells = " | ".join(f"{figure:.2f}" for figure in measure_file(path))
            print(f"| {count} | {cells} |", flush=True)
        path = Path(scratch) / "series.dcbs"
        dicube.DicomCubeImage.from_dicom_folder(options.folder).to_file(path)
        print("\n| command | ms |\n|---|---|")
        for name, arguments in COMMANDS.items():
            arguments = [*arguments, str(path)] if "FILE" in name else arguments
            print(f"| {name} | {measure_command(arguments):.0f} |", flush=True)


if __name__ == "__main__":
    main()
