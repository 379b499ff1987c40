"""slice_order: the files of a concatenation (PS3.3 C.7.6.16.2.2.4) are one run of frames."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import enhanced, frames_like, plane
from inputs.dicom_series import item, set_pixels, write_series
from pydicom.dataset import Dataset

from dicube import DicomCubeImage, SortMethod
from dicube.dicom import DicomMeta, DicomStatus

COUNTS = (3, 1, 4)
STORED = frames_like(8)


def parts(numbers: list[int], uid: str = "1.2.3.4", with_offsets: bool = True) -> list[Dataset]:
    """Make the three parts of a stack of eight frames."""
    series = []
    for part, count in enumerate(COUNTS):
        start = sum(COUNTS[:part])
        dataset = enhanced(count, groups=lambda frame, start=start: plane(start + frame))
        for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            del group.PixelValueTransformationSequence
            group.FrameContentSequence = [item(DimensionIndexValues=[1, start + frame + 1])]
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{uid}.{part}", numbers[part]
        dataset.ConcatenationUID, dataset.InConcatenationNumber = uid, part + 1
        if with_offsets:
            dataset.ConcatenationFrameOffsetNumber = start
        set_pixels(dataset, STORED[start : start + count])
        series.append(dataset)
    return series


@pytest.mark.parametrize("numbers", [[1, 1, 1], [3, 2, 1], [1, 2, 3]])
@pytest.mark.parametrize("with_offsets", [True, False])
def test_parts_are_one_volume(tmp_path: Path, numbers: list[int], with_offsets: bool) -> None:
    series = parts(numbers, with_offsets=with_offsets)
    write_series(tmp_path, random.Random(2).sample(series, 3))
    image = DicomCubeImage.from_dicom_folder(tmp_path)
    np.testing.assert_array_equal(image.raw_image, STORED)
    assert image.dicom_status is DicomStatus.CONSISTENT
    assert image.space is not None
    assert image.volumes() == [image]
    backwards = DicomCubeImage.from_dicom_folder(tmp_path, SortMethod.INSTANCE_NUMBER_DESC)
    np.testing.assert_array_equal(backwards.raw_image, STORED[::-1])


def test_concatenations_stay_apart(tmp_path: Path) -> None:
    """Two of them at the same places, whose instance numbers are interleaved."""
    first, second = parts([1, 3, 5]), parts([2, 4, 6], "1.2.3.5")
    for dataset in second:
        set_pixels(dataset, dataset.pixel_array + np.uint16(1))
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].TemporalPositionIndex = 2
    for dataset in first:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].TemporalPositionIndex = 1
    write_series(tmp_path, [*second, *first])
    with pytest.warns(UserWarning, match="2 volumes of 8 slices .by TemporalPositionIndex"):
        image = DicomCubeImage.from_dicom_folder(tmp_path)
    np.testing.assert_array_equal(image.raw_image[:8], STORED)
    np.testing.assert_array_equal(image.raw_image[8:], STORED + np.uint16(1))


@pytest.mark.parametrize("value", [None, ""])
def test_files_without_concatenation_are_as_ever(value: Any) -> None:
    series = parts([2, 1, 3])
    for dataset in series:
        dataset.ConcatenationUID = value
    meta = DicomMeta.from_datasets(series)
    meta.sort_files()
    assert meta.get("InstanceNumber") == [1, *[2] * 3, *[3] * 4]
