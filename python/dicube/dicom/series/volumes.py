"""Splits a series into volumes: stacks of different orientation, and repeats of the same slices.

Slices of another orientation belong to another volume. If several slices of one orientation have
the same position, another element distinguishes them (time, echo, b-value) and splits them into
volumes, in which each position occurs once. Must not know pixels or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.dicom_status import ranges_text
from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.metadata.frame_positions import VOLUME_VECTORS, frame_ranks, values_of_frames
from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.slice_order import normal_of, orientations, positions
from dicube.dicom.series.csa import csa_values
from dicube.dicom.series.vendors import CSA_IMAGE_HEADER, private_values

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_SAME_PLACE = 1e-3  # mm, as in `dicom_status`
# Of direction cosines. Scanners repeat the orientation of a stack; planes that differ by less than
# 0.06 degrees are meant to be parallel.
_SAME_ORIENTATION = 1e-3
_CELL = 8 * _SAME_ORIENTATION  # most cells have no first orientation near their edges

# Elements that may distinguish volumes; those made for this purpose come first. Each is followed by
# the private elements of the same meaning.
_DISTINGUISHING = (
    *("ReferencedSegmentNumber", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    *("DiffusionBValue", "DiffusionGradientOrientation", "EchoNumbers"),
    *("EchoTime", "EffectiveEchoTime", "InversionTime", "FlipAngle"),
    *("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    *("TemporalPositionTimeOffset", "FrameReferenceTime", "ComplexImageComponent", "ASLContext"),
    *("StackID", "FrameType", "ImageType", "ConvolutionKernel", "KVP", "PixelSpacing"),
    *("AcquisitionNumber", "AcquisitionDateTime", "FrameAcquisitionDateTime", "AcquisitionTime"),
    *("ContentTime", "ImageComments"),
)
_DIMENSION_INDICES = "DimensionIndexValues"
_ORIENTATION, _B_VALUE = "ImageOrientationPatient", "DiffusionBValue"
_ORDER = "order of the slices"
_MOST_DIMENSIONS = 64
_LONG_LIST = 64
_MOST_LISTED = 8  # volumes whose slices a text lists

Orientation = tuple[float, ...]
ElementValues = tuple[str, Sequence[Any]]
"""The name of an element, and its value in each slice."""


@dataclass(frozen=True)
class SeriesVolumes:
    """The volumes of a series.

    Attributes:
        name: keywords of the elements that distinguish them.
        values: the value of each volume.
        slices: the slices of each volume, in the order along the normal (or, for all volumes,
            against it).
    """

    name: str
    values: list[Any]
    slices: list[list[int]]

    def __str__(self) -> str:
        sizes = sorted({len(slices) for slices in self.slices})
        size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        text = f"{len(self.slices)} volumes of {size} slices (by {self.name})"
        if len(sizes) > 1 and len(self.slices) <= _MOST_LISTED:
            text += ", slices " + "; ".join(ranges_text(sorted(slices)) for slices in self.slices)
        return text

    @property
    def is_guessed(self) -> bool:
        """Whether nothing but the order of the slices distinguishes volumes."""
        return _ORDER in self.name


def series_volumes(meta: DicomMeta) -> SeriesVolumes | None:
    """Return the volumes of a series of several orientations, or of several slices at a position.

    Volumes of one orientation are sorted by the values that distinguish them if these are numbers,
    else by their first slices. Slices without position make a volume of their own.

    Returns:
        The volumes; None if there is one, or if nothing distinguishes slices at the same position.
    """
    series = _Series(meta)
    groups = _groups_of_orientation(series)
    if len(groups) == 1:
        return _volumes_of_group(series, groups[0])
    names, volumes = [_ORIENTATION], list[list[int]]()
    values: list[Any] = []
    for slices in groups:
        orientation, split = series.orientations[slices[0]], _volumes_of_group(series, slices)
        if split is None:
            values.append((orientation,))
            volumes.append(_stacked(series, slices))
            continue
        values += [(orientation, value) for value in split.values]
        volumes += split.slices
        names += [split.name] if split.name not in names else []
    return SeriesVolumes(", ".join(names), values, volumes)


class _Series:
    """What splits a series, read once for all of its parts."""

    def __init__(self, meta: DicomMeta) -> None:
        self._meta = meta
        self.orientations, self.positions = orientations(meta), positions(meta)
        self.ranks = frame_ranks(meta)
        self.vectors = [
            (name, values_of_frames(meta, name))
            for name in VOLUME_VECTORS
            if not meta.is_missing(name)
        ]

    @cached_property
    def columns(self) -> list[ElementValues]:
        """The elements that may distinguish volumes, which differ between slices."""
        meta, found = self._meta, list[ElementValues]()
        for keyword in _DISTINGUISHING:
            private: list[ElementValues] = [
                (tag_name(key), values) for _, key, values in private_values(meta, keyword)
            ]
            if meta.is_missing(keyword) and not private and keyword == _B_VALUE:
                private = _diffusion_in_csa(meta)
            elif not meta.is_missing(keyword) and not meta.is_shared(keyword):
                found.append((keyword, meta.get(keyword, force_nonshared=True)))
            found += private
        indices = [
            value if isinstance(value, list) else [value]
            for value in meta.get(_DIMENSION_INDICES, force_nonshared=True)
        ]
        for dimension in range(min(_MOST_DIMENSIONS, *map(len, indices))):
            name = f"{_DIMENSION_INDICES}[{dimension}]"
            found.append((name, [index[dimension] for index in indices]))
        return [(name, converted(values, _comparable)) for name, values in found]

    def places(self, group: Sequence[int]) -> list[int] | None:
        """Return the rank of each slice's position along the normal; None if one is unknown."""
        orientation = self.orientations[group[0]]
        normal = None if orientation is None else normal_of(orientation)
        points = [self.positions[index] for index in group]
        if normal is None or None in points:
            return None
        found = np.array(points, float) @ normal
        order = np.argsort(found, kind="stable")
        steps = np.diff(found[order], prepend=found[order[0]]) > _SAME_PLACE
        numbered = np.empty(len(found), int)
        numbered[order] = np.cumsum(steps)
        return [int(number) for number in numbered]


def _groups_of_orientation(series: _Series) -> list[list[int]]:
    """Return the slices of each orientation, and those without a position, by their first slices.

    All slices are one group if none has a position.
    """
    stacks, lacking, groups = _Stacks(), list[int](), dict[int, list[int]]()
    for index, (turned, point) in enumerate(
        zip(series.orientations, series.positions, strict=True)
    ):
        if turned is None or point is None:
            lacking.append(index)
        else:
            groups.setdefault(stacks.number(turned), []).append(index)
    return sorted([*groups.values(), lacking] if lacking else groups.values())


class _Stacks:
    """Numbers orientations; those that differ little from the first of a number have it too.

    The first ones are found by rounded values, so that many orientations take no longer each than
    a few.
    """

    def __init__(self) -> None:
        self._numbers: dict[Orientation, int] = {}
        self._firsts: dict[Orientation, list[tuple[int, Orientation]]] = {}
        self._count = 0

    def number(self, orientation: Orientation) -> int:
        """Return the number of an orientation."""
        if orientation not in self._numbers:
            self._numbers[orientation] = self._found(orientation)
        return self._numbers[orientation]

    def _found(self, orientation: Orientation) -> int:
        near = [
            number
            for cell in product(*map(_cells, orientation))
            for number, first in self._firsts.get(cell, ())
            if max(abs(a - b) for a, b in zip(orientation, first, strict=True)) <= _SAME_ORIENTATION
        ]
        if near:
            return min(near)
        own = tuple(cosine // _CELL for cosine in orientation)
        self._firsts.setdefault(own, []).append((self._count, orientation))
        self._count += 1
        return self._count - 1


def _cells(cosine: float) -> set[float]:
    """Return the rounded values of all numbers that may differ little from a direction cosine."""
    around = 1.001 * _SAME_ORIENTATION  # a little more, because sums are rounded
    return {(cosine + step) // _CELL for step in (-around, around)}


def _volumes_of_group(series: _Series, group: Sequence[int]) -> SeriesVolumes | None:
    """Return the volumes of slices of one orientation; None for a single one."""
    vectors = _differing(series.vectors, group)
    places = _places(series, group, bool(vectors))
    if places is None:
        return None
    repeats = max(Counter(places).values())
    if repeats == 1:
        return None
    elements = [*vectors, *_differing(series.columns, group)]
    for name, values in elements:
        wanted = None if name == _DISTINGUISHING[0] else repeats
        if _splits(values, places, wanted):
            return _split([(name, values)], group, places)
    few = [(name, values) for name, values in elements if len(set(values)) <= repeats]
    combined = _fewest(few, places, repeats)
    if combined:
        return _split(combined, group, places)
    if set(Counter(places).values()) == {repeats}:
        return _split([(_ORDER, _occurrences(places))], group, places)
    return None


def _stacked(series: _Series, group: Sequence[int]) -> list[int]:
    """Return a single volume's slices in order."""
    places = series.places(group)
    if places is None:
        return list(group)
    (numbers,) = _in_order([list(range(len(group)))], places)
    return [group[number] for number in numbers]


def _places(series: _Series, group: Sequence[int], has_vectors: bool) -> list[Any] | None:
    """Return a number for the place of each slice, the same for the same place; None if unknown.

    Args:
        series: the series.
        group: slices of one orientation.
        has_vectors: whether elements with a value for each frame tell volumes apart.
    """
    along, ranks = series.places(group), [series.ranks[index] for index in group]
    if None not in ranks:
        if along is None and has_vectors:
            return ranks
        if along is not None and len(set(along)) < len(set(ranks)):
            return ranks
    return [0] * len(group) if along is None and has_vectors else along


def _differing(elements: Sequence[ElementValues], group: Sequence[int]) -> list[ElementValues]:
    """Return the elements that differ between the slices of a group, with their values there."""
    chosen = [(name, [column[index] for index in group]) for name, column in elements]
    return [(name, values) for name, values in chosen if len(set(values)) > 1]


def _diffusion_in_csa(meta: DicomMeta) -> list[ElementValues]:
    """Return b-value and direction of diffusion in Siemens' CSA headers."""
    names = ("B_value", "DiffusionGradientDirection")
    return [
        (f"{name} of the {CSA_IMAGE_HEADER}", [header.get(name) for header in headers])
        for _, _, values in private_values(meta, CSA_IMAGE_HEADER)
        for headers in [converted(values, lambda v: csa_values(v) if isinstance(v, bytes) else {})]
        for name in names
    ]


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        # The hash of a text is computed once, that of a tuple each time.
        return tuple(map(_comparable, value)) if len(value) <= _LONG_LIST else repr(value)
    return value


def _rows(elements: Sequence[ElementValues]) -> list[Any]:
    return list(zip(*(values for _, values in elements), strict=True))


def _splits(values: Sequence[Any], places: Sequence[Any], wanted: int | None) -> bool:
    """Return whether values split the slices so that each position occurs once per volume."""
    count = len(set(values))
    right = count > 1 if wanted is None else count == wanted
    return right and len(set(zip(values, places, strict=True))) == len(places)


def _fewest(
    elements: list[ElementValues], places: Sequence[Any], repeats: int
) -> list[ElementValues]:
    """Return a minimal set of elements that split the slices together; [] if there is none."""
    if not elements or not _splits(_rows(elements), places, repeats):
        return []
    # Rows of values are numbered, so that a comparison takes no longer with many elements.
    before = [[0] * len(places)]
    for _, values in elements[:-1]:
        before.append(_numbered(before[-1], values))
    needed: list[ElementValues] = []
    behind = [0] * len(places)
    for one, rows in zip(elements[::-1], before[::-1], strict=True):
        if not _splits(_numbered(rows, behind), places, repeats):
            needed.append(one)
            behind = _numbered(behind, one[1])
    return needed[::-1]


def _numbered(rows: Sequence[int], values: Sequence[Any]) -> list[int]:
    """Return the number of each distinct pair of a row and a value."""
    numbers: dict[tuple[int, Any], int] = {}
    pairs = zip(rows, values, strict=True)
    return [numbers.setdefault(pair, len(numbers)) for pair in pairs]


def _occurrences(places: Sequence[Any]) -> list[int]:
    """Return for each slice the number of earlier slices at its position."""
    seen: Counter[Any] = Counter()
    found = []
    for place in places:
        found.append(seen[place])
        seen[place] += 1
    return found


def _split(
    elements: Sequence[ElementValues], group: Sequence[int], places: Sequence[Any]
) -> SeriesVolumes:
    """Return the volumes that elements split a group of slices into."""
    rows = _rows(elements)
    members: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        members.setdefault(row, []).append(number)
    distinct = list(members)
    if all(isinstance(value, (int, float)) for row in distinct for value in row):
        distinct.sort()
    volumes = _in_order([members[row] for row in distinct], places)
    return SeriesVolumes(
        ", ".join(name for name, _ in elements),
        [row[0] if len(row) == 1 else row for row in distinct],
        [[group[number] for number in numbers] for numbers in volumes],
    )


def _in_order(volumes: list[list[int]], places: Sequence[Any]) -> list[list[int]]:
    """Return volumes unchanged if all go against the normal, else each sorted along it."""
    along = [sorted(slices, key=lambda index: places[index]) for slices in volumes]
    against = [slices[::-1] for slices in along]
    return volumes if volumes == against else along
