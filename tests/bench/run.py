"""Measures dicube against its peers: `python tests/bench/run.py FOLDER [FOLDER ...]`.

Every figure is a ratio of medians of alternating runs (A B A B ...) of two processes on this
machine. The peers are installed into environments of their own. Prints a table and, with --json,
writes it as data.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from environments import python_for

WORKER = str(Path(__file__).parent / "worker.py")


class Runner:
    """A worker process for one operation."""

    def __init__(self, operation: str, folder: Path, file: Path) -> None:
        self.operation = operation
        python = python_for(operation.split("_")[0])
        # What the bench itself was told to import from is not the peers' business.
        isolated = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, WORKER, operation, str(folder), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=None if python == sys.executable else isolated,
        )
        self.answers: list[dict[str, Any]] = []
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.operation}: the worker ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self) -> None:
        """Run the operation once and keep the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.answers.append(self._read())

    def seconds(self) -> float:
        """Return the median over all runs but the first, which warms up."""
        return statistics.median(answer["seconds"] for answer in self.answers[1:])

    def spread(self) -> tuple[float, float]:
        """Return the shortest and the longest of those runs."""
        times = [answer["seconds"] for answer in self.answers[1:]]
        return min(times), max(times)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def alternate(runners: list[Runner], repeats: int) -> None:
    """Run all in turn, once to warm up and `repeats` times to count."""
    for _ in range(repeats + 1):
        for runner in runners:
            runner.run()
    for runner in runners:
        runner.close()


def compare(folder: Path, scratch: Path, repeats: int) -> dict[str, Any]:
    """Measure everything for one folder of DICOM files."""
    dcbs, dcba, theirs = scratch / "a.dcbs", scratch / "a.dcba", scratch / "theirs.dcbs"
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder(str(folder))
    image.to_file(str(dcbs))
    image.to_file(str(dcba))
    volume = image.raw_image.nbytes
    rows: dict[str, Any] = {
        "volume_bytes": volume,
        "dcbs_bytes": dcbs.stat().st_size,
        "dcba_bytes": dcba.stat().st_size,
    }
    del image

    groups = [
        [
            ("dicube_from_folder", dcbs),
            ("pydicom_from_folder", dcbs),
            ("published_from_folder", dcbs),
        ],
        [("dicube_load", dcbs), ("published_load", theirs)],
        [
            ("dicube_save", scratch / "b.dcbs"),
            ("published_save", theirs),
            ("dicube_save_verified", scratch / "c.dcbs"),
        ],
        [("dicube_save_one_thread", scratch / "b.dcba"), ("dicube_load_one_thread", dcba)],
    ]
    for group in groups:
        runners = [Runner(name, folder, file) for name, file in group]
        alternate(runners, repeats)
        for runner, (name, file) in zip(runners, group, strict=True):
            key = f"{name}{file.suffix if 'thread' in name else ''}"
            rows[key] = {
                "median_seconds": runner.seconds(),
                "spread_seconds": runner.spread(),
                "peak_bytes": max(answer["peak"] for answer in runner.answers),
                "peak_before_bytes": runner.answers[0]["peak_before"],
            }
    return rows


def report(name: str, rows: dict[str, Any]) -> None:
    """Print the figures of one folder."""

    def seconds(key: str) -> float:
        return float(rows[key]["median_seconds"])

    volume = rows["volume_bytes"]
    print(f"\n{name}: {volume / 1e6:.1f} MB of pixels")
    print(f"  {'what':34} {'median':>9} {'shortest':>9} {'longest':>9}")
    for key, row in rows.items():
        if isinstance(row, dict):
            low, high = row["spread_seconds"]
            times = [row["median_seconds"], low, high]
            print(f"  {key:34} " + " ".join(f"{t * 1000:6.1f} ms" for t in times))
    smaller = 1 - rows["dcba_bytes"] / rows["dcbs_bytes"]
    load = rows["dicube_load"]
    figures = {
        "folder to image / pydicom reading": seconds("dicube_from_folder")
        / seconds("pydicom_from_folder"),
        "folder to image, times faster than published": seconds("published_from_folder")
        / seconds("dicube_from_folder"),
        "load .dcbs, times faster than published": seconds("published_load")
        / seconds("dicube_load"),
        "save .dcbs, times faster than published": seconds("published_save")
        / seconds("dicube_save"),
        "save with verifying / without": seconds("dicube_save_verified") / seconds("dicube_save"),
        ".dcba smaller than .dcbs by (%)": 100 * smaller,
        ".dcba encode, one thread (MB/s)": volume / 1e6 / seconds("dicube_save_one_thread.dcba"),
        ".dcba decode, one thread (MB/s)": volume / 1e6 / seconds("dicube_load_one_thread.dcba"),
        "peak of load beyond start and volume (MB)": (
            load["peak_bytes"] - load["peak_before_bytes"] - volume
        )
        / 1e6,
        "ratio .dcbs": volume / rows["dcbs_bytes"],
        "ratio .dcba": volume / rows["dcba_bytes"],
    }
    for text, figure in figures.items():
        print(f"  {text:46} {figure:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of one DICOM series each")
    parser.add_argument("--repeats", type=int, default=9, help="counted runs of each (default 9)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()

    import dicube

    print(f"dicube {dicube.__version__}, {dicube.build_info()}".replace("\n", "; "))
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    results = {}
    for folder in arguments.folders:
        with tempfile.TemporaryDirectory() as scratch:
            results[folder.name] = compare(folder.resolve(), Path(scratch), arguments.repeats)
        report(folder.name, results[folder.name])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
