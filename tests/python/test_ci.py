"""ci/skips: lists the tests that `ci/run full` skipped, and fails for wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs.running import ROOT, run_python

PYTEST = '<testcase name="t"><skipped type="pytest.skip" message="{}">a.py:1</skipped></testcase>'
CTEST = '<testcase name="t"><skipped message="REGULAR"/><system-out>{}\n</system-out></testcase>'
XFAIL = '<testcase name="t"><skipped type="pytest.xfail" message="{}"/></testcase>'


@pytest.mark.parametrize(
    ("case", "reason", "status"),
    [
        (PYTEST, "needs dcmdump", 1),
        (PYTEST, "needs djxl", 0),
        (PYTEST, "needs djxl-of-another-kind", 1),
        (PYTEST, "could not import 'nibabel': No module named 'nibabel'", 1),
        (PYTEST, "not root", 0),
        (CTEST, "needs abidiff (on Debian: abigail-tools)", 1),
        (CTEST, "needs djxl", 0),
    ],
)
def test_a_skip_for_want_of_what_is_here_fails(
    tmp_path: Path, case: str, reason: str, status: int
) -> None:
    results = tmp_path / "results.xml"
    results.write_text(f"<testsuites><testsuite>{case.format(reason)}</testsuite></testsuites>")
    found = run_python(ROOT / "ci" / "skips", results, "--missing", "libjxl-tools", "djxl")
    assert f"skipped   1 x {reason} (t)" in found.stdout
    assert found.returncode == status, found.stderr


def test_tests_that_passed_or_are_expected_to_fail_are_not_listed(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    passed = '<testcase name="t"><system-out>needs dcmdump</system-out></testcase>'
    results.write_text(f"<testsuite>{passed}{XFAIL.format('needs dcmdump')}</testsuite>")
    found = run_python(ROOT / "ci" / "skips", results)
    assert (found.stdout, found.returncode) == ("", 0), found.stderr
