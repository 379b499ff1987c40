"""Lists the series in a tree of folders, or in an archive, by the headers of their files.

Goes on after files and series that can't be read, and reports them. Must not know pixels, or how a
listing is shown.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dicube.dicom.dicom_io import check_series
from dicube.dicom.dicom_status import Finding
from dicube.dicom.dicom_tags import get_tag
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.series import class_name
from dicube.dicom.files.sources import (
    DatasetInMemory,
    File,
    Path,
    files_of,
    is_dicube,
)
from dicube.dicom.identifiers import identifiers
from dicube.dicom.series.check import check_dicom
from dicube.exceptions import DicomCubeError, MetaDataError
from dicube.threads import Progress

_INSTANCE_UID, _SERIES_UID = 0x00080018, 0x0020000E
_MODALITY, _DESCRIPTION = 0x00080060, 0x0008103E
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_OF_PATIENTS = "non_uniform_patient"  # the finding whose message has names


@dataclass
class SeriesFiles:
    """The files with one SeriesInstanceUID. Text values are those of the first file.

    Attributes:
        uid: SeriesInstanceUID; '' of files that have none.
        modality, description: Modality and SeriesDescription; '' if absent.
        patient_name, patient_id: PatientName and PatientID; '' if absent.
        tags: the values that `identifiers` knows, by keyword.
        files: the files, in natural order of their paths.
        size: of all files, in bytes.
        slices: number of frames; copies of an instance count once.
        shapes: rows and columns of the images, usually one pair.
        classes: number of files by name of their SOP class.
    """

    uid: str
    modality: str
    description: str
    patient_name: str
    patient_id: str
    files: list[File] = field(default_factory=list)
    size: int = 0
    slices: int = 0
    shapes: set[tuple[int, int]] = field(default_factory=set)
    classes: Counter[str] = field(default_factory=Counter)
    tags: dict[str, Any] = field(default_factory=dict)


class Unreadable(NamedTuple):
    """A file that looks like DICOM and can't be read, or a folder that can't be listed.

    Attributes:
        path: of the file or folder.
        reason: on one line.
    """

    path: str
    reason: str


@dataclass
class DicomTree:
    """What a tree contains.

    Attributes:
        series: in the order of their first files.
        unreadable: DICOM files that can't be read, so that their series is not known, and folders.
        dicube_files: paths of dicube files.
        other_files: number of files that are neither, and of DICOMDIRs.
    """

    series: list[SeriesFiles] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    dicube_files: list[str] = field(default_factory=list)
    other_files: int = 0


def find_series(
    source: Path, *, leave_out: Path | None = None, progress: Progress | None = None
) -> DicomTree:
    """Read the header of each file in a tree, and group the files by series.

    Args:
        source: a folder, a zip archive or a DICOM file.
        leave_out: a folder whose files are not looked at if it is in the tree.
        progress: called as `progress(done, total)`, in files.

    Raises:
        CubeFileNotFoundError: the source does not exist.
        CubeFileAccessError: the source can't be read.
        DataConsistencyError, MetaDataError: the archive, or the DICOMDIR, is damaged.
    """
    tree = DicomTree()

    def keep(path: str, error: DicomCubeError) -> None:
        tree.unreadable.append(Unreadable(path, " ".join(error.message.split())))

    files = [file for file in files_of(source, keep) if not isinstance(file, DatasetInMemory)]
    if leave_out is not None and _is_below(leave_out, source):
        files = [file for file in files if not _is_below(file.name, leave_out)]
    series: dict[str, SeriesFiles] = {}
    instances: set[str] = set()
    for done, file in enumerate(files, 1):
        try:
            instance = read_instance(file)
            if instance is not None and not instance.is_directory:
                _add(instance, file, series, instances)
            elif instance is None and is_dicube(file):
                tree.dicube_files.append(file.name)
            else:
                tree.other_files += 1
        except DicomCubeError as error:
            keep(file.name, error)
        if progress is not None:
            progress(done, len(files))
    tree.series = list(series.values())
    return tree


def problems_of(series: SeriesFiles, with_patients: bool = False) -> list[str]:
    """Return what is wrong with the images of a series, one line each; pixels are not read.

    Args:
        series: the series; without images, nothing is wrong.
        with_patients: whether lines may have names and IDs of patients.
    """
    if not series.shapes:
        return []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            meta = check_series(series.files)
        except DicomCubeError as error:
            return [f"can't be read: {' '.join(error.message.split())}"]
    found = (text_of_finding(finding, with_patients) for finding in check_dicom(meta))
    return [*(str(warning.message) for warning in caught), *found]


def text_of_finding(finding: Finding, with_patients: bool) -> str:
    """Return a finding on one line, without the names and IDs of patients unless wanted."""
    is_shown = with_patients or finding.kind != _OF_PATIENTS
    return str(finding) if is_shown else f"{finding.kind}: slices of several patients"


def _add(
    instance: Instance, file: File, series: dict[str, SeriesFiles], instances: set[str]
) -> None:
    """Add a file to its series."""
    uid = instance.text(_SERIES_UID)
    if uid not in series:
        text = instance.text
        series[uid] = SeriesFiles(
            uid, text(_MODALITY), text(_DESCRIPTION), text(_PATIENT_NAME), text(_PATIENT_ID)
        )

        def value_of(keyword: str) -> Any:
            with suppress(MetaDataError):  # of a value that can't be read
                return instance.value(get_tag(keyword))

        series[uid].tags = identifiers(value_of)
    one = series[uid]
    one.files.append(file)
    one.size += instance.size
    one.classes[class_name(instance)] += 1
    instance_uid = instance.text(_INSTANCE_UID)
    if instance.pixels is not None:
        one.shapes.add((instance.number(_ROWS), instance.number(_COLUMNS)))
        if not instance_uid or instance_uid not in instances:
            with suppress(MetaDataError):  # of a NumberOfFrames that can't be right
                one.slices += instance.frame_count
    instances.add(instance_uid)


def _is_below(path: Path, folder: Path) -> bool:
    return os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))
