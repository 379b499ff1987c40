"""`dicube verify`: shows what a verification finds. Must not know how it is done."""

from __future__ import annotations

import argparse
import dataclasses
import json

from dicube.cli.one_line import one_line
from dicube.cli.progress_bar import ProgressBar
from dicube.verify.verification import verify_file


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube verify`.

    Returns:
        The exit status: 0, or 1 if a check failed.
    """
    with ProgressBar(f"checking {arguments.file}") as bar:
        report = verify_file(
            arguments.file, arguments.against, num_threads=arguments.num_threads, progress=bar
        )
    if arguments.json:
        content = dataclasses.asdict(report) | {"ok": report.ok}
        print(json.dumps(content, indent=2, default=lambda outcome: outcome.value))
    else:
        for check in report.checks:
            print(f"{check.outcome.value:9}{check.name:19}{one_line(check.message)}")
            for problem in check.problems:
                print(f"{'':9}  {one_line(problem)}")
        print(f"{report.path}: {'OK' if report.ok else 'FAILED'}")
    return 0 if report.ok else 1
