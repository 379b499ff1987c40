"""Reads one DICOM series into metadata and a volume.

Must not know dicube files or spaces.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.export.pixel_attributes import BYTES_AS_OW
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.instance_reading import without_large_values
from dicube.dicom.files.majority import reason_of, with_one_volume
from dicube.dicom.files.series import (
    ChosenSeries,
    FoundFiles,
    choose_series,
    count_classes,
    find_instances,
    needs_pixels,
    warn_of_remarks,
)
from dicube.dicom.files.sources import Source, name_of
from dicube.dicom.files.volume import check_decoders, common_layout, read_volume
from dicube.dicom.originals.keeper import OriginalsKeeper, files_without_frames, names_in
from dicube.dicom.originals.model import Originals
from dicube.dicom.originals.section import fault_of
from dicube.dicom.series.precedence import pixel_header_of
from dicube.dicom.series.stored_bits import UNUSED_BITS, has_unused_bits
from dicube.exceptions import (
    DataConsistencyError,
    DicomCubeError,
    LeftOutWarning,
    NoImagesError,
)
from dicube.pixel_header import PixelDataHeader
from dicube.threads import Progress, thread_count

_log = logging.getLogger(__name__)

_CONTRADICTING = (
    "as they contradict the images (they name another patient or study, or have the UID of an "
    "image)"
)
_LISTED = 3  # files that a warning lists


def read_dicom_dir(
    source: Source,
    sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
    series_uid: str | None = None,
    progress: Progress | None = None,
) -> DicomMeta:
    """Read the metadata of a DICOM series, also of one without images; pixels are not read.

    Args:
        source: a folder (with its subfolders), a DICOM file, a DICOMDIR, a zip archive of DICOM
            files, a pydicom dataset, or a list of these. Files that are not DICOM, hidden files and
            DICOMDIRs are skipped and logged.
        sort_method: the order of the slices.
        series_uid: the series to read; needed if there are several.
        progress: called as `progress(done, total)`, in files.

    Returns:
        The metadata, sorted: a slice for each frame of the images; for each file if there are no
        images.

    Raises:
        CubeFileNotFoundError: the path does not exist.
        InvalidCubeFileError: the path is that of a file that is not DICOM.
        MetaDataError: there are no DICOM files, or one is damaged.
        DataConsistencyError: there are several series and `series_uid` is None, or none has this
            UID; lists them. Or two files are the same instance and differ, or a dicube file is
            among the files.

    Example:
        >>> meta = dicube.read_dicom_dir("series")
        >>> meta.slice_count, meta.get("Modality")
        (5, 'CT')
    """
    found = found_files(source, progress, passes=1)
    images = choose_series(found.instances, series_uid).images
    warn_of_remarks(images, stacklevel=2)
    _warn_of_excess(images, stacklevel=3)
    meta, _ = _meta_of(images, sort_method)
    return meta


def check_series(source: Source) -> DicomMeta:
    """Read the metadata of a series, and make all checks of its images that need no pixels.

    Args:
        source: the files of one series.

    Raises:
        MetaDataError, DataConsistencyError: see `read_series`.
        CodecError: the package that decodes the pixels is missing.
    """
    found = found_files(source, None, passes=2)
    chosen = _chosen_images(source, found, None)
    meta, instances = _meta_of(chosen.images, SortMethod.INSTANCE_NUMBER_ASC)
    check_decoders(instances)
    return meta


class Series(NamedTuple):
    """A DICOM series; its slices are sorted.

    Attributes:
        meta: the metadata.
        volume: the stored words, unchanged, in native byte order: (slice, row, column) or (slice,
            row, column, sample).
        header: the pixel header, with `UnusedBits` if words use bits outside BitsStored.
        originals: what restores its files to the byte; or the reason why they can't be restored.
    """

    meta: DicomMeta
    volume: NDArray[Any]
    header: PixelDataHeader
    originals: Originals | str


def read_series(
    source: Source,
    sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
    num_threads: int | None = None,
    progress: Progress | None = None,
    series_uid: str | None = None,
    keep_all: bool = False,
    apart: Mapping[str, str] = MappingProxyType({}),
) -> Series:
    """Read a DICOM series: metadata, stored pixel values, and what restores its files.

    Args:
        source, sort_method, series_uid: see `read_dicom_dir`.
        num_threads: number of threads that read pixels; None or 0 for one per available processor.
        progress: called as `progress(done, total)`; each file counts twice.
        keep_all: keep every file of the series: those that can't be part of the volume are among
            the originals' `others`, with the reason.
        apart: with `keep_all`, why further files are no part of the volume, by their paths.

    Raises:
        CubeFileNotFoundError, MetaDataError: see `read_dicom_dir`.
        DataConsistencyError: there are several series and `series_uid` is None, images differ in
            shape or sample type, or pixels are missing or truncated; names the file. With
            `keep_all`: a file can't be kept, or is of another series.
        CodecError: compressed pixels can't be decoded; names the missing package.
        NoImagesError: no file has pixels. With `keep_all`: or no file can be part of a volume, or
            files contradict the images.
    """
    found = found_files(source, progress, passes=2)
    every, files = _chosen_images(source, found, series_uid, keep_all), len(found)
    failed = dict(apart)
    while True:
        chosen = _forming_volume(source, every, failed) if keep_all else every
        known = len(failed)
        meta, instances = _meta_of(chosen.images, sort_method)
        keeper = OriginalsKeeper(source, instances, meta.instances(), chosen.others, chosen.reasons)
        volume, interpretations = read_volume(
            instances,
            meta.instances(),
            thread_count(num_threads),
            _counting(instances, files, progress),
            keeper.keep,
            _collecting(instances, failed) if keep_all else None,
        )
        if len(failed) == known:
            break
        del volume  # before the next one takes memory
    if len(interpretations) == 1:
        meta.set_shared_item("PhotometricInterpretation", interpretations.pop())
    header = pixel_header_of(meta, volume.dtype.name)
    if has_unused_bits(volume, meta):
        header.Extras[UNUSED_BITS] = True
    if volume.dtype.itemsize == 1 and {i.pixels.vr for i in instances if i.pixels} == {"OW"}:
        header.Extras[BYTES_AS_OW] = True
    originals = keeper.originals(volume)
    _warn_outside_volume(source, chosen, originals, keep_all)
    return Series(meta, volume, header, originals)


def read_files(
    source: Source,
    series_uid: str | None = None,
    progress: Progress | None = None,
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> tuple[DicomMeta, Originals]:
    """Read what restores the files of a series without reading any as images.

    Args:
        source, series_uid, progress: see `read_dicom_dir`.
        reasons: why the pixels of files can't be part of a volume, by the paths of the files.

    Returns:
        The metadata, with a slice for each file, in which large values are missing; and the
        originals, which have no frames.

    Raises:
        CubeFileNotFoundError, MetaDataError: see `read_dicom_dir`.
        DataConsistencyError: there are several series and `series_uid` is None; or a dataset in
            memory.
    """
    found = found_files(source, progress, passes=1)
    chosen = choose_series(found.instances, series_uid, keep_all=True)
    files = [f for image in chosen.images for f in (image, *image.copies)]
    files += chosen.others + chosen.contradicting
    if in_memory := [file.path for file in files if file.in_memory]:
        raise DataConsistencyError(f"{in_memory[0]} is a dataset in memory and not a file")
    names = names_in(source, [file.path for file in files])
    names_of = dict(zip([file.path for file in files], names, strict=True))
    others = files_without_frames(files, names_of, {**chosen.reasons, **reasons})
    originals = Originals((), (0, 0, 0), np.dtype(np.uint8), others=others)
    if fault := fault_of(originals):
        raise DataConsistencyError(f"{name_of(source)}: {fault}")
    meta = DicomMeta.from_items(
        [without_large_values(file.item) for file in files],
        [file.file_meta for file in files],
        [file.path for file in files],
        [1] * len(files),
    )
    _warn_outside_volume(source, chosen._replace(others=[], contradicting=[]), originals)
    return meta, originals


def _counting(
    instances: Sequence[Instance], files: int, progress: Progress | None
) -> Callable[[], None] | None:
    """Return what `read_volume` calls after each of the instances, which are among the files."""
    if progress is None:
        return None
    frames = count(1)
    return lambda: progress(files + files * next(frames) // len(instances), 2 * files)


def _collecting(
    instances: Sequence[Instance], failed: dict[str, str]
) -> Callable[[int, DicomCubeError], None]:
    """Return what `read_volume` calls with the files that it can't read."""

    def collect(index: int, error: DicomCubeError) -> None:
        path = instances[index].path
        failed[path] = reason_of(error, path)

    return collect


def found_files(source: Source, progress: Progress | None = None, passes: int = 1) -> FoundFiles:
    """Return the files of a source; raise if a dicube file is among them."""
    found = find_instances(source, progress, passes)
    if found.cubes:
        raise DataConsistencyError(
            f"{found.cubes[0]} is a dicube file among DICOM files",
            suggestion="remove it from the source, or restore its DICOM files first",
        )
    if found.ignored or found.directories:
        _log.info("not DICOM images, ignored: %s", ", ".join(found.ignored + found.directories))
    return found


def _chosen_images(
    source: Source, found: FoundFiles, series_uid: str | None, keep_all: bool = False
) -> ChosenSeries:
    """Choose a series whose images form a volume, or any if `keep_all`; warn of their faults."""
    _expect_images(source, found.instances)
    chosen = choose_series(found.instances, series_uid, keep_all)
    if keep_all and chosen.left_out:
        raise DataConsistencyError(
            f"{name_of(source)}: expected files of one series, found {len(chosen.left_out)} of "
            f"others: {count_classes(chosen.left_out)}",
            suggestion="choose one by series_uid=",
        )
    _expect_images(source, chosen.images)
    warn_of_remarks(chosen.images, stacklevel=4)
    images = chosen.images
    if keep_all:
        images = with_one_volume(chosen).images
    else:
        common_layout(images)
    _warn_of_excess(images, stacklevel=5)
    return chosen


def _forming_volume(
    source: Source, chosen: ChosenSeries, failed: Mapping[str, str]
) -> ChosenSeries:
    """Return the choice with only the images that form the volume; `others` has all other files.

    Args:
        source: names the source in errors.
        chosen: all files of the series.
        failed: why the pixels of files can't be decoded, by path.
    """
    found = with_one_volume(chosen._replace(reasons={**chosen.reasons, **failed}))
    if not found.images:
        first = chosen.images[0].path
        raise NoImagesError(
            f"{name_of(source)}: none of {len(chosen.images)} images can be part of a volume: "
            f"{first}: {found.reasons[first]}",
            found.reasons,
        )
    if found.contradicting:
        raise NoImagesError(
            f"{name_of(source)}: {len(found.contradicting)} files can't be kept with the volume, "
            f"{_CONTRADICTING}: {count_classes(found.contradicting)}",
            found.reasons,
        )
    return found


def _expect_images(source: Source, instances: Sequence[Instance]) -> None:
    """Raise NoImagesError if files have no pixels, and none lacks them."""
    if all(instance.pixels is None and not needs_pixels(instance) for instance in instances):
        raise NoImagesError(
            f"{name_of(source)}: no images among {len(instances)} DICOM files: "
            + count_classes(instances)
        )


def _meta_of(images: list[Instance], sort_method: SortMethod) -> tuple[DicomMeta, list[Instance]]:
    """Return the metadata of images, sorted, and the images in the order of their slices."""
    meta = DicomMeta.from_items(
        [instance.item for instance in images],
        [instance.file_meta for instance in images],
        [instance.path for instance in images],
        [instance.frame_count for instance in images],
    )
    meta.sort_files(sort_method)
    order = [meta.frames[slices[0]].instance for slices in meta.instances()]
    return meta, [images[i] for i in order]


def _warn_of_excess(instances: Sequence[Instance], stacklevel: int) -> None:
    """Warn of files with more pixels than NumberOfFrames says."""
    more = [instance for instance in instances if instance.frame_count > instance.stated_frames]
    if more:
        first = more[0]
        warnings.warn(
            f"{len(more)} of {len(instances)} files have more frames than NumberOfFrames says; all "
            f"are read: {first.path} has {first.frame_count}, not {first.stated_frames}",
            stacklevel=stacklevel,
        )
    beyond = [instance for instance in instances if instance.bytes_beyond_frames]
    if beyond:
        first = beyond[0]
        warnings.warn(
            f"{len(beyond)} of {len(instances)} files have bytes after their frames, which are not "
            f"read: {first.path} has {first.bytes_beyond_frames}",
            stacklevel=stacklevel,
        )


def _warn_outside_volume(
    source: Source, chosen: ChosenSeries, originals: Originals | str, keep_all: bool = False
) -> None:
    """Warn if there are objects that are not in the volume.

    Raises:
        DataConsistencyError: some are left out, and `keep_all`.
    """
    has_originals = not isinstance(originals, str)
    kept = [other for other in chosen.others if has_originals and not other.in_memory]
    left_out = [other for other in chosen.others if not has_originals or other.in_memory]
    left_out += chosen.left_out
    parts = []
    if kept:
        parts.append(f"{len(kept)} kept with the original files: {count_classes(kept)}")
    if apart := [other for other in kept if chosen.reasons.get(other.path)]:
        why = "; ".join(f"{other.path}: {chosen.reasons[other.path]}" for other in apart[:_LISTED])
        parts.append(f"{len(apart)} of these have pixels that are not in the volume ({why})")
    if left_out:
        parts.append(f"{len(left_out)} left out: {count_classes(left_out)}")
    if chosen.contradicting:
        parts.append(
            f"{len(chosen.contradicting)} left out, {_CONTRADICTING}: "
            f"{count_classes(chosen.contradicting)}; store_files keeps such files"
        )
    if not parts:
        return
    what = "outside the volume" if apart else "without pixels"
    message = f"{name_of(source)}: DICOM files {what}, {'; '.join(parts)}"
    is_complete = not left_out and not chosen.contradicting
    if keep_all and not is_complete:
        raise DataConsistencyError(message)
    warnings.warn(message, UserWarning if is_complete else LeftOutWarning, stacklevel=4)
