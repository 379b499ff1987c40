"""DicomCubeImage: a volume with its metadata and geometry, and the ways in and out of it.

Here the rooms come together: pixels and sections of `storage`, medicine of `dicom`. It must not
know how a file is laid out, how pixels are coded, or how DICOM is parsed.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube_parts import CubeParts, read_parts, write_parts
from dicube.core.pixel_header import PixelDataHeader
from dicube.dicom import (
    CommonTags,
    DicomMeta,
    DicomStatus,
    SortMethod,
    get_dicom_status,
)
from dicube.dicom.dicom_io import read_dicom_folder, write_dicom_folder
from dicube.dicom.geometry import Space, plane_attributes, same_space, space_or_reason
from dicube.dicom.new_series import make_meta
from dicube.dicom.slice_order import numbers
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError, MetaDataError
from dicube.storage.dcb_file import FORMATS, DcbReader, DcbWriter, Progress, codec_of_path
from dicube.storage.pixel_utils import get_float_data, stored_volume

Folder = str | os.PathLike[str]

# Of the files that `to_file` writes.
FILE_EXTENSIONS = tuple(FORMATS)

_SLOPE, _INTERCEPT = CommonTags.RescaleSlope, CommonTags.RescaleIntercept


class DicomCubeImage:
    """A volume of stored pixel values with the metadata and geometry of its slices.

    Args:
        raw_image: stored values, (slices, rows, columns), or (slices, rows, columns, 3) for
            colour; (rows, columns) is taken as a single slice. uint8, int8, uint16, int16, uint32
            or int32 in either byte order. Not copied.
        pixel_header: rescale and window; None for a rescale of slope 1 and intercept 0.
        dicom_meta: metadata of as many slices; None for none.
        space: geometry in (z, y, x) order, of the volume's shape; None where it isn't known.
        dicom_status: None for the status that the metadata have, CONSISTENT without any.

    Raises:
        DataConsistencyError: a dtype or shape that can't be stored, or arguments that don't fit
            each other.
        MetaDataError: dicom_meta is not a DicomMeta.

    Attributes:
        pixel_header: a PixelDataHeader.
        dicom_status: a DicomStatus.
    """

    def __init__(
        self,
        raw_image: NDArray[Any],
        pixel_header: PixelDataHeader | None = None,
        dicom_meta: DicomMeta | None = None,
        space: Space | None = None,
        dicom_status: DicomStatus | None = None,
    ) -> None:
        self._raw_image = stored_volume(raw_image)
        name = self._raw_image.dtype.name
        self.pixel_header = pixel_header or PixelDataHeader(
            OriginalPixelDtype=name, PixelDtype=name
        )
        self._dicom_meta = _checked_meta(dicom_meta, len(self._raw_image))
        self._space = _checked_space(space, self._raw_image.shape)
        if dicom_status is None:
            dicom_status = get_dicom_status(dicom_meta) if dicom_meta else DicomStatus.CONSISTENT
        self.dicom_status = dicom_status

    # ------------------------------------------------------------------------------ DICOM, files

    @classmethod
    def from_dicom_folder(
        cls,
        folder: Folder,
        sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
        num_threads: int | None = None,
        series_uid: str | None = None,
        progress: Progress | None = None,
    ) -> DicomCubeImage:
        """Read a series of DICOM files.

        Args:
            folder: holds the files, in folders inside it too; or one DICOM file.
            sort_method: the order of the slices.
            num_threads: threads for reading; None or 0 for one for each processor.
            series_uid: the series to take where there are several.
            progress: called as `progress(done, total)`.

        Returns:
            The image. Its stored values are those of the files; slope and intercept stand in
            `pixel_header`, and where they differ from slice to slice in the metadata.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) there is no such folder.
            MetaDataError: no DICOM images are in it, or a damaged one.
            DataConsistencyError: several series and none chosen, or images of different shape.

        Warns:
            UserWarning: the geometry can't be told, and `space` is None; names the status.
        """
        meta, volume, header = read_dicom_folder(
            folder,
            sort_method=sort_method,
            num_threads=num_threads,
            series_uid=series_uid,
            progress=progress,
        )
        status = get_dicom_status(meta)
        space, reason = space_or_reason(meta)
        if space is None:
            if not reason.startswith(status.value):
                reason = f"{reason} (status {status.value})"
            warnings.warn(f"{os.fspath(folder)}: space is None: {reason}", stacklevel=2)
        return cls(volume, header, meta, space and space.reverse_axis_order(), status)

    @classmethod
    def from_file(
        cls, path: Any, num_threads: int | None = None, progress: Progress | None = None
    ) -> DicomCubeImage:
        """Read a `.dcbs` or `.dcba` file, which is told from its content.

        Args:
            path: a path, the bytes of a whole file, or a binary file object that can seek.
            num_threads: threads for decoding; None or 0 for one for each processor.
            progress: called as `progress(done, total)`, in slices.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) there is no such file.
            InvalidCubeFileError: it is no dicube file, or a damaged or newer one.
            CodecError: a frame does not decode.
            MetaDataError: its metadata can't be understood.
            DataConsistencyError: metadata or geometry are of another number of slices.
        """
        with DcbReader(path, num_threads=num_threads) as reader:
            if not reader.shape[0]:
                raise InvalidCubeFileError("the file holds no frames")
            parts = read_parts(reader)
            _checked_meta(parts.meta, reader.shape[0])
            _checked_space(parts.space, reader.shape)
            volume = reader.read_frames(progress=progress)
        return cls(volume, parts.header, parts.meta, parts.space, parts.status)

    def to_file(
        self,
        path: str | os.PathLike[str],
        num_threads: int | None = None,
        effort: int | None = None,
        verify: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Write a file, losslessly; a file that is already there is replaced when all went well.

        Args:
            path: its extension is the format: `.dcbs` (HTJ2K) or `.dcba` (JPEG XL).
            num_threads: threads for encoding; None or 0 for one for each processor. What is written
                does not depend on it.
            effort: of JPEG XL, 1 (fast) to 9 (small); None for the default, 3.
            verify: decode each frame after it was encoded, and compare.
            progress: called as `progress(done, total)`, in slices.

        Raises:
            DataConsistencyError: the extension or effort is none of those, or metadata or geometry
                are of another number of slices.
            FileNotFoundError: (an InvalidCubeFileError too) there is no such folder.
            OSError: (an InvalidCubeFileError too) the system refused to write.
            CodecError: a frame did not encode to what it was.
        """
        codec = codec_of_path(path)
        volume = self._raw_image
        _checked_meta(self._dicom_meta, len(volume))
        _checked_space(self._space, volume.shape)
        with DcbWriter(
            path,
            volume.shape,
            volume.dtype,
            codec=codec,
            num_threads=num_threads,
            effort=effort,
            verify=verify,
        ) as writer:
            header = dataclasses.replace(self.pixel_header, PixelDtype=volume.dtype.name)
            parts = CubeParts(header, self._dicom_meta, self._space, self.dicom_status)
            write_parts(writer, parts)
            writer.write_frames(volume, progress=progress)

    def to_dicom_folder(
        self, folder: Folder, overwrite: bool = False, progress: Progress | None = None
    ) -> None:
        """Write one DICOM file for each slice.

        Args:
            folder: made where it is missing.
            overwrite: write into a folder that is not empty. What is in it and has not the name of
                a file written stays.
            progress: called as `progress(done, total)`, in files.

        Raises:
            MetaDataError: there are no metadata; see `init_meta`.
            TargetExistsError: (a FileExistsError too) the folder is not empty.
        """
        if self._dicom_meta is None:
            raise MetaDataError(
                "the image has no DICOM metadata to export",
                suggestion="call init_meta() first",
            )
        write_dicom_folder(
            folder,
            self._dicom_meta,
            self._raw_image,
            self.pixel_header,
            space=self._space,
            overwrite=overwrite,
            progress=progress,
        )

    # -------------------------------------------------------------------------------- what it has

    @property
    def raw_image(self) -> NDArray[Any]:
        """The stored values, (slices, rows, columns[, 3]).

        Assigning another array raises DataConsistencyError unless it can be stored and fits
        metadata and space.
        """
        return self._raw_image

    @raw_image.setter
    def raw_image(self, array: NDArray[Any]) -> None:
        volume = stored_volume(array)
        _checked_meta(self._dicom_meta, len(volume))
        _checked_space(self._space, volume.shape)
        self._raw_image = volume

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata, of as many slices as the volume has; None where there are none."""
        return self._dicom_meta

    @dicom_meta.setter
    def dicom_meta(self, meta: DicomMeta | None) -> None:
        self._dicom_meta = _checked_meta(meta, len(self._raw_image))

    @property
    def space(self) -> Space | None:
        """The geometry in (z, y, x) order; None where it isn't known.

        Assigning another writes it into the metadata, so that an export shows it; one whose shape
        is not the volume's raises DataConsistencyError.
        """
        return self._space

    @space.setter
    def space(self, space: Space | None) -> None:
        self._space = _checked_space(space, self._raw_image.shape)
        if space is not None and self._dicom_meta is not None:
            _write_space(space, self._dicom_meta)
            self.dicom_status = get_dicom_status(self._dicom_meta)

    @property
    def shape(self) -> tuple[int, ...]:
        """The volume's shape, (slices, rows, columns[, 3])."""
        return self._raw_image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored values."""
        return self._raw_image.dtype

    def get_fdata(self, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return real values: stored value * slope + intercept, as Hounsfield units are.

        Where the metadata have another rescale for each slice, each slice gets its own.

        Args:
            dtype: float16, float32 or float64.

        Returns:
            A new array of the volume's shape, computed in float64 and rounded once.

        Raises:
            DataConsistencyError: another dtype.
        """
        slopes, intercepts = self._rescale_of_slices()
        return get_float_data(
            self._raw_image, self.pixel_header, dtype, slopes=slopes, intercepts=intercepts
        )

    def init_meta(
        self,
        modality: str = "OT",
        patient_name: str = "ANONYMOUS^",
        patient_id: str = "0000000",
    ) -> DicomMeta:
        """Make metadata for a volume that has none, so that it can be exported; replaces any.

        Args:
            modality: such as 'CT' or 'MR'.
            patient_name, patient_id: of the patient.

        Returns:
            The metadata, which are the image's from now on.

        Raises:
            MetaDataError: an argument is empty.
        """
        meta = make_meta(self.shape, self.dtype, self._space, modality, patient_name, patient_id)
        self._dicom_meta = meta
        self.dicom_status = get_dicom_status(meta)
        return meta

    def __repr__(self) -> str:
        return (
            f"<DicomCubeImage shape={self.shape} dtype={self.dtype.name} "
            f"status={self.dicom_status.value}>"
        )

    def _rescale_of_slices(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Return each slice's slope and intercept where they differ, else None for both."""
        meta = self._dicom_meta
        if meta is None or (meta.is_shared(_SLOPE) and meta.is_shared(_INTERCEPT)):
            return None, None
        slopes = [found[0] if found else 1.0 for found in numbers(meta, _SLOPE, 1)]
        intercepts = [found[0] if found else 0.0 for found in numbers(meta, _INTERCEPT, 1)]
        header = self.pixel_header
        if (header.RescaleSlope, header.RescaleIntercept) != (slopes[0], intercepts[0]):
            return None, None  # the header was set to something else, and stands for all slices
        return slopes, intercepts


def _checked_meta(meta: DicomMeta | None, slices: int) -> DicomMeta | None:
    """Return metadata that fit a number of slices."""
    if meta is None:
        return None
    if not isinstance(meta, DicomMeta):
        raise MetaDataError(f"expected a DicomMeta, found {type(meta).__name__}")
    if meta.slice_count != slices:
        raise DataConsistencyError(
            f"metadata of {meta.slice_count} slices don't fit a volume of {slices}"
        )
    return meta


def _checked_space(space: Space | None, shape: tuple[int, ...]) -> Space | None:
    """Return a space that fits a volume's shape."""
    if space is None:
        return None
    if not isinstance(space, Space):
        raise DataConsistencyError(f"expected a Space, found {type(space).__name__}")
    if tuple(space.shape) != shape[:3]:
        raise DataConsistencyError(
            f"a space of shape {tuple(space.shape)} does not fit a volume of shape {shape[:3]}"
        )
    return space


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
