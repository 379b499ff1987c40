"""What tests of training frameworks need: the frameworks, and series as dicube files and NIfTI."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from inputs.placed_series import UNEVEN, write_placed
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage

AFFINE = np.array([[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


def library(name: str) -> Any:
    """Import a library, whose own warnings don't matter here; skips the tests without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is tested by `ci/run integrations`")


class Pair(NamedTuple):
    """The same volume in two files."""

    dcbs: Path
    nifti: Path


def pair_of(image: DicomCubeImage, folder: Path, name: str = "a") -> Pair:
    """Write an image as both."""
    pair = Pair(folder / f"{name}.dcbs", folder / f"{name}.nii.gz")
    image.to_file(pair.dcbs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.to_nifti(pair.nifti)
    return pair


def placed_pair(folder: Path, name: str = "axial", **options: Any) -> Pair:
    """Write a synthetic series as both; its real values are the stored ones minus 1024."""
    series = write_placed(folder / "dicom", name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_dicom_folder(series)
    return pair_of(image, folder)


SERIES: dict[str, dict[str, Any]] = {
    "axial": {"name": "axial"},
    "sagittal": {"name": "sagittal"},
    "oblique": {"name": "oblique, flipped"},
    "tilted": {"name": "axial", "tilt": 0.3},
    "fractional rescale": {"name": "axial", "RescaleSlope": "0.5", "RescaleIntercept": "-0.25"},
    "no rescale": {"name": "axial", "RescaleSlope": "1", "RescaleIntercept": "0"},
}
UNKNOWN = {"name": "axial", "places": UNEVEN}


def image_of(array: NDArray[Any], affine: NDArray[Any] = AFFINE) -> DicomCubeImage:
    """Return an image without metadata."""
    nib = pytest.importorskip("nibabel")
    return DicomCubeImage.from_nifti(nib.Nifti1Image(array.T, affine, dtype=array.dtype))


def labels(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Return sparse labels, the largest integer of the type among them."""
    random = np.random.default_rng(seed)
    return random.choice(np.array([0, 0, 0, 1, 2, np.iinfo(dtype).max], dtype), shape)


def write_labels(path: Path, array: NDArray[Any]) -> Path:
    """Write labels as a dicube file."""
    image_of(array).to_file(path)
    return path


def colours(folder: Path) -> Path:
    """Write a small volume of colours."""
    array = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    path = folder / "colours.dcbs"
    dicube.DicomCubeImage(array).to_file(path)
    return path
