"""Docstrings of public names are complete, and the examples in docstrings run.

Each example runs in a folder of its own with the files of `example_files`. `dicube` and numpy as
`np` are imported already; a warning is an error.
"""

from __future__ import annotations

import builtins
import doctest
import inspect
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.example_files import write_example_files
from programs.running import ROOT

import dicube
from dicube import codecs, exceptions
from dicube.archive.executors import LostWorkerError
from dicube.dicom.dicom_meta import MissingTagError, SliceCountError
from dicube.dicom.dicom_tags import UnknownTagError
from dicube.dicom.metadata.lookup import NotSharedError

PACKAGE = ROOT / "python"

# Their examples would change the number of threads of the tests that follow, or show versions; the
# classes are lists of constants, a protocol, and the same functions once more.
WITHOUT = {"get_num_threads", "set_num_threads", "build_info"}
WITHOUT |= {"CommonTags", "DicomStatus", "SortMethod", "ImageCodec", "DicomCubeImageIO"}

# Exceptions that are not in dicube.exceptions.
ELSEWHERE = {
    kind.__name__: kind
    for kind in (
        LostWorkerError,
        MissingTagError,
        NotSharedError,
        SliceCountError,
        UnknownTagError,
    )
}


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


# ------------------------------------------------------------------- what the public names say

Public = tuple[str, Any]

_SECTIONS = ("Args", "Attributes", "Example", "Raises", "Returns", "Warns", "Yields")
_NAMES = re.compile(r"^ {4}(\*{0,2}\w+(?:,\s+\*{0,2}\w+)*):", re.MULTILINE)


def public_names() -> Iterator[Public]:
    """Yield the public functions and classes, and the public methods that these define."""
    for module in (dicube, codecs, exceptions):
        names = getattr(module, "__all__", None) or vars(module)
        for name in names:
            value = getattr(module, name)
            if getattr(value, "__module__", "").startswith("dicube") and not name.startswith("_"):
                yield f"{value.__module__}.{name}", value
                if inspect.isclass(value):
                    yield from public_methods(value)


def public_methods(of: type) -> Iterator[Public]:
    for base in of.__mro__:
        for name, value in vars(base).items():
            found = getattr(value, "__func__", getattr(value, "fget", value))
            if (
                base.__module__.startswith("dicube")
                and inspect.isfunction(found)
                and not name.startswith("_")
                and (getattr(of, name, None) is getattr(base, name, None) or base is of)
            ):
                yield f"{base.__module__}.{base.__name__}.{name}", found


PUBLIC = dict(public_names())


def sections(docstring: str) -> dict[str, str]:
    """Return the sections of a docstring."""
    parts = re.split(rf"^({'|'.join(_SECTIONS)}):\n", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parameters(value: Any) -> list[str]:
    function = value.__init__ if inspect.isclass(value) else value
    names = list(inspect.signature(function).parameters)
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_say_what_they_take_and_raise(name: str) -> None:
    value = PUBLIC[name]
    said = inspect.getdoc(value)
    assert said and value.__doc__, "no docstring of its own"
    assert re.match(r"\S.*[.:]$", said.splitlines()[0]), "no summary of one line"
    found = sections(said)
    if "Args" in found:
        # A list of names may be continued on the next line.
        stated = re.findall(_NAMES, re.sub(r",\n +", ", ", found["Args"]))
        names = [one.lstrip("*") for names in stated for one in re.split(r",\s+", names)]
        assert sorted(names) == sorted(parameters(value))
    elif inspect.isfunction(value) and len(parameters(value)) > 1:
        assert "see `" in said, "neither Args nor a function that has them"
    for raised in re.findall(r"^ {4}(\w+):", found.get("Raises", ""), re.MULTILINE):
        kind = getattr(exceptions, raised, getattr(builtins, raised, None)) or ELSEWHERE[raised]
        assert issubclass(kind, Exception)
    for warned in re.findall(r"^ {4}(\w+):", found.get("Warns", ""), re.MULTILINE):
        assert issubclass(getattr(exceptions, warned, getattr(builtins, warned, None)), Warning)


@pytest.mark.parametrize("module", [dicube, codecs], ids=["dicube", "dicube.codecs"])
def test_public_functions_and_classes_have_an_example(module: Any) -> None:
    shown = {example.name for example in EXAMPLES}
    for name in set(module.__all__) - WITHOUT:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert f"{value.__module__}.{value.__name__}" in shown
