"""The code on each page of the manual runs, and prints what the page shows.

`programs/run_page.py` says how, and what a page can mark.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from inputs.entry_points import distribution
from inputs.example_files import write_example_files
from programs.run_page import Block, blocks_of, files_of
from programs.running import PROGRAMS, ROOT, run_python

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

# Pages whose programs take seconds.
SLOW = {"tutorials/hospital-archive.md", "how-to/anonymise.md", "how-to/cpp.md"}

# Of blocks that nobody runs.
DATA = {"text", "json", "toml", "yaml", "html", "nginx"}

# Libraries that only `ci/run integrations` installs, and what imports them.
LARGE = {
    **{"torch": "torch", "monai": "monai", "torchio": "torchio", "nnunet": "nnunetv2"},
    **{"zarr": "zarr", "virtualizarr": "virtualizarr"},
}
IMPORT = re.compile(
    rf"^(?:import|from) (?:dicube\.integrations\.)?({'|'.join(LARGE)})(?:v2)?\b", re.MULTILINE
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `example_files`, made once."""
    folder = tmp_path_factory.mktemp("example_files")
    write_example_files(folder)
    return folder


def test_there_are_pages() -> None:
    assert PAGES


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for page in PAGES
        for name in [page.relative_to(DOCS).as_posix()]
    ],
)
def test_page(page: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(page)
    fences = re.findall(r"^ *(?:```|~~~)", page.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks), "a fence is indented, or is not ```"
    for number, block in enumerate(blocks):
        assert is_explained(block, blocks[number + 1 :]), f"{page.name}:{block.line}"
    code = [block for block in blocks if block.language not in DATA and not block.not_run]
    if not code:
        return
    large = sorted({LARGE[name] for name in IMPORT.findall(page.read_text())})
    for name in large:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is tested by `ci/run integrations`")
    # xarray and Zarr find dicube where it is installed.
    if 'engine="dicube"' in page.read_text() or "zarr" in large:
        monkeypatch.syspath_prepend(distribution(tmp_path / "installed"))
    monkeypatch.chdir(tmp_path)
    for name in files_of(page):
        if (files / name).is_dir():
            shutil.copytree(files / name, name)
        else:
            shutil.copy(files / name, name)
    # A page must not give warnings that it hides from its reader; large libraries have their own.
    strict = [] if large else ["-W", "error::UserWarning"]
    result = run_python(*strict, PROGRAMS / "run_page.py", page)
    assert result.returncode == 0, result.stdout + result.stderr
    if missing := {name for block in code for name in block.missing}:
        pytest.skip(f"the rest of the page runs; needs {', '.join(sorted(missing))}")


def is_explained(block: Block, later: list[Block]) -> bool:
    """Return whether a block is run, is data, is used by a later command, or says why not."""
    if block.title:
        used = [other for other in later if other.language == "sh" and block.title in other.code]
        return bool(used or block.not_run)
    return bool(block.language in ("python", "sh", *DATA) or block.not_run)
