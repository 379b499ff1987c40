"""UIDs that are made from what is there, so that exporting twice gives the same instances.

Must not know elements or files.
"""

from __future__ import annotations

from pydicom.uid import generate_uid


def uid_from(*sources: str) -> str:
    """Return a UID made from texts, the same ones giving the same UID (PS3.5 B.2)."""
    # JSON may hold halves of surrogate pairs, which no UTF-8 has.
    texts = [source.encode(errors="backslashreplace").decode() for source in sources]
    return str(generate_uid(prefix="2.25.", entropy_srcs=texts))
