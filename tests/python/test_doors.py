"""Each third-party library has one door, and the rooms know only those below them."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from programs.running import ROOT, run_python

PACKAGE = ROOT / "python" / "dicube"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CPP_SOURCES = sorted((ROOT / "cpp").rglob("*.cpp")) + sorted((ROOT / "cpp").rglob("*.h"))


def room(path: Path) -> str:
    """The module's name below dicube, such as 'dicom.series.geometry'."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Each module that a source file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("ctypes", r"_native(\..*)?"),
        ("spacetransformer", r"dicom\.series\.geometry"),
        ("pydicom", r"dicom(\..*)?"),
        ("nibabel", r"nifti\.nibabel_door"),
        ("fsspec", r"storage\.byte_source"),
        ("zstandard", r"storage\.packed_text"),
    ],
)
def test_python_door(library: str, doors: str) -> None:
    users = {
        room(path)
        for path in SOURCES
        if any(name.split(".")[0] == library for name in imported(path))
    }
    assert not {name for name in users if not re.fullmatch(doors, name)}


# What each room must not import. Rooms are prefixes of module names below dicube.
FORBIDDEN = {
    "exceptions": [""],
    "_native": ["codecs", "storage", "core", "dicom", "nifti", "cli"],
    "codecs": ["storage", "core", "dicom", "nifti", "cli"],
    "storage": ["core.image", "dicom", "nifti", "cli"],
    "dicom": ["_native", "storage", "core.image", "nifti", "cli"],
    "nifti": ["_native", "codecs", "storage", "core", "cli"],
    "strict_json": [""],
    "threads": ["_native", "codecs", "storage", "core", "dicom", "nifti", "cli"],
    "pixel_header": ["_native", "codecs", "storage", "core", "dicom", "nifti", "cli"],
    "core.image": ["_native", "codecs", "cli"],
    "core.image_content": ["_native", "codecs", "core.image", "nifti.nifti_file", "cli"],
    "cli": ["_native"],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_room_knows_only_what_it_may(name: str) -> None:
    for path in SOURCES:
        if not (room(path) == name or room(path).startswith(name + ".")):
            continue
        known = {module for module in imported(path) if module.startswith("dicube.")}
        for other in FORBIDDEN[name]:
            barred = f"dicube.{other}".removesuffix(".")
            wrong = {m for m in known if m == barred or m.startswith(barred + ".")}
            assert not wrong, f"{room(path)} imports {wrong}"


def test_no_module_needs_itself_by_way_of_others() -> None:
    """Not even for annotations; the packages' faces apart, which load what they show when asked."""
    modules = {f"dicube.{room(path)}": path for path in SOURCES if path.name != "__init__.py"}
    needs = {name: imported(path) & modules.keys() for name, path in modules.items()}
    assert list(TopologicalSorter(needs).static_order())  # raises where there is a circle


def included(path: Path) -> set[str]:
    """What a C++ source includes, as it is written there."""
    return set(re.findall(r'#\s*include\s*[<"]([^>"]+)', path.read_text()))


def cpp_room(path: Path) -> str:
    """The file's name below cpp/src without its ending, such as 'codecs/jxl_planes'."""
    return path.relative_to(ROOT / "cpp").with_suffix("").as_posix().removeprefix("src/")


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        (r"jxl/.*", r"codecs/libjxl"),
        (r"(codecs/)?libjxl\.h", r"codecs/(libjxl|jxl|jxl_encoder|jxl_decoder|jxl_jpeg)"),
        (r"openjph.*|ojph_.*", r"codecs/htj2k"),
        (r"xxh.*", r"container|file"),
    ],
)
def test_cpp_door(library: str, doors: str) -> None:
    users = {
        cpp_room(path)
        for path in CPP_SOURCES
        if any(re.fullmatch(library, name) for name in included(path))
    }
    assert users
    assert not {name for name in users if not re.fullmatch(doors, name)}


# What no room below cpp/src, named by a pattern, may include.
CPP_FORBIDDEN = {
    r"file|pool|bytes|error": r"(codec|container|reader|writer|loss|rescale)\.h|(api|codecs)/.*",
    r"container": r"(codec|pool|reader|writer)\.h|(api|codecs)/.*",
    r"codec|codecs/.*": r"(container|file|reader|writer)\.h|api/.*",
    r"codec|codecs/(?!libjxl).*": r"pool\.h",
    r"reader|writer": r"(api|codecs)/.*",
}


@pytest.mark.parametrize("name", CPP_FORBIDDEN)
def test_cpp_room_knows_only_what_it_may(name: str) -> None:
    rooms = [path for path in CPP_SOURCES if re.fullmatch(name, cpp_room(path))]
    assert rooms
    for path in rooms:
        barred = {file for file in included(path) if re.fullmatch(CPP_FORBIDDEN[name], file)}
        assert not barred, f"{path.name} includes {barred}"


def test_native_knows_no_numpy() -> None:
    known = {name for path in (PACKAGE / "_native").glob("*.py") for name in imported(path)}
    assert "ctypes" in known
    assert not {name for name in known if name.startswith("numpy")}


@pytest.mark.parametrize("path", SOURCES, ids=room)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_importing_dicube_loads_nothing_heavy() -> None:
    code = "import sys, dicube; print([m for m in ('numpy', 'pydicom') if m in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"
