"""A MemoryError of Python or numpy reaches callers as an OutOfMemoryError, a DicomCubeError too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs.dicom_series import make_series, write_series

import dicube
from dicube import DicomCubeImage
from dicube.exceptions import OutOfMemoryError
from dicube.storage import packed_text

Use = Callable[[Path], Any]

CORE = "dicube.core"
CASES: dict[str, Use] = {
    "image.read_series": lambda at: DicomCubeImage.from_dicom_folder(at / "in"),
    "image.read_nifti": lambda at: DicomCubeImage.from_nifti(at / "x.nii"),
    "image.nifti_of_image": lambda at: read(at).to_nifti(at / "y.nii"),
    "image.write_originals": lambda at: read(at).to_dicom_folder(at / "out"),
    "image.export_folder": lambda at: read(at).to_dicom_folder(at / "out", exact=False),
    "image.export_file": lambda at: read(at).to_dicom_file(at / "x.dcm"),
    "image.parts_around_frames": lambda at: read(at).to_file(at / "y.dcbs"),
    "pixels.Pixels.take_real": lambda at: read(at).get_fdata(),
    "cube.Cube._taken": lambda at: dicube.open(at / "x.dcbs")[0],
    "cube_parts.DicomMeta.from_json": lambda at: dicube.load_meta(at / "x.dcbs"),
    "fidelity.provenance.originals_from_bytes": lambda at: read(at).to_dicom_folder(at / "out"),
    "instances.stored_files.write_originals": lambda at: dicube.restore_files(
        at / "x.dcbs", at / "out"
    ),
}


def read(folder: Path) -> DicomCubeImage:
    return DicomCubeImage.from_file(folder / "x.dcbs")


@pytest.mark.parametrize("name", CASES)
def test_memory_errors(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "in", make_series(2))
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")

    def fails(*_arguments: Any, **_options: Any) -> Any:
        raise MemoryError("Unable to allocate 8.0 TiB")

    monkeypatch.setattr(f"{CORE}.{name}", fails)
    with pytest.raises(OutOfMemoryError, match=r"8\.0 TiB"):
        CASES[name](tmp_path)


def test_unpacking(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = packed_text.pack_bytes(b"x")

    def fails(**_options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("zstandard.ZstdDecompressor", fails)
    with pytest.raises(OutOfMemoryError, match="not enough memory"):
        packed_text.unpack_bytes(packed)
