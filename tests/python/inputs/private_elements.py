"""Private elements of vendors, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element


def csa_header(values: Mapping[str, Sequence[str]], version: int = 2) -> bytes:
    """Make a CSA header of Siemens, of the format "SV10" or of the one before."""
    parts = [b"SV10\4\3\2\1"] if version == 2 else []
    parts.append(struct.pack("<2I", len(values), 77))
    first = len(next(iter(values.values())))
    for name, texts in values.items():
        tag = name.encode(), len(texts), b"FD", 0, len(texts), 77
        parts.append(struct.pack("<64si4siii", *tag))
        for text in texts:
            data = text.encode() + b"\0"
            lengths = (len(data),) * 4 if version == 2 else (len(data) + first, 0, 77, 0)
            parts += [struct.pack("<4i", *lengths), data, b"\0" * (-len(data) % 4)]
    return b"".join(parts)


def unknown(element: DataElement) -> DataElement:
    """Return an element as a file has it that went through a system that doesn't know it."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_data_element(buffer, element)
    return DataElement(element.tag, "UN", buffer.getvalue()[8:])
