"""regular_files: a name that no file can have is a missing file or an access error, anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dicube
from dicube import DicomCubeImage
from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError

ACTIONS: dict[str, Callable[[str], object]] = {
    "from_dicom_folder": DicomCubeImage.from_dicom_folder,
    "from_file": DicomCubeImage.from_file,
    "open": dicube.open,
    "load": dicube.load,
    "from_nifti": DicomCubeImage.from_nifti,
    "verify_file": dicube.verify_file,
    "stored_names": dicube.stored_names,
    "to_file": lambda path: image().to_file(f"{path}.dcbs"),
    "to_nifti": lambda path: image().to_nifti(f"{path}.nii"),
    "to_dicom_folder": lambda path: image().to_dicom_folder(path),
    "to_dicom_file": lambda path: image().to_dicom_file(f"{path}.dcm"),
}


def image() -> DicomCubeImage:
    """Return an image with metadata, so that nothing but its name keeps it from being written."""
    made = DicomCubeImage(np.zeros((2, 4, 3), np.uint8))
    made.init_meta()
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x\ud800", "a\0b", "x" * 300, "y/" * 3000 + "x"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_name_that_no_file_can_have(action: str, name: str, tmp_path: Path) -> None:
    if action in ("from_nifti", "to_nifti"):
        pytest.importorskip("nibabel")
    with pytest.raises((CubeFileAccessError, CubeFileNotFoundError)):
        ACTIONS[action](f"{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []
