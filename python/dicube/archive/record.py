"""What a catalogue says of one series: read from the dicube file, which is the truth.

Must not know databases, or where an archive lies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dicube.core.cube_parts import read_meta, read_originals, read_space, read_status
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import get_tag, get_tag_key
from dicube.dicom.files.file_in_parts import FileInParts
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.originals.model import Original, Originals, size_of
from dicube.dicom.series.geometry import Space
from dicube.storage.dcb_reader import DcbReader

# What QIDO-RS returns of each level (PS3.18 10.6.3), and a little more; INTEGERS are integers.
PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
)
SERIES = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
    "BodyPartExamined",
    "Manufacturer",
    "PatientIdentityRemoved",
)
INSTANCE = (
    "SOPInstanceUID",
    "SOPClassUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)
INTEGERS = frozenset(
    {"SeriesNumber", "InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"}
)
_DATES = frozenset(keyword for keyword in (*PATIENT, *STUDY, *SERIES) if keyword.endswith("Date"))
_REQUEST = "RequestAttributesSequence"
_OF_REQUEST = ("ScheduledProcedureStepID", "RequestedProcedureID")


@dataclass(frozen=True)
class InstanceRecord:
    """One SOP instance in a file.

    Attributes:
        values: those of `INSTANCE`, in that order.
        name: of the original file; '' if it isn't kept.
        slice: the first slice of the volume that is one of its frames; None for a file kept whole.
        sha256: of the original file, in hexadecimal; '' if it isn't kept.
    """

    values: tuple[Any, ...]
    name: str
    slice: int | None
    sha256: str


@dataclass(frozen=True)
class SeriesRecord:
    """One file of an archive.

    Attributes:
        patient, study, series: values by keyword.
        shape: of the volume; empty if the file has no frames.
        dtype: of the stored values; '' without frames.
        spacing: of slices, rows and columns in mm; empty if the geometry isn't known.
        status: of the series.
        size: of the file in bytes.
        original_size: of the original files together; 0 if they aren't kept.
        has_originals: whether the original files come back to the byte.
        kept_whole: why files are kept whole beside the volume, by the SHA-256 of the file.
        instances: each SOP instance once.
    """

    patient: dict[str, Any]
    study: dict[str, Any]
    series: dict[str, Any]
    shape: tuple[int, ...]
    dtype: str
    spacing: tuple[float, ...]
    status: str
    size: int
    original_size: int
    has_originals: bool
    kept_whole: dict[str, str]
    instances: tuple[InstanceRecord, ...]

    @property
    def uids(self) -> tuple[str, str]:
        """StudyInstanceUID and SeriesInstanceUID; '' for one that the files lack."""
        return str(self.study["StudyInstanceUID"]), str(self.series["SeriesInstanceUID"])


class Source(NamedTuple):
    """A file that was read into an archive.

    Attributes:
        path: its absolute path, or a keyed hash of it.
        size: in bytes.
        mtime_ns: when it was changed, in ns.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """What a catalogue stores of one file.

    Attributes:
        file: its name in the archive.
        record: what was read from it.
        sources: the files it was made from; those known from before stay.
        transformed: whether the datasets were changed before they were stored; None for as before.
        original_uid: keyed hash of the SeriesInstanceUID before that.
        added: when it was stored.
        version: of dicube, which stored it; None if that isn't known.
    """

    file: str
    record: SeriesRecord
    sources: Sequence[Source] = ()
    transformed: bool | None = None
    original_uid: str | None = None
    added: str | None = None
    version: str | None = None


def record_in(reader: DcbReader) -> SeriesRecord:
    """Return the record of an open file; decodes nothing.

    Raises:
        InvalidCubeFileError: it is damaged.
        MetaDataError: its metadata can't be parsed.
    """
    stored = read_originals(reader)
    originals = None if stored is None else stored()
    meta = read_meta(reader)
    status = read_status(reader, meta).value
    return record_of(reader, meta, read_space(reader), status, originals)


def record_of(
    reader: DcbReader,
    meta: DicomMeta | None,
    space: Space | None,
    status: str,
    originals: Originals | None,
) -> SeriesRecord:
    """Return the record of a file, given its parts."""
    has_frames = reader.shape[0] > 0

    def values(keywords: Sequence[str], number: int = 0) -> dict[str, Any]:
        found = (None if meta is None else meta.get_of_slice(word, number) for word in keywords)
        return {word: _plain(word, value) for word, value in zip(keywords, found, strict=True)}

    # Files of a series may lack what names the patient.
    named = [] if meta is None else meta.get(PATIENT[0], force_nonshared=True)
    patient = next((number for number, value in enumerate(named) if value), 0)

    frame_size = int(np.prod(reader.shape[1:])) * reader.dtype.itemsize
    files = () if originals is None else originals.all_files
    others = () if originals is None else originals.others
    return SeriesRecord(
        patient=values(PATIENT, patient),
        study=values(STUDY),
        series=values(SERIES),
        shape=reader.shape if has_frames else (),
        dtype=reader.dtype.name if has_frames else "",
        spacing=() if space is None else tuple(map(float, space.spacing)),
        status=status,
        size=reader.file_size,
        original_size=sum(size_of(piece, frame_size) for file in files for piece in file.pieces),
        has_originals=originals is not None,
        kept_whole={file.digest.hex(): file.why for file in others} if has_frames else {},
        instances=tuple(_instances(meta, originals, has_frames)),
    )


def _instances(
    meta: DicomMeta | None, originals: Originals | None, has_frames: bool
) -> Iterator[InstanceRecord]:
    """Yield a record for each instance: those with slices, then those kept whole."""
    images: dict[int, Original] = {}
    if has_frames and originals is not None:
        images = {next(file.all_numbers(), -1): file for file in originals.files}
    elif originals is not None:
        images = dict(enumerate(originals.others))
    seen: set[str] = set()
    if meta is not None:
        columns = [meta.get(keyword, force_nonshared=True) for keyword in INSTANCE]
        for slices in meta.instances():
            first = slices[0]
            row = [_plain(k, column[first]) for k, column in zip(INSTANCE, columns, strict=True)]
            row[-1] = len(slices) if has_frames else row[-1]
            if row[0] and row[0] in seen:  # files with the same UID that are kept whole
                continue
            seen.add(row[0])
            file = images.get(first)
            yield _instance(row, file, first if has_frames else None)
    if not has_frames or originals is None:
        return
    for file in originals.others:
        values = header_values(file, originals, INSTANCE)
        if values and not (values[0] and values[0] in seen):
            seen.add(values[0])
            yield _instance(values, file, None)


def header_values(file: Original, originals: Originals, keywords: Iterable[str]) -> list[Any]:
    """Return values in the header of a file that is kept whole; [] if it is no DICOM file."""
    parts = originals.parts_with_bulk(file, np.zeros((0,), originals.dtype))
    instance = read_instance(FileInParts(file.name, parts or ()))  # type: ignore[arg-type]
    if instance is None:
        return []
    return [_plain(keyword, instance.value(get_tag(keyword))) for keyword in keywords]


def _instance(values: Sequence[Any], file: Original | None, first: int | None) -> InstanceRecord:
    name, digest = ("", "") if file is None else (file.name, file.digest.hex())
    name = name.encode("utf-8", "backslashreplace").decode()
    return InstanceRecord(tuple(values), name, first, digest)


def _plain(keyword: str, value: Any) -> Any:
    """Return a value as a catalogue stores it: text, an integer, or None where there is none."""
    if value is None or value == "" or value == []:
        return "" if keyword.endswith("InstanceUID") else None
    if keyword in INTEGERS:
        return _integer(value)
    if keyword == _REQUEST:
        return _requests(value)
    text = "\\".join(map(str, value)) if isinstance(value, list) else str(value)
    text = text.encode("utf-8", "replace").decode().replace("\0", "")  # which databases refuse
    return text.replace(".", "") if keyword in _DATES else text  # as ACR-NEMA wrote them


def _integer(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -(1 << 63) <= number < 1 << 63 else None


def _requests(items: Any) -> str | None:
    """Return what QIDO-RS returns of the requests, as JSON."""
    text: Callable[[Any], str] = str
    found = []
    for item in items if isinstance(items, list) else ():
        values = {word: item.get(get_tag_key(word), {}).get("Value") for word in _OF_REQUEST}
        found.append({word: text(value[0]) for word, value in values.items() if value})
    return json.dumps(found) if any(found) else None
