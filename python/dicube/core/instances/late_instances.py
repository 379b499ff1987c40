"""Adds instances that came late to the dicube file of their series.

The original files are restored, read together with the new ones, and written to a new file, which
replaces the old one when it has been read back. Pixels are held once at a time. Must not know how
originals are described, or how sections are laid out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dicube.core.cube_parts import read_originals, read_parts, read_space, read_stated_meta
from dicube.core.fidelity.agreement import check_agreement
from dicube.core.image import DicomCubeImage
from dicube.core.instances.one_instance import uid_of_original
from dicube.core.instances.stored_files import restore_files, store_files
from dicube.dicom.dicom_io import found_files
from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.sources import (
    SEVERAL_SOURCES,
    DatasetInMemory,
    File,
    FileOnDisk,
    Source,
)
from dicube.dicom.files.volume import frame_layout
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Space, grid_of_space, space_or_reason
from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
    NoImagesError,
)
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.urls import is_url, without_credentials
from dicube.threads import Progress, thread_count
from dicube.whole_files import refusals_named, temporary_folder, write_whole

Path_ = str | os.PathLike[str]

_CHUNK = 1 << 20
_INSTANCE_UID, _STUDY_UID, _SERIES_UID = 0x00080018, 0x0020000D, 0x0020000E
# How far a late slice may be from where the volume's grid has one: a part of a step; and the
# difference of directions and, as a part, of pixel spacings.
_SAME_STEP, _SAME_DIRECTION = 0.1, 1e-3


class Conflict(NamedTuple):
    """A file that has the SOPInstanceUID of another one of the series, and other bytes.

    Attributes:
        path: of the file.
        sha256: of its bytes, in hexadecimal.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Appended:
    """What `append_files` did.

    Attributes:
        added: the number of files added; if it is 0, the dicube file is as it was.
        present: the number of files that the dicube file had already.
        slices: the number of slices of the volume before, and now.
        whole: why files that were added are kept whole beside the volume, by their paths.
        conflicts: files that were not added.
    """

    added: int
    present: int
    slices: tuple[int, int]
    whole: Mapping[str, str]
    conflicts: tuple[Conflict, ...]


def append_files(
    path: Path_,
    source: Source,
    *,
    effort: int | str | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    work_folder: Path_ | None = None,
) -> Appended:
    """Add DICOM files of the same series to a dicube file.

    The file is written anew, of the same kind and with the same order of slices, and replaces the
    old one when it has been read back and restores every file, old and new, to the byte. If the
    process ends before, the old one remains. A file that the dicube file has already counts once.
    A file that has the SOPInstanceUID of another one, and other bytes, is not added.

    No slice leaves the volume. Files whose frames have another shape or sample type, can't be
    decoded, or are not on the grid of a volume with known geometry, are kept whole beside it, until
    further files make them fit: slices between others that come one by one, for example.

    Args:
        path: the dicube file, with the original files of its series.
        source: the DICOM files, as for `DicomCubeImage.from_dicom_folder`.
        effort: of JPEG XL, as for `DicomCubeImage.to_file`. Files don't record it.
        num_threads: threads for decoding and encoding; None or 0 for one per processor.
        progress: called as `progress(done, total)`, in slices written.
        work_folder: where to work, with room for the original files; None for the system's folder
            of temporary files.

    Raises:
        DataConsistencyError: `path` is a URL; the dicube file holds no original files, as if it was
            edited, de-identified or coded lossily; a file is of another study or series, or a
            dataset in memory; or something would leave the volume.
        NoImagesError: (a MetaDataError) files name another patient than the images do.
        MetaDataError: there are no DICOM files, or a damaged one.
        InvalidCubeFileError: not a dicube file, or a damaged one, or one that contradicts itself.
        OSError: (an InvalidCubeFileError too) the system refused to read or write, or another
            process changed the dicube file meanwhile.

    Warns:
        UserWarning: see `DicomCubeImage.from_dicom_folder`.

    Example:
        >>> result = dicube.append_files("head.dcbs", ["series/I1"])
        >>> result.added, result.present
        (0, 1)
    """
    name = without_credentials(os.fspath(path))
    if is_url(path):
        raise DataConsistencyError(f"{name}: expected a file on this machine, found a URL")
    state = _state_of(path)
    held = _Held.read(path, name)
    new, present, conflicts = _sorted_out(source, held, name)
    if not new:
        return Appended(0, present, (held.slices, held.slices), {}, conflicts)
    inside = None if work_folder is None else os.fspath(work_folder)
    with temporary_folder("dicube-append-", inside) as work, _naming(work, name):
        folder = os.path.join(work, "series")
        paths = restore_files(path, folder, num_threads=num_threads) + _copied(new, folder)
        files = [FileOnDisk(one) for one in paths]
        written = os.path.join(work, f"new{held.extension}")
        _write(files, written, held, effort, num_threads, progress)
        whole, slices = _check(written, held, [digest for _, digest in new], num_threads)
        if _state_of(path) != state:
            raise CubeFileAccessError(f"{name}: another process changed it meanwhile")
        write_whole(os.fspath(path), _chunks_of(written))
    reasons = {file.name: whole[digest] for file, digest in new if digest in whole}
    return Appended(len(new), present, (held.slices, slices), reasons, conflicts)


@dataclass(frozen=True)
class _Held:
    """What matters of the dicube file.

    Attributes:
        extension: of its kind.
        slices: of its volume.
        layout: shape and dtype of a frame; None without frames.
        space: the geometry; None if it isn't known.
        order: how the slices are sorted.
        identity: study and series of each slice or file.
        uids: the SOPInstanceUIDs.
        files: name and SHA-256 of each original.
        images: the same of each original with frames of the volume, copies too.
        volume: the number of those that are no copies; they come first.
    """

    extension: str
    slices: int
    layout: tuple[tuple[int, ...], np.dtype[np.generic]] | None
    space: Space | None
    order: SortMethod
    identity: frozenset[tuple[str, str]]
    uids: frozenset[str]
    files: frozenset[tuple[str, bytes]]
    images: frozenset[tuple[str, bytes]]
    volume: int

    @staticmethod
    def read(path: Path_, name: str) -> _Held:
        """Read it from the file.

        Raises:
            DataConsistencyError: the file holds no original files.
        """
        with DcbReader(path) as reader:
            stored, meta = read_originals(reader), read_stated_meta(reader)
            if stored is None or meta is None:
                why = "; it was coded lossily, edited, de-identified, or written with exact=False"
                raise DataConsistencyError(
                    f"{name} holds no original files{why}, so nothing can be added to it",
                    suggestion="write it anew from all DICOM files",
                )
            originals, slices = stored(), reader.shape[0]
            images = (*originals.files, *originals.copies)
            others = originals.others if slices else ()  # else all of them are in the metadata
            uids = {_text(uid) for uid in meta.get("SOPInstanceUID", force_nonshared=True)}
            uids |= {uid_of_original(reader, originals, file) for file in others}
            columns = (
                map(_text, meta.get(keyword, force_nonshared=True))
                for keyword in ("StudyInstanceUID", "SeriesInstanceUID")
            )
            return _Held(
                reader.extension,
                slices,
                (reader.shape[1:], reader.dtype) if slices else None,
                read_space(reader),
                _order_of(meta) if slices else SortMethod.INSTANCE_NUMBER_ASC,
                frozenset(zip(*columns, strict=True)),
                frozenset(uids - {""}),
                frozenset((file.name, file.digest) for file in originals.all_files),
                frozenset((file.name, file.digest) for file in images),
                len(originals.files),
            )


def _order_of(meta: DicomMeta) -> SortMethod:
    """Return the order that slices are in."""
    for method in SortMethod:
        again = meta.fork()
        again.sort_files(method)
        uids = (one.get("SOPInstanceUID", force_nonshared=True) for one in (meta, again))
        if next(uids) == next(uids):
            return method
    return SortMethod.INSTANCE_NUMBER_ASC


def _sorted_out(
    source: Source, held: _Held, name: str
) -> tuple[list[tuple[File, bytes]], int, tuple[Conflict, ...]]:
    """Return the files to add with their SHA-256, the number of those present, and conflicts."""
    instances = found_files(source).instances
    for instance in instances:
        if isinstance(instance.source, DatasetInMemory):
            raise DataConsistencyError(f"{instance.path} is a dataset in memory and not a file")
    strange = [one.path for one in instances if _identity_of(one) not in held.identity]
    if strange:
        raise DataConsistencyError(
            f"{strange[0]}: expected files of the study and series of {name}, found "
            f"{len(strange)} of {len(instances)} files of others"
        )
    known, digests = set(held.uids), {digest for _, digest in held.files}
    new: list[tuple[File, bytes]] = []
    conflicts: list[Conflict] = []
    for instance in instances:
        assert not isinstance(instance.source, DatasetInMemory)
        digest, uid = _digest_of(instance.source), instance.text(_INSTANCE_UID)
        if digest in digests:
            continue
        if uid and uid in known:
            conflicts.append(Conflict(instance.path, digest.hex()))
            continue
        known.add(uid)
        digests.add(digest)
        new.append((instance.source, digest))
    return new, len(instances) - len(new) - len(conflicts), tuple(conflicts)


def _identity_of(instance: Instance) -> tuple[str, str]:
    return instance.text(_STUDY_UID), instance.text(_SERIES_UID)


def _copied(new: Sequence[tuple[File, bytes]], folder: str) -> list[str]:
    """Copy files into the folder of the restored ones, under names that it doesn't have yet.

    The names have no folders. So the names of all files are those relative to the folder, which is
    the only one that holds them all.
    """
    taken = {name.casefold() for name in os.listdir(folder)}
    paths = []
    for file, digest in new:
        name = os.path.basename(file.name)
        if name.casefold() in taken:
            name = f"{digest.hex()}-{name}"
        taken.add(name.casefold())
        paths.append(os.path.join(folder, name))
        with refusals_named(paths[-1]), file.open() as opened, open(paths[-1], "xb") as copy:
            shutil.copyfileobj(opened, copy, _CHUNK)
    return paths


def _write(
    files: Sequence[FileOnDisk],
    path: str,
    held: _Held,
    effort: int | str | None,
    num_threads: int | None,
    progress: Progress | None,
) -> None:
    """Write the dicube file of a series.

    Args:
        files: the DICOM files, those of the volume before among the first.
        path: to write.
        held: of the file before.
        effort, num_threads, progress: see `append_files`.
    """
    try:
        image = DicomCubeImage.from_dicom_folder(
            files,
            held.order,
            num_threads,
            keep_all=True,
            apart=_misfits(files, held),
        )
    except (MetaDataError, DataConsistencyError, CodecError) as error:
        if held.slices:
            raise
        store_files(files, path, reasons=error.reasons if isinstance(error, NoImagesError) else {})
        return
    image.to_file(path, num_threads, effort, exact="always", progress=progress)


def _misfits(files: Sequence[FileOnDisk], held: _Held) -> dict[str, str]:
    """Return why files can't join the volume that the dicube file has, by their paths."""
    if held.layout is None:
        return {}
    reasons: dict[str, str] = {}
    fitting: list[Instance] = []
    volume: list[Instance] = []
    for number, instance in enumerate(found_files(files).instances):
        if number < held.volume:
            volume.append(instance)
        if number < len(held.images) or instance.pixels is None:
            continue
        try:
            layout = frame_layout(instance)
        except DicomCubeError:  # which is kept whole for this reason
            continue
        if (layout.shape, layout.dtype) == held.layout:
            fitting.append(instance)
        else:
            reasons[instance.path] = "frames of another shape or sample type than the volume"
    if held.space is not None and fitting:
        # Slices between those of the volume may make a finer grid.
        in_line = _placed(fitting, held.space, 1)
        every = _meta_of([*volume, *(one for one in fitting if one.path in in_line)])
        every.sort_files(held.order)
        if space_or_reason(every)[0] is None:
            in_line = _placed(fitting, held.space, held.slices)
        apart = (one.path for one in fitting if one.path not in in_line)
        reasons |= dict.fromkeys(apart, "slices that are not on the grid of the volume")
    return reasons


def _meta_of(instances: Sequence[Instance]) -> DicomMeta:
    return DicomMeta.from_items(
        [instance.item for instance in instances],
        [instance.file_meta for instance in instances],
        [instance.path for instance in instances],
        [instance.frame_count for instance in instances],
    )


def _placed(instances: Sequence[Instance], space: Space, count: int) -> set[str]:
    """Return the paths of files whose slices are where a grid has some, or has beyond its ends.

    Args:
        instances: the files.
        space: of the volume (zyx).
        count: of slices in the volume; 1 for a grid of unknown step.
    """
    meta, grid = _meta_of(instances), grid_of_space(space)
    step = grid.steps[2]

    def is_placed(point: Any, direction: Any, spacing: Any) -> bool:
        if point is None or direction is None or spacing is None:
            return False
        axes = np.reshape(np.asarray(direction, float), (2, 3))
        if not np.allclose(grid.axes[:2], axes, rtol=0, atol=_SAME_DIRECTION):
            return False
        if not np.allclose(grid.spacing[1::-1], spacing, rtol=_SAME_DIRECTION, atol=0):
            return False
        away = np.asarray(point, float) - grid.origin
        number = float(away @ step / (step @ step))
        beside = away - (number if count < 2 else round(number)) * step
        return float(np.linalg.norm(beside)) <= _SAME_STEP * float(np.linalg.norm(step))

    planes = (
        numbers(meta, "ImagePositionPatient", 3),
        numbers(meta, "ImageOrientationPatient", 6),
        numbers(meta, "PixelSpacing", 2),
    )
    placed = [is_placed(*plane) for plane in zip(*planes, strict=True)]
    files = zip(instances, meta.instances(), strict=True)
    return {file.path for file, slices in files if all(placed[index] for index in slices)}


def _check(
    path: str, held: _Held, added: Sequence[bytes], num_threads: int | None
) -> tuple[dict[bytes, str], int]:
    """Read a new file back; return why files are kept whole, by SHA-256, and its number of slices.

    Raises:
        InvalidCubeFileError: it doesn't restore all files to the byte, or contradicts itself.
        DataConsistencyError: a slice would leave the volume.
    """
    with DcbReader(path, num_threads=num_threads) as reader:
        parts = read_parts(reader)
        assert parts.origin.provenance is not None
        originals = parts.origin.provenance.originals.remembering()
        files = {(file.name, file.digest) for file in originals.all_files}
        digests = {digest for _, digest in files}
        lost = len(held.files - files) + len(set(added) - digests)
        if lost:
            raise InvalidCubeFileError(f"the file written lacks {lost} original files")
        images = {(file.name, file.digest) for file in (*originals.files, *originals.copies)}
        if lost := len(held.images - images):
            raise DataConsistencyError(
                f"{lost} of {len(held.images)} images would leave the volume"
            )
        slices = reader.shape[0]
        volume = reader.read_frames() if slices else np.zeros(reader.shape, reader.dtype)
        threads = thread_count(num_threads)
        for file in originals.changed(volume, threads):
            raise InvalidCubeFileError(f"{file.label} can't be restored: its SHA-256 differs")
        check_agreement(parts, originals, volume if slices else None, threads)
        return {file.digest: file.why for file in originals.others}, slices


@contextmanager
def _naming(work: str, name: str) -> Iterator[None]:
    """Let errors and warnings name the dicube file in place of the temporary folder."""
    series = os.path.join(work, "series")

    def named(text: str) -> str:
        text = text.replace(SEVERAL_SOURCES, name).replace(series + os.sep, "")
        return text.replace(series, name).replace(work, name)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except DicomCubeError as error:
            error.message = named(error.message)
            error.args = (error.message,)
            raise
    for warning in caught:
        warnings.warn(named(str(warning.message)), warning.category, stacklevel=4)


def _digest_of(file: File) -> bytes:
    digest = hashlib.sha256()
    try:
        with file.open() as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {file.name}: {error.strerror}") from error
    return digest.digest()


def _chunks_of(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _state_of(path: Path_) -> tuple[int, ...] | None:
    """Return what changes if another process replaces a file; None if there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
