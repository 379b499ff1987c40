"""Where the voxels of an image are in the patient, by its space, NIfTI header or metadata.

Must not know pixels or files.
"""

from __future__ import annotations

from dicube.core.cube_parts import CubeParts
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.geometry import (
    Grid,
    Space,
    grid_of_space,
    grid_or_reason,
    space_of_grid,
)
from dicube.dicom.series.vendors import is_mosaic
from dicube.dicom.series.volumes import series_volumes
from dicube.nifti import NiftiHeader, grid_of_header


def space_of_nifti(nifti: NiftiHeader) -> tuple[Space | None, str]:
    """Return the Space (zyx) of a file with one volume; or None and the reason."""
    if nifti.volume_count > 1:
        slices = nifti.volume_dims[2]
        return None, f"{nifti.volume_count} volumes of {slices} slices: see volumes()"
    space, reason = space_of_grid(grid_of_header(nifti))
    return space and space.reverse_axis_order(), reason


def fitting_nifti(parts: CubeParts, shape: tuple[int, ...]) -> NiftiHeader | None:
    """Return the NIfTI header of an image if it has the image's shape."""
    nifti = parts.origin.nifti
    return nifti if nifti is not None and nifti.voxels_shape == shape else None


def grid_of_parts(parts: CubeParts, shape: tuple[int, ...]) -> Grid | None:
    """Return the grid of the voxels of each volume of an image; None if it isn't known.

    Without a space, the grid is that of the NIfTI header, if no Space can hold that grid; otherwise
    that of the metadata.
    """
    if parts.space is not None:
        return grid_of_space(parts.space)
    nifti = fitting_nifti(parts, shape)
    if nifti is not None:
        return grid_of_header(nifti) if space_of_nifti(nifti)[0] is None else None
    return None if parts.meta is None else grid_or_reason(parts.meta)[0]


def placement(parts: CubeParts, shape: tuple[int, ...]) -> tuple[Grid | None, str]:
    """Return the grid of all voxels of an image; or None and the reason."""
    nifti = fitting_nifti(parts, shape)
    if parts.space is None and nifti is not None and nifti.volume_count > 1:
        return None, space_of_nifti(nifti)[1]
    grid = grid_of_parts(parts, shape)
    if grid is None:
        if parts.meta is None or nifti is not None:
            return None, "the image has no space"
        return None, with_volumes(grid_or_reason(parts.meta)[1], parts.meta)
    if grid.shape != shape[2::-1]:
        return None, (
            f"the metadata describe {grid.shape[2]} slices of {grid.shape[1]} x {grid.shape[0]} "
            f"pixels, the volume has {shape[0]} of {shape[1]} x {shape[2]}"
        )
    return (None, grid.problem) if grid.problem else (grid, "")


def with_volumes(reason: str, meta: DicomMeta) -> str:
    """Return why a series has no grid, which volumes it holds if several, and what helps."""
    several = series_volumes(meta)
    found = reason if several is None else f"{reason}; {several}"
    if is_mosaic(meta):
        return f"{found}; to_nifti() takes mosaics apart"
    return found if several is None else f"{found}; see volumes()"
