"""Lets nnU-Net read images and write segmentations as dicube files.

In a program, call `register()` outside of `if __name__ == "__main__":`, so that nnU-Net's worker
processes call it too, when they import the program anew. nnU-Net's own commands find readers only
inside its package: for these, put one line into a file `nnunetv2/imageio/dicube_io.py` there:

    from dicube.integrations.nnunet import DicubeIO

and `"overwrite_image_reader_writer": "DicubeIO"` into dataset.json.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError, needing
from dicube.integrations.as_nifti import channels, image_of, load
from dicube.storage.formats import EXTENSIONS

with needing("the reader for nnU-Net", "nnunetv2", "nnunet"):
    from nnunetv2.imageio import reader_writer_registry
    from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

_EXACT_IN_FLOAT32 = 1 << 24


class DicubeIO(BaseReaderWriter):
    """Reads and writes dicube files for nnU-Net, with the results of its readers of NIfTI."""

    supported_file_endings = EXTENSIONS

    def read_images(
        self, image_fnames: Sequence[str]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read the channels of a case.

        Args:
            image_fnames: a file for each channel. Series of several volumes, and colours, have
                several channels in a file.

        Returns:
            The real values as (channel, z, y, x), and properties: `spacing` along (z, y, x), and
            the affine in RAS of the first file.

        Raises:
            DataConsistencyError: the files differ in shape or spacing.
            InvalidCubeFileError: not a dicube file, or a damaged one.

        Warns:
            UserWarning: the files differ in their position; or that of the voxels is unknown.
        """
        images = [load(name) for name in image_fnames]
        arrays = [channels(image) for image in images]
        zooms = [(*image.header.get_zooms(), 1, 1) for image in images]  # NIfTI may lack z, and y
        spacings = [[float(size) for size in of_axes[2::-1]] for of_axes in zooms]
        for name, array, spacing, image in zip(image_fnames, arrays, spacings, images, strict=True):
            if array.shape[1:] != arrays[0].shape[1:] or not np.allclose(spacing, spacings[0]):
                raise DataConsistencyError(
                    f"{name}: expected the shape {arrays[0].shape[1:]} and spacing {spacings[0]} "
                    f"of {image_fnames[0]}, found {array.shape[1:]} and {spacing}"
                )
            if not np.allclose(image.affine, images[0].affine):
                warnings.warn(f"{name} has another affine than {image_fnames[0]}", stacklevel=2)
        # nnU-Net compares what it finds under this name between image and segmentation.
        properties = {
            "nibabel_stuff": {"original_affine": images[0].affine},
            "spacing": spacings[0],
        }
        return np.concatenate(arrays, dtype=np.float32, casting="unsafe"), properties

    def read_seg(self, seg_fname: str) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read a segmentation: as `read_images`, and never with a rounded label.

        Raises:
            DataConsistencyError: a label that float32, which nnU-Net needs, doesn't hold.
            InvalidCubeFileError: not a dicube file, or a damaged one.
        """
        array, properties = self.read_images([seg_fname])
        # Larger integers are rounded to this or more.
        if np.abs(array).max() >= _EXACT_IN_FLOAT32:
            raise DataConsistencyError(
                f"{seg_fname}: expected labels below {_EXACT_IN_FLOAT32}, found {array.max():.0f}"
            )
        return array, properties

    def write_seg(self, seg: NDArray[Any], output_fname: str, properties: dict[str, Any]) -> None:
        """Write a segmentation where the images are, in the smallest type that holds its labels.

        Args:
            seg: (z, y, x), of integers.
            output_fname: the extension selects the kind of file, '.dcbs' or '.dcba'.
            properties: those of `read_images`.
        """
        kind = np.result_type(*(np.min_scalar_type(int(end)) for end in (seg.min(), seg.max())))
        affine = properties["nibabel_stuff"]["original_affine"]
        image_of(seg.astype(kind), affine).to_file(output_fname)


def register() -> None:
    """Let nnU-Net find `DicubeIO` in this process, by its name and by the extension of files."""
    if DicubeIO not in reader_writer_registry.LIST_OF_IO_CLASSES:
        reader_writer_registry.LIST_OF_IO_CLASSES.append(DicubeIO)
    reader_writer_registry.DicubeIO = DicubeIO  # where its search by name looks
