"""Read Siemens' CSA header: named values within one private element.

The format is not public; this follows nibabel (nibabel/nicom/csareader.py and its documentation,
"Siemens format DICOM with CSA header"). Must not know where the element is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import TypeAlias

_MARK, _MOST_TAGS, _MOST_ITEMS = b"SV10", 1024, 4096
_TAG, _ITEM = struct.Struct("<64si4siii"), struct.Struct("<4i")
_CHECKS = (77, 205)

CsaValues: TypeAlias = Mapping[str, list[str]]
"""The values of each name."""


def csa_values(data: bytes) -> CsaValues:
    """Return the values of each name in a CSA header; none of a damaged or unknown one."""
    try:
        return _values(data)
    except (struct.error, ValueError, UnicodeDecodeError):
        return {}


def csa_numbers(values: CsaValues, name: str) -> list[float]:
    """Return the values of a name as numbers; [] unless all are finite numbers."""
    try:
        found = [float(text) for text in values.get(name, [])]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


def _values(data: bytes) -> dict[str, list[str]]:
    is_second = data[:4] == _MARK
    place = 8 if is_second else 0
    count, check = struct.unpack_from("<2I", data, place)
    if check not in _CHECKS or count > _MOST_TAGS:
        raise ValueError("not a CSA header")
    place += 8
    found: dict[str, list[str]] = {}
    first_items = 0  # of the first tag, by which the first version shifts the lengths
    for number in range(count):
        name, _, _, _, items, check = _TAG.unpack_from(data, place)
        place += _TAG.size
        if check not in _CHECKS or not 0 <= items <= _MOST_ITEMS:
            raise ValueError("a damaged tag")
        first_items = items if number == 0 else first_items
        values = []
        for _ in range(items):
            lengths = _ITEM.unpack_from(data, place)
            place += _ITEM.size
            length = lengths[1] if is_second else lengths[0] - first_items
            if length < 0 or place + length > len(data):
                if is_second:
                    raise ValueError("a damaged item")
                break
            text = data[place : place + length].split(b"\0")[0].decode("latin-1").strip()
            values += [text] if text else []
            place += (length + 3) // 4 * 4
        found[name.split(b"\0")[0].decode("latin-1")] = values
    return found
