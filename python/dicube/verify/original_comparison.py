"""Compares the DICOM files that a dicube file restores with those that it was made from.

Restores them into a temporary folder, as a user would, finds the original of each, and compares the
two. Must not know how files are laid out or how a report is shown.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dicube.core.image import DicomCubeImage
from dicube.core.instances.stored_files import has_frames, restore_files
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.series import FoundFiles, class_name, count_classes, find_instances
from dicube.dicom.files.sources import DatasetInMemory, File
from dicube.dicom.originals.comparison import first_different_byte, instance_differences
from dicube.exceptions import DicomCubeError
from dicube.verify.report import MOST_PROBLEMS, Check, judged, unknown
from dicube.whole_files import temporary_folder

_SOP_INSTANCE = "SOPInstanceUID"
_SERIES = "StudyInstanceUID", "SeriesInstanceUID"
_SOP_INSTANCE_UID, _STUDY_UID, _SERIES_UID = 0x00080018, 0x0020000D, 0x0020000E


class _Pair(NamedTuple):
    """A restored file and its original."""

    name: str
    restored: File
    original: File


def compare_with_originals(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    num_threads: int | None = None,
    whole_source: bool = False,
    show_values: bool = False,
) -> list[Check]:
    """Restore a file's DICOM files and compare each with its original.

    The original of a restored file is the file with its SOPInstanceUID; if several have it, the one
    with its name, or else the one with its bytes. An original of the same study and series without
    a restored file is reported as missing, whether or not it is an image. If files are made from
    the metadata, one file stands for all copies of an instance.

    Args:
        path: the dicube file.
        folder: the originals, also in subfolders; or a zip archive of them.
        num_threads: threads for decoding.
        whole_source: fail if the folder has DICOM files of other series, or a DICOMDIR.
        show_values: show the values of elements that differ.

    Returns:
        Checks that no file is missing, that bytes are equal (only if the dicube file keeps its
        originals) and that elements and pixels are equal; and one of the files of other series, if
        there are any or must be none.

    Raises:
        CubeFileNotFoundError: the file or the folder does not exist.
    """
    with temporary_folder("dicube-verify-") as place:
        work = Path(place) / "restored"
        root = Path(folder)
        try:
            found = find_instances(root)
        except OSError:
            raise
        except DicomCubeError as error:
            return [_unreadable(error)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                if not has_frames(path):
                    why_not_exact = ""
                    restore_files(path, work)
                else:
                    image = DicomCubeImage.from_file(path, num_threads)
                    if image.losses:
                        return _lossy_checks(image, found, root, num_threads, whole_source)
                    why_not_exact = image.why_not_exact(num_threads=num_threads)
                    image.to_dicom_folder(work)
        except DicomCubeError as error:
            return [judged("originals", "can't restore DICOM files", [error.message])]
        restored = find_instances(work).instances
        try:
            pairs, problems, other = _paired(
                restored, found.instances, work, root, bool(why_not_exact)
            )
            compared = _compared(pairs, why_not_exact, show_values)
        except OSError:
            raise
        except DicomCubeError as error:  # a member of an archive is damaged
            return [_unreadable(error)]
        matched = len({pair.name for pair in pairs})
        message = (
            f"{matched} of {len(restored)} restored files have an original in {os.fspath(folder)}"
        )
        return [
            judged("originals", message, problems),
            *compared,
            *_checks_of_other_files(other, found.directories, root, whole_source),
        ]


def _unreadable(error: DicomCubeError) -> Check:
    return judged("originals", "can't read them", [" ".join(error.message.split())])


def _lossy_checks(
    image: DicomCubeImage,
    found: FoundFiles,
    folder: Path,
    num_threads: int | None,
    whole_source: bool,
) -> list[Check]:
    """Compare pixels that were coded lossily with those of the originals, slice by slice.

    DICOM files made from a lossy file are other instances, so files can't be compared.
    """
    assert image.dicom_meta is not None
    series = {
        tuple(str(image.dicom_meta.get(name, force_nonshared=True)[0] or "") for name in _SERIES)
    }
    own = [instance for instance in found.instances if _series_of(instance) in series]
    other = [instance for instance in found.instances if _series_of(instance) not in series]
    checks_of_others = _checks_of_other_files(other, found.directories, folder, whole_source)
    if not own:
        return [judged("originals", "not compared", ["none is of the series"]), *checks_of_others]
    source = DicomCubeImage.from_dicom_folder(list(map(_file_of, own)), num_threads=num_threads)
    assert source.dicom_meta is not None
    frames = _frame_names(image.dicom_meta)
    places = {frame: index for index, frame in enumerate(_frame_names(source.dicom_meta))}
    if source.shape != image.shape or len(places) < len(frames) or places.keys() != set(frames):
        problem = "they are not the slices of the file"
        return [judged("originals", "not compared", [problem]), *checks_of_others]
    allowed = sum(loss.max_error for loss in image.losses)
    greatest, problems = 0, []
    for index, frame in enumerate(frames):
        before = source.raw_image[places[frame]].astype(np.int64)
        error = int(np.abs(image.raw_image[index] - before).max())
        greatest = max(greatest, error)
        if error > allowed:
            problems.append(f"slice {index}: error {error}, above the recorded {allowed}")
    problems += [_missing(i, folder) for i in own if i.pixels is None]
    message = f"coded lossily: maximum error {greatest}, at most {allowed} recorded"
    return [judged("originals", message, problems), *checks_of_others]


def _checks_of_other_files(
    other: list[Instance], directories: list[str], folder: Path, must_be_none: bool
) -> list[Check]:
    """Report files of other series, and DICOMDIRs, which are not in the dicube file."""
    name = "other files"
    if not other and not directories:
        none = judged(name, "the source has no DICOM files of other series", [])
        return [none] if must_be_none else []
    counted = []
    if other:
        classes = count_classes(other, os.fspath(folder))
        counted.append(f"{len(other)} files of other series: {classes}")
    paths = [os.path.relpath(path, folder) for path in directories]
    if paths:
        counted.append(f"{len(paths)} DICOMDIR: {', '.join(paths[:3])}")
    message = f"not in the file: {'; '.join(counted)}"
    if not must_be_none:
        return [unknown(name, message)]
    problems = [
        f"{os.path.relpath(one.path, folder)}: {class_name(one)} of another series" for one in other
    ]
    return [judged(name, message, [*problems, *(f"{path}: DICOMDIR" for path in paths)])]


def _series_of(instance: Instance) -> tuple[str, ...]:
    return instance.text(_STUDY_UID), instance.text(_SERIES_UID)


def _file_of(instance: Instance) -> File:
    assert not isinstance(instance.source, DatasetInMemory)
    return instance.source


def _missing(instance: Instance, folder: Path) -> str:
    return f"{os.path.relpath(instance.path, folder)}: part of the series, but not restored"


def _frame_names(meta: DicomMeta) -> list[tuple[str, int]]:
    """Return the SOPInstanceUID of each slice, and the number of its frame in that file."""
    uids = meta.get(_SOP_INSTANCE, force_nonshared=True)
    return [(uid, frame.number) for uid, frame in zip(uids, meta.frames, strict=True)]


def _paired(
    restored: list[Instance], originals: list[Instance], work: Path, folder: Path, anew: bool
) -> tuple[list[_Pair], list[str], list[Instance]]:
    """Return the pairs, the files without a counterpart, and the originals of other series.

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
        pairs.append(_Pair(name, _file_of(instance), _file_of(original)))
        if anew and uid:
            pairs += [_Pair(name, _file_of(instance), _file_of(copy)) for copy in found]
            found.clear()
    series = set(map(_series_of, restored))
    left = [original for found in candidates.values() for original in found]
    problems += [_missing(one, folder) for one in left if _series_of(one) in series]
    return pairs, problems, [one for one in left if _series_of(one) not in series]


def _original_of(instance: Instance, name: str, found: list[Instance], folder: Path) -> Instance:
    """Return the original of a restored file among those with its SOPInstanceUID."""
    for one in found if len(found) > 1 else ():
        if os.path.relpath(one.path, folder) == name:
            return one
    for one in found if len(found) > 1 else ():
        if first_different_byte(_file_of(one), _file_of(instance)) is None:
            return one
    return found[0]


def _compared(pairs: list[_Pair], why_not_exact: str, show_values: bool) -> list[Check]:
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
            found = instance_differences(
                pair.original, pair.restored, MOST_PROBLEMS, show_values=show_values
            )
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
