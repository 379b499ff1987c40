"""`dicube info`: shows what a dicube file contains, or the series of a tree of DICOM files.

Must not know how files are read.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicube.cli.one_line import one_line
from dicube.cli.options.places import expect_single
from dicube.cli.progress_bar import ProgressBar
from dicube.codecs.records import record_of
from dicube.dicom.files.sources import is_tree
from dicube.dicom.identifiers import SHOWN_OF_ONE, identifiers
from dicube.exceptions import DicomCubeError
from dicube.storage.url_files import local_copy
from dicube.storage.urls import is_url, without_credentials
from dicube.strict_json import dump_json
from dicube.verify.file_summary import FileSummary, summarize_file

if TYPE_CHECKING:
    from dicube.dicom.dicom_tree import SeriesFiles

_OF_TREES = (".zip", ".dcm")  # the ends of URLs of files that are no dicube files


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube info`; return the exit status."""
    if not arguments.allow_chained:
        expect_single(arguments.file, suggestion="--allow-chained")
    if is_url(arguments.file) and without_credentials(arguments.file).endswith(_OF_TREES):
        with local_copy(arguments.file) as path:
            return _show(path, arguments)
    return _show(arguments.file, arguments)


def _show(place: Path | str, arguments: argparse.Namespace) -> int:
    """Show what is at a path or a URL."""
    if is_tree(place):
        return _list_tree(place, arguments)
    summary = summarize_file(place)
    if arguments.json:
        # The statuses of the findings are all that JSON can't hold as it is.
        print(dump_json(dataclasses.asdict(summary), indent=2, default=lambda s: s.value))
        return 0
    lines = _lines_of(summary)
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        print(f"{name:{width}}{one_line(str(value))}")
    return 0


def _lines_of(summary: FileSummary) -> list[tuple[str, Any]]:
    """Return the lines to show: names and values."""
    if not summary.shape[0]:
        return [
            ("file", summary.path),
            ("format", f"no frames, container version {summary.format_version}"),
            ("size", f"{summary.file_size:,} bytes"),
            *_shown_tags(summary),
            *_originals_of(summary),
            *_sections_of(summary),
        ]
    lines: list[tuple[str, Any]] = [
        ("file", summary.path),
        (
            "format",
            f"{record_of(summary.codec).label}, container version {summary.format_version}",
        ),
        ("shape", " x ".join(map(str, summary.shape)) + f" {summary.dtype}"),
        ("size", f"{summary.file_size:,} bytes"),
        ("pixels", f"{summary.raw_size:,} bytes uncompressed, ratio {summary.ratio:.2f}"),
        ("checksums", "yes" if summary.has_checksums else "no (written by a published version)"),
        ("real values", summary.real_values),
        *((f"mapping {number}", one) for number, one in enumerate(summary.mappings)),
        *(("loss", loss) for loss in summary.losses),
        ("status", summary.status),
        *(("finding", finding) for finding in summary.findings),
    ]
    if summary.space is None:
        lines.append(("space", "unknown"))
    else:
        lines += [
            ("spacing", _numbers(summary.space["spacing"]) + " mm (slice, row, column)"),
            ("origin", _numbers(summary.space["origin"]) + " mm (LPS)"),
        ]
    lines += _shown_tags(summary)
    return [*lines, *_originals_of(summary), *_sections_of(summary)]


def _shown_tags(summary: FileSummary) -> list[tuple[str, Any]]:
    return [(keyword, tag) for keyword, tag in summary.tags.items() if keyword in SHOWN_OF_ONE]


def _originals_of(summary: FileSummary) -> list[tuple[str, Any]]:
    """Return the lines about the original files."""
    kept = summary.originals
    if kept is None:
        return [("originals", "not kept")]
    ratio = kept.size / summary.file_size
    text = f"{kept.files} files of {kept.size:,} bytes, {ratio:.2f} times the size of this file"
    lines = [("originals", text)]
    lines += [("coded again", f"{n} files: {kind}") for kind, n in kept.recoded.items()]
    lines += [("kept as coded", f"{n} files: {why}") for why, n in kept.kept.items()]
    if kept.kept:
        lines.append(("kept frames", f"{kept.kept_size:,} bytes"))
    lines += [("stored whole", f"{name}: {why}") for name, why in kept.whole.items()]
    return lines


def _sections_of(summary: FileSummary) -> list[tuple[str, Any]]:
    """Return the lines about sections."""
    return [(f"[{name}]", f"{size:,} bytes") for name, size in summary.sections.items()]


# -------------------------------------------------------------------------------------- trees


def _list_tree(place: Path | str, arguments: argparse.Namespace) -> int:
    """Print a line for each series and each dicube file of a tree, and what is wrong with it."""
    from dicube.dicom.dicom_tree import find_series

    with ProgressBar(f"reading {place}") as bar:
        tree = find_series(place, progress=bar)
    entries = []
    with ProgressBar(f"checking {place}") as bar:
        for done, series in enumerate(tree.series, 1):
            entries.append(_entry_of_series(series, arguments.patient))
            bar(done, len(tree.series))
    files = [_entry_of_file(path, arguments.patient) for path in tree.dicube_files]
    unreadable = [one._asdict() for one in tree.unreadable]
    if arguments.json:
        content = {"series": entries, "dicube_files": files, "unreadable": unreadable}
        print(dump_json(content | {"other_files": tree.other_files}, indent=2))
        return 0
    for entry in (*entries, *files):
        print(_line_of(entry))
        for problem in entry["problems"]:
            print(f"  {one_line(problem)}")
    for file in tree.unreadable:
        print(f"can't be read: {one_line(file.reason)}")
    counts = [f"{len(entries)} series", f"{sum(entry['files'] for entry in entries)} DICOM files"]
    counts += [f"{len(files)} dicube files"] * bool(files)
    counts += [f"{len(unreadable)} unreadable DICOM files or folders"] * bool(unreadable)
    counts += [f"{tree.other_files} other files"] * bool(tree.other_files)
    print(", ".join(counts))
    return 0


def _entry_of_series(series: SeriesFiles, with_patients: bool) -> dict[str, Any]:
    """Return what is shown of a series."""
    from dicube.dicom.dicom_tree import problems_of

    shapes = sorted(series.shapes)
    entry: dict[str, Any] = {
        "series_uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "shape": [series.slices, *shapes[0]] if len(shapes) == 1 else None,
        "classes": dict(series.classes),
        "files": len(series.files),
        "size": series.size,
        "tags": _tags_of_entry(series.tags, with_patients),
        "problems": problems_of(series, with_patients),
    }
    patient = {"patient_name": series.patient_name, "patient_id": series.patient_id}
    return entry | patient if with_patients else entry


def _entry_of_file(path: str, with_patients: bool) -> dict[str, Any]:
    """Return what is shown of a dicube file."""
    from dicube.dicom.dicom_tree import text_of_finding

    entry: dict[str, Any] = {"path": path, "size": os.path.getsize(path)}
    try:
        summary = summarize_file(Path(path))
    except DicomCubeError as error:
        return entry | {"problems": [f"can't be read: {error.message}"]}
    tags = summary.tags
    entry |= {
        "series_uid": tags.get("SeriesInstanceUID", ""),
        "modality": tags.get("Modality", ""),
        "description": tags.get("SeriesDescription", ""),
        "shape": list(summary.shape),
        "tags": _tags_of_entry(tags, with_patients),
        "problems": [text_of_finding(finding, with_patients) for finding in summary.findings],
    }
    patient = {"patient_name": tags.get("PatientName", ""), "patient_id": tags.get("PatientID", "")}
    return entry | patient if with_patients else entry


def _tags_of_entry(tags: dict[str, Any], with_patients: bool) -> dict[str, Any]:
    """Return the tags that an entry shows; name and ID of the patient have keys of their own."""
    shown = identifiers(tags.get, with_patient=with_patients)
    return {k: tag for k, tag in shown.items() if k not in ("PatientName", "PatientID")}


def _line_of(entry: dict[str, Any]) -> str:
    """Return the line of a series or a dicube file."""
    shape, parts = entry.get("shape"), []
    if "path" not in entry:
        parts.append(entry["series_uid"] or "(no SeriesInstanceUID)")
    else:
        parts.append(entry["path"])
    parts.append(entry.get("modality", ""))
    if shape is not None:
        parts.append(" x ".join(map(str, shape)))
    elif "classes" in entry:
        parts.append(", ".join(f"{number} {name}" for name, number in entry["classes"].items()))
    if "files" in entry:
        parts.append(f"{entry['files']} files")
    parts.append(f"{entry['size']:,} bytes")
    parts += [
        entry[name] for name in ("description", "patient_name", "patient_id") if name in entry
    ]
    return "  ".join(one_line(part) for part in parts if part)


def _numbers(values: Sequence[float]) -> str:
    """Return numbers as text."""
    return ", ".join(f"{value:.6g}" for value in values)
