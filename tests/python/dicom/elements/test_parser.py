"""parser: splits well-formed bytes into elements, and leaves all others to pydicom."""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
import pytest
from inputs.dicom_series import item, make_series
from pydicom.sequence import Sequence

from dicube.dicom.elements.parser import CutOff, Unusual, parse_elements


def header(tag: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


@pytest.mark.parametrize(
    "data",
    [
        header(0x00100020, b"LO", 2) + b"a " + header(0x00100010, b"PN", 0),
        header(0x00100020, b"LO", 0) * 2,
        header(0x00100020, b"??", 0),
        header(0x00100020, b"OB", 0) + struct.pack("<L", 0xFFFFFFFF) + b"\0" * 8,
        header(0x00100020, b"SQ", 0) + struct.pack("<L", 0xFFFFFFFF) + b"\0" * 8,
    ],
)
def test_unusual_bytes_are_left_to_pydicom(data: bytes) -> None:
    with pytest.raises(Unusual):
        parse_elements(data, 0, len(data), implicit=False)


def test_every_prefix_ends_whole_or_is_cut_off() -> None:
    buffer = BytesIO()
    dataset = make_series(1)[0]
    dataset.ReferencedImageSequence = Sequence([item(PatientID="x")])
    dataset["ReferencedImageSequence"].is_undefined_length = True
    pydicom.filewriter.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    data = buffer.getvalue()[buffer.getvalue().index(b"\x08\x00\x05\x00") :]
    whole = parse_elements(data, 0, len(data), implicit=False).elements
    stops = [where_parsing_stops(data[:length]) for length in range(len(data))]
    ends = [length for length, stop in enumerate(stops) if stop is not None]
    assert len(ends) == len(whole)
    assert [stops[length] for length in ends] == ends


def where_parsing_stops(data: bytes) -> int | None:
    try:
        return parse_elements(data, 0, len(data), implicit=False).stop
    except CutOff as cut:
        assert cut.found < cut.expected or cut.expected == 0
        return None
