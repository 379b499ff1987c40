"""Finds the DICOM files of a source, groups them into series, and chooses one series.

Must not know the bytes of pixels or the form of metadata.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from pydicom.config import IGNORE
from pydicom.uid import UID

from dicube.dicom.dicom_tags import get_tag, uid_name
from dicube.dicom.files.instance import Instance, same_content
from dicube.dicom.files.instance_reading import SMALLEST_HEAD, instance_of, read_instance
from dicube.dicom.files.sources import DatasetInMemory, Source, files_of, is_dicube, name_of
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError, MetaDataError
from dicube.threads import Progress

_log = logging.getLogger(__name__)

_LISTING = "dicom_tree.find_series or `dicube info FOLDER` lists them"

_HEADS_DIFFER = 1 << 12  # bytes; the headers of a series seldom differ by more

_CLASS_UID, _INSTANCE_UID = 0x00080016, 0x00080018
_SERIES_UID = 0x0020000E
_ROWS, _COLUMNS = 0x00280010, 0x00280011

_SAME_UID = "another file of the series has its SOPInstanceUID and other content"

IDENTITY = ("SeriesInstanceUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID", "PatientName")
"""Keywords of the elements that identify a file and what it belongs to."""


@dataclass
class FoundFiles:
    """The files found in a source.

    Attributes:
        instances: the DICOM files, in natural order of their paths.
        directories: paths of DICOMDIRs.
        cubes: paths of dicube files.
        ignored: paths of the other files, which are not DICOM.
    """

    instances: list[Instance] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    cubes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        other = (self.directories, self.cubes, self.ignored)
        return len(self.instances) + sum(map(len, other))


class ChosenSeries(NamedTuple):
    """A series that was chosen among files.

    Attributes:
        images: the files with pixels, each instance once; if none has pixels, all files.
        others: the files without pixels, of a series with images; and those whose pixels can't be
            part of its volume, if they were asked for.
        left_out: the files of other series, none of which has pixels; empty if a series was asked
            for.
        contradicting: the files that would be `others`, but contradict the images; see
            `contradicted`.
        reasons: why the pixels of files can't be part of the volume, by the paths of the files.
    """

    images: list[Instance]
    others: list[Instance]
    left_out: list[Instance]
    contradicting: list[Instance]
    reasons: Mapping[str, str] = MappingProxyType({})


def find_instances(source: Source, progress: Progress | None = None, passes: int = 1) -> FoundFiles:
    """Read the DICOM files of a source up to their pixels, including those of nested folders.

    Hidden files and folders (names that start with a dot) are skipped.

    Args:
        source: a folder, a file, a zip archive, a dataset, or several of them.
        progress: called after each file.
        passes: how many times the caller goes through the files; this is the first time, and
            `progress` counts them all.

    Raises:
        CubeFileNotFoundError: a path does not exist.
        InvalidCubeFileError: the source is a single file that is not DICOM.
        MetaDataError: no file is DICOM, or a DICOM file is damaged.
    """
    files = files_of(source)
    found = FoundFiles()
    head_size = SMALLEST_HEAD
    for done, file in enumerate(files, 1):
        if isinstance(file, DatasetInMemory):
            instance: Instance | None = instance_of(file)
        else:
            instance = read_instance(file, head_size)
            if instance is None:
                others = found.cubes if is_dicube(file) else found.ignored
                others.append(file.name)
        if instance is not None and instance.is_directory:
            found.directories.append(file.name)
        elif instance is not None:
            found.instances.append(instance)
            if instance.pixels is not None:  # the next file's header has about the same size
                head_size = max(SMALLEST_HEAD, instance.pixels.offset + _HEADS_DIFFER)
        if progress is not None:
            progress(done, passes * len(files))
    if not found.instances:
        if isinstance(source, (str, os.PathLike)) and os.path.isfile(source):
            raise InvalidCubeFileError(f"{os.fspath(source)} is neither a folder nor a DICOM file")
        raise MetaDataError(f"{name_of(source)}: no DICOM file among {len(files)} files")
    return found


def choose_series(
    instances: Sequence[Instance], series_uid: str | None = None, keep_all: bool = False
) -> ChosenSeries:
    """Return the files of the only series with pixels, or of the one with the given UID.

    If several images are the same instance with the same content, the first is returned and lists
    the others in its `copies`.

    Args:
        instances: the files.
        series_uid: SeriesInstanceUID of the series to choose.
        keep_all: return files that are the same instance with different content, all of them with
            a reason; by default they are an error.

    Raises:
        DataConsistencyError: there are several series, or none with this UID; lists them. Or files
            are the same instance with different content; names them.
        MetaDataError: a file has no SeriesInstanceUID and lacks its pixels, so it is damaged.
    """
    series: dict[str, list[Instance]] = {}
    for instance in instances:
        series.setdefault(instance.text(_SERIES_UID), []).append(instance)
    for instance in series.get("", []) if len(series) > 1 else []:
        if instance.pixels is None and needs_pixels(instance):
            raise MetaDataError(
                f"{instance.path} has neither a SeriesInstanceUID nor pixels: it is damaged"
            )
    if series_uid is not None:
        if series_uid not in series:
            raise DataConsistencyError(
                f"no series {series_uid} among the {len(series)} found:{_listed(series)}",
                suggestion=_LISTING,
            )
        return _chosen(series[series_uid], [], keep_all)
    with_pixels = {
        uid: members
        for uid, members in series.items()
        if any(member.pixels is not None for member in members)
    }
    candidates = with_pixels or series
    if len(candidates) > 1:
        raise DataConsistencyError(
            f"{len(candidates)} series found:{_listed(candidates)}",
            suggestion=f"choose one by series_uid=; {_LISTING}",
        )
    (uid,) = candidates
    return _chosen(series[uid], [i for i in instances if i.text(_SERIES_UID) != uid], keep_all)


def needs_pixels(instance: Instance) -> bool:
    """Return whether a file is an image by its SOP class, so that it is damaged without pixels."""
    return not instance.text(_CLASS_UID) or "Image Storage" in class_name(instance)


def class_name(instance: Instance) -> str:
    """Return the name of a file's SOP class; its UID if the class is not of the standard."""
    uid = instance.text(_CLASS_UID)
    return UID(uid, IGNORE).name if uid else "no SOP class"


def count_classes(instances: Sequence[Instance], folder: str | None = None) -> str:
    """Return how many files there are of each SOP class, and the paths of the first three.

    Args:
        instances: the files.
        folder: the folder that paths are relative to; None for whole paths.
    """
    counts = Counter(uid_name(instance.text(_CLASS_UID)) for instance in instances)
    classes = ", ".join(f"{number} {name}" for name, number in counts.items())
    first = [instance.path for instance in instances[:3]]
    paths = ", ".join(path if folder is None else os.path.relpath(path, folder) for path in first)
    return f"{classes} ({paths}{', …' if len(instances) > 3 else ''})"


def describe_series(members: Sequence[Instance]) -> str:
    """Return one line with number of files and shapes of a series, and one of its files."""
    shapes = sorted({(m.number(_ROWS), m.number(_COLUMNS)) for m in members})
    frames = sum(member.frame_count for member in members)
    return (
        f"{len(members)} files, "
        + (f"{frames} frames, " if frames > len(members) else "")
        + ", ".join(f"{rows} x {columns}" for rows, columns in shapes)
        + f", e.g. {members[0].path}"
    )


def warn_of_remarks(members: Sequence[Instance], stacklevel: int) -> None:
    """Warn of the faults in the files of a series, once for each kind of fault."""
    paths: dict[str, list[str]] = {}
    for member in members:
        for instance in (member, *member.copies):
            for remark in instance.remarks:
                paths.setdefault(remark, []).append(instance.path)
    for remark, found in paths.items():
        others = f" and {len(found) - 1} more files" if len(found) > 1 else ""
        warnings.warn(f"{found[0]}{others}: {remark}", stacklevel=stacklevel + 1)


def _chosen(members: Sequence[Instance], left_out: list[Instance], keep_all: bool) -> ChosenSeries:
    images = [i for i in members if i.pixels is not None or needs_pixels(i)]
    others = [i for i in members if i.pixels is None and not needs_pixels(i)]
    if not others or not any(image.pixels is not None for image in images):
        images, reasons = _without_copies(members, keep_all)
        return ChosenSeries(images, [], left_out, [], reasons)
    images, reasons = _without_copies(images, keep_all)
    kept, contradicting = fitting(others, images)
    return ChosenSeries(images, kept, left_out, contradicting, reasons)


def fitting(
    files: Iterable[Instance], images: Sequence[Instance]
) -> tuple[list[Instance], list[Instance]]:
    """Return the files that may be kept with images of their series, and those that may not."""
    stated = stated_identity(lambda keyword: (image.value(get_tag(keyword)) for image in images))
    kept: list[Instance] = []
    contradicting: list[Instance] = []
    for file in files:
        (contradicting if contradicted(file, stated) else kept).append(file)
    return kept, contradicting


def stated_identity(values_of: Callable[[str], Iterable[Any]]) -> dict[str, set[str]]:
    """Return the values that the images of a series have, of each keyword in `IDENTITY`.

    Args:
        values_of: returns the values of a keyword in the images.
    """
    return {keyword: set(map(_identity, values_of(keyword))) for keyword in IDENTITY}


def contradicted(instance: Instance, stated: Mapping[str, Collection[str]]) -> str:
    """Return the keyword of an element by which a file can't be one of a series without pixels.

    Args:
        instance: the file.
        stated: see `stated_identity`.

    Returns:
        '' if it can: it has their SeriesInstanceUID, an instance UID of its own, and the study and
        patient of one of them, or none.
    """
    for keyword, known in stated.items():
        found = _identity(instance.value(get_tag(keyword)))
        if keyword == "SOPInstanceUID":
            is_wrong = found != "" and found in known
        else:
            is_wrong = found not in known and (found != "" or keyword == "SeriesInstanceUID")
        if is_wrong:
            return keyword
    return ""


def _identity(value: Any) -> str:
    """Return a name or an ID without what has no meaning in it."""
    return str(value or "").casefold().rstrip("^ ")


def _without_copies(
    members: Sequence[Instance], keep_all: bool
) -> tuple[list[Instance], dict[str, str]]:
    """Return each instance once, with its copies; and why others can't be in a volume, by path.

    Raises:
        DataConsistencyError: two files have the same UID and different content, and `keep_all` is
            False.
    """
    files: dict[str, list[Instance]] = {}
    for instance in members:
        # A file without a UID is never a copy.
        uid = instance.text(_INSTANCE_UID) or f"of {instance.path}"
        files.setdefault(uid, []).append(instance)
    kept: list[Instance] = []
    reasons: dict[str, str] = {}
    for first, *rest in files.values():
        differing = [instance for instance in rest if not same_content(instance, first)]
        if not differing:
            for copy in rest:
                _log.info("%s is a copy of %s", copy.path, first.path)
            kept.append(replace(first, copies=tuple(rest)) if rest else first)
        elif keep_all:  # nobody knows which of them is the slice
            kept += [first, *rest]
            reasons |= {instance.path: _SAME_UID for instance in (first, *rest)}
        else:
            raise DataConsistencyError(
                f"{first.path} and {differing[0].path} have the same SOPInstanceUID but differ",
                suggestion="keep_all=True (--exact always) keeps both whole",
            )
    return kept, reasons


def _listed(series: dict[str, list[Instance]]) -> str:
    return "".join(f"\n  {describe_series(members)}" for members in series.values())
