"""Reads elements with long binary values from the original files; the metadata omit those values.

Must not know metadata as a whole or dicube files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dicube.dicom.elements.items import Item
from dicube.dicom.elements.parser import CutOff, Unusual
from dicube.dicom.merge_utils import LONG_BINARY, Entry, map_entries, merge_element
from dicube.dicom.originals.model import Coded, Original, Originals, Samples
from dicube.exceptions import DicomCubeError, InvalidCubeFileError

Read = TypeVar("Read")

_LONG_TEXT = LONG_BINARY * 4 // 3  # in base64


class OriginalElements:
    """Returns the merged entries of elements in the original files, when called.

    Attributes:
        slices: the slices of each file, in the order of the originals.
    """

    def __init__(self, originals: Callable[[], Originals] | None = None) -> None:
        """Take a function that returns the originals on first use; None if there are none."""
        self._originals = originals
        self.slices: Sequence[Sequence[int]] = ()
        self._items: list[Item] | None = None

    @property
    def are_plain(self) -> bool:
        """Whether the files were just read, so that their entries need no comparison."""
        return self._originals is not None and all(f.is_plain for f in self._originals().files)

    def __call__(self, key: str) -> Entry:
        """Return the entry of a tag key.

        Raises:
            InvalidCubeFileError: there are no originals, or they have no such element.
        """
        if self._items is None:
            self._items = self._read()
        tag = int(key, 16)
        if not any(tag in item.elements for item in self._items):
            raise InvalidCubeFileError(f"the original files have no element {key}")
        return merge_element(tag, self._items)

    def gives(self, key: str, entry: Entry) -> bool:
        """Return whether the original files have an equal entry."""
        try:
            return self(key) == entry
        except DicomCubeError:
            return False

    def lengths(self, key: str) -> list[int | None]:
        """Return the length of an element's value in each slice; None where it is missing.

        No value is read.

        Raises:
            InvalidCubeFileError: there are no originals, or they can't be read.
        """
        from dicube.dicom.files.instance_reading import length_around

        return self._of_slices(lambda before, after: length_around(before, after, int(key, 16)))

    def _read(self) -> list[Item]:
        from dicube.dicom.files.instance_reading import item_around

        return self._of_slices(item_around)

    def _of_slices(self, read: Callable[[bytes, bytes], Read]) -> list[Read]:
        """Return what a function returns of the file of each slice."""
        if self._originals is None:
            raise InvalidCubeFileError(
                "the metadata refer to original files that the file does not contain"
            )
        files = self._originals().files
        if len(files) != len(self.slices):
            raise InvalidCubeFileError(
                f"expected {len(self.slices)} original files, as in the metadata, "
                f"found {len(files)}"
            )
        by_slice: dict[int, Read] = {}
        for file, slices in zip(files, self.slices, strict=True):
            try:
                found = read(*_around(file))
            except (Unusual, CutOff) as error:
                raise InvalidCubeFileError(
                    f"can't read elements of {file.label}: {error}"
                ) from None
            by_slice.update(dict.fromkeys(slices, found))
        return [by_slice[index] for index in sorted(by_slice)]


def has_long_binary(entry: Entry) -> bool:
    """Return whether an entry, or one within it, has a long binary value."""
    return any(_is_long(found) for found in _entries_in(entry))


def without_long_binary(entry: Entry) -> Entry:
    """Return an entry without its long binary values."""

    def change(found: Entry) -> Entry:
        return {"vr": found["vr"], "shared": True} if _is_long(found) else found

    return map_entries(entry, change)


def _entries_in(entry: Entry) -> Iterator[Entry]:
    yield entry
    if entry["vr"] != "SQ":
        return
    for item in entry.get("Value", []) if entry["shared"] is None else ():
        for nested in item.values():
            yield from _entries_in(nested)


def _is_long(entry: Entry) -> bool:
    binary = entry.get("InlineBinary")
    texts = binary if isinstance(binary, list) else [binary]
    return any(text is not None and len(text) > _LONG_TEXT for text in texts)


def _around(file: Original) -> tuple[bytes, bytes]:
    """Return the bytes of a file before and after its pixels."""
    own = [isinstance(piece, (Samples, Coded)) for piece in file.pieces]
    if True not in own:
        raise Unusual("its pixels are not stored separately")
    first, last = own.index(True), len(own) - own[::-1].index(True)
    before, after = (
        b"".join(bytes(p) for p in pieces if isinstance(p, (bytes, memoryview)))
        for pieces in (file.pieces[:first], file.pieces[last:])
    )
    return before, after
