"""Reads the JSON of metadata. Long entries can be left unparsed until they are used.

The entries of a series of thousands of slices are long columns, of which most callers need none.
Must not know what the entries mean, or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dicube.dicom.merge_utils import Entries, Entry, restore_not_finite
from dicube.dicom.metadata.entry_checks import check_nested, checked
from dicube.exceptions import MetaDataError, reporting_memory
from dicube.strict_json import NOT_FINITE, parse_json, without_long_objects

_LEAST_TEXT = 1 << 15  # shorter JSON (bytes) is parsed as a whole, which is as fast
_LONGEST_ENTRY = 1 << 9  # bytes
_DEPTH_OF_ENTRIES = 3  # the document is at 1
_KEY = re.compile("[0-9A-F]{8}")
# JSON can't repeat the key "vr", so these are no sequences.
_NO_SEQUENCE = re.compile(rb'\{"vr": "(?!SQ")[^"\\]*"')


def read_json(text: str, member: str, *, whole: bool) -> tuple[Any, dict[str, bytes]]:
    """Parse the JSON of metadata.

    Args:
        text: the JSON.
        member: the name of the object that has the entries.
        whole: parse everything.

    Returns:
        The document, and the entries that it lacks by key, as JSON.

    Raises:
        MetaDataError: it isn't JSON.
    """
    if not whole and len(text) >= _LEAST_TEXT:
        rest, left_out = without_long_objects(text.encode(), _DEPTH_OF_ENTRIES, _LONGEST_ENTRY)
        try:
            document = _parsed(rest.decode())  # of bytes, json would guess the encoding
        except ValueError:  # that of the whole says what is wrong
            document = None
        entries = document.get(member) if isinstance(document, dict) else None
        if isinstance(entries, dict) and all(map(_KEY.fullmatch, entries)):
            keys = [key for key, entry in entries.items() if entry is None]
            if len(keys) == len(left_out):  # else some of them are elsewhere in the document
                for key in keys:
                    del entries[key]
                return document, dict(zip(keys, left_out, strict=True))
    try:
        return _parsed(text), {}
    except ValueError as error:
        raise MetaDataError(f"the metadata are not JSON: {error}") from None


def entry_from_json(key: str, text: bytes) -> Any:
    """Parse an entry, which is not checked.

    Raises:
        MetaDataError: it isn't JSON.
    """
    try:
        return _parsed(text.decode())
    except ValueError as error:
        raise MetaDataError(f"metadata entry {key!r} is not JSON: {error}") from None


class UnparsedEntries(Mapping[str, Entry]):
    """Entries by key, each parsed and checked when it is looked up.

    Sequences are checked together, because what they make of the slices is limited in all. Raises a
    MetaDataError for an entry that is malformed.
    """

    def __init__(
        self, texts: Mapping[str, bytes], others: Entries, slice_count: int, source: str
    ) -> None:
        """Take the JSON of the entries.

        Args:
            texts: the JSON by key.
            others: the entries of the same metadata that were parsed.
            slice_count: the number of slices.
            source: the name of the file, for errors.
        """
        self._texts, self._others = texts, others
        self._slice_count, self._source = slice_count, source
        self._sequences: dict[str, Entry] = {}

    def __getitem__(self, key: str) -> Entry:
        if key in self._sequences:
            return self._sequences[key]
        try:
            with reporting_memory:
                if _NO_SEQUENCE.match(self._texts[key]):
                    return self._checked([key])[key]
                self._sequences = self._checked(
                    [key for key, text in self._texts.items() if not _NO_SEQUENCE.match(text)]
                )
                return self._sequences[key]
        except MetaDataError as error:
            error.name_source(self._source)
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def _checked(self, keys: Iterable[str]) -> dict[str, Entry]:
        entries = {key: entry_from_json(key, self._texts[key]) for key in keys}
        check_nested({**self._others, **entries}, self._slice_count)
        return checked(entries, self._slice_count)


def _parsed(text: str) -> Any:
    """Parse JSON, and restore the numbers that it lacks."""
    document = parse_json(text)
    if any(f'"{word}"' in text for word in NOT_FINITE):
        restore_not_finite(document)
    return document
