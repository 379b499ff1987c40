"""A reader for MONAI, which sees dicube files as it sees NIfTI.

For `LoadImaged("image", reader="dicube.integrations.monai.DicubeReader")`. Must not know how
volumes become arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import needing
from dicube.integrations.as_nifti import channels, load, x_first
from dicube.storage.formats import is_dicube_name
from dicube.storage.urls import name_of_source

with needing("the reader for MONAI", "monai", "monai"):
    from monai.data.image_reader import NibabelReader
    from monai.data.utils import correct_nifti_header_if_necessary
    from monai.utils import ensure_tuple


class DicubeReader(NibabelReader):
    """A reader for MONAI's `LoadImage` and `LoadImaged`.

    Arrays, affines and metadata are those that `NibabelReader` gives for a NIfTI file of the same
    series: axes (x, y, z), or (x, y, z, channel) for colours and for series of several volumes.
    Labels keep their type of integer with `LoadImage(dtype=None)`. Several files become channels.

    URLs need `LoadImage(expanduser=False)`, since MONAI otherwise takes them for paths.

    Args:
        channel_dim, as_closest_canonical, squeeze_non_spatial_dims: see `NibabelReader`.
        options: for `dicube.open`, such as `num_threads=1` in the workers of a DataLoader, or
            `storage_options`.
    """

    def __init__(
        self,
        channel_dim: str | int | None = None,
        as_closest_canonical: bool = False,
        squeeze_non_spatial_dims: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            channel_dim=channel_dim,
            as_closest_canonical=as_closest_canonical,
            squeeze_non_spatial_dims=squeeze_non_spatial_dims,
            **options,
        )

    def verify_suffix(self, filename: Any) -> bool:
        """Return whether all names are those of dicube files."""
        return all(is_dicube_name(name_of_source(name)) for name in ensure_tuple(filename))

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Return the image of a file, or a list of those of several files.

        Args:
            data: a path or URL, or several.
            kwargs: further options for `dicube.open`.

        Raises:
            DicomCubeError: see `dicube.open`; the volumes of a series differ in shape or position.
        """
        self.filenames: Sequence[Any] = ensure_tuple(data)
        options = {**self.kwargs, **kwargs}
        images = [
            correct_nifti_header_if_necessary(load(name, **options)) for name in self.filenames
        ]
        return images if len(images) > 1 else images[0]

    def _get_array_data(self, img: Any, *_filename: Any) -> NDArray[Any]:
        """Return the voxels; colours, which NIfTI has as a type, with an axis for the samples."""
        if img.ndim != 3 and not img.get_data_dtype().names:
            return np.asanyarray(img.dataobj)
        volumes = x_first(channels(img), self.kwargs.get("num_threads"))
        return volumes[0] if len(volumes) == 1 else np.moveaxis(volumes, 0, -1)
