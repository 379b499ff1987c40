"""dicom_status: each status on metadata with that fault only, and its findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from inputs.dicom_series import each, make_series
from pydicom.dataset import Dataset

from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_status import DicomStatus, dicom_findings, get_dicom_status

COUNT = 6
Fault = Callable[[list[Dataset]], object]


def values(keyword: str, given: list[Any]) -> Fault:
    return lambda series: each(series, keyword, given)


def at(*places: float) -> Fault:
    return values("ImagePositionPatient", [[-10, 20, place] for place in places])


FAULTS: list[tuple[DicomStatus, Fault, set[int]]] = [
    (DicomStatus.MISSING_SERIES_UID, values("SeriesInstanceUID", [...] * 6), set(range(6))),
    (DicomStatus.MISSING_SERIES_UID, values("SeriesInstanceUID", ["1.2"] * 5 + [""]), {5}),
    (DicomStatus.NON_UNIFORM_SERIES_UID, values("SeriesInstanceUID", ["1.2"] * 5 + ["1.3"]), {5}),
    (DicomStatus.MISSING_INSTANCE_NUMBER, values("InstanceNumber", [1, 2, 3, 4, 5, ...]), {5}),
    (DicomStatus.MISSING_INSTANCE_NUMBER, values("InstanceNumber", [1, 2, "", 3, 4, 5]), {2}),
    (DicomStatus.MISSING_INSTANCE_NUMBER, values("InstanceNumber", [...] * 6), set(range(6))),
    (DicomStatus.DUPLICATE_INSTANCE_NUMBERS, values("InstanceNumber", [1, 2, 2, 3, 4, 5]), {1, 2}),
    (DicomStatus.DUPLICATE_INSTANCE_NUMBERS, values("InstanceNumber", [1] * 6), set(range(6))),
    (DicomStatus.GAP_INSTANCE_NUMBER, values("InstanceNumber", [1, 2, 3, 4, 5, 7]), {4, 5}),
    (DicomStatus.GAP_INSTANCE_NUMBER, values("InstanceNumber", [7, 5, 4, 3, 2, 1]), {0, 1}),
    (DicomStatus.MISSING_DTYPE, values("BitsStored", [...] * 6), set(range(6))),
    (DicomStatus.MISSING_DTYPE, values("HighBit", [15] * 5 + [...]), {5}),
    (DicomStatus.NON_UNIFORM_DTYPE, values("BitsStored", [16] * 5 + [12]), {5}),
    (DicomStatus.MISSING_SPACING, values("PixelSpacing", [...] * 6), set(range(6))),
    (DicomStatus.MISSING_SPACING, values("PixelSpacing", [[0.5, 0.75]] * 5 + [None]), {5}),
    (
        DicomStatus.NON_UNIFORM_SPACING,
        values("PixelSpacing", [[0.5, 0.75]] * 5 + [[0.5, 0.7]]),
        {5},
    ),
    (DicomStatus.MISSING_SHAPE, values("Rows", [...] + [6] * 5), {0}),
    (DicomStatus.NON_UNIFORM_SHAPE, values("Columns", [5, 5, 4, 5, 5, 5]), {2}),
    (DicomStatus.MISSING_ORIENTATION, values("ImageOrientationPatient", [...] * 6), set(range(6))),
    (
        DicomStatus.NON_UNIFORM_ORIENTATION,
        values("ImageOrientationPatient", [[1, 0, 0, 0, 1, 0]] * 5 + [[1, 0, 0, 0, 0.8, 0.6]]),
        {5},
    ),
    (DicomStatus.MISSING_LOCATION, values("ImagePositionPatient", [...] * 6), set(range(6))),
    (DicomStatus.MISSING_LOCATION, lambda s: delattr(s[3], "ImagePositionPatient"), {3}),
    (DicomStatus.REVERSED_LOCATION, at(0, 1, 2, 1.5, 4, 5), {3}),
    (DicomStatus.REVERSED_LOCATION, at(5, 4, 3, 3.5, 1, 0), {3}),
    (DicomStatus.DWELLING_LOCATION, at(0, 1, 2, 2, 3, 4), {3}),
    (DicomStatus.DWELLING_LOCATION, at(4, 3, 2, 2, 1, 0), {3}),
    (DicomStatus.DWELLING_LOCATION, at(*[7] * 6), {1, 2, 3, 4, 5}),
    (DicomStatus.GAP_LOCATION, at(0, 1, 2, 3, 5, 6), {4}),
    (DicomStatus.GAP_LOCATION, at(6, 5, 3, 2, 1, 0), {2}),
    (DicomStatus.GAP_LOCATION, at(0, 1, 2, 3, 4, 6), {5}),
    (DicomStatus.NON_UNIFORM_RESCALE_FACTOR, values("RescaleSlope", [1] * 5 + [2]), {5}),
    (DicomStatus.NON_UNIFORM_RESCALE_FACTOR, values("RescaleIntercept", [...] + [-1024] * 5), None),
    (DicomStatus.UNREADABLE_RESCALE, values("RescaleSlope", [1] * 5 + [[1, 1]]), {5}),
    (DicomStatus.UNREADABLE_RESCALE, values("RescaleIntercept", [None] * 6), set(range(6))),
    (DicomStatus.INCONSISTENT, values("PixelSpacing", [[0, 0.75]] * 6), set(range(6))),
    (DicomStatus.INCONSISTENT, values("ImageOrientationPatient", [[1, 0, 0, 1, 1, 0]] * 6), None),
    (DicomStatus.INCONSISTENT, values("HighBit", [17] * 6), set(range(6))),
]  # type: ignore[list-item]


@pytest.mark.parametrize(("status", "fault", "slices"), FAULTS)
def test_each_fault_alone(status: DicomStatus, fault: Fault, slices: set[int] | None) -> None:
    series = make_series(COUNT)
    fault(series)
    meta = DicomMeta.from_datasets(series)
    assert get_dicom_status(meta) is status
    findings = list(dicom_findings(meta))
    assert {finding.status for finding in findings} == {status}
    finding = findings[0]
    if slices is not None:
        assert set(finding.slices) == slices
    assert len(finding.values) == len(finding.slices)
    assert finding.reference.startswith("PS3.")
    assert "\n" not in finding.message


def test_every_status_is_tested() -> None:
    tested = {status for status, _, _ in FAULTS} | {DicomStatus.CONSISTENT}
    assert tested == set(DicomStatus)
    assert all(status.value == status.name.lower() for status in DicomStatus)


@pytest.mark.parametrize(
    "harmless",
    [
        lambda series: None,
        lambda series: series.reverse(),
        at(5, 4, 3, 2, 1, 0),
        at(0, 0.6, 1.3, 1.9, 2.5, 3.1),  # 0.625 mm, rounded
        values("InstanceNumber", [11, 12, 13, 14, 15, 16]),
        values("InstanceNumber", [6, 5, 4, 3, 2, 1]),
        values("PixelSpacing", [[0.5, 0.75]] * 5 + [["0.50", "0.7500001"]]),
        values("ImageOrientationPatient", [[1, 0, 0, 0, 1, 0]] * 5 + [[1, 0, 0, 0, 1, 0.00001]]),
        values("RescaleSlope", [...] * 6),
        values("SliceThickness", [...] * 6),
        lambda series: series.__delitem__(slice(1, None)),
        lambda series: series.__delitem__(slice(2, None)),
    ],
)
def test_consistent(harmless: Fault) -> None:
    series = make_series(COUNT)
    harmless(series)
    meta = DicomMeta.from_datasets(series)
    assert list(dicom_findings(meta)) == []
    assert get_dicom_status(meta) is DicomStatus.CONSISTENT


def test_locations_are_looked_at_in_the_order_of_instance_numbers() -> None:
    series = make_series(COUNT)
    shuffled = [series[i] for i in (3, 0, 5, 1, 4, 2)]
    assert get_dicom_status(DicomMeta.from_datasets(shuffled)) is DicomStatus.CONSISTENT
    meta = DicomMeta.from_datasets(each(series, "InstanceNumber", [1, 3, 2, 4, 5, 6]))
    assert get_dicom_status(meta) is DicomStatus.REVERSED_LOCATION
    meta.sort_files(SortMethod.POSITION_RIGHT_HAND)
    assert get_dicom_status(meta) is DicomStatus.REVERSED_LOCATION


def test_the_first_check_wins_and_the_others_are_found() -> None:
    series = each(make_series(COUNT), "Rows", [6] * 5 + [7])
    each(series, "SeriesInstanceUID", ["1.2"] * 5 + ["1.3"])
    meta = DicomMeta.from_datasets(series)
    assert get_dicom_status(meta) is DicomStatus.NON_UNIFORM_SERIES_UID
    assert [finding.status for finding in dicom_findings(meta)] == [
        DicomStatus.NON_UNIFORM_SERIES_UID,
        DicomStatus.NON_UNIFORM_SHAPE,
    ]


def test_values_that_are_no_numbers() -> None:
    entries = {
        "00200013": {"vr": "IS", "shared": False, "Value": ["x", 2]},
        "0020000E": {"vr": "UI", "shared": True, "Value": ["1.2"]},
    }
    assert get_dicom_status(DicomMeta(entries)) is DicomStatus.MISSING_INSTANCE_NUMBER


def test_empty_metadata() -> None:
    assert get_dicom_status(DicomMeta({})) is DicomStatus.MISSING_SERIES_UID
