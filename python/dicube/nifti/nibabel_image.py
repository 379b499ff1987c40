"""Convert nibabel's NIfTI images, loaded or made in memory, to header and stored voxels.

Must not know dicube files or geometry.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError
from dicube.nifti.header import RGB, NiftiHeader, NiftiVolume
from dicube.nifti.nibabel_door import import_nibabel, nibabel_class, refusing, single_file_bytes


def header_and_voxels(image: Any) -> NiftiVolume:
    """Return the header and the stored voxels of a nibabel image.

    The stored voxels of an image made from an array are that array, even if its header names
    another type.

    Args:
        image: a Nifti1Image, Nifti2Image, Nifti1Pair or Nifti2Pair of nibabel.

    Raises:
        DataConsistencyError: another kind of image, or voxels that can't be stored.
        InvalidCubeFileError: the image's file is damaged or missing.
    """
    nibabel = import_nibabel()
    if not isinstance(image, nibabel.Nifti1Pair):
        raise DataConsistencyError(
            f"expected a path or a NIfTI image of nibabel, found {type(image).__name__}",
            suggestion="nibabel.Nifti1Image.from_image(image) converts other images",
        )
    version = 2 if image.header.sizeof_hdr == nibabel.Nifti2Header.sizeof_hdr else 1
    with refusing():
        fields = nibabel_class(version).from_header(image.header, check=False)
        stored = image.dataobj
        if hasattr(stored, "get_unscaled"):
            array = np.asanyarray(stored.get_unscaled())
            fields["scl_slope"], fields["scl_inter"] = _stored_rescale(image)
        else:
            array = np.asanyarray(stored)
            fields["scl_slope"] = fields["scl_inter"] = np.nan
            fields.set_data_dtype(array.dtype)
        if fields.get_data_shape() != array.shape:
            fields.set_data_shape(array.shape)
        if not np.allclose(image.affine, fields.get_best_affine()):
            fields.set_sform(image.affine, "aligned")
        header = NiftiHeader(single_file_bytes(fields))
    samples = array.T
    if samples.dtype == RGB:
        samples = np.ascontiguousarray(samples).view(np.uint8).reshape(*samples.shape, 3)
    # A copy, because the image may map its array from a file, and may change it later.
    voxels = np.array(samples, header.sample_dtype, order="C").reshape(header.voxels_shape)
    return NiftiVolume(header, voxels)


def nibabel_image(volume: NiftiVolume) -> Any:
    """Return a volume as a NIfTI image of nibabel, with the same voxels, which are not copied.

    nibabel takes an array for real values, so the header has no slope and intercept.
    """
    header, voxels = volume
    nibabel = import_nibabel()
    kind = nibabel.Nifti1Image if header.version == 1 else nibabel.Nifti2Image
    if voxels.ndim == 4:
        voxels = of_rgb(voxels)
    array = voxels.reshape(header.shape[::-1]).T
    with refusing():
        return kind(array, header.affine, nibabel_header(header))


def nibabel_header(header: NiftiHeader) -> Any:
    """Return a header as nibabel's, with the same values in all fields."""
    kind = nibabel_class(header.version)
    return kind.from_fileobj(io.BytesIO(header.data), check=False)


def of_rgb(samples: NDArray[np.uint8]) -> NDArray[Any]:
    """Return (…, 3) samples as an array of `RGB`, nibabel's type of colours."""
    found: NDArray[Any] = np.ascontiguousarray(samples).view(RGB)[..., 0]
    return found


def _stored_rescale(image: Any) -> tuple[float, float]:
    """Return slope and intercept of a loaded image as stored in its file.

    nibabel keeps only their effect: 1 and 0 if the file has none.
    """
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, intercept) == (1.0, 0.0):
        kind = type(image.header)
        try:
            with image.file_map.get(
                "header", image.file_map["image"]
            ).get_prepare_fileobj() as file:
                stored = kind(file.read(kind.sizeof_hdr), check=False)
            if (stored.get_slope_inter() or None) in ((None, None), (1.0, 0.0)):
                return float(stored["scl_slope"]), float(stored["scl_inter"])
        except Exception:  # the file is missing or has changed: the image counts
            return slope, intercept
    return slope, intercept
