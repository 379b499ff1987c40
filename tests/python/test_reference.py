"""The reference of the manual lists every exception, warning, status and finding of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from programs.running import ROOT

from dicube import DicomStatus
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


def test_every_integration_is_on_its_page() -> None:
    page = (REFERENCE / "integrations.md").read_text()
    for path in sorted((PACKAGE / "integrations").glob("[a-z]*.py")):
        if path.stem != "as_nifti":
            assert f"dicube.{path.stem}" in page or f"dicube.integrations.{path.stem}" in page, path
