"""Turns rows of a catalogue into a pandas DataFrame. The only module that knows pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicube.exceptions import MissingPackageError


def data_frame(rows: Sequence[dict[str, Any]]) -> Any:
    """Return a DataFrame with a row for each series, and the keys as columns.

    Raises:
        MissingPackageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingPackageError(
            "to_pandas needs pandas", suggestion="pip install pandas"
        ) from None
    return pandas.DataFrame(list(rows))
