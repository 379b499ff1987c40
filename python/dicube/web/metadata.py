"""The metadata of instances in the DICOM JSON model (PS3.18 F), with links to large values.

Must not know HTTP or catalogues.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.merge_utils import LONG_BINARY, Entry, is_uniform, slice_entry
from dicube.dicom.metadata.json_elements import without_raw

Element = Mapping[str, Any]

_LARGEST_INLINE = 1368  # characters of base64, for LONG_BINARY bytes
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_BULK = "bulkdata"
PIXEL_KEYS = ("7FE00008", "7FE00009", "7FE00010")


class SeriesMetadata:
    """The metadata of the instances in one file, as JSON.

    What all slices share is turned into text once.
    """

    def __init__(self, meta: DicomMeta) -> None:
        """Take the metadata, which nobody changes from now on."""
        self._shared: dict[str, str] = {}
        self._varying: dict[str, Entry] = {}
        self._linked: dict[str, tuple[str, list[int | None]]] = {}
        for key in meta.entries:
            elsewhere = meta.lengths_elsewhere(key)
            if elsewhere is not None and all(n is None or n > LONG_BINARY for n in elsewhere[1]):
                self._linked[key] = elsewhere
                continue
            entry = meta.entries[key]
            element = slice_entry(entry, 0) if is_uniform(entry) else None
            if element is None or _has_large(element):
                self._varying[key] = entry
            else:
                self._shared[key] = dumped(plain_element(element))

    def instance(self, index: int, url: str, replaced: Mapping[str, Element | None]) -> str:
        """Return the metadata of the instance that begins with a slice, as JSON.

        Args:
            index: the slice.
            url: of the instance, for links to large values.
            replaced: elements in place of those in the metadata; None to leave one out.
        """
        found = dict(self._shared)
        for key, entry in self._varying.items():
            element = slice_entry(entry, index)
            if element is not None:
                found[key] = dumped(linked(plain_element(element), f"{url}/{_BULK}/{key}"))
        for key, (vr, lengths) in self._linked.items():
            if lengths[index] is not None:
                found[key] = dumped({"vr": vr, "BulkDataURI": f"{url}/{_BULK}/{key}"})
        for key, new in replaced.items():
            if new is None:
                found.pop(key, None)
            else:
                found[key] = dumped(new)
        return "{" + ",".join(f'"{key}":{found[key]}' for key in sorted(found)) + "}"


def whole_instance(meta: DicomMeta, url: str, replaced: Mapping[str, Element | None]) -> str:
    """Return the metadata of the only instance of a series, as JSON; see `SeriesMetadata`."""
    return SeriesMetadata(meta).instance(0, url, replaced)


def plain_element(element: Element) -> dict[str, Any]:
    """Return an element in the standard's form."""
    return without_raw({"": dict(element)})[""]


def linked(element: dict[str, Any], url: str) -> dict[str, Any]:
    """Return an element with links in place of large values, also in its items."""
    if element["vr"] == "SQ":
        items = [
            {key: linked(value, f"{url}/{number}/{key}") for key, value in item.items()}
            for number, item in enumerate(element.get("Value", []))
        ]
        return {"vr": "SQ", "Value": items} if "Value" in element else element
    if len(element.get("InlineBinary", "")) <= _LARGEST_INLINE:
        return element
    return {"vr": element["vr"], "BulkDataURI": url}


def bulk_value(meta: DicomMeta, index: int, path: Sequence[str]) -> bytes | None:
    """Return the binary value of an element of a slice; None if there is none.

    Args:
        meta: the metadata.
        index: the slice.
        path: its tag key; for one in an item: that of the sequence, the item's number, the key.
    """
    elements: Mapping[str, Any] = meta.entries
    entry = elements.get(path[0])
    element = None if entry is None else slice_entry(entry, index)
    for number, key in zip(path[1::2], path[2::2], strict=True):
        items = [] if element is None else element.get("Value", [])
        if not number.isdecimal() or int(number) >= len(items):
            return None
        item = items[int(number)]
        element = item.get(key) if isinstance(item, Mapping) else None
    if element is None or element.get("vr") == "SQ" or "InlineBinary" not in element:
        return None
    return base64.b64decode(element["InlineBinary"])


def dumped(element: Element) -> str:
    """Return an element as JSON; numbers that are not finite as texts (PS3.18 F.2.3)."""
    try:
        return _encode(element)
    except ValueError:
        return _encode(_finite(element))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _has_large(element: Element) -> bool:
    return any(len(text) > _LARGEST_INLINE for text in _binaries(element))


def _binaries(element: Element) -> Iterator[str]:
    yield element.get("InlineBinary", "")
    if element["vr"] == "SQ":
        for item in element.get("Value", []):
            for inner in item.values():
                yield from _binaries(inner)
