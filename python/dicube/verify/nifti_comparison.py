"""Compares the NIfTI file that a dicube file restores with the one that it was made from.

The comparison of bytes needs no knowledge of NIfTI; those of header and voxels show what differs.
Must not know how files are laid out or how a report is shown.
"""

from __future__ import annotations

import gzip
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.image import DicomCubeImage
from dicube.dicom.originals.comparison import first_difference
from dicube.exceptions import DicomCubeError, MissingPackageError
from dicube.nifti import NIFTI_EXTENSIONS, open_unpacked, read_nifti_file
from dicube.verify.report import Check, judged, unknown
from dicube.whole_files import temporary_folder


def compare_with_nifti(
    path: str | os.PathLike[str],
    original: str | os.PathLike[str],
    num_threads: int | None = None,
    show_values: bool = False,
) -> list[Check]:
    """Restore a file's NIfTI file and compare it with its original.

    Args:
        path: the dicube file.
        original: a .nii or .nii.gz file, or either file of a pair of .hdr and .img.
        num_threads: threads for decoding.
        show_values: show the values of header fields that differ.

    Returns:
        Three checks: that bytes are equal (after unpacking; not of pairs, nor if pixels were coded
        lossily), header fields, and voxels.

    Raises:
        CubeFileNotFoundError: the dicube file or the original does not exist.
        MissingPackageError: nibabel is not installed.
    """
    with temporary_folder("dicube-verify-") as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        restored = Path(place) / "restored.nii"
        what = "read the NIfTI file"
        try:
            with warnings.catch_warnings(record=True) as left_out:
                warnings.simplefilter("always", UserWarning)
                before = read_nifti_file(original)
            what = "restore a NIfTI file"
            image = DicomCubeImage.from_file(path, num_threads)
            image.to_nifti(restored)
        except (OSError, MissingPackageError):
            raise
        except DicomCubeError as error:
            return [judged("originals", f"can't {what}", [error.message])]
        after = read_nifti_file(restored)
        fields = before.header.differences(after.header, show_values=show_values)
        return [
            _bytes_check(
                original, restored, bool(image.losses), [str(w.message) for w in left_out]
            ),
            judged("original header", "fields, extensions and bytes behind the voxels", fields),
            _voxels_check(
                before.voxels, after.voxels, sum(loss.max_error for loss in image.losses)
            ),
        ]


def _bytes_check(
    original: str | os.PathLike[str], restored: Path, lossy: bool, left_out: list[str]
) -> Check:
    """Compare the bytes of two files, of a packed one after unpacking it.

    `left_out` says which bytes of the original aren't read; of a pair, that is all to be judged.
    """
    name, source = "original bytes", os.fspath(original)
    if lossy:
        return unknown(name, "not compared: the pixels were coded lossily")
    if not source.lower().endswith(NIFTI_EXTENSIONS):
        message = "not compared: a pair of files is restored as a single file"
        return judged(name, message, left_out) if left_out else unknown(name, message)
    with open_unpacked(source) as (before, _), open(restored, "rb") as after:
        is_packed = isinstance(before, gzip.GzipFile)
        offset = first_difference(before, after)
    size = restored.stat().st_size
    problems = [] if offset is None else [f"{source}: first difference at byte {offset}"]
    return judged(name, f"{size:,} bytes{' (unpacked)' if is_packed else ''}", problems)


def _voxels_check(before: NDArray[Any], after: NDArray[Any], allowed: float) -> Check:
    """Compare voxels slice by slice: bit by bit, or if they were coded lossily by their errors."""
    name, dtype = "original voxels", before.dtype.newbyteorder("=")
    if before.shape != after.shape or dtype != after.dtype.newbyteorder("="):
        found = f"found {after.shape} {after.dtype.name}"
        problem = f"expected {before.shape} {before.dtype.name}, {found}"
        return judged(name, "not compared", [problem])
    problems, greatest = [], 0
    for index, pair in enumerate(zip(before, after, strict=True)):
        one, other = (np.ascontiguousarray(frame, dtype) for frame in pair)
        if one.tobytes() == other.tobytes():
            continue
        if allowed:  # only integers of at most 32 bits are coded lossily
            error = int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max())
            greatest = max(greatest, error)
            if error > allowed:
                problems.append(f"slice {index}: error {error}, above the recorded {allowed}")
            continue
        bits = f"u{dtype.itemsize}"
        places = np.argwhere(one.view(bits) != other.view(bits))
        problems.append(
            f"slice {index}: {len(places)} values differ, the first at {tuple(places[0].tolist())}"
        )
    message = f"{before.size:,} values of {before.dtype.name}"
    if allowed:
        message += f", coded lossily: maximum error {greatest}, at most {allowed} recorded"
    return judged(name, message, problems)
