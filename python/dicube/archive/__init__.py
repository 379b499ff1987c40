"""Many series: an archive of dicube files with a catalogue; see `Archive`.

Names are loaded when they are first used: the catalogue needs SQLAlchemy, which the rest of dicube
does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicube.archive.archive import Archive
    from dicube.archive.checking import FileCheck
    from dicube.archive.indexing import IndexReport
    from dicube.archive.pseudonyms import SecretKey, read_key
    from dicube.archive.report import Report, SeriesResult
    from dicube.archive.scan import LeftOut
    from dicube.archive.stored_series import StoredSeries

__all__ = [
    "Archive",
    "FileCheck",
    "IndexReport",
    "LeftOut",
    "Report",
    "SecretKey",
    "SeriesResult",
    "StoredSeries",
    "read_key",
]

_HOMES = {
    "Archive": "archive",
    "FileCheck": "checking",
    "IndexReport": "indexing",
    "LeftOut": "scan",
    "Report": "report",
    "SecretKey": "pseudonyms",
    "SeriesResult": "report",
    "StoredSeries": "stored_series",
    "read_key": "pseudonyms",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
