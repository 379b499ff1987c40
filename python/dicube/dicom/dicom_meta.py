"""DicomMeta: the DICOM metadata of a series, with shared values stored once.

Must not know pixels, folders or files.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

from dicube.dicom.dicom_tags import TagLike, get_tag_key, tag_name
from dicube.dicom.elements.items import (
    DERIVED_FILE_META,
    PIXEL_ELEMENTS,
    Item,
    frame_count,
    item_of,
)
from dicube.dicom.elements.values import (
    DEFAULT_ENCODINGS,
    ElementValue,
    Encodings,
    encode_value,
    encodings_of,
    value_of,
)
from dicube.dicom.merge_utils import (
    Entry,
    JsonElement,
    element_value,
    per_slice_entry,
    shared_entry,
    slice_entry,
    slice_items,
)
from dicube.dicom.merged_elements import MergedElements
from dicube.dicom.metadata.entry_checks import check_nested, checked, slice_count_of, wellformed
from dicube.dicom.metadata.first_slice import FirstSlice, first_slice
from dicube.dicom.metadata.frame_edits import set_in_macro
from dicube.dicom.metadata.frames import (
    FrameElements,
    IndicesOfGroups,
    frames_from_json,
    frames_of,
    frames_to_json,
)
from dicube.dicom.metadata.json_elements import dataset_of, merge_items_of, without_raw
from dicube.dicom.metadata.lookup import MetadataLookup
from dicube.dicom.metadata.lookup import NotSharedError as NotSharedError
from dicube.dicom.metadata.original_elements import (
    OriginalElements,
    has_long_binary,
    without_long_binary,
)
from dicube.dicom.metadata.published_entries import entry_from_published
from dicube.dicom.metadata.slice_bytes import InstanceEncoder
from dicube.dicom.metadata.slice_order import slice_order
from dicube.dicom.metadata.table import metadata_table
from dicube.dicom.metadata.unparsed_entries import UnparsedEntries, entry_from_json, read_json
from dicube.exceptions import DataConsistencyError, MetaDataError
from dicube.strict_json import dump_json

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# In the JSON beside "_merged_data" and "slice_count": absent values are null, "raw", "counts" and
# "vrs" are present where needed (see merge_utils), and sequences are sorted.
_VERSION_KEY, _VERSION = "merge_version", 2
_MERGED_KEY, _FILE_META_KEY = "_merged_data", "_file_meta"
# The keys of entries without their long binary values, which the original files have.
ELSEWHERE_KEY = "in_originals"
_FRAMES_KEY = "frames"  # only present if a file has several frames
# A number alone must not cause a large allocation; above this count, per-slice values must confirm
# the number of slices.
_MOST_SLICES = 1 << 20
_PIXEL_REPRESENTATION = "00280103"
_CHARACTER_SET = "00080005"


class SortMethod(Enum):
    """The order of the slices of a series.

    By instance number, or by position along the slice normal, the cross product of row and column
    direction (PS3.3 C.7.6.2.1.1): RIGHT_HAND goes along it, LEFT_HAND against it.
    """

    INSTANCE_NUMBER_ASC = 1
    INSTANCE_NUMBER_DESC = 2
    POSITION_RIGHT_HAND = 3
    POSITION_LEFT_HAND = 4


ANY_ELEMENT = ""


class SliceCountError(DataConsistencyError, ValueError):
    """Raised for a number of values or names that is not the number of slices."""


class MissingTagError(MetaDataError, KeyError):
    """Raised for an element that no slice has."""

    __str__ = MetaDataError.__str__


class Follower(Protocol):
    """An object that has to know of edits before they are made."""

    def before_edit(self) -> None:
        """Do what must be done before the metadata change."""


class Followers(weakref.WeakSet[Follower]):
    """Followers, as long as they live in this process: copies and pickles have none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Followers, ()

    def before_edit(self) -> None:
        """Tell all."""
        for follower in list(self):
            follower.before_edit()


class DicomMeta(MetadataLookup):
    """The metadata of a series of N slices.

    Methods take a tag as keyword, pydicom Tag, (group, element), 0xGGGGEEEE or hexadecimal text; an
    unknown keyword raises UnknownTagError (a MetaDataError, KeyError and ValueError). The metadata
    never contain pixel data or group lengths. File meta elements (group 2) are listed too, except
    those that the encoding or other elements determine.

    Each frame of a multi-frame file is a slice; these slices share the elements of its dataset.
    Elements in the functional groups of a frame (PS3.3 C.7.6.16) can be read, set and removed by
    tag as if they were in the dataset of the slice: `get("ImagePositionPatient")`. A dataset that
    has the element too is changed as well. Listings show these elements in their sequence only.

    Copies are independent. Two objects are equal if all elements of all slices are equal.

    Attributes:
        filenames: the file of each slice, or None.
        slice_count: N.
        edits: the keys of the elements set or removed so far, in that order; ANY_ELEMENT for a
            change of the slice order.
        followers: their `before_edit` is called before each of these edits.
        first_before: rescale and window of the first slice before the last selection or
            reordering of slices; None if there was none.

    Example:
        >>> meta = dicube.read_dicom_dir("series")
        >>> meta
        <DicomMeta of 5 slices, 27 elements>
        >>> meta.get("PatientName")  # all slices share it
        'DOE^JOHN'
        >>> meta.get("InstanceNumber")  # one value per slice
        [1, 2, 3, 4, 5]
        >>> meta.set_shared_item("PatientName", "ANONYMOUS")
        >>> meta["PatientName"]
        ([{'Alphabetic': 'ANONYMOUS'}], 'shared')
    """

    def __init__(
        self,
        merged_data: Mapping[str, Entry],
        filenames: Sequence[str] | None = None,
        *,
        slice_count: int | None = None,
    ) -> None:
        """Create metadata from merged entries (see `merge_utils`) by tag key.

        Args:
            merged_data: the entries.
            filenames: one per slice.
            slice_count: by default the number of values in per-slice entries, else the number of
                filenames, else 1.

        Raises:
            MetaDataError: the entries are malformed.
            DataConsistencyError: the counts disagree.
        """
        if slice_count is None:
            slice_count = slice_count_of(merged_data)
        if slice_count is None:
            slice_count = len(filenames) if filenames is not None else 1
        super().__init__(
            merged_data
            if isinstance(merged_data, MergedElements)
            else MergedElements(entries=checked(merged_data, slice_count)),
            slice_count,
        )
        self.edits: list[str] = []
        self.followers = Followers()
        self.first_before: FirstSlice | None = None
        self.filenames = None if filenames is None else [str(name) for name in filenames]
        if self.filenames is not None and len(self.filenames) != slice_count:
            raise SliceCountError(f"{len(self.filenames)} filenames for {slice_count} slices")

    @classmethod
    def from_datasets(
        cls, datasets: Sequence[Dataset], filenames: Sequence[str] | None = None
    ) -> DicomMeta:
        """Merge the datasets of a series, in the given order; each frame becomes a slice.

        Later changes to the datasets have no effect.

        Args:
            datasets: one per slice, or multi-frame datasets.
            filenames: one per dataset.

        Raises:
            MetaDataError: `datasets` is empty, or a value set by hand is invalid.
            DataConsistencyError: the number of filenames differs from that of datasets.

        Example:
            >>> import pydicom
            >>> from pathlib import Path
            >>> datasets = [pydicom.dcmread(path) for path in sorted(Path("series").iterdir())]
            >>> dicube.DicomMeta.from_datasets(datasets).slice_count
            5
        """
        if not datasets:
            raise MetaDataError(
                "expected one dataset or more, found none", context="DicomMeta.from_datasets"
            )
        file_metas = (getattr(dataset, "file_meta", None) for dataset in datasets)
        items = [item_of(dataset) for dataset in datasets]
        return cls.from_items(
            items,
            [Item() if file_meta is None else item_of(file_meta) for file_meta in file_metas],
            filenames,
            list(map(frame_count, items)),
        )

    @classmethod
    def from_items(
        cls,
        items: Sequence[Item],
        file_metas: Sequence[Item],
        filenames: Sequence[str] | None = None,
        frame_counts: Sequence[int] | None = None,
    ) -> DicomMeta:
        """Merge the elements of files, as `elements.item_of` returns them.

        Args:
            items: the elements of each dataset.
            file_metas: the elements of group 2 of each file.
            filenames: one per dataset.
            frame_counts: the number of frames of each dataset; None for one each.

        Raises:
            DataConsistencyError: the number of filenames differs from that of datasets.
        """
        if filenames is not None and len(filenames) != len(items):
            raise SliceCountError(f"{len(filenames)} filenames for {len(items)} datasets")
        frames = frames_of(frame_counts or [1] * len(items))
        meta = cls(
            MergedElements([items[frame.instance] for frame in frames]),
            None if filenames is None else [filenames[frame.instance] for frame in frames],
            slice_count=len(frames),
        )
        meta._frames = frames
        meta._file_meta = MergedElements([file_metas[frame.instance] for frame in frames])
        for tag, source in DERIVED_FILE_META.items():
            if source is None or f"{source:08X}" in meta._merged_data:
                meta._file_meta.pop(f"{tag:08X}", None)
        return meta

    @classmethod
    def from_json(
        cls,
        json_str: str,
        filenames: Sequence[str] | None = None,
        *,
        originals: OriginalElements | None = None,
        most_slices: int | None = None,
        source: str | None = None,
    ) -> DicomMeta:
        """Read the JSON of `to_json`, also that of published versions.

        Args:
            json_str: the JSON.
            filenames: one per slice.
            originals: the source of elements that are incomplete in the JSON.
            most_slices: the most slices that the metadata can have; None if that is unknown.
            source: the name of the file that has the JSON, for errors. If it is given, long
                elements are parsed and checked when they are first used, and raise then.

        Raises:
            MetaDataError: the JSON is malformed, or has more slices than `most_slices`.
            DataConsistencyError: the number of filenames differs from that of slices.
        """
        document, texts = read_json(json_str, _MERGED_KEY, whole=source is None)
        merged = document.get(_MERGED_KEY) if isinstance(document, dict) else None
        if not isinstance(merged, dict):
            raise MetaDataError("the metadata JSON has no '_merged_data' object")
        count, is_ours = document.get("slice_count"), _VERSION_KEY in document
        has_count = type(count) is int and count >= 1
        elsewhere, load = document.get(ELSEWHERE_KEY), None
        incomplete: list[str] = []
        if isinstance(elsewhere, list):
            incomplete = [key for key in elsewhere if isinstance(key, str)]
            load = originals or OriginalElements()
        needed = incomplete if is_ours and has_count and count <= _MOST_SLICES else list(texts)
        merged |= {key: entry_from_json(key, texts.pop(key)) for key in needed if key in texts}
        if not has_count:
            count = slice_count_of(merged)
        elif count > _MOST_SLICES and count != slice_count_of(merged):
            raise MetaDataError(f"the metadata claim {count} slices, but have no values for them")
        if count is None:
            count = len(filenames) if filenames is not None else 1
        if most_slices is not None and count > most_slices:
            raise MetaDataError(
                f"the metadata claim {count} slices, but the file can't have more than "
                f"{most_slices}"
            )
        check_nested(merged, count)
        if not is_ours:
            merged = {
                key: entry_from_published(entry, count) for key, entry in wellformed(merged).items()
            }
        merged = checked(merged, count)
        unparsed = UnparsedEntries(texts, merged, count, source or "")
        elements = MergedElements((), merged, incomplete, load, unparsed)
        meta = cls(elements, filenames, slice_count=count)
        file_meta = document.get(_FILE_META_KEY)
        if isinstance(file_meta, dict):
            meta._file_meta = MergedElements(entries=checked(file_meta, count))
        if _FRAMES_KEY in document:
            meta._frames = frames_from_json(document[_FRAMES_KEY], count)
        if originals is not None:
            originals.slices = meta.instances()
        return meta

    def to_json(self, elsewhere: Collection[str] = ()) -> str:
        """Return the metadata as JSON, which the published package reads too.

        Args:
            elsewhere: the keys of elements to write without their long binary; see `kept_by`.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> dicube.DicomMeta.from_json(meta.to_json()) == meta
            True
        """
        entries = {}
        for key in self._merged_data:
            entry = self._merged_data.without_binary(key) if key in elsewhere else None
            entry = entry or self._merged_data[key]
            entries[key] = without_long_binary(entry) if key in elsewhere else entry
        check_nested(entries, self.slice_count)  # else no reader accepts them
        document: dict[str, Any] = {
            _MERGED_KEY: checked(entries, self.slice_count),
            "slice_count": self.slice_count,
            _VERSION_KEY: _VERSION,
            _FILE_META_KEY: dict(self._file_meta),
        }
        if self.has_frames:
            document[_FRAMES_KEY] = frames_to_json(self._frames)
        if elsewhere:
            document[ELSEWHERE_KEY] = sorted(elsewhere)
        return dump_json(document)

    def kept_by(self, originals: OriginalElements) -> list[str]:
        """Return the keys of elements whose long binary can be read from the original files."""
        originals.slices, merged, plain = self.instances(), self._merged_data, originals.are_plain
        return [
            key
            for key in merged
            if (merged.without_binary(key) is not None and (plain or merged.is_from_json))
            or (has_long_binary(merged[key]) and originals.gives(key, merged[key]))
        ]

    def fork(self) -> DicomMeta:
        """Return an independent copy, without merging elements that were not used yet."""
        forked = DicomMeta(self._merged_data.fork(), self.filenames, slice_count=self.slice_count)
        forked._file_meta = self._file_meta.fork()
        forked._frames = self._frames
        return forked

    def same_as(self, other: DicomMeta) -> bool:
        """Return whether elements, file meta, frames and filenames are all equal."""
        return (
            self.slice_count == other.slice_count
            and self.filenames == other.filenames
            and self.instances() == other.instances()
            and self._merged_data.same_as(other._merged_data)
            and self._file_meta.same_as(other._file_meta)
        )

    def __delitem__(self, tag: TagLike) -> None:
        """Remove an element from all slices.

        Raises:
            MissingTagError: (also a MetaDataError and KeyError) no slice has it.
        """
        self.followers.before_edit()
        key = get_tag_key(tag)
        in_macro = self._set_in_macros(key, [None] * self.slice_count)
        if key not in self._holder(key) and not in_macro:
            raise MissingTagError(f"the metadata have no element {tag_name(key)}")
        self._holder(key).pop(key, None)
        self.edits.append(key)

    def set_shared_item(self, tag_input: TagLike, value: Any, vr: str | None = None) -> None:
        """Set an element to the same value in all slices.

        Args:
            tag_input: the element; added if it is missing.
            value: one value or a list; None for an empty element. For a sequence: a list of pydicom
                Datasets or of DICOM JSON items.
            vr: value representation; needed for a tag that neither the metadata nor the DICOM
                dictionary has.

        Raises:
            MetaDataError: the value is invalid for the element.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> meta.set_shared_item("PatientID", "anonymous")
            >>> meta.get("PatientID")
            'anonymous'
            >>> meta.set_shared_item("00091001", [1, 2], vr="US")  # a private element
        """
        self.followers.before_edit()
        key, vr = self._assignable(tag_input, vr)
        if vr == "SQ":
            entry: Entry = {"vr": "SQ", "shared": None, "Value": merge_items_of(value)}
        else:
            given = self._value_of(key, vr, value, self._encodings(0))
            in_macro = self._set_in_macros(key, [given] * self.slice_count)
            if in_macro and key not in self._holder(key):
                self.edits.append(key)
                return
            entry = shared_entry(given)
        self._holder(key)[key] = entry
        self.edits.append(key)

    def set_nonshared_item(
        self, tag_input: TagLike, values: Sequence[Any], vr: str | None = None
    ) -> None:
        """Set an element to one value per slice.

        Args:
            tag_input: the element; added if it is missing. It can't be a sequence.
            values: for each slice a value, a list of values, [] for an empty element, or None to
                remove the element.
            vr: as in `set_shared_item`.

        Raises:
            SliceCountError: (also a DataConsistencyError and ValueError) the number of values
                differs from that of slices.
            MetaDataError: a value is invalid for the element.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> meta.set_nonshared_item("TriggerTime", [0, 20, 40, 60, 80])
            >>> meta.get("TriggerTime")
            [0.0, 20.0, 40.0, 60.0, 80.0]
        """
        if len(values) != self.slice_count:
            raise SliceCountError(f"{len(values)} values for {self.slice_count} slices")
        self.followers.before_edit()
        key, vr = self._assignable(tag_input, vr)
        if vr == "SQ":
            raise MetaDataError(
                f"{tag_name(key)} is a sequence, which can't be set per slice; "
                "set_shared_item sets it for all slices"
            )
        given = [
            None if value is None else self._value_of(key, vr, value, self._encodings(i))
            for i, value in enumerate(values)
        ]
        holder = self._holder(key)
        in_macro = self._set_in_macros(key, given) and (self.has_frames or key not in holder)
        if in_macro or all(value is None for value in given):
            holder.pop(key, None)
        else:
            holder[key] = per_slice_entry(given)
        self.edits.append(key)

    def sort_files(self, sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC) -> list[int]:
        """Sort the slices.

        Slices without distinct instance numbers are sorted by position along the normal; without
        positions they keep their order. Slices without a number come last. Frames of one file keep
        their order, or are reversed, unless sorted by position.

        Args:
            sort_method: the order.

        Returns:
            The former index of each slice.

        Raises:
            MetaDataError: sorting by position, but slices have none.
            DataConsistencyError: `sort_method` is not a SortMethod.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> meta.sort_files(dicube.SortMethod.INSTANCE_NUMBER_DESC)
            [4, 3, 2, 1, 0]
            >>> meta.get("InstanceNumber")
            [5, 4, 3, 2, 1]
        """
        if not isinstance(sort_method, SortMethod):
            raise DataConsistencyError(f"expected a SortMethod, found {sort_method!r}")
        descending = sort_method in (SortMethod.INSTANCE_NUMBER_DESC, SortMethod.POSITION_LEFT_HAND)
        by_position = sort_method in (SortMethod.POSITION_RIGHT_HAND, SortMethod.POSITION_LEFT_HAND)
        order = slice_order(self, by_position=by_position, descending=descending)
        self.reorder(order)
        return order

    def reorder(self, order: Sequence[int]) -> None:
        """Put the slices in a given order: slice order[0] first.

        Raises:
            SliceCountError: `order` does not contain every slice once.
        """
        if sorted(order) != list(range(self.slice_count)):
            raise SliceCountError(
                f"expected each of {self.slice_count} slices once, found {list(order)}"
            )
        if list(order) == list(range(self.slice_count)):
            return
        self.followers.before_edit()
        self.edits.append(ANY_ELEMENT)
        self.first_before = first_slice(self)
        self._merged_data.reorder(order)
        self._file_meta.reorder(order)
        self._frames = [self._frames[i] for i in order]
        if self.filenames is not None:
            self.filenames = [self.filenames[i] for i in order]

    def select(self, chosen: Sequence[int]) -> DicomMeta:
        """Return the metadata of some slices, in the given order.

        Raises:
            SliceCountError: `chosen` is empty, or contains a slice twice.
            IndexError: a slice does not exist.

        Example:
            >>> meta = dicube.load_meta("head.dcbs")
            >>> meta.select([0, 2]).get("InstanceNumber")
            [1, 3]
        """
        return self.split([chosen])[0]

    def split(self, groups: Sequence[Sequence[int]]) -> list[DicomMeta]:
        """Return the metadata of groups of slices; faster than `select` for each.

        Raises:
            SliceCountError, IndexError: see `select`.

        Example:
            >>> first, second = dicube.load_meta("head.dcbs").split([[0, 1], [2, 3, 4]])
            >>> second.get("InstanceNumber")
            [3, 4, 5]
        """
        chosen = [[self._slice(index) for index in group] for group in groups]
        for slices in chosen:
            if not slices or len(set(slices)) != len(slices):
                raise SliceCountError(f"expected distinct slices, one or more, found {slices}")
        before = first_slice(self)
        in_frames = self._elements_of_frames()
        parts = []
        for slices, merged, file_meta in zip(
            chosen, self._merged_data.split(chosen), self._file_meta.split(chosen), strict=True
        ):
            names = None if self.filenames is None else [self.filenames[i] for i in slices]
            part = DicomMeta(merged, names, slice_count=len(slices))
            part._file_meta = file_meta
            part._frames = [self._frames[i] for i in slices]
            part.first_before = before
            parts.append(part)
        if in_frames is not None:
            indices: IndicesOfGroups = {}
            for part in parts:
                part._frame_elements = FrameElements(part._merged_data, part._frames, indices)
        return parts

    def index(self, index: SupportsIndex) -> dict[str, JsonElement]:
        """Return the elements of one slice in the DICOM JSON model (PS3.18 F.2), by tag key.

        Raises:
            IndexError: the slice does not exist.

        Example:
            >>> dicube.load_meta("head.dcbs").index(0)["00200013"]
            {'vr': 'IS', 'Value': [1]}
        """
        return deepcopy(without_raw(slice_items(self._merged_data, self._slice(index))))

    def dataset(self, index: SupportsIndex) -> Dataset:
        """Return one slice as a pydicom Dataset, with every element except pixels and file meta.

        Raises:
            IndexError: the slice does not exist.
            MetaDataError: a value can't be encoded.

        Example:
            >>> dicube.load_meta("head.dcbs").dataset(0).InstanceNumber
            '1'
        """
        elements = InstanceEncoder(self._merged_data).encode(self._slice(index))
        return dataset_of(b"".join(data for _, data in elements))

    def display(self, show_shared: bool = True, show_non_shared: bool = True) -> None:
        """Print a table of the elements.

        Args:
            show_shared: include elements that are equal in all slices.
            show_non_shared: include the others.

        Example:
            >>> dicube.load_meta("head.dcbs").display()
            5 slices, 27 elements; * differs from slice to slice
            Tag         VR Keyword                   Value
            ...
        """
        sys.stdout.write(metadata_table(self, show_shared, show_non_shared))

    def __copy__(self) -> DicomMeta:
        copy = DicomMeta(dict(self._merged_data), self.filenames, slice_count=self.slice_count)
        copy._file_meta = MergedElements(entries=dict(self._file_meta))
        copy._frames = self._frames
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DicomMeta):
            return NotImplemented
        return (
            self.slice_count == other.slice_count
            and self.instances() == other.instances()
            and self._merged_data.same_as(other._merged_data)
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<DicomMeta of {self.slice_count} slices, {len(self)} elements>"

    def _set_in_macros(self, key: str, values: Sequence[ElementValue | None]) -> bool:
        """Set an element in functional groups; return whether they have it.

        If several macros have it, the first one is set; a removal affects all of them.
        """
        groups = self._elements_of_frames()
        macros = [] if groups is None else groups.macros_of(key)
        for macro in macros if all(value is None for value in values) else macros[:1]:
            set_in_macro(self._merged_data, self._frames, macro, key, values)
        return bool(macros)

    def _assignable(self, tag: TagLike, vr: str | None) -> tuple[str, str]:
        key = get_tag_key(tag)
        if int(key, 16) in PIXEL_ELEMENTS:
            raise MetaDataError(
                f"{tag_name(key)} is not part of the metadata",
                suggestion="assign pixels to raw_image of a DicomCubeImage",
            )
        if vr is None:
            entry = self._holder(key).get(key)
            present = None if entry is None else str(entry["vr"])
            from pydicom.datadict import dictionary_VR

            try:
                allowed = dictionary_VR(int(key, 16))
            except KeyError:
                if present is None:
                    raise MetaDataError(
                        f"the value representation of {tag_name(key)} is unknown",
                        suggestion="pass vr=",
                    ) from None
                allowed = present
            # A file may have a wrong one, which would make the new value unreadable too.
            vr = present if present in allowed.split(" or ") else allowed
        if len(vr) > 2:  # 'US or SS', 'OB or OW', ...
            signed = self.get(_PIXEL_REPRESENTATION, force_nonshared=True)[0] == 1
            vr = "OW" if "OW" in vr else "SS" if signed else "US"
        return key, vr

    def _value_of(self, key: str, vr: str, value: Any, encodings: Encodings) -> ElementValue:
        try:
            return value_of(vr, value, encodings)
        except (MetaDataError, TypeError, ValueError) as error:
            message = error.message if isinstance(error, MetaDataError) else str(error)
            suggestion = error.suggestion if isinstance(error, MetaDataError) else None
            raise MetaDataError(f"{tag_name(key)}: {message}", suggestion=suggestion) from None

    def _encodings(self, index: int) -> Encodings:
        entry = self._merged_data.get(_CHARACTER_SET)
        element = None if entry is None else slice_entry(entry, index)
        if element is None:
            return DEFAULT_ENCODINGS
        return encodings_of(encode_value(element_value(element)))
