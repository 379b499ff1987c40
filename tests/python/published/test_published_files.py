"""Files written by the published package 0.3.0 are read as it reads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs.running import ROOT

from dicube import DicomCubeImage, PixelDataHeader, read_dicom_dir
from dicube.storage import DcbReader

FOLDER = ROOT.parent / "shared" / "data" / "published_dicube_0_3_0"
EXPECTED: dict[str, Any] = (
    json.loads((FOLDER / "expected.json").read_text()) if FOLDER.is_dir() else {}
)

pytestmark = pytest.mark.skipif(not EXPECTED, reason=f"no {FOLDER}")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_published_file(name: str) -> None:
    expected = EXPECTED[name]
    image = DicomCubeImage.from_file(FOLDER / name)
    assert list(image.shape) == expected["shape"]
    assert image.dtype.name == expected["dtype"]
    pixels = np.ascontiguousarray(image.raw_image).tobytes()
    assert hashlib.sha256(pixels).hexdigest() == expected["sha256_of_c_order_pixels"]
    assert image.pixel_header == PixelDataHeader.from_dict(expected["pixel_header"])
    assert image.dicom_status.value == expected["status"]
    if expected["space"] is None:
        assert image.space is None
    else:
        for field, values in expected["space"].items():
            assert list(getattr(image.space, field)) == values, field
    if expected["tags"] is None:
        assert image.dicom_meta is None
    else:
        assert image.dicom_meta is not None
        assert len(image.dicom_meta) == expected["tags"]
        assert image.dicom_meta.slice_count == expected["shape"][0]


@pytest.mark.parametrize("name", sorted(name for name in EXPECTED if "synthetic" in name))
def test_synthetic_original(name: str) -> None:
    original = np.load((FOLDER / name).with_suffix(".npy"))
    with DcbReader(FOLDER / name) as reader:
        assert not reader.has_checksums
        assert np.array_equal(reader.read_frames(), original)


@pytest.mark.parametrize("series", ["ct_ge_head", "mr_siemens_sag"])
def test_rescale_is_not_applied_twice(series: str, shared_data: Path, tmp_path: Path) -> None:
    """Published writers store rescaled values; the metadata's rescale is already in them."""
    image = DicomCubeImage.from_file(FOLDER / f"{series}.dcbs")
    assert np.array_equal(image.get_fdata(), image.raw_image)
    image.to_dicom_folder(tmp_path / "out")
    meta = read_dicom_dir(tmp_path / "out")
    for value in meta.get("RescaleIntercept", force_nonshared=True):
        assert value in (None, 0)


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_saved_again(name: str, extension: str, tmp_path: Path) -> None:
    image = DicomCubeImage.from_file(FOLDER / name)
    image.to_file(tmp_path / f"x{extension}", effort=1 if extension == ".dcba" else None)
    back = DicomCubeImage.from_file(tmp_path / f"x{extension}")
    assert np.array_equal(back.raw_image, image.raw_image)
    assert back.pixel_header == image.pixel_header
    assert back.dicom_meta == image.dicom_meta
    assert back.space == image.space
    assert back.dicom_status is image.dicom_status
