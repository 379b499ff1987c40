"""Synthetic DICOM series at any place in the patient; each voxel has a value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from inputs.dicom_series import make_series, set_pixels, write_series
from inputs.nifti_files import ORIENTATIONS
from numpy.typing import NDArray

SHAPE = (5, 7, 6)
# Rows apart, columns apart, in mm; and slices, along the normal.
SPACING = (0.5, 0.75)
EVEN = tuple(2.5 * index for index in range(SHAPE[0]))
UNEVEN = (0.0, 1.0, 3.0, 7.0, 8.5)


def values(shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    """Return a volume whose values are the numbers of the voxels."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def write_placed(
    folder: Path,
    name: str,
    *,
    tilt: float = 0.0,
    places: Sequence[float] = EVEN,
    shape: tuple[int, ...] = SHAPE,
    **elements: Any,
) -> Path:
    """Write a series.

    Args:
        folder: to make.
        name: of the orientation, one of `ORIENTATIONS`.
        tilt: of the gantry, in mm along the columns per mm along the normal.
        places: of the slices, along the normal.
        shape: of the volume.
        elements: of each slice.
    """
    axes = np.diag([-1, -1, 1]) @ ORIENTATIONS[name]
    series = make_series(len(places), shape=shape[1:], dtype="int16")
    for dataset, place, pixels in zip(series, places, values(shape), strict=True):
        dataset.ImageOrientationPatient = [f"{n:.10f}" for n in axes[:, :2].T.ravel()]
        point = np.array([-10, 20, 30]) + place * (axes[:, 2] + tilt * axes[:, 1])
        dataset.ImagePositionPatient = [f"{n:.10f}" for n in point]
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        set_pixels(dataset, pixels)
    return write_series(folder, series)


def time_series(folder: Path, **elements: Any) -> Path:
    """Write two volumes of three slices, mixed, in which each voxel has a value of its own."""
    series = make_series(6, shape=(7, 6), dtype="int16")
    for index, (dataset, pixels) in enumerate(zip(series, values((6, 7, 6)), strict=True)):
        dataset.ImagePositionPatient = [-10, 20, 2.5 * (index // 2)]
        dataset.TemporalPositionIdentifier = index % 2 + 1
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        set_pixels(dataset, pixels)
    return write_series(folder, series)
