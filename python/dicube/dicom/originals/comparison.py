"""Compares two DICOM files: element by element at any depth, sample by sample.

It judges the files that dicube restores, so it reads their elements without the parser that wrote
them. Values are not quoted, except numbers, because reports must not hold private data. Must not
know dicube files or series.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR

from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.elements.values import BINARY_UNIT
from dicube.dicom.files.encoding import is_encapsulated
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.nested_pixels import decode_item
from dicube.dicom.files.sources import File, FileOnDisk
from dicube.dicom.files.volume import read_volume
from dicube.dicom.originals.plain_reader import PlainElement, PlainFile, read_plainly
from dicube.exceptions import CubeFileAccessError, DicomCubeError, MetaDataError

Source: TypeAlias = "str | os.PathLike[str] | File"

# Elements of group 2 that describe the file (length, version, transfer syntax, writer), and those
# that repeat, or in a few files contradict, the dataset.
_OF_THE_FILE = frozenset(
    {0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013}
)
_INTERPRETATION, _PLANAR = 0x00280004, 0x00280006
_PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = (_PIXEL_DATA, 0x7FE00008, 0x7FE00009)
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_NUMBER_OF_FRAMES, _SAMPLES, _ROWS, _COLUMNS = 0x00280008, 0x00280002, 0x00280010, 0x00280011
_ALLOCATED = 0x00280100
# Bytes that swapping the byte order reverses (PS3.5 7.3); those of AT are two numbers.
_UNITS = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_CHUNK = 1 << 20
_LONGEST_SHOWN = 60  # characters of a value in a message

Elements: TypeAlias = "Sequence[PlainElement]"


def instance_differences(
    original: Source, restored: Source, limit: int = 20, *, show_values: bool = False
) -> list[str]:
    """Return the differences between two DICOM files, one line for each.

    Compares the elements (tag, VR, bytes of the value, order; sequences item by item), the elements
    of the file meta that describe the instance, and the samples bit by bit. Ignores group lengths
    and the encoding: transfer syntax, byte order, defined or undefined lengths, padding. Colours
    that were subsampled or transformed by a codec are compared after decoding, and so is
    PhotometricInterpretation.

    Args:
        original: the original file, or its path.
        restored: the restored file, or its path.
        limit: maximum number of lines.
        show_values: show the values that differ, which may identify a patient, not only sizes.

    Raises:
        MetaDataError: a file can't be read as DICOM; names it.
        CubeFileAccessError: the operating system refuses to read a file.
    """
    before, after = _file(original), _file(restored)
    one, two = _read(before), _read(after)
    try:
        return list(islice(_differences(before, one, after, two, show_values), limit))
    except RecursionError:
        raise MetaDataError(f"{before.name}: sequences are nested too deeply") from None


def first_different_byte(original: Source, restored: Source) -> int | None:
    """Return the offset of the first byte in which two files differ; None if they are equal.

    Raises:
        CubeFileAccessError: the operating system refuses to read a file.
        DataConsistencyError: a file is damaged in its archive.
    """
    try:
        with _file(original).open_buffered() as one, _file(restored).open_buffered() as two:
            return first_difference(one, two)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {error.filename}: {error.strerror}") from error


def first_difference(one: BinaryIO, two: BinaryIO) -> int | None:
    """Return the offset at which two open files begin to differ; None if the rest is equal."""
    offset = 0
    while True:
        a, b = one.read(_CHUNK), two.read(_CHUNK)
        if a != b:
            shorter = min(len(a), len(b))
            pairs = np.frombuffer(a[:shorter], np.uint8) != np.frombuffer(b[:shorter], np.uint8)
            return offset + (int(np.argmax(pairs)) if pairs.any() else shorter)
        if not a:
            return None
        offset += len(a)


def _file(source: Source) -> File:
    return FileOnDisk(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else source


def _read(file: File) -> PlainFile:
    try:
        with file.open_buffered() as opened:
            return read_plainly(opened.read())
    except OSError as error:
        raise CubeFileAccessError(f"can't read {file.name}: {error}") from error
    except MetaDataError as error:
        message = f"{file.name} is a damaged DICOM file: {error.message}"
        raise MetaDataError(message) from error


def _differences(
    original: File, one: PlainFile, restored: File, two: PlainFile, show_values: bool
) -> Iterator[str]:
    if any(e.tag not in _OF_THE_FILE for e in one.file_meta):
        # Else the restored file has the elements that DICOM requires.
        yield from _item_differences(one.file_meta, two.file_meta, "", show_values, _OF_THE_FILE)
    transformed = _colours_as_decoded(original, one, two)
    apart = {*_PIXEL_TAGS, *_OFFSET_TABLES, *([_INTERPRETATION] if transformed else [])}
    if _frames_as_counted(original, one, two):
        apart.add(_NUMBER_OF_FRAMES)
    yield from _item_differences(one.elements, two.elements, "", show_values, apart, one.syntax)
    order, other_order = _order(one), _order(two)
    if order != other_order and sorted(order) == sorted(other_order):
        place = next(i for i, tag in enumerate(order) if tag != other_order[i])
        before, after = _name(order[place]), _name(other_order[place])
        yield f"order of elements: at position {place} {before} became {after}"
    yield from _pixel_differences(original, one, restored, two, transformed)


def _colours_as_decoded(original: File, one: PlainFile, two: PlainFile) -> bool:
    """Return whether the restored file's colours differ, but are those of the decoded original."""
    before, now = (_text(file.elements, _INTERPRETATION) for file in (one, two))
    if not before or not now or before == now:
        return False
    try:
        return _decoded(original)[1] == {now}
    except DicomCubeError:
        return False


def _frames_as_counted(original: File, one: PlainFile, two: PlainFile) -> bool:
    """Return whether the original states too few frames, and the restored file all it has."""
    before, now = (_number(file.elements, _NUMBER_OF_FRAMES, 1) for file in (one, two))
    instance = read_instance(original) if before < now else None
    return instance is not None and instance.frame_count == now


def _order(file: PlainFile) -> list[int]:
    return [e.tag for e in file.elements if e.tag & 0xFFFF and e.tag not in _OFFSET_TABLES]


def _name(tag: int) -> str:
    return tag_name(f"{tag:08X}")


def _item_differences(
    one: Elements,
    two: Elements,
    within: str,
    show_values: bool,
    apart: Collection[int] = (),
    syntax: str = "",
) -> Iterator[str]:
    """Compare the elements of two datasets or sequence items.

    Args:
        one: the original's elements.
        two: the restored file's.
        within: names the item.
        show_values: as for `instance_differences`.
        apart: tags that are not compared.
        syntax: transfer syntax of the original.
    """
    mine, others = _by_tag(one), _by_tag(two)
    for tag in sorted({*mine, *others} - {*apart}):
        name = within + _name(tag)
        before, after = mine.get(tag, []), others.get(tag, [])
        if not before or not after:
            yield f"{name}: {'added' if after else 'missing'}"
        elif len(before) != len(after):
            yield f"{name}: {len(before)} elements became {len(after)}"
        else:
            for element, other in zip(before, after, strict=True):
                yield from _element_differences(element, other, name, show_values, syntax)


def _by_tag(elements: Elements) -> dict[int, list[PlainElement]]:
    """Return elements by tag, without group lengths."""
    found: dict[int, list[PlainElement]] = {}
    for element in elements:
        if element.tag & 0xFFFF:
            found.setdefault(element.tag, []).append(element)
    return found


def _element_differences(
    one: PlainElement, two: PlainElement, name: str, show_values: bool, syntax: str
) -> Iterator[str]:
    if one.is_sequence or two.is_sequence:
        try:
            items, others = one.items(), two.items()
        except MetaDataError:
            yield f"{name}: value representation {one.vr or 'UN'} became {two.vr or 'UN'}"
            return
        if len(items) != len(others):
            yield f"{name}: {len(items)} items became {len(others)}"
        for index, (item, other) in enumerate(zip(items, others, strict=False)):
            within = f"{name}[{index}] "
            apart, problems = _as_decoded(item, other, within, syntax)
            yield from problems
            yield from _item_differences(item, other, within, show_values, apart, syntax)
        return
    allowed = _vrs_of(one)
    if two.vr and allowed and two.vr not in allowed:
        yield f"{name}: value representation {allowed[0]} became {two.vr}"
        return
    value, other_value = _little_endian(one), _little_endian(two)
    if len(value) % 2 and other_value[len(value) :] in (b" ", b"\0"):
        other_value = other_value[:-1]
    if value != other_value or one.is_coded != two.is_coded:
        shown = _shown if show_values else _size_of
        yield f"{name}: {shown(one, value)} became {shown(two, other_value)}"


def _vrs_of(element: PlainElement) -> list[str]:
    """Return the VRs that an element may have when it is restored; none for any.

    Its own; if that is UN or omitted, the data dictionary's.
    """
    if element.vr not in ("", "UN"):
        return [element.vr]
    try:
        known = dictionary_VR(element.tag).split(" or ")
    except KeyError:  # private
        return []
    return [element.vr, *known] if element.vr else known


def _as_decoded(
    item: Elements, other: Elements, within: str, syntax: str
) -> tuple[set[int], list[str]]:
    """Compare coded pixels of an item with decoded ones of the restored item.

    Returns:
        The tags of which that leaves nothing to compare; and the differences.
    """
    coded = any(element.is_coded for element in item)
    native = next((e for e in other if e.tag == _PIXEL_DATA and not e.is_coded), None)
    if not coded or native is None:
        return set(), []
    image = [e for e in item if e.tag >> 16 in (0x0028, 0x7FE0) and not e.is_sequence]
    try:
        samples, interpretation = decode_item(b"".join(map(_explicit, image)), syntax, within)
    except DicomCubeError:
        return set(), []
    apart = {_PIXEL_DATA, *_OFFSET_TABLES, *([_PLANAR] if samples.ndim == 4 else [])}
    if interpretation and interpretation == _text(other, _INTERPRETATION):
        apart.add(_INTERPRETATION)
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    same = native.value in (data, data + b"\0")
    return apart, [] if same else [f"{within}{_name(_PIXEL_DATA)}: other samples"]


def _explicit(element: PlainElement) -> bytes:
    """Return an element in explicit VR little endian."""
    vr = (_vrs_of(element) or ["UN"])[0].encode("ascii")
    start = struct.pack("<HH2s", element.tag >> 16, element.tag & 0xFFFF, vr)
    value = _little_endian(element)
    if element.is_coded:
        end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        return start + struct.pack("<HL", 0, 0xFFFFFFFF) + value + end
    if vr in (b"OB", b"OW", b"OV", b"UN"):
        return start + struct.pack("<HL", 0, len(value)) + value
    return start + struct.pack("<H", len(value)) + value


def _little_endian(element: PlainElement) -> bytes:
    """Return an element's value field in little endian."""
    unit = _UNITS.get(element.vr, 1)
    if element.order == "<" or unit == 1 or len(element.value) % unit:
        return element.value
    return np.frombuffer(element.value, f"u{unit}").byteswap().tobytes()


def _size_of(_element: PlainElement, value: bytes) -> str:
    return f"a value of {len(value)} bytes"


def _shown(element: PlainElement, value: bytes) -> str:
    """Return a number or text; the size of binary."""
    vr = (_vrs_of(element) or ["UN"])[0]
    if vr not in BINARY_UNIT and vr not in _NUMBERS:
        text = repr(value)[1:]
    elif vr in _NUMBERS and value:
        code = _NUMBERS[vr]
        count = len(value) // struct.calcsize("<" + code)
        text = ", ".join(map(str, struct.unpack_from(f"<{count}{code}", value)))
    else:
        return _size_of(element, value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… ({len(value)} bytes)"


def _pixel_differences(
    original: File, one: PlainFile, restored: File, two: PlainFile, as_decoded: bool
) -> Iterator[str]:
    befores, afters = (
        sorted(e for e in file.elements if e.tag in _PIXEL_TAGS) for file in (one, two)
    )
    tags = [[element.tag for element in elements] for elements in (befores, afters)]
    if tags[0] != tags[1]:
        yield f"pixels in {_names(tags[0])} became pixels in {_names(tags[1])}"
        return
    for before, after in zip(befores, afters, strict=True):
        tag = before.tag
        encapsulated = _has_frames(before, one) or _has_frames(after, two)
        if not encapsulated and before.vr and after.vr and before.vr != after.vr:
            yield f"{_name(tag)}: value representation {before.vr} became {after.vr}"
        if one.syntax == two.syntax and before == after:
            continue
        try:
            if encapsulated or as_decoded:
                samples, others = _decoded(original)[0], _decoded(restored)[0]
            else:
                samples, others = _stored(one, before), _stored(two, after)
        except DicomCubeError as error:
            yield f"{_name(tag)}: can't be compared: {error.message}"
            continue
        if (samples.shape, samples.dtype) != (others.shape, others.dtype):
            yield (
                f"{_name(tag)}: {samples.shape} {samples.dtype.name} became {others.shape} "
                f"{others.dtype.name}"
            )
            continue
        wrong = np.flatnonzero(samples.reshape(-1) != others.reshape(-1))
        if len(wrong):
            at = tuple(int(i) for i in np.unravel_index(wrong[0], samples.shape))
            yield (
                f"{_name(tag)}: {len(wrong)} of {samples.size} samples, the first at "
                f"{', '.join(map(str, at))}: bits {samples[at]:#x} became {others[at]:#x}"
            )


def _names(tags: list[int]) -> str:
    return ", ".join(map(_name, tags)) or "no element"


def _has_frames(element: PlainElement, file: PlainFile) -> bool:
    """Return whether an element has coded frames, which some writers give a defined length."""
    return element.is_coded or (
        is_encapsulated(file.syntax) and element.value.startswith(b"\xfe\xff\x00\xe0")
    )


def _decoded(file: File) -> tuple[NDArray[Any], set[str]]:
    """Return the bits of a file's samples as dicube decodes them.

    And the photometric interpretations after decoding that differ from the file's.

    Raises:
        DicomCubeError: the samples can't be decoded.
    """
    instance = read_instance(file)
    if instance is None:
        raise MetaDataError(f"{file.name} is not a DICOM file")
    volume, interpretations = read_volume([instance], [range(instance.frame_count)], 1)
    return volume.view(f"u{volume.dtype.itemsize}"), interpretations


def _stored(file: PlainFile, pixels: PlainElement) -> NDArray[Any]:
    """Return the bits of uncompressed samples, in the order of the file."""
    allocated = _number(file.elements, _ALLOCATED, 8)
    data = pixels.value
    unit = max(allocated, 8) // 8
    if pixels.order == ">":
        word = 1 if pixels.vr == "OB" else max(unit, 2)  # PS3.5 7.3
        whole = len(data) // word * word
        data = np.frombuffer(data[:whole], f"u{word}").byteswap().tobytes() + data[whole:]
    samples = np.frombuffer(data[: len(data) // unit * unit], f"<u{unit}")
    count = 1
    for tag in (_ROWS, _COLUMNS, _SAMPLES):
        count *= _number(file.elements, tag, 1)
    if _text(file.elements, _INTERPRETATION).endswith("_422"):
        count = count // 3 * 2
    # NumberOfFrames may be less than there is.
    frames = _number(file.elements, _NUMBER_OF_FRAMES, 1)
    count *= max(frames, len(data) * 8 // (count * allocated or 1))
    if allocated != 1:
        return samples[:count]
    samples = samples[: -(-count // 8)].copy()
    if count % 8:
        samples[-1:] &= (1 << count % 8) - 1
    return samples


def _text(elements: Elements, tag: int) -> str:
    """Return an element's value as text; '' if it is absent."""
    found = [element.value for element in elements if element.tag == tag]
    return found[-1].decode("latin-1").strip(" \0") if found else ""


def _number(elements: Elements, tag: int, default: int) -> int:
    """Return an element's value as an integer; the default if it isn't one."""
    found = [element for element in elements if element.tag == tag]
    if not found or not found[-1].value:
        return default
    try:
        if tag == _NUMBER_OF_FRAMES:
            return int(_text(elements, tag)) or default
        return int(struct.unpack_from("<H", _little_endian(found[-1]))[0]) or default
    except (struct.error, ValueError):
        return default
