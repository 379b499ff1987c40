"""JSON of files that anybody may have written: what it says is said once, or it is refused.

NaN and the infinities pass, which published writers put into headers, and DICOM's numbers may be.
Knows nothing of what the JSON means.
"""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes | memoryview) -> Any:
    """Return what JSON text says.

    Raises:
        ValueError: it is not JSON, names a key twice in an object, has an integer of thousands of
            digits, or nests deeper than Python's recursion goes.
    """
    if isinstance(text, memoryview):
        text = bytes(text)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} is there twice")
    return found
