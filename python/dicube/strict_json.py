"""Parse JSON from untrusted files strictly, and write JSON that every parser takes.

Parsing refuses repeated keys, huge integers and deep nesting. NaN and infinities, which JSON lacks,
are written as strings, as in the DICOM JSON model (PS3.18 F.2.5); the bare words of the published
package and of earlier files are accepted. Must not know what the JSON means.
"""

from __future__ import annotations

import json
from typing import Any

NOT_FINITE = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}
"""The numbers that JSON lacks, by the strings that stand for them."""


def dump_json(document: Any, **options: Any) -> str:
    """Return a document as JSON text.

    Args:
        document: any value that `json.dumps` accepts with `options`.
        options: of `json.dumps`.
    """
    try:
        return json.dumps(document, allow_nan=False, **options)
    except ValueError:
        text = json.dumps(document, **options)
        return json.dumps(json.loads(text, parse_constant=str), **options)


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
