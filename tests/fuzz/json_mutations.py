"""Change JSON documents by their structure: values, types, counts, names and nesting.

Must not know what a document means, or where it is stored.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

SLICES = 3  # of the seeds
_LONGEST = 4 << 20  # characters of a text that is changed: the places in it are listed in memory
_REPEATED = 100_000  # characters of a value that may be repeated a hundred times

# Text that a document can't hold, or only at great cost; names stand for it until it is written.
_PLACEHOLDERS = {
    "@digits@": "9" * 5000,
    "@deep@": "[" * 3000 + "]" * 3000,
    "@nested@": '{"Value":[' * 200 + "]}" * 200,
    "@twice@": '{"vr":"US","vr":"SQ"}',
}

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, SLICES, 1 << 31, 1 << 32, 1 << 63, 1 << 64, -(1 << 63)),
    *(0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), -float("inf"), 10**400),
    *("", "a", "0", "None", "nan", "\0", "\\", "1\\2", "\ud800", "é", "x" * 100, "../../x", "AA=="),
    *([], {}, [None], [[]], [{}], {"": None}, {"vr": "SQ"}, {"vr": "US", "shared": True}),
    *("SQ", "OB", "OW", "US", "DS", "PN", "UN", "AT", "UI", "DA", "LO", "FD", "IS"),
    *_PLACEHOLDERS,
)

_TAGS = (
    *("7FE00010", "7FE00008", "00280010", "00280008", "00080005", "52009230", "52009229"),
    *("00200032", "00200037", "00281053", "00283000", "00409096", "00189004", "00020010"),
    *("00080016", "00080018", "00280004", "00280101", "00290010", "00291010", "60003000"),
)
_KEYS = ("Value", "InlineBinary", "raw", "counts", "vrs", "columns", "shared", "vr")


def paths_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value in a document."""
    yield path
    if isinstance(document, dict):
        children: Any = document.items()
    elif isinstance(document, list):
        children = enumerate(document)
    else:
        return
    for key, child in children:
        yield from paths_in(child, (*path, key))


def mutated(document: Any, pick: random.Random) -> Any:
    """Return a document with one of its values changed to something strange."""
    paths = list(paths_in(document))
    path = pick.choice(paths)
    if not path:
        return pick.choice(STRANGE) if pick.random() < 0.1 else document
    parent = functools.reduce(lambda value, key: value[key], path[:-1], document)
    key, kind = path[-1], pick.randrange(10)
    value = parent[key]
    if kind == 0:
        del parent[key]
    elif kind == 1:
        other = functools.reduce(lambda value, key: value[key], pick.choice(paths), document)
        parent[key] = json.loads(json.dumps(other))
    elif kind == 2 and isinstance(value, list):
        value.append(pick.choice(STRANGE if not value or pick.random() < 0.5 else value))
    elif kind == 3 and isinstance(parent, dict):
        parent[str(pick.choice((*_TAGS, key, "Value")))] = parent.pop(key)
    elif kind == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = pick.choice((value + 1, -value, str(value), float(value), [value]))
    elif kind == 4 and isinstance(value, str) and value:
        place = pick.randrange(len(value))
        parent[key] = value[:place] + pick.choice("0A^\\\0 é.-") + value[place + 1 :]
    elif kind == 5 and isinstance(value, dict):
        value[pick.choice(_KEYS)] = pick.choice(STRANGE)
    elif kind == 6:
        times = pick.choice((1, 2, SLICES, 100))
        parent[key] = [value] * (times if len(json.dumps(value)) < _REPEATED else SLICES)
    elif kind == 7:
        for _ in range(pick.choice((1, 2, 20))):
            value = [value] if pick.random() < 0.5 else {pick.choice(_KEYS): value}
        parent[key] = value
    elif kind == 8 and isinstance(value, list):
        pick.shuffle(value)
    else:
        parent[key] = pick.choice(STRANGE)
    return document


def text_of(document: Any) -> str:
    """Return a mutated document as JSON text."""
    text = json.dumps(document)
    for name, stands_for in _PLACEHOLDERS.items():
        text = text.replace(json.dumps(name), stands_for)
    return text


def mutated_text(text: str | bytes, pick: random.Random) -> str:
    """Return JSON text with one to three of its values changed.

    Raises:
        ValueError: it isn't JSON, is too long, or nothing that can be written comes of it.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"more than {_LONGEST} characters")
    try:
        document = json.loads(text)
        for _ in range(pick.choice((1, 1, 1, 2, 3))):
            document = mutated(document, pick)
        return text_of(document)
    except (RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error
