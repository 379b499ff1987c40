"""What a JPEG XL image says of itself, read from its headers without decoding.

Boxes: ISO/IEC 18181-2. Headers: ISO/IEC 18181-1 Annex D and F, as far as still images without
extra channels or colour profiles have them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicube.exceptions import CodecError

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
# All headers but a colour profile fit; a codestream may be longer than what is looked at here.
_HEADERS = 256


@dataclass(frozen=True)
class JxlCodestream:
    """An image's own account.

    Attributes:
        codestream: the bare codestream, without boxes.
        bits: of a sample.
        samples: of a pixel, 1 or 3.
        is_mapped: samples stand for others, by a box that only dicube knows (FORMAT.md).
        is_plain: integers as they are, in modular coding: no perceptual colour space, no cosine
            transform, no extra channels, no animation.
    """

    codestream: bytes
    bits: int
    samples: int
    is_mapped: bool
    is_plain: bool


def read_jxl(coded: bytes) -> JxlCodestream:
    """Read the headers of an image, bare or in a container.

    Raises:
        CodecError: it is none, or cut off.
    """
    boxes = _boxes(coded) if coded.startswith(_CONTAINER) else [(b"jxlc", coded)]
    whole = [content for kind, content in boxes if kind == b"jxlc"]
    partial = [content[4:] for kind, content in boxes if kind == b"jxlp"]  # behind their number
    codestream = whole[0] if whole else b"".join(partial)
    kinds = {kind for kind, _ in boxes}
    if not codestream.startswith(_CODESTREAM):
        raise CodecError("JPEG XL image: it holds no codestream")
    header = _Bits(codestream[2 : 2 + _HEADERS])
    try:
        bits, samples, is_plain = _headers(header)
    except _Unusual:
        bits, samples, is_plain = 0, 0, False
    return JxlCodestream(codestream, bits, samples, b"dcub" in kinds, is_plain)


def _boxes(coded: bytes) -> list[tuple[bytes, bytes]]:
    """Return type and content of each box."""
    found = []
    position = 0
    while position + 8 <= len(coded):
        size, kind = struct.unpack_from(">L4s", coded, position)
        head = 8
        if size == 1 and position + 16 <= len(coded):
            (size,) = struct.unpack_from(">Q", coded, position + 8)
            head = 16
        if size == 0:
            size = len(coded) - position
        if size < head or position + size > len(coded):
            raise CodecError(f"JPEG XL image: box of {size} bytes at offset {position}")
        found.append((kind, coded[position + head : position + size]))
        position += size
    return found


class _Unusual(Exception):
    """Headers have what is not followed here, which no plain image has."""


class _Bits:
    """Bits of a codestream, the lowest of each byte first (ISO/IEC 18181-1 B.2)."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)
        self._taken = 0

    def take(self, count: int) -> int:
        if count > self._left:
            raise CodecError("JPEG XL image: it ends within its headers")
        value = self._number & (1 << count) - 1
        self._number >>= count
        self._left -= count
        self._taken += count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *kinds: tuple[int, int]) -> int:
        """Take a number of one of four kinds: so many bits, and what is added to them."""
        count, offset = kinds[self.take(2)]
        return self.take(count) + offset

    def align(self) -> None:
        self.take(-self._taken % 8)


def _headers(header: _Bits) -> tuple[int, int, bool]:
    """Return bits and samples, and whether integers are coded as they are."""
    _skip_size(header)
    bits, samples, is_perceptual = _image_metadata(header)
    if not header.flag():  # the default transform data
        raise _Unusual
    header.align()
    all_default = header.flag()
    if all_default or header.take(2) != 0:  # cosine transform, or no regular frame
        return bits, samples, False
    is_modular = header.flag()
    return bits, samples, is_modular and not is_perceptual


def _skip_size(header: _Bits) -> None:
    small = header.flag()
    sizes = ((9, 1), (13, 1), (18, 1), (30, 1))
    if small:
        header.take(5)
    else:
        header.choice(*sizes)
    if header.take(3) == 0:  # the width does not follow from the height
        if small:
            header.take(5)
        else:
            header.choice(*sizes)


def _image_metadata(header: _Bits) -> tuple[int, int, bool]:
    """Return bits, samples, and whether colours are in the perceptual space."""
    if header.flag():  # all default: 8 bits, sRGB
        return 8, 3, True
    if header.flag():  # extra fields: orientation, preview, animation, tone mapping
        raise _Unusual
    if header.flag():  # floating point
        raise _Unusual
    bits = header.choice((0, 8), (0, 10), (0, 12), (6, 1))
    header.flag()  # whether 16-bit buffers suffice
    if header.choice((0, 0), (0, 1), (4, 2), (12, 1)):  # extra channels
        raise _Unusual
    is_perceptual = header.flag()
    samples = _colour_encoding(header)
    if _number64(header):  # extensions
        raise _Unusual
    return bits, samples, is_perceptual


def _colour_encoding(header: _Bits) -> int:
    """Return the samples of a pixel."""
    if header.flag():  # sRGB
        return 3
    if header.flag():  # a profile
        raise _Unusual
    space = _enum(header)
    if space > 1:
        raise _Unusual
    if _enum(header) != 1:  # white point: D65
        raise _Unusual
    if space == 0 and _enum(header) != 1:  # primaries: sRGB
        raise _Unusual
    if header.flag():  # gamma
        header.take(24)
    else:
        _enum(header)  # transfer function
    _enum(header)  # rendering intent
    return 1 if space == 1 else 3


def _enum(header: _Bits) -> int:
    return header.choice((0, 0), (0, 1), (4, 2), (6, 18))


def _number64(header: _Bits) -> int:
    """Take a number of up to 64 bits; one of more than 8 is told as not 0 only."""
    kind = header.take(2)
    return 0 if kind == 0 else header.take(4) + 1 if kind == 1 else 17
