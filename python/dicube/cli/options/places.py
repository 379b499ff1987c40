"""Paths and URLs on the command line. Must not know what is at them."""

from __future__ import annotations

import argparse
from pathlib import Path

from dicube.exceptions import DataConsistencyError
from dicube.storage.urls import is_chained, is_url, without_credentials


def place(text: str) -> Path | str:
    """Return the path or the URL that a text stands for."""
    if not text:  # Path would take an unset shell variable for the working folder
        raise argparse.ArgumentTypeError("expected a path, found an empty text")
    return text if is_url(text) else Path(text)


def expect_single(*places: Path | str | None, suggestion: str | None = None) -> None:
    """Refuse chains of URLs, whose links may read from more places than a reader would see."""
    for one in places:
        if is_chained(one):
            raise DataConsistencyError(
                f"{without_credentials(str(one))}: expected a path or one URL, found a chain",
                suggestion=suggestion,
            )
