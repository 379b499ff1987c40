"""One record for each transfer syntax that dicube writes, or whose frames its codecs decode.

PS3.5 8.2.4 and 8.2.14 (HTJ2K), 8.2.15 (JPEG XL), A.2 and A.4; PS3.6 Table A-1. Must not know pixels
or files.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.codecs.recipes import JPEG_LOSSLESS, JPEG_LS, RLE
from dicube.codecs.records import JPH, JXL, CodecRecord
from dicube.exceptions import DataConsistencyError, shown


class TransferSyntax(NamedTuple):
    """A transfer syntax.

    Attributes:
        uid: its UID.
        keyword, title: its keyword and name in DICOM.
        name: a short name; '' if dicube doesn't write it.
        codec: of its frames; None if they are not coded.
        interpretations: values of PhotometricInterpretation that can be written.
        is_jpeg: its frames are JPEG images, which the codec recompresses and then decodes.
    """

    uid: str
    keyword: str
    title: str
    name: str = ""
    codec: CodecRecord | None = None
    interpretations: tuple[str, ...] = ()
    is_jpeg: bool = False


# PS3.3 C.7.6.3.1.2, with the retired ones.
INTERPRETATIONS = frozenset(
    "MONOCHROME1 MONOCHROME2 RGB HSV ARGB CMYK YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 "
    "YBR_PARTIAL_420 YBR_ICT YBR_RCT XYB".split()
) | {"PALETTE COLOR", ""}
_GRAY_OR_RGB = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB")

EXPLICIT = TransferSyntax(
    "1.2.840.10008.1.2.1", "ExplicitVRLittleEndian", "Explicit VR Little Endian", "explicit"
)
HTJ2K = TransferSyntax(
    "1.2.840.10008.1.2.4.201",
    "HTJ2KLossless",
    "High-Throughput JPEG 2000 Image Compression (Lossless Only)",
    "htj2k",
    JPH,
    (*_GRAY_OR_RGB, "YBR_FULL"),
)
HTJ2K_RPCL = TransferSyntax(
    "1.2.840.10008.1.2.4.202",
    "HTJ2KLosslessRPCL",
    "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)",
    "htj2k-rpcl",
    JPH,
    HTJ2K.interpretations,
)
# JPEG XL codestreams declare their colour space: gray or RGB, as dicube writes them.
JPEG_XL = TransferSyntax(
    "1.2.840.10008.1.2.4.110", "JPEGXLLossless", "JPEG XL Lossless", "jpegxl", JXL, _GRAY_OR_RGB
)
JPEG_XL_OF_JPEG = TransferSyntax(
    "1.2.840.10008.1.2.4.111", "JPEGXLJPEGRecompression", "JPEG XL JPEG Recompression", codec=JXL
)
JPEG_XL_LOSSY = TransferSyntax("1.2.840.10008.1.2.4.112", "JPEGXL", "JPEG XL", codec=JXL)

TRANSFER_SYNTAXES = (
    EXPLICIT,
    HTJ2K,
    HTJ2K_RPCL,
    TransferSyntax(
        "1.2.840.10008.1.2.4.203",
        "HTJ2K",
        "High-Throughput JPEG 2000 Image Compression",
        codec=JPH,
    ),
    JPEG_XL,
    JPEG_XL_OF_JPEG,
    JPEG_XL_LOSSY,
    TransferSyntax(
        "1.2.840.10008.1.2.4.50",
        "JPEGBaseline8Bit",
        "JPEG Baseline (Process 1)",
        codec=JXL,
        is_jpeg=True,
    ),
    TransferSyntax(
        "1.2.840.10008.1.2.4.51",
        "JPEGExtended12Bit",
        "JPEG Extended (Process 2 and 4)",
        codec=JXL,
        is_jpeg=True,
    ),
)

# Transfer syntaxes whose frames are coded again from their samples, with the kind of the recipe.
# Those of JPEG-LS may be lossy: a recipe is found for none that is.
RECIPE_KINDS = {
    "1.2.840.10008.1.2.5": RLE,
    "1.2.840.10008.1.2.4.57": JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.70": JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.80": JPEG_LS,
    "1.2.840.10008.1.2.4.81": JPEG_LS,
}

# Transfer syntaxes whose frames all decoders decode to the same samples: RLE, Deflate, JPEG
# Lossless, JPEG-LS (near-lossless too), and the lossless ones of JPEG 2000, HTJ2K and JPEG XL.
REVERSIBLE = frozenset(
    f"1.2.840.10008.1.2.{number}"
    for number in "5 8.1 4.57 4.70 4.80 4.81 4.90 4.92 4.201 4.202 4.110".split()
)


def transfer_syntax_of(name: str) -> TransferSyntax:
    """Return a transfer syntax that dicube writes, by UID (text or pydicom's), keyword or name.

    Raises:
        DataConsistencyError: dicube does not write this transfer syntax.
    """
    wanted = _plain(str(name))
    written = [syntax for syntax in TRANSFER_SYNTAXES if syntax.name]
    for syntax in written:
        if wanted in (syntax.uid, _plain(syntax.keyword), _plain(syntax.name)):
            return syntax
    known = ", ".join(f"{syntax.name} ({syntax.uid})" for syntax in written)
    raise DataConsistencyError(f"can't write transfer syntax {str(name)!r}; supported: {known}")


def coded_syntax_of(uid: str) -> TransferSyntax | None:
    """Return a transfer syntax by its UID, if dicube's own codecs can decode its frames."""
    return next((s for s in TRANSFER_SYNTAXES if s.codec is not None and s.uid == uid), None)


def syntax_of_codec(name: str) -> TransferSyntax:
    """Return the transfer syntax in which frames of a codec, by its name, are written."""
    return next(s for s in TRANSFER_SYNTAXES if s.name and s.codec and s.codec.name == name)


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " -_")


def known_interpretation(text: str) -> str:
    """Return a PhotometricInterpretation for messages, unless it is a text of another kind."""
    return text if text in INTERPRETATIONS else shown(text)
