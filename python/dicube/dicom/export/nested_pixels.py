"""Decodes coded pixels in sequence items for files of another transfer syntax.

An icon is coded in the transfer syntax of its file (PS3.5 A.4), so its bytes mean nothing in a file
of another one. Must not know files.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping

import numpy as np

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import tag_name, uid_name
from dicube.dicom.elements.parser import is_encapsulated_value
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.files.encoding import is_encapsulated
from dicube.dicom.files.nested_pixels import decode_item
from dicube.dicom.merge_utils import Entry, JsonElement, slice_entry
from dicube.dicom.metadata.slice_bytes import encode_elements
from dicube.exceptions import DicomCubeError

_SYNTAX = "00020010"
_PIXELS, _OFFSET_TABLES = "7FE00010", ("7FE00001", "7FE00002", "7FE00003")
_PHOTOMETRIC, _PLANAR = "00280004", "00280006"
_IMAGE_GROUPS = ("0028", "7FE0")


def nested_pixels(meta: DicomMeta, syntax: str) -> list[Replaced]:
    """Return for each instance the sequences whose coded pixels had to be decoded.

    Args:
        meta: the metadata.
        syntax: UID of the transfer syntax of the new files.

    Warns:
        UserWarning: pixels can't be decoded, so they stay as they are; names the sequence.
    """
    syntaxes = meta.file_meta.get(_SYNTAX)
    found: list[Replaced] = [{} for _ in meta.instances()]
    coded: dict[str, Entry] | None = None
    for replaced, (index, *_) in zip(found, meta.instances(), strict=True):
        element = None if syntaxes is None else slice_entry(syntaxes, index)
        source = str(((element or {}).get("Value") or [""])[0])
        if source == syntax or not is_encapsulated(source):
            continue
        if coded is None:
            coded = {key: entry for key, entry in meta.entries.items() if _has_coded_pixels(entry)}
        for key, sequences in coded.items():
            sequence = slice_entry(sequences, index)
            if sequence is not None:
                replaced[key] = _decoded(sequence, source, tag_name(key))
    return found


def _has_coded_pixels(entry: Entry) -> bool:
    """Return whether an item of a sequence, at any depth, has coded pixels."""
    for item in entry.get("Value", []) if entry["vr"] == "SQ" else ():
        binary = item.get(_PIXELS, {}).get("InlineBinary", ())
        texts = [binary] if isinstance(binary, str) else binary
        if any(text and _is_coded(text) for text in texts) or any(
            map(_has_coded_pixels, item.values())
        ):
            return True
    return False


def _is_coded(binary: str) -> bool:
    return is_encapsulated_value(base64.b64decode(binary))


def _decoded(sequence: JsonElement, syntax: str, name: str) -> JsonElement:
    """Return a sequence with native pixels in place of coded ones."""
    items = sequence.get("Value", [])
    return {**sequence, "Value": [_decoded_item(item, syntax, name) for item in items]}


def _decoded_item(
    item: Mapping[str, JsonElement], syntax: str, name: str
) -> dict[str, JsonElement]:
    changed = dict(item)
    for key, element in item.items():
        if element["vr"] == "SQ":
            changed[key] = _decoded(element, syntax, name)
    if not _is_coded(item.get(_PIXELS, {}).get("InlineBinary", "")):
        return changed
    image = {key: element for key, element in item.items() if key[:4] in _IMAGE_GROUPS}
    try:
        samples, interpretation = decode_item(encode_elements(image), syntax, name)
    except DicomCubeError as error:
        warnings.warn(
            f"{name}: the pixels of an item stay coded in {uid_name(syntax)}: {error.message}",
            stacklevel=2,
        )
        return changed
    for key in _OFFSET_TABLES:
        changed.pop(key, None)
    if interpretation:
        changed[_PHOTOMETRIC] = {"vr": "CS", "Value": [interpretation]}
    if samples.ndim == 4:
        changed[_PLANAR] = {"vr": "US", "Value": [0]}
    data = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes()
    binary = base64.b64encode(data + b"\0" * (len(data) % 2)).decode("ascii")
    vr = "OB" if samples.dtype.itemsize == 1 else "OW"
    changed[_PIXELS] = {"vr": vr, "InlineBinary": binary}
    return dict(sorted(changed.items()))
