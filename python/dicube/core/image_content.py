"""ImageContent: pixels, header, metadata and geometry of an image, which fit each other.

What it is at any moment, and what of it was damaged or changed; where it comes from and goes to is
for `image`. It must not read or write any file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.coded_source import CodedSource
from dicube.core.consistency import checked_meta, checked_space
from dicube.core.cube_parts import CubeParts
from dicube.core.damage import Damage
from dicube.core.lossy.loss import Loss
from dicube.core.meta_edits import MetaEdits, header_of_part
from dicube.core.pixels import Pixels
from dicube.core.provenance import Provenance
from dicube.core.slice_values import bits_of_slices, real_values, rescale_of_slices
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus, get_dicom_status
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.series.geometry import Space, plane_attributes, same_space, space_or_reason
from dicube.dicom.series.stored_bits import UNUSED_BITS, StoredBits
from dicube.nifti import NiftiHeader
from dicube.pixel_header import PixelDataHeader
from dicube.storage.pixel_utils import stored_volume
from dicube.storage.real_values import RealValues


class ImageContent:
    """What an image consists of; see `DicomCubeImage`."""

    def __init__(
        self,
        raw_image: NDArray[Any] | Pixels,
        pixel_header: PixelDataHeader | None = None,
        dicom_meta: DicomMeta | None = None,
        space: Space | None = None,
        dicom_status: DicomStatus | None = None,
        *,
        losses: Sequence[Loss] = (),
    ) -> None:
        if not isinstance(raw_image, Pixels):
            raw_image = Pixels(stored_volume(raw_image))
        self._pixels = raw_image
        name = self.dtype.name
        self._header = pixel_header or PixelDataHeader(OriginalPixelDtype=name, PixelDtype=name)
        self._dicom_meta = checked_meta(dicom_meta, self.shape[0])
        if self._dicom_meta is not None:
            self._header = header_of_part(self._header, self._dicom_meta)
        self._edits = MetaEdits(self._dicom_meta, self._header)
        self._space = checked_space(space, self.shape)
        if dicom_status is None:
            dicom_status = get_dicom_status(dicom_meta) if dicom_meta else DicomStatus.CONSISTENT
        self.dicom_status = dicom_status
        self._damage = Damage()
        self._nifti: NiftiHeader | None = None
        self._provenance: Provenance | None = None
        self._damaged_provenance: Provenance | None = None  # for what is intact of the image
        self._coded_source: CodedSource | None = None
        self._losses = tuple(losses)

    @property
    def damaged_frames(self) -> tuple[int, ...]:
        """The slices that were damaged in the file read, and are zeros here; see `from_file`."""
        return tuple(self._damage.frames)

    @property
    def damaged_sections(self) -> tuple[str, ...]:
        """The names of the sections that were damaged in the file read, and are missing here."""
        return tuple(self._damage.sections)

    @property
    def intact_mask(self) -> NDArray[np.bool_]:
        """A new array, (slices,), False for each of `damaged_frames`."""
        mask = np.ones(self.shape[0], np.bool_)
        mask[list(self._damage.frames)] = False
        return mask

    def accept_damage(self) -> None:
        """Take the image for whole as it is now, zeros and all, so that it can be written."""
        self._damage = Damage()

    @property
    def raw_image(self) -> NDArray[Any]:
        """The stored values, (slices, rows, columns[, 3]).

        Assigning another array raises DataConsistencyError unless it can be stored and fits
        metadata and space. `raw_image += 1` is a change of this one: frames that are damaged stay
        so.
        """
        self._let_pixels_go()
        return self._raw_image

    @raw_image.setter
    def raw_image(self, array: NDArray[Any]) -> None:
        volume = stored_volume(array)
        checked_meta(self._dicom_meta, len(volume))
        checked_space(self.space, volume.shape)
        self._let_pixels_go()
        if volume is self._pixels.held:
            return
        self._pixels = Pixels(volume)
        self._pixels.seen = True
        self._damage = Damage(None, self._damage.sections)
        header = self.pixel_header
        if UNUSED_BITS in header.Extras:
            # The new words are values as they are; whether they fit BitsStored an export looks.
            # Another image may have the same header.
            extras = {k: v for k, v in header.Extras.items() if k != UNUSED_BITS}
            self.pixel_header = dataclasses.replace(header, Extras=extras)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding has changed, the earliest first; empty if all was lossless.

        Kept in files that are written from the image, whatever their format: what was lost once
        stays lost. Losses before the DICOM files were read are in their metadata.
        """
        return self._losses

    @property
    def roi_mask(self) -> NDArray[np.bool_] | None:
        """The mask of a `.dcbr` read, (slices, rows, columns), True inside; else None."""
        return self._pixels.masks()

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata, of as many slices as the volume has; None where there are none."""
        return self._dicom_meta

    @dicom_meta.setter
    def dicom_meta(self, meta: DicomMeta | None) -> None:
        self._dicom_meta = checked_meta(meta, self.shape[0])
        self._edits = MetaEdits(self._dicom_meta, self._header)

    @property
    def pixel_header(self) -> PixelDataHeader:
        """Rescale and window, of the first slice where the metadata have several.

        Editing these in the metadata changes it, unless it was set to something else meanwhile.
        """
        self._follow_edits()
        return self._header

    @pixel_header.setter
    def pixel_header(self, header: PixelDataHeader) -> None:
        self._follow_edits()
        self._header = header
        self._edits = MetaEdits(self._dicom_meta, header)

    @property
    def space(self) -> Space | None:
        """The geometry in (z, y, x) order; None where it isn't known.

        Assigning another writes it into the metadata, so that an export shows it; one whose shape
        is not the volume's raises DataConsistencyError. Editing positions, orientations or spacings
        in the metadata, or the order of their slices, changes it.
        """
        self._follow_edits()
        return self._space

    @space.setter
    def space(self, space: Space | None) -> None:
        self._follow_edits()
        self._space = checked_space(space, self.shape)
        if space is not None and self._dicom_meta is not None:
            _write_space(space, self._dicom_meta)
            self.dicom_status = get_dicom_status(self._dicom_meta)
            self._edits.skip(self._dicom_meta)

    @property
    def shape(self) -> tuple[int, ...]:
        """The volume's shape, (slices, rows, columns[, 3])."""
        return self._pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored values."""
        return self._pixels.dtype

    def get_fdata(self, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return real values: stored value * slope + intercept, as Hounsfield units are.

        Where the metadata have another rescale for each slice, each slice gets its own. Where words
        hold more than the stored value (`UnusedBits` in the header's `Extras`: overlays, say),
        the value is taken out of them after BitsStored and HighBit.

        Args:
            dtype: float16, float32 or float64.

        Returns:
            A new array of the volume's shape, computed in float64 and rounded once; NaN in
            `damaged_frames`.

        Raises:
            DataConsistencyError: another dtype; or a section that tells what stored values mean
                was damaged.
        """
        values = self._pixels.take_real(self._real_values(dtype), self._bits_of_slices())
        values[list(self._damage.frames)] = np.nan
        return values

    def _parts(self) -> CubeParts:
        """Return all of the image but its pixels."""
        header = dataclasses.replace(self.pixel_header, PixelDtype=self.dtype.name)
        header.to_json()  # what can't be stored is refused before anything is done with it
        return CubeParts(header, self._dicom_meta, self.space, self.dicom_status, self._nifti)

    @property
    def _raw_image(self) -> NDArray[Any]:
        """The stored values, for those who don't change them."""
        return self._pixels.stored()

    def _follow_edits(self) -> None:
        """Have header, space and status say what was edited in the metadata since."""
        meta = self._dicom_meta
        if meta is None or not self._edits.are_new(meta):
            return
        self._header, are_elsewhere = self._edits.take(meta, self._header)
        if are_elsewhere:
            told = space_or_reason(meta)[0]
            space = told and told.reverse_axis_order()
            # Of pixels that were cut, or are of lower resolution, the metadata don't tell.
            if space is None or tuple(space.shape) == self.shape[:3]:
                self._space = space
                self.dicom_status = get_dicom_status(meta)

    def _let_pixels_go(self) -> None:
        """Have it known what the pixels are, before somebody gets or replaces them."""
        provenance = self._provenance
        if not self._pixels.seen and provenance is not None and provenance.is_fresh:
            provenance.watch(self._raw_image)
        self._pixels.seen = True

    def _real_values(self, dtype: DTypeLike) -> RealValues:
        """Return what real values of a dtype are made by."""
        self._damage.check_values()
        return real_values(dtype, self._dicom_meta, self.pixel_header)

    def _bits_of_slices(self) -> list[StoredBits | None] | None:
        """Return where in its words each slice's values are; None if words are values."""
        return bits_of_slices(self._dicom_meta, self.pixel_header)

    def _rescale_of_slices(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Return each slice's slope and intercept where they differ, else None for both."""
        return rescale_of_slices(self._dicom_meta, self.pixel_header)

    def _values_need_meta(self) -> bool:
        """Return whether the header alone does not tell what real values are."""
        slopes, intercepts = self._rescale_of_slices()
        several = slopes and intercepts and len({*zip(slopes, intercepts, strict=True)}) > 1
        return bool(several) or self._bits_of_slices() is not None


def _write_space(space: Space, meta: DicomMeta) -> None:
    """Set the image plane elements of metadata (PS3.3 C.7.6.2) to where a space puts voxels."""
    told = space_or_reason(meta)[0]
    if told is not None and same_space(told.reverse_axis_order(), space):
        return
    plane = plane_attributes(space)
    meta.set_nonshared_item(CommonTags.ImagePositionPatient, plane.positions)
    meta.set_shared_item(CommonTags.ImageOrientationPatient, plane.orientation)
    meta.set_shared_item(CommonTags.PixelSpacing, plane.pixel_spacing)
    meta.set_shared_item(CommonTags.SpacingBetweenSlices, plane.slice_distance)
    if not meta.is_missing(CommonTags.SliceLocation):
        meta.set_nonshared_item(CommonTags.SliceLocation, plane.locations)
    if meta.is_missing(CommonTags.SliceThickness):
        meta.set_shared_item(CommonTags.SliceThickness, plane.slice_distance)
