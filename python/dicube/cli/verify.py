"""`dicube verify`: shows what a verification finds. Must not know how it is done."""

from __future__ import annotations

import argparse
import dataclasses

from dicube.cli.one_line import one_line
from dicube.cli.options.places import expect_single
from dicube.cli.progress_bar import ProgressBar
from dicube.storage.urls import name_of_source
from dicube.strict_json import dump_json
from dicube.verify.verification import verify_file


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube verify`.

    Returns:
        The exit status: 0, or 1 if a check failed.
    """
    expect_single(arguments.file, arguments.against)
    with ProgressBar(f"checking {name_of_source(arguments.file)}") as bar:
        report = verify_file(
            arguments.file,
            arguments.against,
            num_threads=arguments.num_threads,
            progress=bar,
            require_checksums=arguments.require_checksums,
            require_originals=arguments.require_originals,
            whole_source=arguments.whole_source,
            show_values=arguments.show_values,
        )
    unchecked = [check.name for check in report.unchecked]
    if arguments.json:
        content = dataclasses.asdict(report) | {"ok": report.ok, "unchecked": unchecked}
        print(dump_json(content, indent=2, default=lambda outcome: outcome.value))
    else:
        for check in report.checks:
            print(f"{check.outcome.value:9}{check.name:19}{one_line(check.message)}")
            for problem in check.problems:
                print(f"{'':9}  {one_line(problem)}")
        result = "OK" if report.ok else "FAILED"
        print(f"{report.path}: {result}{'; not checked: ' * bool(unchecked)}{', '.join(unchecked)}")
    return 0 if report.ok else 1
