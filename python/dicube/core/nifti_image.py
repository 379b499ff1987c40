"""What of an image goes into a NIfTI file, and what of a NIfTI file makes an image.

Edits win: the header that an image was read with is kept for what it says beside dicube's own
terms, and follows the image's shape, samples, rescale and space. Must not know how a header is
laid out, or files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.origin import Origin
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Grid, Space, grid_of_space, grid_or_reason, space_of_grid
from dicube.dicom.series.stored_bits import StoredBits
from dicube.dicom.series.volumes import series_volumes
from dicube.exceptions import DataConsistencyError
from dicube.nifti import (
    NiftiHeader,
    NiftiVolume,
    affine_of_grid,
    grid_of_header,
    header_and_voxels,
    read_nifti_file,
)
from dicube.pixel_header import PixelDataHeader
from dicube.storage.pixel_utils import get_float_data, value_of_words


def read_nifti(source: Any) -> tuple[NDArray[Any], CubeParts, str]:
    """Return the voxels and parts of a NIfTI file or image, and why its space is None.

    Args:
        source: a path, or an image of nibabel.

    Raises:
        CubeFileNotFoundError, CubeFileAccessError, InvalidCubeFileError, DataConsistencyError: see
            `read_nifti_file` and `header_and_voxels`.
    """
    is_path = isinstance(source, (str, os.PathLike))
    nifti, voxels = read_nifti_file(source) if is_path else header_and_voxels(source)
    slope, intercept = nifti.rescale
    name = voxels.dtype.name
    header = PixelDataHeader(slope, intercept, OriginalPixelDtype=name, PixelDtype=name)
    space, reason = space_of_nifti(nifti)
    return (
        voxels,
        CubeParts(header, None, space, DicomStatus.CONSISTENT, Origin(nifti=nifti)),
        reason,
    )


def space_of_nifti(nifti: NiftiHeader) -> tuple[Space | None, str]:
    """Return the Space (zyx) of a file of one volume; or None and why there is none."""
    if nifti.volume_count > 1:
        slices = nifti.volume_dims[2]
        return None, f"{nifti.volume_count} volumes of {slices} slices: see volumes()"
    space, reason = space_of_grid(grid_of_header(nifti))
    return space and space.reverse_axis_order(), reason


def fitting_nifti(parts: CubeParts, shape: tuple[int, ...]) -> NiftiHeader | None:
    """Return an image's NIfTI header if it is of the image's shape."""
    nifti = parts.origin.nifti
    return nifti if nifti is not None and nifti.voxels_shape == shape else None


def grid_of_parts(parts: CubeParts, shape: tuple[int, ...]) -> Grid | None:
    """Return where the voxels of each volume of an image are; None if that isn't known.

    Of an image without a space that is where its NIfTI header puts them, if it isn't of one that a
    Space could hold; else where its metadata do.
    """
    if parts.space is not None:
        return grid_of_space(parts.space)
    nifti = fitting_nifti(parts, shape)
    if nifti is not None:
        return grid_of_header(nifti) if space_of_nifti(nifti)[0] is None else None
    return None if parts.meta is None else grid_or_reason(parts.meta)[0]


def nifti_of_image(
    voxels: NDArray[Any],
    parts: CubeParts,
    slopes: Sequence[float] | None,
    intercepts: Sequence[float] | None,
    bits: Sequence[StoredBits | None] | None,
    version: int | None,
) -> NiftiVolume:
    """Return an image as NIfTI.

    Args:
        voxels: stored values, (slices, rows, columns[, 3]).
        parts: of the image.
        slopes, intercepts: of each slice, where they differ.
        bits: where in its words each slice's values are; None if words are values.
        version: 1 or 2; None: as the image was read, else 1 if the shape allows.

    Raises:
        DataConsistencyError: NIfTI has no such samples or rescale, or the volumes of the series
            are not alike.

    Warns:
        UserWarning: slices have rescales of their own; or it isn't known where voxels are.
    """
    if bits is not None:
        words = zip(voxels, bits, strict=True)
        voxels = np.stack([w if of is None else value_of_words(w, *of) for w, of in words])
    header = parts.header
    if slopes is not None and intercepts is not None:
        header = PixelDataHeader(slopes[0], intercepts[0])
        if len(set(zip(slopes, intercepts, strict=True))) > 1:
            warnings.warn(
                "slices have rescales of their own, which NIfTI can't say: "
                "real values are written, as float64",
                stacklevel=4,
            )
            voxels = get_float_data(voxels, header, "float64", slopes=slopes, intercepts=intercepts)
            header = PixelDataHeader()
    if voxels.dtype.name == "float16":  # of either byte order
        voxels = voxels.astype(np.float32)
    colour = voxels.ndim == 4
    _check_colours(parts.meta, colour)

    kept = fitting_nifti(parts, voxels.shape)
    if kept is not None:
        shape, grid = kept.shape, grid_of_parts(parts, voxels.shape)
    else:
        order, shape, grid = _volumes_of_series(voxels.shape, parts)
        voxels = voxels if order is None else voxels[order]
    nifti = (parts.origin.nifti or NiftiHeader.new(shape)).with_samples(voxels.dtype, colour)
    nifti = nifti.with_shape(shape)
    nifti = nifti.with_version(version or nifti.version)
    nifti = nifti.with_rescale(header.RescaleSlope, header.RescaleIntercept)
    if kept is None or parts.space != space_of_nifti(kept)[0]:
        nifti = _placed(nifti, grid, parts.meta)
    if parts.origin.nifti is None and nifti.volume_count > 1 and parts.meta is not None:
        milliseconds = numbers(parts.meta, "RepetitionTime", 1)[0]
        if milliseconds is not None and milliseconds[0] > 0:
            nifti = nifti.with_seconds_between_volumes(milliseconds[0] / 1000)
    return NiftiVolume(nifti, voxels)


def _check_colours(meta: DicomMeta | None, colour: bool) -> None:
    """Refuse colours that NIfTI, which has RGB only, would show as others."""
    if meta is None or not colour:
        return
    told = meta.get("PhotometricInterpretation", force_nonshared=True)[0]
    if told not in (None, "", "RGB"):
        raise DataConsistencyError(f"colours are {told}, NIfTI has RGB only")


def _volumes_of_series(
    shape: tuple[int, ...], parts: CubeParts
) -> tuple[list[int] | None, tuple[int, ...], Grid | None]:
    """Return how the slices of a series make an array of NIfTI.

    Returns:
        The slices in the order of the array, None if they are; its shape (x, y, z[, volume]); where
        the voxels of each volume are.

    Raises:
        DataConsistencyError: there are several volumes, and they differ in shape or place.
    """
    slices, rows, columns = shape[:3]
    split = None if parts.meta is None else series_volumes(parts.meta)
    if parts.meta is None or split is None:
        return None, (columns, rows, slices), grid_of_parts(parts, shape)
    grids = [grid_or_reason(parts.meta.select(volume))[0] for volume in split.slices]
    sizes = {len(volume) for volume in split.slices}
    if len(sizes) > 1 or not all(_same_place(grids[0], grid) for grid in grids):
        raise DataConsistencyError(
            f"{split} of different shape or place don't make one NIfTI file",
            suggestion="write each of image.volumes()",
        )
    order = [index for volume in split.slices for index in volume]
    return order, (columns, rows, sizes.pop(), len(split.slices)), grids[0]


def _same_place(one: Grid | None, other: Grid | None) -> bool:
    if one is None or other is None:
        return one is other
    last = np.array(one.shape)[:, None] - 1
    ends = [(grid.origin, grid.origin + (grid.steps * last)) for grid in (one, other)]
    return all(
        np.allclose(of_one, of_other, rtol=0, atol=1e-3)
        for of_one, of_other in zip(*ends, strict=True)
    )


def _placed(nifti: NiftiHeader, grid: Grid | None, meta: DicomMeta | None) -> NiftiHeader:
    """Return a header with the place of its voxels, or without one if that isn't known."""
    if grid is not None:
        return nifti.with_affine(affine_of_grid(grid, nifti.mm_per_unit))
    reason = "the image has no space" if meta is None else grid_or_reason(meta)[1]
    warnings.warn(
        f"the NIfTI file does not say where its voxels are: {reason or 'there is no space'}",
        stacklevel=5,
    )
    nifti = nifti.with_affine(None)
    in_plane = None if meta is None else numbers(meta, CommonTags.PixelSpacing, 2)[0]
    between = None if meta is None else numbers(meta, CommonTags.SliceThickness, 1)[0]
    if in_plane is None:
        return nifti
    return nifti.with_spacing((in_plane[1], in_plane[0], between[0] if between else 1.0))
