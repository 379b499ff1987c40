"""One process that runs one operation whenever it is told to, and says how long it took.

Speaks JSON lines: first its arguments come on the command line, then each line read from standard
input starts one run, and one line of {"seconds", "peak"} answers it. Knows no peer by name.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from operations import OPERATIONS


def peak_bytes() -> int:
    """Return the largest resident size this process has had, in bytes (Linux; else 0)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found.group(1)) * 1024 if found else 0


def main() -> None:
    name, folder, file = sys.argv[1:]
    warnings.simplefilter("ignore")
    answers = sys.stdout
    sys.stdout = sys.stderr
    run = OPERATIONS[name](folder, file)
    before = peak_bytes()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        gc.collect()
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        del result
        answer = {"seconds": seconds, "peak": peak_bytes(), "peak_before": before}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
