"""Where NIfTI puts voxels, and where dicube does: RAS against LPS, affine against Grid.

NIfTI's world has x to the right, y to the front, z up, in the header's unit; DICOM's (and dicube's)
has x to the left, y to the back, z up, in mm (DICOM PS3.3 C.7.6.2.1.1; nifti1.h, "3D IMAGE
(VOLUME) ORIENTATION AND LOCATION IN SPACE"). So the two first *coordinates* change their sign, of
the origin and of each axis. Must not know files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.series.geometry import Grid
from dicube.nifti.header import NiftiHeader

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def grid_of_header(header: NiftiHeader) -> Grid:
    """Return where the voxels of one volume are, after the header's best affine (as nibabel's)."""
    affine = header.affine * header.mm_per_unit
    # Adding 0 makes zero of -0.
    origin = _RAS_TO_LPS @ affine[:3, 3] + 0.0
    steps = (_RAS_TO_LPS @ affine[:3, :3]).T + 0.0
    return Grid.from_steps(header.volume_dims, origin, steps)


def affine_of_grid(grid: Grid, mm_per_unit: float = 1.0) -> NDArray[Any]:
    """Return the (4, 4) affine that takes voxel indices (x, y, z) to NIfTI's world.

    Args:
        grid: where the voxels are.
        mm_per_unit: of the unit that the affine shall be in.
    """
    affine = np.eye(4)
    affine[:3, :3] = _RAS_TO_LPS @ grid.steps.T + 0.0
    affine[:3, 3] = _RAS_TO_LPS @ grid.origin + 0.0
    affine[:3] /= mm_per_unit
    return affine
