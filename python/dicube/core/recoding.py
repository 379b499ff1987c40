"""`export_coded`: writes DICOM files from a dicube file without decoding frames needlessly.

Must not know DICOM elements, or how frames are coded.
"""

from __future__ import annotations

import os

import numpy as np

from dicube.core.coded_source import FileFrames
from dicube.core.cube_parts import derived_attributes, read_parts
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.export.frame_coding import code_frames
from dicube.dicom.series.stored_bits import most_bits_stored
from dicube.dicom.transfer_syntaxes import TransferSyntax
from dicube.exceptions import MetaDataError
from dicube.storage.dcb_reader import DcbReader
from dicube.threads import Progress


def export_coded(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
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
        reader.expect_frames()
        parts = read_parts(reader)
        if parts.meta is None:
            raise MetaDataError("the file has no DICOM metadata to export")
        frames = FileFrames(reader)
        bits, instances = most_bits_stored(parts.meta), parts.meta.instances()
        coded = code_frames(frames, syntax, instances, bits, num_threads, progress)
        shape = np.broadcast_to(np.zeros((), reader.dtype), reader.shape)
        write_dicom_folder(
            folder,
            parts.meta,
            shape,
            parts.header,
            parts.space,
            overwrite,
            syntax=syntax,
            coded=coded,
            derived=derived_attributes(parts.meta, parts.origin.losses),
        )
    return reader.shape[0]
