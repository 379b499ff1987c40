"""Read and write NIfTI: headers unchanged, voxels as (slice, row, column), and geometry.

Knows no dicube files and no DICOM; `core` builds images from it.
"""

from __future__ import annotations

from dicube.nifti.header import BytesBehind, NiftiHeader, NiftiVolume
from dicube.nifti.nibabel_image import (
    header_and_voxels,
    nibabel_header,
    nibabel_image,
    of_rgb,
)
from dicube.nifti.nifti_file import (
    NIFTI_EXTENSIONS,
    is_nifti_name,
    nifti_bytes,
    open_unpacked,
    read_nifti_file,
    without_stale_end,
    write_nifti_file,
)
from dicube.nifti.placement import affine_of_grid, grid_of_header

__all__ = [
    "NIFTI_EXTENSIONS",
    "BytesBehind",
    "NiftiHeader",
    "NiftiVolume",
    "affine_of_grid",
    "grid_of_header",
    "header_and_voxels",
    "is_nifti_name",
    "nibabel_header",
    "nibabel_image",
    "nifti_bytes",
    "of_rgb",
    "open_unpacked",
    "read_nifti_file",
    "without_stale_end",
    "write_nifti_file",
]
