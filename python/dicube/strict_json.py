"""Parse JSON from untrusted files strictly, and write JSON that every parser takes.

Parsing refuses repeated keys, huge integers and deep nesting. NaN and infinities, which JSON lacks,
are written as strings, as in the DICOM JSON model (PS3.18 F.2.5); the bare words of the published
package and of earlier files are accepted. Must not know what the JSON means.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from dicube.exceptions import InvalidCubeFileError, OutOfMemoryError

NOT_FINITE = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}
"""The numbers that JSON lacks, by the strings that stand for them."""


# A few KB of packed JSON can become gigabytes of Python objects.
_ALWAYS_ALLOWED = 256 << 20
_MOST_GROWTH = 2048
_MOST_PER_BYTE = 240  # the most that `json_memory` returns for each byte


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


def without_long_objects(text: bytes, depth: int, longest: int) -> tuple[bytes, list[bytes]]:
    """Return JSON with null in place of each long object at a depth, and the texts of these.

    Looks for quotes and brackets only, which is several times as fast as parsing. Of text that is
    no JSON, any part may be returned; parsing the parts then fails.

    Args:
        text: the JSON.
        depth: of the objects; 1 for the outermost.
        longest: objects of more bytes are left out.
    """
    codes = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(codes == ord('"'))
    if b"\\" in text:
        slashes = np.flatnonzero(codes == ord("\\"))
        begins_run = np.diff(slashes, prepend=-2) > 1
        runs = np.maximum.accumulate(np.where(begins_run, slashes, 0))
        escapes = slashes[(slashes - runs) % 2 == 0]
        escaped = escapes[: np.searchsorted(escapes, len(text) - 1)] + 1
        escaped = escaped[codes[escaped] == ord('"')]
        quotes = np.delete(quotes, np.searchsorted(quotes, escaped))
    either = codes | 0x20  # "[" becomes "{", and "]" becomes "}"
    brackets = np.flatnonzero((either == ord("{")) | (either == ord("}")))
    brackets = brackets[np.searchsorted(quotes, brackets) % 2 == 0]  # the others are in strings
    opens = either[brackets] == ord("{")
    depths = np.cumsum(np.where(opens, 1, -1))
    starts = brackets[opens & (depths == depth)]
    ends = brackets[~opens & (depths == depth - 1)][: len(starts)] + 1
    starts = starts[: len(ends)]
    chosen = (codes[starts] == ord("{")) & (ends - starts > longest)
    kept, left_out, place = [], [], 0
    for start, end in zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True):
        kept.append(text[place:start])
        left_out.append(text[start:end])
        place = end
    return b"null".join([*kept, text[place:]]), left_out


def json_memory(text: bytes | memoryview) -> int:
    """Return an upper estimate of the memory that parsing JSON takes, in bytes.

    Counts the characters that begin an object of Python, so nothing is parsed. Those in strings
    are counted too.
    """
    data = bytes(text)
    codes = np.frombuffer(data, np.uint8)

    def count(character: str) -> int:
        """Count a character, several times as fast as `bytes.count` does if it is frequent."""
        return int(np.count_nonzero(codes == ord(character)))

    texts = len(data) * (2 if data.isascii() else 5)
    containers = 232 * count("{") - 160 * data.count(b"{}") + 88 * count("[")
    values = 40 * count(",") + 80 * count(":") + 28 * count('"')
    return texts + containers + values


def least_packed(text: bytes | memoryview) -> int:
    """Return the least number of bytes that JSON must be packed into to be parsed again."""
    if len(text) * _MOST_PER_BYTE <= _ALWAYS_ALLOWED:
        return 0
    needed = json_memory(text)
    return -(-needed // _MOST_GROWTH) if needed > _ALWAYS_ALLOWED else 0


def check_json_memory(text: bytes | memoryview, packed: int, most: int | None) -> None:
    """Raise if parsing JSON takes too much memory.

    Args:
        text: the JSON.
        packed: its size in the file.
        most: the most bytes that it may take; None for a limit by `packed` alone.

    Raises:
        InvalidCubeFileError: it takes more than 256 MiB and more than 2048 times `packed`.
        OutOfMemoryError: (an InvalidCubeFileError too) it takes more than `most`.
    """
    limit = max(_ALWAYS_ALLOWED, packed * _MOST_GROWTH)
    if len(text) * _MOST_PER_BYTE <= (limit if most is None else min(limit, most)):
        return
    needed = json_memory(text)
    if needed > limit:
        raise InvalidCubeFileError(
            f"parsing its JSON takes {needed} bytes, but {packed} packed bytes may take {limit}"
        )
    if most is not None and needed > most:
        raise OutOfMemoryError(f"parsing its JSON takes {needed} bytes, max_memory is {most}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"a key of {len(twice)} characters occurs twice in an object")
    return found
