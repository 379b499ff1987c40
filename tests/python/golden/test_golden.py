"""Files of every released version open forever, with the same pixels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from programs.running import GOLDEN

import dicube
from dicube import DicomCubeImage, restore_files


def golden_files() -> list[Any]:
    """Return (path, what it must hold) of each golden file."""
    return [
        pytest.param(record.parent / name, expected, id=f"{record.parent.name}/{name}")
        for record in sorted(GOLDEN.glob("*/expected.json"))
        for name, expected in json.loads(record.read_text()).items()
    ]


def digests_in(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by relative path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_there_are_golden_files() -> None:
    assert golden_files()


@pytest.mark.parametrize(("path", "expected"), golden_files())
def test_golden_file_reads_as_it_was_written(
    path: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    if "files" in expected:
        restore_files(path, tmp_path)
        assert expected["files"] == digests_in(tmp_path)
        return
    image = DicomCubeImage.from_file(path)
    assert image.shape == tuple(expected["shape"])
    assert image.dtype == expected["dtype"]
    if "sha256" in expected:
        assert hashlib.sha256(image.raw_image.tobytes()).hexdigest() == expected["sha256"]
    for level, digest in enumerate(expected.get("levels", ()), 1):
        with dicube.open(path, level=level) as cube:
            assert hashlib.sha256(cube[...].tobytes()).hexdigest() == digest
    if "real" in expected:
        real = image.get_fdata("float64")
        assert hashlib.sha256(real.tobytes()).hexdigest() == expected["real"]
    if "means" in expected:
        assert image.raw_image.mean(axis=(1, 2)) == pytest.approx(expected["means"], abs=1)
    if "max_error" in expected:
        assert image.losses[0].max_error == expected["max_error"]
    if "mask" in expected:
        assert image.roi_mask is not None
        assert hashlib.sha256(image.roi_mask.tobytes()).hexdigest() == expected["mask"]
    if "originals" in expected:
        image.to_dicom_folder(tmp_path, exact=True)
        assert expected["originals"] == digests_in(tmp_path)
    if "nifti" in expected:
        pytest.importorskip("nibabel")
        image.to_nifti(tmp_path / "a.nii")
        written = (tmp_path / "a.nii").read_bytes()
        assert hashlib.sha256(written).hexdigest() == expected["nifti"]
    if "TextValue" in expected:
        assert image.dicom_meta is not None
        text = image.dicom_meta.get("TextValue")
        assert hashlib.sha256(text.encode()).hexdigest() == expected["TextValue"]
    if "icons" in expected:
        meta = image.dicom_meta
        assert meta is not None
        icons = [dataset.IconImageSequence[0].PixelData for dataset in map(meta.dataset, range(2))]
        assert [hashlib.sha256(icon).hexdigest() for icon in icons] == expected["icons"]
    if "00189328" in expected:
        assert image.dicom_meta is not None
        found = image.dicom_meta.get("00189328", force_nonshared=True)
        assert str(found) == expected["00189328"]
        assert str(image.pixel_header.MaxVal) == expected["MaxVal"]
    if "PatientName" not in expected:
        return
    assert image.dicom_meta is not None and image.space is not None
    assert image.dicom_meta.get("PatientName") == expected["PatientName"]
    assert image.space.origin == tuple(expected["origin"])
    assert image.space.spacing == tuple(expected["spacing"])
