"""`dicube append`: adds files that came late. Must not know how it is done."""

from __future__ import annotations

import argparse
import sys

from dicube.cli.one_line import one_line
from dicube.cli.options.places import expect_single
from dicube.cli.progress_bar import ProgressBar
from dicube.core.instances.late_instances import append_files

_PARTLY_DONE = 3  # the exit status


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube append`; return the exit status: 0, or 3 if files were refused."""
    expect_single(arguments.file, *arguments.sources)
    with ProgressBar(f"writing {arguments.file}") as bar:
        result = append_files(
            arguments.file,
            arguments.sources,
            effort=arguments.effort,
            num_threads=arguments.num_threads,
            progress=bar,
        )
    before, now = result.slices
    print(
        f"{arguments.file}: {result.added} files added, {result.present} there already, "
        f"{len(result.conflicts)} refused; {now} slices, {before} before"
    )
    for path, reason in result.whole.items():
        print(one_line(f"kept whole: {path}: {reason}"))
    for conflict in result.conflicts:
        text = f"{conflict.path}: another file has its SOPInstanceUID and other bytes"
        print(f"dicube: error: {one_line(text)}", file=sys.stderr)
    return _PARTLY_DONE if result.conflicts else 0
