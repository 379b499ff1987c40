"""DICOM folders: writing the files that a series was read from, to the byte.

Must not know elements or dicube files.
"""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from dicube.dicom.originals.model import Originals, digest_of
from dicube.exceptions import InvalidCubeFileError
from dicube.threads import Progress
from dicube.whole_files import WholeFiles, make_folder, refusals_named


def write_originals(
    folder: str | os.PathLike[str],
    originals: Originals,
    volume: NDArray[Any],
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Write original files under their names into a folder, which is made if need be.

    Args:
        folder: where to.
        originals: the files.
        volume: the samples of their frames.
        overwrite: see `dicom_export.write_dicom_folder`.
        progress: called with files done and files in all.

    Returns:
        The paths written.

    Raises:
        InvalidCubeFileError: a file would not be what it was; it does not take its name.
        TargetExistsError: the folder is not empty, or is a file.
        CubeFileAccessError: the operating system refuses.
    """
    target = os.fspath(folder)
    make_folder(target, overwrite)
    paths = []
    with WholeFiles() as writer:
        for done, file in enumerate(originals.all_files, 1):
            parts = originals.parts(file, volume)
            # Without a digest it was just read, and the caller knows that the volume is as it was.
            if parts is None or (file.digest and digest_of(parts) != file.digest):
                raise InvalidCubeFileError(f"{file.name} can't be restored: its SHA-256 differs")
            path = os.path.join(target, *file.name.split("/"))
            with refusals_named(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            writer.write(path, parts)
            paths.append(path)
            if progress is not None:
                progress(done, len(originals.all_files))
    return paths
