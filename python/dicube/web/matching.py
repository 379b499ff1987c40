"""Turns the query of a search request into conditions (QIDO-RS: PS3.18 8.3.4 and 10.6.1).

Must not know databases or HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dicube.archive.catalogue import Level, Match
from dicube.archive.dates import dates_of
from dicube.archive.record import INSTANCE, PATIENT, SERIES, STUDY
from dicube.dicom.dicom_tags import get_tag_key, keyword_of, vr_of
from dicube.exceptions import MetaDataError

_MOST_MATCHES = 100
MOST_RESULTS = 5000
_MOST_VALUES = 500  # of a list of UIDs
_LONGEST_VALUE = 1024  # characters; a list of UIDs may have more
_MODALITIES = "ModalitiesInStudy"
_WITHOUT_MATCHING = frozenset({"RequestAttributesSequence"})
KEYWORDS: dict[Level, tuple[str, ...]] = {
    "study": (*PATIENT, *STUDY),
    "series": SERIES,
    "instance": INSTANCE,
}
_MATCHED = {*(word for words in KEYWORDS.values() for word in words), _MODALITIES}
_MATCHED -= _WITHOUT_MATCHING
_TIME = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?")
_NO_FUZZY = (
    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
)


class QueryError(ValueError):
    """Raised for a query that can't be understood; the message quotes no value."""


@dataclass
class Query:
    """What a search request asks for.

    Attributes:
        matches: the conditions.
        limit: the most results; at most `MOST_RESULTS`.
        offset: how many results to leave out at the start.
        included: keywords of further attributes; {'all'} for all.
        warnings: what is not done as asked.
    """

    matches: list[Match] = field(default_factory=list)
    limit: int = field(default_factory=lambda: MOST_RESULTS)
    offset: int = 0
    included: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def query_of(parameters: Iterable[tuple[str, str]]) -> Query:
    """Return what the parameters of a query ask for.

    Raises:
        QueryError: a parameter is invalid.
    """
    query = Query()
    ignored = 0
    for name, value in parameters:
        if name == "limit":
            query.limit = min(_number(name, value), MOST_RESULTS)
        elif name == "offset":
            query.offset = min(_number(name, value), 1 << 62)
        elif name == "includefield":
            query.included |= {_included(text) for text in value.split(",") if text}
        elif name == "fuzzymatching":
            if value.lower() == "true":
                query.warnings.append(_NO_FUZZY)
        elif name == "accept":
            continue
        elif (keyword := _keyword(name)) in _MATCHED:
            if value.strip("*"):  # else it matches anything, even no value
                query.matches.append(match_of(keyword, value))
                if len(query.matches) > _MOST_MATCHES:
                    raise QueryError(f"expected at most {_MOST_MATCHES} conditions")
        else:
            ignored += 1
    if ignored:
        query.warnings.append(
            f"{ignored} query parameters are not supported. They have been ignored."
        )
    return query


def match_of(keyword: str, value: str) -> Match:
    """Return the condition that a value stands for (PS3.4 C.2.2.2).

    Raises:
        QueryError: the keyword can't have such a value.
    """
    vr = vr_of(get_tag_key(keyword))
    if vr == "UI":
        values = tuple(filter(None, re.split(r"[,\\]", value)))
        if len(values) > _MOST_VALUES:
            raise QueryError(f"{keyword}: expected at most {_MOST_VALUES} UIDs")
        return Match(keyword, "equal", values)
    if len(value) > _LONGEST_VALUE:
        raise QueryError(f"{keyword}: expected at most {_LONGEST_VALUE} characters")
    if vr in ("IS", "US"):
        if not re.fullmatch(r"[+-]?\d{1,12}", value):
            raise QueryError(f"{keyword}: expected an integer")
        return Match(keyword, "equal", (value,))
    if vr == "DA":
        dates = dates_of(value)
        if dates is None:
            raise QueryError(f"{keyword}: expected a date or a range, such as 20240101-20240331")
        return Match(keyword, "range", dates)
    if vr == "TM":
        return Match(keyword, "range", _times(keyword, value))
    if keyword in (_MODALITIES, "Modality"):
        values = tuple(filter(None, re.split(r"[,\\]", value)))
        if not set(value) & {"*", "?"}:
            return Match(keyword, "equal", values)
    if vr == "PN" or set(value) & {"*", "?"}:
        return Match(keyword, "like", (value,))
    return Match(keyword, "equal", (value,))


def _times(keyword: str, value: str) -> tuple[str, str]:
    """Return the first and the last time that a time, or a range of times, stands for."""
    first, dash, last = value.replace(":", "").partition("-")
    if not dash:
        last = first
    for text in (first, last):
        if text and not _TIME.fullmatch(text):
            raise QueryError(f"{keyword}: expected a time or a range, such as 080000-120000")
    if not first and not last:
        raise QueryError(f"{keyword}: expected a time or a range, such as 080000-120000")
    # A time of less precision is all that begins with it.
    return first, f"{last}{'235959.999999'[len(last) :]}" if last else ""


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,18}", value):
        raise QueryError(f"{name}: expected a whole number")
    return int(value)


def _keyword(name: str) -> str:
    """Return the keyword of a tag or keyword; '' if there is none."""
    try:
        return keyword_of(get_tag_key(name))
    except MetaDataError:
        return ""


def _included(text: str) -> str:
    return "all" if text == "all" else _keyword(text)
