"""Splits a series into volumes: times, echoes or b-values of the same slices.

If several slices have the same position, another element distinguishes them and splits the series
into volumes, in which each position occurs once. Must not know pixels or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.metadata.slice_order import positions_along_normal
from dicube.dicom.series.vendors import private_keys

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_SAME_PLACE = 1e-3  # mm, as in `dicom_status`

# Elements that may distinguish volumes; those made for this purpose come first. Each is followed by
# the private elements of the same meaning.
_DISTINGUISHING = (
    *("ReferencedSegmentNumber", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    *("DiffusionBValue", "DiffusionGradientOrientation", "EchoNumbers"),
    *("EchoTime", "EffectiveEchoTime", "InversionTime", "FlipAngle"),
    *("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    *("TemporalPositionTimeOffset", "FrameReferenceTime", "ComplexImageComponent", "StackID"),
    *("FrameType", "ImageType", "ConvolutionKernel", "KVP", "AcquisitionNumber"),
    *("AcquisitionDateTime", "FrameAcquisitionDateTime", "AcquisitionTime", "ContentTime"),
)
_DIMENSION_INDICES = "DimensionIndexValues"
_ORDER = "order of the slices"

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
        return f"{len(self.slices)} volumes of {size} slices (by {self.name})"


def series_volumes(meta: DicomMeta) -> SeriesVolumes | None:
    """Return the volumes of a series in which slices have the same position.

    Volumes are sorted by the values that distinguish them if these are numbers, else by their first
    slices.

    Returns:
        The volumes; None if each position occurs once, or if nothing distinguishes slices at the
        same position.
    """
    places = _numbered_places(meta)
    if places is None:
        return None
    repeats = max(Counter(places).values())
    if repeats == 1:
        return None
    elements = _distinguishing_elements(meta)
    for name, values in elements:
        wanted = None if name == _DISTINGUISHING[0] else repeats
        if _splits(values, places, wanted):
            return _split(name, values, places)
    few = [(name, values) for name, values in elements if len(set(values)) <= repeats]
    combined = _fewest(few, places, repeats)
    if combined:
        return _split(", ".join(name for name, _ in combined), _rows(combined), places)
    if set(Counter(places).values()) == {repeats}:
        return _split(_ORDER, _occurrences(places), places)
    return None


def _numbered_places(meta: DicomMeta) -> list[int] | None:
    """Return the rank of each slice's position along the normal; None if one is unknown."""
    along = positions_along_normal(meta)
    if any(place is None for place in along):
        return None
    found = np.array(along, float)
    order = np.argsort(found, kind="stable")
    steps = np.diff(found[order], prepend=found[order[0]]) > _SAME_PLACE
    numbered = np.empty(len(found), int)
    numbered[order] = np.cumsum(steps)
    return [int(number) for number in numbered]


def _distinguishing_elements(meta: DicomMeta) -> list[ElementValues]:
    """Return the elements that differ between slices, with comparable values."""
    found: list[ElementValues] = []
    for keyword in _DISTINGUISHING:
        names = {keyword: keyword, **{key: tag_name(key) for key in private_keys(meta, keyword)}}
        for tag, name in names.items():
            if not meta.is_missing(tag) and not meta.is_shared(tag):
                values = [_comparable(value) for value in meta.get(tag, force_nonshared=True)]
                found.append((name, values))
    indices = [
        value if isinstance(value, list) else [value]
        for value in meta.get(_DIMENSION_INDICES, force_nonshared=True)
    ]
    for dimension in range(min(map(len, indices))):
        values = [index[dimension] for index in indices]
        if len(set(values)) > 1:
            found.append((f"{_DIMENSION_INDICES}[{dimension}]", values))
    return found


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rows(elements: Sequence[ElementValues]) -> list[Any]:
    return list(zip(*(values for _, values in elements), strict=True))


def _splits(values: Sequence[Any], places: Sequence[int], wanted: int | None) -> bool:
    """Return whether values split the slices so that each position occurs once per volume."""
    count = len(set(values))
    right = count > 1 if wanted is None else count == wanted
    return right and len(set(zip(values, places, strict=True))) == len(places)


def _fewest(
    elements: list[ElementValues], places: Sequence[int], repeats: int
) -> list[ElementValues]:
    """Return a minimal set of elements that split the slices together; [] if there is none."""
    if not elements or not _splits(_rows(elements), places, repeats):
        return []
    for one in elements[::-1]:
        fewer = [other for other in elements if other is not one]
        if fewer and _splits(_rows(fewer), places, repeats):
            elements = fewer
    return elements


def _occurrences(places: Sequence[int]) -> list[int]:
    """Return for each slice the number of earlier slices at its position."""
    seen: Counter[int] = Counter()
    found = []
    for place in places:
        found.append(seen[place])
        seen[place] += 1
    return found


def _split(name: str, values: Sequence[Any], places: Sequence[int]) -> SeriesVolumes:
    slices: dict[Any, list[int]] = {}
    for index, value in enumerate(values):
        slices.setdefault(value, []).append(index)
    distinct = list(slices)
    if all(isinstance(value, (int, float)) for value in distinct):
        distinct.sort()
    return SeriesVolumes(name, distinct, _in_order([slices[value] for value in distinct], places))


def _in_order(volumes: list[list[int]], places: Sequence[int]) -> list[list[int]]:
    """Return volumes unchanged if all go against the normal, else each sorted along it."""
    along = [sorted(slices, key=lambda index: places[index]) for slices in volumes]
    against = [slices[::-1] for slices in along]
    return volumes if volumes == against else along
