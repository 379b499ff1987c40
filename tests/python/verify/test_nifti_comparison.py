"""nifti_comparison: a NIfTI file and what a dicube file restores of it; differences are found."""

from __future__ import annotations

import gzip
import shutil
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from inputs.nifti_files import affine_of, nifti_bytes, samples
from programs.running import run_python

from dicube import DicomCubeImage, verify_file
from dicube.exceptions import CubeFileNotFoundError
from dicube.verify.report import Outcome

nib = pytest.importorskip("nibabel")


def outcomes(path: Path, against: Path, **options: Any) -> dict[str, Outcome]:
    """Return the outcomes of the checks that compare with the original."""
    report = verify_file(path, against, **options)
    return {c.name: c.outcome for c in report.checks if c.name.startswith("original")}


def problems(path: Path, against: Path) -> list[str]:
    return [p for check in verify_file(path, against).checks for p in check.problems]


def write(folder: Path, data: bytes, name: str = "a.nii", dicube: str = "a.dcba") -> Path:
    """Write a NIfTI file and a dicube file of it; return the path of the dicube file."""
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        DicomCubeImage.from_nifti(folder / name).to_file(folder / dicube)
    return folder / dicube


@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 5, 2)], ids=str)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "RGB"])
def test_the_same(tmp_path: Path, dtype: str, name: str, shape: tuple[int, ...]) -> None:
    for version, order in ((1, "<"), (2, ">")):
        data = nifti_bytes(samples(shape, dtype), version, order)
        for end in (b"", b"footer"):
            path = write(tmp_path, data + end, name)
            found = outcomes(path, tmp_path / name)
            assert found.pop("original files") is Outcome.UNKNOWN
            assert list(found) == ["original bytes", "original header", "original voxels"]
            assert set(found.values()) == {Outcome.HOLDS}
            assert verify_file(path, tmp_path / name, require_originals=True)
            assert not verify_file(path, require_originals=True)


def test_a_name_that_hides_the_packing(tmp_path: Path) -> None:
    path = write(tmp_path, nifti_bytes(samples((7, 6, 5), "i2")))
    (tmp_path / "b.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    assert outcomes(path, tmp_path / "b.nii")["original bytes"] is Outcome.HOLDS


@pytest.mark.skipif(sys.platform == "win32", reason="its limits have other names")
def test_nothing_is_unpacked_to_disk(tmp_path: Path) -> None:
    """Bytes behind the voxels, of which the first one differs."""
    path = write(tmp_path, nifti_bytes(samples((7, 6, 5), "i2")))
    data = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(data + bytes(50 << 20)))
    script = """
import resource, sys
from dicube import verify_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
checks = {check.name: check for check in verify_file(sys.argv[1], sys.argv[2]).checks}
print(checks["original bytes"].problems)
"""
    done = run_python("-c", script, path, tmp_path / "b.nii.gz")
    assert f"first difference at byte {len(data)}" in done.stdout


def test_a_pair(tmp_path: Path) -> None:
    nib.Nifti1Pair(samples((7, 6, 5), "i2"), affine_of()).to_filename(tmp_path / "a.img")
    path = tmp_path / "a.dcbs"
    DicomCubeImage.from_nifti(tmp_path / "a.hdr").to_file(path)
    for name in ("a.hdr", "a.img"):
        found = outcomes(path, tmp_path / name)
        assert found["original bytes"] is Outcome.UNKNOWN
        assert found["original header"] is found["original voxels"] is Outcome.HOLDS
    voxels = bytearray((tmp_path / "a.img").read_bytes())
    (tmp_path / "a.img").write_bytes(voxels + b"footer")
    (problem,) = problems(path, tmp_path / "a.hdr")
    assert "6 bytes around the voxels are left out" in problem
    voxels[2 * 50] ^= 1
    (tmp_path / "a.img").write_bytes(voxels)
    assert problems(path, tmp_path / "a.img") == ["slice 1: 1 values differ, the first at (1, 1)"]


@pytest.mark.parametrize(
    ("place", "form", "value", "problem"),
    [
        (124, "<f", 2.0, "cal_max: "),
        (148, "8s", b"another", "descrip: "),
        (352, "<i", 16, "other bytes between header and voxels"),
        (-8, "<h", 77, "slice 4: 1 values differ, the first at (5, 3)"),
    ],
)
def test_what_differs_is_named(
    tmp_path: Path, place: int, form: str, value: Any, problem: str
) -> None:
    data = bytearray(nifti_bytes(samples((7, 6, 5), "i2")))
    path = write(tmp_path, data)
    struct.pack_into(form, data, place % len(data), value)
    (tmp_path / "a.nii").write_bytes(data)
    report = verify_file(path, tmp_path / "a.nii")
    found = {c.name: c.problems for c in report.checks if c.outcome is Outcome.FAILS}
    assert "first difference at byte " in found.pop("original bytes")[0]
    ((line,),) = found.values()
    assert line.startswith(problem)


def test_bytes_that_were_lost(tmp_path: Path) -> None:
    path = write(tmp_path, nifti_bytes(samples((7, 6, 5), "i2")))
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(b"footer")
    assert "bytes behind the voxels: 6 became 0 (or others)" in problems(path, tmp_path / "a.nii")


def test_changed_image(tmp_path: Path) -> None:
    path = write(tmp_path, nifti_bytes(samples((7, 6, 5), "i2")))
    image = DicomCubeImage.from_file(path)
    image.space = None
    image.raw_image = image.raw_image[1:]
    image.to_file(path)
    lines = problems(path, tmp_path / "a.nii")
    assert "expected (5, 6, 7) int16, found (4, 6, 7) int16" in lines
    assert any(line.startswith("dim: ") for line in lines)


@pytest.mark.parametrize("name", ["a.dcba", "a.dcbl"])
def test_lossy(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 4000, (40, 30, 3)).astype("i2")
    write(tmp_path, nifti_bytes(array))
    path = tmp_path / name
    DicomCubeImage.from_nifti(tmp_path / "a.nii").to_file(path, max_error=5)
    found = outcomes(path, tmp_path / "a.nii")
    assert found["original bytes"] is Outcome.UNKNOWN
    assert found["original voxels"] is found["original header"] is Outcome.HOLDS
    array[3, 4, 2] += 100
    (tmp_path / "a.nii").write_bytes(nifti_bytes(array))
    (problem,) = problems(path, tmp_path / "a.nii")
    assert problem.startswith("slice 2: error ") and problem.endswith("above the recorded 5")


def test_what_is_exported_from_dicom(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "a.dcbs")
    image.to_nifti(tmp_path / "a.nii.gz")
    assert outcomes(tmp_path / "a.dcbs", tmp_path / "a.nii.gz")["original bytes"] is Outcome.HOLDS


def test_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, nifti_bytes(samples((7, 6, 5), "i2")))
    with pytest.raises(CubeFileNotFoundError):
        verify_file(path, tmp_path / "none.nii")
    (tmp_path / "text.nii").write_bytes(b"hello")
    (problem,) = problems(path, tmp_path / "text.nii")
    assert "not a NIfTI file" in problem
    shutil.copytree(write_series(tmp_path / "in", make_series(3)), tmp_path / "series.img")
    (problem,) = problems(path, tmp_path / "series.img")
    assert "metadata" in problem  # a folder holds DICOM, whatever its name
