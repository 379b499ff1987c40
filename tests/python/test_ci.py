"""ci/skips lists the tests that `ci/run full` skipped, and fails for wrong ones; pins are exact."""

from __future__ import annotations

import re
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


# ----------------------------------------------------------------------------------------- pins


def test_actions_are_pinned_by_commit_and_may_only_read() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: *(.*)", workflow)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert re.search(r"^permissions:\n  contents: read\n", workflow, re.MULTILINE)
    assert "-latest" not in workflow


def test_build_requirements_are_pinned_by_version_and_hash() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^requires = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    wanted = [line.split('"')[1] for line in listed.splitlines()]
    locked = (ROOT / "ci" / "build-requirements.txt").read_text()
    pins = re.split(r"^(?=\w)", locked, flags=re.MULTILINE)[1:]
    for pin in pins:
        assert re.match(r"[\w.-]+==\S+.* \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+$", pin), pin
    versions = [pin.split()[0] for pin in pins]
    assert wanted
    for requirement in wanted:
        assert requirement in versions
