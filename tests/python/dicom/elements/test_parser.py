"""parser: splits well-formed bytes into elements, and leaves all others to pydicom."""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
import pytest
from inputs.dicom_series import item, make_series
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from dicube.dicom.elements.parser import CutOff, Unusual, parse_elements, value_length


def header(tag: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


@pytest.mark.parametrize(
    "data",
    [
        header(0x00100020, b"LO", 2) + b"a " + header(0x00100010, b"PN", 0),
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


@pytest.mark.parametrize("implicit", [False, True])
def test_a_length_is_found_without_parsing_the_rest(implicit: bool) -> None:
    buffer = BytesIO()
    dataset = make_series(1)[0]
    dataset.ReferencedImageSequence = Sequence([item(PatientID="x")])
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.add_new(0x00091001, "OB", b"y" * 3000)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    pydicom.filewriter.dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=True)
    data = buffer.getvalue()[buffer.getvalue().index(b"\x08\x00\x05\x00") :]
    whole = parse_elements(data, 0, len(data), implicit).elements
    assert len(whole) > 20
    for tag, element in whole.items():
        assert value_length(data, 0, len(data), implicit, tag) == len(element.value)
        assert value_length(data, 0, len(data), implicit, tag + 1) is None or tag + 1 in whole
    assert value_length(data + b"cut", 0, len(data) + 3, implicit, 0x00080005) == 10
    for length in range(len(data)):
        is_whole = where_parsing_stops(data[:length], implicit) is not None
        try:
            assert value_length(data[:length], 0, length, implicit, 0xFFFFFFFF) is None
        except CutOff:
            assert not is_whole
        else:
            assert is_whole


def where_parsing_stops(data: bytes, implicit: bool = False) -> int | None:
    try:
        return parse_elements(data, 0, len(data), implicit).stop
    except CutOff as cut:
        assert cut.found < cut.expected or cut.expected == 0
        return None


def nested(tag: int, content: bytes, undefined: bool) -> bytes:
    """A sequence of one item."""
    length = 0xFFFFFFFF if undefined else len(content)
    inner = struct.pack("<HHL", 0xFFFE, 0xE000, length) + content
    if undefined:
        inner += struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    length = 0xFFFFFFFF if undefined else len(inner)
    return header(tag, b"SQ", 0) + struct.pack("<L", length) + inner


@pytest.mark.parametrize("undefined", [False, True])
def test_repeated_elements(undefined: bool) -> None:
    one, other, same = (header(0x00100020, b"LO", 2) + text for text in (b"1 ", b"2 ", b"1 "))
    sequence, path = 0x00081140, (0x00081140, 0x00081199)

    def found(data: bytes) -> list[tuple[int, ...]]:
        return parse_elements(data, 0, len(data), implicit=False).repeated

    assert found(one + same) == []
    assert found(one + other) == [(0x00100020,)]
    assert set(found(one + same + other)) == {(0x00100020,)}
    assert found(one + header(0x00100020, b"SH", 2) + b"1 ") == [(0x00100020,)]
    assert found(nested(sequence, one + same, undefined)) == []
    assert found(nested(sequence, one + other, undefined)) == [(sequence, 0x00100020)]
    deep = nested(path[1], one + other, not undefined)
    assert found(nested(sequence, deep, undefined)) == [(*path, 0x00100020)]
    last = parse_elements(one + other, 0, 20, implicit=False).elements[0x00100020]
    assert last.value == b"2 "


def test_nested_coded_frames_are_skipped() -> None:
    frames = struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack(
        "<HHL4s", 0xFFFE, 0xE000, 4, b"abcd"
    )
    pixels = header(0x7FE00010, b"OB", 0) + struct.pack("<L", 0xFFFFFFFF) + frames
    pixels += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    data = nested(0x00880200, pixels, undefined=True) + header(0x00880904, b"LO", 0)
    elements = parse_elements(data, 0, len(data), implicit=False).elements
    assert list(elements) == [0x00880200, 0x00880904]
