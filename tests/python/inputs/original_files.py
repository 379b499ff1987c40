"""Files that a series was read from, and what comes of them by way of a dicube file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicube import DicomCubeImage
from dicube.dicom.originals.model import Originals
from dicube.dicom.originals.section import originals_from_bytes
from dicube.storage import DcbReader
from dicube.storage.packed_text import pack_bytes, unpack_bytes

PIXEL_DATA = b"\xe0\x7f\x10\x00"
HTJ2K, JPEG_XL, JPEG = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 110, 50))
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "little": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def restored(source: Any, work: Path, extension: str = ".dcbs") -> dict[str, bytes]:
    """What comes out of a file that a series was written to."""
    image = DicomCubeImage.from_dicom_folder(source)
    assert image.why_not_exact() == ""
    image.to_file(work / f"x{extension}")
    shutil.rmtree(work / "out", ignore_errors=True)
    DicomCubeImage.from_file(work / f"x{extension}").to_dicom_folder(work / "out", exact=True)
    return contents(work / "out")


def originals_of(path: Path) -> Originals:
    """The originals that a dicube file holds, with its coded frames."""
    with DcbReader(path) as reader:
        data = unpack_bytes(reader.sections["originals"])
        originals = originals_from_bytes(data, reader.shape, reader.dtype, reader.codec)
        originals.coded = reader.coded_frames()
        return originals


def literal_size(originals: Originals) -> int:
    """The bytes that are kept as they are."""
    pieces = (piece for file in originals.files for piece in file.pieces)
    return sum(len(piece) for piece in pieces if isinstance(piece, (bytes, memoryview)))


def encapsulated(dataset: Dataset, frames: list[bytes], **how: Any) -> Dataset:
    """Give a dataset coded frames for pixels."""
    dataset.file_meta.TransferSyntaxUID = HTJ2K
    dataset.add_new(0x7FE00010, "OB", encapsulate(frames, **how))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def packed(data: bytes) -> bytes:
    """Bytes as a section holds them."""
    return pack_bytes(data) or b""
