"""Read what a coded image declares about itself, by libdicube and without decoding it.

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
    """What a coded image declares.

    Attributes:
        codec: name of its codec, such as 'jph'.
        rows, columns: of the image.
        coded_size: bytes of the coded image, without padding.
        codestream: the bare codestream, without boxes and padding; empty if several boxes of a
            JPEG XL image contain parts of it.
        bits: bits per sample.
        is_signed: whether samples are signed.
        components: number of channels: colours, and extra channels of JPEG XL.
        levels: number of wavelet decompositions of HTJ2K.
        progression: order of HTJ2K packets, such as 'RPCL'; empty for JPEG XL.
        has_colour_transform: whether colours were transformed: by a component transform of HTJ2K,
            or to XYB of JPEG XL.
        is_reversible: whether all coding steps are known to be reversible.
        has_tile_lengths: whether there are tile-part lengths, HTJ2K's TLM segment.
        is_mapped: whether a box of JPEG XL that only dicube reads maps the samples to others
            (FORMAT.md, "JPEG XL frames").
        has_jpeg: whether a JPEG can be restored from JPEG XL.
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
    """Read what a coded image declares.

    Raises:
        CodecError: it is damaged, no codec recognises it, or libdicube doesn't support its kind.
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
