"""How the slices of an image form volumes, and arrays of these volumes.

Must not know files, or what the values of voxels mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.placement import fitting_nifti, grid_of_parts, placement
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Grid, grid_or_reason
from dicube.dicom.series.mosaics import Mosaic, mosaics_of
from dicube.dicom.series.volumes import series_volumes
from dicube.exceptions import DataConsistencyError


class Layout(NamedTuple):
    """How the slices of an image form volumes.

    Attributes:
        shape: (x, y, z[, volume, …]); a NIfTI file may lack z, and y.
        grid: of each volume; None if it isn't known.
        problem: why it isn't known.
        meta: of the first volume; None if there are none, or if the slices were in mosaics.
        order: the image's slices, volume after volume; None if they are stored in that order.
        tiles: how many slices are below and beside each other in a mosaic; None without mosaics.
        seconds: from one volume to the next; None if they are not a time series.
    """

    shape: tuple[int, ...]
    grid: Grid | None
    problem: str = ""
    meta: DicomMeta | None = None
    order: Sequence[int] | None = None
    tiles: tuple[int, int] | None = None
    seconds: float | None = None

    @property
    def array_shape(self) -> tuple[int, ...]:
        """The shape of the volumes, ([…, volume,] slice, row, column)."""
        return (*self.shape, *[1] * (3 - len(self.shape)))[::-1]

    def arranged(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Return the voxels of an image as (slices of all volumes, rows, columns[, 3])."""
        if self.order is not None:
            return voxels[self.order]
        if self.tiles is None:
            return voxels
        (down, across), (columns, rows, slices) = self.tiles, self.shape[:3]
        tiles = voxels.reshape(len(voxels), down, rows, across, columns, *voxels.shape[3:])
        tiles = tiles.swapaxes(2, 3).reshape(len(voxels), -1, rows, columns, *voxels.shape[3:])
        return tiles[:, :slices].reshape(-1, rows, columns, *voxels.shape[3:])


class Volumes(NamedTuple):
    """The volumes of a series, one after another.

    Attributes:
        voxels: (slices of all volumes, rows, columns[, 3]).
        layout: of these.
    """

    voxels: NDArray[Any]
    layout: Layout

    @property
    def array(self) -> NDArray[Any]:
        """The voxels as ([…, volume,] slice, row, column[, sample])."""
        return self.voxels.reshape(*self.layout.array_shape, *self.voxels.shape[3:])


def arranged(voxels: NDArray[Any], parts: CubeParts) -> Volumes:
    """Return the volumes that an image holds, each in the order of its slices.

    Args:
        voxels: of the image, (slices, rows, columns[, 3]): stored values, or others.
        parts: of the image.

    Raises, Warns: see `layout_of`.
    """
    layout = layout_of(voxels.shape, parts)
    return Volumes(layout.arranged(voxels), layout)


def layout_of(shape: tuple[int, ...], parts: CubeParts) -> Layout:
    """Return how the slices of an image form volumes.

    Args:
        shape: of the image, (slices, rows, columns[, 3]).
        parts: of the image.

    Raises:
        DataConsistencyError: the volumes differ in shape or position, or the slices in mosaics are
            unknown.

    Warns:
        UserWarning: nothing but the order of the slices distinguishes the volumes.
    """
    kept, meta = fitting_nifti(parts, shape), parts.meta
    if kept is not None:
        grid, seconds = grid_of_parts(parts, shape), kept.seconds_between_volumes
        problem = "" if grid else placement(parts, shape)[1]
        return Layout(kept.shape, grid, problem, meta, seconds=seconds)
    mosaics = [] if meta is None or parts.space is not None else mosaics_of(meta)
    layout = _layout_of_mosaics(shape, mosaics) if mosaics else _layout_of_series(shape, parts)
    if len(layout.shape) > 3 and meta is not None:
        milliseconds = numbers(meta, "RepetitionTime", 1)[0]
        if milliseconds is not None and milliseconds[0] > 0:
            return layout._replace(seconds=milliseconds[0] / 1000)
    return layout


def _layout_of_mosaics(shape: tuple[int, ...], mosaics: Sequence[Mosaic]) -> Layout:
    """Return the layout of a series whose images have the slices as tiles.

    Args:
        shape: of the images.
        mosaics: of each image.

    Raises:
        DataConsistencyError: images differ in the number or position of their slices, or the pixels
            were cropped.
    """
    first = mosaics[0]
    grid, (down, across) = first.grid, first.tiles
    columns, rows, _ = grid.shape
    for index, mosaic in enumerate(mosaics):
        if mosaic.tiles != first.tiles or not _same_place(grid, mosaic.grid):
            raise DataConsistencyError(
                f"images 0 and {index} differ in their slices, so they can't be written to one "
                "NIfTI file"
            )
    if shape[1:3] != (down * rows, across * columns):
        raise DataConsistencyError(
            f"expected mosaics of {down * rows} x {across * columns} pixels, as the metadata "
            f"describe them, found {shape[1]} x {shape[2]}"
        )
    sizes = (*grid.shape, shape[0])[: 3 + (shape[0] > 1)]
    return Layout(sizes, grid, tiles=first.tiles)


def _layout_of_series(shape: tuple[int, ...], parts: CubeParts) -> Layout:
    """Return the layout of a series whose images are slices.

    Raises:
        DataConsistencyError: there are several volumes, which differ in shape or position.

    Warns:
        UserWarning: nothing but the order of the slices distinguishes the volumes.
    """
    slices, rows, columns = shape[:3]
    split = None if parts.meta is None else series_volumes(parts.meta)
    if parts.meta is None or split is None:
        grid, problem = placement(parts, shape)
        return Layout((columns, rows, slices), grid, problem, parts.meta)
    found = [grid_or_reason(volume) for volume in parts.meta.split(split.slices)]
    grid, problem = found[0]
    sizes = {len(volume) for volume in split.slices}
    if len(sizes) > 1 or not all(_same_place(grid, other) for other, _ in found):
        raise DataConsistencyError(
            f"{split} differ in shape or position, so they can't form one array",
            suggestion="convert each of image.volumes()",
        )
    if split.is_guessed:
        warnings.warn(
            f"nothing but the order of the slices distinguishes volumes: {split}", stacklevel=6
        )
    order, size = [index for volume in split.slices for index in volume], sizes.pop()
    sizes_of_volumes = columns, rows, size, len(split.slices)
    return Layout(sizes_of_volumes, grid, problem, parts.meta.select(order[:size]), order)


def _same_place(one: Grid | None, other: Grid | None) -> bool:
    if one is None or other is None:
        return one is other
    last = np.array(one.shape)[:, None] - 1
    ends = [(grid.origin, grid.origin + (grid.steps * last)) for grid in (one, other)]
    return all(
        np.allclose(of_one, of_other, rtol=0, atol=1e-3)
        for of_one, of_other in zip(*ends, strict=True)
    )
