"""Writes the files that a series was read from, restored byte for byte.

Must not know elements or dicube files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from dicube.dicom.originals.model import Bytes, Original, Originals
from dicube.exceptions import InvalidCubeFileError
from dicube.threads import Progress
from dicube.whole_files import WholeFiles, make_folder


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
        InvalidCubeFileError: a file can't be restored byte for byte; it is not written. If that is
            because of an unknown recipe, all other files are.
        TargetExistsError: the folder is not empty, or is a file.
        CubeFileAccessError: the operating system refuses to write.
    """
    target = os.fspath(folder)
    make_folder(target, overwrite)
    paths: list[str] = []
    unknown: list[InvalidCubeFileError] = []
    with WholeFiles(target) as writer:
        for done, file in enumerate(originals.all_files, 1):
            try:
                parts = checked_parts(originals, file, volume)
            except InvalidCubeFileError as error:
                unknown.append(error)
                continue
            paths.append(writer.write(file.name, parts, file.label))
            if progress is not None:
                progress(done, len(originals.all_files))
    if unknown:
        raise unknown[0]
    return paths


def checked_parts(originals: Originals, file: Original, volume: NDArray[Any]) -> Iterator[Bytes]:
    """Return the bytes of a file in parts; the end of the iterator checks their SHA-256.

    Args:
        originals: those that the file is one of.
        file: the file.
        volume: the samples of its frames.

    Raises:
        InvalidCubeFileError: the file needs an unknown recipe; or, from the iterator, its bytes
            can't be restored or have another SHA-256.
    """
    return _checked(file, originals.parts(file, volume))


def _checked(file: Original, parts: Iterable[Bytes] | None) -> Iterator[Bytes]:
    """Yield the bytes of a file; raise at the end unless they have its SHA-256."""
    # A file without a digest was just read, and the caller has checked the volume.
    digest = hashlib.sha256() if file.digest else None
    for part in parts or ():
        if digest is not None:
            digest.update(part)
        yield part
    if parts is None or (digest is not None and digest.digest() != file.digest):
        raise InvalidCubeFileError(f"{file.label} can't be restored: its SHA-256 differs")
