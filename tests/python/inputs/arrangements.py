"""Dicube files of series and images whose slices form volumes in every way that there is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from inputs.dicom_series import make_series, write_series
from inputs.mapped_series import at_the_root
from inputs.mosaics import uih
from inputs.nifti_files import nifti_bytes, samples
from inputs.palettes import palette
from inputs.placed_series import UNEVEN, time_series, write_placed
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import dicube
from dicube import Cube, DicomCubeImage


def _palettes() -> list[Dataset]:
    slices = [palette(300, 16) for _ in range(3)]
    blue = slices[0].BluePaletteColorLookupTableData
    slices[1].RedPaletteColorLookupTableData = blue
    for index, dataset in enumerate(slices):
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.{index + 1}", index + 1
        dataset.ImagePositionPatient = [0, 0, index]
    return slices


_SERIES: dict[str, Callable[[Path], Path]] = {
    "oblique": lambda at: write_placed(at, "oblique, flipped"),
    "tilted": lambda at: write_placed(at, "sagittal", tilt=0.3),
    "uneven": lambda at: write_placed(at, "axial", places=UNEVEN),
    "fractions": lambda at: write_placed(at, "axial", RescaleSlope="0.3", RescaleIntercept="-1.7"),
    "mapped": lambda at: write_series(at, at_the_root().datasets),
    "times": lambda at: time_series(at, RepetitionTime=1500),
    "mosaics": lambda at: write_series(at, [uih(time, 7) for time in range(3)]),
    "palettes": lambda at: write_series(at, _palettes()),
}
_ARRAYS: dict[str, tuple[tuple[int, ...], str]] = {
    "no position": ((4, 6, 5), "uint16"),
    "colours": ((4, 6, 5, 3), "uint8"),
    "labels": ((4, 6, 5), "int64"),
    "half": ((4, 6, 5), "float16"),
    "double": ((4, 6, 5), "float64"),
}
# (x, y, z, ...), as in NIfTI.
_NIFTI: dict[str, tuple[tuple[int, ...], str, tuple[float, float]]] = {
    "one slice": ((6, 5), "int16", (np.nan, np.nan)),
    "volumes": ((6, 5, 4, 3), "int16", (0.5, 3)),
    "volumes of volumes": ((6, 5, 4, 3, 2), "uint8", (np.nan, np.nan)),
    "volumes of colours": ((6, 5, 4, 3), "RGB", (np.nan, np.nan)),
}

ARRANGEMENTS = (*_SERIES, *_ARRAYS, *_NIFTI)


def write_arranged(folder: Path, name: str) -> tuple[Path, DicomCubeImage]:
    """Write a file, and return its path, and its image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in _SERIES:
            image = DicomCubeImage.from_dicom_folder(_SERIES[name](folder / "in"))
        elif name in _ARRAYS:
            image = DicomCubeImage(_noise(*_ARRAYS[name]))
        else:
            shape, dtype, slope = _NIFTI[name]
            (folder / "in.nii").write_bytes(nifti_bytes(samples(shape, dtype), slope=slope))
            image = DicomCubeImage.from_nifti(folder / "in.nii")
        image.to_file(folder / "a.dcbs")
    return folder / "a.dcbs", image


def _noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def two_places(folder: Path) -> Path:
    """Write a file of two volumes at different places."""
    series = make_series(6, shape=(7, 6))
    for index, dataset in enumerate(series):
        dataset.EchoTime = 1 + index // 3
        dataset.ImagePositionPatient = [0, 40 * (index // 3), 2.5 * (index % 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_dicom_folder(write_series(folder / "in", series))
    image.to_file(folder / "a.dcbs")
    return folder / "a.dcbs"


def read_both(source: Path, folder: Path) -> tuple[DicomCubeImage, Cube]:
    """Return the image of a DICOM folder or NIfTI file, and the cube of its dicube file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source.suffix == ".nii":
            image = DicomCubeImage.from_nifti(source)
        else:
            image = DicomCubeImage.from_dicom_folder(source)
    image.to_file(folder / "a.dcbs")
    return image, dicube.open(folder / "a.dcbs")


def write_lossy_files(folder: Path) -> NDArray[np.uint16]:
    """Write a.dcbl, and a.dcbr with a mask; return the samples that they approximate."""
    array = np.random.default_rng(1).integers(0, 900, (2, 32, 32), np.uint16)
    mask = np.zeros(array.shape, bool)
    mask[:, 8:20, 8:20] = True
    image = DicomCubeImage(array)
    image.to_file(folder / "a.dcbl", max_error=3)
    image.to_file(folder / "a.dcbr", roi=mask, background=50)
    return array
