"""Compares the DICOM files that a dicube file restores with those that it was made from.

Restores them into a temporary folder, as a user would, finds the original of each, and compares the
two. Must not know how files are laid out or how a report is shown.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np

from dicube.core.image import DicomCubeImage
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.series import find_instances
from dicube.dicom.originals.comparison import first_different_byte, instance_differences
from dicube.exceptions import DicomCubeError
from dicube.verify.report import MOST_PROBLEMS, Check, judged, unknown

_SOP_INSTANCE = "SOPInstanceUID"
_SOP_INSTANCE_UID, _SERIES_UID = 0x00080018, 0x0020000E


class _Pair(NamedTuple):
    """A restored file and its original."""

    name: str
    restored: str
    original: str


def compare_with_originals(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    num_threads: int | None = None,
) -> list[Check]:
    """Restore a file's DICOM files and compare each with its original.

    The original of a restored file is the file with its SOPInstanceUID; if several have it, the one
    with its name, or else the one with its bytes. An original of the same series without a restored
    file is reported as missing. If files are made from the metadata, one file stands for all copies
    of an instance.

    Args:
        path: the dicube file.
        folder: the originals, also in subfolders; or a zip archive of them.
        num_threads: threads for decoding.

    Returns:
        Three checks: that no file is missing, that bytes are equal (only if the dicube file keeps
        its originals), that elements and pixels are equal.

    Raises:
        CubeFileNotFoundError: the file or the folder does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="dicube-verify-") as place:
        work = Path(place) / "restored"
        try:
            root = _unpacked(folder, Path(place) / "originals")
            originals = find_instances(root).instances
        except OSError:
            raise
        except (DicomCubeError, BadZipFile) as error:
            return [judged("originals", "can't read them", [" ".join(error.args[0].split())])]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                image = DicomCubeImage.from_file(path, num_threads)
                if image.losses:
                    return [_lossy_check(image, root, num_threads)]
                why_not_exact = image.why_not_exact(num_threads=num_threads)
                image.to_dicom_folder(work)
        except DicomCubeError as error:
            return [judged("originals", "can't restore DICOM files", [error.message])]
        restored = find_instances(work).instances
        pairs, problems = _paired(restored, originals, work, root, bool(why_not_exact))
        matched = len({pair.name for pair in pairs})
        message = (
            f"{matched} of {len(restored)} restored files have an original in {os.fspath(folder)}"
        )
        return [judged("originals", message, problems), *_compared(pairs, why_not_exact)]


def _lossy_check(image: DicomCubeImage, folder: Path, num_threads: int | None) -> Check:
    """Compare pixels that were coded lossily with those of the originals, slice by slice.

    DICOM files made from a lossy file are other instances, so files can't be compared.
    """
    assert image.dicom_meta is not None
    series = str(image.dicom_meta.get("SeriesInstanceUID", force_nonshared=True)[0])
    source = DicomCubeImage.from_dicom_folder(folder, num_threads=num_threads, series_uid=series)
    assert source.dicom_meta is not None
    frames = _frame_names(image.dicom_meta)
    places = {frame: index for index, frame in enumerate(_frame_names(source.dicom_meta))}
    if source.shape != image.shape or len(places) < len(frames) or places.keys() != set(frames):
        return judged("originals", "not compared", ["they are not the slices of the file"])
    allowed = sum(loss.max_error for loss in image.losses)
    found, problems = 0, []
    for index, frame in enumerate(frames):
        before = source.raw_image[places[frame]].astype(np.int64)
        error = int(np.abs(image.raw_image[index] - before).max())
        found = max(found, error)
        if error > allowed:
            problems.append(f"slice {index}: error {error}, above the recorded {allowed}")
    message = f"coded lossily: maximum error {found}, at most {allowed} recorded"
    return judged("originals", message, problems)


def _frame_names(meta: DicomMeta) -> list[tuple[str, int]]:
    """Return the SOPInstanceUID of each slice, and the number of its frame in that file."""
    uids = meta.get(_SOP_INSTANCE, force_nonshared=True)
    return [(uid, frame.number) for uid, frame in zip(uids, meta.frames, strict=True)]


def _unpacked(source: str | os.PathLike[str], target: Path) -> Path:
    """Return a folder unchanged; unpack an archive and return the folder of its files."""
    if not os.path.isfile(source) or not is_zipfile(source):
        return Path(source)
    with ZipFile(source) as archive:
        archive.extractall(target)
    return target


def _paired(
    restored: list[Instance], originals: list[Instance], work: Path, folder: Path, anew: bool
) -> tuple[list[_Pair], list[str]]:
    """Return the pairs, and the files without a counterpart.

    `anew` says that the restored files were made from the metadata.
    """
    candidates: dict[str, list[Instance]] = defaultdict(list)
    for original in originals:
        candidates[original.text(_SOP_INSTANCE_UID)].append(original)
    pairs, problems = [], []
    for instance in restored:
        name = os.path.relpath(instance.path, work)
        uid = instance.text(_SOP_INSTANCE_UID)
        found = candidates[uid]
        if not found:
            problems.append(f"{name}: no file with its SOPInstanceUID in {folder}")
            continue
        original = _original_of(instance, name, found, folder)
        found.remove(original)
        pairs.append(_Pair(name, instance.path, original.path))
        if anew and uid:
            pairs += [_Pair(name, instance.path, copy.path) for copy in found]
            found.clear()
    series = {instance.text(_SERIES_UID) for instance in restored}
    problems += [
        f"{os.path.relpath(original.path, folder)}: part of the series, but not restored"
        for left in candidates.values()
        for original in left
        if original.text(_SERIES_UID) in series and original.pixels is not None
    ]
    return pairs, problems


def _original_of(instance: Instance, name: str, found: list[Instance], folder: Path) -> Instance:
    """Return the original of a restored file among those with its SOPInstanceUID."""
    for one in found if len(found) > 1 else ():
        if os.path.relpath(one.path, folder) == name:
            return one
    for one in found if len(found) > 1 else ():
        if first_different_byte(one.path, instance.path) is None:
            return one
    return found[0]


def _compared(pairs: list[_Pair], why_not_exact: str) -> list[Check]:
    """Compare the bytes of each pair, and if they differ its elements and pixels.

    Differing bytes are no problem if there is a reason why they can't be restored.
    """
    different: list[tuple[_Pair, int]] = []
    for pair in pairs:
        offset = first_different_byte(pair.original, pair.restored)
        if offset is not None:
            different.append((pair, offset))
    problems: list[str] = []
    for pair, _ in different:
        if len(problems) > MOST_PROBLEMS:
            break
        try:
            found = instance_differences(pair.original, pair.restored, MOST_PROBLEMS)
        except DicomCubeError as error:
            found = [error.message]
        problems += [f"{pair.name}: {difference}" for difference in found]
    same = len(pairs) - len(different)
    bytes_message = f"{same} of {len(pairs)} files are equal byte by byte"
    if why_not_exact:
        bytes_check = unknown("original bytes", f"{bytes_message}: {why_not_exact}")
    else:
        lines = [f"{pair.name}: first difference at byte {offset}" for pair, offset in different]
        bytes_check = judged("original bytes", bytes_message, lines)
    return [
        bytes_check,
        judged("original elements", f"elements and pixels of {len(pairs)} files", problems),
    ]
