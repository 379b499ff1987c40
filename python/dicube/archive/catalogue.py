"""The catalogue of an archive: a relational database of patients, studies, series and instances.

It is never the truth: the files are, and it can be made again from them. Only the process that
changes an archive writes it. The only module that knows SQLAlchemy. Must not know dicube files.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

from dicube.archive.dates import dates_of
from dicube.archive.places import is_on_network
from dicube.archive.record import INSTANCE, INTEGERS, PATIENT, SERIES, STUDY, SeriesRecord
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MissingPackageError,
)
from dicube.storage.urls import text_without_credentials, without_credentials

try:
    import sqlalchemy as sql
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError
except ImportError:
    raise MissingPackageError(
        "an archive needs SQLAlchemy", suggestion="pip install 'dicube[archive]'"
    ) from None

_BATCH = 500  # values in one IN: SQLite has allowed 999 variables since 2004
_SECONDS = 30  # to wait for another process that uses the database
_SCHEMA_VERSION, _ARCHIVE = "schema_version", "archive"  # names in `about`
IN_MEMORY = ":memory:"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_WILDCARDS = {"*": "%", "?": "_"}

_schema = sql.MetaData()


def _keyword_columns(keywords: Iterable[str]) -> list[sql.Column[Any]]:
    return [sql.Column(k, sql.BigInteger if k in INTEGERS else sql.Text) for k in keywords]


def _key() -> sql.Column[Any]:
    return sql.Column("id", sql.BigInteger, primary_key=True, autoincrement=False)


def _reference(table: str) -> sql.Column[Any]:
    reference = sql.ForeignKey(f"{table}.id")
    return sql.Column(f"{table}_id", sql.BigInteger, reference, index=True, nullable=False)


_about = sql.Table(
    "about",
    _schema,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
)
# One row for each set of values: a PatientID alone may stand for several persons.
_patients = sql.Table(
    "patients",
    _schema,
    _key(),
    *_keyword_columns(PATIENT),
    sql.Index("patients_by_id", "PatientID"),
    sql.Index("patients_by_name", "PatientName"),
)
_studies = sql.Table(
    "studies",
    _schema,
    _key(),
    _reference("patients"),
    *_keyword_columns(STUDY),
    sql.Index("studies_by_uid", "StudyInstanceUID"),
    sql.Index("studies_by_date", "StudyDate"),
    sql.Index("studies_by_accession", "AccessionNumber"),
)
_series = sql.Table(
    "series",
    _schema,
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
_instances = sql.Table(
    "instances",
    _schema,
    _key(),
    _reference("series"),
    *_keyword_columns(INSTANCE),
    sql.Column("name", sql.Text, nullable=False),  # of the original file
    sql.Column("slice", sql.Integer),  # the first one; NULL for a file kept whole
    sql.Column("sha256", sql.Text, nullable=False),
    sql.Index("instances_by_uid", "SOPInstanceUID"),
)
# The files that series came from: what is listed here unchanged need not be read again.
_sources = sql.Table(
    "sources",
    _schema,
    sql.Column("path", sql.Text, primary_key=True),  # or a keyed hash of it
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("mtime_ns", sql.BigInteger, nullable=False),
    _reference("series"),
)

_UID_OF_LEVEL = {
    "patient": _patients.c.PatientID,
    "study": _studies.c.StudyInstanceUID,
    "series": _series.c.SeriesInstanceUID,
}
Level: TypeAlias = Literal["study", "series", "instance"]
_TABLES_OF_LEVEL = {
    "study": (_patients, _studies),
    "series": (_patients, _studies, _series),
    "instance": (_patients, _studies, _series, _instances),
}
_KEYS = ("id", "patients_id", "studies_id", "series_id")
_JOINED = _series.join(_studies).join(_patients)
_ROW = [
    *(_patients.c[keyword] for keyword in PATIENT),
    *(_studies.c[keyword] for keyword in STUDY),
    *(column for column in _series.c if column.name not in ("studies_id", "id")),
]
_JSON = ("shape", "spacing", "RequestAttributesSequence")
_SEARCHED = {column.name: column for column in _ROW}

# Each brings the tables from one version of the schema to the next. Never changed, only added to.
_MIGRATIONS: tuple[Callable[[sql.Connection], None], ...] = ()


class DamagedCatalogueError(InvalidCubeFileError):
    """A database is damaged, or is no catalogue."""

    default_suggestion = "`dicube archive index` makes it anew from the files"


class Source(NamedTuple):
    """A file that was read into an archive.

    Attributes:
        path: its absolute path, or a keyed hash of it.
        size: in bytes.
        mtime_ns: when it was changed, in ns.
    """

    path: str
    size: int
    mtime_ns: int


class Match(NamedTuple):
    """A condition of a search on the values of a keyword.

    Attributes:
        keyword: of the catalogue, or ModalitiesInStudy.
        kind: 'equal' to one of the values; 'like' the first, in which * and ? are wildcards, and
            cases are ignored; or in the 'range' from the first to the last, where '' is no bound.
        values: the values.
    """

    keyword: str
    kind: Literal["equal", "like", "range"]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What a catalogue stores of one file.

    Attributes:
        file: its name in the archive.
        record: what was read from it.
        sources: the files it was made from; those known from before stay.
        transformed: whether the datasets were changed before they were stored; None for as before.
        original_uid: keyed hash of the SeriesInstanceUID before that.
        added: when it was stored.
        version: of dicube, which stored it; None if that isn't known.
    """

    file: str
    record: SeriesRecord
    sources: Sequence[Source] = ()
    transformed: bool | None = None
    original_uid: str | None = None
    added: str | None = None
    version: str | None = None


class Catalogue:
    """An open catalogue.

    Args:
        where: a path of a SQLite database, or a URL of SQLAlchemy; `IN_MEMORY` for a database that
            only this object has.
        create: make the database, or its tables, if they are missing.
        anew: set a damaged database of SQLite aside, with a warning, and make a new one.

    Raises:
        CubeFileNotFoundError: there is no such catalogue, and `create` is False.
        InvalidCubeFileError: it was written by a newer version.
        DamagedCatalogueError: (an InvalidCubeFileError) it is damaged, or no catalogue.
        CubeFileAccessError: the database can't be used.
        DataConsistencyError: not a URL that SQLAlchemy knows.
    """

    def __init__(self, where: str, *, create: bool = False, anew: bool = False) -> None:
        self.name = without_credentials(where) if "://" in where else where
        with self._refusals():
            url = sql.make_url(where if "://" in where else "sqlite://")
        self._path: str | None = None  # of SQLite's database
        self._is_in_memory = where == IN_MEMORY
        if url.get_backend_name() == "sqlite" and not self._is_in_memory:
            self._path = (url.database or "") if "://" in where else where
            url = url.set(database=self._path)
        try:
            self._open(url, create, checked=anew)
        except DamagedCatalogueError as error:
            if not anew or self._path is None:
                raise
            with self._refusals():
                kept = _set_aside(self._path)
            warnings.warn(f"{error.message}: it is now {kept}, and may name patients", stacklevel=4)
            self._open(url, create, checked=False)

    def _open(self, url: sql.URL, create: bool, *, checked: bool) -> None:
        if self._path is not None and not os.path.exists(self._path):
            if not create:
                raise CubeFileNotFoundError(
                    f"{self._path} does not exist",
                    suggestion="`dicube archive index` makes a catalogue",
                )
            # As it names patients, nobody else may read it, nor the files that SQLite adds to it.
            with self._refusals():
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        is_writable = self._path is None or _is_writable(self._path)
        if not is_writable and self._path is not None:
            url = _read_only(url, self._path)
        with self._refusals():
            options: dict[str, Any] = {}
            if self._is_in_memory:  # one connection, which threads use in turn
                options = {"poolclass": sql.StaticPool}
                options["connect_args"] = {"check_same_thread": False}
            self._engine = sql.create_engine(url, hide_parameters=True, **options)
            if self._path is not None or self._is_in_memory:
                self._prepare_sqlite(self._path or "", is_writable)
            self._connection = self._engine.connect()
        try:
            if checked and self._path is not None:
                self._check_sqlite()
            self._open_schema(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._engine.dispose()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------- writing

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Make all changes in this context at once, or none."""
        with self._refusals(), self._connection.begin():
            yield

    def put(self, entries: Sequence[Entry]) -> None:
        """Add files, or replace what is known of them; within `changes`."""
        entries = list({entry.file: entry for entry in entries}.values())
        known = self._ids_of_files([entry.file for entry in entries])
        left = self._studies_of(known.values())
        for ids in _batches(list(known.values())):
            self._connection.execute(_instances.delete().where(_instances.c.series_id.in_(ids)))
        studies = self._study_ids([entry.record for entry in entries])
        new_series, new_instance = self._new_ids(_series), self._new_ids(_instances)
        series, instances, sources = [], [], []
        for entry, study in zip(entries, studies, strict=True):
            values = _series_values(entry, study)
            number = known.get(entry.file)
            if number is None:
                number = next(new_series)
                series.append({**_UNKNOWN, **values, "id": number})
            else:
                of_file = _series.c.id == number
                self._connection.execute(_series.update().where(of_file).values(values))
            for one in entry.record.instances:
                row = dict(zip(INSTANCE, one.values, strict=True))
                row |= {"name": one.name, "slice": one.slice, "sha256": one.sha256}
                instances.append(row | {"series_id": number, "id": next(new_instance)})
            sources += [source._asdict() | {"series_id": number} for source in entry.sources]
        self._insert(_series, series)
        self._insert(_instances, instances)
        self._put_sources(sources)
        self._drop_childless(left)

    def put_sources(self, sources: Mapping[Source, str]) -> None:
        """Add sources of files that are known already; within `changes`."""
        known = self._ids_of_files(list(set(sources.values())))
        rows = [s._asdict() | {"series_id": known[f]} for s, f in sources.items() if f in known]
        self._put_sources(rows)

    def remove(self, files: Sequence[str]) -> None:
        """Remove all rows of files, and of their studies and patients if these have no others.

        Within `changes`.
        """
        known = list(self._ids_of_files(files).values())
        left = self._studies_of(known)
        for ids in _batches(known):
            for table in (_instances, _sources):
                self._connection.execute(table.delete().where(table.c.series_id.in_(ids)))
            self._connection.execute(_series.delete().where(_series.c.id.in_(ids)))
        self._drop_childless(left)

    def forget_removed(self) -> bool:
        """Let SQLite overwrite what was removed, in its log too; return whether it could.

        It can't while another process reads. Other databases promise no overwriting.
        """
        if self._path is None:
            return True
        with self._refusals():
            self._connection.rollback()
            cursor = self._connection.connection.cursor()  # outside of transactions
            (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.close()
        return not busy

    def belong_to(self, archive: str, *, anew: bool) -> None:
        """Let the catalogue be that of an archive.

        Args:
            archive: where it lies.
            anew: whether it may have been another one's.

        Raises:
            DataConsistencyError: it is another one's.
        """
        with self.changes():
            of_archive = _about.c.name == _ARCHIVE
            found = self._connection.execute(sql.select(_about.c.value).where(of_archive)).scalar()
            if found == archive:
                return
            if found is not None and not anew:
                raise DataConsistencyError(
                    f"{self.name} is the catalogue of {found} and not of {archive}",
                    suggestion="after you moved an archive, `dicube archive index`",
                )
            self._connection.execute(_about.delete().where(of_archive))
            self._connection.execute(_about.insert().values(name=_ARCHIVE, value=archive))

    # ------------------------------------------------------------------------------- reading

    def rows(self, conditions: Sequence[sql.ColumnElement[bool]] = ()) -> list[dict[str, Any]]:
        """Return a row for each series that meets all conditions, by patient, study and number."""
        query = sql.select(*_ROW).select_from(_JOINED).where(*conditions)
        order = (
            _patients.c.PatientID,
            _studies.c.StudyDate,
            _studies.c.StudyInstanceUID,
            _series.c.SeriesNumber,
            _series.c.SeriesInstanceUID,
        )
        with self._reading():
            found = [dict(row._mapping) for row in self._connection.execute(query.order_by(*order))]
        for row in found:
            row |= {k: json.loads(row[k]) for k in _JSON if row[k] is not None}
        return found

    def instances(self, file: str) -> list[dict[str, Any]]:
        """Return a row for each instance in a file."""
        columns = [c for c in _instances.c if c.name not in ("id", "series_id")]
        query = sql.select(*columns).join(_series).where(_series.c.file == file)
        with self._reading():
            found = self._connection.execute(query.order_by(_instances.c.id))
            return [dict(row._mapping) for row in found]

    def sizes(self) -> dict[str, int]:
        """Return the size of each file, by its name."""
        with self._reading():
            found = self._connection.execute(sql.select(_series.c.file, _series.c.size))
            return {row.file: row.size for row in found}

    def files(self) -> set[str]:
        """Return the names of all files."""
        return set(self._connection.execute(sql.select(_series.c.file)).scalars())

    def transformed_files(self) -> set[str]:
        """Return the names of the files whose datasets were changed before they were stored."""
        with self._reading():
            query = sql.select(_series.c.file).where(_series.c.transformed)
            return set(self._connection.execute(query).scalars())

    def known(self, sources: Sequence[Source]) -> dict[str, tuple[str, int]]:
        """Return the file that each unchanged source is in, and the file's size, by the path."""
        found: dict[str, tuple[str, int]] = {}
        columns = _sources.c.path, _sources.c.size, _sources.c.mtime_ns, _series.c.file
        with self._reading():
            for batch in _batches(list(sources)):
                now = {source.path: (source.size, source.mtime_ns) for source in batch}
                query = sql.select(*columns, _series.c.size.label("held")).join(_series)
                for path, size, mtime_ns, file, held in self._connection.execute(
                    query.where(_sources.c.path.in_(now))
                ):
                    if now[path] == (size, mtime_ns):
                        found[path] = file, held
        return found

    def summaries(self, files: Sequence[str]) -> list[tuple[str, str, str, int, int]]:
        """Return the name of each file, UIDs of study and series, number of instances, and size."""
        columns = (
            _series.c.file,
            _studies.c.StudyInstanceUID,
            _series.c.SeriesInstanceUID,
            _series.c.NumberOfSeriesRelatedInstances,
            _series.c.size,
        )
        found: list[tuple[str, str, str, int, int]] = []
        with self._reading():
            for batch in _batches(list(files)):
                query = sql.select(*columns).join(_studies).where(_series.c.file.in_(batch))
                found += map(tuple, self._connection.execute(query))
        return found

    # ----------------------------------------------------------------------------- searching

    def find(
        self, level: Level, matches: Sequence[Match], limit: int, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return studies, series or instances that meet all conditions, in an order that stays.

        Args:
            level: what to return.
            matches: conditions on this level, those above it, and those below it, of which one
                study, series or instance has to meet each condition.
            limit: the most rows.
            offset: how many rows to leave out at the start.

        Returns:
            Values by keyword, also of the levels above; of series and instances with the columns
            of the catalogue, such as `file`. Studies have ModalitiesInStudy and the numbers of
            their series and instances. Patients who share the UID of a study, and differ in ID or
            else in name, have one each.
        """
        tables = _TABLES_OF_LEVEL[level]
        joined: Any = tables[0]
        for table in tables[1:]:
            joined = joined.join(table)
        columns: dict[str, Any] = {c.name: c for t in tables for c in t.c if c.name not in _KEYS}
        if level == "study":
            columns["who"] = _who(_patients).label("who")
        query = sql.select(*columns.values()).select_from(joined)
        query = query.where(*(_matching(match, tables) for match in matches))
        if level == "study":  # it has a row for each set of values of its patient
            other, patient = _studies.alias(), _patients.alias()
            query = query.where(
                ~sql.exists()
                .where(other.c.StudyInstanceUID == _studies.c.StudyInstanceUID)
                .where(other.c.patients_id == patient.c.id, other.c.id < _studies.c.id)
                .where(_who(patient).is_not_distinct_from(_who(_patients)))
            )
            query = query.order_by(_studies.c.StudyDate.desc())
        elif level == "series":
            query = query.order_by(_series.c.studies_id, _series.c.SeriesNumber)
        else:
            query = query.order_by(_instances.c.series_id, _instances.c.InstanceNumber)
        query = query.order_by(tables[-1].c.id).limit(limit).offset(offset)
        with self._reading():
            found = [dict(row._mapping) for row in self._connection.execute(query)]
            if level == "study":
                keys = [(row[STUDY[0]], row.pop("who")) for row in found]
                counted = self._counted(keys)
                found = [row | counted[key] for row, key in zip(found, keys, strict=True)]
        return found

    def _counted(self, keys: list[tuple[str, Any]]) -> dict[tuple[str, Any], dict[str, Any]]:
        """Return what studies have in all, by their UIDs and patients."""
        number = "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"
        found: dict[tuple[str, Any], dict[str, Any]] = {
            key: {"ModalitiesInStudy": [], number[0]: 0, number[1]: 0} for key in keys
        }
        key, modality = (_studies.c[STUDY[0]], _who(_patients)), _series.c.Modality
        sums = sql.func.count(), sql.func.sum(_series.c.NumberOfSeriesRelatedInstances)
        for batch in _batches(list(dict.fromkeys(study for study, *_ in keys))):
            query = sql.select(modality, *sums, *key).select_from(_JOINED)
            query = query.where(key[0].in_(batch)).group_by(*key, modality).order_by(modality)
            for name, series, instances, study, who in self._connection.execute(query):
                values = found.get((study, who))
                if values is None:  # of a patient who was not searched for
                    continue
                values["ModalitiesInStudy"] += [name] * bool(name)
                values[number[0]] += series
                values[number[1]] += int(instances)
        return found

    # ------------------------------------------------------------------------------ internals

    def _ids_of_files(self, files: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for batch in _batches(list(files)):
            query = sql.select(_series.c.file, _series.c.id).where(_series.c.file.in_(batch))
            found.update((file, number) for file, number in self._connection.execute(query))
        return found

    def _study_ids(self, records: Sequence[SeriesRecord]) -> list[int]:
        """Return the row of each record's study and patient; make those that are missing."""
        patients = self._known_rows(_patients, PATIENT, {r.patient[PATIENT[0]] for r in records})
        studies = self._known_rows(
            _studies, ("patients_id", STUDY[0]), {record.study[STUDY[0]] for record in records}
        )
        new_patient, new_study = self._new_ids(_patients), self._new_ids(_studies)
        patient_rows, study_rows, found = [], [], []
        for record in records:
            key = tuple(record.patient.values())
            if key not in patients:
                patients[key] = next(new_patient)
                patient_rows.append({**record.patient, "id": patients[key]})
            of_study = patients[key], record.study[STUDY[0]]
            if of_study not in studies:
                studies[of_study] = next(new_study)
                row = {**record.study, "id": studies[of_study], "patients_id": patients[key]}
                study_rows.append(row)
            found.append(studies[of_study])
        self._insert(_patients, patient_rows)
        self._insert(_studies, study_rows)
        return found

    def _known_rows(
        self, table: sql.Table, key: Sequence[str], wanted: set[Any]
    ) -> dict[tuple[Any, ...], int]:
        """Return the rows whose ID or UID is wanted, by the values of the key."""
        column = table.c[PATIENT[0] if table is _patients else STUDY[0]]
        found: dict[tuple[Any, ...], int] = {}
        for batch in _batches(list(wanted)):
            chosen = (
                column.in_(batch)
                if None not in batch
                else column.is_(None) | column.in_([value for value in batch if value is not None])
            )
            query = sql.select(table.c.id, *(table.c[name] for name in key)).where(chosen)
            found |= {tuple(values): number for number, *values in self._connection.execute(query)}
        return found

    def _new_ids(self, table: sql.Table) -> Iterator[int]:
        """Yield numbers for new rows; only one process changes a catalogue at a time."""
        greatest = self._connection.execute(sql.select(sql.func.max(table.c.id))).scalar()
        return count(1 + (greatest or 0))

    def _insert(self, table: sql.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._connection.execute(table.insert(), rows)

    def _put_sources(self, rows: list[dict[str, Any]]) -> None:
        rows = list({row["path"]: row for row in rows}.values())
        for paths in _batches([row["path"] for row in rows]):
            self._connection.execute(_sources.delete().where(_sources.c.path.in_(paths)))
        self._insert(_sources, rows)

    def _studies_of(self, series: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for ids in _batches(list(series)):
            query = sql.select(_series.c.studies_id).where(_series.c.id.in_(ids))
            found.update(self._connection.execute(query).scalars())
        return found

    def _drop_childless(self, studies: set[int]) -> None:
        """Remove those of these studies that have no series, and their patients likewise."""
        patients: set[int] = set()
        for ids in _batches(list(studies)):
            query = sql.select(_studies.c.patients_id).where(_studies.c.id.in_(ids))
            patients.update(self._connection.execute(query).scalars())
        for table, child, candidates in (
            (_studies, _series, studies),
            (_patients, _studies, patients),
        ):
            has_child = sql.exists().where(child.c[f"{table.name}_id"] == table.c.id)
            for ids in _batches(list(candidates)):
                chosen = table.c.id.in_(ids) & ~has_child
                self._connection.execute(table.delete().where(chosen))

    def _open_schema(self, create: bool) -> None:
        """Check the version of the tables; make or migrate them."""
        newest = len(_MIGRATIONS) + 1
        with self._refusals():
            has_tables = sql.inspect(self._connection).has_table(_about.name)
            self._connection.rollback()
            if not has_tables:
                if not create:
                    raise DamagedCatalogueError(f"{self.name} is not the catalogue of an archive")
                with self._connection.begin():
                    _schema.create_all(self._connection)
                    row = {"name": _SCHEMA_VERSION, "value": str(newest)}
                    self._connection.execute(_about.insert().values(row))
                return
            value = sql.select(_about.c.value).where(_about.c.name == _SCHEMA_VERSION)
            found = str(self._connection.execute(value).scalar())
            self._connection.rollback()
            version = int(found) if re.fullmatch("[1-9][0-9]{0,8}", found) else 0
            expected = f"{self.name}: expected a catalogue of version 1 to {newest}, found"
            if version == 0:
                raise DamagedCatalogueError(f"{expected} {found[:20]!a}")
            if version > newest:
                raise InvalidCubeFileError(f"{expected} {version}: a newer dicube wrote it")
            for number in range(version, newest):
                with self._connection.begin():
                    _MIGRATIONS[number - 1](self._connection)
                    of_version = _about.c.name == _SCHEMA_VERSION
                    row = {"value": str(number + 1)}
                    self._connection.execute(_about.update().where(of_version).values(row))

    def _check_sqlite(self) -> None:
        """Read the whole database.

        Raises:
            DamagedCatalogueError: its pages, or its indexes and tables, contradict each other.
        """
        with self._reading():
            found = self._connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if found != "ok":
            raise DamagedCatalogueError(f"{self.name} is damaged")

    def _prepare_sqlite(self, path: str, is_writable: bool) -> None:
        """Set what each connection needs."""
        journal = "DELETE" if is_on_network(path) else "WAL"

        def connected(connection: Any, _record: Any) -> None:
            # sqlite3 would begin transactions only before INSERT and the like, so that one that
            # makes tables could be left half done.
            connection.isolation_level = None
            # SQLite's own knows ASCII only, and names of patients have other letters.
            connection.create_function("lower", 1, _lower, deterministic=True)
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {1000 * _SECONDS}")
            if is_writable:
                cursor.execute(f"PRAGMA journal_mode = {journal}")
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.execute("PRAGMA secure_delete = ON")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        def begun(connection: sql.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        sql.event.listen(self._engine, "connect", connected)
        sql.event.listen(self._engine, "begin", begun)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """End the transaction that reading begins."""
        with self._refusals():
            try:
                yield
            finally:
                self._connection.rollback()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise errors of the database as dicube's, without the values in its statements."""
        try:
            yield
        except DicomCubeError:
            raise
        except ImportError as error:
            raise MissingPackageError(f"the catalogue {self.name} needs {error.name}") from error
        except DBAPIError as error:
            text = text_without_credentials(str(error.orig)).partition("\n")[0]
            if "not a database" in text or "malformed" in text:
                raise DamagedCatalogueError(
                    f"{self.name} is damaged, or not the catalogue of an archive"
                ) from error
            raise CubeFileAccessError(f"the catalogue {self.name}: {_unquoted(text)}") from error
        except SQLAlchemyError as error:
            raise DataConsistencyError(
                f"expected a path or URL of a database, found {self.name}: {type(error).__name__}"
            ) from error
        except OSError as error:
            raise CubeFileAccessError(f"the catalogue {self.name}: {error.strerror}") from error


# ------------------------------------------------------------------------------------ conditions


def conditions_of(filters: Mapping[str, Any]) -> list[sql.ColumnElement[bool]]:
    """Return the conditions that filters stand for.

    Args:
        filters: values by keyword, or by `patient`, `study`, `series`, `instance`, which are their
            IDs or UIDs, or by another keyword in snake_case. A text may have the wildcards * and ?
            of QIDO-RS. A date may be a range, such as '20240101-20240331'.

    Raises:
        DataConsistencyError: the catalogue has no such keyword.
    """
    found: list[sql.ColumnElement[bool]] = []
    for name, value in filters.items():
        if value is None:
            continue
        if name in _UID_OF_LEVEL:
            found.append(_UID_OF_LEVEL[name] == str(value))
        elif name in ("instance", INSTANCE[0]):
            of_instance = sql.select(_instances.c.series_id).where(
                _instances.c.SOPInstanceUID == str(value)
            )
            found.append(_series.c.id.in_(of_instance))
        else:
            found.append(_condition(_column(name), name, value))
    return found


def _column(name: str) -> sql.Column[Any]:
    wanted = name.replace("_", "").casefold()
    for keyword, column in _SEARCHED.items():
        if keyword.replace("_", "").casefold() == wanted:
            return column
    raise DataConsistencyError(
        f"expected a keyword of the catalogue, found {name!a}",
        suggestion=f"it has {', '.join(_SEARCHED)}",
    )


def _condition(column: sql.Column[Any], name: str, value: Any) -> sql.ColumnElement[bool]:
    if isinstance(column.type, sql.Boolean):
        wanted = _TRUTHS.get(str(value).casefold())
        if wanted is None:
            raise DataConsistencyError(f"{name}: expected true or false")
        return column.is_(wanted)
    if not isinstance(column.type, sql.Text):
        try:
            return column == int(value)
        except (TypeError, ValueError):
            raise DataConsistencyError(f"{name}: expected an integer") from None
    text = str(value)
    if column.name.endswith("Date") and not re.search("[*?]", text):
        dates = dates_of(text)
        if dates is None:
            raise DataConsistencyError(
                f"{name}: expected a day or two days in their order, such as 2024-01-31 or "
                "2024-01-01..2024-03-31"
            )
        first, last = dates
        bounds = [column >= first] * bool(first) + [column <= last] * bool(last)
        return sql.and_(*bounds, column.is_not(None))
    if set(text) & set(_WILDCARDS):
        return column.like(_pattern_of(text), escape="\\")
    return column == text


def _matching(match: Match, tables: Sequence[sql.Table]) -> sql.ColumnElement[bool]:
    """Return a condition on rows of joined tables, which may be one on tables below them."""
    every = _TABLES_OF_LEVEL["instance"]
    if match.keyword == "ModalitiesInStudy":  # of a series beside the one that is returned, perhaps
        others = _series.alias()
        inner = others.c.studies_id == _studies.c.id
        return sql.exists().where(inner, _meets(others.c.Modality, match))
    table = next(table for table in every if match.keyword in table.c)
    condition = _meets(table.c[match.keyword], match)
    if table in tables:
        return condition
    below = every[len(tables) : every.index(table) + 1]
    joins = [t.c[f"{upper.name}_id"] == upper.c.id for upper, t in pairwise(every) if t in below]
    return sql.exists().where(*joins, condition)


def _meets(column: sql.Column[Any], match: Match) -> sql.ColumnElement[bool]:
    if match.kind == "equal":
        is_number = match.keyword in INTEGERS
        return column.in_([int(value) if is_number else value for value in match.values])
    if match.kind == "like":
        return column.ilike(_pattern_of(match.values[0]), escape="\\")
    first, last = match.values
    bounds = [column >= first] * bool(first) + [column <= last] * bool(last)
    return sql.and_(*bounds, column.is_not(None))


def _who(patients: Any) -> sql.ColumnElement[Any]:
    """Return what tells patients with the same UIDs apart: the ID, or else the name."""
    return sql.func.coalesce(patients.c.PatientID, patients.c.PatientName)


def _pattern_of(text: str) -> str:
    """Return the pattern of LIKE for a text with wildcards."""
    escaped = re.sub(r"([%_\\])", r"\\\1", text)
    return "".join(_WILDCARDS.get(char, char) for char in escaped)


_UNKNOWN = {"transformed": False, "original_uid": None, "added": None, "dicube": None}


def _series_values(entry: Entry, study: int) -> dict[str, Any]:
    record = entry.record
    values: dict[str, Any] = {
        **record.series,
        "studies_id": study,
        "NumberOfSeriesRelatedInstances": len(record.instances),
        "file": entry.file,
        "size": record.size,
        "original_size": record.original_size,
        "shape": json.dumps(record.shape),
        "dtype": record.dtype,
        "spacing": json.dumps(record.spacing),
        "status": record.status,
        "has_originals": record.has_originals,
    }
    if entry.transformed is not None:
        values |= {"transformed": entry.transformed, "original_uid": entry.original_uid}
    if entry.added is not None:
        values["added"] = entry.added
    if entry.version is not None:
        values["dicube"] = entry.version
    return values


def _is_writable(path: str) -> bool:
    """Return whether SQLite can change a database, and the files that it adds to it."""
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path) or os.curdir, os.W_OK)


def _read_only(url: sql.URL, path: str) -> sql.URL:
    """Return the URL of a database that can only be read, as on a medium or in a snapshot.

    Without a log, which the last process that changes a database removes, no other file is needed.
    """
    query = {"uri": "true", "mode": "ro"}
    if not os.path.exists(f"{path}-wal"):
        query["immutable"] = "1"
    elif not os.path.exists(f"{path}-shm"):
        raise CubeFileAccessError(
            f"{path}: its log {path}-wal can be read only where files can be written",
            suggestion="copy the catalogue and its log elsewhere, and name that copy (--catalogue)",
        )
    return url.set(database=f"file:{quote(os.path.abspath(path))}", query=query)


def _set_aside(path: str) -> str:
    """Rename a database and the files that SQLite added to it; return the new name."""
    kept = next(
        name
        for name in (f"{path}.damaged{number or ''}" for number in count())
        if not os.path.lexists(name)
    )
    os.rename(path, kept)
    for added in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.rename(path + added, kept + added)
    return kept


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(values), _BATCH):
        yield values[first : first + _BATCH]


def _unquoted(text: str) -> str:
    """Return a message of a database without the values that it quotes."""
    return re.sub(r"\([^)]*\)=\([^)]*\)|'[^']*'", "…", text)
