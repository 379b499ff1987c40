"""Answers search requests: studies, series and instances of a catalogue (QIDO-RS: PS3.18 10.6).

Must not know databases or files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dicube.archive.catalogue import Level, Match
from dicube.dicom.dicom_tags import get_tag_key, vr_of
from dicube.web import matching
from dicube.web.accept import Offer
from dicube.web.matching import KEYWORDS, query_of
from dicube.web.negotiation import expect, service_url
from dicube.web.responses import Workers, json_response
from dicube.web.stored import Stored

JSON_OFFERS = (Offer("application/dicom+json"), Offer("application/json"))
# Attributes that a result has even if they are empty (PS3.18 Tables 10.6.3-3 to 10.6.3-5).
_ALWAYS = frozenset(
    """
    StudyInstanceUID StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName
    PatientID PatientBirthDate PatientSex StudyID Modality SeriesInstanceUID SeriesNumber
    SOPClassUID SOPInstanceUID InstanceNumber
    """.split()
)
_COUNTS: dict[Level, tuple[str, ...]] = {
    "study": (
        "ModalitiesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    "series": ("NumberOfSeriesRelatedInstances",),
    "instance": (),
}
_UIDS = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
_LEVELS: tuple[Level, ...] = ("study", "series", "instance")
_TOO_MANY = (
    "The number of results exceeded the maximum supported by the server. Additional results can "
    "be requested."
)


class Search:
    """The search transactions of a service."""

    def __init__(self, stored: Stored, workers: Workers) -> None:
        """Take what is served, and the threads that search."""
        self._stored, self._workers = stored, workers

    async def studies(self, request: Request) -> Response:
        """Return studies."""
        return await self._found(request, "study")

    async def series(self, request: Request) -> Response:
        """Return series, of a study or of all."""
        return await self._found(request, "series")

    async def instances(self, request: Request) -> Response:
        """Return instances, of a series, of a study or of all."""
        return await self._found(request, "instance")

    async def _found(self, request: Request, level: Level) -> Response:
        expect(request, JSON_OFFERS)
        query = query_of(request.query_params.multi_items())
        given = request.path_params
        matches = [
            *query.matches,
            *(Match(_UIDS[name], "equal", (uid,)) for name, uid in given.items()),
        ]
        rows = await self._workers.run(
            self._stored.find, level, matches, query.limit + 1, query.offset
        )
        warnings = list(query.warnings)
        if len(rows) > query.limit:
            rows = rows[: query.limit]
            if query.limit == matching.MOST_RESULTS:
                warnings.append(_TOO_MANY)
        shown = _shown_levels(level, given, query.included)
        base = service_url(request)
        results = [_result(row, level, shown, base) for row in rows]
        body = json.dumps(results, ensure_ascii=False, separators=(",", ":")).encode()
        headers: dict[str, str] = {}
        if warnings:
            headers["Warning"] = ", ".join(f'299 dicube "{text}"' for text in warnings)
        return json_response(request, body, headers=headers)


def _shown_levels(level: Level, given: Mapping[str, str], included: set[str]) -> list[Level]:
    """Return the levels whose attributes results have: their own, and those not in the path."""
    above = _LEVELS[: _LEVELS.index(level)]
    wanted = [
        one
        for one in above
        if one not in given or "all" in included or included.intersection(KEYWORDS[one])
    ]
    return [*wanted, level]


def _result(
    row: Mapping[str, Any], level: Level, shown: Sequence[Level], base: str
) -> dict[str, Any]:
    """Return a row of the catalogue in the DICOM JSON model."""
    url = base
    for one, part in zip(_LEVELS, ("studies", "series", "instances"), strict=True):
        url = f"{url}/{part}/{row[_UIDS[one]]}"
        if one == level:
            break
    found = {
        get_tag_key("RetrieveURL"): {"vr": "UR", "Value": [url]},
        get_tag_key("InstanceAvailability"): {"vr": "CS", "Value": ["ONLINE"]},
    }
    for one in _LEVELS[: _LEVELS.index(level) + 1]:
        words = (*KEYWORDS[one], *_COUNTS[one]) if one in shown else (_UIDS[one],)
        for word in words:
            value = row.get(word)
            if value is not None or word in _ALWAYS:
                key = get_tag_key(word)
                found[key] = _element(vr_of(key), value)
    return dict(sorted(found.items()))


def _element(vr: str, value: Any) -> dict[str, Any]:
    if value is None or value == "" or value == []:
        return {"vr": vr}
    if vr == "SQ":
        items = [
            {get_tag_key(word): text for word, text in item.items()} for item in json.loads(value)
        ]
        return {
            "vr": vr,
            "Value": [{key: _element(vr_of(key), text) for key, text in i.items()} for i in items],
        }
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str) and vr not in ("LT", "ST", "UT"):
        values = value.split("\\")
    if vr == "PN":
        return {"vr": vr, "Value": [_name(text) for text in values]}
    return {"vr": vr, "Value": values}


def _item(values: Mapping[str, str]) -> dict[str, Any]:
    elements = {get_tag_key(word): value for word, value in values.items()}
    return {key: _element(vr_of(key), value) for key, value in elements.items()}


def _name(text: str) -> dict[str, str]:
    """Return the groups of a person's name (PS3.18 F.2.2)."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {group: part for group, part in groups if part}
