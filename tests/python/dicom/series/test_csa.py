"""csa: both formats of Siemens' CSA header, and damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from inputs.private_elements import csa_header

from dicube.dicom.series.csa import csa_numbers, csa_values

VALUES = {"SliceNormalVector": ["0.0", "0.6", "-0.8"], "None": [], "Name": ["a text"]}


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions(version: int) -> None:
    header = csa_header(VALUES, version)
    values = csa_values(header)
    assert values == VALUES
    assert csa_numbers(values, "SliceNormalVector") == [0, 0.6, -0.8]
    assert csa_numbers(values, "Name") == csa_numbers(values, "absent") == []
    for text in ("inf", "nan", "1e400"):
        assert csa_numbers({"a": ["1", text]}, "a") == []


@pytest.mark.parametrize("version", [1, 2])
def test_damaged_headers_have_no_values(version: int) -> None:
    header = csa_header(VALUES, version)
    for length in range(len(header)):
        assert csa_values(header[:length]).keys() <= VALUES.keys()
    assert csa_values(b"") == csa_values(bytes(1000)) == csa_values(b"SV10" + b"\xff" * 100) == {}


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
def test_real_headers_as_nibabel_reads_them(shared_data: Path) -> None:
    reader = pytest.importorskip("nibabel.nicom.csareader")
    for folder in ("mr_siemens_dti_mosaic", "mr_siemens_sag"):
        dataset = pydicom.dcmread(sorted((shared_data / folder).iterdir())[0])
        for number in (0x1010, 0x1020):
            data = dataset[0x0029, number].value
            theirs = reader.read(data)["tags"]
            ours = csa_values(data)
            assert ours.keys() == theirs.keys()
            for name, values in ours.items():
                expected: list[Any] = [
                    item.strip() if isinstance(item, str) else item
                    for item in theirs[name]["items"]
                ]
                expected = [item for item in expected if item not in ("", b"")]
                assert len(values) == len(expected), name
                for text, item in zip(values, expected, strict=True):
                    assert (text if isinstance(item, str) else float(text)) == item, name
