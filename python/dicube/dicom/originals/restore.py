"""Writes the files that a series was read from, restored byte for byte.

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
    """Write original files under their original names into a folder.

    Args:
        folder: the target folder, which is created if needed.
        originals: the files.
        volume: the samples of their frames.
        overwrite: as for `export.folder.write_dicom_folder`.
        progress: called with the number of files written and the total number.

    Returns:
        The paths written.

    Raises:
        InvalidCubeFileError: a file can't be restored byte for byte; it is not written.
        TargetExistsError: the folder is not empty, or is a file.
        CubeFileAccessError: the operating system refuses to write.
    """
    target = os.fspath(folder)
    make_folder(target, overwrite)
    paths = []
    with WholeFiles() as writer:
        for done, file in enumerate(originals.all_files, 1):
            parts = originals.parts(file, volume)
            # A file without a digest was just read, and the caller has checked the volume.
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
