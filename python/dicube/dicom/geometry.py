"""Space: where the voxels of a volume are in the patient. The one door to spacetransformer.

Axis orders: DICOM and dicube's files have (x, y, z) = (column, row, slice); dicube's arrays and
the Space objects in memory have (z, y, x). World coordinates are DICOM's LPS, in mm.

spacetransformer-core's NIfTI converters and its `apply_flip` are not used: they are wrong for
anything but axial volumes. Must not know pixels or files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from spacetransformer import Space as Space
from spacetransformer.core.exceptions import SpaceTransformerError

from dicube.dicom.dicom_status import grid_findings
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.slice_order import normal_of, numbers, orientations, positions
from dicube.exceptions import MetaDataError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_FIELDS = ("shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation")


def get_space_from_DicomMeta(  # noqa: N802 (the published name)
    meta: DicomMeta, axis_order: Literal["xyz", "zyx"] = "xyz"
) -> Space | None:
    """Return where a series' voxels are, its slices taken in the order `meta` has them.

    Args:
        meta: the metadata.
        axis_order: 'xyz': shape is (columns, rows, slices); 'zyx': (slices, rows, columns).

    Returns:
        None if the geometry can't be told or a Space can't hold it (a tilted gantry: slices that
        are not stacked along their normal); `space_or_reason` says why. Instance numbers, series
        UIDs and rescale don't matter.

    Raises:
        ValueError: another axis order.
    """
    if axis_order not in ("xyz", "zyx"):
        raise ValueError(f"axis_order must be 'xyz' or 'zyx', not {axis_order!r}")
    space = space_or_reason(meta)[0]
    if space is None or axis_order == "xyz":
        return space
    return space.reverse_axis_order()


def space_or_reason(meta: DicomMeta) -> tuple[Space | None, str]:
    """Return the Space in xyz order; or None and the reason: a status value and what is wrong."""
    if "MOSAIC" in (meta.get("ImageType", force_nonshared=True)[0] or ()):
        return None, "mosaic: each image is a tiling of several slices, which it doesn't place"
    for finding in grid_findings(meta):
        return None, f"{finding.kind}: {finding.message}"
    orientation, point = orientations(meta)[0], positions(meta)[0]
    row_spacing, column_spacing = numbers(meta, CommonTags.PixelSpacing, 2)[0] or (0.0, 0.0)
    last = positions(meta)[-1]
    assert orientation is not None and point is not None and last is not None
    along_row = _unit(orientation[:3])
    along_column = _unit(orientation[3:])
    if meta.slice_count > 1:
        step = (np.array(last) - np.array(point)) / (meta.slice_count - 1)
    else:
        normal = normal_of(orientation)
        assert normal is not None
        step = normal * _thickness(meta)
    try:
        space = Space(
            shape=(
                int(meta.get("Columns", force_nonshared=True)[0]),
                int(meta.get("Rows", force_nonshared=True)[0]),
                meta.slice_count,
            ),
            origin=point,
            spacing=(column_spacing, row_spacing, float(np.linalg.norm(step))),
            x_orientation=tuple(along_row.tolist()),
            y_orientation=tuple(along_column.tolist()),
            z_orientation=tuple(_unit(step).tolist()),
        )
    except SpaceTransformerError as error:
        normal = np.cross(along_row, along_column)
        tilt = np.degrees(np.arccos(min(1.0, abs(float(_unit(step) @ normal)))))
        return None, f"slices are stacked {tilt:.3g} degrees off their normal: {error}"
    return space, ""


def space_to_json(space: Space) -> str:
    """Return the JSON of a Space in memory (zyx) as a file holds it (xyz)."""
    return json.dumps(_fields(space.reverse_axis_order()))


def space_from_json(text: str) -> Space:
    """Return the Space for memory (zyx) from a file's JSON (xyz).

    Raises:
        MetaDataError: it is not the JSON of a Space.
    """
    try:
        found = json.loads(text)
        return Space(**{name: tuple(found[name]) for name in _FIELDS}).reverse_axis_order()
    except (SpaceTransformerError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise MetaDataError(f"not the JSON of a Space: {error}") from None


def same_space(one: Space, other: Space) -> bool:
    """Return whether two Spaces put every voxel at the same place, within a micrometre."""
    if tuple(one.shape) != tuple(other.shape):
        return False
    return bool(np.allclose(_corners(one), _corners(other), rtol=0, atol=1e-3))


@dataclass(frozen=True)
class ImagePlanes:
    """Where slices are, in DICOM's terms (PS3.3 C.7.6.2); all in mm.

    Attributes:
        positions: ImagePositionPatient, slice by slice.
        orientation: ImageOrientationPatient.
        pixel_spacing: PixelSpacing: between rows, between columns.
        slice_distance: from one slice to the next.
        locations: position along the normal, slice by slice.
    """

    positions: list[list[float]]
    orientation: list[float]
    pixel_spacing: list[float]
    slice_distance: float
    locations: list[float]


def plane_attributes(space: Space) -> ImagePlanes:
    """Return the image planes of a Space in memory (zyx)."""
    xyz = space.reverse_axis_order()
    step = np.array(xyz.z_orientation, float) * xyz.spacing[2]
    points = np.array(xyz.origin, float) + np.arange(xyz.shape[2])[:, None] * step
    orientation = [float(c) for c in (*xyz.x_orientation, *xyz.y_orientation)]
    normal = np.cross(orientation[:3], orientation[3:])
    return ImagePlanes(
        points.tolist(),
        orientation,
        [float(xyz.spacing[1]), float(xyz.spacing[0])],
        float(xyz.spacing[2]),
        (points @ normal).tolist(),
    )


def _fields(space: Space) -> dict[str, Any]:
    """Return the fields with plain numbers: flipping and permuting leave numpy's in them."""
    return {name: np.asarray(getattr(space, name)).tolist() for name in _FIELDS}


def _corners(space: Space) -> NDArray[np.float64]:
    shape = np.array(space.shape)
    index = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T * (shape - 1)
    axes = np.array([space.x_orientation, space.y_orientation, space.z_orientation], float)
    scaled = axes * np.array(space.spacing, float)[:, None]
    return np.asarray(np.array(space.origin, float) + index @ scaled, np.float64)


def _thickness(meta: DicomMeta) -> float:
    """Return the thickness of a single slice in mm, 1 if it is not told."""
    for tag in (CommonTags.SpacingBetweenSlices, CommonTags.SliceThickness):
        found = numbers(meta, tag, 1)[0]
        if found is not None and found[0] > 0:
            return found[0]
    return 1.0


def _unit(vector: Any) -> NDArray[np.float64]:
    vector = np.asarray(vector, float)
    return np.asarray(vector / np.linalg.norm(vector), np.float64)
