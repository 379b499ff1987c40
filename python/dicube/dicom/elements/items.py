"""The elements of one dataset, unconverted: what pydicom parsed, as plain dictionaries.

A scanner writes a hundred elements into each of a thousand slices, of which a caller asks for
twenty. So an element stays the bytes it was read as until somebody asks; that is also what makes
comparing slices fast and writing them back exact.

Knows pydicom's Dataset. Must not know series or files.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_sequence
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag

from dicube.dicom.elements.parser import UNDEFINED_LENGTH
from dicube.dicom.elements.values import (
    DEFAULT_ENCODINGS,
    LONG_LENGTH,
    Encodings,
    decode_value,
    encode_value,
    encodings_of,
    plain_values,
)
from dicube.exceptions import MetaDataError

CHARACTER_SET = 0x00080005
_COMPARED = [
    operator.itemgetter(RawDataElement._fields.index(name))
    for name in ("value", "VR", "is_little_endian", "is_implicit_VR")
]
PIXEL_REPRESENTATION = 0x00280103
NUMBER_OF_FRAMES = 0x00280008
# PixelData, FloatPixelData, DoubleFloatPixelData, and the tables that index encapsulated frames:
# the pixels are kept elsewhere.
PIXEL_ELEMENTS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009, 0x7FE00001, 0x7FE00002, 0x7FE00003})


class SequenceElement(NamedTuple):
    """A sequence that is parsed already."""

    items: tuple[Item, ...]


Element: TypeAlias = "RawDataElement | SequenceElement"


@dataclass
class Item:
    """The elements of a dataset or of a sequence item, by tag number.

    Attributes:
        elements: neither group lengths (gggg,0000), which are an artefact of encoding, nor pixels.
        encodings: the codecs its texts are decoded with.
        pixel_representation: 0 unsigned, 1 signed: what 'US or SS' means in implicit encodings.
    """

    elements: dict[int, Element] = field(default_factory=dict)
    encodings: Encodings = DEFAULT_ENCODINGS
    pixel_representation: int = 0


def item_of(dataset: Dataset, parent: Item | None = None) -> Item:
    """Return the elements of a dataset as they stand now; later changes to it don't show.

    Args:
        dataset: read from a file or made by hand.
        parent: the item that holds it, which it inherits its character set from.
    """
    found: dict[int, Element] = {}
    converted: dict[int, DataElement] = {}
    element: Any
    for tag, element in dataset.items():
        if tag in PIXEL_ELEMENTS:
            continue
        if not isinstance(element, RawDataElement):
            converted[int(tag)] = element
        elif element.value is None and element.length:  # pydicom left the value in the file
            converted[int(tag)] = dataset[tag]
        else:
            found[int(tag)] = element
    for number in (CHARACTER_SET, PIXEL_REPRESENTATION):  # which the others depend on
        if number in converted:
            found[number] = _taken_apart(converted.pop(number), Item())
    item = item_of_elements(found, parent)
    if not converted:
        return item
    for number, element in converted.items():
        found[number] = _taken_apart(element, item)
    return item_of_elements(found, parent)


def item_of_elements(found: dict[int, Element], parent: Item | None = None) -> Item:
    """Return the item that elements make, which are whole and unconverted."""
    item = Item()
    if parent is not None:
        item.encodings = parent.encodings
        item.pixel_representation = parent.pixel_representation
    charset = found.get(CHARACTER_SET)
    if isinstance(charset, RawDataElement):
        item.encodings = encodings_of(charset.value or b"")
    signed = found.get(PIXEL_REPRESENTATION)
    if isinstance(signed, RawDataElement):
        item.pixel_representation = int(any(signed.value or b""))
    item.elements = {
        tag: found[tag] for tag in sorted(found) if tag & 0xFFFF and tag not in PIXEL_ELEMENTS
    }
    return item


def value_representation(element: Element, item: Item) -> str:
    """Return the value representation of an element: its own, or the data dictionary's.

    Files in implicit encoding don't say it. What the dictionary leaves open is settled after
    PS3.5 A.1 and the pixel representation. UN stays UN where a file says so, even if a dictionary
    would know better: it is what the file says.
    """
    if isinstance(element, SequenceElement):
        return "SQ"
    vr = element.VR
    if vr is None:
        vr = _dictionary_vr(element.tag, item)
    if len(vr) > 2:  # 'US or SS', 'OB or OW', 'US or OW', 'US or SS or OW'
        if "OW" in vr:
            return "OW"
        return "SS" if item.pixel_representation else "US"
    return str(vr)


def value_in(item: Item, tag: int) -> Any:
    """Return an element's value: one, a list of several, or None if absent, empty or a sequence."""
    element = item.elements.get(tag)
    if element is None or isinstance(element, SequenceElement):
        return None
    vr = value_representation(element, item)
    data, little = element.value or b"", element.is_little_endian
    return plain_values(decode_value(vr, data, little, item.encodings))


def frame_count(item: Item) -> int:
    """Return how many frames a dataset says that it has; 1 if it doesn't say."""
    number = value_in(item, NUMBER_OF_FRAMES)
    return number if isinstance(number, int) and number > 0 else 1


def sequence_items(element: Element, item: Item) -> tuple[Item, ...]:
    """Return the items of a sequence, which is an element of `item`.

    Raises:
        MetaDataError: it is malformed.
    """
    if isinstance(element, SequenceElement):
        return element.items
    data = element.value or b""
    try:
        sequence = read_sequence(
            BytesIO(data),
            element.is_implicit_VR,
            element.is_little_endian,
            UNDEFINED_LENGTH if element.length == UNDEFINED_LENGTH else len(data),
            list(item.encodings),
        )
        return tuple(item_of(nested, item) for nested in sequence)
    except (RecursionError, MetaDataError):
        raise
    except Exception as error:  # whatever malformed bytes provoke in pydicom
        raise MetaDataError(f"tag {element.tag:08X}: malformed sequence: {error}") from None


def all_same(elements: Sequence[Element]) -> bool:
    """Return whether elements are the same, without converting any.

    False may also mean that only converting them would tell.
    """
    first = elements[0]
    if all(isinstance(element, SequenceElement) for element in elements):
        return all(_same_sequence(first, element) for element in elements[1:])
    if any(isinstance(element, SequenceElement) for element in elements):
        return False
    for part in _COMPARED:  # as columns: this is the innermost loop of saving a series
        column = list(map(part, elements))
        if column.count(column[0]) != len(column):
            return False
    return True


def implicit_sequence(items: Sequence[Item]) -> bytes:
    """Return a sequence's value field in implicit VR little endian, lengths explicit."""
    written = b""
    for item in items:
        content = b"".join(
            _implicit_element(tag, element, item) for tag, element in item.elements.items()
        )
        written += struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content
    return written


def _implicit_element(tag: int, element: Element, item: Item) -> bytes:
    vr = value_representation(element, item)
    if isinstance(element, SequenceElement) or vr == "SQ":
        data = implicit_sequence(sequence_items(element, item))
    else:
        value = decode_value(vr, element.value or b"", element.is_little_endian, item.encodings)
        data = encode_value(value, item.encodings)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(data)) + data


def _same_sequence(one: Any, other: Any) -> bool:
    return len(one.items) == len(other.items) and all(map(same_item, one.items, other.items))


def same_item(one: Item, other: Item) -> bool:
    """Return whether items have the same elements; False may mean that only converting tells."""
    return (
        one.encodings == other.encodings
        and one.pixel_representation == other.pixel_representation
        and one.elements.keys() == other.elements.keys()
        and all(all_same((one.elements[tag], other.elements[tag])) for tag in one.elements)
    )


def _dictionary_vr(tag: BaseTag, item: Item) -> str:
    if not tag.is_private:
        try:
            return dictionary_VR(tag)
        except KeyError:
            return "UN"
    if tag.is_private_creator:
        return "LO"
    creator = item.elements.get(tag.group << 16 | tag.element >> 8)
    if isinstance(creator, RawDataElement) and creator.value:
        try:
            return private_dictionary_VR(tag, creator.value.decode("latin-1").strip(" \0"))
        except KeyError:
            pass
    return "UN"


def _taken_apart(element: DataElement, item: Item) -> Element:
    """Return an element that pydicom holds converted, or that was made by hand."""
    if element.VR == "SQ":
        return SequenceElement(tuple(item_of(nested, item) for nested in element.value or ()))
    if element.VR == "UI" and isinstance(element.value, str):  # the quick way for most of them
        data = element.value.encode("latin-1", "replace")
        data += b"\0" * (len(data) % 2)
        return RawDataElement(element.tag, "UI", len(data), data, 0, False, True)
    vr = value_representation(RawDataElement(element.tag, element.VR, 0, b"", 0, False, True), item)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    try:
        plain = element if vr == element.VR else DataElement(element.tag, vr, element.value)
        write_data_element(buffer, plain, list(item.encodings))
    except Exception as error:  # pydicom raises whatever the value provokes
        raise MetaDataError(
            f"value of {element.tag} {element.name} is not valid: {error}"
        ) from error
    written = buffer.getvalue()
    # Beyond 64 KB pydicom writes UN; then the 4-byte length follows as well.
    start = 12 if written[4:6].decode("ascii") in LONG_LENGTH else 8
    data = written[start:]
    return RawDataElement(element.tag, vr, len(data), data, 0, False, True)
