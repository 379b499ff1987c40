"""The examples of the README run, in order, in a folder with a series."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from inputs.example_files import write_example_files
from programs.running import ROOT, run_python

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the README's code of a language; what has none is of ''."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [code for name, code in fences if name == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the examples read."""
    write_example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_examples(folder: Path) -> None:
    examples = [code for code in blocks("python") if "https://" not in code]
    assert examples
    # One after the other, as in a session of somebody who tries them.
    result = run_python("-W", "error", "-c", "\n".join(examples))
    assert result.returncode == 0, result.stderr
    for code in blocks("python"):
        compile(code, "README.md", "exec")


def test_commands(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("dicube ")]
    assert commands
    for command in commands:
        result = run_python("-m", *shlex.split(command, comments=True))
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
