"""Parse JSON from untrusted files; refuse repeated keys, huge integers and deep nesting.

NaN and infinities are accepted: the published package writes them to headers, and numbers in DICOM
may have these values. Must not know what the JSON means.
"""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes | memoryview) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: it isn't JSON, repeats a key in an object, has an integer of thousands of
            digits, or is nested deeper than Python's recursion limit.
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
        raise ValueError(f"the key {twice[:40]!r} occurs twice in an object")
    return found
