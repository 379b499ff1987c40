"""Conversion between images and NIfTI files.

The header of the file read is kept for the fields that dicube has no place for. Shape, samples,
rescale and space are set from the image, so that edits are written. Must not know files, or how a
header is laid out.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.fidelity.origin import Origin
from dicube.core.geometry.layout import Layout, Volumes, arranged
from dicube.core.geometry.placement import fitting_nifti, space_of_nifti
from dicube.core.slice_values import bits_of_slices, real_values
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.metadata.real_world import Choice, Mapping
from dicube.dicom.series.colours import has_palette, in_rgb
from dicube.dicom.series.geometry import Grid, grid_or_reason, voxel_size
from dicube.nifti import (
    NiftiHeader,
    NiftiVolume,
    affine_of_grid,
    header_and_voxels,
    read_nifti_file,
    without_stale_end,
)
from dicube.pixel_header import PixelDataHeader
from dicube.storage.pixel_utils import compute_real_values, value_of_words
from dicube.storage.real_values import RealValues


def read_nifti(source: Any) -> tuple[NDArray[Any], CubeParts, str]:
    """Return voxels and parts of a NIfTI file or image, and the reason if its space is None.

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


def nifti_of_image(
    voxels: NDArray[Any],
    parts: CubeParts,
    version: int | None,
    choice: Choice | None = None,
) -> NiftiVolume:
    """Return an image as NIfTI.

    Args:
        voxels: stored values, (slices, rows, columns[, 3]).
        parts: of the image.
        version: 1 or 2; None for that of the file read, otherwise 1 if the shape allows.
        choice: the mapping to real values, by number or label; None for the one that counts.

    Raises:
        DataConsistencyError: NIfTI can't store such samples, colours or rescale; the volumes of
            the series differ in shape or position; the slices in mosaics are unknown; or there are
            several mappings and none is chosen.

    Warns:
        UserWarning: a slope and intercept can't give the real values of all slices; the position of
            the voxels is unknown; or nothing but the order of the slices distinguishes volumes.
    """
    voxels, rescale = shown_samples(voxels, parts), (1.0, 0.0)
    if not has_palette(parts.meta):
        real = real_values("float64", voxels.dtype, parts.meta, parts.header, choice)
        voxels, rescale = _with_one_rescale(voxels, real._replace(bits=None))
    return nifti_of_volumes(arranged(voxels, parts), parts, version, rescale)


def shown_samples(voxels: NDArray[Any], parts: CubeParts) -> NDArray[Any]:
    """Return the stored values without unused bits of their words, and colours as RGB.

    Args:
        voxels: stored words, (slices, rows, columns[, 3]).
        parts: of the image.
    """
    bits = bits_of_slices(parts.meta, parts.header)
    if bits is not None:
        words = zip(voxels, bits, strict=True)
        voxels = np.stack([w if of is None else value_of_words(w, *of) for w, of in words])
    return in_rgb(voxels, parts.meta)


def nifti_of_volumes(
    volumes: Volumes,
    parts: CubeParts,
    version: int | None,
    rescale: tuple[float, float] = (1.0, 0.0),
) -> NiftiVolume:
    """Return the volumes of an image as NIfTI; see `nifti_of_image`."""
    voxels = volumes.voxels
    if voxels.dtype.name == "float16":  # of either byte order
        voxels = voxels.astype(np.float32)
    nifti = nifti_header(volumes.layout, voxels.dtype, voxels.ndim == 4, parts, version, rescale)
    return NiftiVolume(without_stale_end(nifti, voxels), voxels)


def nifti_header(
    layout: Layout,
    dtype: np.dtype[Any],
    is_colour: bool,
    parts: CubeParts,
    version: int | None = None,
    rescale: tuple[float, float] = (1.0, 0.0),
) -> NiftiHeader:
    """Return the NIfTI header of volumes.

    Args:
        layout: of the volumes.
        dtype: of their samples.
        is_colour: whether a voxel has three.
        parts, version: see `nifti_of_image`.
        rescale: slope and intercept.

    Raises, Warns: see `nifti_of_image`.
    """
    *volumes, rows, columns = layout.array_shape
    shape = (math.prod(volumes), rows, columns, *[3] * is_colour)
    kept = fitting_nifti(parts, shape)
    nifti = (parts.origin.nifti or NiftiHeader.new(layout.shape)).with_samples(dtype, is_colour)
    nifti = nifti.with_shape(layout.shape)
    nifti = nifti.with_version(version or nifti.version)
    nifti = nifti.with_rescale(*rescale)
    if kept is None or parts.space != space_of_nifti(kept)[0]:
        nifti = _placed(nifti, layout.grid, layout.meta or parts.meta)
    if parts.origin.nifti is None and layout.seconds is not None:
        nifti = nifti.with_seconds_between_volumes(layout.seconds)
    return nifti


def _with_one_rescale(
    voxels: NDArray[Any], real: RealValues
) -> tuple[NDArray[Any], tuple[float, float]]:
    """Return voxels, and the slope and intercept that make real values of all slices.

    The voxels are the real values, of float64, if a slope and intercept can't make these.
    """
    if real.line is not None:
        return voxels, real.line
    lines: set[tuple[float, float] | None] = set()
    for index, line in enumerate(zip(*map(list, real.rescale_of(len(voxels))), strict=True)):
        mapped = None if real.maps is None else real.maps[index]
        if isinstance(mapped, Mapping):
            low, high = voxels[index].min(), voxels[index].max()
            lines.add(mapped.line if mapped.holds(low, high, voxels.dtype) else None)
        else:
            lines.add(line if all(map(math.isfinite, line)) else None)
    rescale = lines.pop()
    if rescale is not None and not lines:
        return voxels, rescale
    warnings.warn(
        "slices differ in their rescale, or it isn't a slope and intercept, which NIfTI can't "
        "store: writing real values as float64",
        stacklevel=4,
    )
    return compute_real_values(voxels, real), (1.0, 0.0)


def without_stale_nifti(parts: CubeParts, voxels: NDArray[Any]) -> CubeParts:
    """Return the parts of an image, for a dicube file with these voxels.

    Warns:
        UserWarning: bytes behind the voxels of the NIfTI file read are left out, because the
            voxels have changed.
    """
    if parts.origin.nifti is None:
        return parts
    nifti = without_stale_end(parts.origin.nifti, voxels)
    return parts._replace(origin=replace(parts.origin, nifti=nifti))


def _placed(nifti: NiftiHeader, grid: Grid | None, meta: DicomMeta | None) -> NiftiHeader:
    """Return a header with the position of the voxels, or without it if it isn't known."""
    if grid is not None:
        return nifti.with_affine(affine_of_grid(grid, nifti.mm_per_unit))
    nifti = nifti.with_affine(None)
    reason, size = "the image has no space", ""
    if meta is not None:
        reason = grid_or_reason(meta)[1] or reason
        spacing, source = voxel_size(meta)
        nifti = nifti.with_spacing(spacing)
        x, y, z = (f"{length:.6g}" for length in spacing)
        size = f"; the voxel size is {x} x {y} x {z} mm, the slice distance by {source}"
    warnings.warn(f"the NIfTI image has no voxel positions: {reason}{size}", stacklevel=6)
    return nifti
