"""Every kind of file that dicube writes, and the function that writes it: for tests of writing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from inputs.dicom_series import make_slice, write_series

from dicube import DicomCubeImage


@cache
def _made(value: int) -> DicomCubeImage:
    noise = np.random.default_rng(value).integers(0, 1 << 16, (6, 100, 100), np.uint16)
    image = DicomCubeImage(noise)
    image.init_meta()
    return image


@cache
def _one_slice(value: int) -> DicomCubeImage:
    """Return an image that knows the DICOM file it was read from."""
    with TemporaryDirectory() as folder:
        return DicomCubeImage.from_dicom_folder(
            write_series(Path(folder), [make_slice(value, (200, 200))])
        )


def _exported(target: Path, value: int) -> None:
    _one_slice(value).to_dicom_folder(target.parent, overwrite=True, exact=False)


def _restored(target: Path, value: int) -> None:
    _one_slice(value).to_dicom_folder(target.parent, overwrite=True, exact=True)


# By the name of the target: some writers choose it themselves.
WRITERS: dict[str, Callable[[Path, int], None]] = {
    "x.dcbs": lambda target, value: _made(value).to_file(target, num_threads=1),
    "x.nii": lambda target, value: _made(value).to_nifti(target),
    "x.dcm": lambda target, value: _made(value).to_dicom_file(target, overwrite=True),
    "slice_0000.dcm": _exported,
    "I1": _restored,
}


def write_target(target: Path, value: int) -> None:
    """Write a file; its content depends on the value and the kind of file only."""
    write = WRITERS.get(target.name) or WRITERS[f"x{target.suffix}"]
    write(target, value)
