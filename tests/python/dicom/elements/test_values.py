"""values: bytes to JSON-model values and back, byte for byte."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, DSfloat, PersonName

from dicube.dicom.elements.values import (
    ElementValue,
    decode_value,
    encode_value,
    encodings_of,
    number_text,
    plain_values,
    value_of,
)
from dicube.exceptions import MetaDataError

LATIN = encodings_of(b"ISO_IR 100")
UTF8 = encodings_of(b"ISO_IR 192")
JAPANESE = encodings_of(b"\\ISO 2022 IR 87")
LATE = datetime(2020, 1, 2, 3, 4, 5, 6, timezone(-timedelta(hours=5)))


@pytest.mark.parametrize(
    ("vr", "data", "values"),
    [
        ("US", b"\x01\x00\xff\xff", [1, 65535]),
        ("SS", b"\xff\xff", [-1]),
        ("UL", b"\xff\xff\xff\xff", [4294967295]),
        ("SV", b"\xff" * 8, [-1]),
        ("FL", b"\x00\x00\x80\x3f", [1.0]),
        ("FD", b"\x9a\x99\x99\x99\x99\x99\xb9\x3f", [0.1]),
        ("FL", b"\x00\x00\xc0\x7f", [math.nan]),
        ("AT", b"\x10\x00\x20\x00", ["00100020"]),
        ("DS", b"0.5\\0.75", [0.5, 0.75]),
        ("DS", b"1\\\\3", [1.0, None, 3.0]),
        ("DS", b"abc ", ["abc"]),
        ("DS", b"NaN ", ["NaN"]),
        ("DS", b"1_0 ", ["1_0"]),
        ("IS", b"-12 ", [-12]),
        ("IS", b"1.5 ", ["1.5"]),
        ("UI", b"1.2.3\x00", ["1.2.3"]),
        ("LO", b"a\\b ", ["a", "b"]),
        ("LT", b"a\\b ", ["a\\b"]),
        ("AE", b"STORE ", ["STORE"]),
        ("PN", b"DOE^JOHN", [{"Alphabetic": "DOE^JOHN"}]),
        ("LO", b"", []),
        ("OB", b"", []),
    ],
)
def test_decoded_values_and_the_same_bytes_back(vr: str, data: bytes, values: list[Any]) -> None:
    value = decode_value(vr, data)
    assert value == ElementValue(vr, values)
    assert encode_value(value) == data


@pytest.mark.parametrize(
    ("vr", "data", "values"),
    [
        ("DS", b"0.4200000 ", [0.42]),
        ("DS", b"1.0\\2 ", [1.0, 2.0]),
        ("DS", b" 5", [5.0]),
        ("IS", b"1.0 ", [1]),
        ("IS", b"+1", [1]),
        ("LO", b"a  \x00", ["a"]),
        ("UI", b"1.2 ", ["1.2"]),
        ("US", b"\x01\x00\x02", [1]),
        ("FL", b"\x01\x00\xc0\x7f", [math.nan]),
        ("FD", b"\x00\x00\x00\x00\x00\x00\xf8\xff", [math.nan]),
        ("SH", b"    ", []),
        ("PN", b"A^B=", [{"Alphabetic": "A^B"}]),
    ],
)
def test_what_the_values_would_not_give_back_stays_raw(
    vr: str, data: bytes, values: list[Any]
) -> None:
    value = decode_value(vr, data)
    assert (value.values, value.raw) == (values, data.decode("latin-1"))
    assert encode_value(value)[: len(data)] == data
    assert len(encode_value(value)) % 2 == 0


@pytest.mark.parametrize(("vr", "unit"), [("OB", 1), ("OW", 2), ("OF", 4), ("OD", 8), ("UN", 1)])
def test_binary_is_base64_in_little_endian(vr: str, unit: int) -> None:
    data = bytes(range(16))
    assert encode_value(decode_value(vr, data)) == data
    swapped = np.frombuffer(data, f"V{unit}")
    big = b"".join(bytes(part)[::-1] for part in swapped)
    assert encode_value(decode_value(vr, big, little_endian=False)) == data


def test_big_endian_numbers() -> None:
    assert decode_value("US", b"\x00\x01", little_endian=False) == ElementValue("US", [1])
    assert decode_value("AT", b"\x00\x10\x00\x20", little_endian=False).values == ["00100020"]


@pytest.mark.parametrize(
    ("vr", "text", "encodings"),
    [
        ("LO", "Größe", LATIN),
        ("LT", "Größe\\nicht geteilt", LATIN),
        ("PN", "Müller^Jörg", LATIN),
        ("LO", "王小東", UTF8),
        ("PN", "Yamada^Tarou=山田^太郎=やまだ^たろう", JAPANESE),
    ],
)
def test_texts_in_character_sets(vr: str, text: str, encodings: tuple[str, ...]) -> None:
    data = encode_value(value_of(vr, text, encodings), encodings)
    value = decode_value(vr, data, True, encodings)
    assert plain_values(value) == text
    assert encode_value(value, encodings) == data


def test_text_in_an_unknown_or_wrong_character_set_stays_raw() -> None:
    encodings = encodings_of(b"NO SUCH SET")
    data = "Größe ".encode()
    value = decode_value("LO", data, True, UTF8)
    assert value.values == ["Größe"]
    broken = b"Gr\xf6\xdfe "
    assert decode_value("LO", broken, True, UTF8).raw == broken.decode("latin-1")
    for charset in (UTF8, encodings, JAPANESE):
        assert encode_value(decode_value("LO", broken, True, charset), charset) == broken


def test_text_that_the_character_set_has_not_got() -> None:
    with pytest.raises(MetaDataError, match="ISO_IR 192"):
        value_of("PN", "王^小東", LATIN)


@pytest.mark.parametrize(
    ("vr", "text", "charset"),
    [
        ("PN", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c", b"\\ISO 2022 IR 58"),
        ("LO", "\u738b\u5c0f\u4e1c", b"\\ISO 2022 IR 58"),
        ("LO", "\xa5 100", b"ISO_IR 13"),
        ("PN", "\u041b\u044e\u043a", b"\\ISO 2022 IR 87"),
    ],
)
def test_text_that_would_be_read_as_another(vr: str, text: str, charset: bytes) -> None:
    with pytest.raises(MetaDataError, match="can't be written in character set"):
        encode_value(value_of(vr, text, UTF8), encodings_of(charset))


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (-0.5, "-0.5"), (0.1, "0.1"), (1e20, "1e+20"), (7, "7"), (0.0, "0")],
)
def test_number_text(number: float, text: str) -> None:
    assert number_text(number) == text


def test_number_text_fits_ds() -> None:
    for number in (math.pi, -math.pi * 1e-10, 1 / 3 * 1e15, 123456789.123456789, -1e-200 / 3):
        assert len(number_text(number)) <= 16
        assert math.isclose(float(number_text(number)), number, rel_tol=1e-8)


@pytest.mark.parametrize(
    ("vr", "given", "value"),
    [
        ("DS", 0.5, ElementValue("DS", [0.5])),
        ("DS", np.float32(0.5), ElementValue("DS", [0.5])),
        ("DS", DSfloat("0.50"), ElementValue("DS", [0.5], None, "0.50")),
        ("DS", [1, 2], ElementValue("DS", [1.0, 2.0])),
        ("DS", np.array([1.5, 2.5]), ElementValue("DS", [1.5, 2.5])),
        ("IS", np.int64(3), ElementValue("IS", [3])),
        ("US", np.uint16(3), ElementValue("US", [3])),
        ("FD", 1, ElementValue("FD", [1.0])),
        ("UI", UID("1.2"), ElementValue("UI", ["1.2"])),
        ("PN", PersonName("A^B"), ElementValue("PN", [{"Alphabetic": "A^B"}])),
        ("PN", {"Alphabetic": "A^B"}, ElementValue("PN", [{"Alphabetic": "A^B"}])),
        ("LO", None, ElementValue("LO", [])),
        ("LO", "", ElementValue("LO", [])),
        ("LO", [], ElementValue("LO", [])),
        ("AT", 0x00100010, ElementValue("AT", ["00100010"])),
        ("OB", b"\0\1", ElementValue("OB", None, "AAE=")),
        ("DA", date(2020, 1, 2), ElementValue("DA", ["20200102"])),
        ("DA", [date(2020, 1, 2), date(987, 3, 4)], ElementValue("DA", ["20200102", "09870304"])),
        ("DA", DA("20200102"), ElementValue("DA", ["20200102"])),
        ("TM", time(1, 2, 3), ElementValue("TM", ["010203"])),
        ("TM", TM("0102"), ElementValue("TM", ["0102"])),
        ("DT", LATE, ElementValue("DT", ["20200102030405.000006-0500"])),
        ("DT", date(2020, 1, 2), ElementValue("DT", ["20200102"])),
        ("DA", np.datetime64("2020-01-02"), ElementValue("DA", ["20200102"])),
    ],
)
def test_value_of_what_a_caller_gives(vr: str, given: Any, value: ElementValue) -> None:
    assert value_of(vr, given) == value


@pytest.mark.parametrize(
    ("vr", "given"),
    [
        *(("DS", "abc"), ("IS", "x"), ("US", -1), ("US", 70000), ("OB", "text"), ("SS", 40000)),
        *(("LO", b"text"), ("PN", b"A^B"), ("LO", DataElement(0x00100020, "LO", "x"))),
        *(("LO", {"Value": ["x"]}), ("LO", LATE), ("TM", date(2020, 1, 2)), ("DA", time(1))),
    ],
)
def test_values_that_do_not_suit(vr: str, given: Any) -> None:
    with pytest.raises(MetaDataError):
        value_of(vr, given)


def test_plain_values() -> None:
    assert plain_values(ElementValue("IS", [1])) == 1
    assert plain_values(ElementValue("IS", [1, 2])) == [1, 2]
    assert plain_values(ElementValue("IS", [])) is None
    assert plain_values(ElementValue("PN", [{"Alphabetic": "A^B", "Phonetic": "c"}])) == "A^B==c"
    assert plain_values(ElementValue("OB", None, "AAE=")) == b"\0\1"


def test_few_character_sets_count(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[int] = []

    def convert(names: list[str]) -> list[str]:
        looked_up.append(len(names))
        return ["iso8859"]

    monkeypatch.setattr("pydicom.charset.convert_encodings", convert)
    encodings_of(b"X\\" * 100_000)
    assert looked_up == [64]


@pytest.mark.parametrize("vr", ["CS", "DS", "LO", "PN", "UI", "DA"])
def test_more_values_than_any_element_has(vr: str) -> None:
    with pytest.raises(MetaDataError, match=f"at most 1048576 values .* 1048577 bytes of {vr}"):
        decode_value(vr, b"\\" * (1 << 20) + b" ")


def test_a_text_of_backslashes_is_one_value() -> None:
    assert decode_value("LT", b"\\" * (1 << 20)).values == ["\\" * (1 << 20)]
