"""An image as the source of pictures: what pictures need of a `Cube`, for an image in memory.

Takes single slices, and neither decodes nor converts a whole volume. Must not know pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.placement import fitting_nifti, space_of_nifti
from dicube.core.pixels import Pixels
from dicube.core.slice_values import real_values
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.metadata.real_world import Choice
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.pixel_utils import compute_real_values


class PictureSource:
    """The slices of an image; of a NIfTI file of several volumes, those of the first one.

    Args:
        pixels: of the image.
        parts: of the image.
        choice: the mapping to real values; None for the one that counts.
    """

    level = levels = 0

    def __init__(self, pixels: Pixels, parts: CubeParts, choice: Choice | None) -> None:
        self._pixels, self._choice = pixels, choice
        self._damaged = frozenset(parts.origin.damage.frames)
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.pixel_header: PixelDataHeader = parts.header
        self.dicom_meta: DicomMeta | None = parts.meta
        self.space: Space | None = parts.space
        self.dicom_status: DicomStatus = parts.status
        nifti = fitting_nifti(parts, self.shape)
        if nifti is not None and nifti.volume_count > 1 and parts.meta is None:
            self.shape = (nifti.volume_dims[2], *self.shape[1:])
            self.space = space_of_nifti(nifti.single())[0]

    def at_level(self, level: int) -> PictureSource:
        """Return itself: there is one level."""
        if level:
            raise DataConsistencyError(f"an image has level 0 alone, found {level}")
        return self

    def get_fdata(self, index: Any, dtype: str = "float32") -> Any:
        """Return real values of a slice or a list of slices; NaN where the file was damaged."""
        slices = _list(index)
        real = real_values(dtype, self.dtype, self.dicom_meta, self.pixel_header, self._choice)
        values = compute_real_values(self._pixels.some(slices), real.of_frames(slices))
        values[[place for place, one in enumerate(slices) if one in self._damaged]] = float("nan")
        return values if slices is index else values[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return stored values of a slice or a list of slices."""
        slices = _list(index)
        stored = self._pixels.some(slices)
        return stored if slices is index else stored[0]


def _list(index: Any) -> Sequence[int]:
    return index if isinstance(index, list) else [index]
