"""identifiers: what identifies patient, study and series, and what a listing may show of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inputs.dicom_series import SERIES_UID, make_series, write_series
from pydicom.datadict import tag_for_keyword

from dicube import DicomCubeImage
from dicube.cli import main
from dicube.dicom.identifiers import _PATIENT, _STUDY_AND_SERIES, SHOWN_OF_ONE, identifiers

SECRETS = {
    "PatientName": "DOE^JOHN",
    "PatientID": "4711",
    "PatientBirthDate": "19700102",
    "PatientSex": "O",
    "AccessionNumber": "ACC123",
    "StudyID": "ST77",
    "StudyDate": "20240102",
    "StudyTime": "101112.5",
    "SeriesDate": "20240103",
    "AcquisitionDate": "20240104",
    "ContentTime": "131415",
}
UIDS = {"StudyInstanceUID": f"{SERIES_UID}.9.1", "SeriesInstanceUID": SERIES_UID}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    datasets = make_series(2)
    for dataset in datasets:
        for keyword, value in SECRETS.items():
            setattr(dataset, keyword, value)
        dataset.SeriesNumber = "0012"
    return write_series(tmp_path / "in", datasets)


def test_keywords_are_those_of_the_standard() -> None:
    every = (*_PATIENT, *_STUDY_AND_SERIES)
    assert None not in map(tag_for_keyword, every)
    assert len(set(every)) == len(every)
    assert set(every) >= SHOWN_OF_ONE


def test_values_are_texts_and_integers() -> None:
    values: dict[str, Any] = {"SeriesNumber": 3, "StudyID": "", "Modality": ["CT", "OT"]}
    assert identifiers(values.get) == {"SeriesNumber": 3, "Modality": "CT\\OT"}


def test_json_of_a_file_has_them_all(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DicomCubeImage.from_dicom_folder(series).to_file(tmp_path / "x.dcbs")
    assert main(["info", "--json", str(tmp_path / "x.dcbs")]) == 0
    tags = json.loads(capsys.readouterr().out)["tags"]
    assert tags.items() >= {**SECRETS, **UIDS, "SeriesNumber": 12, "Modality": "CT"}.items()
    assert main(["info", str(tmp_path / "x.dcbs")]) == 0
    shown = capsys.readouterr().out
    assert "DOE^JOHN" in shown and "20240102" in shown
    hidden = SECRETS.keys() - SHOWN_OF_ONE - {"PatientSex"}
    assert not any(SECRETS[keyword] in shown for keyword in hidden)


def test_listings_show_no_patient_unless_asked(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DicomCubeImage.from_dicom_folder(series).to_file(series / "x.dcbs")
    assert main(["info", "--json", str(series)]) == 0
    shown = capsys.readouterr().out
    listed = json.loads(shown)
    for entry in (*listed["series"], *listed["dicube_files"]):
        assert entry["tags"].items() >= {**UIDS, "SeriesNumber": 12, "Modality": "CT"}.items()
        assert not entry["tags"].keys() & SECRETS.keys()
    assert not any(value in shown for value in SECRETS.values() if len(value) > 1)
    assert main(["info", "--json", "--patient", str(series)]) == 0
    listed = json.loads(capsys.readouterr().out)
    for entry in (*listed["series"], *listed["dicube_files"]):
        found = {"PatientName": entry["patient_name"], "PatientID": entry["patient_id"]}
        assert {**entry["tags"], **found}.items() >= {**SECRETS, **UIDS}.items()
