"""Conversion of one slice's elements between DICOM JSON (PS3.18 F.2), plain values and datasets.

Must not know slices or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dicube.dicom.elements.items import Item, item_of
from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.dicom.elements.values import plain_values
from dicube.dicom.merge_utils import Entry, JsonElement, element_value, merge_items
from dicube.exceptions import MetaDataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def merge_items_of(items: Sequence[Dataset | Mapping[str, JsonElement]]) -> list[dict[str, Entry]]:
    """Return the merged items of a sequence that is equal in all slices.

    Raises:
        MetaDataError: an item is neither a Dataset nor DICOM JSON.
    """
    from pydicom.dataset import Dataset

    merged = []
    for item in items or ():
        if not isinstance(item, Dataset):
            try:
                item = Dataset.from_json(dict(item))
            except Exception as error:  # pydicom raises many types for invalid JSON
                raise MetaDataError(
                    f"a sequence item is not DICOM JSON ({type(error).__name__})"
                ) from None
        merged.append(merge_items([item_of(item, Item())]))
    return merged


def dataset_of(encoded: bytes) -> Dataset:
    """Return the pydicom Dataset of elements in explicit VR little endian."""
    from pydicom.filereader import read_dataset

    with pydicom_quiet():
        return read_dataset(BytesIO(encoded), False, True)


def plain_value(element: JsonElement | None) -> Any:
    """Return the value of an element in the form of `DicomMeta.get`."""
    if element is None:
        return None
    if element["vr"] == "SQ":
        return [without_raw(item) for item in element.get("Value", [])]
    return plain_values(element_value(element))


def json_values(element: JsonElement | None) -> Any:
    """Return the values in the JSON model; binary as bytes."""
    if element is None:
        return None
    if "InlineBinary" in element or element["vr"] == "SQ":
        return plain_value(element)
    return element.get("Value", [])


def without_raw(items: Mapping[str, JsonElement]) -> dict[str, JsonElement]:
    """Return elements in the standard's form, without dicube's "raw"."""
    plain = {}
    for key, element in items.items():
        element = {name: value for name, value in element.items() if name != "raw"}
        if element["vr"] == "SQ":
            element["Value"] = [without_raw(item) for item in element.get("Value", [])]
        plain[key] = element
    return plain
