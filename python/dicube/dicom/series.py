"""The files of a folder: which are DICOM, which series they make, which one is meant.

Must not know pixels' bytes or metadata's form.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dicube.dicom.instance import SMALLEST_HEAD, Instance, read_instance
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
    MetaDataError,
)

Source: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
"""A folder, one DICOM file, or the paths of files."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of steps done and the number of steps in all."""

_HEADS_DIFFER = 1 << 12  # bytes by which the headers of a series may differ, mostly

_SERIES_UID, _DESCRIPTION, _MODALITY = 0x0020000E, 0x0008103E, 0x00080060
_ROWS, _COLUMNS, _FRAMES = 0x00280010, 0x00280011, 0x00280008


@dataclass
class FoundFiles:
    """What a source holds.

    Attributes:
        instances: the DICOM files, in natural order of their paths.
        ignored: paths of the other files: not DICOM, or a DICOMDIR.
    """

    instances: list[Instance] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def find_instances(source: Source, progress: Progress | None = None, passes: int = 1) -> FoundFiles:
    """Read the DICOM files of a source up to their pixels; folders with all folders inside.

    Hidden files and folders (names that start with a dot) are passed over.

    Args:
        source: a folder, a file or paths.
        progress: called after each file.
        passes: how often the caller goes through the files; `progress` counts this as the first.

    Raises:
        CubeFileNotFoundError: a path does not exist.
        InvalidCubeFileError: a single file that is no DICOM.
        MetaDataError: nothing there is DICOM, or a DICOM file is damaged.
    """
    paths = _paths(source)
    found = FoundFiles()
    head_size = SMALLEST_HEAD
    for done, path in enumerate(paths, 1):
        instance = read_instance(path, head_size)
        if instance is None:
            found.ignored.append(path)
        else:
            found.instances.append(instance)
            if instance.pixels is not None:  # the next file's are about as far in
                head_size = max(SMALLEST_HEAD, instance.pixels.offset + _HEADS_DIFFER)
        if progress is not None:
            progress(done, passes * len(paths))
    if not found.instances:
        if isinstance(source, (str, os.PathLike)) and os.path.isfile(source):
            raise InvalidCubeFileError(f"{os.fspath(source)} is neither a folder nor a DICOM file")
        where = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the paths given"
        raise MetaDataError(f"no DICOM files among the {len(paths)} files of {where}")
    return found


def choose_series(instances: Sequence[Instance], series_uid: str | None = None) -> list[Instance]:
    """Return the files of the one series there is, or of the one asked for.

    Series without any pixels (reports, presentation states) count only if there are no others.

    Raises:
        DataConsistencyError: there are several, or not the one asked for; lists them.
        MetaDataError: a file has neither a series nor pixels: it is damaged.
    """
    series: dict[str, list[Instance]] = {}
    for instance in instances:
        series.setdefault(instance.text(_SERIES_UID), []).append(instance)
    for instance in series.get("", []) if len(series) > 1 else []:
        if instance.pixels is None:
            raise MetaDataError(
                f"{instance.path} has neither a SeriesInstanceUID nor pixels: it is damaged"
            )
    if series_uid is not None:
        if series_uid not in series:
            raise DataConsistencyError(
                f"no series {series_uid} among the {len(series)} found:{_listed(series)}"
            )
        return series[series_uid]
    with_pixels = {
        uid: members
        for uid, members in series.items()
        if any(member.pixels is not None for member in members)
    }
    candidates = with_pixels or series
    if len(candidates) > 1:
        raise DataConsistencyError(
            f"{len(candidates)} series found:{_listed(candidates)}",
            suggestion="choose one by series_uid=",
        )
    return next(iter(candidates.values()))


def describe_series(members: Sequence[Instance]) -> str:
    """Return UID, modality, description, number of files and shapes, on one line."""
    first = members[0]
    shapes = sorted({(m.number(_ROWS), m.number(_COLUMNS)) for m in members})
    return (
        f"{first.text(_SERIES_UID) or '(no UID)'} {first.text(_MODALITY) or '(no modality)'} "
        f"{first.text(_DESCRIPTION) or '(no description)'!r}: {len(members)} files, "
        + ", ".join(f"{rows} x {columns}" for rows, columns in shapes)
    )


def _listed(series: dict[str, list[Instance]]) -> str:
    return "".join(f"\n  {describe_series(members)}" for members in series.values())


def _paths(source: Source) -> list[str]:
    if not isinstance(source, (str, os.PathLike)):
        paths = [os.fspath(path) for path in source]
        for path in paths:
            if not os.path.exists(path):
                raise CubeFileNotFoundError(f"{path} does not exist")
        return paths
    root = os.fspath(source)
    if not os.path.exists(root):
        raise CubeFileNotFoundError(f"{root} does not exist")
    if os.path.isfile(root):
        return [root]
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (os.path.join(folder, name) for name in names if not name.startswith("."))
        found += [path for path in visible if os.path.isfile(path)]
    return sorted(found, key=_natural)


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a key that sorts I9 before I10."""
    parts = re.split(r"(\d+)", path)
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]
