"""Compares two DICOM files: element by element at any depth, sample by sample.

It judges the files that dicube restores, so it reads both with pydicom and not with dicube's own
parser. Must not know dicube files or series.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import UID

from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.elements.items import (
    Element,
    Item,
    SequenceElement,
    item_of,
    sequence_items,
    value_representation,
)
from dicube.dicom.elements.values import decode_value, encode_value
from dicube.dicom.files.encoding import is_encapsulated
from dicube.dicom.files.instance import read_instance
from dicube.dicom.files.volume import read_volume
from dicube.exceptions import CubeFileAccessError, DicomCubeError, MetaDataError

Path_ = str | os.PathLike[str]

# Elements of group 2 that describe the file (length, version, transfer syntax, writer), and those
# that repeat, or in a few files contradict, the dataset.
_OF_THE_FILE = frozenset(
    {0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013}
)
_INTERPRETATION = 0x00280004
_PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_LONGEST_SHOWN = 60  # characters of a value in a message


def instance_differences(original: Path_, restored: Path_, limit: int = 20) -> list[str]:
    """Return the differences between two DICOM files, one line for each.

    Compares the elements (tag, VR, bytes of the value, order; sequences item by item), the elements
    of the file meta that describe the instance, and the samples bit by bit. Ignores group lengths
    and the encoding: transfer syntax, byte order, defined or undefined lengths, padding. Colours
    that were subsampled or transformed by a codec are compared after decoding, and so is
    PhotometricInterpretation.

    Args:
        original: path of the original file.
        restored: path of the restored file.
        limit: maximum number of lines.

    Raises:
        MetaDataError: a file can't be read as DICOM; names it.
        CubeFileAccessError: the operating system refuses to read a file.
    """
    one, two = _read(original), _read(restored)
    return list(islice(_differences(original, one, restored, two), limit))


def first_different_byte(original: Path_, restored: Path_) -> int | None:
    """Return the offset of the first byte in which two files differ; None if they are equal."""
    offset = 0
    try:
        with open(original, "rb") as one, open(restored, "rb") as two:
            while True:
                a, b = one.read(1 << 20), two.read(1 << 20)
                if a != b:
                    shorter = min(len(a), len(b))
                    pairs = np.frombuffer(a[:shorter], np.uint8) != np.frombuffer(
                        b[:shorter], np.uint8
                    )
                    return offset + (int(np.argmax(pairs)) if pairs.any() else shorter)
                if not a:
                    return None
                offset += len(a)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {error.filename}: {error.strerror}") from error


def _read(path: Path_) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(path, force=True)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {os.fspath(path)}: {error}") from error
    except Exception as error:  # pydicom raises all kinds of exceptions for malformed bytes
        raise MetaDataError(f"{os.fspath(path)} is a damaged DICOM file: {error}") from error


def _differences(original: Path_, one: Dataset, restored: Path_, two: Dataset) -> Iterator[str]:
    meta, other_meta = item_of(one.file_meta), item_of(two.file_meta)
    for item in (meta, other_meta):
        item.elements = {t: e for t, e in item.elements.items() if t not in _OF_THE_FILE}
    if meta.elements:  # if the original has none, the restored file has those that DICOM requires
        yield from _item_differences(meta, other_meta, "")
    item, other = item_of(one), item_of(two)
    transformed = _colours_as_decoded(original, one, two)
    if transformed:
        del item.elements[_INTERPRETATION], other.elements[_INTERPRETATION]
    yield from _item_differences(item, other, "")
    order, other_order = _order(one), _order(two)
    if order != other_order and sorted(order) == sorted(other_order):
        place = next(i for i, tag in enumerate(order) if tag != other_order[i])
        before, after = _name(order[place]), _name(other_order[place])
        yield f"order of elements: at position {place} {before} became {after}"
    yield from _pixel_differences(original, one, restored, two, transformed)


def _colours_as_decoded(original: Path_, one: Dataset, two: Dataset) -> bool:
    """Return whether the restored file's colours differ, but are those of the decoded original."""
    before, now = (dataset.get("PhotometricInterpretation") for dataset in (one, two))
    if before is None or now is None or before == now:
        return False
    try:
        return _decoded(original)[1] == {now}
    except DicomCubeError:
        return False


def _order(dataset: Dataset) -> list[int]:
    return [int(tag) for tag in dataset.keys() if int(tag) & 0xFFFF]  # noqa: SIM118


def _name(tag: int) -> str:
    return tag_name(f"{tag:08X}")


def _item_differences(one: Item, two: Item, within: str) -> Iterator[str]:
    """Compare the elements of two datasets or sequence items; `within` names the item."""
    for tag in sorted({*one.elements, *two.elements}):
        name = within + _name(tag)
        mine, other = one.elements.get(tag), two.elements.get(tag)
        if mine is None or other is None:
            yield f"{name}: {'missing' if other is None else 'added'}"
            continue
        vr, other_vr = value_representation(mine, one), value_representation(other, two)
        if vr != other_vr:
            yield f"{name}: value representation {vr} became {other_vr}"
        elif vr == "SQ":
            yield from _sequence_differences(
                sequence_items(mine, one), sequence_items(other, two), name
            )
        else:
            value, other_value = _value_field(mine, vr, one), _value_field(other, vr, two)
            if value != other_value:
                yield f"{name}: {_shown(value)} became {_shown(other_value)}"


def _sequence_differences(
    items: tuple[Item, ...], others: tuple[Item, ...], name: str
) -> Iterator[str]:
    if len(items) != len(others):
        yield f"{name}: {len(items)} items became {len(others)}"
    for index, (item, other) in enumerate(zip(items, others, strict=False)):
        yield from _item_differences(item, other, f"{name}[{index}] ")


def _value_field(element: Element, vr: str, item: Item) -> bytes:
    """Return an element's value field in little endian, padded to even length."""
    assert not isinstance(element, SequenceElement)
    data = element.value or b""
    if not element.is_little_endian or len(data) % 2:
        data = encode_value(
            decode_value(vr, data, element.is_little_endian, item.encodings), item.encodings
        )
    return data


def _shown(data: bytes) -> str:
    text = repr(data)[1:]
    if len(text) <= _LONGEST_SHOWN:
        return text
    return f"{text[:_LONGEST_SHOWN]}… ({len(data)} bytes)"


def _pixel_differences(
    original: Path_, one: Dataset, restored: Path_, two: Dataset, as_decoded: bool
) -> Iterator[str]:
    tags = [sorted(tag for tag in _PIXEL_TAGS if tag in dataset) for dataset in (one, two)]
    if tags[0] != tags[1]:
        yield f"pixels in {_names(tags[0])} became pixels in {_names(tags[1])}"
        return
    syntaxes = _syntax(one), _syntax(two)
    encapsulated = any(is_encapsulated(syntax) for syntax in syntaxes)
    for tag in tags[0]:
        if not encapsulated and not any(syntax.is_implicit_VR for syntax in syntaxes):
            vrs = one[tag].VR, two[tag].VR
            if vrs[0] != vrs[1]:
                yield f"{_name(tag)}: value representation {vrs[0]} became {vrs[1]}"
        if syntaxes[0] == syntaxes[1] and one[tag].value == two[tag].value:
            continue
        try:
            if encapsulated or as_decoded:
                samples, others = _decoded(original)[0], _decoded(restored)[0]
            else:
                samples, others = _stored(one, tag), _stored(two, tag)
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


def _syntax(dataset: Dataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))


def _decoded(path: Path_) -> tuple[NDArray[Any], set[str]]:
    """Return the bits of a file's samples as dicube decodes them.

    And the photometric interpretations after decoding that differ from the file's.

    Raises:
        DicomCubeError: the samples can't be decoded.
    """
    instance = read_instance(os.fspath(path))
    if instance is None:
        raise MetaDataError(f"{os.fspath(path)} is not a DICOM file")
    volume, interpretations = read_volume([instance], [range(instance.frame_count)], 1)
    return volume.view(f"u{volume.dtype.itemsize}"), interpretations


def _stored(dataset: Dataset, tag: int) -> NDArray[Any]:
    """Return the bits of uncompressed samples, in the order of the file."""
    allocated = _number(dataset, "BitsAllocated", 8)
    data = dataset[tag].value or b""
    unit = max(allocated, 8) // 8
    if not _syntax(dataset).is_little_endian:
        word = 1 if dataset[tag].VR == "OB" else max(unit, 2)  # PS3.5 7.3
        whole = len(data) // word * word
        data = np.frombuffer(data[:whole], f"u{word}").byteswap().tobytes() + data[whole:]
    samples = np.frombuffer(data[: len(data) // unit * unit], f"<u{unit}")
    count = 1
    for keyword in ("Rows", "Columns", "SamplesPerPixel"):
        count *= _number(dataset, keyword, 1)
    if str(dataset.get("PhotometricInterpretation", "")).endswith("_422"):
        count = count // 3 * 2
    # NumberOfFrames may be less than there is.
    count *= max(_number(dataset, "NumberOfFrames", 1), len(data) * 8 // (count * allocated or 1))
    if allocated != 1:
        return samples[:count]
    samples = samples[: -(-count // 8)].copy()
    if count % 8:
        samples[-1:] &= (1 << count % 8) - 1
    return samples


def _number(dataset: Dataset, keyword: str, default: int) -> int:
    """Return an element's value as an integer; the default if it isn't one."""
    value = dataset.get(keyword)
    try:
        return int(value) if value else default
    except (TypeError, ValueError):
        return default
