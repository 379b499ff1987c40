"""`dicube demo`: runs `dicube.demo`."""

from __future__ import annotations

import argparse

from dicube.demo import run_demo


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube demo`.

    Returns:
        The exit status: 0, or 1 if anything differs.
    """
    return 0 if run_demo(arguments.folder, arguments.num_threads) else 1
