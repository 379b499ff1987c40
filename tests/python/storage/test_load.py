"""Under load: many threads read many files in every way, and the process doesn't grow.

To read 1000 files 40000 times:

    DICUBE_LOAD="1000 40000" pytest tests/python/storage/test_load.py -s
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from programs.running import PROGRAMS, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_mixed_reads(tmp_path: Path) -> None:
    files, reads = os.environ.get("DICUBE_LOAD", "30 800").split()
    done = run_python(PROGRAMS / "mixed_reads.py", tmp_path, files, reads)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    print(done.stdout)
    assert f"{files} files, {reads} reads" in done.stdout
