"""Makes UIDs from UUIDs (PS3.5 B.2).

Must not know elements or files.
"""

from __future__ import annotations

from pydicom.uid import generate_uid

_PREFIX = "2.25."

# Identifies the program that wrote a file, so it is the same in all files.
IMPLEMENTATION_CLASS_UID = f"{_PREFIX}276819327744341003361683454210354626763"
IMPLEMENTATION_VERSION_NAME = "DICUBE"


def new_uid() -> str:
    """Return a random UID."""
    return str(generate_uid(_PREFIX))


def uid_from(*sources: str) -> str:
    """Return a UID derived from texts, so that a series exported twice gets the same UIDs."""
    # JSON may hold halves of surrogate pairs, which UTF-8 can't encode.
    texts = [source.encode(errors="backslashreplace").decode() for source in sources]
    return str(generate_uid(_PREFIX, texts))
