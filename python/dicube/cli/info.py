"""`dicube info`: shows what a dicube file contains. Must not know how files are read."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from dicube.cli.one_line import one_line
from dicube.codecs.records import record_of
from dicube.verify.file_summary import FileSummary, summarize_file


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube info`; return the exit status."""
    summary = summarize_file(arguments.file)
    if arguments.json:
        # The statuses of the findings are all that JSON can't hold as it is.
        print(json.dumps(dataclasses.asdict(summary), indent=2, default=lambda s: s.value))
        return 0
    lines = _lines_of(summary)
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        print(f"{name:{width}}{one_line(str(value))}")
    return 0


def _lines_of(summary: FileSummary) -> list[tuple[str, Any]]:
    """Return the lines to show: names and values."""
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
        ("rescale", f"stored value * {summary.rescale[0]:g} + {summary.rescale[1]:g}"),
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
    lines += summary.tags.items()
    lines += [(f"[{name}]", f"{size:,} bytes") for name, size in summary.sections.items()]
    return lines


def _numbers(values: Sequence[float]) -> str:
    """Return numbers as text."""
    return ", ".join(f"{value:.6g}" for value in values)
