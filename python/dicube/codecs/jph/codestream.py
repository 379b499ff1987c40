"""What an HTJ2K codestream says of itself, read from its main header without decoding.

Markers and their fields: ISO/IEC 15444-1 Annex A.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicube.exceptions import CodecError

_SIZ, _COD, _TLM, _SOT = 0xFF51, 0xFF52, 0xFF55, 0xFF90
_RPCL = 2
_REVERSIBLE = 1
# The greatest width or height of the lowest resolution in HTJ2K Lossless RPCL (PS3.5 10.18).
_THUMBNAIL = 64


@dataclass(frozen=True)
class JphCodestream:
    """A codestream's own account.

    Attributes:
        bits: of a sample.
        is_signed: whether samples are signed.
        samples: of a pixel.
        is_lossless: the wavelet is the reversible one.
        is_transformed: colours went through a component transform.
        is_progressive: it meets what DICOM demands of HTJ2K Lossless RPCL beside being lossless:
            RPCL order, tile-part lengths, and a lowest resolution of at most 64 pixels in width or
            height.
    """

    bits: int
    is_signed: bool
    samples: int
    is_lossless: bool
    is_transformed: bool
    is_progressive: bool


def read_jph(coded: bytes) -> JphCodestream:
    """Read the main header of a raw codestream.

    Raises:
        CodecError: it is none, or cut off.
    """
    try:
        siz, cod, has_lengths = _main_header(coded)
        width, height = struct.unpack_from(">LL", siz, 2)
        (samples,) = struct.unpack_from(">H", siz, 34)
        depth = siz[36]
        progression, _, transform, levels = struct.unpack_from(">BHBB", cod, 1)
        wavelet = cod[9]
    except (struct.error, IndexError):
        raise CodecError("HTJ2K codestream: its main header is malformed") from None
    lowest = -(-min(width, height) >> levels)  # rounded up
    return JphCodestream(
        bits=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        samples=samples,
        is_lossless=wavelet == _REVERSIBLE,
        is_transformed=transform != 0,
        is_progressive=progression == _RPCL and has_lengths and lowest <= _THUMBNAIL,
    )


def _main_header(coded: bytes) -> tuple[bytes, bytes, bool]:
    """Return the SIZ and COD segments, from behind their lengths, and whether there is a TLM."""
    if coded[:4] != b"\xff\x4f\xff\x51":
        raise CodecError("HTJ2K codestream: it begins without SOC and SIZ")
    found: dict[int, bytes] = {}
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", coded, position)
        if marker == _SOT:
            break
        found.setdefault(marker, coded[position + 4 : position + 2 + length])
        position += 2 + length
    return found.get(_SIZ, b""), found.get(_COD, b""), _TLM in found
