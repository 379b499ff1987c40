"""The tables of a catalogue: patients, studies, series, instances, and the files they came from.

Must not know how rows are read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import sqlalchemy as sql

from dicube.archive.record import INSTANCE, INTEGERS, PATIENT, SERIES, STUDY

SCHEMA_VERSION, ARCHIVE = "schema_version", "archive"  # names in `about`

metadata = sql.MetaData()


def _keyword_columns(keywords: Iterable[str]) -> list[sql.Column[Any]]:
    return [sql.Column(k, sql.BigInteger if k in INTEGERS else sql.Text) for k in keywords]


def _key() -> sql.Column[Any]:
    return sql.Column("id", sql.BigInteger, primary_key=True, autoincrement=False)


def _reference(table: str) -> sql.Column[Any]:
    reference = sql.ForeignKey(f"{table}.id")
    return sql.Column(f"{table}_id", sql.BigInteger, reference, index=True, nullable=False)


about = sql.Table(
    "about",
    metadata,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
)
# One row for each set of values: a PatientID alone may stand for several persons.
patients = sql.Table(
    "patients",
    metadata,
    _key(),
    *_keyword_columns(PATIENT),
    sql.Index("patients_by_id", "PatientID"),
    sql.Index("patients_by_name", "PatientName"),
)
studies = sql.Table(
    "studies",
    metadata,
    _key(),
    _reference("patients"),
    *_keyword_columns(STUDY),
    sql.Index("studies_by_uid", "StudyInstanceUID"),
    sql.Index("studies_by_date", "StudyDate"),
    sql.Index("studies_by_accession", "AccessionNumber"),
)
series = sql.Table(
    "series",
    metadata,
    _key(),
    _reference("studies"),
    *_keyword_columns(SERIES),
    sql.Column("NumberOfSeriesRelatedInstances", sql.BigInteger, nullable=False),
    sql.Column("file", sql.Text, nullable=False),  # its name in the archive
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("original_size", sql.BigInteger, nullable=False),
    sql.Column("shape", sql.Text, nullable=False),  # JSON
    sql.Column("dtype", sql.Text, nullable=False),
    sql.Column("spacing", sql.Text, nullable=False),  # JSON
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("has_originals", sql.Boolean, nullable=False),
    sql.Column("transformed", sql.Boolean, nullable=False),
    sql.Column("original_uid", sql.Text),  # keyed hash of the SeriesInstanceUID in the sources
    sql.Column("added", sql.Text),  # time in UTC, ISO 8601
    sql.Column("dicube", sql.Text),  # the version that stored it
    sql.Index("series_by_file", "file", unique=True),
    sql.Index("series_by_uid", "SeriesInstanceUID"),
    sql.Index("series_by_modality", "Modality"),
)
instances = sql.Table(
    "instances",
    metadata,
    _key(),
    _reference("series"),
    *_keyword_columns(INSTANCE),
    sql.Column("name", sql.Text, nullable=False),  # of the original file
    sql.Column("slice", sql.Integer),  # the first one; NULL for a file kept whole
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Index("instances_by_uid", "SOPInstanceUID"),
)
# The files that series came from: what is listed here unchanged need not be read again.
sources = sql.Table(
    "sources",
    metadata,
    sql.Column("path", sql.Text, primary_key=True),  # or a keyed hash of it
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("mtime_ns", sql.BigInteger, nullable=False),
    _reference("series"),
)
Level: TypeAlias = Literal["study", "series", "instance"]
TABLES_OF_LEVEL = {
    "study": (patients, studies),
    "series": (patients, studies, series),
    "instance": (patients, studies, series, instances),
}
KEYS = ("id", "patients_id", "studies_id", "series_id")
JOINED = series.join(studies).join(patients)
ROW = [
    *(patients.c[keyword] for keyword in PATIENT),
    *(studies.c[keyword] for keyword in STUDY),
    *(column for column in series.c if column.name not in ("studies_id", "id")),
]
JSON = ("shape", "spacing", "RequestAttributesSequence")

# Each brings the tables from one version of the schema to the next. Never changed, only added to.
MIGRATIONS: tuple[Callable[[sql.Connection], None], ...] = ()
