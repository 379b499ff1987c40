"""Volume: what `Cube` and `DicomCubeImage` have in common.

Axis order: arrays are (slice, row, column); affines map (x, y, z) = (column, row, slice). So
`volume[z, y, x]` is at `affine @ (x, y, z, 1)`. Must not know how pixels are stored, and imports
nothing that opening a file doesn't need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicube.dicom.series.geometry import Grid


class Volume(ABC):
    """A volume of voxels with a position in the patient.

    Arrays are indexed (z, y, x) = (slice, row, column). Affines take (x, y, z) = (column, row,
    slice), as those of nibabel and ITK do.
    """

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """The (4, 4) matrix from voxel (x, y, z) to RAS in mm, as in nibabel; None if unknown.

        Also of a tilted gantry, whose slices are sheared, so that `space` is None. At a resolution
        level of a cube, it is that of the level. `geometry_problem` says why it is None.

        Example:
            >>> cube = dicube.open("head.dcbs")
            >>> cube.affine[:3, :3].tolist()  # mm from a voxel to the next, along x, y and z
            [[-0.75, 0.0, 0.0], [0.0, -0.5, 0.0], [0.0, 0.0, 2.5]]
            >>> z, y, x = 4, 7, 11  # cube[z, y, x] is here:
            >>> right, front, up, _ = cube.affine @ (x, y, z, 1)
        """
        from dicube.nifti.placement import affine_of_grid

        grid = self._placement()[0]
        return None if grid is None else affine_of_grid(grid)

    @property
    def affine_lps(self) -> NDArray[np.float64] | None:
        """The (4, 4) matrix from voxel (x, y, z) to DICOM's and ITK's LPS in mm; see `affine`."""
        grid = self._placement()[0]
        return None if grid is None else grid.affine

    @property
    def orientation(self) -> str | None:
        """The letters of the directions in which x, y and z run, closest to the patient's axes.

        Such as 'LPS' for usual axial slices: columns run to the left, rows to the back
        (posterior), slices up (superior). nibabel's `aff2axcodes(affine)` has the same letters.
        None if `affine` is None.
        """
        grid = self._placement()[0]
        return None if grid is None else grid.orientation

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """The distance of voxels along (z, y, x), in mm; None if `affine` is None.

        That of slices is from centre to centre, which is more than along the normal if the gantry
        was tilted.
        """
        grid = self._placement()[0]
        if grid is None:
            return None
        x, y, z = grid.spacing.tolist()
        return z, y, x

    @property
    def geometry_problem(self) -> str:
        """Why `affine`, `orientation` and `spacing` are None; '' if they aren't.

        Such as uneven distances of slices, with their numbers, or several volumes in one series.
        """
        return self._placement()[1]

    @abstractmethod
    def _placement(self) -> tuple[Grid | None, str]:
        """Return the grid of the voxels; or None and the reason."""
