"""Synthetic DICOM files of several frames for tests, made by pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from inputs.dicom_series import item, make_slice, pixels_of, set_pixels
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, UltrasoundMultiFrameImageStorage

Groups = Callable[[int], dict[str, Any]]


def frames_like(count: int, seed: int = 0, shape: tuple[int, ...] = (6, 5)) -> NDArray[Any]:
    """The samples of `several_frames`."""
    return np.stack([pixels_of(seed + frame, shape, "uint16") for frame in range(count)])


def several_frames(count: int, number: int = 1, shape: tuple[int, ...] = (6, 5)) -> Dataset:
    """Make a file of several frames without functional groups."""
    dataset = make_slice(number - 1, shape)
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept"),
    ):
        delattr(dataset, keyword)
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.NumberOfFrames = count
    set_pixels(dataset, frames_like(count, number * 100, shape))
    return dataset


def plane(frame: int, step: float = 2.5, start: float = 0.0) -> dict[str, Any]:
    """The functional groups of a frame of an axial stack that differ from frame to frame."""
    return {
        "PlanePositionSequence": [item(ImagePositionPatient=[-10, 20, start + step * frame])],
        "PixelValueTransformationSequence": [
            item(RescaleSlope=frame + 1, RescaleIntercept=-frame, RescaleType="US")
        ],
    }


def enhanced(
    count: int,
    number: int = 1,
    groups: Groups = plane,
    shared: dict[str, Sequence[Dataset]] | None = None,
) -> Dataset:
    """Make an enhanced MR of an axial stack."""
    dataset = several_frames(count, number)
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.Modality = "MR"
    measures = item(PixelSpacing=[0.5, 0.75], SliceThickness=2.5)
    orientation = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[orientation],
            **(shared or {}),
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[1, frame + 1])],
            **groups(frame),
        )
        for frame in range(count)
    ]
    return dataset
