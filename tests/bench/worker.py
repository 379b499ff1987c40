"""A process that runs one operation of one store on request, and times it.

usage: worker.py STORE OPERATION THREADS SERIES.json

Reads and writes JSON lines. The first line that it writes has the versions. Each line that it reads
is a list of jobs, {"series": number, "path": of the file, "arguments": of the operation}. It runs
them one after the other and answers {"seconds": total, "peak": bytes of memory beyond those at the
start}. It compares the results of the first jobs with the expected ones. It ends with {"error":
text, "wrong": whether a result was wrong} after a failure. Must not know any store by name.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from stores import STORES, Series, Store

STATUS = Path("/proc/self/status")


def memory(what: str) -> int:
    """Return VmHWM (the peak resident size) or VmRSS in bytes; 0 except on Linux."""
    text = STATUS.read_text() if STATUS.exists() else ""
    found = re.search(rf"{what}:\s*(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else 0


def forget_peak() -> None:
    """Reset the peak to the current resident size, if the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def difference(store: Store, result: Any, expected: Any) -> str:
    """Return how a result differs from the expected one; '' if it doesn't."""
    if expected is None:
        return ""
    if isinstance(expected, tuple):
        shape = getattr(result, "shape", result)
        return "" if shape == expected else f"expected the shape {expected}, found {shape}"
    array = store.array(result)
    if array.shape != expected.shape:
        return f"expected the shape {expected.shape}, found {array.shape}"
    wrong = np.count_nonzero(array != expected)
    return f"{wrong:,} values are wrong" if wrong else ""


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Worker:
    """Runs the jobs."""

    def __init__(self, store: Store, operation: str, series: list[Series]) -> None:
        self.store = store
        self.call = getattr(store, operation)
        # write_checked is a kind of write.
        self.kind = operation if operation.startswith("level") else operation.split("_")[0]
        self.series = series
        self.sources: dict[int, Any] = {}
        self.checked = False

    def run(self, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        """Run jobs; return the answer."""
        seconds, peak = 0.0, 0
        for job in jobs:
            self.store.series = self.series[job["series"]]
            arguments = [job["path"], *job["arguments"]]
            if self.kind == "write":
                remove(Path(job["path"]))
                arguments.insert(0, self._source(job["series"]))
            gc.collect()
            forget_peak()
            before = memory("VmRSS")
            start = time.perf_counter()
            result = self.call(*arguments)
            seconds += time.perf_counter() - start
            peak = max(peak, memory("VmHWM") - before)
            if not self.checked:
                expected = self.store.expected(self.kind, *job["arguments"])
                wrong = difference(self.store, result, expected)
                if wrong:
                    return {"error": wrong, "wrong": True}
            del result
        self.checked = True
        return {"seconds": seconds, "peak": peak}

    def _source(self, number: int) -> Any:
        """Return the object to write. Only one is kept, because several may not fit into memory."""
        if number not in self.sources:
            self.sources = {number: self.store.source()}
        return self.sources[number]


def main() -> None:
    name, operation, threads, about = sys.argv[1:]
    warnings.simplefilter("ignore")
    # Output of libraries goes to stderr, so that stdout has only the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(fields: dict[str, Any]) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        series = [Series(**each) for each in json.loads(Path(about).read_text())]
        store = STORES[name](series[0], int(threads))
        worker = Worker(store, operation, series)
        answer({"versions": store.versions()})
        for line in sys.stdin:
            answer(worker.run(json.loads(line)))
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        answer({"error": message, "wrong": False})


if __name__ == "__main__":
    main()
