"""Reads look-up tables: the items of a Modality or a VOI LUT Sequence.

PS3.3 C.11.1.1.1 and C.11.2.1.1. Must not know what a table is applied to.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.merge_utils import JsonElement
from dicube.exceptions import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

Elements: TypeAlias = "dict[str, JsonElement]"


class Unreadable(Exception):
    """An item can't be understood; the text says why."""


class Lut(NamedTuple):
    """A look-up table.

    Attributes:
        first: the value that is mapped to the first entry, as are all below it.
        bits: of an entry.
        entries: uint8 or uint16; all values beyond them are mapped to the last one.
    """

    first: int
    bits: int
    entries: NDArray[Any]


def read_lut(item: Elements, signed: bool) -> Lut:
    """Return the table of an item.

    Args:
        item: with LUTDescriptor and LUTData.
        signed: whether the values that the table is applied to may be negative.

    Raises:
        Unreadable: they are missing, malformed, or contradict each other.
    """
    descriptor = item.get(get_tag_key("LUTDescriptor"), {}).get("Value", [])
    if len(descriptor) != 3 or not all(isinstance(number, int) for number in descriptor):
        raise Unreadable(f"LUTDescriptor is {shown(descriptor)}, not three integers")
    # Whatever the VR says, only the second value may be signed, if the values mapped are.
    count, bits = (number & 0xFFFF for number in descriptor[::2])
    count = count or 1 << 16
    first = (descriptor[1] + 0x8000) % 0x10000 - 0x8000 if signed else descriptor[1] & 0xFFFF
    data = _bytes(item.get(get_tag_key("LUTData"), {}))
    # Some writers give entries of 8 bits 16 each; the length shows it (note 1 there).
    packed = bits <= 8 and (len(data) < 2 * count or count == 1)
    if not 0 < bits <= 16 or len(data) < (1 if packed else 2) * count:
        raise Unreadable(
            f"LUTData has {len(data)} bytes, LUTDescriptor says {count} entries of {bits} bits"
        )
    return Lut(first, bits, np.frombuffer(data, "u1" if packed else "<u2", count))


def _bytes(element: JsonElement) -> bytes:
    """Return the value of LUTData, whose value representation is US or OW, in little endian."""
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    values = [value for value in element.get("Value", []) if isinstance(value, int)]
    return np.array(values, np.int64).astype("<u2").tobytes()
