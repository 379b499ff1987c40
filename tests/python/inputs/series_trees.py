"""Trees of several series, and archives of them, for the tests of `dicube.archive`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from inputs.dicom_series import make_series, without_pixels, write_series
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    KeyObjectSelectionDocumentStorage,
)

from dicube import Archive

STUDY = "1.2.826.0.1.3680043.8.498.9"


class Inline:
    """An executor that runs each task at once, in this process."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        self.tasks.append(args[0])
        future: Future[Any] = Future()
        future.set_result(fn(*args))
        return future


def series_of(
    number: int, count: int = 3, patient: str = "4711", study: int = 1, **kind: Any
) -> list[Dataset]:
    """Make the slices of a series with UIDs of its own."""
    datasets = make_series(count, **kind)
    for index, dataset in enumerate(datasets):
        dataset.PatientID, dataset.StudyInstanceUID = patient, f"{STUDY}.{study}"
        dataset.SeriesInstanceUID = f"{STUDY}.{study}.{number}"
        dataset.SOPInstanceUID = f"{STUDY}.{study}.{number}.{index}"
        dataset.SeriesNumber = number
        dataset.StudyDate = f"202401{study:02}"
    return datasets


def objects_of(number: int, patient: str = "4711", study: int = 1) -> dict[str, Dataset]:
    """Make a report, a PDF and a key object selection, each a series of its own."""
    classes = {
        "report": BasicTextSRStorage,
        "pdf": EncapsulatedPDFStorage,
        "keys": KeyObjectSelectionDocumentStorage,
    }
    found = {}
    for index, (name, sop_class) in enumerate(classes.items()):
        found[name] = without_pixels(
            sop_class, index, f"{STUDY}.{study}.{number + index}", PatientID=patient
        )
        found[name].StudyInstanceUID = f"{STUDY}.{study}"
        found[name].SOPInstanceUID = f"{STUDY}.{study}.{number + index}.1"
    found["pdf"].EncapsulatedDocument = b"%PDF-1.7 a document"
    return found


def write_tree(folder: Path) -> Path:
    """Write three CT series of two studies and patients, and three objects without pixels."""
    write_series(folder / "a", series_of(1))
    write_series(folder / "b", series_of(2, 4))
    write_series(folder / "c", series_of(1, 2, patient="0815", study=2))
    others = objects_of(7)
    write_series(folder / "others", list(others.values()), list(others))
    return folder


def digests(paths: Iterable[Path | str]) -> set[str]:
    """Return the SHA-256 of each file, and of those in each folder."""
    found = set()
    for path in map(Path, paths):
        files = (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        found |= {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return found


def add(archive: Archive, sources: Any, **options: Any) -> Any:
    """Add in this process."""
    return archive.add(sources, executor=Inline(), **options)


def files_in(archive: Path) -> dict[str, bytes]:
    """Return the content of each file of an archive besides catalogue and lock."""
    return {
        path.relative_to(archive).as_posix(): path.read_bytes()
        for path in archive.rglob("*")
        if path.is_file() and not path.name.startswith(("catalogue.sqlite", ".dicube-lock"))
    }
