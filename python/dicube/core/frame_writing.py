"""`write_frames`: writes files frame by frame, for volumes larger than memory.

Must not know how files are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube_parts import parts_around_frames
from dicube.core.image import DicomCubeImage
from dicube.core.lossy.loss import Loss, write_losses
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.series.geometry import Space
from dicube.dicom.series.stored_bits import most_bits_stored
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import ARCHIVE, SPEED, kind_of_path
from dicube.storage.url_files import written_to
from dicube.storage.urls import name_of_source
from dicube.threads import Progress


def write_frames(
    path: str | os.PathLike[str],
    frames: NDArray[Any] | Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    pixel_header: PixelDataHeader | None = None,
    dicom_meta: DicomMeta | None = None,
    space: Space | None = None,
    dicom_status: DicomStatus | None = None,
    losses: Sequence[Loss] = (),
    num_threads: int | None = None,
    effort: int | str | None = None,
    verify: bool = True,
    progress: Progress | None = None,
    block_side: int | None = None,
) -> None:
    """Write a file from frames one after another, for volumes larger than memory.

    Holds only a few frames at a time. The file is the same as that of
    `DicomCubeImage(volume, pixel_header, ...).to_file(path)`.

    Args:
        path: its extension selects the format: `.dcbs` (HTJ2K) or `.dcba` (JPEG XL). Or a URL, as
            for `DicomCubeImage.to_file`.
        frames: shape[0] arrays of (rows, columns[, 3]), consumed while earlier ones are encoded; or
            a memory map of the whole volume.
        shape: (slices, rows, columns), or (slices, rows, columns, 3) for colour.
        dtype: of the stored values.
        pixel_header, dicom_meta, space, dicom_status, losses: as of `DicomCubeImage`.
        num_threads, effort, verify, progress, block_side: as of `DicomCubeImage.to_file`.

    Raises:
        DataConsistencyError: a shape, dtype, extension, effort or block_side that isn't supported,
            a frame of another shape or dtype, or arguments that don't fit each other.
        MetaDataError: `dicom_meta` is not a DicomMeta.
        MissingPackageError: (an ImportError too) a URL needs a package that is not installed.
        DicomCubeError: too many or too few frames.
        OSError: (an InvalidCubeFileError too) the system refused to write.
        CodecError: a frame did not decode to what was encoded.

    Example:
        >>> shape = (100, 64, 64)
        >>> frames = (np.full(shape[1:], number, "uint16") for number in range(shape[0]))
        >>> dicube.write_frames("big.dcba", frames, shape, "uint16")
        >>> int(dicube.open("big.dcba")[99].max())
        99
    """
    name = name_of_source(path)
    if kind_of_path(name).loss == "always":
        raise DataConsistencyError(
            f"{name}: expected {SPEED.extension} or {ARCHIVE.extension}, as frames are written "
            "losslessly",
            suggestion="DicomCubeImage.to_file writes lossy files",
        )
    # One repeated sample, which takes no memory, to check everything else against the shape.
    stand_in = np.broadcast_to(np.zeros((), dtype), shape)
    image = DicomCubeImage(stand_in, pixel_header, dicom_meta, space, dicom_status, losses=losses)
    with written_to(path) as local:
        writer = DcbWriter(
            local,
            image.shape,
            image.dtype,
            num_threads=num_threads,
            effort=effort,
            verify=verify,
            least_bits=None if dicom_meta is None else most_bits_stored(dicom_meta),
            block_side=block_side,
        )
        with writer, parts_around_frames(writer, image._parts()):
            if isinstance(frames, np.ndarray):
                writer.write_frames(frames, progress=progress)
            else:
                writer.write_each(frames, progress=progress)
            write_losses(writer, image.losses)
