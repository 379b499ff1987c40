"""Reads what coded images declare: their size and depth, which decoders must not disregard.

pydicom's plugins take the shape from the elements and fill it with whatever a codestream decodes
to, so a codestream of another shape would give scrambled images. libdicube reports the shapes of
codestreams that it decodes, so these are not read here. Must not know elements or files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

IMAGE_STARTS = (
    *(b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n"),
)
"""The first bytes of a coded image: JPEG and JPEG-LS, JPEG 2000 and JPEG XL, bare and in boxes."""

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JPEG_2000_FILE, _JPEG_2000_BOX = b"\0\0\0\x0cjP  \r\n\x87\n", b"jp2c"
# Markers of a JPEG's frame header: of all processes, and of JPEG-LS.
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
# Those with Huffman codes, where each block of 8 x 8 pixels takes a bit or more.
_HUFFMAN, _MOST_PIXELS_PER_BYTE = frozenset({0xC0, 0xC1, 0xC2, 0xC3}), 512
_LOSSLESS, _START_OF_SCAN = 0xC3, 0xDA
_RLE_HEADER = struct.Struct("<16L")  # number of segments, and their offsets (PS3.5 G.5)


class Declared(NamedTuple):
    """What a coded image declares.

    Attributes:
        rows, columns: its size; rows are 0 if a JPEG leaves them open.
        samples: the number of its components.
        bits: the most bits of a sample.
    """

    rows: int
    columns: int
    samples: int
    bits: int


def declared_by(coded: bytes) -> Declared | None:
    """Return what a JPEG, JPEG-LS or JPEG 2000 image declares; None if that can't be found."""
    try:
        if coded.startswith(_JPEG):
            return _of_jpeg(coded)
        if coded.startswith((_JPEG_2000, _JPEG_2000_FILE)):
            return _of_jpeg_2000(coded)
    except struct.error:
        return None
    return None


def _of_jpeg(jpeg: bytes) -> Declared | None:
    for code, content in segments_of_jpeg(jpeg):
        if code in _FRAME_HEADERS:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", content)
            return Declared(rows, columns, samples, bits)
    return None


def _of_jpeg_2000(coded: bytes) -> Declared | None:
    start = coded.find(_JPEG_2000, max(0, coded.find(_JPEG_2000_BOX)))
    if start < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">4L", coded, start + 8)
    (samples,) = struct.unpack_from(">H", coded, start + 40)
    depths = coded[start + 42 : start + 42 + 3 * samples : 3]
    bits = max(((depth & 0x7F) + 1 for depth in depths), default=0)
    return Declared(bottom - top, right - left, samples, bits)


def least_size(coded: bytes, pixels: int) -> int:
    """Return the fewest bytes that a coded image of so many pixels has; 0 if there is no limit."""
    if not coded.startswith(_JPEG) or _HUFFMAN.isdisjoint(dict(segments_of_jpeg(coded))):
        return 0
    return -(-pixels // _MOST_PIXELS_PER_BYTE)


def is_lossless_jpeg(coded: bytes) -> bool:
    """Return whether an image is JPEG Lossless with Huffman coding, its components of one size."""
    if not coded.startswith(_JPEG):
        return False
    sampling_factors = dict(segments_of_jpeg(coded)).get(_LOSSLESS, b"")[7::3]
    return len(set(sampling_factors)) == 1


def segments_of_jpeg(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and content of each segment before the first scan."""
    position = 2
    while position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        code = jpeg[position + 1]
        if code == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", jpeg, position + 2)
        if code == _START_OF_SCAN:
            return
        yield code, jpeg[position + 4 : position + 2 + length]
        position += 2 + length


def rle_fault(coded: bytes, pixels: int, planes: int) -> str:
    """Return what is wrong with the size of an RLE frame (PS3.5 G.3); '' if nothing.

    RLE doesn't declare a shape, but each segment must have one byte for each pixel.

    Args:
        coded: the frame.
        pixels: rows times columns.
        planes: the number of segments: bytes of a sample, times samples per pixel.
    """
    if len(coded) < _RLE_HEADER.size:
        return f"an RLE header has {_RLE_HEADER.size} bytes, found {len(coded)}"
    count, *offsets = _RLE_HEADER.unpack_from(coded)
    if count != planes:
        return f"expected {planes} RLE segments, found {count}"
    for number, (start, stop) in enumerate(pairwise([*offsets[:count], len(coded)]), 1):
        segment = coded[start:stop]
        size = _unpacked_size(segment, pixels)
        if size != pixels:
            kind = "less" if size < pixels else "more"
            return f"expected {pixels} pixels in RLE segment {number}, found {kind}"
    return ""


def _unpacked_size(segment: bytes, expected: int) -> int:
    """Return the number of bytes in an RLE segment; counting stops above the expected number."""
    size = position = 0
    end = len(segment)
    while size < expected and position < end:
        code = segment[position]
        if code < 128:
            size += min(code + 1, end - position - 1)
            position += code + 2
        elif code > 128:
            size += 257 - code
            position += 2
        else:
            position += 1
    return size + len(segment[position:].strip(b"\0\x80"))  # padding is no sample
