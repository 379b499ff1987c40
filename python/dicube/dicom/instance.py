"""One DICOM file: its elements, and where in the file its pixels are.

The pixels themselves are read later, straight to where they belong. Must not know series.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from io import BytesIO, FileIO
from typing import Any, BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread, read_dataset, read_partial
from pydicom.tag import BaseTag

from dicube.dicom.element_parser import UNDEFINED_LENGTH, CutOff, Unusual, parse_elements
from dicube.dicom.element_values import decode_value, plain_values
from dicube.dicom.elements import (
    PIXEL_ELEMENTS,
    Item,
    SequenceElement,
    item_of,
    item_of_elements,
    value_representation,
)
from dicube.exceptions import CubeFileAccessError, MetaDataError

SMALLEST_HEAD = 1 << 16  # bytes read at first: more than most headers have

PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009

_PIXEL_TAGS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
_TRANSFER_SYNTAX, _STORAGE_CLASS = 0x00020010, 0x00020002
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixels of a file are.

    Attributes:
        tag: PixelData, FloatPixelData or DoubleFloatPixelData.
        offset: of the first byte of the value field, in the file.
        length: bytes of the value field, the delimiter of encapsulated ones included.
        direct: the bytes at `offset` are the little-endian samples. Otherwise (encapsulated, big
            endian, deflated) pydicom has to read them.
    """

    tag: int
    offset: int
    length: int
    direct: bool


@dataclass
class Instance:
    """One DICOM file.

    Attributes:
        path: the file.
        size: its bytes.
        item: its elements without the pixels.
        file_meta: the elements of group 2.
        transfer_syntax: UID; '' if the file doesn't say.
        pixels: where they are; None if it has none.
    """

    path: str
    size: int
    item: Item
    file_meta: Item
    transfer_syntax: str
    pixels: PixelPlace | None

    def value(self, tag: int) -> Any:
        """Return an element's value: one, a list of several, or None if absent or empty."""
        element = self.item.elements.get(tag)
        if element is None or isinstance(element, SequenceElement):
            return None
        vr = value_representation(element, self.item)
        data, little = element.value or b"", element.is_little_endian
        return plain_values(decode_value(vr, data, little, self.item.encodings))

    def text(self, tag: int) -> str:
        """Return an element's value as text; '' if absent or empty."""
        value = self.value(tag)
        return "" if value is None else str(value)

    def number(self, tag: int, default: int = 0) -> int:
        """Return an element's value as a whole number; the default if it is none."""
        value = self.value(tag)
        return int(value) if isinstance(value, (int, float)) else default


def read_instance(path: str, head_size: int = SMALLEST_HEAD) -> Instance | None:
    """Read a DICOM file up to its pixels, and what follows them.

    Args:
        path: the file.
        head_size: bytes before the pixels, as a guess; a good one makes it faster.

    Returns:
        None if it is no DICOM file, or a DICOMDIR.

    Raises:
        MetaDataError: it is a DICOM file, but damaged; names it.
        CubeFileAccessError: the operating system refuses to read it.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(head_size)
            if head[128:132] != b"DICM" and not _starts_like_dataset(head):
                return None
            size = os.fstat(file.fileno()).st_size
            try:
                return _read_plain(path, file, head, size)
            except Unusual:
                with open(path, "rb") as buffered:
                    return _read_by_pydicom(path, buffered, size)
    except CutOff as cut:
        raise MetaDataError(
            f"{path} is truncated: expected {cut.expected} bytes in element "
            f"({cut.tag >> 16:04X},{cut.tag & 0xFFFF:04X}), found {cut.found}"
        ) from None
    except MetaDataError:
        raise
    except Exception as error:  # pydicom raises whatever the bytes provoke
        if isinstance(error, OSError) and error.errno is not None:
            raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
        raise MetaDataError(
            f"{path} is a damaged DICOM file: {type(error).__name__}: {error}"
        ) from error


def _read_plain(path: str, file: FileIO, head: bytes, size: int) -> Instance | None:
    """Read a file of the usual kind: preamble, file meta, little-endian elements.

    Raises:
        Unusual: it is of another kind.
        CutOff: it ends within an element.
    """
    if head[128:132] != b"DICM" or head[132:138] != b"\x02\0\0\0UL":
        raise Unusual("no preamble, or no file meta group length")
    if len(head) < 144:
        raise CutOff(0x00020000, 4, len(head) - 140)
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    if start > len(head):
        head += file.readall()
    file_meta = _file_meta(head, start)
    syntax, storage = (_uid(file_meta, tag) for tag in (_TRANSFER_SYNTAX, _STORAGE_CLASS))
    if storage == _DIRECTORY:
        return None
    if syntax in ("", _DEFLATED, _BIG_ENDIAN):
        raise Unusual(f"transfer syntax {syntax!r}")
    implicit = syntax == _IMPLICIT
    try:
        found, stop = parse_elements(head, start, len(head), implicit, _PIXEL_TAGS)
        if stop + 12 > len(head) < size:
            raise CutOff
    except CutOff:
        if len(head) == size:
            raise
        head += file.readall()
        found, stop = parse_elements(head, start, len(head), implicit, _PIXEL_TAGS)
    pixels = None
    if stop < len(head):
        file.seek(stop)
        pixels = _pixel_place(file, implicit, True, size)
        after = pixels.offset + pixels.length
        if after < size:
            file.seek(after)
            rest = file.readall()
            found.update(parse_elements(rest, 0, len(rest), implicit).elements)
    return Instance(path, size, item_of_elements({**found}), file_meta, syntax, pixels)


def _file_meta(head: bytes, start: int) -> Item:
    """Return group 2, which is to end where the dataset starts.

    Raises:
        Unusual: it does not, or is cut off.
    """
    try:
        found, stop = parse_elements(head, 132, min(start, len(head)), implicit=False)
    except CutOff:
        raise Unusual("file meta is of another length than it says") from None
    if (
        stop != start
        or head[start : start + 2] == b"\x02\0"
        or any(tag >> 16 != 2 for tag in found)
    ):
        raise Unusual("file meta is of another length than it says")
    return item_of_elements({**found})


def _read_by_pydicom(path: str, file: BinaryIO, size: int) -> Instance | None:
    """Read a file of any kind that pydicom reads."""
    has_preamble = file.read(132)[128:] == b"DICM"
    file.seek(0)
    try:
        dataset = read_partial(file, _at_pixels, force=not has_preamble)
    except InvalidDicomError:
        return None
    file_meta = item_of(dataset.file_meta)
    syntax = _uid(file_meta, _TRANSFER_SYNTAX)
    if _uid(file_meta, _STORAGE_CLASS) == _DIRECTORY:
        return None
    if not has_preamble and not _is_composite(dataset):
        return None
    pixels: PixelPlace | None = None
    if syntax == _DEFLATED:
        dataset = dcmread(path)
        tag = next((tag for tag in _PIXEL_TAGS if tag in dataset), None)
        pixels = None if tag is None else PixelPlace(tag, 0, 0, direct=False)
    else:
        _check_last_element(dataset)
        implicit, little = map(bool, dataset.original_encoding)
        if file.tell() < size:
            pixels = _pixel_place(file, implicit, little, size)
            file.seek(pixels.offset + pixels.length)
            after = read_dataset(BytesIO(file.read()), implicit, little)
            for tag, element in after.items():
                if tag not in PIXEL_ELEMENTS and tag not in dataset:
                    dataset[tag] = element
    return Instance(path, size, item_of(dataset), file_meta, syntax, pixels)


def _pixel_place(
    file: BinaryIO | FileIO, implicit: bool, little_endian: bool, size: int
) -> PixelPlace:
    """Return where the pixels are, `file` being before their element."""
    order = "<" if little_endian else ">"
    start = file.read(8)
    if len(start) < 8:
        raise CutOff
    group, element = struct.unpack(order + "HH", start[:4])
    field = start[4:] if implicit else file.read(4)
    if len(field) < 4:
        raise CutOff
    (length,) = struct.unpack(order + "L", field)
    offset = file.tell()
    encapsulated = length == UNDEFINED_LENGTH
    if encapsulated:
        length = _encapsulated_length(file, size)
    direct = little_endian and not encapsulated
    return PixelPlace(group << 16 | element, offset, length, direct)


def _encapsulated_length(file: BinaryIO | FileIO, size: int) -> int:
    """Return the bytes of encapsulated frames (PS3.5 A.4), to the end of the file if cut off."""
    start = file.tell()
    while len(header := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", header)
        if group << 16 | element == _SEQUENCE_END:
            return file.tell() - start
        if group << 16 | element != _ITEM:
            break
        file.seek(length, os.SEEK_CUR)
    return size - start


def _check_last_element(dataset: Dataset) -> None:
    """Raise CutOff if the file ended within an element, which pydicom doesn't mind."""
    last = next(reversed(list(dataset.keys())), None)
    raw = None if last is None else dataset.get_item(last)
    if isinstance(raw, RawDataElement) and raw.length != UNDEFINED_LENGTH:
        found = len(raw.value or b"")
        if found < raw.length:
            raise CutOff(int(raw.tag), raw.length, found)


def _uid(item: Item, tag: int) -> str:
    element = item.elements.get(tag)
    data = b"" if element is None or isinstance(element, SequenceElement) else element.value or b""
    return data.decode("latin-1").strip(" \0")


def _starts_like_dataset(head: bytes) -> bool:
    """Return whether bytes may be a dataset without preamble: they start with group 2 or 8."""
    if head[:2] == b"\0\x08":  # big endian is always explicit
        return head[4:6].isalpha() and head[4:6].isupper()
    return len(head) >= 8 and head[:2] in (b"\x02\0", b"\x08\0") and head[3] < 0x40


def _is_composite(dataset: Dataset) -> bool:
    """Return whether a dataset without preamble is a DICOM instance and not just any bytes."""
    return 0x00080016 in dataset and 0x00080018 in dataset


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS
