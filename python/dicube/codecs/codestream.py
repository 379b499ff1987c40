"""What a coded image says about itself, read by the C library without decoding it.

Knows no file and no DICOM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicube import _native
from dicube.codecs.records import record_of
from dicube.exceptions import CodecError, InvalidCubeFileError


@dataclass(frozen=True)
class Codestream:
    """A coded image, as it describes itself.

    Attributes:
        codec: name of its codec, such as 'jph'.
        rows, columns: of the image.
        coded_size: bytes of the coded image, without zeros that pad it.
        codestream: the bare codestream, without boxes and padding; empty if several boxes of a
            JPEG XL image hold parts of it.
        bits: bits a sample that it declares.
        is_signed: it declares signed samples.
        components: channels; colours, and extra channels of JPEG XL.
        levels: wavelet decompositions of HTJ2K.
        progression: order of HTJ2K packets, such as 'RPCL'; empty for JPEG XL.
        has_colour_transform: HTJ2K with a component transform, or JPEG XL in XYB.
        is_reversible: all coding steps are known to be reversible.
        has_tile_lengths: HTJ2K with a TLM segment.
        is_mapped: JPEG XL whose samples stand for others, by a box that only dicube reads
            (FORMAT.md, "JPEG XL frames").
        has_jpeg: JPEG XL from which a JPEG can be restored.
    """

    codec: str
    rows: int
    columns: int
    coded_size: int
    codestream: bytes
    bits: int
    is_signed: bool
    components: int
    levels: int
    progression: str
    has_colour_transform: bool
    is_reversible: bool
    has_tile_lengths: bool
    is_mapped: bool
    has_jpeg: bool


_PROGRESSIONS = {
    0: "",
    _native.PROGRESSION_LRCP: "LRCP",
    _native.PROGRESSION_RLCP: "RLCP",
    _native.PROGRESSION_RPCL: "RPCL",
    _native.PROGRESSION_PCRL: "PCRL",
    _native.PROGRESSION_CPRL: "CPRL",
}


def probe(coded: bytes) -> Codestream:
    """Read what a coded image says about itself.

    Raises:
        CodecError: it is damaged, of no known codec, or of a kind that libdicube does not store.
    """
    data = np.frombuffer(coded, np.uint8) if coded else np.zeros(0, np.uint8)
    try:
        image, info = _native.probe(data.ctypes.data, data.nbytes)
    except InvalidCubeFileError as error:
        raise CodecError(error.message) from None
    start = info.codestream_offset
    return Codestream(
        codec=record_of(info.codec).name,
        rows=image.rows,
        columns=image.columns,
        coded_size=info.coded_size,
        codestream=coded[start : start + info.codestream_size],
        bits=info.bits,
        is_signed=bool(info.is_signed),
        components=info.components,
        levels=info.levels,
        progression=_PROGRESSIONS[info.progression],
        has_colour_transform=bool(info.has_colour_transform),
        is_reversible=bool(info.is_reversible),
        has_tile_lengths=bool(info.has_tile_lengths),
        is_mapped=bool(info.is_mapped),
        has_jpeg=bool(info.has_jpeg),
    )
