"""Reads what a catalogue says of files that exist. Must not know databases or executors."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicube.archive.places import Place
from dicube.archive.record import SeriesRecord, record_in
from dicube.exceptions import DicomCubeError
from dicube.storage.dcb_reader import DcbReader

FILES_OF_TASK = 16


@dataclass
class IndexReport:
    """What an index was made from; true if all files could be read.

    Attributes:
        files: how many were read.
        failed: why others could not be read, by their names.
    """

    files: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.failed


def read_records(job: tuple[Place, tuple[str, ...]]) -> list[SeriesRecord | str]:
    """Return the record of each file of an archive, or why it can't be read; a task."""
    place, names = job
    return [_record(place, name) for name in names]


def _record(place: Place, name: str) -> SeriesRecord | str:
    try:
        options = dict(place.storage_options) or None
        with DcbReader(place.locator(name), num_threads=1, storage_options=options) as reader:
            return record_in(reader)
    except DicomCubeError as error:
        return error.message
    except Exception as error:  # a fault of ours must not end the run
        return f"unexpected {type(error).__name__}"
