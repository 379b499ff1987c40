"""archives: members are unpacked within limits, and every fault is an exception of dicube."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from programs.running import path_with, run_python

from dicube.dicom.dicom_io import read_series
from dicube.dicom.dicom_tree import find_series
from dicube.dicom.files import archives
from dicube.dicom.files.sources import files_of
from dicube.exceptions import DataConsistencyError, DicomCubeError

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
DIRECTORY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def zipped(path: Path, contents: dict[str, bytes], method: int) -> Path:
    """Write an archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def patch(path: Path, field: str, of_directory: int, of_member: int, value: int) -> None:
    """Change a field of the first entry of the directory, and of its member's header."""
    data = bytearray(path.read_bytes())
    struct.pack_into(field, data, data.index(DIRECTORY) + of_directory, value)
    struct.pack_into(field, data, data.index(LOCAL) + of_member, value)
    path.write_bytes(data)


def state_size(path: Path, content: bytes) -> None:
    """State the size and the checksum of this content, whatever the member holds."""
    patch(path, "<L", 24, 22, len(content))
    patch(path, "<L", 16, 14, zlib.crc32(content))


@pytest.mark.parametrize("method", METHODS)
def test_each_method(method: int, tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 4, 3_000_000, np.uint8).tobytes()
    path = zipped(tmp_path / "a.zip", {"a": content, "empty": b""}, method)
    one, empty = pickle.loads(pickle.dumps(files_of(path)))
    with one.open() as file:
        assert file.read() == content
        assert file.read() == file.read(5) == b""
        assert file.seek(2_999_990) == 2_999_990
        assert file.read(20) == content[-10:]
        buffer = bytearray(1 << 21)
        file.seek(-len(buffer), io.SEEK_END)
        assert file.readinto(buffer) == len(buffer)
        assert buffer == content[-len(buffer) :]
    with one.open_buffered() as file:
        assert b"".join(iter(lambda: file.read(12_345), b"")) == content
    with empty.open() as file:
        assert file.read() == b""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stated", [0, 9, 1000, 5000])
def test_a_size_that_is_a_lie(stated: int, method: int, tmp_path: Path) -> None:
    """Too small, with the checksum of the start, or too large."""
    content = bytes(range(250)) * 8
    path = zipped(tmp_path / "a.zip", {"a": content}, method)
    state_size(path, content.ljust(stated, b"\0")[:stated])
    (member,) = files_of(path)
    damaged = pytest.raises(DataConsistencyError, match=r"a\.zip/a is damaged in its archive")
    with damaged, member.open() as file:  # type: ignore[union-attr]
        file.read()


@pytest.mark.parametrize(
    ("field", "places", "value", "reason"),
    [
        ("<H", (10, 8), 99, "unknown method 99"),
        ("<H", (8, 6), 1, "is encrypted"),
        ("<H", (8, 6), 0x41, "is encrypted"),
        ("<H", (8, 6), 0x20, "damaged"),
        ("<L", (16, 14), 7, "checksum is wrong"),
        ("<L", (20, 18), 0x7FFFFFFF, "damaged"),
    ],
)
def test_a_bad_member_among_good_ones(
    field: str, places: tuple[int, int], value: int, reason: str, tmp_path: Path
) -> None:
    """Reading the series names it; a listing goes on."""
    write_series(tmp_path / "in", make_series(3))
    contents = {path.name: path.read_bytes() for path in sorted((tmp_path / "in").iterdir())}
    path = zipped(tmp_path / "a.zip", contents, zipfile.ZIP_DEFLATED)
    patch(path, field, *places, value)
    with pytest.raises(DicomCubeError, match=rf"I1.*{reason}"):
        read_series(path)
    tree = find_series(path)
    assert [len(series.files) for series in tree.series] == [2]
    assert [reason in one.reason for one in tree.unreadable] == [True]


@pytest.mark.parametrize("start", [LOCAL, DIRECTORY, b"PK\x05\x06"])
def test_damage_anywhere(start: bytes, tmp_path: Path) -> None:
    """Each byte of the headers and of the directory."""
    good = zipped(tmp_path / "a.zip", {"1.dcm": b"x" * 40, "é": b"y"}, zipfile.ZIP_DEFLATED)
    data = good.read_bytes()
    for at in range(data.index(start), data.index(start) + 50):
        for value in (0, 0x55, 0xFF):
            changed = bytearray(data)
            if at < len(data):
                changed[at] = value
            good.write_bytes(changed)
            try:
                for file in files_of(good):
                    with file.open() as opened:  # type: ignore[union-attr]
                        opened.read()
            except DicomCubeError:
                pass


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"é": b"x"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(DataConsistencyError, match="damaged zip archive"):
        files_of(path)


def test_a_member_that_grows_too_much(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"x", "b": b"y" * 500}, zipfile.ZIP_DEFLATED)
    state_size(path, b"x")
    patch(path, "<L", 24, 22, archives.ALWAYS_ALLOWED + 1)
    grown, other = files_of(path)
    with pytest.raises(DataConsistencyError, match="at most 200 times its packed size"):
        grown.open()  # type: ignore[union-attr]
    with other.open() as file:  # type: ignore[union-attr]
        assert file.read() == b"y" * 500


@pytest.mark.parametrize("method", METHODS[1:])
def test_memory_of_a_bomb_that_states_a_small_size(method: int, tmp_path: Path) -> None:
    """100 MB of zeros behind a DICOM file, of which the directory states only the file."""
    write_series(tmp_path / "in", make_series(1))
    good = (tmp_path / "in" / "I1").read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("I1", "w") as member:
        member.write(good)
        for _ in range(100):
            member.write(bytes(1 << 20))
    state_size(path, good)
    script = f"""
import resource, sys
from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {64 << 20},) * 2)
try:
    DicomCubeImage.from_dicom_folder(sys.argv[1])
except DicomCubeError as error:
    print("refused:", error.message)
"""
    done = run_python("-c", script, path, PYTHONPATH=path_with(__file__))
    assert "refused:" in done.stdout
    assert "it has more than" in done.stdout
