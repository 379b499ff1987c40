"""CONTRIBUTING.md and docs/architecture.md name paths, tests and verbs that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs.running import ROOT

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [CONTRIBUTING, ROOT / "docs" / "architecture.md"]

# What paths in these pages are relative to.
PARENTS = [ROOT / parent for parent in ("", "tests/python", "python/dicube", "cpp/src", "js/src")]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|cpp|h|hpp|md|json|js))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    names = set(PATH.findall(page.read_text()))
    assert len(names) > 10
    for name in names - {"xxhash.h", "dist/"}:  # of a library; made by `ci/run release`
        exact = any((parent / name).exists() for parent in PARENTS)
        # A name without folders is one that the sentence has located.
        located = "/" not in name and any(any(parent.rglob(name)) for parent in PARENTS[1:])
        assert exact or located, name


def test_verbs_exist() -> None:
    listed = set(re.findall(r"^  ((?:\w+, )*\w+) ", usage(), re.MULTILINE))
    verbs = {verb for names in listed for verb in names.split(", ")}
    named = set(re.findall(r"`ci/run (\w+)", CONTRIBUTING.read_text()))
    for row in re.findall(r"^\| (`.*?) \|", table_of_verbs(), re.MULTILINE):
        named |= {name.split()[0] for name in re.findall(r"`([^`]+)`", row)}
    assert len(named) > 10
    assert named <= verbs


def usage() -> str:
    """Return what `ci/run` prints without a verb."""
    return (ROOT / "ci" / "run").read_text().split("usage: ci/run VERB")[1].split("\nEND\n")[0]


def table_of_verbs() -> str:
    return CONTRIBUTING.read_text().split("## The verbs of ci/run")[1].split("\n## ")[0]
