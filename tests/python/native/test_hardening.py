"""The libdicube that is loaded has the compiler's and the linker's protections, on Linux."""

from __future__ import annotations

import importlib.metadata
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs.running import ROOT

import dicube
from dicube._native import library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF is the format of Linux")

STACK, RELRO = 0x6474E551, 0x6474E552  # types of segments
STRINGS, SYMBOLS, RPATH, FLAGS, RUNPATH, FLAGS_1 = 5, 6, 15, 30, 29, 0x6FFFFFFB  # dynamic tags


class Elf:
    """The segments, dynamic entries and symbols of a 64-bit little-endian shared library."""

    def __init__(self, data: bytes) -> None:
        assert data[:6] == b"\x7fELF\2\1"
        self.data = data
        start, size, count = (
            *struct.unpack_from("<Q", data, 32),
            *struct.unpack_from("<2H", data, 54),
        )
        self.segments = [struct.unpack_from("<2I6Q", data, start + i * size) for i in range(count)]
        (dynamic,) = (segment for segment in self.segments if segment[0] == 2)
        entries = struct.iter_unpack("<2Q", data[dynamic[2] : dynamic[2] + dynamic[5]])
        self.dynamic = dict(entries)

    def at(self, address: int) -> int:
        """Return the place in the file of an address in memory."""
        for kind, _, offset, start, _, size, *_ in self.segments:
            if kind == 1 and start <= address < start + size:
                return address - start + offset
        raise ValueError(f"no segment has the address {address:#x}")

    def symbols(self) -> Iterator[tuple[str, int]]:
        """Yield the name and address of each dynamic symbol; imported ones have the address 0."""
        strings = self.at(self.dynamic[STRINGS])
        # The table of strings follows that of symbols, which has no count of its own.
        table = self.data[self.at(self.dynamic[SYMBOLS]) : strings]
        for name, _, _, _, address, _ in struct.iter_unpack(
            "<I2BH2Q", table[: len(table) // 24 * 24]
        ):
            start = strings + name
            yield self.data[start : self.data.index(b"\0", start)].decode(), address


@pytest.fixture(scope="module")
def elf() -> Elf:
    return Elf(Path(library.LIBRARY_PATH).read_bytes())


def test_full_relro(elf: Elf) -> None:
    assert RELRO in [segment[0] for segment in elf.segments]
    assert elf.dynamic.get(FLAGS, 0) & 8, "expected BIND_NOW"
    assert elf.dynamic.get(FLAGS_1, 0) & 1, "expected NOW"


def test_stack_is_not_executable(elf: Elf) -> None:
    (flags,) = (segment[1] for segment in elf.segments if segment[0] == STACK)
    assert not flags & 1


def test_no_segment_is_writable_and_executable(elf: Elf) -> None:
    assert not [segment for segment in elf.segments if segment[0] == 1 and segment[1] & 3 == 3]


def test_stack_protector_and_checked_functions(elf: Elf) -> None:
    imported = {name for name, address in elf.symbols() if not address}
    assert "__stack_chk_fail" in imported
    assert "__memcpy_chk" in imported, "expected _FORTIFY_SOURCE"


def test_functions_begin_with_a_landing_pad(elf: Elf) -> None:
    """The entries of functions are marked as targets of indirect branches (CET, BTI)."""
    pads = {"x86_64": (b"\xf3\x0f\x1e\xfa",), "aarch64": (b"\x5f\x24\x03\xd5", b"\x3f\x23\x03\xd5")}
    if platform.machine() not in pads:
        pytest.skip(f"no landing pads on {platform.machine()}")
    functions = {name: at for name, at in elf.symbols() if at and name.startswith("dicube_")}
    assert len(functions) > 30
    for name, address in functions.items():
        place = elf.at(address)
        assert elf.data[place : place + 4] in pads[platform.machine()], name


def test_no_folders_of_the_build(elf: Elf) -> None:
    assert not {RPATH, RUNPATH} & set(elf.dynamic)
    for folder in (str(ROOT), str(Path.home()), "/.cache/dicube/", "/conan/p/"):
        if folder != "/":
            assert folder.encode() not in elf.data, folder


def test_licenses_of_what_is_linked() -> None:
    """The package contains the license of each library that dicube.build_info() lists."""
    try:
        files = importlib.metadata.files("dicube") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("dicube is on the path, but not installed")
    found = {"/".join(file.parts[-2:]) for file in files if "licenses" in file.parts}
    for name in ("brotli", "charls", "highway", "lcms", "libjxl", "openjph", "xxhash"):
        assert name in dicube.build_info().lower()
        assert any(file.startswith(f"{name}/LICENSE") for file in found)
    assert found >= {"libjxl/PATENTS", "highway/LICENSE-BSD3"}
