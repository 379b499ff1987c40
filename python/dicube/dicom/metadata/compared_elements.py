"""Compares the merged metadata of a series with the elements of the files that it was read from.

Elements are compared by value: what the metadata state, with the bytes in the files. Must not know
pixels, dicube files, or what a tag means beyond those whose values a reader changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement

from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.elements.items import (
    DERIVED_FILE_META,
    PIXEL_ELEMENTS,
    Element,
    Item,
    SequenceElement,
    decoded,
    implicit_sequence,
    is_little,
    item_of_elements,
    sequence_items,
    value_representation,
)
from dicube.dicom.elements.parser import CutOff, Unusual, parse_items
from dicube.dicom.elements.values import Encodings, decode_value, encode_value
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.instance_reading import is_large
from dicube.dicom.merge_utils import (
    Entry,
    JsonElement,
    element_of,
    element_value,
    is_uniform,
    slice_entry,
)
from dicube.dicom.merged_elements import MergedElements
from dicube.exceptions import MetaDataError
from dicube.strict_json import dump_json

_KEYS = ("vr", "Value", "InlineBinary", "raw")
_LONGEST_SEQUENCE = 1 << 12  # bytes of a sequence that is read once
_LONGEST_KEPT = 1 << 8  # bytes of a value that is read once, as most are the same in many slices


class ComparedElements:
    """The merged elements of a series, to be compared with those of its files one by one.

    Elements that all slices share are compared once, and with the bytes of the first file then.
    """

    def __init__(self, merged: MergedElements, file_meta: MergedElements) -> None:
        """Take the merged elements of the datasets, and of group 2."""
        self._dataset, self._file_meta = _Merged(merged), _Merged(file_meta)

    def difference(
        self,
        instance: Instance,
        slices: Sequence[int],
        apart: Collection[int] = (),
        *,
        with_file_meta: bool = True,
        may_lack_large: bool = False,
    ) -> str:
        """Return the name of an element that differs between a file and the metadata, or ''.

        Args:
            instance: the file.
            slices: those that its frames have become, in their order.
            apart: tags that are not compared.
            with_file_meta: compare the elements of group 2.
            may_lack_large: whether the metadata may lack large values.

        Raises:
            MetaDataError: sequences are malformed, or nested too deeply.
        """
        try:
            found = self._dataset.difference(instance.item, slices, apart, may_lack_large)
            if not found and with_file_meta:
                omitted = DERIVED_FILE_META.keys() - self._file_meta.tags
                found = self._file_meta.difference(
                    instance.file_meta, slices, omitted, may_lack_large
                )
        except RecursionError:
            message = f"{instance.path}: sequences are nested too deeply"
            raise MetaDataError(message) from None
        return found


class _Merged:
    """Merged elements, and the bytes that agree with those that all slices share."""

    def __init__(self, merged: MergedElements) -> None:
        self._partial, self._shared, self._others = set[str](), [], []
        for key in merged:
            tag, (entry, is_partial) = int(key, 16), merged.stated(key)
            if is_partial:
                self._partial.add(key)
            if is_uniform(entry):
                self._shared.append((key, tag, slice_entry(entry, 0)))
            else:
                self._others.append((key, tag, entry))
        self.tags = frozenset(int(key, 16) for key in merged)
        # For each character set and sign: VR, bytes, encoding of elements that agree.
        self._alike: dict[tuple[Any, ...], dict[int, tuple[Any, ...]]] = {}

    def difference(
        self, item: Item, slices: Sequence[int], apart: Collection[int], may_lack_large: bool
    ) -> str:
        for tag in item.elements.keys() - self.tags:
            if tag not in apart and not (may_lack_large and is_large(item.elements[tag])):
                return _name(tag)
        alike = self._alike.setdefault((item.encodings, item.pixel_representation), {})
        for key, tag, stated in self._shared:
            element = item.elements.get(tag)
            fingerprint = None
            if element.__class__ is RawDataElement:
                fingerprint = element[1], element[3], element[5], element[6]
                if fingerprint == alike.get(tag):
                    continue
            if tag in apart or (may_lack_large and _is_missing_large(stated, element)):
                continue
            if not _agrees(stated, element, item, tag, key in self._partial, is_nested=False):
                return _name(tag)
            if fingerprint is not None:
                alike[tag] = fingerprint
        for key, tag, entry in self._others:
            if tag in apart:
                continue
            stated, element = slice_entry(entry, slices[0]), item.elements.get(tag)
            if may_lack_large and _is_missing_large(stated, element):
                continue
            if not _is_constant(entry, slices):
                return _name(tag)
            if (stated is not None or element is not None) and not _agrees(
                stated, element, item, tag, key in self._partial, is_nested=False
            ):
                return _name(tag)
        return ""


def _name(tag: int) -> str:
    return tag_name(f"{tag:08X}")


def _is_missing_large(stated: JsonElement | None, element: Element | None) -> bool:
    return stated is None and element is not None and is_large(element)


def _is_constant(entry: Entry, slices: Sequence[int]) -> bool:
    """Return whether an element is the same in some slices, which are the frames of one file."""
    if len(slices) == 1 or entry["shared"]:
        return True
    if entry["shared"] is None:
        columns = entry.get("columns")
        if columns is not None:
            slices = list(dict.fromkeys(columns[index] for index in slices))
        counts = entry.get("counts")
        return (not counts or _are_equal(counts, slices)) and all(
            _is_constant(nested, slices)
            for item in entry.get("Value", [])
            for nested in item.values()
        )
    lists = (entry.get(name) for name in ("Value", "InlineBinary", "raw", "vrs"))
    return all(_are_equal(values, slices) for values in lists if values)


def _are_equal(values: Sequence[Any], slices: Sequence[int]) -> bool:
    first = values[slices[0]]
    return all(_same(values[index], first) for index in slices)


def _agrees(
    stated: JsonElement | None,
    element: Element | None,
    item: Item,
    tag: int,
    is_partial: bool,
    *,
    is_nested: bool,
) -> bool:
    """Return whether metadata state the value of an element in a file.

    Args:
        stated: the element in the metadata; None if they lack it.
        element: the element in the file; None if it lacks it.
        item: the dataset or sequence item that has the element.
        tag: its tag.
        is_partial: whether long binary may be missing in the metadata.
        is_nested: whether `item` is a sequence item.
    """
    if is_partial and stated is not None and stated.keys() == {"vr"}:
        return True  # it is read from the files, as some slice has long binary here
    if stated is None or element is None:
        # Versions before 0.4.0's release lost the pixels of sequence items, such as icons.
        return stated is None and is_nested and tag in PIXEL_ELEMENTS
    vr = value_representation(element, item)
    if stated["vr"] == "SQ":
        return _items_agree(stated, element, item, is_partial)
    if isinstance(element, SequenceElement) or vr == "SQ":  # another slice has another VR
        data = implicit_sequence(sequence_items(element, item))
        return stated["vr"] == "UN" and _same_bytes(stated, data, item)
    data = element.value or b""
    read = _read if len(data) < _LONGEST_KEPT else _read.__wrapped__
    found = read(vr, data, is_little(element), item.encodings)
    if stated == found or _same(_plain(stated), found):
        return True
    return stated["vr"] in _possible_vrs(element, vr) and _same_bytes(
        stated, encode_value(decoded(element, vr, item), item.encodings), item
    )


def _items_agree(stated: JsonElement, element: Element, item: Item, is_partial: bool) -> bool:
    """Return whether metadata state the items of a sequence."""
    if not isinstance(element, SequenceElement) and element.VR not in ("SQ", "UN", None):
        return False
    try:
        if _fits_cache(element) and stated == _read_sequence(*_key_of(element, item)):
            return True
        items = _quickly_read_items(element, item)
    except MetaDataError:
        return False
    stated_items: Sequence[Mapping[str, JsonElement]] = stated.get("Value", [])
    if len(items) != len(stated_items):
        return False
    for nested, mapping in zip(items, stated_items, strict=True):
        by_tag = {int(key, 16): value for key, value in mapping.items()}
        for tag in by_tag.keys() | nested.elements.keys():
            one, other = by_tag.get(tag), nested.elements.get(tag)
            if not _agrees(one, other, nested, tag, is_partial, is_nested=True):
                return False
    return True


def _fits_cache(element: Element) -> bool:
    return (
        not isinstance(element, SequenceElement) and len(element.value or b"") < _LONGEST_SEQUENCE
    )


def _key_of(element: Any, item: Item) -> tuple[RawDataElement, Encodings, int]:
    """Return what the items of a sequence depend on; its place in the file is not part of it."""
    return element._replace(value_tell=0), item.encodings, item.pixel_representation


@lru_cache(maxsize=1 << 11)
def _read_sequence(
    element: RawDataElement, encodings: Encodings, pixel_representation: int
) -> JsonElement:
    """Return the JSON of a sequence: most are the same in many slices, or frames of a file."""
    parent = Item(encodings=encodings, pixel_representation=pixel_representation)
    return _sequence_of(_quickly_read_items(element, parent))


def _sequence_of(items: Sequence[Item]) -> JsonElement:
    return {
        "vr": "SQ",
        "Value": [
            {f"{tag:08X}": _json_of(one, item) for tag, one in item.elements.items()}
            for item in items
        ],
    }


def _json_of(element: Element, item: Item) -> JsonElement:
    if isinstance(element, SequenceElement):
        return _sequence_of(element.items)
    vr = value_representation(element, item)
    if vr == "SQ":
        return _read_sequence(*_key_of(element, item))
    return _read(vr, element.value or b"", is_little(element), item.encodings)


def _quickly_read_items(element: Element, item: Item) -> Sequence[Item]:
    """Return the items of a sequence; by pydicom, which takes several times as long, if need be.

    Raises:
        MetaDataError: the sequence is malformed.
    """
    if not isinstance(element, SequenceElement) and element.is_little_endian:
        data, implicit = element.value or b"", element.is_implicit_VR or element.VR == "UN"
        try:
            found = parse_items(data, implicit)
        except (CutOff, Unusual):
            return sequence_items(element, item)
        return [item_of_elements({**one.elements}, item) for one in found]
    return sequence_items(element, item)


def _same_bytes(stated: JsonElement, data: bytes, item: Item) -> bool:
    """Return whether stated values are encoded in these little-endian bytes, and decoded so."""
    if stated.get("InlineBinary") and stated.get("Value"):
        return False  # which of two values is read depends on the reader
    value = element_value(stated)
    try:
        written = encode_value(value, item.encodings)
    except MetaDataError:
        return False
    if written != data and written[:-1] != data:
        return False
    read = decode_value(value.vr, data, True, item.encodings)
    return _same(read.values, value.values) and read.binary == value.binary


def _possible_vrs(element: RawDataElement, vr: str) -> set[str]:
    """Return the VRs that a reader may give an element."""
    if element.VR not in (None, "UN"):
        return {vr}
    try:
        return {vr, "UN", *dictionary_VR(element.tag).split(" or ")}
    except KeyError:
        return {vr, "UN"}


def _plain(stated: JsonElement) -> JsonElement:
    """Return what counts of a stated element, without empty values."""
    return {key: stated[key] for key in _KEYS if stated.get(key) not in (None, [])}


@lru_cache(maxsize=1 << 12)
def _read(vr: str, data: bytes, little: bool, encodings: Encodings) -> JsonElement:
    """Return the JSON of the value field of an element."""
    return element_of(decode_value(vr, data, little, encodings))


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same in JSON, where NaN equals NaN."""
    return bool(one == other) or dump_json(one) == dump_json(other)
