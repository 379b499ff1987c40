"""The bench of DICOMweb measures what it claims, beside Orthanc and nginx."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("sqlalchemy")

from inputs.dicom_series import write_series
from inputs.series_trees import series_of
from programs.running import ROOT, needs, run_python

SERVERS = ["dicube .dcbs", "dicube .dcbs, explicit", "dicube .dcba", "Orthanc"]


@pytest.mark.slow
def test_all_servers_answer_and_are_in_the_table(tmp_path: Path) -> None:
    needs("Orthanc", "nginx")
    folder = write_series(tmp_path / "series", series_of(1, 3, shape=(16, 24)))
    results = tmp_path / "results.json"
    bench = ROOT / "tests" / "bench" / "dicomweb.py"
    result = run_python(bench, folder, "--repeat", "2", "--json", results)
    assert result.returncode == 0, result.stderr
    names = [*SERVERS, "nginx, the same bytes"]
    lines = result.stdout.splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == names
    found = json.loads(results.read_text())
    assert list(found) == names
    for times in found.values():
        assert all(seconds > 0 for kind in times.values() for seconds in kind)
        assert len(times["1 clients"]) == len(times["8 clients"]) == 2
