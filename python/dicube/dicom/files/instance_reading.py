"""Reads the elements of one DICOM file or dataset in memory, and the position of its pixels.

Files of the usual kind are parsed here, all others by pydicom. Must not know series.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dicube.dicom.dicom_tags import tag_name, uid_name
from dicube.dicom.elements.counting import SMALLEST_COUNTED, check_count
from dicube.dicom.elements.items import (
    Element,
    Item,
    SequenceElement,
    check_character_set,
    item_of,
    item_of_elements,
)
from dicube.dicom.elements.parser import (
    CutOff,
    ParsedElements,
    Unusual,
    parse_elements,
    value_length,
)
from dicube.dicom.files.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    Encoding,
    conflict,
    encoding_of,
    is_encapsulated,
    is_standard,
    starts_like_dataset,
    syntax_of_pixels,
)
from dicube.dicom.files.instance import (
    DIRECTORY,
    PIXEL_TAGS,
    STORAGE_CLASS,
    Instance,
    pixel_bytes,
    uid_in,
)
from dicube.dicom.files.opened_dataset import (
    check_last_element,
    open_dataset,
    read_elements,
    remarks_on,
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

_TRANSFER_SYNTAX = 0x00020010
_INSTANCE_UID = 0x00080018
_BEHIND_INSTANCE_UID = range(_INSTANCE_UID + 1, 1 << 32)

_NOT_CODED = "the file meta state the transfer syntax {}, but the pixels are not encapsulated"


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
        data = pixel_bytes(dataset)
    except MetaDataError as error:
        raise MetaDataError(f"{source.name}: {error.message}") from error
    syntax = uid_in(meta, _TRANSFER_SYNTAX)
    tags = [tag for tag in sorted(PIXEL_TAGS) if tag in dataset]
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
    stated = uid_in(file_meta, _TRANSFER_SYNTAX)
    if uid_in(file_meta, STORAGE_CLASS) == DIRECTORY:  # its records may be many
        return Instance(source.name, size, Item(), file_meta, stated, None, source)
    encoding = _plain_encoding(head, start, stated)
    implicit = encoding.implicit
    syntax = syntax_of_pixels(stated, encoding.syntax)
    remarks = [conflict(stated, encoding.syntax)]
    while True:
        _check_count(source, head, start, encoding)
        try:
            found = parse_elements(head, start, len(head), implicit, PIXEL_TAGS)
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
            _expect_one(source.name, [pixels.tag, *PIXEL_TAGS.intersection(behind.elements)])
            elements = {**elements, **behind.elements}
        around = head[: pixels.offset], rest
    remarks += remarks_on(source.name, repeated)
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
    found = parse_elements(before, start, len(before), implicit, PIXEL_TAGS).elements
    found.update(parse_elements(after, 0, len(after), implicit).elements)
    return item_of_elements({**found})


def length_around(before: bytes, after: bytes, tag: int) -> int | None:
    """Return the length of an element's value in a file of the usual kind; None if it lacks it.

    Args and Raises: as for `item_around`.
    """
    if tag > max(PIXEL_TAGS):
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
    return uid_in(item_of_elements({**found}), _INSTANCE_UID)


def _usual_dataset(head: bytes) -> tuple[int, bool]:
    """Return where the dataset of a file of the usual kind starts, and whether VRs are implicit.

    Raises:
        Unusual: the file is of another kind.
    """
    if len(head) < 144 or head[128:132] != b"DICM":
        raise Unusual("no preamble, or no file meta group length")
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    stated = uid_in(_file_meta(head, start), _TRANSFER_SYNTAX)
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
    opened = open_dataset(file, source)
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
    dataset, repeated = read_elements(stream, encoding, lambda tag: tag in PIXEL_TAGS)
    if not opened.has_preamble and not _is_composite(dataset):
        return None
    check_last_element(dataset)
    pixels: PixelPlace | None = None
    if stream.tell() < end:
        pixels = find_pixels(stream, encoding, end, syntax)
        if is_encapsulated(syntax) and pixels.direct:
            remarks.append(_NOT_CODED.format(uid_name(syntax)))
            syntax = encoding.syntax
        stream.seek(pixels.offset + pixels.length)
        rest = BytesIO(stream.read())
        after, repeated_after = read_elements(rest, encoding, lambda tag: False)
        _expect_one(source.name, [pixels.tag, *PIXEL_TAGS.intersection(after.keys())])
        repeated += repeated_after + [
            (int(tag),)
            for tag, element in after.items()
            if tag in dataset and dataset.get_item(tag).value != element.value
        ]
        dataset.update(after)
        if isinstance(stream, BytesIO):
            pixels = replace(pixels, offset=0, direct=False)
    dataset.update(opened.command)
    remarks += remarks_on(source.name, repeated)
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


def _is_composite(dataset: Dataset) -> bool:
    """Return whether a dataset without preamble is a DICOM instance and not arbitrary bytes."""
    return 0x00080016 in dataset and 0x00080018 in dataset


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    check_character_set(tag, length)
    return tag in PIXEL_TAGS
