"""Crops: a part of a volume by slices, rows and columns, with the metadata and geometry of it.

Must not know where pixels are from, or files.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.parts_of_series import parts_of_slices
from dicube.core.geometry.placement import fitting_nifti, grid_of_parts
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.metadata.slice_order import numbers, orientations, positions
from dicube.dicom.series.geometry import Grid, grid_of_space, space_of_part
from dicube.dicom.series.vendors import is_mosaic
from dicube.exceptions import DataConsistencyError
from dicube.nifti import NiftiHeader, affine_of_grid

_AXES = ("slices", "rows", "columns")
# Distances of pixels, of which a stride takes a multiple (PS3.3 10.7, C.8.4.8, C.8.6.2).
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# Elements that refer to pixels by row and column: shutters and collimators (PS3.3 C.7.6.11,
# C.8.7.3), and all of overlays (C.9.2).
_BY_PIXEL = range(0x00181600, 0x00181713)
_OVERLAYS = range(0x6000, 0x6020)
_EXTREMES = (0x00280106, 0x00280107)  # SmallestImagePixelValue, LargestImagePixelValue


class Crop(NamedTuple):
    """What is taken along each axis, by numbers that ascend in equal steps."""

    slices: range
    rows: range
    columns: range

    @classmethod
    def of_index(cls, index: Any, shape: tuple[int, ...]) -> Crop:
        """Return what an index takes of a volume.

        Args:
            index: as `np.s_` makes it, of slices and integers; an integer keeps its axis.
            shape: of the volume; only slices, rows and columns can be indexed.

        Raises:
            IndexError: too many items, or an integer that is out of bounds.
            DataConsistencyError: another kind of index, a step below 1, or nothing is taken.
        """
        items = list(index) if isinstance(index, tuple) else [index]
        if sum(item is Ellipsis for item in items) > 1 or len(items) > 3 + (Ellipsis in items):
            raise IndexError(f"expected at most 3 items to crop slices, rows, columns: {index}")
        if Ellipsis not in items:
            items.append(Ellipsis)
        place = items.index(Ellipsis)
        items[place : place + 1] = [slice(None)] * (4 - len(items))
        return cls(*map(_range_of, items, shape, _AXES))

    @classmethod
    def of_level(cls, shape: tuple[int, ...], level: int) -> Crop:
        """Return the voxels of a volume that have the positions of those at a resolution level."""
        step = 1 << level
        return cls(range(shape[0]), range(0, shape[1], step), range(0, shape[2], step))

    @property
    def items(self) -> tuple[slice, slice, slice]:
        """The index of an array."""
        slices, rows, columns = (slice(taken.start, taken.stop, taken.step) for taken in self)
        return slices, rows, columns

    def of_grid(self, grid: Grid) -> Grid:
        """Return the Grid of the crop of a volume with a Grid."""
        xyz = self[::-1]
        columns, rows, slices = map(len, xyz)
        steps = [taken.step for taken in xyz]
        return grid.part([taken.start for taken in xyz], steps, (columns, rows, slices))


def _range_of(item: Any, size: int, axis: str) -> range:
    if isinstance(item, slice):
        if item.step is not None and item.step < 1:
            raise DataConsistencyError(f"{axis}: expected a step above 0, found {item.step}")
        taken = range(*item.indices(size))
        if not taken:
            raise DataConsistencyError(f"{axis}: {item} takes none of {size}")
        return taken
    try:
        number = operator.index(item)
    except TypeError:
        kind = type(item).__name__
        raise DataConsistencyError(
            f"{axis}: expected a slice or an integer, found {kind}"
        ) from None
    if not -size <= number < size:
        raise IndexError(f"{axis}: {number} is out of bounds for {size}")
    return range(number % size, number % size + 1)


def cropped_parts(parts: CubeParts, shape: tuple[int, ...], crop: Crop) -> CubeParts:
    """Return the parts of the crop of an image; they hold no original files.

    Args:
        parts: of the image.
        shape: of its pixels.
        crop: what is taken.

    Raises:
        DataConsistencyError: rows or columns are cropped of mosaics, or of pixels that the metadata
            don't describe; or slices are taken of a NIfTI image of several volumes.
    """
    ((_, found),) = parts_of_slices(parts, shape, [crop.slices])
    nifti = fitting_nifti(parts, shape)
    if nifti is not None:
        origin = dataclasses.replace(found.origin, nifti=_cropped_nifti(nifti, parts, shape, crop))
        found = found._replace(origin=origin)
    if found.meta is not None and crop.slices.step > 1:
        _multiply(found.meta, "SpacingBetweenSlices", [crop.slices.step])
    if crop[1:] == (range(shape[1]), range(shape[2])):
        return found
    if found.meta is not None:
        _check_planes(found.meta, shape)
        _move_planes(found.meta, crop.rows, crop.columns)
    if found.space is None:
        return found
    in_plane = crop._replace(slices=range(len(crop.slices)))
    return found._replace(
        space=space_of_part(found.space, in_plane.of_grid(grid_of_space(found.space)))
    )


def _cropped_nifti(
    nifti: NiftiHeader, parts: CubeParts, shape: tuple[int, ...], crop: Crop
) -> NiftiHeader:
    """Return the NIfTI header of a crop, with the position of its voxels."""
    if nifti.volume_count > 1:
        if crop.slices != range(shape[0]):
            raise DataConsistencyError(
                f"can't take slices of {nifti.volume_count} volumes at once",
                suggestion="crop each of image.volumes()",
            )
        crop = crop._replace(slices=range(nifti.volume_dims[2]))
    grid = grid_of_parts(parts, shape) or Grid.from_steps(nifti.volume_dims, [0, 0, 0], np.eye(3))
    part = crop.of_grid(grid)
    cropped = nifti.with_shape((*part.shape, *nifti.shape[3:])).with_behind(None)
    return cropped.with_affine(affine_of_grid(part, nifti.mm_per_unit))


def _check_planes(meta: DicomMeta, shape: tuple[int, ...]) -> None:
    """Raise unless the metadata describe the pixels that are cropped."""
    if is_mosaic(meta):
        raise DataConsistencyError(
            "can't crop rows and columns of mosaics, each of which is a tiling of several slices"
        )
    for name, size in zip(("Rows", "Columns"), shape[1:], strict=False):
        stated = {found[0] for found in numbers(meta, name, 1) if found is not None}
        if stated - {size}:
            raise DataConsistencyError(
                f"expected metadata of {size} {name}, as the volume has, found {sorted(stated)}"
            )


def _move_planes(meta: DicomMeta, rows: range, columns: range) -> None:
    """Set the elements that describe the pixels of each slice to those of some rows and columns."""
    if rows.start or columns.start:
        moved: list[list[float] | None] = []
        spacings = numbers(meta, "PixelSpacing", 2)
        for point, turned, spacing in zip(
            positions(meta), orientations(meta), spacings, strict=True
        ):
            if point is None or turned is None or spacing is None:
                moved.append(None)  # no position is known, and the one stated would be wrong
                continue
            along_row = columns.start * spacing[1] * np.array(turned[:3])
            down = rows.start * spacing[0] * np.array(turned[3:])
            moved.append((np.array(point) + along_row + down).tolist())
        meta.set_nonshared_item("ImagePositionPatient", moved)
    meta.set_shared_item("Rows", len(rows))
    meta.set_shared_item("Columns", len(columns))
    for name in _SPACINGS:
        _multiply(meta, name, [rows.step, columns.step])
    for key in filter(names_pixels, meta.keys()):
        del meta[key]


def names_pixels(key: str) -> bool:
    """Return whether an element describes certain pixels of an image, or their extremes."""
    number = int(key, 16)
    return number >> 16 in _OVERLAYS or number in _BY_PIXEL or number in _EXTREMES


def _multiply(meta: DicomMeta, name: str, factors: Sequence[int]) -> None:
    """Multiply the numbers of an element where it has them."""
    if meta.is_missing(name) or set(factors) == {1}:
        return
    scaled = [
        None if found is None else [n * by for n, by in zip(found, factors, strict=True)]
        for found in numbers(meta, name, len(factors))
    ]
    if scaled[0] is not None and meta.is_shared(name):
        meta.set_shared_item(name, scaled[0])
    else:
        meta.set_nonshared_item(name, scaled)
