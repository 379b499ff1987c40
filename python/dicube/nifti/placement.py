"""Convert between NIfTI's affine in RAS and dicube's Grid in LPS.

NIfTI's coordinates run to the right, to the front and up, in the header's unit; those of DICOM and
dicube run to the left, to the back and up, in mm (DICOM PS3.3 C.7.6.2.1.1; nifti1.h, "3D IMAGE
(VOLUME) ORIENTATION AND LOCATION IN SPACE"). So the first two coordinates of the origin and of each
axis change their sign. Must not know files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.series.geometry import Grid
from dicube.nifti.header import NiftiHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def grid_of_header(header: NiftiHeader) -> Grid:
    """Return the grid of a volume, by the affine that nibabel selects."""
    affine = header.affine * header.mm_per_unit
    # Adding 0 turns -0 into 0.
    origin = _RAS_TO_LPS @ affine[:3, 3] + 0.0
    steps = (_RAS_TO_LPS @ affine[:3, :3]).T + 0.0
    return Grid.from_steps(header.volume_dims, origin, steps)


def affine_of_grid(grid: Grid, mm_per_unit: float = 1.0) -> NDArray[Any]:
    """Return the (4, 4) affine from voxel indices (x, y, z) to NIfTI's coordinates.

    Args:
        grid: of the voxels.
        mm_per_unit: millimetres in the affine's unit.
    """
    affine = _LPS_TO_RAS @ grid.affine + 0.0
    affine[:3] /= mm_per_unit
    return affine
