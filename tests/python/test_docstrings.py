"""The examples in docstrings run, each in a folder of its own with the files of `example_files`.

`dicube` and numpy as `np` are imported already; a warning is an error.
"""

from __future__ import annotations

import doctest
import shutil
from importlib import import_module
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from inputs.example_files import write_example_files
from programs.running import ROOT

import dicube
from dicube import codecs

PACKAGE = ROOT / "python"

# Their examples would change the number of threads of the tests that follow, or show versions.
WITHOUT = {"get_num_threads", "set_num_threads", "build_info"}


def examples() -> list[doctest.DocTest]:
    """Return the docstrings that have examples; modules without any are not imported."""
    found = []
    finder = doctest.DocTestFinder()
    for path in sorted((PACKAGE / "dicube").rglob("*.py")):
        if ">>> " in path.read_text():
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            module = import_module(name.removesuffix(".__init__"))
            tests = finder.find(module, globs={"dicube": dicube, "np": np})
            found += [test for test in tests if test.examples]
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `example_files`, made once."""
    folder = tmp_path_factory.mktemp("example_files")
    write_example_files(folder)
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_example(
    example: doctest.DocTest, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(files, tmp_path, dirs_exist_ok=True))
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=output.append)
    assert not output, "".join(output)


@pytest.mark.parametrize("module", [dicube, codecs], ids=["dicube", "dicube.codecs"])
def test_public_functions_have_an_example(module: object) -> None:
    functions = {
        name: getattr(module, name)
        for name in module.__all__  # type: ignore[attr-defined]
        if isinstance(getattr(module, name), FunctionType)
    }
    shown = {example.name for example in EXAMPLES}
    lacking = {n for n, f in functions.items() if f"{f.__module__}.{f.__name__}" not in shown}
    assert lacking - WITHOUT == set()
