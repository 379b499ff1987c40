"""Reads values from the metadata of a series by tag, for all slices or for each.

`dicom_meta` adds changes, slice order and JSON. Must not know pixels, folders or files.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from dicube.dicom.dicom_tags import TagLike, get_tag_key, tag_name
from dicube.dicom.merge_utils import (
    Entries,
    Entry,
    JsonElement,
    is_uniform,
    of_slices,
    slice_entry,
)
from dicube.dicom.merged_elements import MergedElements
from dicube.dicom.metadata.frames import (
    FUNCTIONAL_GROUPS,
    Frame,
    FrameElements,
    SingleFrames,
    slices_by_instance,
)
from dicube.dicom.metadata.json_elements import json_values, plain_value
from dicube.exceptions import MetaDataError

if TYPE_CHECKING:
    from dicube.dicom.metadata.compared_elements import ComparedElements

T = TypeVar("T")


class NotSharedError(MetaDataError, ValueError):
    """Raised for an element that differs between slices if one value for all was requested."""


class MetadataLookup:
    """Read access to the metadata of a series of N slices; see `DicomMeta`.

    Attributes:
        slice_count: N.
    """

    def __init__(self, merged_data: MergedElements, slice_count: int) -> None:
        """Take merged entries of slices that are files of their own."""
        self.slice_count = slice_count
        self._merged_data = merged_data
        self._file_meta = MergedElements()
        self._frames: Sequence[Frame] = SingleFrames(slice_count)
        self._frame_elements: FrameElements | None = None
        self._derived: dict[tuple[str, Hashable], tuple[Entry | None, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what is cached, which may hold values from before edits."""
        return {**self.__dict__, "_frame_elements": None, "_derived": {}}

    @property
    def entries(self) -> Entries:
        """The merged entries of the datasets, by tag key, in tag order."""
        return self._merged_data

    @property
    def file_meta(self) -> Entries:
        """The merged entries of group 2, except those that other elements determine."""
        return self._file_meta

    @property
    def frames(self) -> Sequence[Frame]:
        """The file and frame of each slice."""
        return self._frames

    @property
    def has_frames(self) -> bool:
        """Whether a file has several frames."""
        if isinstance(self._frames, SingleFrames):
            return False
        return any(frame.number > 1 for frame in self._frames) or len(
            {frame.instance for frame in self._frames}
        ) < len(self._frames)

    def compared(self) -> ComparedElements:
        """Return what compares the elements with those of files."""
        from dicube.dicom.metadata.compared_elements import ComparedElements

        return ComparedElements(self._merged_data, self._file_meta)

    def instances(self) -> list[list[int]]:
        """Return the slices of each file in frame order; [[0], [1], ...] for single-frame files."""
        return slices_by_instance(self._frames)

    def get(self, tag: TagLike, default: Any = None, force_nonshared: bool = False) -> Any:
        """Return the value of an element: one value if all slices share it, else one per slice.

        A value is a number, a text or bytes; a list if the element has several values; None if it
        is empty. Person names are texts ('DOE^JOHN'), sequences are lists of DICOM JSON items. In a
        list with one value per slice, None means that the slice lacks the element, or has an empty
        one.

        Args:
            tag: the element.
            default: the result if no slice has the element.
            force_nonshared: always return a list with one value per slice.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> meta.get("Modality")
            'CT'
            >>> meta.get("SliceLocation", default=0.0)
            0.0
            >>> meta.get("ImagePositionPatient")[1]
            [-10.0, 20.0, 2.5]
        """
        entry = self._entry(tag)
        if entry is None:
            return [default] * self.slice_count if force_nonshared else default
        if is_uniform(entry):
            value = plain_value(slice_entry(entry, 0))
            return [value] * self.slice_count if force_nonshared else value
        return of_slices(entry, range(self.slice_count), plain_value)

    def get_of_slice(self, tag: TagLike, index: SupportsIndex) -> Any:
        """Return the value that an element has in one slice; None if it is missing or empty.

        Args:
            tag: the element.
            index: the number of the slice, from 0; negative ones count from the end.

        Raises:
            IndexError: the slice does not exist.

        Example:
            >>> meta = dicube.read_dicom_dir("series")
            >>> meta.get_of_slice("InstanceNumber", 3)
            4
        """
        entry, number = self._entry(tag), self._slice(index)
        if entry is None:
            return None
        return plain_value(slice_entry(entry, 0 if is_uniform(entry) else number))

    def derived(self, tag: TagLike, what: Hashable, make: Callable[[], T]) -> T:
        """Return a result computed from an element, cached until the element changes.

        Slice order, status and geometry use the same numbers.

        Args:
            tag: the element.
            what: identifies the result.
            make: computes it.
        """
        entry, key = self._entry(tag), (get_tag_key(tag), what)
        known = self._derived.get(key)
        if known is None or known[0] is not entry:  # entries are never changed in place
            known = self._derived[key] = (entry, make())
        made: T = known[1]
        return made

    def get_values(self, tag_input: TagLike) -> list[Any]:
        """Return the values of every slice in the DICOM JSON model; None for a missing element.

        A shared element has its list of values for every slice. Other elements have scalars if
        every slice has exactly one value, else lists. Binary is returned as bytes.
        """
        entry = self._entry(tag_input)
        if entry is None:
            return [None] * self.slice_count
        if is_uniform(entry):
            return [_copied(json_values(slice_entry(entry, 0)))] * self.slice_count
        if entry["shared"] is False and "InlineBinary" not in entry:
            return list(map(_copied, entry["Value"]))
        return of_slices(entry, range(self.slice_count), lambda e: _copied(json_values(e)))

    def has_sequence(self, tag: TagLike) -> bool:
        """Return whether `sequences` may find this one."""
        key = get_tag_key(tag)
        groups = self._elements_of_frames()
        return key in self._holder(key) or (groups is not None and groups.has_sequence(key))

    def sequences(
        self, tag: TagLike, slices: Sequence[int]
    ) -> list[list[dict[str, JsonElement]] | None]:
        """Return the items of a sequence in some slices, in DICOM JSON; None for those without it.

        The sequence may be in the dataset, a functional group macro, or in the first item of one.

        Args:
            tag: the sequence.
            slices: the numbers of the slices, from 0.
        """
        key = get_tag_key(tag)
        elements: Iterable[JsonElement | None] = [None] * len(slices)
        if key in self._holder(key):
            entry = self._holder(key)[key]
            if is_uniform(entry):
                elements = [slice_entry(entry, 0)] * len(slices)
            else:
                elements = of_slices(entry, slices, lambda element: element)
        else:
            groups = self._elements_of_frames()
            if groups is not None and groups.has_sequence(key):
                elements = (groups.sequence(index, key) for index in slices)
        return [
            element.get("Value", []) if element is not None and element["vr"] == "SQ" else None
            for element in elements
        ]

    def get_shared_value(self, tag_input: TagLike) -> Any:
        """Return the value of an element that all slices share, in the DICOM JSON model.

        Returns:
            The value, or a list if there are several; None if no slice has the element, or if it is
            empty.

        Raises:
            NotSharedError: (also a MetaDataError and ValueError) the slices differ.

        Example:
            >>> dicube.load_meta("head.dcbs").get_shared_value("PixelSpacing")
            [0.5, 0.75]
        """
        entry = self._entry(tag_input)
        if entry is None:
            return None
        if not is_uniform(entry):
            raise NotSharedError(f"{tag_name(get_tag_key(tag_input))} differs from slice to slice")
        values = _copied(json_values(slice_entry(entry, 0)))
        return values[0] if isinstance(values, list) and len(values) == 1 else values or None

    def is_shared(self, tag_input: TagLike) -> bool:
        """Return whether all slices have the element, with the same value.

        Example:
            >>> meta = dicube.read_dicom_dir("series")
            >>> meta.is_shared("PatientName"), meta.is_shared("InstanceNumber")
            (True, False)
        """
        entry = self._entry(tag_input)
        return entry is not None and is_uniform(entry)

    def is_missing(self, tag_input: TagLike) -> bool:
        """Return whether no slice has the element."""
        return self._entry(tag_input) is None

    def lengths_elsewhere(self, tag: TagLike) -> tuple[str, list[int | None]] | None:
        """Return VR and length in each slice of a binary value that only the original files have.

        The length is None for a slice without the element. Returns None for other elements.
        """
        key = get_tag_key(tag)
        return self._holder(key).lengths_elsewhere(key) if key in self._holder(key) else None

    def is_in_functional_groups(self, tag: TagLike) -> bool:
        """Return whether an element stands in the functional groups of frames."""
        groups = self._elements_of_frames()
        return groups is not None and bool(groups.macros_of(get_tag_key(tag)))

    def get_vr(self, tag_input: TagLike) -> str:
        """Return the value representation of an element; '' if no slice has it."""
        entry = self._entry(tag_input)
        return "" if entry is None else str(entry["vr"])

    def keys(self) -> list[str]:
        """Return the tag keys ('GGGGEEEE'), in tag order; also those of group 2 (file meta)."""
        return [*self._file_meta, *self._merged_data]

    def items(self) -> Iterable[tuple[str, Entry]]:
        """Return the tag keys and their merged entries, in tag order."""
        return [*self._file_meta.items(), *self._merged_data.items()]

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self._file_meta) + len(self._merged_data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, tag: TagLike) -> bool:
        return self._entry(tag) is not None

    def __getitem__(self, tag: TagLike) -> tuple[Any, str | None]:
        """Return (values, 'shared'), (values per slice, 'non_shared') or (None, None) if missing.

        Values are in the DICOM JSON model.
        """
        entry = self._entry(tag)
        if entry is None:
            return None, None
        if is_uniform(entry):
            return json_values(slice_entry(entry, 0)), "shared"
        return self.get_values(tag), "non_shared"

    def _slice(self, index: SupportsIndex) -> int:
        number = operator.index(index)
        if not -self.slice_count <= number < self.slice_count:
            raise IndexError(f"slice {number} does not exist; there are {self.slice_count}")
        return number % self.slice_count

    def _holder(self, key: str) -> MergedElements:
        return self._file_meta if key.startswith("0002") else self._merged_data

    def _entry(self, tag: TagLike) -> Entry | None:
        key = get_tag_key(tag)
        entry = self._holder(key).get(key)
        if entry is not None:
            return entry
        groups = self._elements_of_frames()
        return None if groups is None else groups.get(key)

    def _elements_of_frames(self) -> FrameElements | None:
        """Return the elements in the present functional groups; None if there are none."""
        if not any(group in self._merged_data for group in FUNCTIONAL_GROUPS):
            return None
        found = self._frame_elements
        if found is None or not found.is_of(self._merged_data, self._frames):
            found = self._frame_elements = FrameElements(self._merged_data, self._frames)
        return found


def converted(values: Iterable[Any], convert: Callable[[Any], T]) -> list[T]:
    """Return the converted values of slices; a value that slices in a row share counts once.

    A value may be a list of a million numbers, however small the file is that it came from.
    """
    found: list[T] = []
    before: Any = None
    for value in values:
        found.append(found[-1] if found and value is before else convert(value))
        before = value
    return found


def _copied(value: Any) -> Any:
    """Return a value that callers may modify, because entries must not change."""
    return deepcopy(value) if isinstance(value, (list, dict)) else value
