"""`dicube extract`: restores one DICOM file. Must not know how it is done."""

from __future__ import annotations

import argparse

from dicube.cli.options.places import expect_single
from dicube.core.instances.one_instance import extract_instance
from dicube.storage.url_files import size_of
from dicube.storage.urls import name_of_source


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube extract`; return the exit status."""
    expect_single(arguments.file, arguments.output)
    # A command takes longer to start than the comparison with the rest of the file takes.
    extract_instance(
        arguments.file,
        arguments.instance,
        arguments.output,
        overwrite=arguments.overwrite,
        compare=True,
    )
    print(f"{name_of_source(arguments.output)}: {size_of(arguments.output):,} bytes")
    return 0
