"""The rows of a catalogue: which files an archive has, and what they hold.

Must not know dicube files, nor how the database is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import sqlalchemy as sql

from dicube.archive.catalogue import schema
from dicube.archive.catalogue.database import Database, batches
from dicube.archive.catalogue.schema import Level
from dicube.archive.catalogue.searching import Match, find
from dicube.archive.record import INSTANCE, PATIENT, STUDY, Entry, SeriesRecord, Source


class Catalogue(Database):
    """An open catalogue; `Database` says how it is opened."""

    # ------------------------------------------------------------------------------- writing

    def put(self, entries: Sequence[Entry]) -> None:
        """Add files, or replace what is known of them; within `changes`."""
        entries = list({entry.file: entry for entry in entries}.values())
        known = self._ids_of_files([entry.file for entry in entries])
        left = self._studies_of(known.values())
        for ids in batches(list(known.values())):
            self._connection.execute(
                schema.instances.delete().where(schema.instances.c.series_id.in_(ids))
            )
        studies = self._study_ids([entry.record for entry in entries])
        new_series, new_instance = self._new_ids(schema.series), self._new_ids(schema.instances)
        series, instances, sources = [], [], []
        for entry, study in zip(entries, studies, strict=True):
            values = _series_values(entry, study)
            number = known.get(entry.file)
            if number is None:
                number = next(new_series)
                series.append({**_UNKNOWN, **values, "id": number})
            else:
                of_file = schema.series.c.id == number
                self._connection.execute(schema.series.update().where(of_file).values(values))
            for one in entry.record.instances:
                row = dict(zip(INSTANCE, one.values, strict=True))
                row |= {"name": one.name, "slice": one.slice, "sha256": one.sha256}
                instances.append(row | {"series_id": number, "id": next(new_instance)})
            sources += [source._asdict() | {"series_id": number} for source in entry.sources]
        self._insert(schema.series, series)
        self._insert(schema.instances, instances)
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
        for ids in batches(known):
            for table in (schema.instances, schema.sources):
                self._connection.execute(table.delete().where(table.c.series_id.in_(ids)))
            self._connection.execute(schema.series.delete().where(schema.series.c.id.in_(ids)))
        self._drop_childless(left)

    # ------------------------------------------------------------------------------- reading

    def rows(self, conditions: Sequence[sql.ColumnElement[bool]] = ()) -> list[dict[str, Any]]:
        """Return a row for each series that meets all conditions, by patient, study and number."""
        query = sql.select(*schema.ROW).select_from(schema.JOINED).where(*conditions)
        order = (
            schema.patients.c.PatientID,
            schema.studies.c.StudyDate,
            schema.studies.c.StudyInstanceUID,
            schema.series.c.SeriesNumber,
            schema.series.c.SeriesInstanceUID,
        )
        with self._reading():
            found = [dict(row._mapping) for row in self._connection.execute(query.order_by(*order))]
        for row in found:
            row |= {k: json.loads(row[k]) for k in schema.JSON if row[k] is not None}
        return found

    def instances(self, file: str) -> list[dict[str, Any]]:
        """Return a row for each instance in a file."""
        columns = [c for c in schema.instances.c if c.name not in ("id", "series_id")]
        query = sql.select(*columns).join(schema.series).where(schema.series.c.file == file)
        with self._reading():
            found = self._connection.execute(query.order_by(schema.instances.c.id))
            return [dict(row._mapping) for row in found]

    def sizes(self) -> dict[str, int]:
        """Return the size of each file, by its name."""
        with self._reading():
            found = self._connection.execute(sql.select(schema.series.c.file, schema.series.c.size))
            return {row.file: row.size for row in found}

    def files(self) -> set[str]:
        """Return the names of all files."""
        return set(self._connection.execute(sql.select(schema.series.c.file)).scalars())

    def transformed_files(self) -> set[str]:
        """Return the names of the files whose datasets were changed before they were stored."""
        with self._reading():
            query = sql.select(schema.series.c.file).where(schema.series.c.transformed)
            return set(self._connection.execute(query).scalars())

    def known(self, sources: Sequence[Source]) -> dict[str, tuple[str, int]]:
        """Return the file that each unchanged source is in, and the file's size, by the path."""
        found: dict[str, tuple[str, int]] = {}
        columns = (
            schema.sources.c.path,
            schema.sources.c.size,
            schema.sources.c.mtime_ns,
            schema.series.c.file,
        )
        with self._reading():
            for batch in batches(list(sources)):
                now = {source.path: (source.size, source.mtime_ns) for source in batch}
                query = sql.select(*columns, schema.series.c.size.label("held")).join(schema.series)
                for path, size, mtime_ns, file, held in self._connection.execute(
                    query.where(schema.sources.c.path.in_(now))
                ):
                    if now[path] == (size, mtime_ns):
                        found[path] = file, held
        return found

    def summaries(self, files: Sequence[str]) -> list[tuple[str, str, str, int, int]]:
        """Return the name of each file, UIDs of study and series, number of instances, and size."""
        columns = (
            schema.series.c.file,
            schema.studies.c.StudyInstanceUID,
            schema.series.c.SeriesInstanceUID,
            schema.series.c.NumberOfSeriesRelatedInstances,
            schema.series.c.size,
        )
        found: list[tuple[str, str, str, int, int]] = []
        with self._reading():
            for batch in batches(list(files)):
                query = (
                    sql.select(*columns).join(schema.studies).where(schema.series.c.file.in_(batch))
                )
                found += map(tuple, self._connection.execute(query))
        return found

    def find(
        self, level: Level, matches: Sequence[Match], limit: int, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return what `searching.find` does."""
        with self._reading():
            return find(self._connection, level, matches, limit, offset)

    # ----------------------------------------------------------------------------- internals

    def _ids_of_files(self, files: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for batch in batches(list(files)):
            query = sql.select(schema.series.c.file, schema.series.c.id).where(
                schema.series.c.file.in_(batch)
            )
            found.update((file, number) for file, number in self._connection.execute(query))
        return found

    def _study_ids(self, records: Sequence[SeriesRecord]) -> list[int]:
        """Return the row of each record's study and patient; make those that are missing."""
        patients = self._known_rows(
            schema.patients, PATIENT, {r.patient[PATIENT[0]] for r in records}
        )
        studies = self._known_rows(
            schema.studies,
            ("patients_id", STUDY[0]),
            {record.study[STUDY[0]] for record in records},
        )
        new_patient, new_study = self._new_ids(schema.patients), self._new_ids(schema.studies)
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
        self._insert(schema.patients, patient_rows)
        self._insert(schema.studies, study_rows)
        return found

    def _known_rows(
        self, table: sql.Table, key: Sequence[str], wanted: set[Any]
    ) -> dict[tuple[Any, ...], int]:
        """Return the rows whose ID or UID is wanted, by the values of the key."""
        column = table.c[PATIENT[0] if table is schema.patients else STUDY[0]]
        found: dict[tuple[Any, ...], int] = {}
        for batch in batches(list(wanted)):
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
        for paths in batches([row["path"] for row in rows]):
            self._connection.execute(
                schema.sources.delete().where(schema.sources.c.path.in_(paths))
            )
        self._insert(schema.sources, rows)

    def _studies_of(self, series: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for ids in batches(list(series)):
            query = sql.select(schema.series.c.studies_id).where(schema.series.c.id.in_(ids))
            found.update(self._connection.execute(query).scalars())
        return found

    def _drop_childless(self, studies: set[int]) -> None:
        """Remove those of these studies that have no series, and their patients likewise."""
        patients: set[int] = set()
        for ids in batches(list(studies)):
            query = sql.select(schema.studies.c.patients_id).where(schema.studies.c.id.in_(ids))
            patients.update(self._connection.execute(query).scalars())
        for table, child, candidates in (
            (schema.studies, schema.series, studies),
            (schema.patients, schema.studies, patients),
        ):
            has_child = sql.exists().where(child.c[f"{table.name}_id"] == table.c.id)
            for ids in batches(list(candidates)):
                chosen = table.c.id.in_(ids) & ~has_child
                self._connection.execute(table.delete().where(chosen))


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
