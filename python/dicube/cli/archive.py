"""`dicube archive`: carries out its verbs, and shows what they find.

Must not know how an archive works.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dicube.cli.one_line import one_line
from dicube.cli.progress_bar import ProgressBar
from dicube.exceptions import CubeFileAccessError
from dicube.storage.urls import name_of_source
from dicube.strict_json import dump_json

if TYPE_CHECKING:
    from dicube.archive import Archive, SeriesResult

_FAILED, _PARTLY_DONE = 1, 3  # exit statuses
_COLUMNS = (
    "PatientID",
    "StudyDate",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "shape",
    "NumberOfSeriesRelatedInstances",
    "file",
)
_HEADINGS = ("patient", "date", "modality", "number", "description", "shape", "instances", "file")
_LEVELS = ("patient", "study", "series", "instance")


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube archive`; return the exit status."""
    from dicube.archive import Archive  # which may be missing a package

    archive = Archive(arguments.archive, arguments.catalogue)
    return _VERBS[arguments.verb](archive, arguments)


def _add(archive: Archive, arguments: argparse.Namespace) -> int:
    with ExitStack() as context:
        executor, in_flight = None, None
        if arguments.dask is not None:
            from dicube.archive.dask_cluster import dask_executor

            executor, threads = context.enter_context(dask_executor(arguments.dask))
            in_flight = 2 * threads
        bar = _AddBar(f"adding to {name_of_source(arguments.archive)}")
        context.enter_context(bar)
        report = archive.add(
            _listed_sources(arguments.sources),
            format=f".{arguments.format}",
            exact=arguments.exact,
            executor=executor,
            in_flight=in_flight,
            deidentify=arguments.deidentify,
            key=arguments.key,
            on_error=arguments.on_error,
            progress=bar,
            workers=arguments.workers,
            report=arguments.report,
            checksum=arguments.checksum,
            restore_check=arguments.restore_check,
            dry_run=arguments.dry_run,
            on_series=bar.count,
        )
    for result in report.series if arguments.dry_run else ():
        print(f"{result.series_uid}: {result.outcome}, {len(result.sources)} files")
    for result in report.failed:
        first, *others = result.sources
        more = f" and {len(others)} more files" if others else ""
        _complain("error", f"{first}{more}: {result.error}: {result.text}")
    for result in report.series:
        for path, name in result.aside.items():
            _complain("warning", f"{path} differs from an instance in the archive: kept as {name}")
        if result.without_frames:
            _complain(
                "warning", f"{result.file} keeps files without frames: {result.without_frames}"
            )
    for one in report.damaged:
        _complain("error", f"{one.path}: {one.why}")
    no_instances = len(report.left_out) - len(report.damaged)
    counts = [f"{count} series {outcome}" for outcome, count in sorted(report.counts.items())]
    counts += [f"{len(report.damaged)} damaged files"] * bool(report.damaged)
    counts += [f"{no_instances} other files left out"] * bool(no_instances)
    print(f"{name_of_source(arguments.archive)}: {', '.join(counts) or 'nothing to add'}")
    return 0 if report else _PARTLY_DONE


def _list(archive: Archive, arguments: argparse.Namespace) -> int:
    filters = dict(arguments.filter)
    for name in ("patient", "modality", "study_date"):
        if getattr(arguments, name) is not None:
            filters[name] = getattr(arguments, name)
    rows = archive.rows(**filters)
    _FORMATS[arguments.format](rows)
    return 0


def _restore(archive: Archive, arguments: argparse.Namespace) -> int:
    paths = archive.restore(
        arguments.folder, overwrite=arguments.overwrite, **_level(arguments, _LEVELS)
    )
    print(f"{arguments.folder}: {len(paths)} files")
    return 0


def _verify(archive: Archive, arguments: argparse.Namespace) -> int:
    with ProgressBar(f"checking {name_of_source(arguments.archive)}") as bar:
        checks = archive.verify(
            sample=arguments.sample,
            workers=arguments.workers,
            report=arguments.report,
            progress=bar,
        )
    failed = [check for check in checks if not check]
    for check in failed:
        print(f"{check.name}: FAILED")
        for problem in check.problems:
            print(f"  {one_line(problem)}")
    result = f"{len(failed)} of {len(checks)} files FAILED" if failed else f"{len(checks)} files OK"
    print(f"{name_of_source(arguments.archive)}: {result}")
    return _FAILED if failed else 0


def _remove(archive: Archive, arguments: argparse.Namespace) -> int:
    removed = archive.remove(**_level(arguments, _LEVELS[:-1]))
    for name in removed:
        print(f"removed {name}")
    return 0


def _index(archive: Archive, arguments: argparse.Namespace) -> int:
    with ProgressBar(f"reading {name_of_source(arguments.archive)}") as bar:
        report = archive.index(workers=arguments.workers, progress=bar)
    for name, why in report.failed.items():
        _complain("error", f"{name}: {why}")
    print(f"{name_of_source(arguments.archive)}: {report.files} files in the catalogue")
    return 0 if report else _PARTLY_DONE


_VERBS: dict[str, Callable[[Archive, argparse.Namespace], int]] = {
    "add": _add,
    "list": _list,
    "restore": _restore,
    "verify": _verify,
    "remove": _remove,
    "index": _index,
}

# ------------------------------------------------------------------------------------- input


def _listed_sources(sources: Sequence[str]) -> list[str]:
    """Return the sources, with the paths in each @FILE in its place."""
    found: list[str] = []
    for source in sources:
        if not source.startswith("@") or os.path.lexists(source):
            found.append(source)
            continue
        try:
            if source == "@-":
                lines = sys.stdin.read().splitlines()
            else:
                with open(source[1:], encoding="utf-8", errors="surrogateescape") as file:
                    lines = file.read().splitlines()
        except OSError as error:
            raise CubeFileAccessError(f"can't read {source[1:]}: {error.strerror}") from error
        found += filter(None, lines)
    return found


def _level(arguments: argparse.Namespace, levels: Sequence[str]) -> dict[str, str]:
    given = {level: getattr(arguments, level) for level in levels}
    return {level: uid for level, uid in given.items() if uid is not None}


# ------------------------------------------------------------------------------------ output


class _AddBar(ProgressBar):
    """Also shows bytes, their rate, and the time left."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._begun, self._bytes = time.monotonic(), 0

    def count(self, result: SeriesResult) -> None:
        """Count the bytes of a series that was stored."""
        self._bytes += 0 if result.outcome == "present" else result.source_size

    def note(self, done: int, total: int) -> str:
        """Return what is shown behind the numbers."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        left = round(seconds / max(done, 1) * (total - done))
        rate = self._bytes / seconds / 1e6
        size = f"{self._bytes / 1e6:,.0f} MB, {rate:.1f} MB/s"
        return f" series, {size}, {left // 60}:{left % 60:02} left"


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    lines = [_HEADINGS, *(tuple(_cell(row[column]) for column in _COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " x ".join(map(str, value)) or "-"
    return "-" if value is None else one_line(str(value)) or "-"


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            " ".join(map(str, value)) if isinstance(value, list) else value
            for value in row.values()
        )


def _print_json(rows: Sequence[dict[str, Any]]) -> None:
    print(dump_json(rows, indent=2))


_FORMATS = {"table": _print_table, "csv": _print_csv, "json": _print_json}


def _complain(kind: str, text: str) -> None:
    print(f"dicube: {kind}: {one_line(text)}", file=sys.stderr)
