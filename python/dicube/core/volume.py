"""Volume: what `Cube` and `DicomCubeImage` have in common.

Axis order: arrays are (slice, row, column); affines map (x, y, z) = (column, row, slice). So
`volume[z, y, x]` is at `affine @ (x, y, z, 1)`. Must not know how pixels are stored, and imports
nothing that opening a file doesn't need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.exceptions import DataConsistencyError
from dicube.storage.pixel_utils import check_floats_hold, float_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from dicube.core.cube_parts import CubeParts
    from dicube.core.geometry.layout import Volumes
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

    def to_sitk(self, real: bool = True) -> Any:
        """Return the volume as an image of SimpleITK, with spacing, origin and direction in LPS.

        Args:
            real: real values such as Hounsfield units, as `get_fdata` has them: float64 if the
                stored values are float64 or integers of more than 16 bits, else float32. False for
                the stored values, of their type. Colours are RGB either way.

        Returns:
            A SimpleITK.Image that holds a copy, of three dimensions; of four if the series has
            several volumes, and of vectors if it has colours.

        Raises:
            DataConsistencyError: the position of voxels is unknown (see `geometry_problem`), or the
                axes are not at right angles, which SimpleITK doesn't support (`regrid` resamples
                both); the volumes of a series differ in shape or position; several mappings to
                real values (choose one by `DicomCubeImage.from_file(real_world=)`); 64-bit integers
                that no float holds; or colours that can't be converted to RGB.
            MissingPackageError: (an ImportError too) SimpleITK is not installed.

        Warns:
            UserWarning: see `DicomCubeImage.to_nifti`.

        Example:
            >>> image = dicube.open("head.dcbs").to_sitk()
            >>> image.GetSize(), image.GetSpacing()
            ((40, 48, 5), (0.75, 0.5, 2.5))
        """
        from dicube.core.handover import sitk_image

        return sitk_image(self._volumes(real))

    def to_nibabel(self, real: bool = True) -> Any:
        """Return the volume as a NIfTI image of nibabel, with `affine`.

        It is what nibabel loads from the file of `DicomCubeImage.to_nifti`, in memory.

        Args:
            real: see `to_sitk`. Stored values are not copied unless they have to be rearranged.

        Returns:
            A Nifti1Image, or Nifti2Image if a side is longer than 32767 or the image was read from
            NIfTI-2: (x, y, z), or (x, y, z, t) if the series has several volumes. Colours are of
            nibabel's type of RGB.

        Raises:
            DataConsistencyError: the volumes of a series differ in shape or position; several
                mappings to real values (choose one by `DicomCubeImage.from_file(real_world=)`);
                64-bit integers that no float holds; or colours that can't be converted to RGB.
            MissingPackageError: (an ImportError too) nibabel is not installed.

        Warns:
            UserWarning: the position of the voxels is unknown, or see `DicomCubeImage.to_nifti`.

        Example:
            >>> image = dicube.open("head.dcbs").to_nibabel()
            >>> image.shape, image.affine.diagonal().tolist()
            ((40, 48, 5), [-0.75, -0.5, 2.5, 1.0])
        """
        from dicube.core.handover import nibabel_image

        return nibabel_image(self._volumes(real), self._all_parts())

    def to_xarray(self, real: bool = True) -> Any:
        """Return the volume as an xarray.DataArray of dims z, y, x, with coordinates in mm.

        The coordinates are LPS if the axes are those of the patient. For all, the 9 numbers
        `direction` in `attrs` (row by row) give the position: `direction @ (x, y, z)` is in LPS.
        So a selection keeps its position.

        Args:
            real: see `to_sitk`. Stored values are not copied unless they have to be rearranged.
                `scale_factor` and `add_offset` in `attrs` are their slope and intercept, if one
                suffices and changes them, and if there is only one mapping to real values.

        Returns:
            The DataArray, `voxels`; its first dim is t if the series has several volumes (in
            seconds, if known), and its last one is sample if it has colours. If the position of
            voxels is unknown, it has no coordinates of them, and `geometry_problem` in `attrs`.
            `attrs` also have the Modality, and the units of real values, if the file states them.

        Raises:
            DataConsistencyError: the volumes of a series differ in shape or position; several
                mappings to real values (choose one by `DicomCubeImage.from_file(real_world=)`);
                64-bit integers that no float holds; or colours that can't be converted to RGB.
            MissingPackageError: (an ImportError too) xarray is not installed.

        Warns:
            UserWarning: see `DicomCubeImage.to_nifti`.

        Example:
            >>> array = dicube.open("head.dcbs").to_xarray()
            >>> float(array.sel(z=6, method="nearest").z)  # mm, LPS
            5.0
            >>> dicube.DicomCubeImage.from_xarray(array[1:, ::2]).spacing
            (2.5, 1.0, 0.75)
        """
        from dicube.core.handover import data_array

        volumes = self._volumes(real)
        return data_array(volumes.array, volumes.layout, self._all_parts(), real)

    def _volumes(self, real: bool) -> Volumes:
        """Return the volumes of the series, of real or stored values, and of colours as RGB."""
        from dicube.core.geometry.layout import arranged
        from dicube.core.nifti_image import shown_samples
        from dicube.dicom.series.colours import has_palette

        parts = self._all_parts()
        if real and len(self.shape) == 3 and not has_palette(parts.meta):
            samples = self._real_values()
        else:
            samples = shown_samples(self._stored(), parts)
        return arranged(samples, parts)

    def _real_values(self) -> NDArray[Any]:
        """Return real values of a type that holds each stored value."""
        check_real_values(self.dtype, self._stored)
        return self._fdata(float_for(self.dtype))

    if TYPE_CHECKING:  # attributes of one class, properties of the other

        @property
        def shape(self) -> tuple[int, ...]:
            """The shape, (slices, rows, columns[, 3])."""

        @property
        def dtype(self) -> np.dtype[Any]:
            """The dtype of the stored values."""

    @abstractmethod
    def _stored(self) -> NDArray[Any]:
        """Return the stored values, which callers may change."""

    @abstractmethod
    def _fdata(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return the real values."""

    @abstractmethod
    def _all_parts(self) -> CubeParts:
        """Return everything but the pixels, for the shape of the volume."""

    @abstractmethod
    def _placement(self) -> tuple[Grid | None, str]:
        """Return the grid of the voxels; or None and the reason."""


def check_real_values(dtype: np.dtype[Any], stored: Callable[[], NDArray[Any]]) -> None:
    """Check that floats hold stored values, which are taken only if their type leaves doubt.

    Raises:
        DataConsistencyError: they are integers that no float holds.
    """
    if dtype.kind in "iu" and dtype.itemsize > 4:
        try:
            check_floats_hold(stored())
        except DataConsistencyError as error:
            error.suggestion = "take the stored values by real=False"
            raise
