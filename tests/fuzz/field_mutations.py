"""Change numbers in binary headers. Must not know dicube files."""

from __future__ import annotations

import math
import struct
from random import Random
from typing import Any

_INTEGERS = (0, 1, -1, 2, 3, 16, 64, 127, 255, 512, 2304, 32767, -32768, 1 << 30, (1 << 31) - 1)
_REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, 1e300, math.nan, math.inf, -math.inf)

# Offset and form of the fields of a NIfTI header that readers use, by its size.
_NIFTI: dict[int, dict[int, str]] = {
    348: {40: "8h", 70: "h", 72: "h", 76: "8f", 108: "f", 112: "2f", 252: "2h", 256: "18f"},
    540: {12: "2h", 16: "8q", 104: "8d", 168: "q", 176: "2d", 344: "2i", 352: "18d"},
}


def mutated_fields(data: bytes, pick: Random) -> bytes:
    """Replace a number of any form and byte order; or cut or extend the bytes."""
    kind = pick.randrange(12)
    if kind == 0:
        return data[: pick.randrange(len(data) + 1)]
    if kind == 1:
        return data + bytes(pick.choice((1, 4, 16, 1000)))
    form = pick.choice("<<<>") + pick.choice("bhiiqfd")
    size = struct.calcsize(form)
    if len(data) < size:
        return data
    at = pick.randrange(0, len(data) - size + 1, pick.choice((1, size)))
    return data[:at] + struct.pack(form, _number(form[-1], pick)) + data[at + size :]


def mutated_nifti(data: bytes, pick: Random) -> bytes:
    """Replace a field of a NIfTI header, or other bytes of it."""
    order = "<" if int.from_bytes(data[:4], "little") in _NIFTI else ">"
    fields = _NIFTI.get(int.from_bytes(data[:4], "little" if order == "<" else "big"))
    if pick.random() < 0.3 or fields is None:
        return mutated_fields(data, pick)
    at, form = pick.choice(list(fields.items()))
    values = list(struct.unpack_from(order + form, data, at))
    values[pick.randrange(len(values))] = _number(form[-1], pick)
    size = struct.calcsize(order + form)
    return data[:at] + struct.pack(order + form, *values) + data[at + size :]


def _number(form: str, pick: Random) -> Any:
    """Return a number that fits a form of struct, often an extreme one."""
    if form == "f":
        return pick.choice([real for real in _REALS if real != 1e300])
    if form == "d":
        return pick.choice(_REALS)
    most = (1 << 8 * struct.calcsize(f"<{form}") - 1) - 1
    return pick.choice([n for n in (*_INTEGERS, most, -most - 1) if -most - 1 <= n <= most])
