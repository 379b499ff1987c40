"""Formats the metadata of a series as a table. Must not know how files store them."""

from __future__ import annotations

from typing import Any

from dicube.dicom.dicom_tags import keyword_of
from dicube.dicom.merge_utils import Entry, is_uniform
from dicube.dicom.metadata.lookup import MetadataLookup

_WIDEST_VALUE = 60


def metadata_table(
    meta: MetadataLookup, show_shared: bool = True, show_non_shared: bool = True
) -> str:
    """Return one line per element: tag, value representation, keyword, value."""
    rows = [
        (key, entry["vr"], keyword_of(key), _summary(meta, key, entry))
        for key, entry in meta.items()
        if (show_shared if is_uniform(entry) else show_non_shared)
    ]
    width = max([len("Keyword"), *(len(row[2]) for row in rows)])
    lines = [
        f"{meta.slice_count} slices, {len(meta)} elements; * differs from slice to slice",
        f"{'Tag':<11} {'VR':<2} {'Keyword':<{width}} Value",
    ]
    for key, vr, keyword, summary in rows:
        lines.append(f"({key[:4]},{key[4:]}) {vr:<2} {keyword:<{width}} {summary}")
    return "\n".join(lines) + "\n"


def _summary(meta: MetadataLookup, key: str, entry: Entry) -> str:
    value: Any
    if entry["vr"] == "SQ":
        value = f"{len(entry.get('Value', []))} item(s)"
    elif "InlineBinary" in entry:
        texts = [entry["InlineBinary"]] if entry["shared"] else entry["InlineBinary"]
        value = f"{sum(len(text or '') * 3 // 4 for text in texts)} bytes"
    else:
        value = meta.get(key)
    text = "" if value is None else value if isinstance(value, str) else repr(value)
    mark = "" if is_uniform(entry) else "* "
    return mark + (text if len(text) <= _WIDEST_VALUE else text[: _WIDEST_VALUE - 3] + "...")
