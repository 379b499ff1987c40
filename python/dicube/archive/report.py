"""What an addition has done: a result for each series, as objects and as lines of JSON.

Reports hold the paths of sources, which may name patients. Must not know how series are stored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from dicube.archive.scan import LeftOut
from dicube.exceptions import CubeFileAccessError, TargetExistsError
from dicube.strict_json import dump_json

FAILED = "failed"


@dataclass(frozen=True)
class SeriesResult:
    """What became of one series.

    Attributes:
        outcome: 'added'; 'present': all was stored before; 'merged' with what was; or 'failed'.
            After a dry run, what would be done: 'new' or 'present'.
        study_uid, series_uid: of the stored file; of the sources if there is none.
        sources: the paths of its files; keyed hashes of them if it was de-identified.
        file: its name in the archive; '' after a failure, and for a 'new' one.
        error, text: class and message of the error; '' without one.
        instances: how many the file holds.
        source_size: bytes of the sources.
        size: bytes of the file.
        seconds: that storing took.
        kept_whole: why files are kept whole beside the volume, by their SHA-256.
        aside: where a source is kept that has the UID of another instance and other bytes.
        without_frames: why the images are kept whole, so that they can be restored and not shown;
            '' if they aren't.
        warnings: further remarks.
    """

    outcome: str
    study_uid: str
    series_uid: str
    sources: Sequence[str] = ()
    file: str = ""
    error: str = ""
    text: str = ""
    instances: int = 0
    source_size: int = 0
    size: int = 0
    seconds: float = 0.0
    kept_whole: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    without_frames: str = ""
    warnings: Sequence[str] = ()

    def line(self) -> str:
        """Return the result as one line of JSON, with the UIDs by their keywords."""
        content: dict[str, Any] = asdict(self)
        for name, keyword in (
            ("study_uid", "StudyInstanceUID"),
            ("series_uid", "SeriesInstanceUID"),
        ):
            content[keyword] = content.pop(name)
        return dump_json(content)


@dataclass
class Report:
    """What an addition has done; true if no series failed and every DICOM file could be read.

    Attributes:
        series: a result for each series.
        left_out: files that belong to no series, and why they are not stored.
        stopped: whether it ended early, at the first failure.
    """

    series: list[SeriesResult] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    stopped: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """The number of series by outcome."""
        return dict(Counter(result.outcome for result in self.series))

    @property
    def failed(self) -> list[SeriesResult]:
        """The series that failed."""
        return [result for result in self.series if result.outcome == FAILED]

    @property
    def damaged(self) -> list[LeftOut]:
        """The files that look like DICOM and can't be read."""
        return [one for one in self.left_out if one.is_damaged]

    @property
    def ok(self) -> bool:
        """Whether no series failed, and every DICOM file could be read."""
        return not (self.failed or self.damaged or self.stopped)

    def __bool__(self) -> bool:
        return self.ok


class ReportFile:
    """A file with a line of JSON for each series, and for each file that belongs to none.

    Only this user may read it. Lines are written as results become known.

    Args:
        path: of the file. An earlier report is replaced; None for none.

    Raises:
        TargetExistsError: (a FileExistsError too) another file has the path.
        CubeFileAccessError: the file can't be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        if path is None:
            return

        try:
            if os.path.isfile(path):
                with open(path, "rb") as earlier:
                    if earlier.read(2) not in (b"", b'{"'):
                        raise TargetExistsError(
                            f"{os.fspath(path)} is no report, and is not replaced by one"
                        )
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            self._file = open(  # noqa: SIM115 (closed by __exit__)
                descriptor, "w", encoding="utf-8", errors="backslashreplace"
            )
            if os.path.isfile(path):
                os.chmod(path, 0o600)
        except TargetExistsError:
            raise
        except OSError as error:
            raise self._refused(error) from error

    def write(self, line: str) -> None:
        """Add a line."""
        if self._file is not None:
            try:
                print(line, file=self._file, flush=True)
            except OSError as error:
                raise self._refused(error) from error

    def __enter__(self) -> ReportFile:
        return self

    def __exit__(self, kind: object, *_exception: object) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                if kind is None:
                    raise self._refused(error) from error

    def _refused(self, error: OSError) -> CubeFileAccessError:
        return CubeFileAccessError(f"{os.fspath(self._path or '')}: cannot write: {error.strerror}")


def line_of_left_out(one: LeftOut) -> str:
    """Return a file that belongs to no series as one line of JSON."""
    return dump_json({"outcome": "left out", "sources": [one.path], "text": one.why})
