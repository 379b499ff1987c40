"""Searches a catalogue for the studies, series or instances that meet conditions on keywords.

Must not know how a database is opened or changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import sqlalchemy as sql

from dicube.archive.catalogue import schema
from dicube.archive.catalogue.database import batches
from dicube.archive.catalogue.schema import Level
from dicube.archive.dates import dates_of
from dicube.archive.record import INSTANCE, INTEGERS, STUDY
from dicube.exceptions import DataConsistencyError

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_WILDCARDS = {"*": "%", "?": "_"}
_SEARCHED = {column.name: column for column in schema.ROW}
_UID_OF_LEVEL = {
    "patient": schema.patients.c.PatientID,
    "study": schema.studies.c.StudyInstanceUID,
    "series": schema.series.c.SeriesInstanceUID,
}


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


def find(
    connection: sql.Connection,
    level: Level,
    matches: Sequence[Match],
    limit: int,
    offset: int = 0,
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
    tables = schema.TABLES_OF_LEVEL[level]
    joined: Any = tables[0]
    for table in tables[1:]:
        joined = joined.join(table)
    columns: dict[str, Any] = {c.name: c for t in tables for c in t.c if c.name not in schema.KEYS}
    if level == "study":
        columns["who"] = _who(schema.patients).label("who")
    query = sql.select(*columns.values()).select_from(joined)
    query = query.where(*(_matching(match, tables) for match in matches))
    if level == "study":  # it has a row for each set of values of its patient
        other, patient = schema.studies.alias(), schema.patients.alias()
        query = query.where(
            ~sql.exists()
            .where(other.c.StudyInstanceUID == schema.studies.c.StudyInstanceUID)
            .where(other.c.patients_id == patient.c.id, other.c.id < schema.studies.c.id)
            .where(_who(patient).is_not_distinct_from(_who(schema.patients)))
        )
        query = query.order_by(schema.studies.c.StudyDate.desc())
    elif level == "series":
        query = query.order_by(schema.series.c.studies_id, schema.series.c.SeriesNumber)
    else:
        query = query.order_by(schema.instances.c.series_id, schema.instances.c.InstanceNumber)
    query = query.order_by(tables[-1].c.id).limit(limit).offset(offset)
    found = [dict(row._mapping) for row in connection.execute(query)]
    if level == "study":
        keys = [(row[STUDY[0]], row.pop("who")) for row in found]
        counted = _counted(connection, keys)
        found = [row | counted[key] for row, key in zip(found, keys, strict=True)]
    return found


def _counted(
    connection: sql.Connection, keys: list[tuple[str, Any]]
) -> dict[tuple[str, Any], dict[str, Any]]:
    """Return what studies have in all, by their UIDs and patients."""
    number = "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"
    found: dict[tuple[str, Any], dict[str, Any]] = {
        key: {"ModalitiesInStudy": [], number[0]: 0, number[1]: 0} for key in keys
    }
    key, modality = (schema.studies.c[STUDY[0]], _who(schema.patients)), schema.series.c.Modality
    sums = sql.func.count(), sql.func.sum(schema.series.c.NumberOfSeriesRelatedInstances)
    for batch in batches(list(dict.fromkeys(study for study, *_ in keys))):
        query = sql.select(modality, *sums, *key).select_from(schema.JOINED)
        query = query.where(key[0].in_(batch)).group_by(*key, modality).order_by(modality)
        for name, series, instances, study, who in connection.execute(query):
            values = found.get((study, who))
            if values is None:  # of a patient who was not searched for
                continue
            values["ModalitiesInStudy"] += [name] * bool(name)
            values[number[0]] += series
            values[number[1]] += int(instances)
    return found


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
            of_instance = sql.select(schema.instances.c.series_id).where(
                schema.instances.c.SOPInstanceUID == str(value)
            )
            found.append(schema.series.c.id.in_(of_instance))
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
    every = schema.TABLES_OF_LEVEL["instance"]
    if match.keyword == "ModalitiesInStudy":  # of a series beside the one that is returned, perhaps
        others = schema.series.alias()
        inner = others.c.studies_id == schema.studies.c.id
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
