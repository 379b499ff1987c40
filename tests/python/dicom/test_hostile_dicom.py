"""Hostile DICOM files: deep sequences, absurd sizes, and wrong lengths."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs.dicom_series import make_slice, write_series
from programs.running import path_with, run_python
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError

MEMORY = 512 << 20


def nested(depth: int, defined: bool) -> bytes:
    """A private sequence in explicit VR little endian, so many deep."""
    inner = b""
    head = struct.pack("<HH2sH", 0x0009, 0x1010, b"SQ", 0)
    for _ in range(depth):
        if defined:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = head + struct.pack("<L", len(item)) + item
        else:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner
            item += struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
            inner = head + struct.pack("<L", 0xFFFFFFFF) + item
    return inner


def with_element(path: Path, element: bytes) -> None:
    """Put an element of group 9 before those of group 10."""
    data = path.read_bytes()
    at = data.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(data[:at] + element + data[at:])


def whole_way(folder: Path, out: Path) -> None:
    """Read a folder, store it, read that, write DICOM again, and compare."""
    out.mkdir(exist_ok=True)
    image = DicomCubeImage.from_dicom_folder(folder)
    image.to_file(out / "x.dcbs")
    back = DicomCubeImage.from_file(out / "x.dcbs")
    assert not back.why_not_exact()
    back.to_dicom_folder(out / "exact")
    for path in folder.iterdir():
        assert (out / "exact" / path.name).read_bytes() == path.read_bytes()
    back.to_dicom_folder(out / "anew", exact=False)


@pytest.mark.parametrize(
    ("depth", "defined"),  # 5000 of defined length take long to make
    [*((n, True) for n in (10, 50, 1000)), *((n, False) for n in (10, 50, 1000, 5000, 10000))],
)
def test_deep_sequences(depth: int, defined: bool, tmp_path: Path) -> None:
    """They come back, or a clear exception tells that they are too deep."""
    folder = write_series(tmp_path / "in", [make_slice(0)])
    with_element(next(folder.iterdir()), nested(depth, defined))
    if depth <= 50:
        whole_way(folder, tmp_path)
    else:
        with pytest.raises(DicomCubeError, match="nested too deeply"):
            whole_way(folder, tmp_path)


def pixels_of(count: int) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = bytes(count)

    return change


def element(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


LARGEST = [
    *(element(keyword, 65535) for keyword in ("Rows", "Columns")),
    element("NumberOfFrames", (1 << 31) - 1),
    element("SamplesPerPixel", 3),
]
SIZES: list[tuple[str, Callable[[Dataset], object]]] = [
    *((f"{k} {n}", element(k, n)) for k in ("Rows", "Columns") for n in (0, 1, 65535)),
    *((f"frames {n}", element("NumberOfFrames", n)) for n in (-1, 2, 1 << 31, 10**12)),
    *((f"samples {n}", element("SamplesPerPixel", n)) for n in (0, 2, 65535)),
    *((f"allocated {n}", element("BitsAllocated", n)) for n in (0, 1, 7, 64, 65535)),
    *((f"stored {n}", element("BitsStored", n)) for n in (0, 17, 65535)),
    *((f"high bit {n}", element("HighBit", n)) for n in (0, 16, 65535)),
    *((f"pixel bytes {n}", pixels_of(n)) for n in (0, 2, 58, 62)),
    ("all at once", lambda dataset: [change(dataset) for change in LARGEST]),
]


def test_absurd_sizes(tmp_path: Path) -> None:
    """In a process that can have little: an exception of ours, or what comes back to the byte."""
    for name, change in SIZES:
        dataset = make_slice(0)
        change(dataset)
        write_series(tmp_path / name / "in", [dataset])
    script = f"""
import pathlib, resource, sys, time, warnings
from test_hostile_dicom import whole_way
from dicube.exceptions import DicomCubeError
warnings.simplefilter("ignore")
held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {MEMORY},) * 2)
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        whole_way(folder / "in", folder)
        print(folder.name, "comes back")
    except DicomCubeError as error:
        print(folder.name, "is refused:", error.message)
"""
    done = run_python("-c", script, tmp_path, PYTHONPATH=path_with(__file__))
    assert not done.stderr
    told = done.stdout.splitlines()
    assert len(told) == len(SIZES)
    refused = [line for line in told if "is refused" in line]
    assert len(refused) > len(told) // 2


def test_lengths_beyond_the_end(tmp_path: Path) -> None:
    """Refused; or if all pixels are there nevertheless, given back as they are."""
    folder = write_series(tmp_path / "in", [make_slice(0)])
    (path,) = folder.iterdir()
    data = path.read_bytes()
    patient = data.index(b"\x10\x00\x10\x00PN")
    other = struct.pack("<HH2sHL", 0x0009, 0x1010, b"OB", 0, 0)
    pixels = data.index(struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0))
    for length in (1 << 20, (1 << 31) - 2, 1 << 31, (1 << 32) - 2):
        lie = struct.pack("<L", length)
        path.write_bytes(data[:patient] + other[:-4] + lie + data[patient:])
        with pytest.raises(DicomCubeError, match=f"expected {length} bytes"):
            DicomCubeImage.from_dicom_folder(folder)
        path.write_bytes(data[: pixels + 8] + lie + data[pixels + 12 :])
        whole_way(folder, tmp_path / str(length))
