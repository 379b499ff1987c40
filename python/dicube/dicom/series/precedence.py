"""Which value counts where a series says the same thing twice.

The metadata have rescale, window and geometry of each slice. The pixel header repeats rescale and
window, and the space repeats the geometry, once for all slices. The rule:

1. The most recent change counts. Editing one of these elements in the metadata also sets it in
   header or space; a value set there afterwards counts instead. Assigning other metadata to an
   image sets neither.
2. If the header has the rescale of the first slice, each slice has the rescale of its metadata.
   Any other rescale was set in the header and counts for all slices. The same goes for the window.
   Without RescaleSlope and RescaleIntercept, dose scaling, a Modality LUT or a Real World Value
   Mapping stand in their place (`metadata.real_world`), and a header of slope 1 and intercept 0
   was not set: 0.4.0 wrote it for series that have only these.
3. If the space puts the voxels where the metadata do, nothing was set. Any other space counts.
4. Choosing or reordering slices is not a change: a header with the values of the slice that was
   first gets those of the slice that is first now.
5. A dicube file stores all three as they are; what is exported agrees with what counts (`settled`).

Header and space are not views of the metadata, because callers pass these objects in, keep them,
and share them: a mask or a rescaled copy often has the very metadata of its source with another
header. Setting a view would then change the source too, and a private copy of the metadata would
lose what callers edit in theirs. Must not know pixels or files.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicube.dicom.dicom_meta import ANY_ELEMENT, DicomMeta
from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.elements.values import number_text
from dicube.dicom.metadata.first_slice import FirstSlice, first_slice, first_window
from dicube.dicom.metadata.frames import FUNCTIONAL_GROUPS
from dicube.dicom.metadata.look_up_table import Lut, Unreadable, read_lut
from dicube.dicom.metadata.real_world import (
    MAPPING_KEYS,
    RESCALE_NAMES,
    Choice,
    Mapping,
    SliceValues,
    has_rescale,
    header_values,
    values_of_slices,
)
from dicube.dicom.series.geometry import (
    plane_attributes,
    same_space,
    space_fields,
    space_or_reason,
)
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from dicube.dicom.series.geometry import Space

RESCALE, WINDOW = RESCALE_NAMES, FirstSlice._fields[2:]
# In a pixel header's Extras: the units of real values that a mapping makes. RescaleType has those
# of a rescale.
UNITS = "Units"
_GEOMETRY = {
    ANY_ELEMENT,
    *FUNCTIONAL_GROUPS,
    *map(
        get_tag_key,
        (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "SpacingBetweenSlices",
            "SliceThickness",
        ),
    ),
}


# --------------------------------------------------------------------------------- rules 2 and 3


def mappings_of_slices(
    meta: DicomMeta | None,
    header: PixelDataHeader,
    dtype: np.dtype[Any],
    choice: Choice | None = None,
) -> list[Mapping] | None:
    """Return how the stored values of each slice become real ones.

    Args:
        meta: the metadata.
        header: the pixel header.
        dtype: of the stored values.
        choice: the mapping to apply, by number or label; None for the one that rule 2 selects.

    Returns:
        One for each slice; None if the header's slope and intercept hold for all.

    Raises:
        DataConsistencyError: several mappings and none chosen, or the choice does not exist.
    """
    if choice is not None:
        values = [] if meta is None else values_of_slices(meta)
        if not values:
            raise DataConsistencyError("real_world= needs metadata that have mappings to choose")
        return [
            _chosen(index, one.mappings, choice).of_samples(dtype)
            for index, one in enumerate(values)
        ]
    if meta is None or _is_set(header, meta):
        return None
    found: list[Mapping] = []
    known: SliceValues | None = None
    for index, one in enumerate(values_of_slices(meta)):
        if one is known:
            found.append(found[-1])
            continue
        known = one
        if one.counting is None:
            raise DataConsistencyError(
                f"slice {index} has {len(one.mappings)} mappings to real values",
                suggestion="choose one by real_world=, its number or label in `dicube info`",
            )
        found.append(one.counting.of_samples(dtype))
    line, first = _values(header, RESCALE), found[0]
    if first.is_unlimited and first.line == line and all(map(first.same_as, found)):
        return None
    return found


def _is_set(header: PixelDataHeader, meta: DicomMeta) -> bool:
    """Return whether the header's rescale was set there, and so counts for all slices."""
    rescale = _values(header, RESCALE)
    if rescale == header_values(meta)[: len(RESCALE)]:
        return False
    return rescale != (1.0, 0.0) or has_rescale(meta)


def has_rescale_of(header: PixelDataHeader, meta: DicomMeta) -> bool:
    """Return whether a header's rescale is that of the metadata, rather than set in the header."""
    return not _is_set(header, meta)


class Window(NamedTuple):
    """What is shown of real values, from black to white (PS3.3 C.11.2.1.2).

    Attributes:
        center, width: in real values; finite, the width above 0.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
    """

    center: float
    width: float
    function: str


def window_of_slice(meta: DicomMeta | None, header: PixelDataHeader, index: int) -> Window | None:
    """Return the first window of a slice, by rule 2; None if it has none that can be applied."""
    center, width = _values(header, WINDOW)
    function = None
    if meta is not None:
        function = meta.get_of_slice("VOILUTFunction", index)
        if (center, width) == first_window(meta):
            center, width = first_window(meta, index)
    if center is None or width is None or not (math.isfinite(center) and 0 < width < math.inf):
        return None
    return Window(center, width, function if isinstance(function, str) else "LINEAR")


def table_of_slice(meta: DicomMeta | None, header: PixelDataHeader, index: int) -> Lut | None:
    """Return the first VOI LUT of a slice (PS3.3 C.11.2.1.1), which maps real values to grey ones.

    None if it has none that can be read, or if a window was set in the header.
    """
    if meta is None or _values(header, WINDOW) != first_window(meta):
        return None
    (items,) = meta.sequences("VOILUTSequence", [index])
    if not items:
        return None
    vr = items[0].get(get_tag_key("LUTDescriptor"), {}).get("vr")
    signed = vr == "SS" or meta.get_of_slice("PixelRepresentation", index) == 1
    try:
        return read_lut(items[0], signed)
    except Unreadable:
        return None


def _chosen(index: int, mappings: Sequence[Mapping], choice: Choice) -> Mapping:
    """Return the mapping that a caller chose, of those of a slice."""
    if isinstance(choice, str):
        found = [mapping for mapping in mappings if choice in mapping.labels]
    elif isinstance(choice, bool) or not hasattr(choice, "__index__"):
        raise DataConsistencyError(f"expected real_world to be a number or label, found {choice!r}")
    else:
        found = list(mappings[choice : choice + 1]) if choice >= 0 else []
    if len(found) != 1:
        raise DataConsistencyError(
            f"slice {index} has {len(found)} mappings {choice!r} among {len(mappings)}",
            suggestion="choose one by its number" if found else None,
        )
    return found[0]


def settled(
    meta: DicomMeta,
    header: PixelDataHeader,
    space: Space | None,
    kinds: Sequence[Sequence[str]] = (RESCALE, WINDOW),
) -> DicomMeta:
    """Return metadata in which each slice has the values that count; itself if it has them.

    Args:
        meta: the metadata.
        header: rescale and window.
        space: geometry (zyx); None if it isn't known, so that the metadata's counts.
        kinds: what of the header counts.

    Raises:
        DataConsistencyError: a value that DICOM can't store, such as NaN.

    Warns:
        UserWarning: slope or intercept have more digits than DICOM stores.
    """
    told = first_slice(meta)
    kinds = [
        kind
        for kind in kinds
        if (_is_set(header, meta) if kind is RESCALE else _values(header, kind) != told[2:])
    ]
    moved = space is not None and not _is_placed(meta, space)
    if not kinds and not moved:
        return meta
    changed = meta.fork()
    if space is not None and moved:
        write_space(space, changed)
    for kind in kinds:
        _write_values(header, kind, changed)
    return changed


def write_space(space: Space, meta: DicomMeta) -> None:
    """Set the image plane elements (PS3.3 C.7.6.2) to a space (zyx), unless they agree already."""
    if _is_placed(meta, space):
        return
    plane = plane_attributes(space)
    meta.set_nonshared_item("ImagePositionPatient", plane.positions)
    meta.set_shared_item("ImageOrientationPatient", plane.orientation)
    meta.set_shared_item("PixelSpacing", plane.pixel_spacing)
    meta.set_shared_item("SpacingBetweenSlices", plane.slice_distance)
    if not meta.is_missing("SliceLocation"):
        meta.set_nonshared_item("SliceLocation", plane.locations)
    if meta.is_missing("SliceThickness"):
        meta.set_shared_item("SliceThickness", plane.slice_distance)


def pixel_header_of(meta: DicomMeta, dtype: str) -> PixelDataHeader:
    """Return the pixel header of a series that was just read, from its first slice."""
    header = PixelDataHeader(
        OriginalPixelDtype=dtype, PixelDtype=dtype, **first_slice(meta)._asdict()
    )
    return replace(header, **_units(header, meta))


def write_rescale(header: PixelDataHeader, meta: DicomMeta) -> None:
    """Give all slices the header's rescale, in the elements that the metadata have."""
    for name in RESCALE:
        if not meta.is_missing(name):
            meta.set_shared_item(name, getattr(header, name))


def _write_values(header: PixelDataHeader, kind: Sequence[str], meta: DicomMeta) -> None:
    """Give all slices the rescale or the window of a header."""
    values = _values(header, kind)
    if not all(value is None or math.isfinite(value) for value in values):
        name = "rescale" if kind is RESCALE else "window"
        raise DataConsistencyError(f"DICOM can't store a {name} of {values}")
    for name, value in zip(kind, values, strict=True):
        if value is None:
            meta.set_nonshared_item(name, [None] * meta.slice_count)
            continue
        written = float(number_text(float(value)))  # 16 characters (DS, PS3.5 6.2)
        meta.set_shared_item(name, written)
        if kind is RESCALE and written != value:
            warnings.warn(
                f"{name} {float(value)!r} is written as {written!r}, the nearest number that "
                "DICOM's 16 characters hold",
                stacklevel=6,
            )


def _is_placed(meta: DicomMeta, space: Space) -> bool:
    """Return whether metadata put all voxels where a space (zyx) does."""
    told = space_or_reason(meta)[0]
    return told is not None and same_space(told.reverse_axis_order(), space)


# ---------------------------------------------------------------------------------------- rule 4


def header_of_part(header: PixelDataHeader, meta: DicomMeta) -> PixelDataHeader:
    """Return the header for metadata, given one that may be that of the slices chosen from."""
    if meta.first_before is None:
        return header
    followed = _following(header, meta.first_before, meta)
    return replace(header, **followed) if followed else header


def header_of_chosen(header: PixelDataHeader, chosen: DicomMeta) -> PixelDataHeader:
    """Return the header for slices that were just chosen from those of a header.

    A value that was set for all slices may by chance be that of the first slice chosen. The
    metadata of all chosen slices then get it, so that it still counts for all.
    """
    now = first_slice(chosen)
    before = now if chosen.first_before is None else chosen.first_before
    followed = header_of_part(header, chosen)
    for kind in (RESCALE, WINDOW):
        values = _values(header, kind)
        is_set = kind is WINDOW or values != (1.0, 0.0) or has_rescale(chosen)
        if is_set and values != _values(before, kind) and values == _values(now, kind):
            for name, value in zip(kind, values, strict=True):
                chosen.set_nonshared_item(name, [value] * chosen.slice_count)
    return followed


def _following(header: PixelDataHeader, before: FirstSlice, meta: DicomMeta) -> dict[str, Any]:
    """Return what the metadata have, of rescale and window each if the header has `before`."""
    now = first_slice(meta)
    followed = {
        name: getattr(now, name)
        for kind in (RESCALE, WINDOW)
        if _values(header, kind) == _values(before, kind)
        for name in kind
    }
    return {**followed, **_units(header, meta)} if RESCALE[0] in followed else followed


def _units(header: PixelDataHeader, meta: DicomMeta) -> dict[str, Any]:
    """Return the header's Extras with the units of a mapping, if those that it has are others."""
    units = header_values(meta).units or None
    if header.Extras.get(UNITS) == units:
        return {}
    extras = {name: value for name, value in header.Extras.items() if name != UNITS}
    return {"Extras": extras if units is None else {**extras, UNITS: units}}


def _values(of: PixelDataHeader | FirstSlice, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(of, name) for name in names)


# ---------------------------------------------------------------------------------------- rule 1


class HeaderAndSpace:
    """The pixel header and the space of an image, which follow the edits of its metadata.

    Callers may change both in place. What is changed in place is found by comparing, at the latest
    before the next edit of the metadata, so that it is known which of the two came first.

    Args:
        meta: metadata of the image; None for none.
        header, space: of the image.

    Attributes:
        header: rescale and window.
        space: the geometry (zyx); None if it isn't known.
    """

    def __init__(
        self,
        meta: DicomMeta | None,
        header: PixelDataHeader,
        space: Space | None,
    ) -> None:
        self.header = header if meta is None else header_of_part(header, meta)
        self.space = space
        self._meta = meta
        # What the metadata had when the header last followed them.
        self._first = FirstSlice(1.0, 0.0, None, None) if meta is None else first_slice(meta)
        self._moved = False  # whether geometry was edited that the space doesn't have yet
        self._seen = 0 if meta is None else len(meta.edits)
        self._remember()
        if meta is not None:
            meta.followers.add(self)

    def set_header(self, header: PixelDataHeader) -> None:
        """Set the header, after `follow`."""
        self.header = header
        self._remember()

    def set_space(self, space: Space | None) -> None:
        """Set the space, after `follow`, and write it into the metadata."""
        self.space = space
        self._remember()
        if space is not None and self._meta is not None:
            self._meta.followers.discard(self)
            write_space(space, self._meta)
            self._seen = len(self._meta.edits)
            self._meta.followers.add(self)

    def follow(self, shape: tuple[int, ...]) -> bool:
        """Take over what was edited in the metadata; return whether the space was.

        Args:
            shape: of the image's pixels. The metadata don't describe the geometry of pixels that
                were cropped or have a lower resolution.
        """
        meta = self._meta
        if meta is None:
            return False
        meta.followers.add(self)  # metadata that were unpickled have no followers
        self._take_edits(meta)
        if not self._moved:
            return False
        self._moved = False
        told = space_or_reason(meta)[0]
        space = None if told is None else told.reverse_axis_order()
        if space is not None and tuple(space.shape) != shape[:3]:
            return False
        self.space = space
        self._remember()
        return True

    def before_edit(self) -> None:
        """Note what was changed in place before an edit of the metadata, which is about to come."""
        meta, space = self._meta, self.space
        if meta is None:
            return
        is_set = self._is_set_in_place()
        self._take_edits(meta)
        if is_set and space is not None and space.shape[0] == meta.slice_count:
            self.set_space(space)

    def _take_edits(self, meta: DicomMeta) -> None:
        """Set in the header what was edited, unless it was changed there since the edit."""
        edited = set(meta.edits[self._seen :])
        self._seen = len(meta.edits)
        if edited:
            self._follow_values(meta, edited)
            if edited & _GEOMETRY:
                self._moved = not self._is_set_in_place()
        self._remember()

    def _follow_values(self, meta: DicomMeta, edited: set[str]) -> None:
        """Set rescale and window in the header to what edits of these elements made them."""
        before, now = self._first, first_slice(meta)
        changed: dict[str, Any] = {}
        if ANY_ELEMENT in edited and meta.first_before is not None:
            changed = _following(self.header, meta.first_before, meta)
        counts = _values(before, RESCALE) != _values(now, RESCALE) or not has_rescale(meta)
        for kind, others in ((RESCALE, MAPPING_KEYS if counts else ()), (WINDOW, ())):
            if not edited & {*map(get_tag_key, kind), *FUNCTIONAL_GROUPS, *others}:
                continue
            for name in kind:
                value = getattr(self.header, name)
                is_edited = edited & {get_tag_key(name), *FUNCTIONAL_GROUPS, *others}
                # A new slope may replace a mapping, so that the intercept is another one too.
                follows = is_edited or value == getattr(before, name)
                if follows and value == getattr(self._noted, name):
                    changed[name] = getattr(now, name)
            if kind is RESCALE:
                changed |= _units(self.header, meta)
        if changed:  # another header, because other images may share this one
            self.header = replace(self.header, **changed)
        self._first = now

    def _is_set_in_place(self) -> bool:
        return self.space is not None and space_fields(self.space) != self._noted_space

    def _remember(self) -> None:
        """Note what header and space are, to find later changes in place."""
        self._noted = FirstSlice(*_values(self.header, FirstSlice._fields))
        self._noted_space = None if self.space is None else space_fields(self.space)
