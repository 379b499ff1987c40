"""MergedElements: the entries of a series by tag, each merged, parsed or loaded when first used.

Must not know what an entry holds; `merge_utils` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from copy import deepcopy
from types import MappingProxyType

from dicube.dicom.elements.items import Item, SequenceElement, value_representation
from dicube.dicom.elements.values import BINARY_UNIT
from dicube.dicom.merge_utils import (
    LONG_BINARY,
    Entries,
    Entry,
    SplitSequence,
    merge_element,
    reorder_entry,
    same_entry,
    select_entry,
)
from dicube.exceptions import MetaDataError


class MergedElements(MutableMapping[str, Entry]):
    """The entries of a series by tag key ('GGGGEEEE'), each merged on first access.

    A mapping in tag order. Copies and pickles contain merged entries only.
    """

    def __init__(
        self,
        items: Sequence[Item] = (),
        entries: Entries | None = None,
        elsewhere: Collection[str] = (),
        load: Callable[[str], Entry] | None = None,
        unparsed: Entries = MappingProxyType({}),
    ) -> None:
        """Take the elements of slices, merged entries, or both; entries take precedence.

        Args:
            items: the elements of each slice.
            entries: merged entries.
            elsewhere: the keys of the `entries` that are incomplete.
            load: returns the complete entry of such a key; called on first access.
            unparsed: further entries, each looked up on first access.
        """
        self._items: list[Item] = list(items)
        found: set[int] = set()
        for item in self._items:
            found.update(item.elements)
        self._entries: dict[str, Entry | None] = {f"{tag:08X}": None for tag in sorted(found)}
        self._entries.update(entries or {})
        self._incomplete = {key: self._entries[key] for key in elsewhere if key in self._entries}
        self._entries.update(dict.fromkeys(self._incomplete))
        self._load, self._unparsed = load, unparsed
        if unparsed:
            self._entries.update(dict.fromkeys(unparsed))
            self._entries = dict(sorted(self._entries.items()))

    def __getitem__(self, key: str) -> Entry:
        entry = self._entries[key]
        if entry is None and key in self._unparsed:
            entry = self._entries[key] = self._unparsed[key]
        if entry is None and self._load is not None and key in self._incomplete:
            entry = self._entries[key] = self._load(key)
        if entry is None:
            try:
                entry = self._entries[key] = merge_element(int(key, 16), self._items)
            except RecursionError:
                raise MetaDataError(f"tag {key}: sequences are nested too deeply") from None
        return entry

    @property
    def is_from_json(self) -> bool:
        """Whether incomplete entries come from a file, not from elements that were just read."""
        return self._load is not None

    def without_binary(self, key: str) -> Entry | None:
        """Return an entry without its long binary, if it was not accessed yet and has such binary.

        This needs no merging. Returns None for other entries.
        """
        if self._entries[key] is not None:
            return None
        if key in self._incomplete:
            return self._incomplete[key]
        tag = int(key, 16)
        if not any(_is_long_binary(item, tag) for item in self._items if tag in item.elements):
            return None
        having = next(item for item in self._items if tag in item.elements)
        return {"vr": value_representation(having.elements[tag], having), "shared": True}

    def lengths_elsewhere(self, key: str) -> tuple[str, list[int | None]] | None:
        """Return VR and length in each slice of a binary value that was left to the original files.

        Nothing is read of the values. Returns None for other entries, and for sequences.
        """
        lengths: Callable[[str], list[int | None]] | None = getattr(self._load, "lengths", None)
        if self._entries[key] is not None or lengths is None or key not in self._incomplete:
            return None
        vr = str((self._incomplete[key] or {}).get("vr"))
        return (vr, lengths(key)) if vr in BINARY_UNIT else None

    def stated(self, key: str) -> tuple[Entry, bool]:
        """Return an entry without completing it, and whether it may lack long binary."""
        incomplete = self._incomplete.get(key) if self._entries[key] is None else None
        return (self[key], False) if incomplete is None else (incomplete, True)

    def __setitem__(self, key: str, entry: Entry) -> None:
        new = key not in self._entries
        self._entries[key] = entry
        if new:
            self._entries = dict(sorted(self._entries.items()))

    def __delitem__(self, key: str) -> None:
        del self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def __getstate__(self) -> dict[str, Entry]:
        return dict(self.items())

    def __setstate__(self, entries: dict[str, Entry]) -> None:
        self.__init__(entries=entries)  # type: ignore[misc]

    def fork(self) -> MergedElements:
        """Return an independent copy, without merging entries."""
        forked = MergedElements(load=self._load)
        forked._unparsed = self._unparsed
        forked._items, forked._incomplete = self._items, self._incomplete
        forked._entries = deepcopy(self._entries)
        return forked

    def same_as(self, other: MergedElements) -> bool:
        """Return whether the entries are equal, without merging those that neither has merged."""
        if list(self._entries) != list(other._entries):
            return False
        alike = (
            self._load is other._load
            and self._unparsed is other._unparsed
            and list(map(id, self._items)) == list(map(id, other._items))
        )
        return all(
            (alike and self._entries[key] is None and other._entries[key] is None)
            or same_entry(self[key], other[key])
            for key in self._entries
        )

    def reorder(self, order: Sequence[int]) -> None:
        """Put the slices in another order: slice order[0] first."""
        self._complete()
        self._items = [self._items[i] for i in order] if self._items else []
        for key, entry in self._entries.items():
            if entry is not None:
                self._entries[key] = reorder_entry(entry, order)

    def split(self, groups: Sequence[Sequence[int]]) -> list[MergedElements]:
        """Return the elements of groups of slices, without those that none of a group has."""
        self._complete()
        sequences = {
            key: SplitSequence(entry)
            for key, entry in self._entries.items()
            if entry is not None and entry["shared"] is None
        }
        return [self._selected(chosen, sequences) for chosen in groups]

    def _selected(
        self, chosen: Sequence[int], sequences: Mapping[str, SplitSequence]
    ) -> MergedElements:
        selected = MergedElements([self._items[i] for i in chosen] if self._items else [])
        for key, entry in self._entries.items():
            if entry is not None:
                sequence = sequences.get(key)
                new = select_entry(entry, chosen) if sequence is None else sequence.select(chosen)
                if new is not None:
                    selected._entries[key] = new
                else:
                    selected._entries.pop(key, None)
        for key in [key for key in selected._entries if key not in self._entries]:
            del selected._entries[key]
        selected._entries = dict(sorted(selected._entries.items()))
        return selected

    def _complete(self) -> None:
        for key in (*self._incomplete, *self._unparsed):
            if key in self._entries:
                self[key]


def _is_long_binary(item: Item, tag: int) -> bool:
    element = item.elements[tag]
    return (
        not isinstance(element, SequenceElement)
        and element.VR in BINARY_UNIT
        and len(element.value or b"") > LONG_BINARY
        and value_representation(element, item) in BINARY_UNIT
    )
