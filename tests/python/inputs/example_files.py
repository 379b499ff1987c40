"""The files that the examples of the README and of docstrings read."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from inputs.dicom_series import make_series, write_series

from dicube import DicomCubeImage


def write_example_files(folder: Path) -> None:
    """Write series/ (five slices of 48 x 40 int16), head.dcbs made from it, and brain.nii.gz.

    late/ has a further slice.
    """
    *series, late = make_series(6, shape=(48, 40), dtype="int16")
    write_series(folder / "series", series)
    write_series(folder / "late", [late], ["I6"])
    DicomCubeImage.from_dicom_folder(folder / "series").to_file(folder / "head.dcbs")
    brain = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
    nibabel.save(nibabel.Nifti1Image(brain, np.diag([2, 2, 3, 1])), folder / "brain.nii.gz")
