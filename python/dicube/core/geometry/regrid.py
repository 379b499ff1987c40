"""Resamples a volume, of tilted or uneven slices too, to an even grid at right angles.

Between two slices, a voxel of the new grid has an affine position in the old one, whatever their
distance and offset. So each run of even slices is resampled once, by SimpleITK in voxel indices.
Must not know files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.fidelity.origin import Origin
from dicube.core.geometry.crop import names_pixels
from dicube.core.geometry.placement import fitting_nifti, placement
from dicube.core.handover import import_simpleitk
from dicube.core.nifti_image import shown_samples
from dicube.core.slice_values import real_values
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import (
    ORIENTATION_TOLERANCE,
    SAME_PLACE,
    SPACING_TOLERANCE,
    get_dicom_status,
)
from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.metadata.real_world import DEFINING_KEYS, RESCALE_NAMES
from dicube.dicom.metadata.slice_order import normal_of, numbers, orientations, positions
from dicube.dicom.series.geometry import Grid, space_of_grid
from dicube.dicom.series.precedence import write_rescale
from dicube.dicom.series.stored_bits import UNUSED_BITS
from dicube.dicom.series.vendors import is_mosaic
from dicube.exceptions import DataConsistencyError
from dicube.storage.pixel_utils import check_floats_hold, compute_real_values, float_for

_SAME_STEP = 1e-6  # mm, of steps between slices that one transform describes
_SAMPLE = 1e-3  # of a voxel; a grid that ends this far beyond the last one needs no more
_INTERPOLATORS = {"linear": "sitkLinear", "nearest": "sitkNearestNeighbor"}
# What new metadata say of their own: the instance, its pixels and their position.
_OWN = {
    *map(
        get_tag_key,
        (
            *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber"),
            *("ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"),
            *("PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "PixelAspectRatio"),
            *("ImagerPixelSpacing", "NominalScannedPixelSpacing", "NumberOfFrames"),
            *("Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "BitsAllocated"),
            *("BitsStored", "HighBit", "PixelRepresentation", "NumberOfSlices", "ImageIndex"),
            *("DimensionOrganizationSequence", "DimensionIndexSequence"),
            *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        ),
    )
}
_BITS = {
    *map(get_tag_key, ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")),
}
_PALETTES = ("002811", "002812")  # descriptors and data of palettes (PS3.3 C.7.6.3, C.7.9)
_IMAGE_TYPE, _DESCRIPTION = "ImageType", "DerivationDescription"
_LONGEST_DESCRIPTION = 1024  # of ST (PS3.5 6.2)
_RESAMPLED = {  # PS3.16 CID 7203
    "00080100": {"vr": "SH", "Value": ["113085"]},
    "00080102": {"vr": "SH", "Value": ["DCM"]},
    "00080104": {"vr": "LO", "Value": ["Spatial resampling"]},
}


@dataclass(frozen=True)
class Stack:
    """Parallel slices at any distances and offsets, in the order along their normal.

    Attributes:
        order: their numbers in the volume.
        points: position of the first pixel of each, (slices, 3); LPS, mm.
        along_row, down: vectors from a pixel to the next column, and to the next row.
        axes: unit vectors along x, y and z of the new grid, one per row.
        thickness: of a single slice.
    """

    order: list[int]
    points: NDArray[np.float64]
    along_row: NDArray[np.float64]
    down: NDArray[np.float64]
    axes: NDArray[np.float64]
    thickness: float

    @classmethod
    def of(
        cls,
        points: NDArray[np.float64],
        along_row: NDArray[np.float64],
        down: NDArray[np.float64],
        thickness: float,
    ) -> Stack:
        """Return the stack of slices at these points, in their order or its reverse."""
        x = along_row / np.linalg.norm(along_row)
        normal = np.cross(x, down)
        normal /= np.linalg.norm(normal)
        y = np.cross(normal, x)  # the columns' direction, unless they are sheared
        places = points @ normal
        z = normal if places[-1] >= places[0] else -normal
        order = np.argsort(points @ z, kind="stable").tolist()
        steps = np.diff((points @ z)[order])
        if len(steps) and steps.min() <= SAME_PLACE:
            raise DataConsistencyError(
                "can't resample several slices at one position",
                suggestion="choose slices, or one of image.volumes()",
            )
        return cls(order, points[order], along_row, down, np.stack([x, y, z]), thickness)

    @property
    def steps(self) -> NDArray[np.float64]:
        """Vectors from each slice to the next; at least one."""
        if len(self.points) == 1:
            return self.axes[2:] * self.thickness
        return np.diff(self.points, axis=0)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The usual distance of slices along z, that of rows along y, and that of columns."""
        between = float(np.median(self.steps @ self.axes[2]))
        return between, float(self.down @ self.axes[1]), float(np.linalg.norm(self.along_row))

    def grid(self, rows: int, columns: int, spacing: tuple[float, float, float]) -> Grid:
        """Return the smallest Grid along the axes that contains the centres of all pixels."""
        right, down = self.along_row * (columns - 1), self.down * (rows - 1)
        corners = np.concatenate(
            [self.points + far for far in (0 * right, right, down, right + down)]
        )
        along = corners @ self.axes.T
        low, extent = along.min(axis=0), np.ptp(along, axis=0)
        steps = np.array(spacing[::-1])
        x, y, z = (int(n) + 1 for n in np.ceil(np.maximum(extent / steps - _SAMPLE, 0)))
        return Grid((x, y, z), low @ self.axes, steps, self.axes)


def stack_of(parts: CubeParts, shape: tuple[int, ...]) -> Stack:
    """Return where the slices of a volume are.

    Raises:
        DataConsistencyError: positions are missing, slices aren't parallel or differ in their pixel
            spacing, or several are at one position.
    """
    grid, problem = placement(parts, shape)
    if grid is not None:
        points = grid.origin + np.arange(shape[0])[:, np.newaxis] * grid.steps[2]
        return Stack.of(points, grid.steps[0], grid.steps[1], float(grid.spacing[2]))
    meta = parts.meta
    if meta is None or fitting_nifti(parts, shape) is not None:
        raise DataConsistencyError(f"can't resample: {problem}")
    turned, spacings = orientations(meta), numbers(meta, "PixelSpacing", 2)
    sizes = [{*numbers(meta, name, 1)} for name in ("Rows", "Columns")]
    is_stack = not is_mosaic(meta) and sizes == [{(size,)} for size in shape[1:3]]
    is_stack = is_stack and not any(None in found for found in (positions(meta), turned, spacings))
    is_stack = is_stack and all(
        np.allclose(found, found[0], rtol=relative, atol=absolute)
        for found, relative, absolute in (
            (np.array(turned, float), 0, ORIENTATION_TOLERANCE),
            (np.array(spacings, float), SPACING_TOLERANCE, 0),
        )
    )
    if not is_stack or turned[0] is None or normal_of(turned[0]) is None:
        raise DataConsistencyError(f"can't resample: {problem}")
    direction, (between_rows, between_columns) = np.array(turned[0], float), spacings[0] or (0, 0)
    return Stack.of(
        np.array(positions(meta), float),
        direction[:3] * between_columns,
        direction[3:] * between_rows,
        1.0,
    )


def regridded(
    voxels: NDArray[Any],
    parts: CubeParts,
    spacing: float | Sequence[float] | None,
    interpolation: str,
    fill: float | None,
    choice: int | str | None = None,
) -> tuple[NDArray[Any], CubeParts]:
    """Return the voxels and parts of a resampled image; see `DicomCubeImage.regrid`.

    Args:
        voxels: stored words, (slices, rows, columns[, 3]).
        parts: of the image.
        spacing, interpolation, fill: see `DicomCubeImage.regrid`.
        choice: of a mapping to real values; see `DicomCubeImage.get_fdata`.
    """
    if interpolation not in _INTERPOLATORS:
        raise DataConsistencyError(
            f"expected interpolation {' or '.join(_INTERPOLATORS)}, found {interpolation!r}"
        )
    stack = stack_of(parts, voxels.shape)
    wanted = stack.spacing if spacing is None else _spacing(spacing)
    grid = stack.grid(voxels.shape[1], voxels.shape[2], wanted)
    space, reason = space_of_grid(grid)
    if space is None:
        raise DataConsistencyError(f"can't resample: {reason}")
    source, header = shown_samples(voxels, parts), parts.header
    is_real = False
    if source.ndim == 3:
        real = real_values("float64", source.dtype, parts.meta, header, choice)
        is_real = choice is not None or real.line is None
        if is_real:
            source = compute_real_values(source, real._replace(bits=None, dtype="float32"))
            header = replace(header, RescaleSlope=1.0, RescaleIntercept=0.0)
        elif fill is not None and real.line is not None:
            slope, intercept = real.line
            fill = (fill - intercept) / slope
    sampled = _resampled(source, stack, grid, interpolation, fill)
    extras = {name: value for name, value in header.Extras.items() if name != UNUSED_BITS}
    header = replace(header, PixelDtype=sampled.dtype.name, Extras=extras)
    meta = None
    if parts.meta is not None:
        text = (
            f"Resampled by dicube ({interpolation} interpolation) from {len(voxels)} slices of "
            f"{voxels.shape[1]} x {voxels.shape[2]} pixels to voxels of "
            f"{' x '.join(f'{size:.6g}' for size in wanted[::-1])} mm"
        )
        problem = placement(parts, voxels.shape)[1]
        meta = _meta_of(parts.meta, sampled, grid, f"{text}; {problem}" if problem else text)
        for key in DEFINING_KEYS.difference(map(get_tag_key, RESCALE_NAMES)):
            if is_real and key in meta:
                del meta[key]
        write_rescale(header, meta)
    status = parts.status if meta is None else get_dicom_status(meta)
    origin = Origin(losses=parts.origin.losses)
    return sampled, CubeParts(header, meta, space.reverse_axis_order(), status, origin)


def _spacing(given: float | Sequence[float]) -> tuple[float, float, float]:
    """Return the spacing along (z, y, x) that a caller gave."""
    try:
        z, y, x = map(float, (given,) * 3 if np.ndim(given) == 0 else given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DataConsistencyError(
            f"expected a spacing of 1 or 3 numbers, along z, y and x, found {given!r}"
        ) from None
    if not all(math.isfinite(n) and n > 0 for n in (z, y, x)):
        raise DataConsistencyError(f"expected a spacing above 0, found {given!r}")
    return z, y, x


def _resampled(
    source: NDArray[Any], stack: Stack, grid: Grid, interpolation: str, fill: float | None
) -> NDArray[Any]:
    """Return the values of a volume on a grid, in its dtype; `fill` outside of it."""
    sitk, kind = import_simpleitk(), source.dtype.newbyteorder("=")
    exact = float_for(kind)
    check_floats_hold(source)  # SimpleITK resamples integers in float64, also to the nearest one
    outside = np.nanmin(source) if fill is None else fill
    if kind.kind in "iu" and not np.iinfo(kind).min <= outside <= np.iinfo(kind).max:
        raise DataConsistencyError(f"fill is beyond the values that {kind.name} holds")
    result = np.empty((*grid.shape[::-1], *source.shape[3:]), kind)
    places = stack.points @ stack.axes[2]
    heights = float(grid.origin @ stack.axes[2]) + np.arange(grid.shape[2]) * grid.spacing[2]
    steps = stack.steps
    last = len(steps) - 1
    # The interval between slices in which a slice of the grid is.
    intervals = np.clip(np.searchsorted(places, heights, "right") - 1, 0, last)
    runs = np.cumsum([0, *(np.abs(np.diff(steps, axis=0)).max(axis=1) > _SAME_STEP)])
    for run in range(runs[-1] + 1):
        numbers_of_run = np.flatnonzero(runs[intervals] == run)
        if not len(numbers_of_run):
            continue
        first, end = (int(n) for n in np.flatnonzero(runs == run)[[0, -1]])
        slices = stack.order[first : end + 2]
        image = sitk.GetImageFromArray(
            np.ascontiguousarray(source[slices], exact), isVector=source.ndim == 4
        )
        to_index = np.linalg.inv(np.stack([stack.along_row, stack.down, steps[first]], axis=1))
        corner = grid.origin + numbers_of_run[0] * grid.steps[2] - stack.points[first]
        transform = sitk.AffineTransform(3)
        transform.SetMatrix((to_index @ grid.steps.T).ravel().tolist())
        transform.SetTranslation((to_index @ corner).tolist())
        sampled = sitk.Resample(
            image,
            [grid.shape[0], grid.shape[1], len(numbers_of_run)],
            transform,
            getattr(sitk, _INTERPOLATORS[interpolation]),
            [0.0] * 3,
            [1.0] * 3,
            np.eye(3).ravel().tolist(),
            float(outside),
            image.GetPixelID(),
        )
        values = sitk.GetArrayViewFromImage(sampled)
        result[numbers_of_run] = np.rint(values) if kind.kind in "iu" else values
    return result


def _meta_of(source: DicomMeta, voxels: NDArray[Any], grid: Grid, text: str) -> DicomMeta:
    """Return the metadata of a new series in the same study and frame of reference.

    They have the elements that all slices of the source share.
    """
    modality = source.get("Modality") if source.is_shared("Modality") else None
    made = make_meta(voxels.shape, voxels.dtype, grid, modality or "OT")
    own, is_same_type = set(_OWN), _has_bits(source, voxels)
    if is_same_type:
        own -= _BITS
    if voxels.ndim == 4:
        own |= {get_tag_key("PhotometricInterpretation")}
    kept = {
        key: entry
        for key, entry in source.entries.items()
        if key not in own
        and source.is_shared(key)
        and not names_pixels(key)
        and not (voxels.ndim == 4 and key.startswith(_PALETTES))
    }
    meta = DicomMeta({**made.entries, **kept}, slice_count=len(voxels))
    image_type = source.get(_IMAGE_TYPE) if source.is_shared(_IMAGE_TYPE) else None
    if not isinstance(image_type, list):
        image_type = made.get(_IMAGE_TYPE)
    meta.set_shared_item(_IMAGE_TYPE, ["DERIVED", *image_type[1:]])
    before = meta.get(_DESCRIPTION)
    described = f"{before}; {text}" if isinstance(before, str) and before else text
    meta.set_shared_item(_DESCRIPTION, described[:_LONGEST_DESCRIPTION])
    meta.set_shared_item("DerivationCodeSequence", [_RESAMPLED])
    return meta


def _has_bits(source: DicomMeta, voxels: NDArray[Any]) -> bool:
    """Return whether words of the source have the size and sign of these voxels."""
    return (
        all(
            numbers(source, name, 1)[0] == (wanted,)
            for name, wanted in (
                ("BitsAllocated", voxels.dtype.itemsize * 8),
                ("PixelRepresentation", int(voxels.dtype.kind == "i")),
            )
        )
        and voxels.dtype.kind in "iu"
    )
