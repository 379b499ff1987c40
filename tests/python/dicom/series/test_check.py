"""check: each finding without a status, on metadata with that fault only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import each, make_series
from pydicom.dataset import Dataset

import dicube
from dicube import DicomStatus, check_dicom, get_dicom_status, read_dicom_dir
from dicube.dicom import DicomMeta, Finding
from dicube.dicom.series.check import _equal_places

COUNT = 6
Fault = Callable[[list[Dataset]], object]


def values(keyword: str, given: list[Any]) -> Fault:
    return lambda series: each(series, keyword, given)


def positions(points: list[list[float]]) -> Fault:
    return values("ImagePositionPatient", points)


def checked(fault: Fault) -> tuple[DicomMeta, list[Finding]]:
    series = make_series(COUNT)
    fault(series)
    meta = DicomMeta.from_datasets(series)
    return meta, check_dicom(meta)


def differing(keyword: str, usual: Any, other: Any) -> Fault:
    return values(keyword, [usual] * 5 + [other])


FAULTS: list[tuple[str, Fault, set[int]]] = [
    ("missing_sop_instance_uid", lambda s: delattr(s[2], "SOPInstanceUID"), {2}),
    (
        "duplicate_sop_instance_uid",
        values("SOPInstanceUID", ["1.1", "1.2", "1.2", "1.3", "1.1", "1.4"]),
        {0, 1, 2, 4},
    ),
    ("non_uniform_patient", differing("PatientID", "4711", "4712"), {5}),
    ("non_uniform_patient", differing("PatientName", "DOE^JOHN", "DOE^JANE"), {5}),
    ("non_uniform_study", differing("StudyInstanceUID", "1.2", "1.3"), {5}),
    ("non_uniform_modality", differing("Modality", "CT", "PT"), {5}),
    ("non_uniform_sop_class", differing("SOPClassUID", "1.2", "1.3"), {5}),
    ("non_uniform_frame_of_reference", differing("FrameOfReferenceUID", "1.2", "1.3"), {5}),
    ("non_uniform_patient_position", differing("PatientPosition", "HFS", "FFS"), {5}),
    (
        "non_uniform_photometric_interpretation",
        differing("PhotometricInterpretation", "MONOCHROME2", "MONOCHROME1"),
        {5},
    ),
    ("non_uniform_rescale_type", differing("RescaleType", "HU", "US"), {5}),
    ("non_uniform_units", differing("Units", "BQML", "CNTS"), {5}),
    ("non_uniform_pixel_padding", differing("PixelPaddingValue", 0, 1), {5}),
    ("non_uniform_window", differing("WindowCenter", 40, [40, 300]), {5}),
    ("non_uniform_window", differing("WindowWidth", 400, 401), {5}),
    ("non_uniform_slice_thickness", differing("SliceThickness", 2.5, 5), {5}),
    (
        "tilted_gantry",
        positions([[-10, 20 + 1.5 * i, 4.0 * i] for i in range(COUNT)]),
        set(range(COUNT)),
    ),
    (
        "contradicting_slice_spacing",
        values("SpacingBetweenSlices", [2.5, 2.51, 5, 0, 2.5, -2.5]),
        {2, 3},
    ),
]


@pytest.mark.parametrize(("kind", "fault", "slices"), FAULTS, ids=[kind for kind, _, _ in FAULTS])
def test_each_fault_alone(kind: str, fault: Fault, slices: set[int]) -> None:
    meta, findings = checked(fault)
    assert [finding.kind for finding in findings] == [kind]
    finding = findings[0]
    assert finding.status is None
    assert set(finding.slices) == slices
    assert len(finding.values) == len(finding.slices)
    assert finding.reference.startswith("PS3.3 ")
    assert "\n" not in str(finding)
    assert get_dicom_status(meta) is DicomStatus.CONSISTENT


def test_nothing_is_the_matter() -> None:
    assert checked(lambda series: None)[1] == []
    assert checked(values("SpacingBetweenSlices", [2.5] * 6))[1] == []
    assert checked(lambda series: series.__delitem__(slice(1, None)))[1] == []


def test_findings_with_a_status_come_first() -> None:
    meta, findings = checked(
        lambda series: [
            each(series, "PatientID", ["1"] * 5 + ["2"]),
            each(series, "InstanceNumber", [1, 2, 3, 4, 5, 7]),
            each(series, "Rows", [6] * 5 + [7]),
        ]
    )
    assert [finding.kind for finding in findings] == [
        "gap_instance_number",
        "non_uniform_shape",
        "non_uniform_patient",
    ]
    assert findings[0].status is get_dicom_status(meta) is DicomStatus.GAP_INSTANCE_NUMBER


def test_the_angle_of_a_tilted_gantry_is_told() -> None:
    def tilt(series: list[Dataset]) -> None:
        positions([[-10, 20 - 1.5 * i, 4.0 * i] for i in range(COUNT)])(series)
        values("GantryDetectorTilt", [-20.5] * COUNT)(series)

    finding = checked(tilt)[1][0]
    assert "20.56 degrees" in finding.message
    assert "GantryDetectorTilt is -20.5" in finding.message
    assert finding.tolerance is not None
    _, findings = checked(positions([[-10, 20 + 0.009 * i, 1.0 * i] for i in range(COUNT)]))
    assert findings == []  # 0.5 degrees: a Space holds it


class TestRepeatedPositions:
    @staticmethod
    def findings(keyword: str, given: list[Any]) -> list[Finding]:
        def fault(series: list[Dataset]) -> None:
            positions([[-10, 20, 5.0 * (i % 3)] for i in range(COUNT)])(series)
            values(keyword, given)(series)

        return [f for f in checked(fault)[1] if f.kind == "repeated_positions"]

    @pytest.mark.parametrize(
        ("keyword", "given"),
        [
            ("TemporalPositionIdentifier", [1, 1, 1, 2, 2, 2]),
            ("DiffusionBValue", [0.0] * 3 + [1000.0] * 3),
            ("EchoTime", [10, 10, 10, 20, 20, 20]),
        ],
    )
    def test_what_tells_the_volumes_apart(self, keyword: str, given: list[Any]) -> None:
        (finding,) = self.findings(keyword, given)
        assert finding.slices == (0, 1, 2, 3, 4, 5)
        told = f"6 slices at 3 positions, 2 at each: 2 volumes of 3 slices (by {keyword})"
        assert finding.message == told

    def test_nothing_does(self) -> None:
        (finding,) = self.findings("EchoTime", [10, 20, 30, 10, 20, 30])
        assert finding.message.endswith("(by order of the slices)")

    def test_positions_within_a_micrometre_are_one(self) -> None:
        points = [[0, 0, z] for z in (0.0004999, 0.0005001, 1, 2, 3, 4)]
        (finding,) = (f for f in checked(positions(points))[1] if f.kind == "repeated_positions")
        assert finding.slices == (0, 1)
        assert "1 to 2 at each: no element distinguishes them" in finding.message

    def test_groups_are_those_of_all_pairs(self) -> None:
        chance = np.random.default_rng(1)
        for _ in range(50):
            places = chance.integers(0, 3, (40, 9)) * chance.choice([0, 1], 9)
            places = places + chance.choice([0, 4e-4, 9.9e-4, 1.1e-3], (40, 9))
            expected, left = [], list(range(40))
            while left:
                near = np.abs(places[left] - places[left[0]]).max(axis=1) <= 1e-3
                expected.append([index for index, same in zip(left, near, strict=True) if same])
                left = [index for index, same in zip(left, near, strict=True) if not same]
            assert list(_equal_places(places)) == expected


def test_frames_of_one_instance_share_its_uid() -> None:
    dataset = make_series(1)[0]
    dataset.NumberOfFrames = 4
    assert DicomMeta.from_datasets([dataset]).slice_count == 4
    kinds = [finding.kind for finding in check_dicom(DicomMeta.from_datasets([dataset]))]
    assert "duplicate_sop_instance_uid" not in kinds
    kinds = [finding.kind for finding in check_dicom(DicomMeta.from_datasets([dataset, dataset]))]
    assert "duplicate_sop_instance_uid" in kinds


def test_text_of_a_finding() -> None:
    finding = Finding("gap_location", "what", (0, 1, 2, 5, 7, 8), (), 0.1, "PS3.3 C.7", None)
    assert str(finding) == "gap_location: what [slices 0-2, 5, 7-8, tolerance 0.1, PS3.3 C.7]"
    many = Finding("kind", "what", tuple(range(0, 40, 2)), (), None, "PS3.3 C.7")
    assert str(many).endswith("12, 14, …, PS3.3 C.7]")


def test_it_is_on_the_face_of_the_package() -> None:
    assert dicube.check_dicom is check_dicom
    assert "check_dicom" in dicube.__all__


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (
            "ct_ge_head",
            ["gap_location", "non_uniform_window", "non_uniform_slice_thickness", "tilted_gantry"],
        ),
        ("ct_philips_thin", []),
        ("mr_siemens_sag", ["non_uniform_window"]),
        (
            "mr_siemens_dti_mosaic",
            ["dwelling_location", "non_uniform_window", "repeated_positions"],
        ),
    ],
)
def test_real_series(shared_data: Path, name: str, kinds: list[str]) -> None:
    assert [finding.kind for finding in check_dicom(read_dicom_dir(shared_data / name))] == kinds
