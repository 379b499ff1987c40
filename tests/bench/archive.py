"""Measure an archive of many series.

usage: python tests/bench/archive.py [add] [list] [index] [scaling] [kills] [OPTIONS]

add      N synthetic series of 8 x 64 x 64: the bare loop of from_dicom_folder, to_file, from_file
         and SHA-256 of the sources, in as many processes; `Archive.add`; the same again with
         nothing new; and the memory of the coordinator.
index    the catalogue of these anew, in one process.
list     `Archive.rows(patient=)` with a million instances in the catalogue.
scaling  real series (--folder) in one process and in two, with one codec thread each.
kills    kill -9 of the coordinator at random instants, and of workers at as many: the archive must
         then equal that of an undisturbed run, file by file. Exits with 1 if it doesn't.

Without a word, all that the options allow. Times are the best of --repeat runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import dicube
from dicube.archive.catalogue import Catalogue
from dicube.archive.record import (
    INSTANCE,
    PATIENT,
    SERIES,
    STUDY,
    Entry,
    InstanceRecord,
    SeriesRecord,
)

SLICES, SIDE = 8, 64
ROOT = "1.2.826.0.1.3680043.8.498.23"


# -------------------------------------------------------------------------------------- input


def make_tree(folder: Path, count: int) -> None:
    """Write so many series, ten of each patient."""
    wave = np.sin(np.arange(SIDE) / 9)
    noise = np.random.default_rng(0).normal(0, 12, (64 + SLICES, SIDE, SIDE))
    for number in range(count):
        series = folder / f"{number // 100:04}" / f"{number:06}"
        series.mkdir(parents=True)
        for index in range(SLICES):
            pixels = 1000 + 400 * wave[:, None] * wave + noise[number % 64 + index]
            dataset = make_slice(number, index)
            dataset.PixelData = pixels.astype("<i2").tobytes()
            dataset.save_as(series / f"{index:03}.dcm", enforce_file_format=True)


def make_slice(number: int, index: int) -> Dataset:
    """Make a slice of a series, without pixels."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.SOPInstanceUID = f"{ROOT}.{number}.{index + 1}"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = f"{ROOT}.{number}", f"{ROOT}.{number}.0"
    dataset.PatientID, dataset.PatientName = f"P{number // 10}", f"DOE^{number // 10}"
    dataset.StudyDate, dataset.SeriesNumber = f"2024{number % 12 + 1:02}01", number % 10
    dataset.InstanceNumber, dataset.ImagePositionPatient = index + 1, [-10, 20, 2.5 * index]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.5]
    dataset.SliceThickness, dataset.SamplesPerPixel = 2.5, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation, dataset.RescaleSlope, dataset.RescaleIntercept = 1, 1, -1024
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


# ---------------------------------------------------------------------------------- add, index


def bare(task: tuple[str, str]) -> None:
    """Store one series, read it back, and hash its sources."""
    folder, target = task
    image = dicube.DicomCubeImage.from_dicom_folder(folder, num_threads=1)
    image.to_file(target, num_threads=1, exact="always")
    dicube.DicomCubeImage.from_file(target, num_threads=1)
    for path in sorted(Path(folder).iterdir()):
        hashlib.sha256(path.read_bytes()).hexdigest()


def bare_loop(tree: Path, out: Path, workers: int) -> float:
    """Return the seconds that the bare loop takes."""
    out.mkdir()
    folders = sorted(path for path in tree.glob("*/*") if path.is_dir())
    begun = time.perf_counter()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        tasks = ((str(folder), str(out / f"{folder.name}.dcba")) for folder in folders)
        list(pool.map(bare, tasks, chunksize=8))
    return time.perf_counter() - begun


def measure_add(scratch: Path, count: int, workers: int, repeat: int) -> dict[str, Any]:
    """Measure the bare loop, an addition, and the same again, in turns."""
    tree = scratch / "tree"
    if not tree.exists():
        make_tree(tree, count)
    loops, adds = [], []
    for number in range(repeat):
        loops.append(bare_loop(tree, scratch / f"bare{number}", workers))
        shutil.rmtree(scratch / f"bare{number}")
        shutil.rmtree(scratch / "archive", ignore_errors=True)
        adds.append(run_self("_add", scratch / "archive", tree, str(workers)))
        assert adds[-1]["counts"] == {"added": count}, adds[-1]
    again = [run_self("_add", scratch / "archive", tree, str(workers)) for _ in range(repeat)]
    assert again[0]["counts"] == {"present": count}, again[0]
    add, repeated = min(one["seconds"] for one in adds), min(one["seconds"] for one in again)
    return {
        "series": count,
        "workers": workers,
        "bare loop, s": min(loops),
        "add, s": add,
        "add / bare loop": add / min(loops),
        "again, s": repeated,
        "again / add": repeated / add,
        "coordinator, MB": max(one["peak"] for one in (*adds, *again)) / 1e6,
    }


def add(archive: str, tree: str, workers: str) -> dict[str, Any]:
    """Add a tree; return the seconds, the peak of memory in bytes, and the counts."""
    begun = time.perf_counter()
    report = dicube.Archive(archive).add(tree, workers=int(workers), num_threads=1)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak": peak, "counts": report.counts}


def measure_index(scratch: Path, repeat: int) -> dict[str, Any]:
    """Measure how many files a second one process brings into a catalogue."""
    archive = dicube.Archive(scratch / "archive")
    best = 0.0
    for _ in range(repeat):
        (scratch / "archive" / "catalogue.sqlite").unlink(missing_ok=True)
        begun = time.perf_counter()
        report = archive.index(workers=1)
        best = max(best, report.files / (time.perf_counter() - begun))
    return {"index, files/s": best, "files": report.files}


# --------------------------------------------------------------------------------------- list


def measure_list(scratch: Path, instances: int, repeat: int) -> dict[str, Any]:
    """Measure the rows of a patient, in a catalogue of so many instances."""
    path, each = scratch / "many.sqlite", 100
    if not path.exists():
        with Catalogue(str(path), create=True) as catalogue:
            for first in range(0, instances // each, 500):
                with catalogue.changes():
                    catalogue.put([entry(number, each) for number in range(first, first + 500)])
    archive = dicube.Archive(scratch / "none", path)
    seconds = []
    for number in range(20 * repeat):
        begun = time.perf_counter()
        rows = archive.rows(patient=f"P{number * 7}")
        seconds.append(time.perf_counter() - begun)
        assert len(rows) == 10
    return {"instances": instances, "list --patient, ms": 1e3 * sorted(seconds)[len(seconds) // 2]}


def entry(number: int, count: int) -> Entry:
    """Return what a catalogue stores of a series."""
    dataset = make_slice(number, 0)

    def values(keywords: tuple[str, ...]) -> dict[str, Any]:
        found = {keyword: dataset.get(keyword) for keyword in keywords}
        return {k: v if v is None or k == "SeriesNumber" else str(v) for k, v in found.items()}

    instances = []
    for index in range(count):
        uid = f"{ROOT}.{number}.{index + 1}"
        row = (uid, str(CTImageStorage), index + 1, SIDE, SIDE, 16, 1)
        assert len(row) == len(INSTANCE)
        instances.append(
            InstanceRecord(row, f"{index}.dcm", index, f"{number * count + index:064}")
        )
    record = SeriesRecord(
        values(PATIENT),
        values(STUDY),
        values(SERIES),
        (count, SIDE, SIDE),
        "int16",
        (2.5, 0.5, 0.5),
        "consistent",
        1 << 20,
        1 << 21,
        True,
        {},
        tuple(instances),
    )
    return Entry(f"{ROOT}.{number}.0/{ROOT}.{number}.dcba", record, transformed=False)


# ------------------------------------------------------------------------------------ scaling


def measure_scaling(scratch: Path, folder: Path, copies: int, repeat: int) -> dict[str, Any]:
    """Measure two processes against one, on real series, each given several times."""
    tree = scratch / "real"
    if not tree.exists():
        copy_series(folder, tree, copies)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeat):
        for workers, found in seconds.items():
            shutil.rmtree(scratch / "scaled", ignore_errors=True)
            result = run_self("_add", scratch / "scaled", tree, str(workers))
            assert result["counts"].keys() == {"added"}, result
            found.append(result["seconds"])
    one, two = (min(found) for found in seconds.values())
    return {"one process, s": one, "two processes, s": two, "one / two": one / two}


def copy_series(folder: Path, target: Path, copies: int) -> None:
    """Copy the series below a folder several times, each with UIDs of its own."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    for number in range(copies):
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            try:
                dataset = dcmread(path)
            except InvalidDicomError:
                continue
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                if keyword in dataset:
                    text = f"{number} {dataset[keyword].value}".encode()
                    uid = int.from_bytes(hashlib.sha256(text).digest()[:15], "big")
                    setattr(dataset, keyword, f"2.25.{uid}")
            out = target / str(number) / path.relative_to(folder)
            out.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(out)


# -------------------------------------------------------------------------------------- kills


def measure_kills(scratch: Path, series: int, kills: int, seed: int) -> dict[str, Any]:
    """Kill coordinators and workers at random instants; compare the archives in the end."""
    random.seed(seed)
    tree = scratch / "killed-tree"
    shutil.rmtree(tree, ignore_errors=True)
    make_tree(tree, series)
    expected = scratch / "undisturbed"
    shutil.rmtree(expected, ignore_errors=True)
    seconds = run_self("_add", expected, tree, "2")["seconds"]
    equal = {}
    for whom, kill in (("coordinator", kill_coordinator), ("worker", kill_worker)):
        archive, right = scratch / "disturbed", 0
        for number in range(kills):
            shutil.rmtree(archive, ignore_errors=True)
            add_and_kill(archive, tree, random.uniform(0.3, seconds), kill)
            run_self("_add", archive, tree, "2")
            found = differences(expected, archive)
            right += not found
            if found:
                print(f"{whom} killed, run {number}: {found}", file=sys.stderr)
        equal[f"{whom} killed, archives equal"] = f"{right} of {kills}"
    return equal


def add_and_kill(
    archive: Path, tree: Path, seconds: float, kill: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    """Run an addition, and kill one of its processes after a time."""
    command = [sys.executable, __file__, "_add", str(archive), str(tree), "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)
    process.wait(600)


def kill_coordinator(process: subprocess.Popen[bytes]) -> None:
    """Kill the process that hands out series."""
    process.kill()


def kill_worker(process: subprocess.Popen[bytes]) -> None:
    """Kill one of the processes that store series."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"spawn_main" in command_of(child)]
    if workers:
        os.kill(random.choice(workers), signal.SIGKILL)


def command_of(process: str) -> bytes:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def differences(expected: Path, found: Path) -> list[str]:
    """Return which files and rows differ between two archives."""
    one, other = contents(expected), contents(found)
    names = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    rows = [rows_of(expected), rows_of(found)]
    return sorted(names) + ["the catalogues"] * (rows[0] != rows[1])


def contents(archive: Path) -> dict[str, bytes]:
    """Return the SHA-256 of each file of an archive, besides the catalogue."""
    files = (path for path in archive.rglob("*") if path.is_file())
    return {
        str(path.relative_to(archive)): hashlib.sha256(path.read_bytes()).digest()
        for path in files
        if not path.name.startswith(("catalogue.sqlite", ".dicube-lock"))
    }


def rows_of(archive: Path) -> list[Any]:
    """Return what the catalogue has, besides times."""
    opened = dicube.Archive(archive)
    found = []
    for series in opened.series():
        row = {key: value for key, value in series.values.items() if key != "added"}
        found.append((row, opened.instances(series)))
    return found


# ---------------------------------------------------------------------------------------- run


def run_self(task: str, *arguments: Any) -> Any:
    """Run a task of this tool in a process of its own; return what it prints."""
    command = [sys.executable, __file__, task, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> int:
    """Run the tool."""
    if sys.argv[1:2] == ["_add"]:
        print(json.dumps(add(*sys.argv[2:])))
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = ("add", "index", "list", "scaling", "kills")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(words))
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="real series, for scaling")
    parser.add_argument("--copies", type=int, default=4, help="of each real series")
    parser.add_argument("--kills", type=int, default=50, help="of coordinators, and of workers")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder to work in, which is kept")
    options = parser.parse_args()
    if unknown := set(options.what) - set(words):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    what = options.what or [word for word in words if word != "scaling" or options.folder]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(options.scratch or temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        results: dict[str, Any] = {}
        if "add" in what or "index" in what:
            results |= measure_add(scratch, options.series, options.workers, options.repeat)
        if "index" in what:
            results |= measure_index(scratch, options.repeat)
        if "list" in what:
            results |= measure_list(scratch, options.instances, options.repeat)
        if "scaling" in what:
            results |= measure_scaling(scratch, options.folder, options.copies, options.repeat)
        if "kills" in what:
            results |= measure_kills(scratch, 60, options.kills, options.seed)
    for name, value in results.items():
        print(f"{name:36}{value:.3f}" if isinstance(value, float) else f"{name:36}{value}")
    texts = [value for value in results.values() if isinstance(value, str)]
    return int(any(text.split()[0] != text.split()[-1] for text in texts))


if __name__ == "__main__":
    sys.exit(main())
