"""Checks the files of an archive: each by itself, and against the catalogue.

Must not know executors, or how results are shown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from dicube.archive.places import Place
from dicube.archive.record import record_in
from dicube.exceptions import DicomCubeError
from dicube.storage.dcb_reader import DcbReader
from dicube.strict_json import dump_json
from dicube.verify.report import Outcome
from dicube.verify.verification import verify_file

Instances = frozenset[tuple[str, str]]
"""SOPInstanceUID and SHA-256 of each instance in a file."""


@dataclass(frozen=True)
class CheckJob:
    """A file to check; picklable.

    Attributes:
        place: where the archive lies.
        name: of the file.
        expected: what the catalogue has of it; None if it has nothing.
        has_originals: whether the catalogue says that it keeps its original files.
    """

    place: Place
    name: str
    expected: Instances | None = None
    has_originals: bool = False


@dataclass(frozen=True)
class FileCheck:
    """The result for one file; true if nothing is wrong with it.

    Attributes:
        name: of the file in the archive.
        problems: one line each.
        unchecked: the names of checks that could not be made.
    """

    name: str
    problems: Sequence[str] = ()
    unchecked: Sequence[str] = ()

    def __bool__(self) -> bool:
        return not self.problems

    def line(self) -> str:
        """Return the result as one line of JSON."""
        return dump_json(
            {
                "file": self.name,
                "ok": bool(self),
                "problems": list(self.problems),
                "unchecked": list(self.unchecked),
            }
        )


def check_stored(job: CheckJob) -> FileCheck:
    """Check a file of an archive; a task. Raises nothing: what is wrong is in the result."""
    try:
        if job.name.endswith(".dcm"):
            return FileCheck(job.name, _problems_aside(job))
        with job.place.local_file(job.name) as path:
            return _checked(job, path)
    except DicomCubeError as error:
        return FileCheck(job.name, [f"can't be read: {error.message}"])
    except Exception as error:  # a fault of ours must not end the run
        return FileCheck(job.name, [f"can't be checked: unexpected {type(error).__name__}"])


def _checked(job: CheckJob, path: str) -> FileCheck:
    report = verify_file(path, num_threads=1, require_originals=job.has_originals)
    problems = [
        f"{check.name}: {problem}"
        for check in report.checks
        if check.outcome is Outcome.FAILS
        for problem in check.problems or (check.message,)
    ]
    if not problems:
        with DcbReader(path, num_threads=1) as reader:
            record = record_in(reader)
        found = frozenset((str(one.values[0]), one.sha256) for one in record.instances)
        if job.expected is None:
            problems.append("the catalogue doesn't have it; `dicube archive index` adds it")
        elif lost := len(job.expected - found):
            problems.append(
                f"the catalogue has {lost} instances that the file lacks, and lacks "
                f"{len(found - job.expected)} that it has"
            )
        elif late := len(found - job.expected):
            problems.append(
                f"the catalogue lacks {late} instances that the file has, as after an addition "
                "that was killed; add their sources again, or run `dicube archive index`"
            )
    return FileCheck(job.name, problems, [check.name for check in report.unchecked])


def _problems_aside(job: CheckJob) -> list[str]:
    """Return what is wrong with a file kept aside, whose name is its SHA-256."""
    with job.place.open(job.name) as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    is_named = os.path.basename(job.name) == f"{digest}.dcm"
    return [] if is_named else ["its SHA-256 is not that of its name"]
