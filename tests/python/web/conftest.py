"""What the tests of this room serve."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tree`, and `archive` with its series."""
    from inputs.served import write_archive  # which needs packages that may be missing

    folder = tmp_path_factory.mktemp("served")
    write_archive(folder)
    return folder
