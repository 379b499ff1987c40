"""Reads the elements of one DICOM file or dataset in memory, and the position of its pixels.

The pixels are read later, directly into the volume. Must not know series.
"""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO, TypeVar

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread, read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicube.dicom.elements.items import (
    PIXEL_ELEMENTS,
    Item,
    SequenceElement,
    frame_count,
    item_of,
    item_of_elements,
    same_item,
    value_in,
)
from dicube.dicom.elements.parser import UNDEFINED_LENGTH, CutOff, Unusual, parse_elements
from dicube.dicom.files.sources import DatasetInMemory, File, FileOnDisk, Opened
from dicube.exceptions import CubeFileAccessError, MetaDataError

SMALLEST_HEAD = 1 << 16  # bytes of the first read; most headers are smaller

PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009

_PIXEL_TAGS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
_TRANSFER_SYNTAX, _STORAGE_CLASS = 0x00020010, 0x00020002
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_CHUNK = 1 << 20
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD

Known = TypeVar("Known")


@dataclass(frozen=True)
class PixelPlace:
    """The position of the pixels in a file.

    Attributes:
        tag: PixelData, FloatPixelData or DoubleFloatPixelData.
        offset: offset of the value field in the file.
        length: length of the value field in bytes, including the delimiter of encapsulated pixels.
        direct: whether the value field holds little-endian samples. If not (encapsulated, big
            endian, deflated), pydicom has to read them.
        encapsulated: whether the value field holds coded frames (PS3.5 A.4).
        vr: value representation; '' if the file doesn't give it.
    """

    tag: int
    offset: int
    length: int
    direct: bool
    encapsulated: bool = False
    vr: str = ""


@dataclass
class Instance:
    """One DICOM file, or a dataset in memory.

    Attributes:
        path: path of the file, or another name for a dataset in memory.
        size: size of the file in bytes; of a dataset in memory, the size of its pixels.
        item: the elements, without the pixels.
        file_meta: the elements of group 2.
        transfer_syntax: UID; '' if the file doesn't give it.
        pixels: position of the pixels; None if there are none.
        source: the file or dataset that it was read from.
        around: the bytes before and after the value of the pixels; None if the file is not of the
            usual kind (see `_read_plain`).
        copies: other files that are the same instance with the same content.
    """

    path: str
    size: int
    item: Item
    file_meta: Item
    transfer_syntax: str
    pixels: PixelPlace | None
    source: File | DatasetInMemory
    around: tuple[bytes, bytes] | None = None
    copies: tuple[Instance, ...] = ()
    _values: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def in_memory(self) -> bool:
        """Whether it is a dataset in memory and not a file."""
        return isinstance(self.source, DatasetInMemory)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; fewer than `length` if the file ends early.

        Raises:
            CubeFileAccessError: the operating system refuses to read.
        """
        parts: list[bytes] = []
        try:
            with self.open() as file:
                file.seek(offset)
                while length > 0 and (part := file.read(length)):
                    parts.append(part)
                    length -= len(part)
        except OSError as error:
            raise CubeFileAccessError(f"can't read {self.path}: {error.strerror}") from error
        return b"".join(parts)

    def open(self) -> Opened:
        """Open the file for reading; for a dataset in memory, open the value of its pixels."""
        if isinstance(self.source, DatasetInMemory):
            return BytesIO(_pixel_bytes(self.source.dataset))
        return self.source.open()

    def dataset(self) -> Dataset:
        """Return the whole file as a pydicom Dataset, including the pixels."""
        if isinstance(self.source, DatasetInMemory):
            return self.source.dataset
        with self.source.open_buffered() as file:
            return dcmread(file, force=True)

    def value(self, tag: int) -> Any:
        """Return an element's value, a list if it has several; None if absent or empty."""
        if tag not in self._values:
            self._values[tag] = value_in(self.item, tag)
        return self._values[tag]

    def known(self, make: Callable[[Instance], Known]) -> Known:
        """Return the result of a function of the file; the function is called only once."""
        if make not in self._known:
            self._known[make] = make(self)
        found: Known = self._known[make]
        return found

    def text(self, tag: int) -> str:
        """Return an element's value as text; '' if absent or empty."""
        value = self.value(tag)
        return "" if value is None else str(value)

    def number(self, tag: int, default: int = 0) -> int:
        """Return an element's value as an integer; the default if it isn't a number."""
        value = self.value(tag)
        return int(value) if isinstance(value, (int, float)) else default

    @property
    def frame_count(self) -> int:
        """The number of frames, which is the number of slices; 1 if the file has no pixels.

        Raises:
            MetaDataError: there would be more frames than bits of pixels.
        """
        if self.pixels is None:
            return 1
        count = frame_count(self.item)
        if count > 1 and count > 8 * self.pixels.length:
            raise MetaDataError(
                f"{self.path}: NumberOfFrames is {count}, but there are only {self.pixels.length} "
                "bytes of pixels"
            )
        return count


def instance_of(source: DatasetInMemory) -> Instance:
    """Return the instance of a dataset in memory; later changes to the dataset don't affect it.

    Raises:
        MetaDataError: a value is invalid; names the dataset.
    """
    dataset = source.dataset
    file_meta = getattr(dataset, "file_meta", None)
    try:
        meta = Item() if file_meta is None else item_of(file_meta)
        item = item_of(dataset)
        data = _pixel_bytes(dataset)
    except MetaDataError as error:
        raise MetaDataError(f"{source.name}: {error.message}") from error
    syntax = _uid(meta, _TRANSFER_SYNTAX)
    tag = next((tag for tag in _PIXEL_TAGS if tag in dataset), None)
    pixels = None
    if tag is not None:
        little = syntax != _BIG_ENDIAN and dataset.original_encoding[1] is not False
        encapsulated = is_encapsulated(syntax)
        pixels = PixelPlace(tag, 0, len(data), little and not encapsulated, encapsulated)
    return Instance(source.name, len(data), item, meta, syntax, pixels, source)


def read_instance(source: File | str, head_size: int = SMALLEST_HEAD) -> Instance | None:
    """Read the elements of a DICOM file, before and after its pixels.

    Args:
        source: the file, or its path.
        head_size: guess of the number of bytes before the pixels; a good guess saves time.

    Returns:
        None if the file is not DICOM, or is a DICOMDIR.

    Raises:
        MetaDataError: the file is a damaged DICOM file; names it.
        CubeFileAccessError: the operating system refuses to read it.
    """
    source = FileOnDisk(source) if isinstance(source, str) else source
    path = source.name
    try:
        with source.open() as file:
            head = file.read(head_size) or b""
            if head[128:132] != b"DICM" and not _starts_like_dataset(head):
                return None
            size = source.size(file)
            try:
                return _read_plain(source, file, head, size)
            except Unusual:
                with source.open_buffered() as buffered:
                    return _read_by_pydicom(source, buffered, size)
    except CutOff as cut:
        raise MetaDataError(
            f"{path} is truncated: expected {cut.expected} bytes in element "
            f"({cut.tag >> 16:04X},{cut.tag & 0xFFFF:04X}), found {cut.found}"
        ) from None
    except MetaDataError:
        raise
    except Exception as error:  # pydicom raises all kinds of exceptions for malformed bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
        raise MetaDataError(
            f"{path} is a damaged DICOM file: {type(error).__name__}: {error}"
        ) from error


def same_content(one: Instance, other: Instance) -> bool:
    """Return whether two instances have the same elements and the same pixels, to the byte."""
    if one.pixels is None or other.pixels is None:
        return one.pixels is other.pixels and same_item(one.item, other.item)
    return (
        one.transfer_syntax == other.transfer_syntax
        and one.pixels.length == other.pixels.length
        and same_item(one.item, other.item)
        and all(map(operator.eq, _pixel_chunks(one), _pixel_chunks(other)))
    )


def _pixel_chunks(instance: Instance) -> Iterator[bytes]:
    assert instance.pixels is not None
    if instance.transfer_syntax == _DEFLATED:
        yield _pixel_bytes(instance.dataset())
        return
    with instance.open() as file:
        file.seek(instance.pixels.offset)
        left = instance.pixels.length
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk


def _read_plain(source: File, file: Opened, head: bytes, size: int) -> Instance | None:
    """Read a file of the usual kind: preamble, file meta, little-endian elements.

    Raises:
        Unusual: the file is of another kind.
        CutOff: the file ends within an element.
    """
    if head[128:132] != b"DICM" or head[132:138] != b"\x02\0\0\0UL":
        raise Unusual("no preamble, or no file meta group length")
    if len(head) < 144:
        raise CutOff(0x00020000, 4, len(head) - 140)
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    if start > len(head):
        head += file.read() or b""
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
        head += file.read() or b""
        found, stop = parse_elements(head, start, len(head), implicit, _PIXEL_TAGS)
    pixels = around = None
    if stop < len(head):
        file.seek(stop)
        pixels = _pixel_place(file, implicit, True, size)
        after, rest = pixels.offset + pixels.length, b""
        if after < size:
            file.seek(after)
            rest = file.read() or b""
            found.update(parse_elements(rest, 0, len(rest), implicit).elements)
        around = head[: pixels.offset], rest
    item = item_of_elements({**found})
    return Instance(source.name, size, item, file_meta, syntax, pixels, source, around)


def item_around(before: bytes, after: bytes) -> Item:
    """Return the elements of a file of the usual kind from the bytes around its pixels.

    Args:
        before: the bytes before the value of the pixels.
        after: the bytes after it.

    Raises:
        Unusual: the file is of another kind.
        CutOff: the bytes end within an element.
    """
    if len(before) < 144 or before[128:132] != b"DICM":
        raise Unusual("no preamble, or no file meta group length")
    start = 144 + struct.unpack_from("<L", before, 140)[0]
    syntax = _uid(_file_meta(before, start), _TRANSFER_SYNTAX)
    if syntax in ("", _DEFLATED, _BIG_ENDIAN):
        raise Unusual(f"transfer syntax {syntax!r}")
    implicit = syntax == _IMPLICIT
    found = parse_elements(before, start, len(before), implicit, _PIXEL_TAGS).elements
    found.update(parse_elements(after, 0, len(after), implicit).elements)
    return item_of_elements({**found})


def _file_meta(head: bytes, start: int) -> Item:
    """Return the elements of group 2, which must end at `start`, where the dataset starts.

    Raises:
        Unusual: group 2 ends elsewhere or is cut off.
    """
    try:
        found, stop = parse_elements(head, 132, min(start, len(head)), implicit=False)
    except CutOff:
        raise Unusual("the file meta group length is wrong") from None
    if (
        stop != start
        or head[start : start + 2] == b"\x02\0"
        or any(tag >> 16 != 2 for tag in found)
    ):
        raise Unusual("the file meta group length is wrong")
    return item_of_elements({**found})


def _read_by_pydicom(source: File, file: BinaryIO, size: int) -> Instance | None:
    """Read a file of any kind that pydicom can read."""
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
        file.seek(0)
        dataset = dcmread(file)
        tag = next((tag for tag in _PIXEL_TAGS if tag in dataset), None)
        length = 0 if tag is None else len(dataset[tag].value or b"")
        pixels = None if tag is None else PixelPlace(tag, 0, length, False, vr=str(dataset[tag].VR))
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
    return Instance(source.name, size, item_of(dataset), file_meta, syntax, pixels, source)


def _pixel_place(file: Opened, implicit: bool, little_endian: bool, size: int) -> PixelPlace:
    """Return the position of the pixels; `file` must be positioned before their element."""
    order = "<" if little_endian else ">"
    start = file.read(8) or b""
    if len(start) < 8:
        raise CutOff
    group, element = struct.unpack(order + "HH", start[:4])
    field = start[4:] if implicit else file.read(4) or b""
    if len(field) < 4:
        raise CutOff
    (length,) = struct.unpack(order + "L", field)
    offset = file.tell()
    encapsulated = length == UNDEFINED_LENGTH
    if encapsulated:
        length = _encapsulated_length(file, size)
    direct = little_endian and not encapsulated
    vr = "" if implicit else start[4:6].decode("latin-1")
    return PixelPlace(group << 16 | element, offset, length, direct, encapsulated, vr)


def _encapsulated_length(file: Opened, size: int) -> int:
    """Return the length of encapsulated frames (PS3.5 A.4); if cut off, to the end of the file."""
    start = file.tell()
    while len(header := file.read(8) or b"") == 8:
        group, element, length = struct.unpack("<HHL", header)
        if group << 16 | element == _SEQUENCE_END:
            return file.tell() - start
        if group << 16 | element != _ITEM:
            break
        file.seek(length, os.SEEK_CUR)
    return size - start


def _check_last_element(dataset: Dataset) -> None:
    """Raise CutOff if the file ended within an element, which pydicom doesn't report."""
    last = next(reversed(list(dataset.keys())), None)
    raw = None if last is None else dataset.get_item(last)
    if isinstance(raw, RawDataElement) and raw.length != UNDEFINED_LENGTH:
        found = len(raw.value or b"")
        if found < raw.length:
            raise CutOff(int(raw.tag), raw.length, found)


def _pixel_bytes(dataset: Dataset) -> bytes:
    """Return the value of a dataset's pixel element; b'' if there is none."""
    value = next((dataset[tag].value for tag in _PIXEL_TAGS if tag in dataset), b"")
    return bytes(value.read() if hasattr(value, "read") else value or b"")


def is_encapsulated(transfer_syntax: str) -> bool:
    """Return whether pixels in a transfer syntax are coded frames (PS3.5 A.4)."""
    uid = UID(transfer_syntax)
    if uid.is_transfer_syntax:
        return uid.is_encapsulated
    return uid.startswith("1.2.840.10008.1.2.4.")  # of a standard newer than pydicom's


def _uid(item: Item, tag: int) -> str:
    element = item.elements.get(tag)
    data = b"" if element is None or isinstance(element, SequenceElement) else element.value or b""
    return data.decode("latin-1").strip(" \0")


def _starts_like_dataset(head: bytes) -> bool:
    """Return whether bytes may be a dataset without preamble, which starts with group 2 or 8."""
    if head[:2] == b"\0\x08":  # big endian is always explicit
        return head[4:6].isalpha() and head[4:6].isupper()
    return len(head) >= 8 and head[:2] in (b"\x02\0", b"\x08\0") and head[3] < 0x40


def _is_composite(dataset: Dataset) -> bool:
    """Return whether a dataset without preamble is a DICOM instance and not arbitrary bytes."""
    return 0x00080016 in dataset and 0x00080018 in dataset


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS
