"""The volumes of a series that has several: times, echoes, b-values of the same slices.

Where slices lie at the same place, something else tells them apart, and splits the series into
volumes in which no place comes twice. Must not know pixels or files.
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

_SAME_PLACE = 1e-3  # mm, as `dicom_status` has it

# Elements that may tell volumes apart; those whose purpose this is come first. Each is followed by
# the private elements of the same meaning.
_TELLING = (
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

Telling = tuple[str, Sequence[Any]]


@dataclass(frozen=True)
class SeriesVolumes:
    """How a series splits into volumes.

    Attributes:
        name: what tells them apart: keywords of elements.
        values: of each volume.
        slices: of each volume, in the order along the normal, or all against it.
    """

    name: str
    values: list[Any]
    slices: list[list[int]]

    def __str__(self) -> str:
        sizes = sorted({len(slices) for slices in self.slices})
        size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return f"{len(self.slices)} volumes of {size} slices (by {self.name})"


def series_volumes(meta: DicomMeta) -> SeriesVolumes | None:
    """Return the volumes that slices at the same places make; None if no place comes twice.

    Volumes are in the order of the values that tell them apart if these are numbers, else in that
    of their first slices. None too if nothing tells repeated places apart.
    """
    places = _numbered_places(meta)
    if places is None:
        return None
    repeats = max(Counter(places).values())
    if repeats == 1:
        return None
    telling = _telling_elements(meta)
    for name, values in telling:
        wanted = None if name == _TELLING[0] else repeats
        if _splits(values, places, wanted):
            return _split(name, values, places)
    few = [(name, values) for name, values in telling if len(set(values)) <= repeats]
    combined = _fewest(few, places, repeats)
    if combined:
        return _split(", ".join(name for name, _ in combined), _rows(combined), places)
    if set(Counter(places).values()) == {repeats}:
        return _split(_ORDER, _occurrences(places), places)
    return None


def _numbered_places(meta: DicomMeta) -> list[int] | None:
    """Return for each slice the number of its place along the normal; None if some have none."""
    along = positions_along_normal(meta)
    if any(place is None for place in along):
        return None
    found = np.array(along, float)
    order = np.argsort(found, kind="stable")
    steps = np.diff(found[order], prepend=found[order[0]]) > _SAME_PLACE
    numbered = np.empty(len(found), int)
    numbered[order] = np.cumsum(steps)
    return [int(number) for number in numbered]


def _telling_elements(meta: DicomMeta) -> list[Telling]:
    """Return the elements that differ between slices, with values that can be compared."""
    found: list[Telling] = []
    for keyword in _TELLING:
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


def _rows(telling: Sequence[Telling]) -> list[Any]:
    return list(zip(*(values for _, values in telling), strict=True))


def _splits(values: Sequence[Any], places: Sequence[int], wanted: int | None) -> bool:
    """Return whether values part slices so that no place comes twice in a volume."""
    count = len(set(values))
    right = count > 1 if wanted is None else count == wanted
    return right and len(set(zip(values, places, strict=True))) == len(places)


def _fewest(telling: list[Telling], places: Sequence[int], repeats: int) -> list[Telling]:
    """Return elements that only together split slices, without those that can be spared."""
    if not telling or not _splits(_rows(telling), places, repeats):
        return []
    for one in telling[::-1]:
        fewer = [other for other in telling if other is not one]
        if fewer and _splits(_rows(fewer), places, repeats):
            telling = fewer
    return telling


def _occurrences(places: Sequence[int]) -> list[int]:
    """Return for each slice how many before it are at its place."""
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
    told = list(slices)
    if all(isinstance(value, (int, float)) for value in told):
        told.sort()
    return SeriesVolumes(name, told, _in_order([slices[value] for value in told], places))


def _in_order(volumes: list[list[int]], places: Sequence[int]) -> list[list[int]]:
    """Return volumes as they are if all go against the normal, else each along it."""
    along = [sorted(slices, key=lambda index: places[index]) for slices in volumes]
    against = [slices[::-1] for slices in along]
    return volumes if volumes == against else along
