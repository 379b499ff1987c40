"""Cube.thumbnail: the middle slice, small and in 8 bits, as a viewer would show it first."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import each, make_series, set_pixels
from inputs.mapped_series import MAPPED
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_windowing, convert_color_space

import dicube
from dicube import Cube, DicomCubeImage, PixelDataHeader
from dicube.core.pictures.thumbnail import shrunk
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError


def cube_of(image: DicomCubeImage | list[Dataset], folder: Path, extension: str = ".dcbs") -> Cube:
    if isinstance(image, list):
        image = DicomCubeImage.from_dicom_folder(image)
    image.to_file(folder / f"x{extension}")
    return dicube.open(folder / f"x{extension}")


def series(count: int = 5, **elements: Any) -> list[Dataset]:
    """CT slices of 24 x 20 with values of -1000 to 3000 Hounsfield units."""
    datasets = make_series(count, shape=(24, 20), dtype="uint16")
    for number, dataset in enumerate(datasets):
        ramp = np.linspace(0, 4000, 24 * 20).reshape(24, 20) + number
        ramp[12] = np.arange(1290, 1310)  # values within the narrowest window
        set_pixels(dataset, ramp.astype("uint16"))
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.PixelSpacing = 1, -1000, [1, 1]
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return datasets


def shown_by_pydicom(dataset: Dataset) -> NDArray[Any]:
    """The slice as 8 bits, by pydicom's VOI."""
    real = dataset.pixel_array.astype(np.float64) * dataset.RescaleSlope + dataset.RescaleIntercept
    dataset.BitsStored = 16
    low = dataset.RescaleIntercept
    with np.errstate(over="ignore"):
        shown = apply_windowing(real, dataset)
    high = (2**16 - 1) * dataset.RescaleSlope + dataset.RescaleIntercept
    return np.rint((shown - low) / (high - low) * 255)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(
    "window", [(40, 400), (1000.5, 1), (300, 1), (300, 2), (-50, 1499.5)], ids=str
)
def test_windows_are_those_of_pydicom(
    window: tuple[float, float], function: str | None, tmp_path: Path
) -> None:
    center, width = window
    datasets = series(WindowCenter=[center, 5], WindowWidth=[width, 9])
    if function is not None:
        for dataset in datasets:
            dataset.VOILUTFunction = function
    with cube_of(datasets, tmp_path) as cube:
        picture = cube.thumbnail()
    assert (picture.shape, picture.dtype) == ((24, 20), np.uint8)
    assert np.abs(picture - shown_by_pydicom(datasets[2])).max() <= 1
    assert len(np.unique(picture)) > 1


def test_each_slice_has_its_window_unless_the_header_was_set(tmp_path: Path) -> None:
    datasets = each(series(), "WindowCenter", [0, 100, 800, 300, 400])
    datasets = each(datasets, "WindowWidth", [10, 20, 100, 40, 50])
    image = DicomCubeImage.from_dicom_folder(datasets)
    with cube_of(image, tmp_path) as cube:
        assert np.abs(cube.thumbnail() - shown_by_pydicom(datasets[2])).max() <= 1
    image.pixel_header.WindowCenter, image.pixel_header.WindowWidth = -500.0, 70.0
    datasets[2].WindowCenter, datasets[2].WindowWidth = -500, 70
    with cube_of(image, tmp_path) as cube:
        assert np.abs(cube.thumbnail() - shown_by_pydicom(datasets[2])).max() <= 1


@pytest.mark.parametrize(("center", "width"), [(None, None), (40, None), (40, 0), (40, -3)])
def test_without_a_window_the_range_is_shown(
    center: float | None, width: float | None, tmp_path: Path
) -> None:
    volume = np.zeros((3, 100, 100), np.int16)
    volume[1] = np.arange(10_000).reshape(100, 100)
    volume[1, :2, :2], volume[1, -2:, -2:] = -32000, 32000  # outliers
    header = PixelDataHeader(2.0, 7.0, WindowCenter=center, WindowWidth=width)
    with cube_of(DicomCubeImage(volume, header), tmp_path) as cube:
        picture = cube.thumbnail()
    expected = (volume[1] - 50.0) / 9900 * 255
    assert np.abs(picture - np.clip(expected, 0, 255)).max() <= 2


def test_several_labels_of_few_pixels(tmp_path: Path) -> None:
    volume = np.zeros((1, 40, 30), np.uint8)
    volume[0, 3, 4:6] = 1, 4
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        assert cube.thumbnail()[3, 3:7].tolist() == [0, 64, 255, 0]


def test_several_mappings_to_real_values(tmp_path: Path) -> None:
    datasets = MAPPED["at_the_root"]().datasets
    for dataset in datasets:
        other = copy.deepcopy(dataset.RealWorldValueMappingSequence[0])
        other.RealWorldValueSlope *= 2
        dataset.RealWorldValueMappingSequence.append(other)
        dataset.PixelSpacing = [1, 1]
    with cube_of(datasets, tmp_path) as cube:
        with pytest.raises(DataConsistencyError, match="2 mappings"):
            cube.get_fdata(0)
        picture, middle = cube.thumbnail(), cube[len(cube) // 2]
    assert picture.flat[middle.argmin()] == 0
    assert picture.flat[middle.argmax()] == 255


@pytest.mark.parametrize("values", [(0, 0), (5, 5), (0, 1)])
def test_few_values(values: tuple[int, int], tmp_path: Path) -> None:
    volume = np.full((1, 40, 30), values[0], np.uint8)
    volume[0, 3, 4] = values[1]  # less than 0.5 % of the mask
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        picture = cube.thumbnail()
    assert picture[3, 4] == (255 if values == (0, 1) else 0)
    assert np.count_nonzero(picture) == (values == (0, 1))


def test_values_that_are_no_numbers_are_black(tmp_path: Path) -> None:
    volume = np.linspace(1, 2, 400).reshape(1, 20, 20).astype(np.float32)
    volume[0, 5] = np.nan
    volume[0, 6], volume[0, 7] = np.inf, -np.inf
    for header in (None, PixelDataHeader(WindowCenter=1.5, WindowWidth=0.5)):
        with cube_of(DicomCubeImage(volume, header), tmp_path) as cube:
            picture = cube.thumbnail()
        assert not picture[[5, 7]].any()
        assert (picture[6] == 255).all()
        assert picture[0, 0] < 9 and picture[19, 19] > 245
    nothing = np.full((1, 20, 20), np.nan, np.float32)
    with cube_of(DicomCubeImage(nothing), tmp_path) as cube:
        assert not cube.thumbnail().any()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    window = {"WindowCenter": 1000, "WindowWidth": 3000}
    pictures = []
    for interpretation in ("MONOCHROME2", "MONOCHROME1"):
        datasets = series(PhotometricInterpretation=interpretation, **window)
        with cube_of(datasets, tmp_path) as cube:
            pictures.append(cube.thumbnail().astype(int))
    assert np.abs(pictures[0] + pictures[1] - 255).max() <= 1
    assert pictures[0][0, 0] == 0


def test_colours(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 256, (3, 30, 20, 3), np.uint8)
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        assert np.array_equal(cube.thumbnail(), volume[1])
    wide = volume.astype(np.uint16) * 256
    with cube_of(DicomCubeImage(wide), tmp_path) as cube:
        assert np.abs(cube.thumbnail().astype(int) - volume[1]).max() <= 3


def test_luminance_and_palettes_become_rgb(tmp_path: Path) -> None:
    datasets = make_series(3, shape=(30, 20, 3), dtype="uint8")
    for dataset in datasets:
        dataset.PhotometricInterpretation, dataset.PixelSpacing = "YBR_FULL", [1, 1]
    with cube_of(datasets, tmp_path) as cube:
        expected = convert_color_space(cube[1], "YBR_FULL", "RGB")
        assert np.array_equal(cube.thumbnail(), expected)
    datasets = make_series(3, shape=(130, 90), dtype="uint8")
    for dataset in datasets:
        dataset.PhotometricInterpretation, dataset.PixelSpacing = "PALETTE COLOR", [1, 1]
        for number, colour in enumerate(("Red", "Green", "Blue")):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = np.random.default_rng(number).permutation(256).astype("<u2") * 257
            setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
    with cube_of(datasets, tmp_path) as cube:
        expected = apply_color_lut(cube[1], datasets[1]) / 257
        assert np.array_equal(cube.thumbnail(), expected)
        halved = expected.reshape(65, 2, 45, 2, 3).mean((1, 3))
        assert np.abs(cube.thumbnail(65) - halved).max() <= 1


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize(
    ("shape", "spacing", "side", "expected"),
    [
        ((300, 200), (1, 1), 256, (256, 171)),
        ((300, 200), (1, 1), 100, (100, 67)),
        ((300, 200), (1, 1), 1, (1, 1)),
        ((300, 200), (1, 1), 1000, (300, 200)),
        ((300, 200), (2, 1), 256, (256, 85)),
        ((300, 200), (2, 1), 1000, (300, 100)),
        ((300, 200), (0.5, 1), 1000, (150, 200)),
        ((1, 300), (1, 1), 50, (1, 50)),
        ((30, 20), (1e300, 1e-300), 50, (30, 20)),  # a ratio that no number expresses
    ],
)
def test_sides_and_pixels_that_are_not_square(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    side: int,
    expected: tuple[int, int],
    extension: str,
    tmp_path: Path,
) -> None:
    """A ramp across both axes keeps its ends and its slope."""
    rows, columns = np.indices(shape)
    ramp = (rows * 100 + columns * 50).astype(np.uint16)
    space = Space(shape=(1, *shape), origin=(0, 0, 0), spacing=(1, *spacing))
    high = int(ramp.max())
    header = PixelDataHeader(WindowCenter=high / 2, WindowWidth=float(high))
    with cube_of(DicomCubeImage(ramp[None], header, space=space), tmp_path, extension) as cube:
        picture = cube.thumbnail(side)
        assert np.array_equal(cube.at_level(cube.levels and 1).thumbnail(1), cube.thumbnail(1))
    assert picture.shape == expected
    exact = shrunk(shrunk(ramp / high, expected[0], 0), expected[1], 1) * 255
    assert np.abs(picture - exact).max() <= 5  # samples of a level lie at corners, not centres


def test_the_smallest_level_that_is_large_enough(tmp_path: Path) -> None:
    volume = np.zeros((4, 500, 400), np.int16)
    volume[2, 100:300, 50:150] = 1000
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        read: list[int] = []
        take = Cube.get_fdata

        def recorded(self: Cube, *arguments: Any, **options: Any) -> Any:
            read.append(self.level)
            return take(self, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Cube, "get_fdata", recorded)
            for side, level in ((500, 0), (251, 0), (250, 1), (126, 1), (125, 2), (20, 4)):
                picture = cube.thumbnail(side)
                assert picture.shape == (side, round(side * 0.8))
                assert read.pop() == level
                inside = picture[side * 3 // 10 : side // 2, side // 5 : side // 4]
                assert (inside > 240).all()
            assert cube.at_level(2).thumbnail(20).shape == (20, 16)
            assert read.pop() == 4


@pytest.mark.parametrize("side", [0, -5])
def test_no_pixels(side: int, tmp_path: Path) -> None:
    with (
        cube_of(DicomCubeImage(np.zeros((1, 4, 4), np.uint8)), tmp_path) as cube,
        pytest.raises(DataConsistencyError, match="side of at least 1 pixel"),
    ):
        cube.thumbnail(side)


def test_they_are_black_when_inverted_too(tmp_path: Path) -> None:
    values = np.array([[[np.nan, 0, 1]]], np.float32)
    for interpretation in ("MONOCHROME1", "MONOCHROME2"):
        image = DicomCubeImage(values, PixelDataHeader(1, 0, WindowCenter=0.5, WindowWidth=1))
        image.init_meta()
        assert image.dicom_meta is not None
        image.dicom_meta.set_shared_item("PhotometricInterpretation", interpretation)
        assert cube_of(image, tmp_path).thumbnail()[0, 0] == 0


def test_a_slice_with_fewer_levels_than_the_first(tmp_path: Path) -> None:
    """Samples of more than 30 bits have none."""
    volume = np.zeros((3, 64, 64), np.int32)
    volume[1, ::2] = np.iinfo(np.int32).max
    volume[1, 1::2] = np.iinfo(np.int32).min
    cube = cube_of(DicomCubeImage(volume), tmp_path)
    assert cube.levels > 0
    assert cube.thumbnail(32).shape == (32, 32)


def test_differences_beyond_the_largest_number(tmp_path: Path) -> None:
    most = np.finfo(np.float64).max
    values = (np.linspace(-1, 1, 64) * most).reshape(1, 8, 8)
    shown = cube_of(DicomCubeImage(values), tmp_path).thumbnail()
    assert shown[0, 0] == 0 and shown[-1, -1] == 255
    assert (np.diff(shown.ravel().astype(int)) >= 0).all()
