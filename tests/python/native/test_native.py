"""The ctypes declarations match dicube.h word for word."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs.running import ROOT, needs, run_python

from dicube import _native
from dicube._native import library
from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    OutOfMemoryError,
)

HEADER = (ROOT / "cpp" / "include" / "dicube" / "dicube.h").read_text()
CODE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)

CTYPES = {
    "size_t": ctypes.c_size_t,
    "uint64_t": ctypes.c_uint64,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "double": ctypes.c_double,
    "int32_t": ctypes.c_int32,
    "void*": ctypes.c_void_p,
}


def header_functions() -> dict[str, tuple[str, list[str]]]:
    """Each function of the header: (what it returns, the types it takes)."""
    found = {}
    for returned, name, taken in re.findall(
        r"DICUBE_API\s+([\w\s]+?\*?)\s+(dicube_\w+)\(([^)]*)\);", CODE
    ):
        parameters = [] if taken.strip() == "void" else taken.split(",")
        types = [re.sub(r"\w+\s*$", "", " ".join(text.split())).strip() for text in parameters]
        found[name] = (returned.strip(), types)
    return found


def header_constants() -> dict[str, int]:
    """Each numeric macro of the header without its prefix."""
    found = {}
    for name, value in re.findall(r"#define DICUBE_(\w+)[ \t]+(\(?-?\d+u?\)?)", CODE):
        found[name] = int(value.strip("()u"))
    return found


def header_structs() -> dict[str, list[tuple[str, str]]]:
    """Each struct of the header: its fields as (type, name)."""
    found = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", CODE, re.DOTALL):
        fields = []
        for declaration in filter(None, (text.strip() for text in body.split(";"))):
            function = re.match(r"int32_t \(\*(\w+)\)\(", declaration)
            if function:
                fields.append(("function", function[1]))
            else:
                kind, field = re.fullmatch(r"(.+?)\s*\b(\w+)", declaration).groups()
                fields.append((kind, field))
        found[name] = fields
    return found


def as_ctype(declared: str) -> object:
    """The ctypes type that a parameter of the header must have in a prototype."""
    plain = declared.replace("const ", "").strip()
    if plain == "void*":
        return ctypes.c_void_p
    if plain == "char*":
        return ctypes.c_char_p
    if plain in ("dicube_reader*", "dicube_decoding*", "dicube_writer*"):
        return ctypes.c_void_p
    if plain.endswith("**"):
        return ctypes.POINTER(ctypes.c_void_p)
    if plain.endswith("*"):
        target = plain[:-1].strip()
        return ctypes.POINTER(_native.STRUCTS.get(target) or CTYPES[target])
    return CTYPES[plain]


def test_the_header_was_parsed() -> None:
    assert len(header_functions()) == HEADER.count("DICUBE_API ") - 3  # three macro lines
    assert len(header_structs()) >= 6


def test_prototypes_are_the_headers_functions() -> None:
    assert set(_native.PROTOTYPES) == set(header_functions())


@pytest.mark.parametrize("name", sorted(header_functions()))
def test_prototype(name: str) -> None:
    returned, taken = header_functions()[name]
    bound_returned, bound_taken = _native.PROTOTYPES[name]
    expected = None if returned == "void" else as_ctype(returned)
    assert bound_returned is expected
    assert list(bound_taken) == [as_ctype(kind) for kind in taken]


def test_constants_are_the_headers() -> None:
    version = {name for name in header_constants() if name.startswith("VERSION_")}
    for name, value in header_constants().items():
        if name not in version:
            assert getattr(_native, name) == value, name


def test_structs_are_the_headers() -> None:
    assert set(_native.STRUCTS) == set(header_structs())


@pytest.mark.parametrize("name", sorted(header_structs()))
def test_struct_fields(name: str) -> None:
    bound = _native.STRUCTS[name]._fields_
    declared = header_structs()[name]
    assert [field for field, *_ in bound] == [field for _, field in declared]
    for (field, kind, *_), (expected, _) in zip(bound, declared, strict=True):
        if expected == "function":
            assert issubclass(kind, ctypes._CFuncPtr), field
        else:
            assert kind is as_ctype(expected), field


def test_struct_size_is_filled_in() -> None:
    for struct in _native.STRUCTS.values():
        assert struct().struct_size == ctypes.sizeof(struct)


def test_exported_symbols_are_the_headers_functions() -> None:
    (nm,) = needs("nm")
    if sys.platform == "win32" or not Path(_native.LIBRARY_PATH).exists():
        pytest.skip("nm doesn't read DLLs, or the library was found by its soname")
    options = ["-gU"] if sys.platform == "darwin" else ["-D", "--defined-only"]
    listing = subprocess.run(
        [nm, *options, _native.LIBRARY_PATH],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [line.split()[-1].split("@")[0] for line in listing.splitlines()]
    exported = {name.removeprefix("_") for name in names}  # which macOS puts before each
    assert exported == set(header_functions())


def test_versions() -> None:
    constants = header_constants()
    expected = ".".join(str(constants[f"VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
    assert _native.version() == expected
    import dicube

    assert dicube.__version__ == expected
    assert f"\nversion: {expected}\n" in (ROOT / "CITATION.cff").read_text()


def test_build_info_names_what_is_linked_in_by_its_pinned_version() -> None:
    lines = [line.split(maxsplit=1) for line in _native.build_info().splitlines()]
    told = {name.lower(): version for name, version in lines}
    assert told.keys() >= {"dicube", "compiler"}
    for recipe in (ROOT / "ci" / "recipes").iterdir():
        if recipe.name != "pinned-source":  # how the others get their sources
            (pinned,) = re.findall(r'^  "(.+)":', (recipe / "config.yml").read_text(), re.MULTILINE)
            assert told[recipe.name] == pinned


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ARGUMENT", DataConsistencyError),
        ("MEMORY", OutOfMemoryError),
        ("NOT_FOUND", CubeFileNotFoundError),
        ("IO", CubeFileAccessError),
        ("FORMAT", InvalidCubeFileError),
        ("UNSUPPORTED", InvalidCubeFileError),
        ("CHECKSUM", InvalidCubeFileError),
        ("CODEC", CodecError),
        ("LIMIT", OutOfMemoryError),
        ("STATE", DicomCubeError),
        ("INTERNAL", DicomCubeError),
    ],
)
def test_status_becomes_exception(status: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        library._check(getattr(_native, f"ERROR_{status}"), None, ())
    assert type(caught.value) is expected


def test_every_status_of_the_header_has_an_exception() -> None:
    statuses = {value for name, value in header_constants().items() if name.startswith("ERROR_")}
    assert statuses == set(library._EXCEPTIONS)


def load_in_a_new_process(library: Path) -> subprocess.CompletedProcess[str]:
    return run_python("-c", "import dicube._native", DICUBE_LIBRARY=str(library))


def test_handle_that_a_signal_left_half_built_is_let_go_quietly() -> None:
    _native.Reader.__new__(_native.Reader).__del__()


def test_missing_library_says_what_was_tried(tmp_path: Path) -> None:
    result = load_in_a_new_process(tmp_path / "libdicube.so")
    assert result.returncode != 0
    assert "ImportError: libdicube was not found; tried " in result.stderr
    assert str(tmp_path / "libdicube.so") in result.stderr


def test_places_that_are_tried(tmp_path: Path) -> None:
    package = tmp_path / "dicube"
    libraries = shutil.ignore_patterns("*.so*", "*.dylib", "*.dll")
    shutil.copytree(Path(_native.__file__).parents[1], package, ignore=libraries)
    environment = {"PYTHONPATH": str(tmp_path), "DICUBE_LIBRARY": ""}
    result = run_python("-c", "import dicube._native", **environment)
    if result.returncode == 0:
        pytest.skip("a libdicube is installed in the system")
    assert str(package) in result.stderr
    assert result.stderr.count("libdicube.") >= 2


def test_another_abi_is_refused(tmp_path: Path) -> None:
    (compiler,) = needs("cc")
    source = tmp_path / "other.c"
    source.write_text("unsigned dicube_abi_version(void) { return 999; }")
    library = tmp_path / "libother.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    result = load_in_a_new_process(library)
    assert f"expected libdicube ABI {_native.ABI_VERSION}, found 999" in result.stderr
