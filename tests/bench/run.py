"""Compare dicube with other libraries: `python tests/bench/run.py [FOLDER ...]`.

All libraries store the same volume, that of a folder's DICOM series. They run in turn (A B C, A B C
and so on), each in a process of its own, on all cores, with files in the page cache. The warm-up
compares their output with the volume. The other libraries are installed once, into environments in
the user's cache.

For each folder it prints a table and the ratios that matter to dicube, and writes them as NAME.md,
all measurements as NAME.json and a plot as NAME.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "python"))

import numpy as np
from contest import Contestant, Jobs, compete
from environments import NotInstalled, python_for, variables_for
from inputs.http_server import FileServer
from report import machine, markdown
from results import Results
from stores import STORES, Series, Store
from stores.cubes import DicubeSpeed
from stores.store import Array, Range, Shape

PLOT = str(Path(__file__).parent / "plot.py")
PATCH = (64, 128, 128)

# A small volume is written and read several times in a row, as a user with thousands of them does.
# A single load of ten milliseconds would include the time in which a virtual machine wakes its
# second processor, which takes milliseconds.
BYTES_IN_A_ROW = 64 << 20
MOST_IN_A_ROW = 16

# Patches for training come from this many files. Each process reads them with one thread, like the
# workers of a data loader; the other rounds let a store use its own threads.
PATCH_FILES = 8
# Name: the operation, and the number of processes.
TRAINING = {
    "training": ("patch", 2),
    "training_one": ("patch", 1),
    "training_held": ("patch_held", 2),
    "training_held_one": ("patch_held", 1),
}

# What is also read over HTTP, from a server whose answers come so many seconds late.
LATENCY = 0.020
FAR = ("slice", "level_1", "level_2", "level_3", "read_cube")

# A frame as large as a mammogram, and a patch of it.
LARGE_FRAME = (4096, 3328)
LARGE_PATCH = (1, 256, 256)


@dataclass(frozen=True)
class Round:
    """Operations that run in turn, each with all stores that have it.

    Attributes:
        operations: methods of stores.
        jobs: the number of jobs timed together, so that short ones can be measured; None to choose
            it by the size of the volume.
    """

    operations: tuple[str, ...]
    jobs: int | None = None


ROUNDS = (
    # First, because it writes the files that the others read.
    Round(
        ("write", "write_without_originals", "write_pixels", "write_checked", "write_one_thread")
    ),
    Round(("read", "read_one_thread", "read_cube", "real", "level_1", "level_2", "level_3")),
    Round(("folder",)),
    Round(("open", "open_metadata"), jobs=5),
    Round(("slice",), jobs=5),
    Round(("patch",), jobs=3),
)


class Bench:
    """Measures one folder.

    Args:
        folder: the folder of one DICOM series.
        scratch: a folder for files.
        stores: the stores to measure.
        repeats: the number of counted runs of each.
        bare_loop: the program built from bare_loop.cpp; None to omit it.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        stores: list[type[Store]],
        repeats: int,
        bare_loop: Path | None = None,
    ) -> None:
        self._scratch = scratch
        self._stores = stores
        self._repeats = repeats
        self._bare_loop = bare_loop
        self._threads = os.cpu_count() or 1
        self._series = [_read_series(folder, scratch)]
        self.shape, self.dtype = _shape_and_dtype(self._series[0])
        if len(self.shape) != 3 or len(self._series[0].files) != self.shape[0]:
            raise SystemExit(f"{folder}: expected a series of gray slices, one per file")
        self.results = Results(int(np.prod(self.shape)) * self.dtype.itemsize)

    def measure(self) -> None:
        """Measure everything."""
        about = self._describe("series")
        in_a_row = min(-(-BYTES_IN_A_ROW // self.results.volume), MOST_IN_A_ROW)
        for kind in ROUNDS:
            contestants = {}
            for operation in kind.operations:
                for store in self._stores:
                    if hasattr(store, operation) and self._can(store):
                        jobs = self._jobs(store, operation, kind.jobs or in_a_row)
                        contestants[operation, store.__name__] = Contestant(
                            store, operation, about, jobs, self._threads
                        )
            self._compete(contestants)
            if "read" in kind.operations and self._bare_loop and DicubeSpeed in self._stores:
                self._measure_bare_loop(self._bare_loop)
        for store in self._stores:
            self.results.sizes[store.__name__] = self._size(store)
        if DicubeSpeed in self._stores and self._can(DicubeSpeed):
            self._measure_far(DicubeSpeed)
        self._measure_training()
        self._measure_large_frame()

    def _measure_bare_loop(self, program: Path) -> None:
        """Measure the codec alone, whose speed dicube should approach."""
        file = self._path(DicubeSpeed, 0)
        command = [str(program), str(file), str(self._threads), str(self._repeats)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        self.results.bare_loop = {
            name: statistics.median(runs)
            for name, runs in json.loads(done.stdout).items()
            if isinstance(runs, list)
        }

    def _measure_far(self, store: type[Store]) -> None:
        """Measure reading over HTTP, and count the bytes."""
        about = self._describe("series")
        for operation in FAR:
            server = FileServer()
            server.latency = LATENCY
            url = server.add(f"0{store.extension}", self._path(store, 0).read_bytes())
            jobs = _always([_job(0, url, *self._arguments(operation, random.Random(0)))])
            key = (f"far_{operation}", store.__name__)
            self._compete({key: Contestant(store, operation, about, jobs, self._threads)})
            server.close()
            runs = len(self.results.measured[key].seconds) + 1  # the warm-up
            self.results.fetched[key] = server.sent / runs

    def _measure_training(self) -> None:
        """Measure random patches of several files, opened anew each time or held open."""
        self._series += _mirrored(self._series[0], self._scratch)
        about = self._describe("many")
        stores = self._write_patch_files(range(1, len(self._series)), about)
        for name, (operation, processes) in TRAINING.items():
            self._compete(
                {
                    (name, store.__name__): Contestant(
                        store, operation, about, self._training_jobs(store), 1, processes
                    )
                    for store in stores
                    if hasattr(store, operation)
                }
            )

    def _measure_large_frame(self) -> None:
        """Measure random patches of a large frame, made of mirrored copies of a slice."""
        number = len(self._series)
        self._series.append(_enlarged(self._series[0], self._scratch))
        about = self._describe("large")
        self._compete(
            {
                ("large_patch", store.__name__): Contestant(
                    store, "patch", about, _large_jobs(number, self._path(store, number)), 1
                )
                for store in self._write_patch_files([number], about)
            }
        )

    def _write_patch_files(self, numbers: Sequence[int], about: Path) -> list[type[Store]]:
        """Write series with each store from which patches are read; return these stores."""
        stores = [store for store in self._stores if store.for_patches and self._can(store)]
        for store in stores:
            jobs = [_job(number, self._path(store, number)) for number in numbers]
            writer = Contestant(store, "write", about, _always(jobs), self._threads)
            compete([writer], repeats=0)
            if writer.measured.error:
                raise SystemExit(f"{store.title}: {writer.measured.error}")
        return stores

    def _compete(self, contestants: dict[tuple[str, str], Contestant]) -> None:
        """Run a round and keep its measurements."""
        print(", ".join(dict.fromkeys(name for name, _ in contestants)), file=sys.stderr)
        compete(list(contestants.values()), self._repeats)
        for key, contestant in contestants.items():
            self.results.measured[key] = contestant.measured

    def _can(self, store: type[Store]) -> bool:
        """Return whether a store could write its file, if it has one."""
        written = self.results.measured.get(("write", store.__name__))
        return written is None or not written.error or not store.extension

    def _jobs(self, store: type[Store], operation: str, count: int) -> Callable[[int, int], Jobs]:
        """Return a function that makes the jobs of an operation, the same for all stores."""
        path = self._path(store, 0)
        if operation.startswith("write_"):
            path = path.with_name(operation + store.extension)

        def jobs(run: int, _process: int) -> Jobs:
            chance = random.Random(run)
            return [_job(0, path, *self._arguments(operation, chance)) for _ in range(count)]

        return jobs

    def _training_jobs(self, store: type[Store]) -> Callable[[int, int], Jobs]:
        """Return a function that makes the jobs of a process that reads patches."""

        def jobs(run: int, process: int) -> Jobs:
            chance = random.Random(1000 * run + process)
            files = chance.sample(range(PATCH_FILES), PATCH_FILES)
            return [_job(n, self._path(store, n), *self._arguments("patch", chance)) for n in files]

        return jobs

    def _arguments(self, operation: str, chance: random.Random) -> list[Any]:
        """Return random arguments for an operation."""
        if operation == "slice":
            return [chance.randrange(self.shape[0])]
        if operation == "patch":
            return _box(PATCH, self.shape, chance)
        return []

    def _path(self, store: type[Store], number: int) -> Path:
        """Return the path of a store's file of a series."""
        folder = self._scratch / store.__name__
        folder.mkdir(exist_ok=True)
        return folder / f"{number}{store.extension}"

    def _size(self, store: type[Store]) -> int:
        """Return the number of bytes that a store reads."""
        if not store.extension:
            return sum(Path(file).stat().st_size for file in self._series[0].files)
        path = self._path(store, 0)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def _describe(self, name: str) -> Path:
        """Return a file that describes the series to a worker."""
        path = self._scratch / f"{name}.json"
        path.write_text(json.dumps([asdict(series) for series in self._series]))
        return path


def _read_series(folder: Path, scratch: Path) -> Series:
    """Return the series of a folder, with its volume saved as a file."""
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder(folder)
    volume = scratch / "volume.npy"
    np.save(volume, image.raw_image)
    header = image.pixel_header
    assert image.dicom_meta is not None
    files = [str(file) for file in image.dicom_meta.filenames or []]
    return Series(str(volume), str(folder), files, header.RescaleSlope, header.RescaleIntercept)


def _shape_and_dtype(series: Series) -> tuple[Shape, np.dtype[Any]]:
    volume = np.load(series.volume, mmap_mode="r")
    return volume.shape, volume.dtype


def _mirrored(series: Series, scratch: Path) -> list[Series]:
    """Return further series of the same noise but different content: mirror images of one."""
    volume: Array = np.load(series.volume)
    mirrored = []
    for number in range(1, PATCH_FILES):
        axes = tuple(axis for axis in range(3) if number >> axis & 1)
        path = scratch / f"volume{number}.npy"
        np.save(path, np.flip(volume, axes))
        mirrored.append(replace(series, volume=str(path), as_read=False))
    return mirrored


def _enlarged(series: Series, scratch: Path) -> Series:
    """Return a series of one large frame."""
    volume: Array = np.load(series.volume, mmap_mode="r")
    middle = volume[len(volume) // 2]
    beyond = [(0, max(0, a - b)) for a, b in zip(LARGE_FRAME, middle.shape, strict=True)]
    large = np.pad(middle, beyond, "reflect")[: LARGE_FRAME[0], : LARGE_FRAME[1]]
    path = scratch / "large.npy"
    np.save(path, large[None])
    return replace(series, volume=str(path), as_read=False)


def _large_jobs(number: int, path: Path) -> Callable[[int, int], Jobs]:
    """Return a function that makes jobs that read patches of a large frame."""

    def jobs(run: int, _process: int) -> Jobs:
        chance = random.Random(run)
        return [_job(number, path, *_box(LARGE_PATCH, (1, *LARGE_FRAME), chance)) for _ in range(9)]

    return jobs


def _box(sizes: Shape, shape: Shape, chance: random.Random) -> list[Range]:
    """Return a random box of such sizes, or as large as the volume."""
    sizes = tuple(map(min, sizes, shape))
    starts = [chance.randint(0, all_ - size) for all_, size in zip(shape, sizes, strict=True)]
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _always(jobs: Jobs) -> Callable[[int, int], Jobs]:
    return lambda _run, _process: jobs


def _job(series: int, path: Path | str, *arguments: Any) -> dict[str, Any]:
    return {"series": series, "path": str(path), "arguments": arguments}


def _plot(data: Path, picture: Path) -> None:
    """Draw the plot in the environment that has matplotlib."""
    try:
        command = [python_for("plot"), PLOT, str(data), str(picture)]
    except NotInstalled as error:
        print(f"no plot: matplotlib is not installed: {error}", file=sys.stderr)
        return
    subprocess.run(command, env=variables_for("plot"), check=True)


def main() -> int:
    """Measure; return the exit status, 1 if any output was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="folder of one DICOM series (default: the one of `dicube demo`)",
    )
    parser.add_argument("--repeats", type=int, default=9, help="counted runs of each (default 9)")
    parser.add_argument(
        "--stores", default=",".join(STORES), help="names, from %(default)s (default: all)"
    )
    parser.add_argument(
        "--bare-loop",
        type=Path,
        metavar="PROGRAM",
        help="also measure this program, built from bare_loop.cpp",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build", "bench"),
        metavar="FOLDER",
        help="folder for NAME.md, .json and .svg (default %(default)s)",
    )
    options = parser.parse_args()
    names = options.stores.split(",")
    unknown = set(names) - set(STORES)
    if unknown:
        parser.error(f"no such stores: {', '.join(sorted(unknown))}")
    command = "ci/run bench"
    if options.folders:
        command += " {}"
    else:
        from dicube.demo import series_of_pydicom

        options.folders = [series_of_pydicom()]
    options.out.mkdir(parents=True, exist_ok=True)
    wrong = False
    for folder in options.folders:
        with tempfile.TemporaryDirectory(prefix="dicube-bench-") as scratch:
            bench = Bench(
                folder.resolve(),
                Path(scratch),
                [STORES[name] for name in names],
                options.repeats,
                options.bare_loop,
            )
            bench.measure()
        name = folder.resolve().name
        title = f"{' x '.join(map(str, bench.shape))} {bench.dtype}"
        text = markdown(title, command.format(name), bench.results)
        target = options.out / name
        target.with_suffix(".md").write_text(text)
        data = target.with_suffix(".json")
        results = {"series": f"{name}, {title}", "machine": machine(), **bench.results.as_data()}
        data.write_text(json.dumps(results, indent=1))
        _plot(data, target.with_suffix(".svg"))
        print(f"\n{text}\nwritten to {target}.md, .json and .svg")
        wrong |= any(measured.wrong for measured in bench.results.measured.values())
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
