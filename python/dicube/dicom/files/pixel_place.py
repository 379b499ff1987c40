"""Finds the position of the pixels in a DICOM file, without reading them.

Must not know the other elements.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicube.dicom.elements.parser import UNDEFINED_LENGTH, CutOff
from dicube.dicom.files.coded_images import IMAGE_STARTS
from dicube.dicom.files.encoding import Encoding, is_encapsulated, is_standard
from dicube.dicom.files.sources import Opened

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
# What the value of encapsulated pixels begins with, and a bare JPEG or JPEG 2000 codestream.
_CODED_STARTS = (b"\xfe\xff\x00\xe0", b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
# An RLE header (PS3.5 G.5) begins with the number of segments and the offset 64.
_RLE_START = b"\0\0\0\x40\0\0\0"
_LONGEST_START = max(map(len, IMAGE_STARTS))


@dataclass(frozen=True)
class PixelPlace:
    """The position of the pixels in a file.

    Attributes:
        tag: PixelData, FloatPixelData or DoubleFloatPixelData.
        offset: offset of the value field in the file.
        length: length of the value field in bytes, including the delimiter of encapsulated pixels.
        direct: whether the value field holds little-endian samples. If not (encapsulated, big
            endian, deflated), pydicom has to read them.
        encapsulated: whether the value field holds coded frames (PS3.5 A.4).
        vr: value representation; '' if the file doesn't give it.
        images: the number of fragments that begin a coded image; 0 if not encapsulated.
    """

    tag: int
    offset: int
    length: int
    direct: bool
    encapsulated: bool = False
    vr: str = ""
    images: int = 0


def find_pixels(file: Opened, encoding: Encoding, size: int, syntax: str) -> PixelPlace:
    """Return the position of the pixels; `file` must be positioned before their element.

    Args:
        file: the file.
        encoding: of the elements.
        size: size of the file in bytes.
        syntax: the transfer syntax of the pixels, as far as it is known.

    Raises:
        CutOff: the file ends within the header of the element.
    """
    order = "<" if encoding.little_endian else ">"
    start = file.read(8) or b""
    if len(start) < 8:
        raise CutOff
    group, element = struct.unpack(order + "HH", start[:4])
    field = start[4:] if encoding.implicit else file.read(4) or b""
    if len(field) < 4:
        raise CutOff
    (length,) = struct.unpack(order + "L", field)
    offset = file.tell()
    encapsulated, images = length == UNDEFINED_LENGTH, 0
    if encapsulated:
        length, images = walk_encapsulated(file, size)
    elif is_encapsulated(syntax):  # some writers give frames a length
        encapsulated = (file.read(4) or b"").startswith(_CODED_STARTS)
        file.seek(offset)
        images = walk_encapsulated(file, offset + length)[1] if encapsulated else 0
    direct = encoding.little_endian and not encapsulated and is_standard(syntax)
    vr = "" if encoding.implicit else start[4:6].decode("latin-1")
    return PixelPlace(group << 16 | element, offset, length, direct, encapsulated, vr, images)


def walk_encapsulated(file: Opened, size: int) -> tuple[int, int]:
    """Return the length of encapsulated frames (PS3.5 A.4), and how many fragments begin an image.

    Args:
        file: positioned at the offset table.
        size: of the file; frames that are cut off go to its end.
    """
    start = place = file.tell()
    images = 0
    while len(data := file.read(8 + _LONGEST_START) or b"") >= 8:
        group, element, length = struct.unpack_from("<HHL", data)
        if group << 16 | element == _SEQUENCE_END:
            return place + 8 - start, images
        if group << 16 | element != _ITEM:
            break
        fragment = data[8 : 8 + length]
        is_start = fragment.startswith(IMAGE_STARTS) or fragment[1:8] == _RLE_START
        images += is_start and place > start  # the first item is the offset table
        place += 8 + length
        file.seek(place)
    return size - start, images
