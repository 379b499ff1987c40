"""One original DICOM file out of a dicube file, by its SOPInstanceUID, reading little else.

Of a file over a network these are the front, the section of the originals, and the frames of the
one instance. Must not know how originals are described, or how sections are laid out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import read_originals, read_stated_meta
from dicube.core.fidelity.agreement import check_one
from dicube.core.fidelity.provenance import StoredOriginals
from dicube.dicom.elements.parser import CutOff, Unusual
from dicube.dicom.files.file_in_parts import FileInParts, Part
from dicube.dicom.files.instance_reading import instance_uid_in, read_instance
from dicube.dicom.originals.model import Bytes, Coded, Original, Originals, Recoded, Samples
from dicube.dicom.originals.restore import checked_parts
from dicube.exceptions import (
    DataConsistencyError,
    InvalidCubeFileError,
    TargetExistsError,
    reporting_memory,
)
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.url_files import written_to
from dicube.storage.urls import is_url, name_of_source
from dicube.whole_files import write_whole

_INSTANCE_UID = 0x00080018


def extract_instance(
    path: Any,
    uid: str,
    target: str | os.PathLike[str],
    overwrite: bool = False,
    *,
    compare: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    num_threads: int | None = None,
    max_memory: int | None = None,
) -> None:
    """Write the original DICOM file of one instance, to the byte; see `instance_bytes`.

    Args:
        path, uid, compare, storage_options, num_threads, max_memory: as for `instance_bytes`.
        target: the file to write, or a URL. It appears when it is complete and has its SHA-256.
        overwrite: replace an existing file.

    Raises:
        As `instance_bytes` does, and:
        TargetExistsError: (a FileExistsError too) the target exists.
        OSError: (an InvalidCubeFileError too) the system refused to write.

    Example:
        >>> uid = dicube.load_meta("head.dcbs").get_of_slice("SOPInstanceUID", 1)
        >>> dicube.extract_instance("head.dcbs", uid, "one.dcm")
    """
    if not overwrite and not is_url(target) and os.path.lexists(target):
        raise TargetExistsError(f"{os.fspath(target)} already exists", suggestion="overwrite=True")
    with (
        _parts_of(path, uid, compare, storage_options, num_threads, max_memory) as parts,
        written_to(target, overwrite=overwrite) as local,
    ):
        write_whole(os.fspath(local), parts)


def instance_bytes(
    path: Any,
    uid: str,
    *,
    compare: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    num_threads: int | None = None,
    max_memory: int | None = None,
) -> bytes:
    """Return the original DICOM file of one instance, to the byte.

    Reads and decodes only the frames of this instance. The bytes are a DICOM file with this UID,
    and have the SHA-256 that is stored.

    Args:
        path: as for `dicube.open`.
        uid: the SOPInstanceUID. If several files are the same instance (with another group 2), the
            one that the volume was read from is returned.
        compare: compare the file with the metadata and pixels of the dicube file, as restoring the
            whole series always does, and refuse a contradiction. This takes longer than all else.
        storage_options: for the file system of a URL, as in fsspec.
        num_threads: threads for decoding; None or 0 for one per processor.
        max_memory: as for `DicomCubeImage.from_file`.

    Raises:
        DataConsistencyError: the file holds no original files, none of this instance, or several
            of it that differ.
        InvalidCubeFileError: not a dicube file, or a damaged one, or the instance can't be restored
            to the byte; with `compare`, or it contradicts the rest of the dicube file.
        MetaDataError: the metadata can't be parsed.

    Example:
        >>> uid = dicube.load_meta("head.dcbs").get_of_slice("SOPInstanceUID", 1)
        >>> dicube.instance_bytes("head.dcbs", uid)[128:132]
        b'DICM'
    """
    with _parts_of(path, uid, compare, storage_options, num_threads, max_memory) as parts:
        return b"".join(parts)


@contextmanager
def _parts_of(
    path: Any,
    uid: str,
    compare: bool,
    storage_options: Mapping[str, Any] | None,
    num_threads: int | None,
    max_memory: int | None,
) -> Iterator[Iterator[Bytes]]:
    """Give the bytes of an instance in parts; the last step of the iterator checks the SHA-256."""
    name = name_of_source(path) or type(path).__name__
    with (
        DcbReader(
            path, num_threads=num_threads, max_memory=max_memory, storage_options=storage_options
        ) as reader,
        reporting_memory,
    ):
        stored = read_originals(reader, remembering=True)
        if stored is None:
            raise DataConsistencyError(f"{name} holds no original files")
        find = _find_with_frames if reader.shape[0] else _find_without_frames
        originals, file = find(reader, stored, uid, name)
        volume = volume_for(reader, originals, file, compare)
        if compare:
            index = originals.others.index(file) if file in originals.others else 0
            check_one(read_stated_meta(reader), originals, file, volume, index)
        yield checked_parts(originals, file, volume)


def _find_with_frames(
    reader: DcbReader, stored: StoredOriginals, uid: str, name: str
) -> tuple[Originals, Original]:
    """Return the original of an instance in a file with frames, and those stored with it.

    Nearly all images have their UID among the bytes stored, and no file beside them has it.
    """
    some = stored.holding(uid.encode("utf-8", "surrogateescape")) if uid else stored()
    for file in (*some.files, *some.copies):
        if uid_of_original(reader, some, file) == uid:
            return some, file
    every = stored()
    for file in (*every.files, *every.copies):
        if uid_of_original(reader, every, file) == uid:
            return every, file
    return every, _only([f for f in every.others if uid_of_original(reader, every, f) == uid], name)


def _find_without_frames(
    reader: DcbReader, stored: StoredOriginals, uid: str, name: str
) -> tuple[Originals, Original]:
    """Return the same of a file without frames, whose metadata have a slice for each original."""
    every, meta = stored(), read_stated_meta(reader)
    uids = [] if meta is None else meta.get("SOPInstanceUID", force_nonshared=True)
    files = [file for file, one in zip(every.others, uids, strict=False) if one == uid]
    file = _only(files, name)
    if uid_of_original(reader, every, file) != uid:
        raise InvalidCubeFileError(
            f"{name} contradicts itself: {file.label} has another SOPInstanceUID than its metadata"
        )
    return every, file


def _only(files: Sequence[Original], name: str) -> Original:
    """Return the only file of an instance."""
    if not files:
        raise DataConsistencyError(f"{name} holds no original file with this SOPInstanceUID")
    if len({file.digest for file in files}) > 1:
        raise DataConsistencyError(
            f"{name} holds {len(files)} original files with this SOPInstanceUID, which differ",
            suggestion="restore_files() restores them by their names",
        )
    return files[0]


def bytes_of_original(reader: DcbReader, originals: Originals, file: Original) -> Iterator[Bytes]:
    """Return the bytes of an original in parts; the end of the iterator checks the SHA-256.

    Many threads may call this at once. Raises: as `instance_bytes` does.
    """
    own = dataclasses.replace(originals)  # which gets the coded frames of this file
    return checked_parts(own, file, volume_for(reader, own, file))


def uid_of_original(reader: DcbReader, originals: Originals, file: Original) -> str:
    """Return the SOPInstanceUID of an original; '' if it has none."""
    head = file.pieces[0] if file.pieces else b""
    try:
        if isinstance(head, (bytes, memoryview)):
            return instance_uid_in(bytes(head))
    except (Unusual, CutOff):
        pass
    parts = originals.parts_with_bulk(file, volume_for(reader, originals, file))
    instance = read_instance(FileInParts(file.name, cast("list[Part]", parts or [])))
    return "" if instance is None else instance.text(_INSTANCE_UID)


def volume_for(
    reader: DcbReader, originals: Originals, file: Original, compare: bool = False
) -> NDArray[Any]:
    """Return a volume in which only the frames that a file needs are decoded.

    It takes no more memory than these. Coded frames that the file needs are added to the originals.

    Args:
        reader: of the dicube file.
        originals: those that the file is one of.
        file: the file.
        compare: decode the file's frames even if its bytes don't need them.
    """
    slices = sorted(file.all_numbers())
    if not compare and not any(isinstance(p, (Samples, Coded, Recoded)) for p in file.pieces):
        slices = []
    if not slices:
        return np.broadcast_to(np.zeros((), reader.dtype), reader.shape)
    with reader.fetched(slices):
        if originals.codec:
            coded = [b""] * reader.shape[0]
            for number in slices:
                coded[number] = reader.coded(number)
            originals.coded = coded
        if not compare and not any(isinstance(p, (Samples, Recoded)) for p in file.pieces):
            return np.broadcast_to(np.zeros((), reader.dtype), reader.shape)
        if len(slices) == 1:
            return np.broadcast_to(reader.read_frame_list(slices), reader.shape)
        volume = reader.new_array(reader.shape, reader.dtype)  # takes memory where it is written
        first, end = slices[0], slices[-1] + 1
        if end - first == len(slices):
            reader.read_frames(first, end, out=volume[first:end])
        else:
            volume[slices] = reader.read_frame_list(slices)
        return volume
