"""Rooms know only the rooms below them, and each third-party library has one door.

The design's tables stand here as data, with functions that find what breaks them in any tree. The
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
from programs.running import ROOT, run_python

PACKAGE = ROOT / "python" / "dicube"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CPP_SOURCES = sorted((ROOT / "cpp").rglob("*.cpp")) + sorted((ROOT / "cpp").rglob("*.h"))

# Which rooms may import which. Arrows are transitive; what they don't allow is forbidden. A module
# belongs to the room that is the longest prefix of its name; "face" is dicube/__init__.py.
ARROWS = """
__main__ > cli > demo, web, integrations > face > archive > verify > core > nifti > dicom
core > storage > codecs
pydicom_plugin > dicom
dicom > dicom.export > dicom.series > dicom.dicom_status > dicom.dicom_meta > dicom.metadata
dicom.metadata > dicom.originals > dicom.files > dicom.elements > dicom.dicom_tags > ground
dicom.metadata > dicom.merge_utils > dicom.elements
dicom.files > dicom.transfer_syntaxes > codecs > _native > ground
ground > pixel_header, validation, whole_files > strict_json, threads > exceptions
"""

# Modules at paths of 0.3.0 that pass on names which now live above them.
SHIMS = {
    ("dicom.dcb_streaming", "core.streaming"),
    ("storage.dcb_file", "core.dcb_files"),
}

# The rooms that may call the C library; all others call these.
NATIVE_USERS = ("codecs", "storage", "face")

# Which rooms may import a library. A library that stands neither here nor among FREE is forbidden.
DOORS = {
    "ctypes": ("_native",),
    "pydicom": ("dicom", "integrations.pydicom"),
    "spacetransformer": ("dicom.series.geometry",),
    "nibabel": ("nifti.nibabel_door", "integrations.nibabel", "core.handover"),
    "fsspec": ("storage", "archive"),
    "aiohttp": ("storage", "archive"),
    "zstandard": ("storage.packed_text",),
    "sqlalchemy": ("archive.catalogue",),
    "distributed": ("archive",),
    "dicomanonymizer": ("archive",),
    "pandas": ("archive",),
    "starlette": ("web",),
    "uvicorn": ("web",),
    "PIL": ("web",),
    "SimpleITK": ("core.handover",),
    "ipyniivue": ("core.handover",),
    "xarray": ("core.handover", "integrations.xarray"),
    "monai": ("integrations.monai",),
    "torchio": ("integrations.torchio",),
    "nnunetv2": ("integrations.nnunet",),
    "torch": ("integrations.torch",),
    "napari": ("integrations.napari",),
    "zarr": ("integrations.zarr",),
}
IN_ONE_MODULE = {"distributed", "dicomanonymizer", "pandas"}
FREE = (sys.stdlib_module_names | {"dicube", "numpy"}) - DOORS.keys()


def rooms_below() -> dict[str, set[str]]:
    """Return each room with all rooms that it may import; raises where arrows run in a circle."""
    below: dict[str, set[str]] = {}
    for line in ARROWS.strip().splitlines():
        steps = [step.strip().split(", ") for step in line.split(">")]
        for uppers, lowers in pairwise(steps):
            for upper in uppers:
                below.setdefault(upper, set()).update(lowers)
    for room in TopologicalSorter(below).static_order():
        direct = below.setdefault(room, set())
        below[room] = direct.union(*(below[lower] for lower in direct))
    return below


BELOW = rooms_below()


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
        if library in IN_ONE_MODULE and len(users[library]) > 1:
            yield f"{library} is imported in {sorted(users[library])}"


def test_rooms_know_only_those_below_them() -> None:
    assert list(wrong_arrows(PACKAGE)) == []


def test_every_shim_is_needed() -> None:
    imports = imports_of(PACKAGE)
    assert {(module, other) for module, other in SHIMS if other in imports[module]} == SHIMS


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(PACKAGE) == []


def test_libraries_are_imported_at_their_doors() -> None:
    assert list(wrong_doors(PACKAGE)) == []


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
ABOVE_CONTAINER = r"(kind|reader|writer|decoding|frame_coder)\.h|api/.*"
CPP_FORBIDDEN = {
    r"file|pool|bytes|error|image": rf"(container|loss|rescale)\.h|codecs/.*|{ABOVE_CONTAINER}",
    r"loss|rescale": rf"(container|pool)\.h|codecs/.*|{ABOVE_CONTAINER}",
    r"container": rf"(image|pool)\.h|codecs/.*|{ABOVE_CONTAINER}",
    r"codecs/.*": rf"(container|file|loss|rescale)\.h|{ABOVE_CONTAINER}",
    r"codecs/(?!libjxl).*": r"pool\.h",
    r"frame_coder": r"(container|file|kind|reader|writer|decoding)\.h",
    r"kind|reader|writer|decoding|frame_coder": r"api/.*|codecs/(?!codec\.h).*",
}


@pytest.mark.parametrize("name", CPP_FORBIDDEN)
def test_cpp_room_knows_only_what_it_may(name: str) -> None:
    rooms = [path for path in CPP_SOURCES if re.fullmatch(name, cpp_room(path))]
    assert rooms
    for path in rooms:
        barred = {file for file in included(path) if re.fullmatch(CPP_FORBIDDEN[name], file)}
        assert not barred, f"{path.name} includes {barred}"


def test_native_knows_no_numpy() -> None:
    sources = (PACKAGE / "_native").glob("*.py")
    known = {name.partition(".")[0] for path in sources for name in imported(path, PACKAGE)}
    assert "ctypes" in known
    assert "numpy" not in known


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_importing_dicube_loads_nothing_heavy() -> None:
    code = "import sys, dicube; print([m for m in ('numpy', 'pydicom') if m in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"


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
        ("storage.new", "import ctypes", "storage.new imports ctypes"),
        ("storage.new", "import requests", "storage.new imports requests"),
    ],
)
def test_a_wrong_door_is_found(tmp_path: Path, module: str, source: str, found: str) -> None:
    assert list(wrong_doors(plant(tmp_path, {module: source}))) == [found]


def test_a_second_module_of_a_library_that_has_one_is_found(tmp_path: Path) -> None:
    sources = {"archive.one": "import pandas", "archive.two": "import pandas"}
    found = list(wrong_doors(plant(tmp_path, sources)))
    assert found == ["pandas is imported in ['archive.one', 'archive.two']"]


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
