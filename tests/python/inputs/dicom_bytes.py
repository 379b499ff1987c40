"""DICOM files that pydicom doesn't write: made of bytes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

LONG = (b"OB", b"OW", b"OF", b"OD", b"UN", b"SQ", b"UT", b"OV")


def element(tag: int, vr: bytes, value: bytes, implicit: bool = False, order: str = "<") -> bytes:
    """One element; a value of odd length is padded."""
    value += (b"\0" if vr in (*LONG, b"UI") else b" ") * (len(value) % 2)
    start = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return start + struct.pack("<L", len(value)) + value
    if vr in LONG:
        return start + vr + struct.pack(order + "HL", 0, len(value)) + value
    return start + vr + struct.pack(order + "H", len(value)) + value


def dataset_bytes(dataset: Dataset, syntax: str) -> bytes:
    """The elements of a dataset; pixels of two bytes a sample are swapped for big endian."""
    uid = UID(syntax)
    if not uid.is_little_endian and "PixelData" in dataset:
        data = dataset.PixelData
        dataset.PixelData = b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
    buffer = BytesIO()
    plain = Dataset(dataset)
    dcmwrite(buffer, plain, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    if not uid.is_little_endian and "PixelData" in dataset:
        dataset.PixelData = data
    written = buffer.getvalue()
    if syntax != DeflatedExplicitVRLittleEndian:
        return written
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = packer.compress(written) + packer.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def with_meta(elements: bytes, syntax: str, sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> bytes:
    """A file of these elements, whose file meta state a transfer syntax."""
    meta = (
        element(0x00020001, b"OB", b"\0\1")
        + element(0x00020002, b"UI", sop_class.encode())
        + element(0x00020003, b"UI", b"1.2.3")
        + element(0x00020010, b"UI", syntax.encode())
    )
    length = element(0x00020000, b"UL", struct.pack("<L", len(meta)))
    return bytes(128) + b"DICM" + length + meta + elements


def inserted(data: bytes, before: int, new: bytes, order: str = "<") -> bytes:
    """Bytes with elements put before the first element of a tag."""
    at = data.index(struct.pack(order + "HH", before >> 16, before & 0xFFFF))
    return data[:at] + new + data[at:]
