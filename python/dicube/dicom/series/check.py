"""`check_dicom`: reports every problem of a series.

Adds checks without a published status: identity of patient and study, stacking of slices, and
values that differ although the slices form a volume. Must not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.dicom_status import (
    SAME_PLACE,
    Finding,
    dicom_findings,
    finding_of,
    same_everywhere,
    text_of,
)
from dicube.dicom.dicom_tags import TagLike
from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.real_world import values_of_slices
from dicube.dicom.metadata.slice_order import (
    Floats,
    median,
    normal_of,
    numbers,
    orientations,
    positions,
)

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

# Degrees between the direction of stacking and the slice normal that a Space accepts (the cosine of
# two axes may be 0.01).
TILT_TOLERANCE = 0.57
# Relative difference of SpacingBetweenSlices from the distance of positions: scanners round it.
STATED_SPACING_TOLERANCE = 1e-2

# Elements that must be equal in all slices: (kind, elements, section of the standard).
_SAME_IN_A_SERIES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("non_uniform_patient", ("PatientID", "PatientName"), "PS3.3 C.7.1.1"),
    ("non_uniform_study", ("StudyInstanceUID",), "PS3.3 C.7.2.1"),
    ("non_uniform_modality", ("Modality",), "PS3.3 C.7.3.1"),
    ("non_uniform_sop_class", ("SOPClassUID",), "PS3.3 C.12.1"),
    ("non_uniform_frame_of_reference", ("FrameOfReferenceUID",), "PS3.3 C.7.4.1"),
    ("non_uniform_patient_position", ("PatientPosition",), "PS3.3 C.7.3.1.1.2"),
    ("non_uniform_photometric_interpretation", ("PhotometricInterpretation",), "PS3.3 C.7.6.3.1.2"),
    ("non_uniform_rescale_type", ("RescaleType",), "PS3.3 C.11.1"),
    ("non_uniform_units", ("Units",), "PS3.3 C.8.9.1"),
    ("non_uniform_pixel_padding", ("PixelPaddingValue",), "PS3.3 C.7.5.1.1.2"),
    ("non_uniform_window", ("WindowCenter", "WindowWidth"), "PS3.3 C.11.2.1.2"),
    ("non_uniform_slice_thickness", ("SliceThickness",), "PS3.3 C.7.6.2"),
)


def check_dicom(meta: DicomMeta) -> list[Finding]:
    """Return every problem of a series.

    Findings with a status come first, in the order of `get_dicom_status`, which returns
    the status of the first one. Findings of these kinds follow:

    | kind | problem |
    |---|---|
    | missing_sop_instance_uid, duplicate_sop_instance_uid | instances are not identified |
    | non_uniform_patient, …_study, …_modality, …_sop_class | slices have different origins |
    | non_uniform_frame_of_reference, …_patient_position | positions are not comparable |
    | non_uniform_photometric_interpretation, …_units | stored values differ in meaning |
    | non_uniform_rescale_type, …_pixel_padding | likewise |
    | non_uniform_window | the display window varies |
    | non_uniform_slice_thickness | the slice thickness varies |
    | several_real_world_mappings | real values depend on which mapping is chosen |
    | tilted_gantry | slices are not stacked along their normal; the message has the angle |
    | repeated_positions | several slices at the same position: more than three dimensions |
    | contradicting_slice_spacing | SpacingBetweenSlices differs from the distance of positions |

    Args:
        meta: the metadata of the series.

    Returns:
        The findings; an empty list if there is no problem.

    Example:
        >>> meta = dicube.read_dicom_dir("series")
        >>> dicube.check_dicom(meta)
        []
        >>> for finding in dicube.check_dicom(meta.select([0, 1, 3])):  # slice 2 is missing
        ...     print(finding.kind, finding.slices)
        gap_instance_number (1, 2)
        gap_location (1, 2)
    """
    return [*dicom_findings(meta), *_further_findings(meta)]


def _further_findings(meta: DicomMeta) -> Iterator[Finding]:
    yield from _instance_uids(meta)
    for kind, names, reference in _SAME_IN_A_SERIES:
        columns = [_texts(meta, name) for name in names]
        rows = [None if set(row) == {None} else row for row in zip(*columns, strict=True)]
        found: Sequence[Any] = columns[0] if len(names) == 1 else rows
        yield from same_everywhere(found, None, kind, "/".join(names), reference)
    yield from _several_mappings(meta)
    yield from _stacking(meta)
    yield from _repeated_positions(meta)


def _texts(meta: DicomMeta, tag: TagLike) -> list[str | None]:
    """Return the value of an element in each slice as text; None if it is absent or empty."""
    return converted(meta.get(tag, force_nonshared=True), text_of)


def _instance_uids(meta: DicomMeta) -> Iterator[Finding]:
    found = _texts(meta, "SOPInstanceUID")
    missing = [i for i, uid in enumerate(found) if uid is None]
    if missing:
        message = f"{len(missing)} of {len(found)} slices have no SOPInstanceUID"
        yield finding_of("missing_sop_instance_uid", message, missing, found, "PS3.3 C.12.1")
    members: dict[str | None, list[list[int]]] = {}
    for frames in meta.instances():  # the frames of an instance share its UID
        members.setdefault(found[frames[0]], []).append(frames)
    members.pop(None, None)
    repeated = sorted(
        i for files in members.values() if len(files) > 1 for slices in files for i in slices
    )
    if repeated:
        message = f"{len(repeated)} of {len(found)} slices share their SOPInstanceUID with another"
        yield finding_of("duplicate_sop_instance_uid", message, repeated, found, "PS3.3 C.12.1")


def _several_mappings(meta: DicomMeta) -> Iterator[Finding]:
    values = values_of_slices(meta)
    found = converted(values, lambda one: list(map(str, one.mappings)))
    several = [i for i, one in enumerate(values) if one.counting is None]
    if several:
        yield finding_of(
            "several_real_world_mappings",
            f"{len(several)} of {len(found)} slices have several mappings to real values, "
            f"slice {several[0]} has {', '.join(found[several[0]])}",
            several,
            found,
            "PS3.3 C.7.6.16.2.11",
        )


def _stacking(meta: DicomMeta) -> Iterator[Finding]:
    """Check the direction and distance from slice to slice."""
    points = positions(meta)
    orientation = next((known for known in orientations(meta) if known is not None), None)
    normal = None if orientation is None else normal_of(orientation)
    if normal is None or len(points) < 2 or any(point is None for point in points):
        return
    places = np.array(points, float)
    along = places @ normal
    order = np.argsort(along, kind="stable")
    step = places[order[-1]] - places[order[0]]
    distance = float(step @ normal)
    if distance <= SAME_PLACE:
        return
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(step - distance * normal), distance)))
    if tilt > TILT_TOLERANCE:
        stated = numbers(meta, "GantryDetectorTilt", 1)
        note = "" if stated[0] is None else f"; GantryDetectorTilt is {stated[0][0]:g}"
        yield finding_of(
            "tilted_gantry",
            f"slices are stacked {tilt:.4g} degrees off their normal{note}",
            range(len(points)),
            points,
            "PS3.3 C.8.2.1",
            TILT_TOLERANCE,
        )
    steps = np.diff(along[order])
    steps = steps[steps > SAME_PLACE]
    usual = median(steps)
    given = [None if n is None else abs(n[0]) for n in numbers(meta, "SpacingBetweenSlices", 1)]
    wrong = [
        i
        for i, spacing in enumerate(given)
        if spacing is not None and abs(spacing - usual) > STATED_SPACING_TOLERANCE * usual
    ]
    if wrong:
        yield finding_of(
            "contradicting_slice_spacing",
            f"SpacingBetweenSlices is {given[wrong[0]]:g} mm in {len(wrong)} of {len(given)} "
            f"slices, but positions are usually {usual:.6g} mm apart",
            wrong,
            given,
            "PS3.3 C.7.6.2",
            STATED_SPACING_TOLERANCE,
        )


def _equal_places(places: Floats) -> Iterator[list[int]]:
    """Yield the rows that are close to each other, in order of the first of each group."""
    # Rows that differ are far apart along a direction that fits no grid, so that few are compared.
    direction = np.sqrt(np.arange(2, 2 + places.shape[1]))
    along = places @ direction
    order = np.argsort(along)
    reach = 2 * SAME_PLACE * direction.sum()
    first = np.searchsorted(along, along - reach, sorter=order)
    last = np.searchsorted(along, along + reach, "right", sorter=order)
    left = np.ones(len(places), bool)
    for index in range(len(places)):
        if left[index]:
            near = order[first[index] : last[index]]
            near = near[left[near]]
            near = near[np.abs(places[near] - places[index]).max(axis=1) <= SAME_PLACE]
            left[near] = False
            yield sorted(near.tolist())


def _repeated_positions(meta: DicomMeta) -> Iterator[Finding]:
    """Check for slices at the same position, and report the volumes that they form."""
    points = positions(meta)
    turned = orientations(meta)
    known = [i for i, point in enumerate(points) if point is not None]
    rows = [(*(points[i] or ()), *(turned[i] or [0.0] * 6)) for i in known]
    places = np.array(rows, float).reshape(-1, 9)
    members = [[known[i] for i in group] for group in _equal_places(places)]
    repeated = sorted(i for slices in members if len(slices) > 1 for i in slices)
    if not repeated:
        return
    from dicube.dicom.series.volumes import series_volumes

    sizes = sorted({len(slices) for slices in members})
    count = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    volumes = series_volumes(meta)
    yield finding_of(
        "repeated_positions",
        f"{len(known)} slices at {len(members)} positions, {count} at each: "
        f"{volumes or 'no element distinguishes them'}",
        repeated,
        points,
        "PS3.3 C.7.6.2.1.1",
        SAME_PLACE,
    )
