"""The transfer syntaxes that dicube writes (PS3.5 10, A.2 and A.4), and their names.

Must not know pixels or files.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.exceptions import DataConsistencyError


class TransferSyntax(NamedTuple):
    """A transfer syntax.

    Attributes:
        uid: its UID.
        keyword: its keyword in DICOM.
        name: a short name.
        codec: name in `dicube.codecs` of the codec of its frames; '' if frames are not coded.
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
        DataConsistencyError: dicube does not write this transfer syntax.
    """
    wanted = _plain(str(name))
    for syntax in TRANSFER_SYNTAXES:
        if wanted in (syntax.uid, _plain(syntax.keyword), _plain(syntax.name)):
            return syntax
    known = ", ".join(f"{syntax.name} ({syntax.uid})" for syntax in TRANSFER_SYNTAXES)
    raise DataConsistencyError(f"can't write transfer syntax {str(name)!r}; supported: {known}")


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " -_")
