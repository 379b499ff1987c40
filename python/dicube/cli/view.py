"""`dicube view`: serves files on this machine, and opens the viewer page in the browser."""

from __future__ import annotations

import argparse
import webbrowser
from contextlib import suppress

from dicube.cli.options.places import expect_single
from dicube.exceptions import MissingPackageError


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube view`; return the exit status."""
    from dicube.web import has_own_page, serve  # which may be missing a package

    expect_single(*arguments.sources)
    if not has_own_page():
        raise MissingPackageError(
            "the viewer page is not part of this installation",
            suggestion="`ci/run js` builds it in a clone of the project; or `dicube serve --ohif`",
        )

    def started(url: str) -> None:
        print(f"{url}\nCtrl-C ends it", flush=True)
        if arguments.browser:
            webbrowser.open(url)

    with suppress(KeyboardInterrupt):  # by which people end it
        serve(arguments.sources, port=arguments.port, started=started)
    return 0
