"""A dicube file as nibabel would load its NIfTI: how MONAI, TorchIO and nnU-Net see it.

So that each sees the same values, affine and voxel sizes as in a .nii.gz of the same series. Must
not know any of these libraries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube import Cube
from dicube.core.cube import open as open_cube
from dicube.core.image import DicomCubeImage
from dicube.core.slice_values import stored_are_real
from dicube.nifti import NiftiHeader, NiftiVolume, nibabel_image
from dicube.threads import Threads, thread_count


def load(path: Any, **options: Any) -> Any:
    """Return a dicube file as a NIfTI image of nibabel.

    Args:
        path: see `dicube.open`.
        options: for `dicube.open`.

    Returns:
        A Nifti1Image, or Nifti2Image for long sides: (x, y, z), or (x, y, z, t) if the series has
        several volumes. Real values: float64 if the stored values are float64 or integers of more
        than 16 bits, else float32. If the stored values are the real ones, as in a file of labels,
        they keep their type.

    Raises:
        InvalidCubeFileError: not a dicube file, or a damaged one.
        DataConsistencyError: the volumes of a series differ in shape or position; or 64-bit
            integers with a rescale that no float holds.
        MissingPackageError: (an ImportError too) nibabel is not installed.

    Warns:
        UserWarning: the position of the voxels is unknown; the affine then has the voxel sizes
            only. See also `DicomCubeImage.to_nifti`.
    """
    with open_cube(path, **options) as cube:
        return cube.to_nibabel(real=has_other_real_values(cube))


def has_other_real_values(cube: Cube) -> bool:
    """Return whether real values differ from the stored ones, which else keep their type."""
    return not stored_are_real(cube.dtype, cube.dicom_meta, cube.pixel_header)


def channels(image: Any) -> NDArray[Any]:
    """Return the voxels of an image of nibabel as (channel, z, y, x).

    Channels are the volumes of a series, the samples of colours, or both; else there is one.
    """
    array = np.asanyarray(image.dataobj).T
    if array.dtype.names:
        array = np.moveaxis(array[..., np.newaxis].view(np.uint8), -1, 0)
    sizes = (*image.shape, 1, 1)[:3]  # NIfTI may lack z, and y
    voxels: NDArray[Any] = array.reshape(-1, *sizes[::-1])
    return voxels


def x_first(voxels: NDArray[Any], num_threads: int | None = None) -> NDArray[Any]:
    """Return voxels (channel, z, y, x) as a new array (channel, x, y, z), in C order.

    Tensors need that order. Row by row, because the rows of all slices fit the processor's cache:
    numpy's own copy of a transposed volume takes several times as long.

    Args:
        voxels: to copy.
        num_threads: see `dicube.open`.
    """
    result = np.empty((len(voxels), *voxels.shape[:0:-1]), voxels.dtype)

    def copy(row: int) -> None:
        result[:, :, row] = voxels[:, :, row].transpose(0, 2, 1)

    with Threads(thread_count(num_threads)) as threads:
        for _ in threads.map(copy, range(voxels.shape[2])):
            pass
    return result


def image_of(voxels: NDArray[Any], affine: NDArray[Any]) -> DicomCubeImage:
    """Return voxels (z, y, x) with an affine in RAS, also a sheared one, as an image.

    The affine is rounded to 32 bits, as in NIfTI-1.
    """
    header = NiftiHeader.new(voxels.shape[::-1]).with_samples(voxels.dtype, colour=False)
    return DicomCubeImage.from_nifti(nibabel_image(NiftiVolume(header.with_affine(affine), voxels)))
