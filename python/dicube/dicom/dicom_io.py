"""Reads one DICOM series into metadata and a volume.

Must not know dicube files or spaces.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.export.pixel_attributes import BYTES_AS_OW
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.series import choose_series, find_instances, warn_of_remarks
from dicube.dicom.files.sources import Source
from dicube.dicom.files.volume import check_decoders, common_layout, read_volume
from dicube.dicom.metadata.first_slice import first_slice
from dicube.dicom.originals.keeper import OriginalsKeeper
from dicube.dicom.originals.model import Originals
from dicube.dicom.series.stored_bits import UNUSED_BITS, has_unused_bits
from dicube.pixel_header import PixelDataHeader
from dicube.threads import Progress, thread_count

_log = logging.getLogger(__name__)


def read_dicom_dir(
    source: Source,
    sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
    series_uid: str | None = None,
    progress: Progress | None = None,
) -> DicomMeta:
    """Read the metadata of a DICOM series; pixels are not read.

    Args:
        source: a folder (with its subfolders), a DICOM file, a zip archive of DICOM files, a
            pydicom dataset, or a list of these. Files that are not DICOM, hidden files and
            DICOMDIRs are skipped and logged.
        sort_method: the order of the slices.
        series_uid: the series to read; needed if there are several.
        progress: called as `progress(done, total)`, in files.

    Raises:
        CubeFileNotFoundError: the path does not exist.
        MetaDataError: there are no DICOM images, or a file is damaged.
        DataConsistencyError: there are several series and `series_uid` is None; lists them.

    Example:
        >>> meta = dicube.read_dicom_dir("series")
        >>> meta.slice_count, meta.get("Modality")
        (5, 'CT')
    """
    meta, _, _ = _read_series(source, sort_method, series_uid, progress, passes=1)
    return meta


def check_series(source: Source) -> DicomMeta:
    """Read the metadata of a series, and make all checks of its images that need no pixels.

    Args:
        source: the files of one series.

    Raises:
        MetaDataError, DataConsistencyError: see `read_series`.
        CodecError: the package that decodes the pixels is missing.
    """
    meta, instances, _ = _read_series(
        source, SortMethod.INSTANCE_NUMBER_ASC, None, progress=None, passes=2
    )
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
) -> Series:
    """Read a DICOM series: metadata, stored pixel values, and what restores its files.

    Args:
        source, sort_method, series_uid: see `read_dicom_dir`.
        num_threads: number of threads that read pixels; None or 0 for one per available processor.
        progress: called as `progress(done, total)`; each file counts twice.

    Raises:
        CubeFileNotFoundError, MetaDataError: see `read_dicom_dir`.
        DataConsistencyError: there are several series and `series_uid` is None, images differ in
            shape or sample type, or pixels are missing or truncated; names the file.
        CodecError: compressed pixels can't be decoded; names the missing package.
    """
    meta, instances, files = _read_series(source, sort_method, series_uid, progress, passes=2)
    slices = meta.instances()
    frames = 0

    def on_frame() -> None:
        nonlocal frames
        frames += 1
        if progress is not None:
            progress(files + files * frames // len(instances), 2 * files)

    threads = thread_count(num_threads)
    keeper = OriginalsKeeper(source, instances, slices)
    volume, interpretations = read_volume(instances, slices, threads, on_frame, keeper.keep)
    if len(interpretations) == 1:
        meta.set_shared_item(CommonTags.PhotometricInterpretation, interpretations.pop())
    header = pixel_header_of(meta, volume.dtype.name)
    if has_unused_bits(volume, meta):
        header.Extras[UNUSED_BITS] = True
    if volume.dtype.itemsize == 1 and {i.pixels.vr for i in instances if i.pixels} == {"OW"}:
        header.Extras[BYTES_AS_OW] = True
    return Series(meta, volume, header, keeper.originals(volume))


def pixel_header_of(meta: DicomMeta, dtype: str) -> PixelDataHeader:
    """Return the pixel header of a series, with rescale and first window of its first slice."""
    return PixelDataHeader(
        OriginalPixelDtype=dtype, PixelDtype=dtype, **first_slice(meta)._asdict()
    )


def _read_series(
    source: Source,
    sort_method: SortMethod,
    series_uid: str | None,
    progress: Progress | None,
    passes: int,
) -> tuple[DicomMeta, list[Instance], int]:
    """Return the metadata of a series, its files in slice order, and the number of all files."""
    found = find_instances(source, progress, passes)
    if found.ignored:
        _log.info("not DICOM images, ignored: %s", ", ".join(found.ignored))
    instances: Sequence[Instance] = choose_series(found.instances, series_uid)
    warn_of_remarks(instances, stacklevel=4)
    if passes > 1:
        common_layout(instances)
    _warn_of_excess(instances)
    meta = DicomMeta.from_items(
        [instance.item for instance in instances],
        [instance.file_meta for instance in instances],
        [instance.path for instance in instances],
        [instance.frame_count for instance in instances],
    )
    meta.sort_files(sort_method)
    files = len(found.instances) + len(found.ignored)
    order = [meta.frames[slices[0]].instance for slices in meta.instances()]
    return meta, [instances[i] for i in order], files


def _warn_of_excess(instances: Sequence[Instance]) -> None:
    """Warn of files with more pixels than NumberOfFrames says."""
    more = [instance for instance in instances if instance.frame_count > instance.stated_frames]
    if more:
        first = more[0]
        warnings.warn(
            f"{len(more)} of {len(instances)} files have more frames than NumberOfFrames says; all "
            f"are read: {first.path} has {first.frame_count}, not {first.stated_frames}",
            stacklevel=4,
        )
    beyond = [instance for instance in instances if instance.bytes_beyond_frames]
    if beyond:
        first = beyond[0]
        warnings.warn(
            f"{len(beyond)} of {len(instances)} files have bytes after their frames, which are not "
            f"read: {first.path} has {first.bytes_beyond_frames}",
            stacklevel=4,
        )
