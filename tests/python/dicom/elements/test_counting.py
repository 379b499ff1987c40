"""counting: a dataset of too many elements and items is refused before they are parsed."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from inputs.dicom_bytes import dataset_bytes, element, inserted, with_meta
from inputs.dicom_series import make_slice
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
)

from dicube import DicomCubeImage
from dicube.dicom.elements import counting
from dicube.dicom.elements.counting import check_count
from dicube.exceptions import MetaDataError

MANY = counting.ALWAYS_ALLOWED + 1
SEQUENCE, PRIVATE, PATIENT = 0x00081140, 0x00091001, 0x00100010


def item(content: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HHL", 0xFFFE, 0xE000, len(content)) + content


def undefined(vr: bytes, items: bytes) -> bytes:
    """An element of undefined length, in implicit encoding if it has no VR."""
    start = struct.pack("<HH", 0x0009, 0x1001) + (vr and vr + b"\0\0") + b"\xff" * 4
    return start + items + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


LITTLE = {
    "items": element(SEQUENCE, b"SQ", item(b"") * MANY),
    "elements": element(PRIVATE, b"LO", b"") * MANY,
    "elements of an item": element(SEQUENCE, b"SQ", item(element(PRIVATE, b"LO", b"") * MANY)),
    "elements of an unknown one": element(
        PRIVATE, b"UN", item(element(PRIVATE, b"", b"", implicit=True) * MANY)
    ),
    "elements of one of undefined length": undefined(
        b"UN", item(element(PRIVATE, b"", b"", implicit=True) * MANY)
    ),
    "elements behind one of undefined length": undefined(b"UN", item(undefined(b"", b"")) * 2)
    + element(PRIVATE, b"LO", b"") * MANY,
    "elements behind coded frames": undefined(b"OB", item(b"coded!"))
    + element(PRIVATE, b"LO", b"") * MANY,
}


@pytest.mark.parametrize("name", LITTLE)
def test_too_many(name: str) -> None:
    data = LITTLE[name]
    most = counting.ALWAYS_ALLOWED
    with pytest.raises(MetaDataError, match=f"at most {most} elements and items.* found .*{MANY}"):
        check_count(data, 0, False, True, 1000)
    check_count(data, 0, False, True, 16 * (MANY + 10))


@pytest.mark.parametrize("implicit", [False, True])
def test_values_are_not_walked_through(implicit: bool) -> None:
    check_count(element(PRIVATE, b"UT", bytes(9 * MANY), implicit), 0, implicit, True, 1000)


def test_big_endian_and_implicit() -> None:
    for implicit, little in ((True, True), (False, False)):
        order = "<" if little else ">"
        one = element(PRIVATE, b"LO", b"", implicit, order)
        sequence = element(SEQUENCE, b"SQ", item(one * MANY, order), implicit, order)
        with pytest.raises(MetaDataError, match="found at least"):
            check_count(sequence, 0, implicit, little, 1000)


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["items", "elements"])
def test_small_files_of_many(tmp_path: Path, name: str) -> None:
    """Deflated, and in an archive; on disk they are what their size says."""
    dataset = inserted(dataset_bytes(make_slice(), ExplicitVRLittleEndian), PATIENT, LITTLE[name])
    deflated = tmp_path / "a.dcm"
    deflated.write_bytes(with_meta(packed(dataset), DeflatedExplicitVRLittleEndian))
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.dcm", with_meta(dataset, ExplicitVRLittleEndian))
    for source in (deflated, archive):
        assert source.stat().st_size < 1 << 20
        with pytest.raises(MetaDataError, match="elements and items"):
            DicomCubeImage.from_dicom_folder(source)
