"""Whole DICOM files in dicube files: series without images, and single files of any series.

A series without images (reports, raw data, plans) becomes a dicube file without frames. Must not
know how originals are described, or how sections are laid out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from dicube.core.cube_parts import (
    ORIGINALS,
    ORIGINALS_BULK,
    names_in_file,
    read_originals,
    read_parts,
    write_meta,
)
from dicube.core.fidelity.agreement import check_agreement
from dicube.core.fidelity.provenance import pack_originals
from dicube.dicom.dicom_io import read_files
from dicube.dicom.files.sources import Source
from dicube.dicom.originals.model import Original
from dicube.dicom.originals.restore import write_originals
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError, reporting_memory
from dicube.storage.bulk import BulkWriter
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import ARCHIVE, SPEED, kind_of_path
from dicube.storage.url_files import written_to
from dicube.storage.urls import name_of_source
from dicube.threads import Progress

Path_ = str | os.PathLike[str]


def store_files(
    source: Source,
    path: Path_,
    series_uid: str | None = None,
    progress: Progress | None = None,
    *,
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Write the DICOM files of one series, whole, to a dicube file without frames.

    For series without images, such as reports, raw data or plans, and for those whose images can't
    form a volume, such as videos. `restore_files` restores them to the byte. Images are far smaller
    if they are stored by `DicomCubeImage.to_file`.

    Args:
        source: as for `DicomCubeImage.from_dicom_folder`.
        path: ends in .dcba or .dcbs; an existing file is replaced once the new one is complete. Or
            a URL, as for `DicomCubeImage.to_file`.
        series_uid: the series to store, if there are several.
        progress: called as `progress(done, total)`, in files read.
        reasons: why files are not images of a volume, by their paths: `reasons` of the error that
            `from_dicom_folder` raised. The dicube file holds them.

    Returns:
        The number of files stored.

    Raises:
        DataConsistencyError: another extension; several series and none chosen; or a dataset in
            memory, which is no file.
        MetaDataError: there are no DICOM files, or a damaged one.
        FileNotFoundError: (an InvalidCubeFileError too) the source does not exist.
        OSError: (an InvalidCubeFileError too) the system refused to read or write.

    Warns:
        UserWarning: files of other series, without pixels, are left out.

    Example:
        >>> dicube.store_files("series", "whole.dcba")
        5
    """
    name = name_of_source(path)
    kind = kind_of_path(name)
    if kind not in (ARCHIVE, SPEED):
        raise DataConsistencyError(
            f"{name}: files without frames are stored in {ARCHIVE.extension} or {SPEED.extension}"
        )
    meta, originals = read_files(source, series_uid, progress, reasons)
    nothing = np.zeros(originals.shape, originals.dtype)
    with (
        written_to(path) as local,
        DcbWriter(local, originals.shape, originals.dtype, codec=kind.codec.name) as writer,
    ):
        write_meta(writer, meta)
        store = BulkWriter(writer, ORIGINALS_BULK).write
        writer.write_section(ORIGINALS, pack_originals(originals, nothing, store))
    return len(originals.others)


def stored_names(path: Path_) -> tuple[str, ...]:
    """Return the names of the DICOM files that a dicube file can restore to the byte.

    If the file has frames, these are the files that its volume was read from, and those kept with
    them.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
        InvalidCubeFileError: not a dicube file, or a damaged one.

    Example:
        >>> dicube.stored_names("head.dcbs")[:2]
        ('I1', 'I2')
    """
    with DcbReader(path) as reader:
        return names_in_file(reader)


def restore_files(
    path: Path_,
    folder: Path_,
    names: Iterable[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    *,
    num_threads: int | None = None,
    max_memory: int | None = None,
) -> list[str]:
    """Restore DICOM files from a dicube file, to the byte, under their own names.

    If a chosen file has frames, all frames of the dicube file are read and decoded, because the
    file is compared with the metadata and the whole volume. `extract_instance` reads the frames of
    one instance alone.

    Args:
        path: the dicube file, with or without frames.
        folder: created if it is missing.
        names: the files, by their names in `stored_names`; None for all.
        overwrite: allow a folder that is not empty.
        progress: called as `progress(done, total)`, in files.
        num_threads: threads for decoding; None or 0 for one per processor.
        max_memory: as for `DicomCubeImage.from_file`.

    Returns:
        The paths written.

    Raises:
        DataConsistencyError: the file holds no original files, or none of a name.
        InvalidCubeFileError: not a dicube file, or a damaged one, or one whose original files
            contradict the rest of it.
        MetaDataError: the metadata can't be parsed.
        TargetExistsError: (a FileExistsError too) the folder is not empty.
        OSError: (an InvalidCubeFileError too) the system refused to read or write.

    Example:
        >>> dicube.restore_files("head.dcbs", "restored", ["I2"])
        ['restored/I2']
    """
    with DcbReader(path, num_threads=num_threads, max_memory=max_memory) as reader:
        if read_originals(reader) is None:
            raise DataConsistencyError(f"{os.fspath(path)} holds no original files")
        parts = read_parts(reader)
        assert parts.origin.provenance is not None
        originals = every = parts.origin.provenance.originals.remembering()
        wanted = None if names is None else set(names)
        if missing := sorted((wanted or set()) - {file.name for file in originals.all_files}):
            raise DataConsistencyError(f"{os.fspath(path)} holds no original file {missing[0]}")

        def chosen(files: tuple[Original, ...]) -> tuple[Original, ...]:
            return tuple(f for f in files if wanted is None or f.name in wanted)

        originals = dataclasses.replace(
            originals,
            files=chosen(originals.files),
            copies=chosen(originals.copies),
            others=chosen(originals.others),
        )
        has_frames = bool(originals.files or originals.copies)
        if has_frames and originals.codec and not every.coded:
            every.coded = originals.coded = reader.coded_frames()
        volume = reader.read_frames() if has_frames else np.zeros((0,), reader.dtype)
        check_agreement(parts, every, volume if has_frames else None, num_threads, wanted)
        with reporting_memory:
            return write_originals(folder, originals, volume, overwrite, progress)


def has_frames(path: Path_) -> bool:
    """Return whether a dicube file has frames; if not, it stores whole files.

    Raises:
        InvalidCubeFileError: not a dicube file, or a damaged one.
    """
    with DcbReader(path) as reader:
        return reader.shape[0] > 0


def expect_frames(reader: DcbReader) -> None:
    """Raise InvalidCubeFileError if a file has no frames; the message says what it has."""
    if reader.shape[0]:
        return
    count = len(names_in_file(reader))
    if not count:
        raise InvalidCubeFileError("the file holds no frames")
    raise InvalidCubeFileError(
        f"the file holds no frames, but {count} original file{'s' if count > 1 else ''}",
        suggestion="restore them with dicube.restore_files() or `dicube convert FILE FOLDER/`",
    )
