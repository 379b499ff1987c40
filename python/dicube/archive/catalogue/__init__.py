"""The catalogue of an archive: a relational database of patients, studies, series and instances.

It is never the truth: the files are, and it can be made again from them. Only the process that
changes an archive writes it. The only room that knows SQLAlchemy. Must not know dicube files.
"""

from __future__ import annotations

from dicube.exceptions import MissingPackageError

try:
    import sqlalchemy  # noqa: F401
except ImportError:
    raise MissingPackageError(
        "an archive needs SQLAlchemy", suggestion="pip install 'dicube[archive]'"
    ) from None

from dicube.archive.catalogue.catalogue import Catalogue, Entry, Source
from dicube.archive.catalogue.database import IN_MEMORY
from dicube.archive.catalogue.schema import Level
from dicube.archive.catalogue.searching import Match, conditions_of

__all__ = ["IN_MEMORY", "Catalogue", "Entry", "Level", "Match", "Source", "conditions_of"]
