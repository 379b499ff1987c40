"""encapsulation, transfer_syntaxes: pydicom reads coded frames from the pixel element."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.filereader import read_dataset
from pydicom.uid import UID, HTJ2KLossless

from dicube.dicom.export.encapsulation import pixel_element
from dicube.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax, transfer_syntax_of
from dicube.exceptions import DataConsistencyError

FRAMES = (b"\xff\x4f odd", b"even", b"z" * 1001)


def value_of(parts: list[bytes]) -> bytes:
    """The value field of the pixel element that stands alone in `parts`."""
    return b"".join(parts)[12:]


def test_a_frame_is_one_even_fragment_that_the_basic_offset_table_finds() -> None:
    value = value_of(pixel_element(FRAMES))
    assert list(generate_frames(value, number_of_frames=3)) == [
        frame + b"\0" * (len(frame) % 2) for frame in FRAMES
    ]
    offsets = parse_basic_offsets(value)
    first = 8 + 4 * 3
    for offset, frame in zip(offsets, FRAMES, strict=True):
        tag, length = value[first + offset :][:4], value[first + offset + 4 :][:4]
        assert tag == b"\xfe\xff\x00\xe0"
        assert struct.unpack("<L", length) == (len(frame) + len(frame) % 2,)
    assert value.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")


def test_beyond_32_bits_stand_extended_offsets_and_an_empty_basic_table() -> None:
    frame = bytes(1 << 26)
    parts = pixel_element([frame] * 66)
    tables, head = (bytes(part) for part in parts[:2])
    dataset = read_dataset(BytesIO(tables), is_implicit_VR=False, is_little_endian=True)
    offsets = struct.unpack("<66Q", dataset.ExtendedOffsetTable)
    assert offsets == tuple(i * ((1 << 26) + 8) for i in range(66))
    assert offsets[-1] > 0xFFFFFFFF
    assert struct.unpack("<66Q", dataset.ExtendedOffsetTableLengths) == (1 << 26,) * 66
    assert head.endswith(b"\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0")
    assert sum(map(len, parts)) > 1 << 32


def test_extended_offsets_lead_to_the_frames() -> None:
    data = b"".join(pixel_element(FRAMES, largest_offset=4))
    tables, value = data[: 2 * (12 + 24)], data[2 * (12 + 24) + 12 :]
    offsets, lengths = tables[12:36], tables[48:72]
    found = generate_frames(value, number_of_frames=3, extended_offsets=(offsets, lengths))
    assert [frame[: len(FRAMES[i])] for i, frame in enumerate(found)] == list(FRAMES)


@pytest.mark.parametrize("frames", [[], [b"x", b""]])
def test_what_is_no_frame_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(DataConsistencyError, match=r"no frames|frame 1: .* found 0"):
        pixel_element(frames)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_a_transfer_syntax_has_several_names(syntax: TransferSyntax) -> None:
    uid, keyword, name = syntax.uid, syntax.keyword, syntax.name
    if not name:
        with pytest.raises(DataConsistencyError, match="can't write transfer syntax"):
            transfer_syntax_of(uid)
        return
    for given in (uid, UID(uid), keyword, keyword.upper(), name, name.replace("-", "_")):
        assert transfer_syntax_of(given) is syntax


def test_keywords_are_pydicoms() -> None:
    assert transfer_syntax_of("HTJ2KLossless").uid == HTJ2KLossless


def test_another_transfer_syntax_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataConsistencyError, match=r"'JPEG2000'; supported.*htj2k-rpcl"):
        transfer_syntax_of("JPEG2000")
