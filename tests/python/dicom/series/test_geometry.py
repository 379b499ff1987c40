"""geometry: corners of volumes are where DICOM's formula (PS3.3 C.7.6.2.1.1) puts them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import each, make_series
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.series.geometry import (
    Space,
    get_space_from_DicomMeta,
    plane_attributes,
    same_space,
    space_from_json,
    space_or_reason,
    space_to_json,
)
from dicube.exceptions import MetaDataError

COS, SIN = np.cos(0.3), np.sin(0.3)
ORIENTATIONS = {
    "axial": [1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [COS, SIN, 0, -SIN * COS, COS * COS, SIN],
    "feet first": [-1, 0, 0, 0, 1, 0],
}


def stacked(orientation: list[float], count: int = 5, step: float = 2.5) -> list[Dataset]:
    """Slices of 6 rows and 5 columns, stacked along their normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    series = each(make_series(count), "ImageOrientationPatient", [orientation] * count)
    return each(
        series,
        "ImagePositionPatient",
        [(np.array([-10, 20, 30]) + i * step * normal).round(9).tolist() for i in range(count)],
    )


def dicom_point(dataset: Dataset, row: int, column: int) -> NDArray[np.float64]:
    """Where a pixel's centre is: the standard's equation C.7.6.2.1-1."""
    orientation = np.array(dataset.ImageOrientationPatient, float)
    between_rows, between_columns = map(float, dataset.PixelSpacing)
    across, down = orientation[:3] * between_columns * column, orientation[3:] * between_rows * row
    return np.asarray(np.array(dataset.ImagePositionPatient, float) + across + down)


def space_point(space: Any, index: tuple[int, ...]) -> NDArray[np.float64]:
    axes = (space.x_orientation, space.y_orientation, space.z_orientation)
    moved = sum(i * s * np.array(a) for i, s, a in zip(index, space.spacing, axes, strict=True))
    return np.asarray(np.array(space.origin) + moved)


def assert_in_place(series: list[Dataset], meta: DicomMeta) -> None:
    xyz, zyx = (get_space_from_DicomMeta(meta, order) for order in ("xyz", "zyx"))  # type: ignore[arg-type]
    assert xyz is not None
    assert zyx is not None
    assert tuple(xyz.shape) == (5, 6, len(series))
    assert tuple(zyx.shape) == (len(series), 6, 5)
    for slice_, row, column in itertools.product((0, len(series) - 1), (0, 5), (0, 4)):
        expected = dicom_point(series[slice_], row, column)
        np.testing.assert_allclose(space_point(xyz, (column, row, slice_)), expected, atol=1e-6)
        np.testing.assert_allclose(space_point(zyx, (slice_, row, column)), expected, atol=1e-6)


@pytest.mark.parametrize("step", [2.5, -2.5])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_corners(name: str, step: float) -> None:
    series = stacked(ORIENTATIONS[name], step=step)
    assert_in_place(series, DicomMeta.from_datasets(series))


def test_spacing_is_row_then_column() -> None:
    space = get_space_from_DicomMeta(DicomMeta.from_datasets(make_series(3)))
    assert space is not None
    assert tuple(space.spacing) == (0.75, 0.5, 2.5)


def test_slices_are_taken_in_the_order_of_the_metadata() -> None:
    series = stacked(ORIENTATIONS["axial"])[::-1]
    assert_in_place(series, DicomMeta.from_datasets(series))


@pytest.mark.parametrize(
    ("between", "thickness", "distance"),
    [(3.0, 2.0, 3.0), (..., 2.0, 2.0), (0, 2.0, 2.0), (..., ..., 1.0), ("", "", 1.0)],
)
def test_one_slice(between: Any, thickness: Any, distance: float) -> None:
    series = make_series(1)
    series[0].SpacingBetweenSlices = 9
    each(series, "SpacingBetweenSlices", [between])
    each(series, "SliceThickness", [thickness])
    space = get_space_from_DicomMeta(DicomMeta.from_datasets(series))
    assert space is not None
    assert tuple(space.spacing) == (0.75, 0.5, distance)
    assert tuple(space.z_orientation) == (0, 0, 1)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("InstanceNumber", [1, 1, 1, 1]),
        ("SeriesInstanceUID", ["1", "2", "3", "4"]),
        ("RescaleSlope", [1, 2, 3, 4]),
        ("SliceThickness", [9, 9, 9, 9]),
        ("BitsStored", [16, 16, 16, 12]),
    ],
)
def test_what_is_not_geometry_does_not_matter(keyword: str, values: list[Any]) -> None:
    meta = DicomMeta.from_datasets(each(make_series(4), keyword, values))
    assert get_space_from_DicomMeta(meta) is not None


@pytest.mark.parametrize(
    ("keyword", "values", "reason"),
    [
        ("PixelSpacing", [...] * 4, "missing_spacing"),
        ("PixelSpacing", [[1, 1]] * 3 + [[1, 2]], "non_uniform_spacing"),
        ("Rows", [6, 6, 6, 7], "non_uniform_shape"),
        ("ImageOrientationPatient", [...] * 4, "missing_orientation"),
        ("ImagePositionPatient", [...] * 4, "missing_location"),
        ("ImagePositionPatient", [[0, 0, z] for z in (0, 2, 1, 3)], "reversed_location"),
        ("ImagePositionPatient", [[0, 0, z] for z in (0, 1, 1, 2)], "dwelling_location"),
        ("ImagePositionPatient", [[0, 0, z] for z in (0, 1, 2, 4)], "gap_location"),
        ("ImagePositionPatient", [[x, 0, z] for x, z in ((0, 0), (5, 1), (0, 2), (5, 3))], "gap_"),
        ("PixelSpacing", [[0, 1]] * 4, "inconsistent"),
        ("ImagePositionPatient", [[0, z * 0.36, z] for z in range(4)], "19.8 degrees"),
    ],
)
def test_no_space_and_why(keyword: str, values: list[Any], reason: str) -> None:
    meta = DicomMeta.from_datasets(each(make_series(4), keyword, values))
    assert get_space_from_DicomMeta(meta) is None
    assert reason in space_or_reason(meta)[1]


def test_axis_order_is_checked() -> None:
    with pytest.raises(ValueError, match="yxz"):
        get_space_from_DicomMeta(DicomMeta.from_datasets(make_series(2)), "yxz")  # type: ignore[arg-type]


def test_json_is_xyz_and_memory_zyx() -> None:
    space = get_space_from_DicomMeta(DicomMeta.from_datasets(make_series(3)), "zyx")
    assert space is not None
    text = space_to_json(space)
    found = json.loads(text)
    assert found["shape"] == [5, 6, 3]
    assert found["spacing"] == [0.75, 0.5, 2.5]
    assert found["z_orientation"] == [0, 0, 1]
    assert space_from_json(text) == space


def test_json_of_numpy_numbers() -> None:
    space = Space(shape=(2, 3, 4), spacing=(1.0, 2.0, 3.0)).apply_permute([2, 0, 1])
    assert space_from_json(space_to_json(space)) == space


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"shape": [1, 2]}', "null", "[" * 100_000])
def test_json_that_is_no_space(text: str) -> None:
    with pytest.raises(MetaDataError):
        space_from_json(text)


def test_same_space() -> None:
    space = Space(shape=(2, 3, 4), spacing=(1.0, 2.0, 3.0))
    assert same_space(space, Space(shape=(2, 3, 4), spacing=(1.0, 2.0, 3.0 + 1e-6)))
    assert not same_space(space, Space(shape=(2, 3, 4), spacing=(1.0, 2.0, 3.01)))
    assert not same_space(space, Space(shape=(2, 3, 5), spacing=(1.0, 2.0, 3.0)))
    assert not same_space(space, Space(shape=(2, 3, 4), origin=(0, 0, 1), spacing=(1.0, 2.0, 3.0)))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_plane_attributes_are_the_inverse(name: str) -> None:
    series = stacked(ORIENTATIONS[name])
    space = get_space_from_DicomMeta(DicomMeta.from_datasets(series), "zyx")
    assert space is not None
    plane = plane_attributes(space)
    for dataset, position in zip(series, plane.positions, strict=True):
        np.testing.assert_allclose(position, np.array(dataset.ImagePositionPatient, float))
    np.testing.assert_allclose(plane.orientation, ORIENTATIONS[name], atol=1e-9)
    assert plane.pixel_spacing == [0.5, 0.75]
    np.testing.assert_allclose(np.diff(plane.locations), 2.5)
