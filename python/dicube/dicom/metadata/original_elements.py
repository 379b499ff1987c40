"""Elements read again from the original files, which hold the long binary that metadata leave out.

Knows elements and originals. Must not know metadata as a whole or dicube files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dicube.dicom.elements.items import Item
from dicube.dicom.elements.parser import CutOff, Unusual
from dicube.dicom.files.instance import item_around
from dicube.dicom.merge_utils import LONG_BINARY, Entry, map_entries, merge_element
from dicube.dicom.originals.model import Coded, Original, Originals, Samples
from dicube.exceptions import DicomCubeError, InvalidCubeFileError

_LONG_TEXT = LONG_BINARY * 4 // 3  # in base64


class OriginalElements:
    """Gives the merged entries of elements as the original files have them.

    Attributes:
        slices: which slices each file is, files in the order of the originals.
    """

    def __init__(self, originals: Callable[[], Originals] | None = None) -> None:
        """Take what gives the originals when they are needed; None if there are none."""
        self._originals = originals
        self.slices: Sequence[Sequence[int]] = ()
        self._items: list[Item] | None = None

    @property
    def are_plain(self) -> bool:
        """Whether the files were read just now, so that what they give needs no proof."""
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
            raise InvalidCubeFileError(f"element {key} is not in the original files")
        return merge_element(tag, self._items)

    def gives(self, key: str, entry: Entry) -> bool:
        """Return whether the original files have the very same entry."""
        try:
            return self(key) == entry
        except DicomCubeError:
            return False

    def _read(self) -> list[Item]:
        if self._originals is None:
            raise InvalidCubeFileError("the file refers to original files that it does not hold")
        files = self._originals().files
        if len(files) != len(self.slices):
            raise InvalidCubeFileError(
                f"{len(files)} original files, metadata of {len(self.slices)}"
            )
        by_slice: dict[int, Item] = {}
        for file, slices in zip(files, self.slices, strict=True):
            try:
                item = item_around(*_around(file))
            except (Unusual, CutOff) as error:
                raise InvalidCubeFileError(
                    f"original file {file.name} is not of the usual kind: {error}"
                ) from None
            by_slice.update(dict.fromkeys(slices, item))
        return [by_slice[index] for index in sorted(by_slice)]


def has_long_binary(entry: Entry) -> bool:
    """Return whether an entry, or one within it, holds binary that is worth leaving out."""
    return any(_is_long(found) for found in _entries_in(entry))


def without_long_binary(entry: Entry) -> Entry:
    """Return an entry without the binary that is worth leaving out."""

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
    """Return the bytes of a file before its pixels and behind them."""
    own = [isinstance(piece, (Samples, Coded)) for piece in file.pieces]
    if True not in own:
        raise Unusual("its pixels are not apart")
    first, last = own.index(True), len(own) - own[::-1].index(True)
    before, after = (
        b"".join(bytes(p) for p in pieces if not isinstance(p, (Samples, Coded)))
        for pieces in (file.pieces[:first], file.pieces[last:])
    )
    return before, after
