"""The header pass: which files there are, and which series each belongs to. Reads no pixels.

Must not know catalogues, or how series are stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from dicube.archive.patients import Patient, may_be_one
from dicube.core.cube_parts import read_meta
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.files.archives import ZipMember, members_of
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.sources import (
    LEADS_NOWHERE,
    DatasetInMemory,
    File,
    FileOnDisk,
    files_of,
    is_archive,
    is_dicube,
)
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    OutOfMemoryError,
)
from dicube.storage.dcb_reader import DcbReader

Path = str | os.PathLike[str]

FILES_OF_TASK = 64

# StudyInstanceUID, SeriesInstanceUID, PatientID, PatientName
_IDS = 0x0020000D, 0x0020000E, 0x00100020, 0x00100010


class SourceFile(NamedTuple):
    """A file among the sources, as it was listed.

    Attributes:
        file: the file.
        size: in bytes.
        mtime_ns: when it, or the archive that it is in, was changed.
    """

    file: File
    size: int
    mtime_ns: int

    @property
    def path(self) -> str:
        """Its absolute path."""
        return self.file.name


class LeftOut(NamedTuple):
    """A file or folder that is not stored.

    Attributes:
        path: of it.
        why: the reason.
        is_damaged: whether it can't be read; other files are no instances.
    """

    path: str
    why: str
    is_damaged: bool = False


class Header(NamedTuple):
    """What a file belongs to.

    Attributes:
        study, series: StudyInstanceUID and SeriesInstanceUID; '' for one that it lacks.
        patient: of it.
        is_cube: whether it is a dicube file.
        why: why it can't be stored; '' if it can.
        is_damaged: whether that is because it can't be read.
    """

    study: str = ""
    series: str = ""
    patient: Patient = Patient()
    is_cube: bool = False
    why: str = ""
    is_damaged: bool = False


@dataclass
class Group:
    """The files of one series of one patient among the sources.

    Attributes:
        study, series: its UIDs.
        patients: what its files say of the patient.
        files: DICOM files, in the order of the sources.
        cubes: dicube files.
        others: how many other patients' files have the same UIDs.
    """

    study: str
    series: str
    patients: set[Patient] = field(default_factory=set)
    files: list[SourceFile] = field(default_factory=list)
    cubes: list[SourceFile] = field(default_factory=list)
    others: int = 0

    @property
    def all_files(self) -> list[SourceFile]:
        """All files."""
        return self.files + self.cubes

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(source.size for source in self.all_files)


def list_sources(
    sources: Path | Iterable[Path], archive: str, left_out: list[LeftOut]
) -> Iterator[SourceFile]:
    """Yield each file below the sources once; zip archives in folders are opened.

    Args:
        sources: folders, zip archives, DICOMDIRs, files, or several of these.
        archive: the folder of the archive, whose own files are no sources.
        left_out: gets folders and files that can't be read.

    Raises:
        CubeFileNotFoundError: a source does not exist.
        DataConsistencyError: a source is no path.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    several: list[str] = []
    for source in given:
        if not isinstance(source, (str, os.PathLike)):
            raise DataConsistencyError(f"expected paths, found a {type(source).__name__}")
        if not os.path.exists(source):
            raise CubeFileNotFoundError(f"{os.fspath(source)} does not exist")
        several.append(os.path.abspath(source))  # workers may have another current folder
    own = os.path.join(archive, "")
    seen: set[str] = set()
    for source in several:
        for file in _files_at(source, left_out):
            path = file.name
            if path in seen or path.startswith(own):
                continue
            seen.add(path)
            try:
                state = os.stat(file.container)
            except OSError as error:
                left_out.append(LeftOut(path, f"can't be read: {error.strerror}", True))
                continue
            size = file.info.file_size if isinstance(file, ZipMember) else state.st_size
            yield SourceFile(file, size, state.st_mtime_ns)


def groups_of(found: Iterable[tuple[SourceFile, Header]]) -> list[Group]:
    """Group files by series and patient; the files of a group are in their order."""
    series: dict[tuple[str, str], list[tuple[SourceFile, Header]]] = {}
    for source, header in found:
        series.setdefault((header.study, header.series), []).append((source, header))
    groups: list[Group] = []
    for (study, uid), members in series.items():
        of_patient = _groups_of_patients(study, uid, {header.patient for _, header in members})
        in_order: dict[int, Group] = {}
        for source, header in members:
            group = of_patient[header.patient]
            (group.cubes if header.is_cube else group.files).append(source)
            in_order[id(group)] = group
        groups += in_order.values()
    return groups


def _groups_of_patients(study: str, uid: str, patients: set[Patient]) -> dict[Patient, Group]:
    """Return the group of each patient; who can't belong to one alone has a group of its own."""
    found: dict[Patient, Group] = {}
    groups: list[Group] = []
    for patient in sorted(patients, key=lambda one: (not one.id, not one.name, one)):
        fitting = [one for one in groups if may_be_one([patient], one.patients, by_uid=bool(uid))]
        if len(fitting) != 1:
            fitting = [Group(study, uid)]
            groups += fitting
        fitting[0].patients.add(patient)
        found[patient] = fitting[0]
    for group in groups:
        group.others = len(groups) - 1
    return found


def _files_at(source: str, left_out: list[LeftOut]) -> Iterator[File]:
    def refuse(path: str, error: DicomCubeError) -> None:
        left_out.append(LeftOut(path, f"{type(error).__name__}: {error.message}", True))

    passed_over: dict[str, str] = {}
    try:
        for file in files_of(source, refuse, passed_over):
            if isinstance(file, DatasetInMemory):
                continue
            if isinstance(file, FileOnDisk) and _is_zip(file.name):
                try:
                    yield from members_of(file.name)
                except DicomCubeError as error:
                    refuse(file.name, error)
            else:
                yield file
    except DicomCubeError as error:
        refuse(source, error)
    left_out += (
        LeftOut(path, why, is_damaged=why == LEADS_NOWHERE) for path, why in passed_over.items()
    )


def _is_zip(path: str) -> bool:
    try:
        return path.lower().endswith(".zip") and is_archive(path)
    except DicomCubeError:
        return False


def chunks(files: Iterable[SourceFile]) -> Iterator[tuple[SourceFile, ...]]:
    """Yield files in tuples of what one task reads."""
    rest = iter(files)
    while chunk := tuple(islice(rest, FILES_OF_TASK)):
        yield chunk


def read_headers(files: Sequence[File]) -> list[Header]:
    """Return what each file belongs to; a task."""
    return list(map(_header, files))


def _header(file: File) -> Header:
    try:
        instance = read_instance(file)
        if instance is None:
            return _header_of_cube(file) if is_dicube(file) else Header(why="not a DICOM file")
        if instance.is_directory:
            return Header(why="a DICOMDIR, which only lists files")
        study, series, *patient = map(instance.text, _IDS)
        return Header(study, series, Patient(*patient))
    except DicomCubeError as error:
        return Header(why=f"{type(error).__name__}: {error.message}", is_damaged=True)
    except MemoryError:
        return Header(why=f"{OutOfMemoryError.__name__}: not enough memory", is_damaged=True)
    except Exception as error:  # a fault of ours must not end the run
        return Header(why=f"unexpected {type(error).__name__}", is_damaged=True)


def _header_of_cube(file: File) -> Header:
    if not isinstance(file, FileOnDisk):
        return Header(why="a dicube file in a zip archive: unpack the archive")
    with DcbReader(file.name, num_threads=1) as reader:
        meta = read_meta(reader)
    if meta is None:
        return Header(why="a dicube file without DICOM metadata")
    study, series = (str(meta.get_of_slice(tag, 0) or "") for tag in _IDS[:2])
    patients = patients_in(meta)
    if len({patient.id for patient in patients} - {""}) > 1:
        why = "a dicube file of several patients: restore its DICOM files, and add those"
        return Header(why=why, is_damaged=True)
    patient = max(patients, key=lambda one: (bool(one.id), one))
    return Header(study, series, patient, is_cube=True)


def patients_in(meta: DicomMeta) -> set[Patient]:
    """Return what the slices, or files, of a dicube file say of their patients."""
    ids, names = (meta.get(tag, force_nonshared=True) for tag in _IDS[2:])
    return {Patient(str(i or ""), str(n or "")) for i, n in zip(ids, names, strict=True)}
