"""Export to new DICOM files: of an image, and of a dicube file without decoding it needlessly.

Frames that are coded in the transfer syntax already are copied. Must not know DICOM elements, or
how frames are coded.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts, derived_attributes, read_parts
from dicube.core.fidelity.agreement import check_agreement
from dicube.core.fidelity.coded_source import FileFrames
from dicube.core.instances.stored_files import expect_frames
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.export.frame_coding import CodedFrame, code_frames
from dicube.dicom.export.multiframe import frames_in_instances, write_dicom_file
from dicube.dicom.series.stored_bits import most_bits_stored
from dicube.dicom.transfer_syntaxes import TransferSyntax
from dicube.exceptions import MetaDataError
from dicube.storage.dcb_reader import DcbReader
from dicube.threads import Progress

_Path = str | os.PathLike[str]


def exportable_meta(parts: CubeParts) -> DicomMeta:
    """Return the metadata of an image.

    Raises:
        MetaDataError: there are none.
        DataConsistencyError: the image lacks what was damaged in the file read.
    """
    parts.origin.damage.check_whole()
    if parts.meta is None:
        raise MetaDataError(
            "there are no DICOM metadata to export",
            suggestion="call init_meta() of a DicomCubeImage first",
        )
    return parts.meta


def export_folder(
    folder: _Path,
    volume: NDArray[Any],
    seen: bool,
    parts: CubeParts,
    syntax: TransferSyntax,
    overwrite: bool = False,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Write new DICOM files of an image; see `DicomCubeImage.to_dicom_folder`.

    Args:
        folder: created if it is missing.
        volume: the pixels of the image.
        seen: whether callers may have changed them since they were read.
        parts: of the image.
        syntax: the transfer syntax.
        overwrite, num_threads, progress: see there.
    """
    meta = exportable_meta(parts)
    return write_dicom_folder(
        folder,
        meta,
        volume,
        parts.header,
        parts.space,
        overwrite,
        progress,
        syntax=syntax,
        coded=_coded(volume, seen, parts, syntax, meta.instances(), num_threads),
        derived=derived_attributes(meta, parts.origin.losses),
    )


def export_file(
    path: _Path,
    volume: NDArray[Any],
    seen: bool,
    parts: CubeParts,
    syntax: TransferSyntax,
    overwrite: bool = False,
    num_threads: int | None = None,
) -> None:
    """Write one multi-frame DICOM file of an image; see `DicomCubeImage.to_dicom_file`.

    Args:
        path: of the file.
        volume, seen, parts, syntax, overwrite, num_threads: see `export_folder`.
    """
    meta = exportable_meta(parts)
    write_dicom_file(
        path,
        meta,
        volume,
        parts.header,
        parts.space,
        overwrite,
        syntax,
        _coded(volume, seen, parts, syntax, frames_in_instances(meta), num_threads),
        derived_attributes(meta, parts.origin.losses),
    )


def export_coded(
    path: _Path,
    folder: _Path,
    syntax: TransferSyntax,
    overwrite: bool = False,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the DICOM files of a dicube file in a coded transfer syntax.

    Frames that are already coded in it are copied.

    Args:
        path: the dicube file.
        folder: see `dicom.export.folder.write_dicom_folder`.
        syntax: the transfer syntax.
        overwrite: see there.
        num_threads: frames encoded at the same time.
        progress: called as `progress(done, total)`, in frames.

    Returns:
        The number of slices.

    Raises:
        DicomCubeError: as `DicomCubeImage.from_file` and `to_dicom_folder` do.
    """
    with DcbReader(path, num_threads=1) as reader:
        expect_frames(reader)
        parts = read_parts(reader)
        meta = exportable_meta(parts)
        provenance = parts.origin.provenance
        if provenance is not None and not parts.origin.objection(meta, parts.header, parts.space):
            check_agreement(parts, provenance.originals, None)
        parts.origin.warn_of_dropped(folder, "new files are made")
        bits, instances = most_bits_stored(meta), meta.instances()
        coded = code_frames(FileFrames(reader), syntax, instances, bits, num_threads, progress)
        write_dicom_folder(
            folder,
            meta,
            np.broadcast_to(np.zeros((), reader.dtype), reader.shape),
            parts.header,
            parts.space,
            overwrite,
            syntax=syntax,
            coded=coded,
            derived=derived_attributes(meta, parts.origin.losses),
        )
    return reader.shape[0]


def _coded(
    volume: NDArray[Any],
    seen: bool,
    parts: CubeParts,
    syntax: TransferSyntax,
    instances: list[list[int]],
    num_threads: int | None,
) -> list[CodedFrame]:
    """Return the frames in a coded transfer syntax; none for an uncompressed one."""
    if not syntax.codec:
        return []
    bits = None if parts.meta is None else most_bits_stored(parts.meta)
    with parts.origin.frames(volume, seen) as frames:
        return code_frames(frames, syntax, instances, bits, num_threads)
