"""Space: the position of a volume's voxels in the patient. Only this module uses spacetransformer.

Axis order: (x, y, z) = (column, row, slice) in DICOM and dicube files, (z, y, x) in arrays and in
Space objects in memory. World coordinates are DICOM's LPS, in mm.

The NIfTI converters and `apply_flip` of spacetransformer-core are not used, because they are wrong
for volumes that are not axial. Must not know pixels or files.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dicube.dicom.dicom_status import SAME_PLACE, grid_findings
from dicube.dicom.dicom_tags import get_tag_key, tag_name
from dicube.dicom.metadata.slice_order import (
    median,
    normal_of,
    numbers,
    orientations,
    positions,
    positions_along_normal,
)
from dicube.dicom.series.vendors import is_mosaic
from dicube.exceptions import DataConsistencyError, MetaDataError, shown
from dicube.strict_json import parse_json

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from spacetransformer import Space as Space

    from dicube.dicom.dicom_meta import DicomMeta

_FIELDS = ("shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation")
_LEAST_VOLUME = 1e-9  # of the unit vectors along the axes: less is rounding of axes in one plane


def __getattr__(name: str) -> Any:
    if name == "Space":  # loaded only when it is needed
        return import_module("spacetransformer").Space
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_space_from_DicomMeta(  # noqa: N802 (the published name)
    meta: DicomMeta, axis_order: Literal["xyz", "zyx"] = "xyz"
) -> Space | None:
    """Return the geometry of a series, with its slices in the order of `meta`.

    Args:
        meta: the metadata.
        axis_order: 'xyz' for a shape of (columns, rows, slices), 'zyx' for (slices, rows, columns).

    Returns:
        The Space; None if the metadata don't define one, or if it can't describe the geometry (a
        tilted gantry: slices are not stacked along their normal). `space_or_reason` gives the
        reason. Instance numbers, series UIDs and rescale have no influence.

    Raises:
        ValueError: `axis_order` is neither.

    Example:
        >>> from dicube.dicom import get_space_from_DicomMeta
        >>> space = get_space_from_DicomMeta(dicube.load_meta("head.dcbs"), "zyx")
        >>> space.shape, space.spacing
        ((5, 48, 40), (2.5, 0.5, 0.75))
    """
    if axis_order not in ("xyz", "zyx"):
        raise ValueError(f"expected axis_order 'xyz' or 'zyx', found {axis_order!r}")
    space = space_or_reason(meta)[0]
    if space is None or axis_order == "xyz":
        return space
    return space.reverse_axis_order()


@dataclass(frozen=True)
class Grid:
    """The position of voxels, with any angles between the axes; a Space has right angles only.

    Attributes:
        shape: (columns, rows, slices).
        origin: centre of the first voxel; LPS, mm.
        spacing: distance of voxels along columns, rows and slices; mm.
        axes: unit vectors along columns, rows and slices, one per row.
    """

    shape: tuple[int, int, int]
    origin: NDArray[np.float64]
    spacing: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def from_steps(cls, shape: tuple[int, int, int], origin: ArrayLike, steps: ArrayLike) -> Grid:
        """Return a Grid with the given steps between voxels, one vector per row; mm."""
        vectors = np.asarray(steps, np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        axes = np.divide(vectors, lengths[:, None], out=vectors.copy(), where=lengths[:, None] > 0)
        return cls(shape, np.asarray(origin, np.float64), lengths, axes)

    @property
    def steps(self) -> NDArray[np.float64]:
        """Vectors from a voxel to the next along columns, rows and slices, one per row; mm."""
        return self.axes * self.spacing[:, None]

    @property
    def affine(self) -> NDArray[np.float64]:
        """The (4, 4) matrix from voxel indices (x, y, z) to LPS, mm."""
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.steps.T, self.origin
        return affine

    @property
    def orientation(self) -> str:
        """The letters of the directions in which x, y and z run, such as LPS.

        Each axis gets one of left/right, posterior/anterior and superior/inferior: the closest of
        the nearest axes at right angles, the most certain first, as in nibabel.
        """
        left, _, right = np.linalg.svd(self.axes.T)
        nearest = left @ right  # one axis per column
        letters, free = [""] * 3, np.abs(nearest)
        for _ in range(3):
            world, axis = np.unravel_index(int(free.argmax()), free.shape)
            letters[axis] = ("RAI", "LPS")[int(nearest[world, axis] > 0)][world]
            free[world], free[:, axis] = -1, -1
        return "".join(letters)

    @property
    def problem(self) -> str:
        """Why the grid gives voxels no position; '' if it does."""
        if not np.isfinite(self.affine).all():
            return f"origin {self.origin.tolist()} and spacing {self.spacing.tolist()} are invalid"
        if abs(np.linalg.det(self.axes)) < _LEAST_VOLUME:
            return "the axes of the voxels lie in one plane, or one has no length"
        return ""

    def part(
        self, starts: Sequence[int], steps: Sequence[int], shape: tuple[int, int, int]
    ) -> Grid:
        """Return the Grid of some voxels, by their first ones and the steps between them.

        Args:
            starts, steps: along columns, rows and slices; steps are above 0.
            shape: (columns, rows, slices) of the part.
        """
        origin = self.origin + np.asarray(starts) @ self.steps
        return Grid(shape, origin, self.spacing * np.asarray(steps), self.axes)

    def at_level(self, level: int) -> Grid:
        """Return the Grid of a volume with frames decoded at a resolution level.

        Samples of level n+1 have the positions of the even samples of level n, because the low-pass
        filter of JPEG 2000's wavelets is symmetric about them (ISO/IEC 15444-1 F.3, for images that
        begin at 0, 0). So the centre of the first pixel stays and the spacing doubles.
        """
        factor, (columns, rows, slices) = 1 << level, self.shape
        shape = (-(-columns // factor), -(-rows // factor), slices)
        return self.part((0, 0, 0), (factor, factor, 1), shape)


def grid_or_reason(meta: DicomMeta) -> tuple[Grid | None, str]:
    """Return the Grid of a series; or None and the reason: a status value and the problem."""
    if is_mosaic(meta):
        return None, "mosaic: each image is a tiling of several slices without their positions"
    for finding in grid_findings(meta):
        return None, f"{finding.kind}: {finding.message}"
    orientation, point = orientations(meta)[0], positions(meta)[0]
    row_spacing, column_spacing = numbers(meta, "PixelSpacing", 2)[0] or (0.0, 0.0)
    last = positions(meta)[-1]
    assert orientation is not None and point is not None and last is not None
    if meta.slice_count > 1:
        step = (np.array(last) - np.array(point)) / (meta.slice_count - 1)
    else:
        normal = normal_of(orientation)
        assert normal is not None
        step = normal * _stated_distance(meta)[0]
    shape = (
        int(meta.get("Columns", force_nonshared=True)[0]),
        int(meta.get("Rows", force_nonshared=True)[0]),
        meta.slice_count,
    )
    spacing = np.array([column_spacing, row_spacing, np.linalg.norm(step)])
    axes = np.stack([_unit(orientation[:3]), _unit(orientation[3:]), _unit(step)])
    return Grid(shape, np.array(point, float), spacing, axes), ""


def space_or_reason(meta: DicomMeta) -> tuple[Space | None, str]:
    """Return the Space in xyz order; or None and the reason: a status value and the problem."""
    grid, reason = grid_or_reason(meta)
    if grid is None:
        return None, reason
    space, reason = space_of_grid(grid)
    if space is None:
        normal = np.cross(grid.axes[0], grid.axes[1])
        tilt = np.degrees(np.arccos(min(1.0, abs(float(grid.axes[2] @ normal)))))
        reason = f"slices are stacked {tilt:.3g} degrees off their normal: {reason}"
    return space, reason


def space_of_grid(grid: Grid) -> tuple[Space | None, str]:
    """Return the Space in xyz order; or None and the reason why a Space can't describe the grid."""
    from spacetransformer import Space
    from spacetransformer.core.exceptions import SpaceTransformerError

    if not np.isfinite(grid.origin).all():
        return None, f"the origin is {grid.origin.tolist()}"
    x, y, z = (tuple(axis) for axis in grid.axes.tolist())
    try:
        space = Space(
            shape=grid.shape,
            origin=tuple(grid.origin.tolist()),
            spacing=tuple(grid.spacing.tolist()),
            x_orientation=x,
            y_orientation=y,
            z_orientation=z,
        )
    except SpaceTransformerError as error:
        return None, str(error)
    return space, ""


def grid_of_space(space: Space) -> Grid:
    """Return the Grid of a Space in memory (zyx)."""
    xyz = space.reverse_axis_order()
    columns, rows, slices = (int(size) for size in xyz.shape)
    return Grid(
        (columns, rows, slices),
        np.array(xyz.origin, float),
        np.array(xyz.spacing, float),
        np.array([xyz.x_orientation, xyz.y_orientation, xyz.z_orientation], float),
    )


def space_to_json(space: Space) -> str:
    """Return a Space in memory (zyx) as the JSON of a file (xyz).

    Raises:
        MetaDataError: a field is invalid, such as NaN.
    """
    from spacetransformer.core.exceptions import SpaceTransformerError

    try:
        fields = space_fields(space.reverse_axis_order())
        for name, values in fields.items():
            _check_vector(name, tuple(values))
    except (SpaceTransformerError, ValueError, TypeError, OverflowError) as error:
        raise MetaDataError(f"can't store the space: {error}") from None
    return json.dumps(fields)


def space_from_json(text: str) -> Space:
    """Return the Space in memory (zyx) of the JSON of a file (xyz).

    Raises:
        MetaDataError: the JSON does not describe a Space.
    """
    from spacetransformer import Space
    from spacetransformer.core.exceptions import SpaceTransformerError

    try:
        found = parse_json(text)
        fields = {name: tuple(found[name]) for name in _FIELDS}
        for name, values in fields.items():
            _check_vector(name, values)
        shape, origin, spacing, x, y, z = fields.values()
        # Only one Space is created, because its own checks take most of the time here.
        return Space(shape[::-1], origin, spacing[::-1], z, y, x)
    except SpaceTransformerError as error:
        raise MetaDataError(f"not the JSON of a Space, in (z, y, x) order: {error}") from None
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise MetaDataError(f"not the JSON of a Space: {error}") from None


def _check_vector(name: str, values: tuple[Any, ...]) -> None:
    """Raise a ValueError unless a field of a Space has three valid numbers."""
    kinds = {int} if name == "shape" else {int, float}
    sound = len(values) == 3 and set(map(type, values)) <= kinds
    if not sound or not all(map(math.isfinite, values)):
        raise ValueError(f"{name} is {shown(values)}")
    if name == "shape" and not all(0 < size < 1 << 31 for size in values):
        raise ValueError(f"shape is {values}")


def same_space(one: Space, other: Space) -> bool:
    """Return whether two Spaces give every voxel the same position, within a micrometre."""
    if tuple(one.shape) != tuple(other.shape):
        return False
    return bool(np.allclose(_corners(one), _corners(other), rtol=0, atol=1e-3))


def space_of_part(space: Space, part: Grid) -> Space:
    """Return the Space (zyx) of a part of the Grid of another, which has its axes."""
    return dataclasses.replace(
        space,
        shape=part.shape[::-1],
        origin=tuple(part.origin.tolist()),
        spacing=tuple(part.spacing.tolist()[::-1]),
    )


def space_of_slices(space: Space, slices: Sequence[int]) -> Space | None:
    """Return the Space (zyx) of some slices; None unless they ascend in equal steps."""
    steps = {b - a for a, b in pairwise(slices)} or {1}
    step = min(steps)
    if len(steps) > 1 or step < 1:
        return None
    grid = grid_of_space(space)
    columns, rows, _ = grid.shape
    return space_of_part(
        space, grid.part((0, 0, slices[0]), (1, 1, step), (columns, rows, len(slices)))
    )


def space_at_level(space: Space, level: int) -> Space:
    """Return the Space (zyx) of a volume with frames decoded at a level; see `Grid.at_level`."""
    return space_of_part(space, grid_of_space(space).at_level(level))


@dataclass(frozen=True)
class ImagePlanes:
    """The position of slices in DICOM's elements (PS3.3 C.7.6.2); all in mm.

    Attributes:
        positions: ImagePositionPatient of each slice.
        orientation: ImageOrientationPatient.
        pixel_spacing: PixelSpacing: between rows, between columns.
        slice_distance: from one slice to the next.
        locations: position of each slice along the normal.
    """

    positions: list[list[float]]
    orientation: list[float]
    pixel_spacing: list[float]
    slice_distance: float
    locations: list[float]


def plane_attributes(place: Space | Grid) -> ImagePlanes:
    """Return the image planes of a Space in memory (zyx), or of a Grid.

    Raises:
        DataConsistencyError: a position is NaN or infinite.
    """
    grid = place if isinstance(place, Grid) else grid_of_space(place)
    points = grid.origin + np.arange(grid.shape[2])[:, None] * grid.steps[2]
    if not np.isfinite(points).all():
        raise DataConsistencyError(f"DICOM can't store an origin of {grid.origin.tolist()}")
    normal = np.cross(grid.axes[0], grid.axes[1])
    column_spacing, row_spacing, slice_distance = grid.spacing.tolist()
    return ImagePlanes(
        points.tolist(),
        grid.axes[:2].ravel().tolist(),
        [row_spacing, column_spacing],
        slice_distance,
        (points @ normal).tolist(),
    )


def space_fields(space: Space) -> dict[str, Any]:
    """Return the fields as plain numbers; flipped or permuted Spaces have those of numpy."""
    return {name: np.asarray(getattr(space, name)).tolist() for name in _FIELDS}


def _corners(space: Space) -> NDArray[np.float64]:
    grid = grid_of_space(space)
    index = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T * (
        np.array(grid.shape) - 1
    )
    return np.asarray(grid.origin + index @ grid.steps, np.float64)


def voxel_size(meta: DicomMeta) -> tuple[tuple[float, float, float], str]:
    """Return the size of voxels (x, y, z) in mm, for a volume without a grid, and where z is from.

    z is the usual distance of positions along the normal; without these what the metadata state. A
    size that is unknown is 1.
    """
    spacing = next((found for found in numbers(meta, "PixelSpacing", 2) if found), (1, 1))
    places = {place for place in positions_along_normal(meta) if place is not None}
    steps = np.diff(sorted(places))
    steps = steps[steps > SAME_PLACE]
    distance, source = _stated_distance(meta)
    if len(steps):
        distance, source = median(steps), "positions"
    return (float(spacing[1]), float(spacing[0]), distance), source


def _stated_distance(meta: DicomMeta) -> tuple[float, str]:
    """Return the distance of slices in mm that the metadata state, and the element; else 1."""
    for tag in ("SpacingBetweenSlices", "SliceThickness"):
        found = numbers(meta, tag, 1)[0]
        if found is not None and found[0]:
            return abs(found[0]), tag_name(get_tag_key(tag))
    return 1.0, "nothing"


def _unit(vector: Any) -> NDArray[np.float64]:
    vector = np.asarray(vector, float)
    return np.asarray(vector / np.linalg.norm(vector), np.float64)
