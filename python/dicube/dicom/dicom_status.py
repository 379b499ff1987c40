"""Checks whether the slices of a series are consistent, and reports one status.

Each check yields findings; `get_dicom_status` returns the status of the first one, in the published
order of checks. Checks without a status are in `series.check`. Must not know pixels, files or
spacetransformer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.real_world import Mapping, unreadable_slices, values_of_slices
from dicube.dicom.metadata.slice_order import (
    median,
    numbers,
    orientations,
    parts_of_concatenations,
    positions,
    positions_along_normal,
)

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

# Of PixelSpacing, relative. Writers round decimal strings differently; over the width of a patient
# (500 mm) this allows 0.05 mm.
SPACING_TOLERANCE = 1e-4
# Of components of direction cosines, for the same reason: 0.05 mm at 500 mm from the origin.
ORIENTATION_TOLERANCE = 1e-4
# A larger deviation of direction cosines from unit length or a right angle is not rounding.
ORTHONORMAL_TOLERANCE = 1e-2
# Slices closer than this (mm) have the same position: 1 micrometre is a hundredth of the finest
# step of clinical scanners.
SAME_PLACE = 1e-3
# Largest distance of a slice from an even grid between the first and the last slice, in steps.
# Scanners that round positions to 0.1 mm at steps of 0.625 mm deviate by 0.08; where a slice is
# missing, another one deviates by more than 0.3.
GRID_TOLERANCE = 0.1

_MOST_RANGES = 8  # listed in the text of a finding


class DicomStatus(Enum):
    """The first problem of a series, or CONSISTENT.

    Dicube files store the value; INCONSISTENT in place of one that the published package lacks.
    """

    NON_UNIFORM_SERIES_UID = "non_uniform_series_uid"
    MISSING_SERIES_UID = "missing_series_uid"
    DUPLICATE_INSTANCE_NUMBERS = "duplicate_instance_numbers"
    MISSING_INSTANCE_NUMBER = "missing_instance_number"
    GAP_INSTANCE_NUMBER = "gap_instance_number"
    MISSING_SPACING = "missing_spacing"
    NON_UNIFORM_SPACING = "non_uniform_spacing"
    MISSING_SHAPE = "missing_shape"
    NON_UNIFORM_SHAPE = "non_uniform_shape"
    MISSING_ORIENTATION = "missing_orientation"
    NON_UNIFORM_ORIENTATION = "non_uniform_orientation"
    NON_UNIFORM_RESCALE_FACTOR = "non_uniform_rescale_factor"
    MISSING_DTYPE = "missing_dtype"
    NON_UNIFORM_DTYPE = "non_uniform_dtype"
    MISSING_LOCATION = "missing_location"
    REVERSED_LOCATION = "reversed_location"
    DWELLING_LOCATION = "dwelling_location"
    GAP_LOCATION = "gap_location"
    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNREADABLE_RESCALE = "unreadable_rescale"


# The published package can't open a file with another status than those that it knows.
PUBLISHED_STATUSES = frozenset(DicomStatus) - {DicomStatus.UNREADABLE_RESCALE}


@dataclass(frozen=True)
class Finding:
    """One problem of a series.

    Attributes:
        kind: name of the problem, such as 'gap_location'; the value of `status` if it has one.
        message: the problem with its numbers, on one line.
        slices: the slices concerned, numbered from 0 in the order of the metadata.
        values: the value of each of these slices; None if a slice has none.
        tolerance: the deviation allowed; None if the check has no tolerance.
        reference: the section of the DICOM standard.
        status: the status that reports the problem; None if there is none.
    """

    kind: str
    message: str
    slices: tuple[int, ...]
    values: tuple[Any, ...]
    tolerance: float | None
    reference: str
    status: DicomStatus | None = None

    def __str__(self) -> str:
        """Return everything except the values, on one line."""
        allowed = "" if self.tolerance is None else f", tolerance {self.tolerance:g}"
        where = f"slices {ranges_text(self.slices)}{allowed}, {self.reference}"
        return f"{self.kind}: {self.message} [{where}]"


def get_dicom_status(meta: DicomMeta) -> DicomStatus:
    """Return the status of the first problem of a series, or CONSISTENT.

    Checks, in this order: series UID, instance numbers, sample type, pixel spacing, shape,
    orientation, positions along the slice normal, rescale (the same in all slices, then readable),
    invalid values. Positions may increase
    or decrease. They are compared in the order of instance numbers if these are all present and
    distinct, else in the order of `meta`. `check_dicom` returns all problems with their details.

    Args:
        meta: the metadata of the series.

    Example:
        >>> meta = dicube.read_dicom_dir("series")
        >>> dicube.get_dicom_status(meta)
        <DicomStatus.CONSISTENT: 'consistent'>
        >>> dicube.get_dicom_status(meta.select([0, 1, 3])).value  # slice 2 is missing
        'gap_instance_number'
    """
    for finding in dicom_findings(meta):
        return DicomStatus(finding.kind)
    return DicomStatus.CONSISTENT


def dicom_findings(meta: DicomMeta) -> Iterator[Finding]:
    """Yield every problem that has a status, in the published order of checks."""
    for check in (
        _series_uid,
        _instance_numbers,
        _sample_type,
        _spacing,
        _shape,
        _orientation,
        _location,
        _rescale,
        _contradictions,
    ):
        yield from check(meta)


def grid_findings(meta: DicomMeta) -> Iterator[Finding]:
    """Yield the problems that prevent the slices, in the order of `meta`, from forming a volume."""
    for check in (_spacing, _shape, _orientation, _location_as_ordered, _contradictions):
        yield from check(meta)


def _series_uid(meta: DicomMeta) -> Iterator[Finding]:
    yield from same_everywhere(
        converted(meta.get("SeriesInstanceUID", force_nonshared=True), text_of),
        DicomStatus.MISSING_SERIES_UID,
        DicomStatus.NON_UNIFORM_SERIES_UID,
        "SeriesInstanceUID",
        "PS3.3 C.7.3.1",
    )


def _instance_numbers(meta: DicomMeta) -> Iterator[Finding]:
    reference = "PS3.3 C.7.6.1"
    found = [None if n is None else int(n[0]) for n in numbers(meta, "InstanceNumber", 1)]
    missing = [i for i, number in enumerate(found) if number is None]
    if missing:
        yield finding_of(
            DicomStatus.MISSING_INSTANCE_NUMBER,
            f"{len(missing)} of {len(found)} slices have no InstanceNumber",
            missing,
            found,
            reference,
        )
    parts = parts_of_concatenations(meta)
    # The frames of a file share its number, and the files of a concatenation may.
    files = {
        (found[first], parts[first][0] or first)
        for first in (slices[0] for slices in meta.instances())
    }
    count = Counter(number for number, _ in files if number is not None)
    repeated = [i for i, number in enumerate(found) if number is not None and count[number] > 1]
    if repeated:
        yield finding_of(
            DicomStatus.DUPLICATE_INSTANCE_NUMBERS,
            f"{len(repeated)} of {len(found)} slices share their InstanceNumber with another",
            repeated,
            found,
            reference,
        )
    present = sorted(count)
    gaps = [(a, b) for a, b in pairwise(present) if b != a + 1]
    if gaps:
        first, last = gaps[0]
        beside = {number for gap in gaps for number in gap}
        yield finding_of(
            DicomStatus.GAP_INSTANCE_NUMBER,
            f"InstanceNumber jumps {len(gaps)} time(s), first from {first} to {last}",
            [i for i, number in enumerate(found) if number in beside],
            found,
            reference,
        )


def _sample_type(meta: DicomMeta) -> Iterator[Finding]:
    names = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    columns = [numbers(meta, name, 1) for name in names]
    found = [
        None if any(part is None for part in row) else tuple(int(part[0]) for part in row if part)
        for row in zip(*columns, strict=True)
    ]
    yield from same_everywhere(
        found,
        DicomStatus.MISSING_DTYPE,
        DicomStatus.NON_UNIFORM_DTYPE,
        "/".join(names),
        "PS3.3 C.7.6.3.1",
    )


def _spacing(meta: DicomMeta) -> Iterator[Finding]:
    def same(one: Any, other: Any) -> bool:
        return bool(np.allclose(one, other, rtol=SPACING_TOLERANCE, atol=0))

    yield from same_everywhere(
        numbers(meta, "PixelSpacing", 2),
        DicomStatus.MISSING_SPACING,
        DicomStatus.NON_UNIFORM_SPACING,
        "PixelSpacing",
        "PS3.3 10.7.1.3",
        same,
        SPACING_TOLERANCE,
    )


def _shape(meta: DicomMeta) -> Iterator[Finding]:
    rows, columns = (numbers(meta, tag, 1) for tag in ("Rows", "Columns"))
    found = [
        None if row is None or column is None else (int(row[0]), int(column[0]))
        for row, column in zip(rows, columns, strict=True)
    ]
    yield from same_everywhere(
        found,
        DicomStatus.MISSING_SHAPE,
        DicomStatus.NON_UNIFORM_SHAPE,
        "Rows/Columns",
        "PS3.3 C.7.6.3.1",
    )


def _orientation(meta: DicomMeta) -> Iterator[Finding]:
    def same(one: Any, other: Any) -> bool:
        return bool(np.allclose(one, other, rtol=0, atol=ORIENTATION_TOLERANCE))

    yield from same_everywhere(
        orientations(meta),
        DicomStatus.MISSING_ORIENTATION,
        DicomStatus.NON_UNIFORM_ORIENTATION,
        "ImageOrientationPatient",
        "PS3.3 C.7.6.2.1.1",
        same,
        ORIENTATION_TOLERANCE,
    )


def _location(meta: DicomMeta) -> Iterator[Finding]:
    found = [number[0] for number in numbers(meta, "InstanceNumber", 1) if number]
    if len(set(found)) == meta.slice_count:
        yield from _locations(meta, sorted(range(meta.slice_count), key=found.__getitem__))
    else:
        yield from _location_as_ordered(meta)


def _location_as_ordered(meta: DicomMeta) -> Iterator[Finding]:
    yield from _locations(meta, range(meta.slice_count))


def _locations(meta: DicomMeta, order: Sequence[int]) -> Iterator[Finding]:
    """Check the positions of slices along the normal, in the given order."""

    def finding(
        status: DicomStatus, message: str, concerned: Any, found: Any, tolerance: float | None
    ) -> Finding:
        slices = sorted(order[i] for i in concerned)
        return finding_of(status, message, slices, found, "PS3.3 C.7.6.2.1.1", tolerance)

    points = positions(meta)
    missing = [i for i in range(len(points)) if points[order[i]] is None]
    if missing:
        message = f"{len(missing)} of {len(points)} slices have no ImagePositionPatient"
        yield finding(DicomStatus.MISSING_LOCATION, message, missing, points, None)
        return
    places = positions_along_normal(meta)
    if len(points) < 2 or places[0] is None:
        return  # a single slice; or no orientation, which another check reports
    along = np.array([places[i] for i in order], float)
    steps = np.diff(along)
    moving = np.abs(steps) > SAME_PLACE
    against = moving & (steps < 0 if np.sum(steps) >= 0 else steps > 0)
    if against.any():
        message = f"{int(against.sum())} of {len(steps)} steps along the normal go backwards"
        concerned = np.flatnonzero(against) + 1
        yield finding(DicomStatus.REVERSED_LOCATION, message, concerned, places, SAME_PLACE)
    if not moving.all():
        concerned = np.flatnonzero(~moving) + 1
        message = f"{len(concerned)} of {len(points)} slices have the position of the one before"
        yield finding(DicomStatus.DWELLING_LOCATION, message, concerned, places, SAME_PLACE)
    if against.any() or not moving.all():
        return  # there is no grid to compare with
    ordered = np.array([points[i] for i in order], float)
    even = np.linspace(ordered[0], ordered[-1], len(ordered))
    off = np.linalg.norm(ordered - even, axis=1) / (abs(along[-1] - along[0]) / len(steps))
    if off.max() > GRID_TOLERANCE:
        sizes = np.abs(steps)
        usual = median(sizes)
        uneven = np.flatnonzero(np.abs(sizes - usual) > GRID_TOLERANCE * usual) + 1
        message = (
            f"uneven slice spacing: steps of {sizes.min():.6g} to {sizes.max():.6g} mm, "
            f"usually {usual:.6g} mm, up to {off.max():.3g} steps off an even grid"
        )
        concerned = uneven if len(uneven) else np.flatnonzero(off > GRID_TOLERANCE)
        yield finding(DicomStatus.GAP_LOCATION, message, concerned, places, GRID_TOLERANCE)


def _rescale(meta: DicomMeta) -> Iterator[Finding]:
    """Check the rescale, and what takes its place where there is none."""
    values = values_of_slices(meta)
    unreadable, reason = unreadable_slices(values)
    found = [None if one.counting is None else one.counting.line for one in values]
    known = [i for i, one in enumerate(values) if one.counting and not one.counting.unreadable]
    first = values[known[0]].counting if known else None
    differing = [i for i in known if first is not None and not _same(values[i].counting, first)]
    if differing:
        yield finding_of(
            DicomStatus.NON_UNIFORM_RESCALE_FACTOR,
            f"RescaleSlope/RescaleIntercept of {len(differing)} of {len(found)} slices "
            "differs from that of the first slice",
            differing,
            found,
            "PS3.3 C.11.1",
        )
    if unreadable:
        yield finding_of(
            DicomStatus.UNREADABLE_RESCALE,
            f"real values of {len(unreadable)} of {len(found)} slices are unknown: {reason}",
            unreadable,
            found,
            "PS3.3 C.11.1",
        )


def _same(one: Mapping | None, other: Mapping) -> bool:
    return one is other or (one is not None and one.same_as(other))


def _contradictions(meta: DicomMeta) -> Iterator[Finding]:
    """Check for invalid values, beyond any rounding."""

    def spacing_of_nothing(spacing: Any) -> bool:
        return spacing is not None and min(spacing) <= 0

    def not_orthonormal(orientation: Any) -> bool:
        if orientation is None:
            return False
        directions = np.reshape(orientation, (2, 3))
        off = np.abs(directions @ directions.T - np.eye(2)).max()
        return bool(off > ORTHONORMAL_TOLERANCE)

    def no_pixels(size: Any) -> bool:
        return size is not None and int(size[0]) <= 0

    for name, found, wrong, what, reference in (
        (
            "PixelSpacing",
            numbers(meta, "PixelSpacing", 2),
            spacing_of_nothing,
            "is not positive",
            "PS3.3 10.7.1.3",
        ),
        (
            "ImageOrientationPatient",
            orientations(meta),
            not_orthonormal,
            "is not two perpendicular unit vectors",
            "PS3.3 C.7.6.2.1.1",
        ),
        ("Rows", numbers(meta, "Rows", 1), no_pixels, "is not positive", "PS3.3 C.7.6.3.1"),
        ("Columns", numbers(meta, "Columns", 1), no_pixels, "is not positive", "PS3.3 C.7.6.3.1"),
    ):
        slices = [i for i, is_wrong in enumerate(converted(found, wrong)) if is_wrong]
        if slices:
            yield finding_of(
                DicomStatus.INCONSISTENT,
                f"{name} {what} in {len(slices)} of {len(found)} slices",
                slices,
                found,
                reference,
            )
    stored, allocated, high = (
        numbers(meta, name, 1) for name in ("BitsStored", "BitsAllocated", "HighBit")
    )
    bits = [
        None if s is None or a is None or h is None else (int(s[0]), int(a[0]), int(h[0]))
        for s, a, h in zip(stored, allocated, high, strict=True)
    ]
    slices = [i for i, b in enumerate(bits) if b is not None and not 0 < b[0] <= b[2] + 1 <= b[1]]
    if slices:
        yield finding_of(
            DicomStatus.INCONSISTENT,
            f"BitsStored/BitsAllocated/HighBit contradict each other in {len(slices)} of "
            f"{len(bits)} slices",
            slices,
            bits,
            "PS3.5 8.1.1",
        )


def same_everywhere(
    found: Sequence[Any],
    missing: DicomStatus | str | None,
    non_uniform: DicomStatus | str,
    name: str,
    reference: str,
    same: Callable[[Any, Any], bool] = lambda one, other: bool(one == other),
    tolerance: float | None = None,
) -> Iterator[Finding]:
    """Yield one finding for the slices without a value (None), and one for those that differ.

    If `missing` is None, slices may lack the value.
    """
    absent = [i for i, value in enumerate(found) if value is None]
    if absent and missing is not None:
        yield finding_of(
            missing,
            f"{len(absent)} of {len(found)} slices have no valid {name}",
            absent,
            found,
            reference,
        )
    known = next((value for value in found if value is not None), None)
    differing = [
        i
        for i, value in enumerate(found)
        if value is not None and value is not known and not same(value, known)
    ]
    if differing:
        yield finding_of(
            non_uniform,
            f"{name} differs in {len(differing)} of {len(found)} slices: "
            f"slice {differing[0]} has {found[differing[0]]}, not {known}",
            differing,
            found,
            reference,
            tolerance,
        )


def finding_of(
    kind: DicomStatus | str,
    message: str,
    slices: Any,
    found: Sequence[Any],
    reference: str,
    tolerance: float | None = None,
) -> Finding:
    """Return a finding about some slices; `found` has the value of each slice of the series."""
    concerned = tuple(int(i) for i in slices)
    values = tuple(found[i] for i in concerned)
    status = kind if isinstance(kind, DicomStatus) else None
    name = kind.value if isinstance(kind, DicomStatus) else kind
    return Finding(name, message, concerned, values, tolerance, reference, status)


def ranges_text(slices: Sequence[int]) -> str:
    """Return numbers as text, such as '0-3, 7'; long lists are cut."""
    starts = [n for i, n in enumerate(slices) if i == 0 or n != slices[i - 1] + 1]
    ends = [n for i, n in enumerate(slices) if i + 1 == len(slices) or n + 1 != slices[i + 1]]
    parts = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(parts[:_MOST_RANGES]) + (", …" if len(parts) > _MOST_RANGES else "")


def text_of(value: Any) -> str | None:
    """Return a value as text, for comparison; None if it is empty."""
    return None if value in (None, "", []) else str(value)
