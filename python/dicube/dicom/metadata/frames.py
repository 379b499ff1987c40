"""The file and frame of each slice, and the elements in the functional groups of frames.

A file of N frames makes N slices. The elements of its dataset apply to all of them. Elements that
differ from frame to frame are in its functional groups (PS3.3 C.7.6.16): macros, each a sequence of
one item, within an item for each frame or within an item that all frames share.

Must not know what any tag means, or files.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias, overload

from dicube.dicom.merge_utils import (
    Entries,
    Entry,
    JsonElement,
    element_value,
    entry_of,
    item_entries,
    slice_entry,
)
from dicube.exceptions import MetaDataError

_MOST_FRAMES = (1 << 31) - 1  # NumberOfFrames is an IS
# Each lookup of an element in a frame goes through all macros that have it: one, or a few.
_MOST_MACROS = 256
PER_FRAME, SHARED = "52009230", "52009229"
FUNCTIONAL_GROUPS = (PER_FRAME, SHARED)


class Frame(NamedTuple):
    """The origin of a slice.

    Attributes:
        instance: the number of the file, from 0.
        number: the number of the frame in the file, from 1 as in DICOM.
    """

    instance: int
    number: int


class SingleFrames(Sequence[Frame]):
    """The frames of files of one frame each, made when they are looked up."""

    def __init__(self, count: int) -> None:
        """Take the number of files."""
        self._instances = range(count)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [Frame(instance, 1) for instance in self._instances[index]]
        return Frame(self._instances[index], 1)

    def __len__(self) -> int:
        return len(self._instances)


def frames_of(counts: Sequence[int]) -> Sequence[Frame]:
    """Return the frames of files, given the number of frames of each file."""
    if counts.count(1) == len(counts):
        return SingleFrames(len(counts))
    return [
        Frame(instance, number)
        for instance, count in enumerate(counts)
        for number in range(1, count + 1)
    ]


def slices_by_instance(frames: Sequence[Frame]) -> list[list[int]]:
    """Return the slices of each file in frame order; files are ordered by their first slices."""
    if isinstance(frames, SingleFrames):
        return [[index] for index in range(len(frames))]
    found: dict[int, list[int]] = {}
    for index, frame in enumerate(frames):
        found.setdefault(frame.instance, []).append(index)
    return [sorted(slices, key=lambda index: frames[index].number) for slices in found.values()]


def frames_to_json(frames: Sequence[Frame]) -> list[list[int]]:
    """Return frames for the metadata JSON: one pair per slice."""
    return [list(frame) for frame in frames]


def frames_from_json(document: Any, slice_count: int) -> list[Frame]:
    """Return frames from metadata JSON.

    Raises:
        MetaDataError: the frames are malformed.
    """
    pairs = document if isinstance(document, list) else []
    found = [
        Frame(*pair)
        for pair in pairs
        if isinstance(pair, list)
        and len(pair) == 2
        and all(type(n) is int for n in pair)
        and pair[0] >= 0 < pair[1] <= _MOST_FRAMES
    ]
    if len(pairs) != slice_count or len(set(found)) != slice_count:
        raise MetaDataError(
            f"expected valid frames for {slice_count} slices, found {len(set(found))}"
        )
    return found


class _Index:
    """The macros in the items of functional groups by the elements that they have.

    Attributes:
        macros: the macros that have an element, in the order in which they were found.
        holders: the macros that have a sequence.
    """

    def __init__(self, items: Iterable[Mapping[str, Entry]]) -> None:
        self.macros: dict[str, dict[str, None]] = {}
        self.holders: dict[str, dict[str, None]] = {}
        for item in items:
            for macro, sequence in item.items():
                self._add(macro, sequence)

    def _add(self, macro: str, sequence: Entry) -> None:
        if sequence["vr"] != "SQ" or sequence["shared"] is not None:
            return
        self.holders.setdefault(macro, {})
        for key, entry in sequence["Value"][0].items() if sequence.get("Value") else ():
            self.macros.setdefault(key, {})
            macros = (self.holders if entry["vr"] == "SQ" else self.macros).setdefault(key, {})
            macros[macro] = None
            if len(macros) > _MOST_MACROS:
                raise MetaDataError(f"more than {_MOST_MACROS} macros have an element {key}")


IndicesOfGroups: TypeAlias = dict[tuple[int, ...], _Index]
"""Indices by the identities of the groups' items."""


class FrameElements:
    """The elements in the functional groups of slices, each collected on first use.

    Covers the elements directly in the first item of a macro; `sequence` finds sequences there, and
    macros themselves.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        frames: Sequence[Frame],
        indices: IndicesOfGroups | None = None,
    ) -> None:
        """Index the functional groups among the entries of a series.

        Args:
            entries: the entries.
            frames: the file and frame of each slice.
            indices: those of other parts of the series, which must still exist; gains its own.
        """
        self._groups = tuple(map(entries.get, FUNCTIONAL_GROUPS))
        self._sequences = tuple(g if g and g["shared"] is None else None for g in self._groups)
        self._frames = frames
        items = [group.get("Value") if group else None for group in self._sequences]
        indices = {} if indices is None else indices
        known = tuple(map(id, items))
        if known not in indices:
            indices[known] = _Index(chain.from_iterable(filter(None, items)))
        self._macros, self._holders = indices[known].macros, indices[known].holders
        self._found: dict[str, Entry | None] = {}

    def is_of(self, entries: Mapping[str, Entry], frames: Sequence[Frame]) -> bool:
        """Return whether this was made from these entries and frames."""
        current = map(entries.get, FUNCTIONAL_GROUPS)
        return self._frames is frames and all(map(operator.is_, self._groups, current))

    def macros_of(self, key: str) -> list[str]:
        """Return the macros that have an element."""
        return list(self._macros.get(key, ()))

    def get(self, key: str) -> Entry | None:
        """Return the merged entry of an element; None if no slice has it."""
        if key not in self._macros:
            return None
        if key not in self._found:
            elements = [self._element(index, key) for index in range(len(self._frames))]
            values = [None if e is None else element_value(e) for e in elements]
            self._found[key] = entry_of(values)
        return self._found[key]

    def has_sequence(self, key: str) -> bool:
        """Return whether a macro is this sequence, or has it in its first item."""
        return key in self._holders

    def sequence(self, index: int, key: str) -> JsonElement | None:
        """Return the sequence `key` of a slice; None if the slice lacks it."""
        for item, column in self._items(index):
            macro = item.get(key)
            element = None if macro is None else slice_entry(macro, column)
            element = element or self._in_macros(item, column, key, self._holders.get(key, {}))
            if element is not None:
                return element
        return None

    def _element(self, index: int, key: str) -> JsonElement | None:
        for item, column in self._items(index):
            element = self._in_macros(item, column, key, self._macros[key])
            if element is not None:
                return element
        return None

    def _items(self, index: int) -> Iterator[tuple[Entries, int]]:
        """Yield the items of a slice's functional groups, each with the slice's column in them."""
        places = (self._frames[index].number - 1, 0)
        for group, place in zip(self._sequences, places, strict=True):
            item = None if group is None else item_entries(group, index, place)
            if item is not None:
                yield item

    def _in_macros(
        self, item: Entries, column: int, key: str, macros: Collection[str]
    ) -> JsonElement | None:
        for macro in macros:
            sequence = item.get(macro)
            if sequence is None or sequence["shared"] is not None:
                continue
            inner = item_entries(sequence, column, 0)
            entry = None if inner is None else inner[0].get(key)
            if inner is not None and entry is not None:
                element = slice_entry(entry, inner[1])
                if element is not None:
                    return element
        return None
