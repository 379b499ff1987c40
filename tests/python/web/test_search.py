"""Search by QIDO-RS: what is found, how it is matched, in which pages, and what results hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("sqlalchemy")

from inputs.dicom_series import write_series
from inputs.series_trees import STUDY, add, series_of
from inputs.served import client_of, originals_of
from pydicom.dataset import Dataset

from dicube import Archive
from dicube.archive.catalogue import IN_MEMORY, Catalogue, Match
from dicube.web import matching
from dicube.web.matching import QueryError, match_of
from dicube.web.stored import stored_at


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Any]:
    with client_of(made / "archive") as client:
        yield client


def found(client: Any, path: str, **parameters: str) -> list[Dataset]:
    """Return the results of a search as datasets."""
    response = client.get(f"/dicom-web{path}", params=parameters)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/dicom+json"
    return [Dataset.from_json(result) for result in response.json()]


def uids(client: Any, path: str, keyword: str, **parameters: str) -> list[str]:
    return [
        str(one[keyword].value).removeprefix(f"{STUDY}.")
        for one in found(client, path, **parameters)
    ]


def test_studies_have_the_attributes_of_the_standard_and_counts(client: Any, made: Path) -> None:
    later, earlier = found(client, "/studies")  # the latest first
    assert later.StudyInstanceUID == f"{STUDY}.2"
    assert later.PatientName == "Müller^Änne=山田^太郎"
    assert earlier.StudyInstanceUID == f"{STUDY}.1"
    assert earlier.ReferringPhysicianName == "Who^Doctor"
    assert list(earlier.ModalitiesInStudy) == ["CT", "MR", "OT", "US"]
    originals = originals_of(made / "tree").values()
    of_study = [one for one in originals if one.StudyInstanceUID == f"{STUDY}.1"]
    assert earlier.NumberOfStudyRelatedInstances == len(of_study)
    assert earlier.NumberOfStudyRelatedSeries == len({one.SeriesInstanceUID for one in of_study})
    assert earlier.AccessionNumber == ""  # there, though empty
    assert earlier.InstanceAvailability == "ONLINE"
    assert earlier.RetrieveURL == f"http://testserver/dicom-web/studies/{STUDY}.1"


def test_names_are_in_their_groups(client: Any) -> None:
    (name,) = client.get("/dicom-web/studies?PatientID=0815").json()[0]["00100010"]["Value"]
    assert name == {"Alphabetic": "Müller^Änne", "Ideographic": "山田^太郎"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"PatientID": "0815"}, ["2"]),
        ({"00100020": "0815"}, ["2"]),
        ({"PatientID": "08*"}, ["2"]),
        ({"PatientID": "?815"}, ["2"]),
        ({"PatientID": "%"}, []),
        ({"PatientID": "08_5*"}, []),
        ({"PatientName": "müller^änne*"}, ["2"]),
        ({"PatientName": "doe^john"}, ["1"]),
        ({"PatientName": ""}, ["2", "1"]),
        ({"StudyDate": "20240101"}, ["1"]),
        ({"StudyDate": "20240102-"}, ["2"]),
        ({"StudyDate": "-20240101"}, ["1"]),
        ({"StudyDate": "20230101-20241231"}, ["2", "1"]),
        ({"StudyTime": "1015"}, ["1"]),
        ({"StudyTime": "101500.25"}, ["1"]),
        ({"StudyTime": "1016-"}, []),
        ({"StudyTime": "10-1015"}, ["1"]),
        ({"StudyInstanceUID": f"{STUDY}.1,{STUDY}.2"}, ["2", "1"]),
        ({"StudyInstanceUID": f"{STUDY}.2\\{STUDY}.9"}, ["2"]),
        ({"StudyInstanceUID": f"{STUDY}.*"}, []),
        ({"ModalitiesInStudy": "US"}, ["1"]),
        ({"ModalitiesInStudy": "US,XA"}, ["1"]),
        ({"ModalitiesInStudy": "XA"}, []),
        ({"ModalitiesInStudy": "u?"}, ["1"]),
        ({"ModalitiesInStudy": "*"}, ["2", "1"]),
        ({"Modality": "MR"}, ["1"]),
        ({"SOPInstanceUID": f"{STUDY}.2.1.0"}, ["2"]),
        ({"PatientID": "0815", "StudyDate": "20240101"}, []),
        ({"limit": "1"}, ["2"]),
        ({"limit": "1", "offset": "1"}, ["1"]),
        ({"offset": "2"}, []),
        ({"limit": "0"}, []),
    ],
)
def test_studies_are_matched(client: Any, parameters: dict[str, str], expected: list[str]) -> None:
    assert uids(client, "/studies", "StudyInstanceUID", **parameters) == expected


def test_series_and_instances_are_found_at_each_level(client: Any, made: Path) -> None:
    originals = originals_of(made / "tree")
    every = {str(one.SeriesInstanceUID) for one in originals.values()}
    assert {str(one.SeriesInstanceUID) for one in found(client, "/series")} == every
    of_study = [uid for uid in every if uid.startswith(f"{STUDY}.2.")]
    in_study = found(client, f"/studies/{STUDY}.2/series")
    assert {str(one.SeriesInstanceUID) for one in in_study} == set(of_study)
    path = f"/studies/{STUDY}.1/series/{STUDY}.1.1/instances"
    assert uids(client, path, "SOPInstanceUID") == ["1.1.0", "1.1.1", "1.1.2"]
    assert len(found(client, f"/studies/{STUDY}.2/instances")) == 4
    assert {str(one.SOPInstanceUID) for one in found(client, "/instances")} == originals.keys()
    assert uids(client, "/instances", "SOPInstanceUID", InstanceNumber="3") == ["1.1.2", "1.2.2"]
    assert uids(client, "/series", "SeriesInstanceUID", Modality="U?") == ["1.3"]
    assert found(client, "/studies/1.2.3/series") == []


def test_results_have_the_levels_that_the_path_leaves_open(client: Any) -> None:
    (series,) = found(client, f"/studies/{STUDY}.1/series", Modality="US")
    assert series.NumberOfSeriesRelatedInstances == 2
    assert series.SeriesNumber == 3
    assert series.StudyInstanceUID == f"{STUDY}.1"
    assert "PatientID" not in series
    (series,) = found(client, "/series", Modality="US")
    assert series.PatientID == "4711"
    for included in ("all", "PatientID", "00100020", "StudyDate,PatientID"):
        path = f"/studies/{STUDY}.1/series"
        (series,) = found(client, path, Modality="US", includefield=included)
        assert series.PatientID == "4711"
    instance = found(client, f"/studies/{STUDY}.1/series/{STUDY}.1.4/instances")[0]
    assert (instance.Rows, instance.Columns, instance.NumberOfFrames) == (6, 5, 4)
    assert "Modality" not in instance
    assert instance.RetrieveURL.endswith(f"/series/{STUDY}.1.4/instances/{STUDY}.1.4.0")


def test_what_is_not_done_is_told_in_a_warning_without_values(client: Any) -> None:
    parameters = {"fuzzymatching": "true", "PatientWeight": "81", "nonsense": "x"}
    response = client.get("/dicom-web/studies", params=parameters)
    assert response.status_code == 200
    warning = response.headers["warning"]
    assert "299 dicube" in warning
    assert "fuzzymatching" in warning
    assert "2 query parameters" in warning
    assert "81" not in warning
    assert "warning" not in client.get("/dicom-web/studies?fuzzymatching=false").headers


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "offset=1.5",
        "StudyDate=yesterday",
        "StudyDate=20240230",
        "StudyTime=noon",
        "StudyTime=-",
        "SeriesNumber=one",
        "PatientName=" + "x" * 2000,
        "StudyInstanceUID=" + ",".join(map(str, range(501))),
    ],
)
def test_invalid_queries_are_refused_without_their_values(client: Any, query: str) -> None:
    response = client.get(f"/dicom-web/series?{query}")
    assert response.status_code == 400
    _, _, value = query.partition("=")
    assert len(value) < 3 or value not in response.text


def test_more_results_than_the_server_gives_are_told(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MOST_RESULTS", 3)
    for query in ("", "?limit=99"):
        response = client.get(f"/dicom-web/instances{query}")
        assert len(response.json()) == 3
        assert "Additional results can be requested" in response.headers["warning"]
    assert "warning" not in client.get("/dicom-web/instances?limit=2").headers


def test_only_json_is_sent_and_gzip_where_accepted(client: Any) -> None:
    url = "/dicom-web/instances"
    assert client.get(url, headers={"Accept": "application/json"}).status_code == 200
    xml = 'multipart/related; type="application/dicom+xml"'
    assert client.get(url, headers={"Accept": xml}).status_code == 406
    packed = client.get(url, headers={"Accept-Encoding": "gzip"})
    plain = client.get(url, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    refusing = client.get(url, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refusing.headers


def test_pages_are_made_in_the_database(made: Path) -> None:
    statements: list[str] = []
    with Catalogue(str(made / "archive" / "catalogue.sqlite")) as catalogue:
        from sqlalchemy import event

        event.listen(
            catalogue._engine,
            "before_cursor_execute",
            lambda _c, _k, statement, *_: statements.append(statement),
        )
        rows = catalogue.find("instance", [], 2, 3)
        assert len(rows) == 2
        assert [row["SOPInstanceUID"] for row in catalogue.find("instance", [], 5)][3:] == [
            row["SOPInstanceUID"] for row in rows
        ]
    selects = [one for one in statements if one.startswith("SELECT")]
    assert selects
    assert all("LIMIT" in one and "OFFSET" in one for one in selects)


def test_a_study_of_patients_with_different_values_is_one_result(tmp_path: Path) -> None:
    one, other = series_of(1, 1), series_of(2, 1)
    other[0].PatientSex = "F"  # a row of its own in the catalogue
    write_series(tmp_path / "a", one)
    write_series(tmp_path / "b", other)
    add(Archive(tmp_path / "archive"), [tmp_path / "a", tmp_path / "b"])
    with client_of(tmp_path / "archive") as client:
        (study,) = found(client, "/studies")
        assert study.NumberOfStudyRelatedSeries == 2
        assert len(found(client, f"/studies/{STUDY}.1/series")) == 2


def test_patients_who_share_uids_are_told_apart(tmp_path: Path) -> None:
    patients = [("4711", "DOE^JOHN"), ("0815", "DOE^JOHN"), ("", "ROE^JANE")]
    for number, (patient, name) in enumerate(patients):
        datasets = series_of(1, 2 + number, patient)
        for dataset in datasets:
            dataset.PatientName = name
            dataset.SOPInstanceUID += f".{number}"
        write_series(tmp_path / "in" / str(number), datasets)
    archive = Archive(tmp_path / "archive")
    assert add(archive, tmp_path / "in").counts == {"added": 3}
    sources = [str(path) for path in (tmp_path / "archive").rglob("*.dcba")]
    for stored in (stored_at([tmp_path / "archive"]), stored_at(sources)):
        with client_of(stored) as client:
            studies = found(client, "/studies")
            assert sorted(
                (one.PatientID, str(one.PatientName), one.NumberOfStudyRelatedInstances)
                for one in studies
            ) == [("", "ROE^JANE", 4), ("0815", "DOE^JOHN", 3), ("4711", "DOE^JOHN", 2)]
            assert len(found(client, f"/studies/{STUDY}.1/series")) == 3
            assert len(found(client, "/studies", PatientID="0815")) == 1
            # By its UIDs, the series is that of all three.
            metadata = client.get(f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.1/metadata")
            uids = [one["00080018"]["Value"][0] for one in metadata.json()]
            assert len(set(uids)) == 9
            for uid in uids:
                url = f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.1/instances/{uid}/frames/1"
                assert client.get(url).status_code == 200


def test_requests_in_a_series_are_items(tmp_path: Path) -> None:
    datasets = series_of(1, 1)
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "R1", "S1"
    datasets[0].RequestAttributesSequence = [request]
    add(Archive(tmp_path / "archive"), write_series(tmp_path / "a", datasets))
    with client_of(tmp_path / "archive") as client:
        (series,) = found(client, "/series")
        (item,) = series.RequestAttributesSequence
        assert (item.RequestedProcedureID, item.ScheduledProcedureStepID) == ("R1", "S1")


def test_a_catalogue_in_memory_is_of_this_object_alone() -> None:
    with Catalogue(IN_MEMORY, create=True) as one, Catalogue(IN_MEMORY, create=True) as other:
        assert one.find("study", [], 1) == other.find("study", [], 1) == []
    assert not Path(IN_MEMORY).exists()


def test_matches_of_values() -> None:
    assert match_of("StudyTime", "08:00-12") == Match(
        "StudyTime", "range", ("0800", "125959.999999")
    )
    assert match_of("StudyTime", "10") == Match("StudyTime", "range", ("10", "105959.999999"))
    assert match_of("Modality", "CT\\MR") == Match("Modality", "equal", ("CT", "MR"))
    with pytest.raises(QueryError):
        match_of("StudyTime", "1")


def test_results_are_json_of_the_standard(client: Any) -> None:
    for result in json.loads(client.get("/dicom-web/instances").content):
        assert list(result) == sorted(result)
        for element in result.values():
            assert element["vr"]
            assert element.get("Value") != []
