"""The transfer syntaxes that are written (PS3.5 10, A.2 and A.4), and what they are called.

Must not know pixels or files.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.exceptions import DataConsistencyError


class TransferSyntax(NamedTuple):
    """One of those that are written.

    Attributes:
        uid: its UID.
        keyword: DICOM's keyword for it.
        name: a short one.
        codec: of its frames, by its name in `dicube.codecs`; '' if they are not coded.
    """

    uid: str
    keyword: str
    name: str
    codec: str


EXPLICIT = TransferSyntax("1.2.840.10008.1.2.1", "ExplicitVRLittleEndian", "explicit", "")
HTJ2K = TransferSyntax("1.2.840.10008.1.2.4.201", "HTJ2KLossless", "htj2k", "jph")
HTJ2K_RPCL = TransferSyntax("1.2.840.10008.1.2.4.202", "HTJ2KLosslessRPCL", "htj2k-rpcl", "jph")
JPEG_XL = TransferSyntax("1.2.840.10008.1.2.4.110", "JPEGXLLossless", "jpegxl", "jxl")

TRANSFER_SYNTAXES = (EXPLICIT, HTJ2K, HTJ2K_RPCL, JPEG_XL)


def transfer_syntax_of(name: str) -> TransferSyntax:
    """Return a transfer syntax by its UID (text or pydicom's), keyword or short name.

    Raises:
        DataConsistencyError: it is none of those that are written.
    """
    wanted = _plain(str(name))
    for syntax in TRANSFER_SYNTAXES:
        if wanted in (syntax.uid, _plain(syntax.keyword), _plain(syntax.name)):
            return syntax
    known = ", ".join(f"{syntax.name} ({syntax.uid})" for syntax in TRANSFER_SYNTAXES)
    raise DataConsistencyError(f"transfer syntax {str(name)!r} is not written; these are: {known}")


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " -_")
