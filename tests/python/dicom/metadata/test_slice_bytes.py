"""slice_bytes: the estimate of what slices take, compared with the bytes that they take."""

from __future__ import annotations

from typing import Any

import pytest
from inputs.dicom_series import item, make_series

from dicube.dicom import DicomMeta
from dicube.dicom.metadata.slice_bytes import InstanceEncoder, encoded_size

TEXT = {"vr": "LT", "shared": True, "Value": ["x" * 1000]}
BINARY = {"vr": "OB", "shared": False, "InlineBinary": ["AAAA" * 500, None, "", "AAAA" * 50]}
TEXTS = {"vr": "LT", "shared": False, "Value": ["x" * 3000, None, [], ["y", "z" * 400]]}


def sequence(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"vr": "SQ", "shared": None, "Value": list(items), **more}


@pytest.mark.parametrize(
    "entry",
    [
        TEXT,
        BINARY,
        TEXTS,
        {**TEXT, "Value": ["x"], "raw": "x" * 1000},
        {**TEXTS, "Value": ["x", None, [], "y"], "raw": ["x" * 3000, None, None, None]},
        sequence({"00104000": TEXT}, {"00104000": TEXTS}),
        sequence(*[{"00104000": TEXT}] * 5, counts=[5, 0, None, 2]),
        sequence({"00104000": TEXTS}, {"00104000": TEXT}, {}, counts=[3, 1, 1, 2]),
        sequence({"00081140": sequence({"00104000": BINARY}, counts=[1, 0, 1, 1])}),
        sequence(
            {"00104000": {**TEXTS, "Value": ["x" * 900, "y" * 50]}, "00204000": TEXT},
            *[{"00204000": TEXT}] * 3,
            columns=[0, 0, 1, 0],
            counts=[4, 1],
        ),
    ],
)
def test_estimate(entry: dict[str, Any]) -> None:
    entries = {"00081111" if entry["vr"] == "SQ" else "00104000": entry}
    encoder = InstanceEncoder(entries)
    for slices in ([0, 1, 2, 3], [0], [2, 3]):
        size = sum(len(data) for index in slices for _, data in encoder.encode(index))
        assert 0.9 * size <= encoded_size(entries, slices) <= 1.4 * size + 100


def test_estimate_of_a_series() -> None:
    datasets = make_series(5)
    for number, dataset in enumerate(datasets):
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2")] * number
    entries = dict(DicomMeta.from_datasets(datasets).items())
    encoder = InstanceEncoder(entries)
    size = sum(len(data) for index in range(5) for _, data in encoder.encode(index))
    assert 0.7 * size <= encoded_size(entries, range(5)) <= 1.3 * size
