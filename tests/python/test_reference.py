"""The reference of the manual has every exception, warning, status, finding, command and function.

Some of its pages are written, others made by docs/hooks.py when the manual is built.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
from programs.running import ROOT

import dicube
from dicube import DicomStatus, codecs
from dicube.dicom.series import check
from dicube.exceptions import DicomCubeError

REFERENCE = ROOT / "docs" / "reference"
PACKAGE = ROOT / "python" / "dicube"
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the cells of a page's first table under a heading, by the first cell."""
    text = (REFERENCE / page).read_text()
    part = re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    found = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return {cells[0].strip().replace("`", ""): [c.strip() for c in cells] for cells in found[2:]}


def exception_names() -> Iterator[tuple[str, str]]:
    """Yield module and name of each public class that is named as an error."""
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and re.fullmatch(r"[A-Z]\w*Error", node.name):
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                yield module.removesuffix(".__init__"), node.name


def test_every_exception_has_cause_and_remedy() -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("sqlalchemy")
    listed = rows("errors.md", "Exceptions")
    expected = {}
    for module, name in exception_names():
        found = getattr(import_module(module), name)
        if issubclass(found, DicomCubeError):
            expected[name] = found
    assert {name.split(" ")[0] for name in listed} == set(expected)
    for name, cells in listed.items():
        assert len(cells) == 3 and all(cells), name
        also = re.findall(r"\w*Error", name)[1:]
        bases = {base.__name__ for base in expected[name.split(" ")[0]].__mro__[1:]}
        assert set(also) <= bases - {"DicomCubeError"}, name


def fragments(call: ast.Call) -> list[str]:
    """Return the constant parts of a warning's text."""
    text = call.args[0]
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return [part.value for part in parts if isinstance(part, ast.Constant)]


def test_every_warning_has_cause_and_remedy() -> None:
    listed = rows("errors.md", "Warnings")
    assert all(len(cells) == 3 and all(cells) for cells in listed.values())
    texts = [part.strip() for text in listed for part in re.split(r"…|\(a .*\)", text)]
    texts = [text for text in texts if len(text) > 8]
    code = "\n".join(constants_of_package())
    for text in texts:
        assert text in code, f"no text of the package has: {text}"
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "warn"
                and (found := fragments(node))
                and not any(text in " ".join(found) for text in texts)
            ):
                # A text that is put together elsewhere (": remark") has no words of its own.
                words = re.findall(r"\w{3,}", " ".join(found))
                assert not words, f"{path.name}:{node.lineno}: not on the page: {found}"


def constants_of_package() -> Iterator[str]:
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_status_has_its_section_of_dicom() -> None:
    listed = rows("status.md", "Statuses")
    assert set(listed) == {status.value for status in DicomStatus}
    source = (PACKAGE / "dicom" / "dicom_status.py").read_text()
    for name, (_, section, cause, remedy) in listed.items():
        assert cause
        if name != DicomStatus.CONSISTENT.value:
            assert remedy
            for number in re.findall(r"[C\d]\.?\d[\d.]*", re.sub(r"PS3\.\d", "", section)):
                assert number in source, name


def test_every_finding_has_its_section_of_dicom() -> None:
    listed = rows("status.md", "Further findings")
    source = ast.parse((PACKAGE / "dicom" / "series" / "check.py").read_text())
    expected = {kind: reference for kind, _, reference in check._SAME_IN_A_SERIES}
    for node in ast.walk(source):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "finding_of":
            kind, *others = [ast.unparse(part).strip("'") for part in node.args]
            if kind != "kind":
                expected[kind] = next(part for part in others if part.startswith("PS3"))
    assert {kind: cells[1] for kind, cells in listed.items()} == expected
    assert all(cells[2] and cells[3] for cells in listed.values())


def test_every_status_code_has_its_exception() -> None:
    from dicube._native import header, library

    listed = rows("errors.md", "Status codes in C")
    assert {name: cells[1].strip("`") for name, cells in listed.items()} == {
        f"DICUBE_{name}": library._EXCEPTIONS[value].__name__
        for name, value in vars(header).items()
        if name.startswith("ERROR_")
    }


def test_every_public_name_is_on_a_page() -> None:
    pages = "".join(path.read_text() for path in sorted(REFERENCE.glob("*.md")))
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE)}
    shown |= {
        name for listed in re.findall(r"members: \[(.*)\]", pages) for name in listed.split(", ")
    }
    public = {*dicube.__all__, *codecs.__all__} - {"__version__"}
    public |= {name for module, name in exception_names() if module == "dicube.exceptions"}
    assert public - shown == set()


def test_every_integration_is_on_its_page() -> None:
    page = (REFERENCE / "integrations.md").read_text()
    for path in sorted((PACKAGE / "integrations").glob("[a-z]*.py")):
        if path.stem != "as_nifti":
            assert f"dicube.{path.stem}" in page or f"dicube.integrations.{path.stem}" in page, path


# ------------------------------------------------------------------------------- generated pages


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module docs/hooks.py, which mkdocs calls."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_has_every_verb_and_option(hooks: ModuleType) -> None:
    from dicube.cli.options.parser import parser

    page = hooks.command_page()
    names = dict(hooks.commands(parser()))
    assert {"dicube convert", "dicube archive add", "dicube serve"} <= set(names)
    for name, command in names.items():
        (part,) = re.findall(rf"^#+ {name}$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for action in command._actions:
            for option in action.option_strings:
                assert option in part, f"{name} {option}"


def test_the_page_of_the_c_abi_has_every_declaration_and_comment(hooks: ModuleType) -> None:
    header = (ROOT / "cpp" / "include" / "dicube" / "dicube.h").read_text()
    page = hooks.c_abi_page(header)
    shown = "\n".join(re.findall(r"^```c\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    declared = re.findall(r"^DICUBE_API [^;]*;", header, re.MULTILINE)
    assert len(declared) > 40
    for declaration in declared:
        assert declaration in shown
        name = declaration.split("(")[0].split()[-1].lstrip("*")
        assert re.search(rf"^### .*`{name}`", page, re.MULTILINE), name
    words = re.sub(r"[^A-Za-z]+", " ", page)
    for comment in re.findall(r"^/\* ([A-Z][^*]*(?:\*(?!/)[^*]*)*)\*/$", header, re.MULTILINE):
        assert re.sub(r"[^A-Za-z]+", " ", comment).strip() in words
    for constant in re.findall(r"^#define (DICUBE_[A-Z0-9_]+) ", header, re.MULTILINE):
        assert constant == "DICUBE_API" or constant in shown, constant


def test_the_page_of_limits_has_the_table_that_a_test_compares(hooks: ModuleType) -> None:
    page = hooks.limits_page((ROOT / "SECURITY.md").read_text())
    assert page.startswith("# Limits\n") and page.count("\n|") > 30 and "\n## " not in page


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://unpkg.com/mermaid"></script>',
        '<link rel="stylesheet" href="//fonts.googleapis.com/css">',
        '<img src="http://example.org/a.png">',
        "<style>@font-face { src: url(https://example.org/a.woff) }</style>",
        '<pre class="mermaid">graph</pre>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(hooks: ModuleType, html: str) -> None:
    assert hooks.loaded_urls(html)


def test_links_and_files_of_the_manual_may_stand_on_a_page(hooks: ModuleType) -> None:
    html = '<a href="https://example.org">a</a><img src="images/page.png"><link href="a.css">'
    assert hooks.loaded_urls(html) == []
