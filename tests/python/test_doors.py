"""Rooms know only the rooms below them, and each third-party library has one door.

The tables are those of docs/architecture.md; functions here find what breaks them in any tree. The
last tests plant violations in a temporary tree, to show that they are found.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
from programs.running import ROOT

PACKAGE = ROOT / "python" / "dicube"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CPP_SOURCES = ROOT / "cpp" / "src"

TEXT = (ROOT / "docs" / "architecture.md").read_text()


def under(heading: str) -> str:
    """Return the text under a heading of the page, up to the next heading."""
    (found,) = re.findall(
        rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    return found


def block_under(heading: str) -> str:
    """Return the only fenced block under a heading."""
    (found,) = re.findall(r"^```text\n(.*?)^```$", under(heading), re.MULTILINE | re.DOTALL)
    return found


def table_under(heading: str) -> dict[str, tuple[str, ...]]:
    """Return the names in the first column of the table under a heading, with those beside each."""
    rows = re.findall(r"^\| `([^`|]+)` \|(.*)\|$", under(heading), re.MULTILINE)
    table = {name: tuple(re.findall(r"`([^`]+)`", others)) for name, others in rows}
    assert len(table) == len(rows) > 0
    return table


# Modules at paths of 0.3.0 that pass on names which now live above them.
SHIMS = {
    (module, other)
    for module, others in table_under("Rooms of the Python package").items()
    for other in others
}

# A library that stands neither here nor among FREE is forbidden.
DOORS = table_under("Doors of the Python package")
# The rooms that may call the C library; all others call these.
NATIVE_USERS = DOORS.pop("_native")
FREE = (sys.stdlib_module_names | {"dicube", "numpy"}) - DOORS.keys()

CPP_DOORS = table_under("Doors of the C++ library")


def rooms_below(arrows: str) -> dict[str, set[str]]:
    """Return each room with all rooms that it may know; raises where arrows run in a circle."""
    below: dict[str, set[str]] = {}
    for line in arrows.strip().splitlines():
        steps = [step.strip().split(", ") for step in line.split(">")]
        for uppers, lowers in pairwise(steps):
            for upper in uppers:
                below.setdefault(upper, set()).update(lowers)
    for room in TopologicalSorter(below).static_order():
        direct = below.setdefault(room, set())
        below[room] = direct.union(*(below[lower] for lower in direct))
    return below


BELOW = rooms_below(block_under("Rooms of the Python package"))
CPP_BELOW = rooms_below(block_under("Rooms of the C++ library"))


def modules_of(package: Path) -> dict[str, Path]:
    """Return the modules of a package by their names below it, such as 'dicom.series.geometry'."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").rstrip(".") or "face"] = path
    return found


def room_of(module: str) -> str | None:
    """Return the room that a module belongs to."""
    return max((room for room in BELOW if is_in(module, room)), key=len, default=None)


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def imported(path: Path, package: Path) -> set[str]:
    """Return the full names that a source imports, in functions and for annotations too."""
    inside = [package.name, *path.relative_to(package).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else []
            parent = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{parent}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text = getattr(node.args[0], "value", None)
            if name in ("import_module", "__import__") and isinstance(text, str):
                found.add(text)
    return found


def imports_of(package: Path) -> dict[str, set[str]]:
    """Return each module of a package with the modules of the package that it imports."""
    modules = modules_of(package)
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        found[module] = set()
        for name in imported(path, package):
            first, _, below = name.partition(".")
            while below and below not in modules:
                below = below.rpartition(".")[0]
            if first == package.name:
                found[module].add(below or "face")
    return found


def wrong_arrows(package: Path) -> Iterator[str]:
    """Yield each import that no arrow allows."""
    for module, others in imports_of(package).items():
        room = room_of(module)
        if room is None:
            yield f"{module} belongs to no room"
            continue
        for other in others:
            target = room_of(other)
            allowed = target in BELOW[room] or (module, other) in SHIMS
            if target == "_native":
                allowed = room in NATIVE_USERS
            if target != room and not allowed:
                yield f"{module} imports {other}"


def circle(package: Path) -> list[str]:
    """Return modules that import each other in a circle.

    Packages' own modules are left out: they show what the modules in them define.
    """
    modules = modules_of(package)
    needs = {
        module: {
            other
            for other in others
            if modules[other].name != "__init__.py" and (module, other) not in SHIMS
        }
        for module, others in imports_of(package).items()
        if modules[module].name != "__init__.py"
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def wrong_doors(package: Path) -> Iterator[str]:
    """Yield each import of a library elsewhere than at its door, or of one that has none."""
    users: dict[str, set[str]] = {}
    for module, path in modules_of(package).items():
        for name in imported(path, package):
            users.setdefault(name.partition(".")[0], set()).add(module)
    for library in users.keys() - FREE:
        doors = DOORS.get(library, ())
        for module in users[library]:
            if not any(is_in(module, door) for door in doors):
                yield f"{module} imports {library}"


def cpp_room_of(path: Path) -> str:
    """Return the room that a C++ file belongs to; '' if there is none."""
    fitting = (room for room in CPP_BELOW if re.fullmatch(f"{room}(_.*)?", path.stem))
    return "api" if path.parent.name == "api" else max(fitting, key=len, default="")


def wrong_includes(folder: Path) -> Iterator[str]:
    """Yield each include that no arrow allows, or that is not at the door of its library."""
    paths = [*folder.rglob("*.cpp"), *folder.rglob("*.h")]
    rooms = {path.name: cpp_room_of(path) for path in paths if path.suffix == ".h"}
    for path in paths:
        room = cpp_room_of(path)
        if not room:
            yield f"{path.name} belongs to no room"
            continue
        for name in re.findall(r'#\s*include\s*[<"]([^>"]+)', path.read_text()):
            library = name.partition("/")[0]
            target = rooms.get(Path(name).name)
            if library in CPP_DOORS:
                allowed = room in CPP_DOORS[library]
            elif target is not None:
                allowed = target == room or target in CPP_BELOW[room]
            else:  # the standard library, the system's, and dicube.h
                allowed = "/" not in name or library in ("sys", "dicube")
            if not allowed:
                yield f"{path.name} includes {name}"


def test_rooms_know_only_those_below_them() -> None:
    assert list(wrong_arrows(PACKAGE)) == []


def test_every_shim_is_needed() -> None:
    imports = imports_of(PACKAGE)
    assert {(module, other) for module, other in SHIMS if other in imports[module]} == SHIMS


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(PACKAGE) == []


def test_libraries_are_imported_at_their_doors() -> None:
    assert list(wrong_doors(PACKAGE)) == []


def test_cpp_rooms_know_only_those_below_them() -> None:
    assert list(wrong_includes(CPP_SOURCES)) == []


def test_native_knows_no_numpy() -> None:
    sources = (PACKAGE / "_native").glob("*.py")
    known = {name.partition(".")[0] for path in sources for name in imported(path, PACKAGE)}
    assert "ctypes" in known
    assert "numpy" not in known


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_map_of_the_tree_is_the_tree() -> None:
    parents = [ROOT]  # by depth; each level is indented by two spaces
    for line in block_under("Rooms").splitlines():
        names = re.split(r"\s{2,}", line.strip())[0:-1]
        depth = (len(line) - len(line.lstrip())) // 2
        for name in names:
            assert (parents[depth] / name).exists(), line
        if names:
            parents[depth + 1 :] = [parents[depth] / names[0]]


# ---------------------------------------------------------------------------- planted violations


def plant(folder: Path, sources: dict[str, str]) -> Path:
    """Make a package with an empty module for each room, and modules with the sources given."""
    package = folder / "dicube"
    rooms = dict.fromkeys(f"{room}.__init__".replace("face.", "") for room in BELOW)
    for module, source in {**rooms, **sources}.items():
        path = package.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source or "")
    return package


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("storage.new", "import dicube.core", "storage.new imports core"),
        ("storage.new", "from dicube.core import image", "storage.new imports core"),
        ("storage.new", "from dicube import dicom", "storage.new imports dicom"),
        ("storage.new", "from ..core import image", "storage.new imports core"),
        ("storage.new", "from .. import core", "storage.new imports core"),
        ("nifti.new", "import dicube", "nifti.new imports face"),
        ("core.new", "def f():\n    import dicube.archive", "core.new imports archive"),
        ("core.new", "import_module('dicube.web')", "core.new imports web"),
        ("core.new", "importlib.import_module('dicube.cli')", "core.new imports cli"),
        ("core.new", "__import__('dicube.integrations')", "core.new imports integrations"),
        ("web.new", "import dicube.integrations", "web.new imports integrations"),
        ("dicom.series.new", "import dicube.dicom.export", "dicom.series.new imports dicom.export"),
        ("dicom.export.new", "import dicube.dicom", "dicom.export.new imports dicom"),
        ("exceptions.new", "import dicube.threads", "exceptions.new imports threads"),
        ("core.new", "import dicube._native", "core.new imports _native"),
        ("attic.new", "", "attic.new belongs to no room"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, module: str, source: str, found: str) -> None:
    assert list(wrong_arrows(plant(tmp_path, {module: source}))) == [found]


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("core.new", "import pydicom", "core.new imports pydicom"),
        ("core.new", "from pydicom.tag import Tag", "core.new imports pydicom"),
        ("core.new", "import_module('pydicom.tag')", "core.new imports pydicom"),
        ("core.new", "def f():\n    import torch", "core.new imports torch"),
        ("integrations.torch", "import monai.data", "integrations.torch imports monai"),
        ("integrations.as_nifti", "import nibabel", "integrations.as_nifti imports nibabel"),
        ("integrations.new", "import xarray", "integrations.new imports xarray"),
        ("core.new", "from xarray.core import indexing", "core.new imports xarray"),
        ("pydicom_plugin", "import pydicom", "pydicom_plugin imports pydicom"),
        ("integrations.new", "import nnunetv2", "integrations.new imports nnunetv2"),
        ("core.new", "from torchio import ScalarImage", "core.new imports torchio"),
        ("archive.new", "import pandas", "archive.new imports pandas"),
        ("core.new", "import zarr", "core.new imports zarr"),
        ("integrations.zarr", "import virtualizarr", "integrations.zarr imports virtualizarr"),
        ("storage.new", "import ctypes", "storage.new imports ctypes"),
        ("storage.new", "import requests", "storage.new imports requests"),
    ],
)
def test_a_wrong_door_is_found(tmp_path: Path, module: str, source: str, found: str) -> None:
    assert list(wrong_doors(plant(tmp_path, {module: source}))) == [found]


@pytest.mark.parametrize("back", ["import dicube.core.one", "import_module('dicube.core.one')"])
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    sources = {
        "core.one": "import dicube.core.two",
        "core.two": "from dicube.core import three",
        "core.three": f"def f():\n    {back}",
    }
    package = plant(tmp_path, sources)
    assert set(circle(package)) == {"core.one", "core.two", "core.three"}
    (package / "core" / "three.py").write_text("")
    assert circle(package) == []


def test_a_tree_without_violations_passes(tmp_path: Path) -> None:
    sources = {
        "core.streaming": "import dicube.dicom, dicube.storage",
        "dicom.dcb_streaming": "import_module('dicube.core.streaming')",
        "integrations.torch": "import torch, dicube",
    }
    package = plant(tmp_path, sources)
    assert [*wrong_arrows(package), *wrong_doors(package), *circle(package)] == []


@pytest.mark.parametrize(
    ("file", "name", "found"),
    [
        ("container.cpp", "reader.h", True),
        ("container.cpp", "codecs/codec.h", True),
        ("container.cpp", "file.h", False),
        ("error.h", "file.h", True),
        ("codecs/codec.h", "container.h", True),
        ("codecs/htj2k_header.h", "codec.h", False),
        ("codecs/htj2k_header.h", "pool.h", True),
        ("codecs/jxl_planes.cpp", "pool.h", True),
        ("codecs/libjxl.cpp", "pool.h", False),
        ("codecs/jxl_planes.cpp", "htj2k_header.h", True),
        ("codecs/jxl_planes.cpp", "jxl/encode.h", True),
        ("codecs/libjxl.cpp", "jxl/encode.h", False),
        ("codecs/jxl.cpp", "openjph/ojph_arch.h", True),
        ("writer.cpp", "reader.h", True),
        ("reader.cpp", "xxhash.h", True),
        ("api/writer.cpp", "reader.h", False),
        ("reader.cpp", "api/arguments.h", True),
        ("reader.cpp", "boost/any.hpp", True),
        ("reader.cpp", "sys/stat.h", False),
    ],
)
def test_a_wrong_include_is_found(tmp_path: Path, file: str, name: str, found: bool) -> None:
    headers = [f"codecs/{room}.h" for room in CPP_BELOW if room != "api"]
    for path in ("api/arguments.h", "codecs/htj2k_header.h", *headers, file):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / file).write_text(f'#include <vector>\n#include "{name}"\n')
    wrong = [f"{Path(file).name} includes {name}"] if found else []
    assert list(wrong_includes(tmp_path)) == wrong


def test_a_cpp_file_of_no_room_is_found(tmp_path: Path) -> None:
    (tmp_path / "attic.h").write_text("")
    assert list(wrong_includes(tmp_path)) == ["attic.h belongs to no room"]
