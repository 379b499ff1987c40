"""DICOM files of elements that nobody chose, made byte by byte: files are no better than that."""

from __future__ import annotations

import random
import struct
from io import BytesIO

from inputs.dicom_series import make_series
from pydicom.datadict import DicomDictionary
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

_LONG = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNIT = {"US": 2, "SS": 2, "OW": 2, "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
_UNIT |= dict.fromkeys(("UL", "SL", "AT", "OL", "OF", "FL"), 4)
_WORDS = {
    "DS": (b"1", b"-0", b"1e5", b" 2.50", b"3. ", b"00012", b"1E-3", b"nan", b"abc", b""),
    "IS": (b"0", b"+5", b"007", b" 8", b"-2147483648", b"1.0", b"x", b""),
    "UI": (b"1.2.3", b"1.2.840.10008.1.2", b"1.02", b""),
    "DA": (b"20200101", b"2020.01.01", b"20200101-20210101", b"x"),
    "TM": (b"120000", b"120000.123456", b"12", b"?"),
    "DT": (b"20200101120000+0100", b"2020", b"?"),
    "AS": (b"012Y", b"12", b"1D"),
    "PN": (b"A^B", b"A^B=C^D=E^F", b"^^", b"=", b"A^B ", b"A^B\0", b"\xc4^\xd6"),
}
_TEXT = (b"ABC xyz", b"0123456789.+-eE", b"^=", b"\xe4\xfc\xdf", b"\t\r\n\x0c\x1b", b"_")
_VRS = sorted({*_LONG, *_UNIT, *_WORDS, "AE", "CS", "LO", "LT", "SH", "ST"})
_MOST_DEPTH = 3
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD

# What decides what an image is, or is a group's length, a file's head, an overlay or a curve.
_GIVEN = {0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E}
_TAGS = sorted(
    tag
    for tag in DicomDictionary
    if tag not in _GIVEN and tag >> 16 not in (0x0000, 0x0002, 0x0028, 0x7FE0, 0xFFFA, 0xFFFE)
)


class RandomElements:
    """Makes files; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.implicit = self._random.random() < 0.3

    def files(self) -> list[bytes]:
        """Return the files of a small series, most of whose elements are random ones."""
        chance = self._random
        series = make_series(chance.choice([1, 2, 3, 5]), shape=(2, 3))
        drawn: dict[int, list[bytes]] = {}
        for tag in self._tags(chance.choice([3, 8, 20])):
            kind, vr = chance.random(), self._vr(tag)
            if kind < 0.4:
                drawn[tag] = [self._element(tag, vr, 0)] * len(series)
            elif kind < 0.9 or self.implicit:
                drawn[tag] = [self._element(tag, vr, 0) for _ in series]
            else:
                drawn[tag] = [self._element(tag, chance.choice(_VRS), 0) for _ in series]
            if chance.random() < 0.2:
                drawn[tag] = [chance.choice([element, b""]) for element in drawn[tag]]
        files = []
        for index, dataset in enumerate(series):
            buffer = DicomBytesIO()
            buffer.is_little_endian, buffer.is_implicit_VR = True, self.implicit
            write_dataset(buffer, dataset)
            elements = self._split(buffer.getvalue())
            elements.update({tag: slices[index] for tag, slices in drawn.items()})
            files.append(self._head() + b"".join(elements[tag] for tag in sorted(elements)))
        return files

    def _head(self) -> bytes:
        uid = ImplicitVRLittleEndian if self.implicit else ExplicitVRLittleEndian
        value = uid.encode() + b"\0" * (len(uid) % 2)
        syntax = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
        length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(syntax))
        return b"\0" * 128 + b"DICM" + length + syntax

    def _split(self, data: bytes) -> dict[int, bytes]:
        """Return the elements that bytes of a dataset without sequences consist of."""
        found, stream = {}, BytesIO(data)
        while head := stream.read(8):
            group, element = struct.unpack("<HH", head[:4])
            if self.implicit:
                (length,) = struct.unpack("<L", head[4:])
            elif head[4:6].decode() in _LONG:
                head += stream.read(4)
                (length,) = struct.unpack("<L", head[8:])
            else:
                (length,) = struct.unpack("<H", head[6:])
            found[group << 16 | element] = head + stream.read(length)
        return found

    def _tags(self, count: int) -> list[int]:
        chance = self._random
        tags = chance.sample(_TAGS, count)
        if chance.random() < 0.5:
            group, block = chance.choice([0x09, 0x29, 0x51]) << 16, chance.choice([0x10, 0x11])
            private = (group | block << 8 | chance.randrange(256) for _ in range(2))
            tags += [group | block, *private]
        return sorted(set(tags))

    def _vr(self, tag: int) -> str:
        if tag >> 16 & 1 and tag & 0xFFFF < 0x100:
            return "LO"  # a private creator
        if tag not in DicomDictionary or (not self.implicit and self._random.random() < 0.15):
            return self._random.choice(_VRS)
        vr = DicomDictionary[tag][0][:2]
        return vr if vr in _VRS else "UN"

    def _elements(self, depth: int) -> bytes:
        tags = self._tags(self._random.choice([0, 1, 2, 4]))
        return b"".join(self._element(tag, self._vr(tag), depth) for tag in tags)

    def _element(self, tag: int, vr: str, depth: int) -> bytes:
        value = self._items(depth) if vr == "SQ" else self._value(vr)
        length = len(value)
        if vr == "SQ" and self._random.random() < 0.5:
            value, length = value + _delimiter(_SEQUENCE_END), _UNDEFINED
        start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return start + struct.pack("<L", length) + value
        if vr in _LONG:
            return start + vr.encode() + struct.pack("<HL", 0, length) + value
        return start + vr.encode() + struct.pack("<H", length) + value

    def _items(self, depth: int) -> bytes:
        written = b""
        count = self._random.choice([0, 1, 1, 2, 3]) if depth < _MOST_DEPTH else 0
        for _ in range(count):
            content = self._elements(depth + 1)
            if self._random.random() < 0.5:
                written += _delimiter(_ITEM, len(content)) + content
            else:
                written += _delimiter(_ITEM, _UNDEFINED) + content + _delimiter(_ITEM_END)
        return written

    def _value(self, vr: str) -> bytes:
        chance = self._random
        if chance.random() < 0.1:
            return b""
        count = chance.choice([1, 1, 1, 2, 3, 6])
        if vr in _UNIT:
            return chance.randbytes(_UNIT[vr] * count)
        if vr in ("OB", "UN"):
            return chance.randbytes(2 * chance.choice([1, 30, 1000]))
        if vr in _WORDS:
            value = b"\\".join(chance.choice(_WORDS[vr]) for _ in range(count))
        else:
            letters = (chance.choice(chance.choice(_TEXT)) for _ in range(4 * count))
            value = b"\\".join([bytes(letters)] * chance.choice([1, 1, 2]))
        if chance.random() < 0.03:
            value += chance.randbytes(2)
        padding = b"\0" if vr == "UI" or chance.random() < 0.05 else b" "
        return value + padding * (len(value) % 2)


def _delimiter(element: int, length: int = 0) -> bytes:
    return struct.pack("<HHL", 0xFFFE, element, length)
