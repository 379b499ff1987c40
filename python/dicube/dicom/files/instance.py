"""Reads the elements of one DICOM file or dataset in memory, and the position of its pixels.

The pixels are read later, directly into the volume. Must not know series.
"""

from __future__ import annotations

import math
import operator
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple, TypeVar

from pydicom.config import IGNORE
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicube.dicom.dicom_tags import tag_name, uid_name
from dicube.dicom.elements.counting import SMALLEST_COUNTED, check_count
from dicube.dicom.elements.items import (
    PIXEL_DATA,
    Element,
    Item,
    SequenceElement,
    check_character_set,
    frame_count,
    item_of,
    item_of_elements,
    same_item,
    value_in,
)
from dicube.dicom.elements.parser import (
    UNDEFINED_LENGTH,
    CutOff,
    ParsedElements,
    Unusual,
    parse_elements,
    value_length,
)
from dicube.dicom.files.archives import most_unpacked
from dicube.dicom.files.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    Encoding,
    conflict,
    encoding_of,
    inflated,
    is_encapsulated,
    is_standard,
    starts_like_dataset,
    syntax_of_pixels,
)
from dicube.dicom.files.pixel_place import PixelPlace, find_pixels, walk_encapsulated
from dicube.dicom.files.sources import DatasetInMemory, File, FileOnDisk, Opened
from dicube.exceptions import (
    CubeFileAccessError,
    DicomCubeError,
    MetaDataError,
    OutOfMemoryError,
    without_quotes,
)

SMALLEST_HEAD = 1 << 16  # bytes of the first read; most headers are smaller
_LARGEST_HEAD = 1 << 25  # beyond this, elements are not read into memory without need

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00008, 0x7FE00009

_PIXEL_TAGS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
_TRANSFER_SYNTAX, _STORAGE_CLASS = 0x00020010, 0x00020002
_INSTANCE_UID = 0x00080018
_BEHIND_INSTANCE_UID = range(_INSTANCE_UID + 1, 1 << 32)
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_CHUNK = 1 << 20
# Two values of these elements would be two images: those that describe pixels, or say what the file
# is. Programs disagree about which of two counts: DCMTK and GDCM take the first, pydicom the last.
_DECISIVE_GROUPS = frozenset({0x0028, 0x5200, 0x7FE0})
_DECISIVE = frozenset(
    {0x00020010, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00200032, 0x00200037}
)
_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED = 0x00280010, 0x00280011, 0x00280002, 0x00280100
_PHOTOMETRIC = 0x00280004
_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}

_NOT_CODED = "the file meta state the transfer syntax {}, but the pixels are not encapsulated"

Known = TypeVar("Known")


@dataclass
class Instance:
    """One DICOM file, or a dataset in memory.

    Attributes:
        path: path of the file, or another name for a dataset in memory.
        size: size of the file in bytes; of a dataset in memory, the size of its pixels.
        item: the elements, without the pixels.
        file_meta: the elements of group 2.
        transfer_syntax: UID of the pixels' transfer syntax; '' if the file doesn't give it.
        pixels: position of the pixels; None if there are none.
        source: the file or dataset that it was read from.
        around: the bytes before and after the value of the pixels; None if the file is not of the
            usual kind (see `_read_plain`).
        copies: other files that are the same instance with the same content.
        remarks: faults of the file that its reader has coped with, one sentence each.
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
    remarks: tuple[str, ...] = ()
    _values: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR."""
        return _uid(self.file_meta, _STORAGE_CLASS) == _DIRECTORY

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
            opened = _open_dataset(file, self.source)
            dataset = read_dataset(opened.stream, *opened.encoding)
        dataset.file_meta = opened.file_meta
        if self.transfer_syntax:
            dataset.file_meta.TransferSyntaxUID = UID(self.transfer_syntax, IGNORE)
        return dataset

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
        """Return an element's value as an integer; the default if it isn't a finite number."""
        value = self.value(tag)
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else default

    @property
    def stated_frames(self) -> int:
        """NumberOfFrames; 1 if it is absent or invalid.

        Raises:
            MetaDataError: there would be more frames than the pixels have bits, or items of coded
                frames.
        """
        count = frame_count(self.item)
        # A frame takes a bit or more; a coded one is an item, which has a tag and a length.
        most = 0 if self.pixels is None else 8 * self.pixels.length
        if self.pixels is not None and self.pixels.encapsulated:
            most = self.pixels.length // 8
        if self.pixels is not None and count > max(1, most):
            raise MetaDataError(
                f"{self.path}: NumberOfFrames is {count}, but there are only {self.pixels.length} "
                "bytes of pixels"
            )
        return count

    @property
    def frame_count(self) -> int:
        """The number of frames, which is the number of slices; 1 if the file has no pixels.

        Whole frames beyond NumberOfFrames count as well.

        Raises:
            MetaDataError: see `stated_frames`.
        """
        return 1 if self.pixels is None else self.known(_frame_count)

    @property
    def pixel_bytes(self) -> int:
        """The number of bytes of pixels that the file has; its length field may claim more."""
        place = self.pixels
        if place is None:
            return 0
        # Deflated pixels have no offset, and the file is smaller than they are.
        return min(place.length, self.size - place.offset) if place.offset else place.length

    @property
    def least_pixel_bytes(self) -> int:
        """The number of bytes that uncompressed frames take without padding; 0 for coded ones."""
        return (self.known(_bits_per_frame) * self.frame_count + 7) // 8

    @property
    def bytes_beyond_frames(self) -> int:
        """The number of bytes after uncompressed frames and their padding to an even length."""
        bits = self.known(_bits_per_frame)
        return max(0, self.pixel_bytes - _even_bytes(bits * self.frame_count)) if bits else 0


def _frame_count(instance: Instance) -> int:
    assert instance.pixels is not None
    stated, length = instance.stated_frames, instance.pixel_bytes
    if instance.pixels.encapsulated:
        return max(stated, instance.pixels.images)
    bits = instance.known(_bits_per_frame)
    expected = _even_bytes(bits * stated)
    if not bits or 8 * (length - expected) < bits:
        return stated
    if instance.text(_PHOTOMETRIC).endswith("_422") and 2 * length >= 3 * expected:
        return stated  # samples that aren't subsampled after all, which pydicom refuses
    return 8 * length // bits


def _bits_per_frame(instance: Instance) -> int:
    """Return the size of an uncompressed frame in bits; 0 if it isn't known."""
    if instance.pixels is None or instance.pixels.encapsulated:
        return 0
    bits = _BITS.get(instance.pixels.tag) or instance.number(_ALLOCATED)
    for tag in (_ROWS, _COLUMNS, _SAMPLES):
        bits *= instance.number(tag, 1)
    return max(0, bits * 2 // 3 if instance.text(_PHOTOMETRIC).endswith("_422") else bits)


def _even_bytes(bits: int) -> int:
    return (bits + 15) // 16 * 2


def instance_of(source: DatasetInMemory) -> Instance:
    """Return the instance of a dataset in memory; later changes to the dataset don't affect it.

    Raises:
        MetaDataError: a value is invalid, or there are several pixel elements; names the dataset.
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
    tags = [tag for tag in sorted(_PIXEL_TAGS) if tag in dataset]
    pixels = None
    if tags:
        _expect_one(source.name, tags)
        little = syntax != BIG_ENDIAN and dataset.original_encoding[1] is not False
        encapsulated = is_encapsulated(syntax)
        images = walk_encapsulated(BytesIO(data), len(data))[1] if encapsulated else 0
        direct = little and not encapsulated and is_standard(syntax)
        pixels = PixelPlace(tags[0], 0, len(data), direct, encapsulated, images=images)
    return Instance(source.name, len(data), item, meta, syntax, pixels, source)


def read_instance(source: File | str, head_size: int = SMALLEST_HEAD) -> Instance | None:
    """Read the elements of a DICOM file, before and after its pixels.

    Args:
        source: the file, or its path.
        head_size: guess of the number of bytes before the pixels; a good guess saves time.

    Returns:
        None if the file is not DICOM.

    Raises:
        MetaDataError: the file is a damaged DICOM file; names it.
        DataConsistencyError: it is damaged in its archive, or inflates to far more than its size.
        CubeFileAccessError: the operating system refuses to read it.
        OutOfMemoryError: its elements need more memory than there is.
    """
    source = FileOnDisk(source) if isinstance(source, str) else source
    path = source.name
    try:
        with source.open() as file:
            head = file.read(head_size) or b""
            if head[128:132] != b"DICM" and not starts_like_dataset(head):
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
    except DicomCubeError as error:
        error.name_source(path)
        raise
    except RecursionError:
        raise MetaDataError(f"{path}: sequences are nested too deeply") from None
    except MemoryError as error:
        raise OutOfMemoryError(f"{path} needs more memory than there is") from error
    except Exception as error:  # pydicom raises all kinds of exceptions for malformed bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
        raise MetaDataError(
            f"{path} is a damaged DICOM file: {type(error).__name__}: {without_quotes(error)}"
        ) from None


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
    if instance.transfer_syntax == DEFLATED:
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
        MetaDataError: elements are repeated with different values.
    """
    if head[128:132] != b"DICM" or head[132:138] != b"\x02\0\0\0UL":
        raise Unusual("no preamble, or no file meta group length")
    if len(head) < 144:
        raise CutOff(0x00020000, 4, len(head) - 140)
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    if start > len(head):
        head += file.read() or b""
    file_meta = _file_meta(head, start)
    stated = _uid(file_meta, _TRANSFER_SYNTAX)
    if _uid(file_meta, _STORAGE_CLASS) == _DIRECTORY:  # its records may be many
        return Instance(source.name, size, Item(), file_meta, stated, None, source)
    encoding = _plain_encoding(head, start, stated)
    implicit = encoding.implicit
    syntax = syntax_of_pixels(stated, encoding.syntax)
    remarks = [conflict(stated, encoding.syntax)]
    while True:
        _check_count(source, head, start, encoding)
        try:
            found = parse_elements(head, start, len(head), implicit, _PIXEL_TAGS)
            if found.stop + 12 > len(head) < size:
                raise CutOff
            break
        except CutOff:
            if len(head) == size:
                raise
            if len(head) > _LARGEST_HEAD:
                large = _item_without_pixels(source, start, encoding, size)
                if large is not None:
                    return Instance(
                        source.name,
                        size,
                        large,
                        file_meta,
                        syntax,
                        None,
                        source,
                        remarks=tuple(filter(None, remarks)),
                    )
            # Most of a large file is pixels, unless its elements are large.
            more = file.read(size if len(head) > _LARGEST_HEAD else len(head))
            if not more:
                raise
            head += more
    pixels = around = None
    elements, repeated = found.elements, found.repeated
    if found.stop < len(head):
        file.seek(found.stop)
        pixels = find_pixels(file, encoding, size, syntax)
        if is_encapsulated(syntax) and pixels.direct:
            remarks.append(_NOT_CODED.format(uid_name(syntax)))
            syntax = encoding.syntax
        after, rest = pixels.offset + pixels.length, b""
        if after < size:
            file.seek(after)
            rest = file.read() or b""
            _check_count(source, rest, 0, encoding)
            behind = parse_elements(rest, 0, len(rest), implicit)
            repeated = repeated + behind.repeated + _in_both(elements, behind)
            _expect_one(source.name, [pixels.tag, *_PIXEL_TAGS.intersection(behind.elements)])
            elements = {**elements, **behind.elements}
        around = head[: pixels.offset], rest
    remarks += _remarks_on(source.name, repeated)
    item = item_of_elements({**elements})
    return Instance(
        source.name,
        size,
        item,
        file_meta,
        syntax,
        pixels,
        source,
        around,
        remarks=tuple(filter(None, remarks)),
    )


def _item_without_pixels(source: File, start: int, encoding: Encoding, size: int) -> Item | None:
    """Return the elements of a file except for large ones; None if it has pixels."""
    with source.open_buffered() as file:
        file.seek(start)
        dataset = read_dataset(file, *encoding, stop_when=_at_pixels, defer_size=SMALLEST_HEAD)
        if file.tell() < size:
            return None
        if file.tell() > size:
            raise CutOff
    for tag, raw in list(dataset.items()):
        if isinstance(raw, RawDataElement) and raw.value is None and raw.length:
            del dataset[tag]
    return item_of(dataset)


def without_large_values(item: Item) -> Item:
    """Return the elements of an item without values that are too large for metadata."""
    return item_of_elements(
        {tag: element for tag, element in item.elements.items() if not is_large(element)}
    )


def is_large(element: Element) -> bool:
    """Return whether an element is too large for metadata; a parsed sequence never is."""
    return not isinstance(element, SequenceElement) and len(element.value or b"") > SMALLEST_HEAD


def item_around(before: bytes, after: bytes) -> Item:
    """Return the elements of a file of the usual kind from the bytes around its pixels.

    Args:
        before: the bytes before the value of the pixels.
        after: the bytes after it.

    Raises:
        Unusual: the file is of another kind.
        CutOff: the bytes end within an element.
    """
    start, implicit = _usual_dataset(before)
    check_count(before, start, implicit, True, len(before) + len(after))
    check_count(after, 0, implicit, True, len(before) + len(after))
    found = parse_elements(before, start, len(before), implicit, _PIXEL_TAGS).elements
    found.update(parse_elements(after, 0, len(after), implicit).elements)
    return item_of_elements({**found})


def length_around(before: bytes, after: bytes, tag: int) -> int | None:
    """Return the length of an element's value in a file of the usual kind; None if it lacks it.

    Args and Raises: as for `item_around`.
    """
    if tag > max(_PIXEL_TAGS):
        start, (data, implicit) = 0, (after, _usual_dataset(before)[1])
    else:
        data, (start, implicit) = before, _usual_dataset(before)
    return value_length(data, start, len(data), implicit, tag)


def instance_uid_in(head: bytes) -> str:
    """Return the SOPInstanceUID in the first bytes of a file of the usual kind; '' if it has none.

    Nothing behind the element is parsed.

    Raises:
        Unusual, CutOff: as for `item_around`.
    """
    start, implicit = _usual_dataset(head)
    found = parse_elements(head, start, len(head), implicit, _BEHIND_INSTANCE_UID).elements
    return _uid(item_of_elements({**found}), _INSTANCE_UID)


def _usual_dataset(head: bytes) -> tuple[int, bool]:
    """Return where the dataset of a file of the usual kind starts, and whether VRs are implicit.

    Raises:
        Unusual: the file is of another kind.
    """
    if len(head) < 144 or head[128:132] != b"DICM":
        raise Unusual("no preamble, or no file meta group length")
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    stated = _uid(_file_meta(head, start), _TRANSFER_SYNTAX)
    return start, _plain_encoding(head, start, stated).implicit


def _plain_encoding(head: bytes, start: int, stated: str) -> Encoding:
    """Return the encoding of a dataset that starts at `start`, unless it is unusual.

    Raises:
        Unusual: it is deflated or big endian, or may be.
    """
    encoding = encoding_of(head[start : start + 8], stated)
    if stated in ("", DEFLATED) or not encoding.little_endian:
        raise Unusual(f"transfer syntax {uid_name(stated)}")
    if start < len(head) and not starts_like_dataset(head[start : start + 8]):
        raise Unusual("the dataset may be deflated")
    return encoding


def _check_count(source: File, data: bytes, start: int, encoding: Encoding) -> None:
    if len(data) - start > SMALLEST_COUNTED:
        implicit, little_endian = encoding.implicit, encoding.little_endian
        check_count(data, start, implicit, little_endian, source.packed_size)


def _in_both(before: dict[int, RawDataElement], behind: ParsedElements) -> list[tuple[int, ...]]:
    """Return the paths of elements that stand before and behind the pixels and differ."""
    both = before.keys() & behind.elements.keys()
    return [(tag,) for tag in sorted(both) if before[tag].value != behind.elements[tag].value]


def _remarks_on(path: str, repeated: list[tuple[int, ...]]) -> list[str]:
    """Return sentences about elements that are repeated with different values.

    Raises:
        MetaDataError: an element decides what the image is.
    """
    remarks = []
    for tags in dict.fromkeys(repeated):
        name = " in ".join(tag_name(f"{tag:08X}") for tag in reversed(tags))
        fault = f"{name} is there twice, with different values"
        if tags[0] >> 16 in _DECISIVE_GROUPS or tags[0] in _DECISIVE:
            raise MetaDataError(f"{path}: {fault}, so programs disagree about the image")
        remarks.append(f"{fault}; the last one is used, but other programs use the first")
    return remarks


def _expect_one(path: str, pixel_tags: list[int]) -> None:
    """Raise unless there is only one pixel element."""
    if len(pixel_tags) > 1:
        names = " and ".join(tag_name(f"{tag:08X}") for tag in pixel_tags)
        raise MetaDataError(f"{path}: expected one pixel element, found {names}")


def _file_meta(head: bytes, start: int) -> Item:
    """Return the elements of group 2, which must end at `start`, where the dataset starts.

    Raises:
        Unusual: group 2 ends elsewhere or is cut off.
    """
    try:
        found, stop, repeated = parse_elements(head, 132, min(start, len(head)), implicit=False)
    except CutOff:
        raise Unusual("the file meta group length is wrong") from None
    if (
        stop != start
        or repeated
        or head[start : start + 2] == b"\x02\0"
        or any(tag >> 16 != 2 for tag in found)
    ):
        raise Unusual("the file meta group length is wrong, or an element is repeated")
    return item_of_elements({**found})


def _read_by_pydicom(source: File, file: BinaryIO, size: int) -> Instance | None:
    """Read a file of any kind that pydicom can read."""
    opened = _open_dataset(file, source)
    stream, encoding, syntax, remarks = opened[3:]
    file_meta = item_of(opened.file_meta)
    end = len(stream.getbuffer()) if isinstance(stream, BytesIO) else size
    # On disk, where each element takes 8 bytes or more, at most twice the limit is possible, and
    # counting would read the pixels.
    is_packed = stream is not file or not isinstance(source, FileOnDisk)
    start = stream.tell()
    if is_packed and end - start > SMALLEST_COUNTED:
        _check_count(source, stream.read(), 0, encoding)
        stream.seek(start)
    dataset, repeated = _read_elements(stream, encoding, lambda tag: tag in _PIXEL_TAGS)
    if not opened.has_preamble and not _is_composite(dataset):
        return None
    _check_last_element(dataset)
    pixels: PixelPlace | None = None
    if stream.tell() < end:
        pixels = find_pixels(stream, encoding, end, syntax)
        if is_encapsulated(syntax) and pixels.direct:
            remarks.append(_NOT_CODED.format(uid_name(syntax)))
            syntax = encoding.syntax
        stream.seek(pixels.offset + pixels.length)
        rest = BytesIO(stream.read())
        after, repeated_after = _read_elements(rest, encoding, lambda tag: False)
        _expect_one(source.name, [pixels.tag, *_PIXEL_TAGS.intersection(after.keys())])
        repeated += repeated_after + [
            (int(tag),)
            for tag, element in after.items()
            if tag in dataset and dataset.get_item(tag).value != element.value
        ]
        dataset.update(after)
        if isinstance(stream, BytesIO):
            pixels = replace(pixels, offset=0, direct=False)
    dataset.update(opened.command)
    remarks += _remarks_on(source.name, repeated)
    return Instance(
        source.name,
        size,
        item_of(dataset),
        file_meta,
        syntax,
        pixels,
        source,
        remarks=tuple(filter(None, remarks)),
    )


class _OpenedDataset(NamedTuple):
    """A file of any kind that pydicom can read, read up to its dataset.

    Attributes:
        has_preamble: whether the file starts as DICOM files should.
        file_meta: the elements of group 2.
        command: the elements of group 0, which belong in messages and not in files.
        stream: has the dataset at its current position; not the file if that is deflated.
        encoding: of the dataset.
        syntax: the transfer syntax of the pixels; '' if the file doesn't give it.
        remarks: faults found so far; '' for none.
    """

    has_preamble: bool
    file_meta: FileMetaDataset
    command: Dataset
    stream: BinaryIO
    encoding: Encoding
    syntax: str
    remarks: list[str]


def _open_dataset(file: BinaryIO, source: File) -> _OpenedDataset:
    has_preamble = file.read(132)[128:] == b"DICM"
    if not has_preamble:
        file.seek(0)
    meta, repeated = _read_elements(file, Encoding(False, True), lambda tag: tag >> 16 != 2)
    remarks = _remarks_on(source.name, repeated)
    command, _ = _read_elements(file, Encoding(True, True), lambda tag: tag >> 16 != 0)
    stated = str(meta.get("TransferSyntaxUID", ""))
    place, stream = file.tell(), file
    start = file.read(8)
    if stated == DEFLATED or (start and not starts_like_dataset(start)):
        data = inflated(start + file.read(), most_unpacked(source.packed_size))
        if data is not None:
            place, stream, start = 0, BytesIO(data), data[:8]
        elif stated == DEFLATED and not starts_like_dataset(start):
            raise MetaDataError(f"{source.name} is damaged: its dataset can't be inflated")
    stream.seek(place)
    encoding = encoding_of(start, EXPLICIT if stated == DEFLATED else stated)
    found = encoding.syntax if stream is file else DEFLATED
    remarks.append(conflict(stated, found))
    syntax = syntax_of_pixels(stated, found)
    return _OpenedDataset(
        has_preamble, FileMetaDataset(meta), command, stream, encoding, syntax, remarks
    )


def _read_elements(
    stream: BinaryIO, encoding: Encoding, stop_before: Callable[[int], bool]
) -> tuple[Dataset, list[tuple[int, ...]]]:
    """Read elements by pydicom; return them, and the paths of those repeated with other values."""
    start = stream.tell()
    counts: Counter[int] = Counter()

    def stop(tag: BaseTag, _vr: str | None, length: int) -> bool:
        counts[tag] += 1
        if stop_before(tag):  # its header may have another encoding
            return True
        check_character_set(tag, length)
        return False

    dataset = read_dataset(stream, *encoding, stop_when=stop)
    several = [tag for tag, count in counts.items() if count > 1]
    if not several:
        return dataset, []
    stream.seek(start)  # pydicom keeps only the last one
    values: dict[int, list[Any]] = {}
    with suppress(EOFError):
        for element in data_element_generator(stream, *encoding, stop):
            if element.tag in several:
                values.setdefault(element.tag, []).append(element.value)
    return dataset, [(tag,) for tag, found in values.items() if any(v != found[0] for v in found)]


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


def _uid(item: Item, tag: int) -> str:
    element = item.elements.get(tag)
    data = b"" if element is None or isinstance(element, SequenceElement) else element.value or b""
    return data.decode("latin-1").strip(" \0")


def _is_composite(dataset: Dataset) -> bool:
    """Return whether a dataset without preamble is a DICOM instance and not arbitrary bytes."""
    return 0x00080016 in dataset and 0x00080018 in dataset


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    check_character_set(tag, length)
    return tag in _PIXEL_TAGS
