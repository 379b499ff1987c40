"""Converts the value of a data element between its bytes and the DICOM JSON model (PS3.18 F.2).

`encode_value` reverses `decode_value` exactly, byte for byte. If the JSON value alone can't
reproduce the bytes ("0.4200000" is the number 0.42, "abc" in a DS is not a number, a text may be in
an unknown character set), `raw` keeps the original value field. So every value can be loaded and
written again, and no malformed value is rejected.

Knows value representations and character sets. Must not know datasets, slices or files.
"""

from __future__ import annotations

import base64
import math
import operator
import struct
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from numbers import Number
from typing import Any, NamedTuple

from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.exceptions import MetaDataError, shown

Encodings = tuple[str, ...]
"""Names of the Python codecs for a Specific Character Set (0008,0005)."""

DEFAULT_ENCODINGS: Encodings = ("iso8859",)

MOST_CHARACTER_SETS = 64
"""Values of a Specific Character Set that count; more are ignored or refused."""

LONGEST_CHARACTER_SET = 17 * MOST_CHARACTER_SETS
"""Bytes that so many values take at most, each with a delimiter."""

MOST_VALUES = 1 << 20
"""Values of one element that is text; each takes a hundred times its bytes in memory."""

# Bytes per unit of the VRs that PS3.5 6.2 calls "other": swapping byte order swaps these units.
BINARY_UNIT = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
NUMBER_FORMAT = {
    "US": "H",
    "SS": "h",
    "UL": "L",
    "SL": "l",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
DECIMAL_TEXT = frozenset({"DS", "IS"})
ONE_TEXT = frozenset({"ST", "LT", "UT", "UR"})  # in these a backslash is an ordinary character
_MOMENTS = frozenset({"DA", "TM", "DT"})
TEXT_IN_CHARSET = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
# Value representations with a 4-byte length field in explicit encodings (PS3.5 7.1.2).
LONG_LENGTH = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)

_TEXT_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C, 0x5C}  # where PS3.5 6.1.2.5.3 resets the character set
_REPLACEMENT = "\ufffd"  # replaces bytes that a codec can't decode
_ESCAPE = 0x1B
_PERSON_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


class ElementValue(NamedTuple):
    """The value of one element.

    Attributes:
        vr: value representation, two letters.
        values: JSON-model values, None for an empty one among several; [] for an empty element;
            None for binary.
        binary: base64 of the little-endian bytes; None unless the element is non-empty binary.
        raw: the original value field, one character per byte (Latin-1); None if encoding the values
            gives the same bytes.
    """

    vr: str
    values: list[Any] | None
    binary: str | None = None
    raw: str | None = None


@lru_cache(maxsize=64)
def encodings_of(charset: bytes) -> Encodings:
    """Return the codecs for the value field of a Specific Character Set (0008,0005).

    An unknown character set is replaced by the default one. `decode_value` keeps the raw bytes of
    texts that are then decoded wrongly.
    """
    parts = charset.decode("latin-1").split("\\", MOST_CHARACTER_SETS)[:MOST_CHARACTER_SETS]
    names = [name.strip(" \0") for name in parts]
    from pydicom.charset import convert_encodings

    with pydicom_quiet():
        try:
            return tuple(convert_encodings(names))
        except LookupError:
            return DEFAULT_ENCODINGS


def decode_value(
    vr: str, data: bytes, little_endian: bool = True, encodings: Encodings = DEFAULT_ENCODINGS
) -> ElementValue:
    """Return the value that the value field `data` of an element encodes.

    Raises:
        MetaDataError: a text has more than 2^20 values. Any other value field has a value.
    """
    if not data:
        return ElementValue(vr, [])
    if vr in BINARY_UNIT:
        if not little_endian:
            data = _swapped(data, BINARY_UNIT[vr])
        return ElementValue(vr, None, base64.b64encode(data).decode("ascii"))
    if vr in NUMBER_FORMAT:
        values, data = _numbers(vr, data, little_endian)
    elif vr == "AT":
        values, data = _tags(data, little_endian)
    elif vr not in ONE_TEXT and len(data) > MOST_VALUES and data.count(b"\\") >= MOST_VALUES:
        raise MetaDataError(
            f"expected at most {MOST_VALUES} values of an element, found {len(data)} bytes of {vr}"
        )
    elif vr in DECIMAL_TEXT:
        values = [_decimal(vr, part) for part in _padding_off(data.decode("latin-1")).split("\\")]
    else:
        values = _texts(vr, data, encodings)
    if len(values) == 1 and values[0] in (None, "", {"Alphabetic": ""}):
        values = []  # nothing but padding
    try:
        exact = encode_value(ElementValue(vr, values), encodings) == data
    except (MetaDataError, ValueError, struct.error):
        exact = False
    return ElementValue(vr, values, None, None if exact else data.decode("latin-1"))


def encode_value(value: ElementValue, encodings: Encodings = DEFAULT_ENCODINGS) -> bytes:
    """Return the value field of an element, little endian and padded to even length.

    Raises:
        MetaDataError: the values can't be encoded in the value representation or character set.
    """
    vr, values = value.vr, value.values
    if value.raw is not None and not _is_of_another_charset(value, encodings):
        data = value.raw.encode("latin-1")
    elif value.binary is not None:
        try:
            data = base64.b64decode(value.binary, validate=True)
        except ValueError as error:  # a binascii.Error, or the text is not ASCII
            raise MetaDataError(f"InlineBinary of a {vr} element is not base64: {error}") from None
    elif not values:
        return b""
    elif vr in NUMBER_FORMAT or vr == "AT":
        data = _number_bytes(vr, values)
    else:
        data = _text_bytes(vr, values, encodings)
    if len(data) % 2:
        text = vr not in BINARY_UNIT and vr not in NUMBER_FORMAT and vr not in ("UI", "AT")
        data += b" " if text else b"\0"
    return data


def value_of(vr: str, given: Any, encodings: Encodings = DEFAULT_ENCODINGS) -> ElementValue:
    """Return the element value for a value given by a caller.

    Args:
        vr: value representation of the element.
        given: one value, a list of values, or None for an empty element. Python, numpy and pydicom
            types and JSON-model values are accepted; bytes for binary; dates and times of
            `datetime` for DA, TM and DT. In a DS, a floating-point number is rounded to the nearest
            that fits 16 characters; a text is kept as it is.
        encodings: codecs of the character set that texts are to be written in.

    Raises:
        MetaDataError: the value can't be encoded in the value representation or character set.
    """
    if given is None:
        return ElementValue(vr, [])
    if vr in BINARY_UNIT:
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise MetaDataError(f"expected bytes for VR {vr}, found {type(given).__name__}")
        return decode_value(vr, bytes(given))
    from pydicom.valuerep import PersonName

    plain = given.tolist() if hasattr(given, "tolist") else given
    several = not isinstance(plain, (str, bytes, dict, PersonName)) and isinstance(plain, Iterable)
    values = [_value_of(vr, one) for one in (plain if several else [plain])]
    if values in ([], [None]):
        return ElementValue(vr, [])
    data = encode_value(ElementValue(vr, values), encodings)
    if vr not in DECIMAL_TEXT:
        return ElementValue(vr, values)
    value = decode_value(vr, data)
    if any(isinstance(number, str) for number in value.values or ()):
        raise MetaDataError(f"expected a number for VR {vr}, found {shown(given)}")
    return value


def _value_of(vr: str, given: Any) -> Any:
    if given is None or given == "":
        return None
    if vr == "PN" and isinstance(given, dict):
        return given
    if vr == "PN":
        from pydicom.valuerep import PersonName

        if isinstance(given, (str, PersonName)):
            return person_name_value(str(given))
    if vr == "AT":
        return given if isinstance(given, str) else f"{int(given):08X}"
    if vr in DECIMAL_TEXT:
        text = getattr(given, "original_string", None)
        if text is None and vr == "DS" and isinstance(given, float):
            return number_text(given)
        return str(text or given)
    if vr in NUMBER_FORMAT:
        return float(given) if vr in ("FL", "FD") else operator.index(given)
    if vr in _MOMENTS and isinstance(given, (date, time)):
        return _moment(vr, given)
    if vr == "PN" or not isinstance(given, (str, Number)):
        raise MetaDataError(f"expected text for VR {vr}, found {type(given).__name__}")
    return str(given)


def _moment(vr: str, given: date | time) -> str:
    """Return the text of a date, a time or both in DICOM's format (PS3.5 6.2)."""
    original = getattr(given, "original_string", None)  # set on values that pydicom read
    if original:
        return str(original)
    day = f"{given.year:04}{given:%m%d}" if isinstance(given, date) else ""
    clock = ""
    if isinstance(given, (datetime, time)):
        clock = f"{given:%H%M%S.%f}" if given.microsecond else f"{given:%H%M%S}"
    text = {"DA": day, "TM": clock, "DT": day and f"{day}{clock}{given:%z}"}[vr]
    if not text:
        raise MetaDataError(f"VR {vr} can't hold a {type(given).__name__}")
    return text


def plain_values(value: ElementValue) -> Any:
    """Return the value as plain Python objects: a list only if there are several, None if empty.

    Person names are plain text, binary is bytes.
    """
    if value.binary is not None:
        return encode_value(value)
    values = value.values or []
    if value.vr == "PN":
        values = [person_name_text(name) for name in values]
    return None if not values else values[0] if len(values) == 1 else list(values)


def number_text(number: float | int) -> str:
    """Return the shortest decimal text of a number that fits DS (16 characters)."""
    if isinstance(number, int) or (number.is_integer() and abs(number) < 1e15):
        return str(int(number))
    text = repr(number)
    if len(text) <= 16:
        return text
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(number))


def person_name_text(value: Any) -> Any:
    """Return the plain text ('DOE^JOHN') of a JSON-model person name."""
    if not isinstance(value, dict):
        return value
    return "=".join(value.get(group) or "" for group in _PERSON_NAME_GROUPS).rstrip("=")


def person_name_value(text: str) -> dict[str, str]:
    """Return the JSON-model person name of plain text ('DOE^JOHN', groups separated by '=')."""
    return dict(zip(_PERSON_NAME_GROUPS, text.rstrip("=").split("="), strict=False))


def _swapped(data: bytes, unit: int) -> bytes:
    if unit == 1 or len(data) % unit:
        return data
    return b"".join(data[at : at + unit][::-1] for at in range(0, len(data), unit))


def _numbers(vr: str, data: bytes, little_endian: bool) -> tuple[list[Any], bytes]:
    """Return the numbers, and their bytes in little endian."""
    code = NUMBER_FORMAT[vr]
    size = struct.calcsize("<" + code)
    if not little_endian:
        data = _swapped(data, size)
    numbers = struct.unpack_from(f"<{len(data) // size}{code}", data)
    # JSON has a single NaN; if its bits were others, they are kept as `raw`.
    return [math.nan if number != number else number for number in numbers], data


def _tags(data: bytes, little_endian: bool) -> tuple[list[Any], bytes]:
    """Return tags as 'GGGGEEEE', and their bytes in little endian."""
    if not little_endian:
        data = _swapped(data, 2)
    halves = struct.unpack_from(f"<{len(data) // 4 * 2}H", data)
    return [f"{g:04X}{e:04X}" for g, e in zip(halves[::2], halves[1::2], strict=True)], data


def _padding_off(text: str) -> str:
    return text.rstrip(" \0")


def _decimal(vr: str, text: str) -> float | int | str | None:
    """Return the number in a DS or IS text; the text itself if it isn't a number."""
    text = text.strip(" \0")
    if not text:
        return None
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    if vr == "DS":
        return number
    try:
        return int(text)
    except ValueError:
        return int(number) if number.is_integer() else text


def _texts(vr: str, data: bytes, encodings: Encodings) -> list[Any]:
    text = _decoded(vr, data, encodings)
    if vr in ONE_TEXT:
        return [_padding_off(text)]
    if vr == "PN":
        return [person_name_value(name) for name in _padding_off(text).split("\\")]
    parts = _padding_off(text).split("\\")
    if vr == "AE":
        parts = [part.strip() for part in parts]
    return parts


def _decoded(vr: str, data: bytes, encodings: Encodings) -> str:
    if vr not in TEXT_IN_CHARSET:
        return data.decode("latin-1")
    if data.isascii() and _ESCAPE not in data:
        return data.decode("ascii")
    from pydicom.charset import decode_bytes
    from pydicom.valuerep import PersonName

    with pydicom_quiet():
        if vr == "PN":
            names = (PersonName(name, encodings).decode() for name in data.split(b"\\"))
            return "\\".join("=".join(name.components) for name in names)
        return decode_bytes(data, list(encodings), _TEXT_DELIMITERS)


def _is_of_another_charset(value: ElementValue, encodings: Encodings) -> bool:
    """Return whether the raw bytes of a text decode to another text in this character set.

    That is so after the character set was changed. Bytes that never could be decoded don't count:
    they may be valid in the new one.
    """
    data = (value.raw or "").encode("latin-1")
    if value.vr not in TEXT_IN_CHARSET or (data.isascii() and _ESCAPE not in data):
        return False
    if _REPLACEMENT in str(value.values):
        return False
    return decode_value(value.vr, data, True, encodings).values != value.values


def _number_bytes(vr: str, values: Sequence[Any]) -> bytes:
    try:
        if vr == "AT":
            tags = [int(str(value), 16) for value in values]
            return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)
        return struct.pack(f"<{len(values)}{NUMBER_FORMAT[vr]}", *values)
    except (struct.error, ValueError, TypeError) as error:
        reason = error if isinstance(error, struct.error) else type(error).__name__
        raise MetaDataError(
            f"{shown(list(values))} can't be stored with VR {vr}: {reason}"
        ) from None


def _text_bytes(vr: str, values: Sequence[Any], encodings: Encodings) -> bytes:
    parts = ["" if value is None else _one_text(vr, value) for value in values]
    text = "\\".join(parts)
    if text.isascii():
        return text.encode("ascii")
    if vr not in TEXT_IN_CHARSET:
        return text.encode("latin-1", "replace")
    from pydicom.charset import encode_string
    from pydicom.valuerep import PersonName

    with pydicom_quiet("error"):  # it only warns, and writes question marks
        try:
            if vr == "PN":
                data = b"\\".join(PersonName(part).encode(list(encodings)) for part in parts)
            else:
                data = encode_string(text, list(encodings))
        except (UserWarning, UnicodeError):
            data = b""
    # Some texts that pydicom writes are read back as others: it writes ISO 2022 IR 58 without the
    # escape sequence, and a backslash, which separates values, for a yen sign or as half of a
    # character.
    if _decoded(vr, data, encodings).rstrip("=") != text.rstrip("="):
        raise MetaDataError(
            f"{shown(text)} can't be written in character set {', '.join(encodings)}",
            suggestion="set SpecificCharacterSet to 'ISO_IR 192' (UTF-8)",
        )
    return data


def _one_text(vr: str, value: Any) -> str:
    if vr == "PN":
        return str(person_name_text(value))
    if vr in DECIMAL_TEXT and isinstance(value, (int, float)):
        return number_text(value)
    return str(value)
