"""`dicube serve`: DICOMweb and a viewer for an archive or dicube files."""

from __future__ import annotations

import argparse
from contextlib import suppress

from dicube.cli.options.places import expect_single


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube serve`; return the exit status."""
    from dicube.web import serve  # which may be missing a package

    expect_single(*arguments.sources)

    def started(url: str) -> None:
        print(f"{url}\nDICOMweb: {url}/dicom-web", flush=True)

    with suppress(KeyboardInterrupt):  # by which people end it
        serve(
            arguments.sources,
            arguments.host,
            arguments.port,
            ohif=arguments.ohif,
            token_file=arguments.token_file,
            origins=arguments.allow_origin,
            started=started,
        )
    return 0
