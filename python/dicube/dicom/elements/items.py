"""Holds the elements of a dataset unconverted, as plain dictionaries of bytes.

A scanner writes a hundred elements into each of a thousand slices, and a caller reads twenty of
them. So an element is converted only when it is read. Until then it keeps its bytes, which also
makes comparing slices fast and writing them back exact.

Knows pydicom's Dataset. Must not know series or files.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dicube.dicom.elements.parser import (
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    is_encapsulated_value,
    is_implicit_sequence,
)
from dicube.dicom.elements.values import (
    DEFAULT_ENCODINGS,
    LONG_LENGTH,
    LONGEST_CHARACTER_SET,
    MOST_CHARACTER_SETS,
    ElementValue,
    Encodings,
    decode_value,
    encode_value,
    encodings_of,
    plain_values,
)
from dicube.exceptions import MetaDataError

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

CHARACTER_SET = 0x00080005
# Of a RawDataElement: value, VR, is_little_endian, is_implicit_VR.
_COMPARED = [operator.itemgetter(place) for place in (3, 1, 6, 5)]
PIXEL_REPRESENTATION = 0x00280103
NUMBER_OF_FRAMES = 0x00280008
PIXEL_DATA = 0x7FE00010
# PixelData, FloatPixelData, DoubleFloatPixelData, and the tables of encapsulated frames. Those of a
# dataset are stored apart from the metadata; those of a sequence item, such as an icon, with them.
PIXEL_ELEMENTS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009, 0x7FE00001, 0x7FE00002, 0x7FE00003})
# Elements of group 2 that metadata omit, because the encoding (None here) or this element of the
# dataset determines them.
DERIVED_FILE_META: Mapping[int, int | None] = {
    0x00020000: None,
    0x00020001: None,
    0x00020002: 0x00080016,
    0x00020003: 0x00080018,
}


class SequenceElement(NamedTuple):
    """A sequence that has been parsed."""

    items: tuple[Item, ...]


Element: TypeAlias = "RawDataElement | SequenceElement"


@dataclass
class Item:
    """The elements of a dataset or of a sequence item.

    Attributes:
        elements: elements by tag number, without the pixels of a dataset and without group lengths
            (gggg,0000), which are an artefact of the encoding. Coded frames in a sequence item end
            with their delimiter.
        encodings: codecs that its texts are decoded with.
        pixel_representation: 0 (unsigned) or 1 (signed); in implicit encodings it decides between
            US and SS.
    """

    elements: dict[int, Element] = field(default_factory=dict)
    encodings: Encodings = DEFAULT_ENCODINGS
    pixel_representation: int = 0


def item_of(dataset: Dataset, parent: Item | None = None) -> Item:
    """Return a snapshot of the elements of a dataset; later changes to the dataset don't affect it.

    Args:
        dataset: a dataset read from a file or created by a caller.
        parent: the item that contains it and whose character set it inherits; None for a dataset
            that is no sequence item.
    """
    from pydicom.dataelem import RawDataElement

    found: dict[int, Element] = {}
    converted: dict[int, DataElement] = {}
    element: Any
    for tag, element in dataset.items():
        if parent is None and tag in PIXEL_ELEMENTS:
            continue
        if not isinstance(element, RawDataElement):
            converted[int(tag)] = element
        elif element.value is None and element.length:  # pydicom defers reading the value
            converted[int(tag)] = dataset[tag]
        elif tag == PIXEL_DATA and element.length == UNDEFINED_LENGTH:
            found[int(tag)] = element._replace(value=(element.value or b"") + SEQUENCE_DELIMITER)
        else:
            found[int(tag)] = element
    for number in (CHARACTER_SET, PIXEL_REPRESENTATION):  # the others depend on these
        if number in converted:
            found[number] = _unconverted(converted.pop(number), Item())
    item = item_of_elements(found, parent)
    if not converted:
        return item
    for number, element in converted.items():
        found[number] = _unconverted(element, item)
    return item_of_elements(found, parent)


def item_of_elements(found: dict[int, Element], parent: Item | None = None) -> Item:
    """Return the item with these elements, which must be complete and unconverted.

    Args:
        found: the elements by tag number.
        parent: see `item_of`; None for a dataset.

    Raises:
        MetaDataError: SpecificCharacterSet is too long.
    """
    item = Item()
    if parent is not None:
        item.encodings = parent.encodings
        item.pixel_representation = parent.pixel_representation
    charset = found.get(CHARACTER_SET)
    if charset is not None and not isinstance(charset, SequenceElement):
        check_character_set(charset.tag, len(charset.value or b""))
        item.encodings = encodings_of(charset.value or b"")
    signed = found.get(PIXEL_REPRESENTATION)
    if signed is not None and not isinstance(signed, SequenceElement):
        item.pixel_representation = int(any(signed.value or b""))
    apart = PIXEL_ELEMENTS if parent is None else ()
    item.elements = {tag: found[tag] for tag in sorted(found) if tag & 0xFFFF and tag not in apart}
    return item


def check_character_set(tag: int, length: int) -> None:
    """Check the length of an element's value if it is the SpecificCharacterSet.

    pydicom looks up each of its values, and warns of each that it doesn't know.

    Raises:
        MetaDataError: it is too long.
    """
    if tag == CHARACTER_SET and length > LONGEST_CHARACTER_SET:
        raise MetaDataError(
            f"expected SpecificCharacterSet with at most {LONGEST_CHARACTER_SET} bytes "
            f"({MOST_CHARACTER_SETS} values), found {length} bytes"
        )


def value_representation(element: Element, item: Item) -> str:
    """Return the VR of an element: the one in the file, or the data dictionary's.

    Files in implicit encoding have no VRs. If the dictionary allows several, PS3.5 A.1 and the
    pixel representation decide. UN means that a sender did not know the VR, so it is looked up too
    (PS3.5 6.2.2); it stays UN if the value isn't the sequence that the dictionary says.
    """
    if isinstance(element, SequenceElement):
        return "SQ"
    vr = element.VR
    if vr is None:
        vr = _dictionary_vr(element.tag, item)
    elif vr == "UN":
        unlimited = element.length == UNDEFINED_LENGTH
        vr = "SQ" if unlimited else _dictionary_vr(element.tag, item)
        if vr == "SQ" and not unlimited and not is_implicit_sequence(element.value or b""):
            vr = "UN"
    if len(vr) > 2:  # 'US or SS', 'OB or OW', 'US or OW', 'US or SS or OW'
        if "OW" in vr:
            return "OW"
        return "SS" if item.pixel_representation else "US"
    return str(vr)


def value_in(item: Item, tag: int) -> Any:
    """Return an element's value, a list if it has several; None if absent, empty or a sequence."""
    element = item.elements.get(tag)
    if element is None or isinstance(element, SequenceElement):
        return None
    vr, data = value_representation(element, item), element.value or b""
    if len(data) > _CACHED:
        return plain_values(decoded(element, vr, item))
    value = _short_value(vr, data, is_little(element), item.encodings)
    return list(value) if isinstance(value, list) else value


_CACHED = 64  # bytes


@lru_cache(maxsize=1 << 10)  # the slices of a series have mostly the same values
def _short_value(vr: str, data: bytes, little_endian: bool, encodings: Encodings) -> Any:
    return plain_values(decode_value(vr, data, little_endian, encodings))


def decoded(element: RawDataElement, vr: str, item: Item) -> ElementValue:
    """Return the value of an element of this VR, which must not be SQ.

    Raises:
        MetaDataError: it has too many values.
    """
    try:
        return decode_value(vr, element.value or b"", is_little(element), item.encodings)
    except MetaDataError as error:
        raise MetaDataError(f"{element.tag}: {error.message}") from None


def is_little(element: RawDataElement) -> bool:
    """Return whether a value is little endian.

    One sent as UN is in any transfer syntax, because whoever swaps bytes has to know the VR
    (PS3.5 6.2.2 note 2).
    """
    return bool(element.is_little_endian) or element.VR == "UN"


def frame_count(item: Item) -> int:
    """Return NumberOfFrames of a dataset, or 1 if it is absent or invalid."""
    number = value_in(item, NUMBER_OF_FRAMES)
    return number if isinstance(number, int) and number > 0 else 1


def sequence_items(element: Element, item: Item) -> tuple[Item, ...]:
    """Return the items of a sequence that is an element of `item`.

    Raises:
        MetaDataError: the sequence is malformed.
    """
    if isinstance(element, SequenceElement):
        return element.items
    from pydicom.filereader import read_sequence

    data, unknown = element.value or b"", element.VR == "UN"  # implicit and little endian then
    try:
        sequence = read_sequence(
            BytesIO(data),
            element.is_implicit_VR or unknown,
            element.is_little_endian or unknown,
            UNDEFINED_LENGTH if element.length == UNDEFINED_LENGTH else len(data),
            list(item.encodings),
        )
        return tuple(item_of(nested, item) for nested in sequence)
    except (RecursionError, MetaDataError):
        raise
    except Exception as error:  # pydicom raises all kinds of exceptions for malformed bytes
        raise MetaDataError(
            f"tag {element.tag:08X}: malformed sequence ({type(error).__name__})"
        ) from None


def all_same(elements: Sequence[Element]) -> bool:
    """Return whether elements are known to be equal without converting them.

    If False, they may still be equal; only converting them shows it.
    """
    first = elements[0]
    if all(isinstance(element, SequenceElement) for element in elements):
        return all(_same_sequence(first, element) for element in elements[1:])
    if any(isinstance(element, SequenceElement) for element in elements):
        return False
    for part in _COMPARED:  # by columns, for speed: this is the innermost loop of saving a series
        column = list(map(part, elements))
        if column.count(column[0]) != len(column):
            return False
    return True


def implicit_sequence(items: Sequence[Item]) -> bytes:
    """Return a sequence's value field in implicit VR little endian, with defined lengths."""
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
        data = encode_value(decoded(element, vr, item), item.encodings)
    is_coded = tag == PIXEL_DATA and is_encapsulated_value(data)
    length = UNDEFINED_LENGTH if is_coded else len(data)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length) + data


def _same_sequence(one: Any, other: Any) -> bool:
    return len(one.items) == len(other.items) and all(map(same_item, one.items, other.items))


def same_item(one: Item, other: Item) -> bool:
    """Return whether items are known to be equal without converting them; see `all_same`."""
    return (
        one.encodings == other.encodings
        and one.pixel_representation == other.pixel_representation
        and one.elements.keys() == other.elements.keys()
        and all(all_same((one.elements[tag], other.elements[tag])) for tag in one.elements)
    )


def _dictionary_vr(tag: BaseTag, item: Item) -> str:
    if not tag.is_private:
        from pydicom.datadict import dictionary_VR

        try:
            return dictionary_VR(tag)
        except KeyError:
            return "UN"
    if tag.is_private_creator:
        return "LO"
    creator = item.elements.get(tag.group << 16 | tag.element >> 8)
    if creator is not None and not isinstance(creator, SequenceElement) and creator.value:
        from pydicom.datadict import private_dictionary_VR

        try:
            return private_dictionary_VR(tag, creator.value.decode("latin-1").strip(" \0"))
        except KeyError:
            pass
    return "UN"


def _unconverted(element: DataElement, item: Item) -> Element:
    """Return the bytes of an element that pydicom has converted or a caller has created."""
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    if element.VR == "SQ":
        return SequenceElement(tuple(item_of(nested, item) for nested in element.value or ()))
    if element.VR == "UI" and isinstance(element.value, str):  # a short cut, as most are UIDs
        data = element.value.encode("latin-1", "replace")
        data += b"\0" * (len(data) % 2)
        return RawDataElement(element.tag, "UI", len(data), data, 0, False, True)
    if element.VR == "UN":  # pydicom leaves the bytes as they are
        data = bytes(element.value or b"")
        data += b"\0" * (len(data) % 2)
        return RawDataElement(element.tag, "UN", len(data), data, 0, False, True)
    vr = value_representation(RawDataElement(element.tag, element.VR, 0, b"", 0, False, True), item)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    try:
        plain = element if vr == element.VR else DataElement(element.tag, vr, element.value)
        write_data_element(buffer, plain, list(item.encodings))
    except Exception as error:  # pydicom raises all kinds of exceptions for invalid values
        raise MetaDataError(
            f"{element.tag} {element.keyword}: invalid value ({type(error).__name__})"
        ) from None
    written = buffer.getvalue()
    # pydicom writes values beyond 64 KB as UN, which has a 4-byte length too.
    start = 12 if written[4:6].decode("ascii") in LONG_LENGTH else 8
    data = written[start:]
    return RawDataElement(element.tag, vr, len(data), data, 0, False, True)
