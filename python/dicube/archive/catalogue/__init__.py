"""The catalogue of an archive: a relational database of patients, studies, series and instances.

It is never the truth: the files are, and it can be made again from them. Only the process that
changes an archive writes it. The only room that knows SQLAlchemy. Must not know dicube files.
"""

from __future__ import annotations

from dicube.exceptions import needing

with needing("an archive", "SQLAlchemy", "archive"):
    import sqlalchemy  # noqa: F401

from dicube.archive.catalogue.catalogue import Catalogue
from dicube.archive.catalogue.database import IN_MEMORY
from dicube.archive.catalogue.schema import Level
from dicube.archive.catalogue.searching import Match, conditions_of

__all__ = ["IN_MEMORY", "Catalogue", "Level", "Match", "conditions_of"]
