"""Pictures of planes and slices: right way up, in the right proportions, and reading little."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, set_pixels
from numpy.typing import NDArray

pytest.importorskip("PIL")

import dicube
from dicube import Cube, DicomCubeImage, PixelDataHeader
from dicube.core.pictures.drawing import (
    Picture,
    common_scale,
    contact_sheet,
    mid_planes,
    spread_slices,
    stack_of,
)
from dicube.core.pictures.files import encoded, kind_of_name, labelled, scaled
from dicube.dicom.series.geometry import Space
from dicube.dicom.series.precedence import Window
from dicube.exceptions import DataConsistencyError

ALL = Window(127.5, 255, "LINEAR_EXACT")  # shows 0 to 255 as they are
AXES = "LPS"


def cube_of(image: DicomCubeImage | list[Any], folder: Path, extension: str = ".dcbs") -> Cube:
    if isinstance(image, list):
        image = DicomCubeImage.from_dicom_folder(image)
    image.to_file(folder / f"x{extension}", verify=False)
    return dicube.open(folder / f"x{extension}")


def head() -> NDArray[np.uint8]:
    """A volume (S, P, L) of 12 x 16 x 20 mm: each side of the patient has a brightness."""
    volume = np.full((12, 16, 20), 100, np.uint8)
    volume[:, :, :4], volume[:, :, -4:] = 10, 60  # right, left
    volume[:, :3], volume[:, -3:] = 150, 200  # front, back
    volume[:2], volume[-2:] = 30, 250  # feet, head
    return volume


def stored(order: tuple[int, ...], signs: tuple[int, ...]) -> tuple[NDArray[Any], Space]:
    """The head with other axes: slices, rows and columns run along these axes of the patient."""
    lps = head().transpose(2, 1, 0)  # L, P, S
    volume = lps.transpose(order)
    origin = np.zeros(3)
    vectors = []
    for axis, (side, sign) in enumerate(zip(order, signs, strict=True)):
        vector = [0.0, 0.0, 0.0]
        vector[side] = float(sign)
        vectors.append(tuple(vector))
        if sign < 0:
            volume = np.flip(volume, axis)
            origin[side] = lps.shape[side] - 1
    z, y, x = vectors
    space = Space(volume.shape, tuple(origin), (1, 1, 1), z, y, x)  # zyx: fields are reversed
    return np.ascontiguousarray(volume), space


ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


@pytest.mark.parametrize(
    ("order", "signs"),
    ORIENTATIONS,
    ids=["".join(AXES[n] for n in o) + str(s) for o, s in ORIENTATIONS],
)
def test_planes_are_the_same_whatever_the_orientation(
    order: tuple[int, ...], signs: tuple[int, ...], tmp_path: Path
) -> None:
    volume, space = stored(order, signs)
    with cube_of(DicomCubeImage(volume, space=space), tmp_path) as cube:
        planes = mid_planes(cube, 64, ALL)
    assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
    axial, coronal, sagittal = planes
    assert axial.ends == ("A", "P", "R", "L")
    assert coronal.ends == ("H", "F", "R", "L")
    assert sagittal.ends == ("H", "F", "A", "P")
    assert [one.pixels.shape for one in planes] == [(16, 20), (12, 20), (12, 16)]
    spl = head()
    for plane, expected in (
        (axial, spl[6]),
        (coronal, spl[::-1, 8]),
        (sagittal, spl[::-1, :, 10]),
    ):
        assert np.array_equal(plane.pixels, expected), plane.name


def test_oblique_slices_are_shown_as_the_nearest_planes(tmp_path: Path) -> None:
    angle = np.radians(30)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    volume = head()
    space = Space(volume.shape, (0, 0, 0), (1, 1, 1), (0, -s, c), (0, c, s), (1, 0, 0))
    with cube_of(DicomCubeImage(volume, space=space), tmp_path) as cube:
        planes = mid_planes(cube, 64, ALL)
    assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
    assert np.array_equal(planes[0].pixels, volume[6])


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_proportions_are_those_of_the_patient(extension: str, tmp_path: Path) -> None:
    volume = np.zeros((10, 64, 96), np.int16)
    space = Space(volume.shape, (0, 0, 0), (5, 0.5, 0.25), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    with cube_of(DicomCubeImage(volume, space=space), tmp_path, extension) as cube:
        planes = mid_planes(cube, 30)
        (one, *_) = spread_slices(cube, 3, 30)
        assert len(mid_planes(cube, 1)) == 3
    assert [tuple(np.round(plane.size)) for plane in planes] == [(32, 24), (50, 24), (50, 32)]
    assert np.allclose(one.size, (32, 24))
    mm = common_scale(planes, 100)
    assert [plane.square(mm).shape for plane in planes] == [(64, 48), (100, 48), (100, 64)]


def test_pixels_that_change_places_keep_their_size(tmp_path: Path) -> None:
    """Rows run to the left here and columns to the back, so that pictures are transposed."""
    space = Space((10, 20, 30), (0, 0, 0), (5, 0.5, 0.25), (0, 0, 1), (1, 0, 0), (0, 1, 0))
    image = DicomCubeImage(np.zeros((10, 20, 30), np.uint8), space=space)
    with cube_of(image, tmp_path) as cube:
        axial, coronal, sagittal = mid_planes(cube, 64)
    assert (axial.pixels.shape, axial.spacing) == ((30, 20), (0.25, 0.5))
    assert (coronal.pixels.shape, coronal.spacing) == ((10, 20), (5, 0.5))
    assert (sagittal.pixels.shape, sagittal.spacing) == ((10, 30), (5, 0.25))


@pytest.mark.parametrize("spacing", [(1e300, 1e-300, 1), (1e-9, 1, 1), (1, 1, 1e9)])
def test_impossible_spacings_are_not_believed(
    spacing: tuple[float, float, float], tmp_path: Path
) -> None:
    space = Space((6, 20, 30), (0, 0, 0), spacing)
    image = DicomCubeImage(np.zeros((6, 20, 30), np.uint8), space=space)
    with cube_of(image, tmp_path) as cube:
        sheet = contact_sheet(cube, width=300)
    assert sheet.shape[1] == 300 and sheet.shape[0] < 900


def test_without_geometry_the_axes_are_those_of_the_array(tmp_path: Path) -> None:
    with cube_of(DicomCubeImage(head()), tmp_path) as cube:
        planes = mid_planes(cube, 64, ALL)
    assert [(one.name, one.index) for one in planes] == [("slice", 6), ("row", 8), ("column", 10)]
    assert all(one.ends == ("", "", "", "") for one in planes)
    for plane, expected in zip(planes, (head()[6], head()[:, 8], head()[:, :, 10]), strict=True):
        assert np.array_equal(plane.pixels, expected)


@pytest.mark.parametrize("upwards", [True, False])
def test_uneven_slices_are_turned_too(upwards: bool, tmp_path: Path) -> None:
    """No space describes them, but the order of the slices is known."""
    datasets = make_series(5, shape=(24, 20), dtype="uint8")
    for number, dataset in enumerate(datasets):
        set_pixels(dataset, np.full((24, 20), 50 * number, np.uint8))
        dataset.RescaleIntercept = 0
        dataset.ImagePositionPatient = [0, 0, [0, 3, 4, 9, 11][number] * (1 if upwards else -1)]
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(datasets)
    with cube_of(image, tmp_path) as cube:
        assert cube.space is None
        axial, coronal, _ = mid_planes(cube, 64, ALL)
    assert axial.ends == ("A", "P", "R", "L")
    assert coronal.ends == ("H", "F", "R", "L")
    values = [200, 150, 100, 50, 0]
    assert coronal.pixels[:, 0].tolist() == (values if upwards else values[::-1])


def test_of_several_volumes_the_largest_is_cut(tmp_path: Path) -> None:
    """A localizer of one sagittal slice before a stack of axial ones."""
    datasets = make_series(6, shape=(24, 20), dtype="uint8")
    datasets[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(datasets)
    with cube_of(image, tmp_path) as cube:
        assert list(stack_of(cube).frames) == [1, 2, 3, 4, 5]
        assert mid_planes(cube, 64)[0].index == 3
        names = [one.name for one in spread_slices(cube, 9, 64)]
        level = cube.at_level(1)
        assert np.allclose(stack_of(level).spacing, (2.5, 1, 1.5))
    assert names == ["sagittal"] + ["axial"] * 5


def test_one_slice_is_one_picture(tmp_path: Path) -> None:
    with cube_of(make_series(1, shape=(24, 20), dtype="uint8"), tmp_path) as cube:
        (plane,) = mid_planes(cube, 64)
        assert plane.name == "axial"
        assert contact_sheet(cube, width=200).shape[1] == 200


def test_all_planes_are_shown_by_the_same_range(tmp_path: Path) -> None:
    volume = np.zeros((9, 30, 30), np.int16)
    volume[:] = np.arange(9)[:, None, None] * 100
    with cube_of(DicomCubeImage(volume, PixelDataHeader(2, -5)), tmp_path) as cube:
        middle, row, _ = mid_planes(cube, 64)
        slices = spread_slices(cube, 9, 64)
    assert (middle.pixels == middle.pixels[0, 0]).all()
    assert row.pixels[4, 0] == middle.pixels[0, 0]
    assert row.pixels[0, 0] == 0 and row.pixels[8, 0] == 255
    assert [int(one.pixels[0, 0]) for one in slices] == row.pixels[:, 0].tolist()


def test_colours_and_palettes(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 256, (5, 30, 20, 3), np.uint8)
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        planes = mid_planes(cube, 64)
        assert contact_sheet(cube, width=200).shape[2] == 3
    for plane, expected in zip(planes, (volume[2], volume[:, 15], volume[:, :, 10]), strict=True):
        assert np.array_equal(plane.pixels, expected)


def test_it_reads_a_coarse_level_and_few_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.zeros((50, 256, 200), np.int16)
    read: list[tuple[int, int]] = []
    take = Cube.get_fdata

    def recorded(self: Cube, index: Any, dtype: Any = "float32", **options: Any) -> Any:
        read.append((self.level, len(index)))
        return take(self, index, dtype, **options)

    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        monkeypatch.setattr(Cube, "get_fdata", recorded)
        planes = mid_planes(cube, 25)
        assert [one for one in read if one[1]] == [(3, 25)]
        assert planes[0].index == 25
        read.clear()
        mid_planes(cube, 25, level=0)
        assert [one for one in read if one[1]] == [(0, 25)]
        read.clear()
        spread_slices(cube, 4, 128)
        assert [one for one in read if one[1]] == [(1, 1)] * 4
        with pytest.raises(DataConsistencyError, match="levels 0 to"):
            contact_sheet(cube, level=9)


def test_of_a_file_without_levels_fewer_slices_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicube.core.pictures.drawing._MOST_SAMPLES", 40 * 20 * 30)
    monkeypatch.setattr("dicube.core.pictures.drawing._LEAST_SLICES", 10)
    volume = np.repeat(np.arange(200, dtype=np.uint8), 600).reshape(200, 20, 30)
    with cube_of(DicomCubeImage(volume), tmp_path, ".dcba") as cube:
        middle, row, _ = mid_planes(cube, 256, ALL)
        assert row.pixels[:, 0].tolist() == list(range(0, 200, 5))
        assert row.spacing == (5, 1) and (middle.pixels == 100).all()
        monkeypatch.setattr("dicube.core.pictures.drawing._MOST_SAMPLES", 1)
        assert len(mid_planes(cube, 256, ALL)[1].pixels) == 10
    with cube_of(DicomCubeImage(volume), tmp_path) as cube:
        assert len(mid_planes(cube, 256, ALL)[1].pixels) == 200


def test_many_slices_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicube.core.pictures.drawing._BATCH_BYTES", 20 * 16 * 8 * 5)
    volume, space = stored((2, 1, 0), (1, 1, 1))
    with cube_of(DicomCubeImage(volume, space=space), tmp_path) as cube:
        planes = mid_planes(cube, 64, ALL)
    assert np.array_equal(planes[1].pixels, head()[::-1, 8])
    assert np.array_equal(planes[0].pixels, head()[6])


def test_damaged_and_unknown_values_are_black(tmp_path: Path) -> None:
    values = np.full((4, 30, 30), np.nan, np.float32)
    with cube_of(DicomCubeImage(values), tmp_path) as cube:
        assert not any(plane.pixels.any() for plane in mid_planes(cube, 64))


def test_windows_that_mean_nothing_are_ignored(tmp_path: Path) -> None:
    datasets = make_series(4, shape=(24, 20))
    pictures = []
    for window in (None, ("", "1"), (["1", "2"], "0"), ("9" * 16, "-5")):
        if window is not None:
            for dataset in datasets:
                dataset.WindowCenter, dataset.WindowWidth = window
        with cube_of(datasets, tmp_path) as cube:
            pictures.append(mid_planes(cube, 64)[0].pixels)
    assert all(np.array_equal(pictures[0], one) for one in pictures)


# ------------------------------------------------------------------------------------- sheets


def test_a_sheet_has_planes_and_slices(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(make_series(12, shape=(24, 24)))
    with cube_of(image, tmp_path) as cube:
        planes, all_slices = contact_sheet(cube, count=0, width=500), contact_sheet(cube, width=500)
        few = contact_sheet(cube, count=6, width=500)
    assert planes.shape[1] == all_slices.shape[1] == few.shape[1] == 500
    row = (few.shape[0] - planes.shape[0]) // 2
    assert all_slices.shape[0] - planes.shape[0] == 3 * row  # twelve slices in rows of five
    assert few[-row:, 100:].max() == 0 < few[-row:, :100].max()


def test_labels_are_drawn_where_there_is_room() -> None:
    pixels = np.zeros((100, 100), np.uint8)
    picture = Picture("axial", 7, pixels, (1, 1), ("A", "P", "R", "L"))
    drawn = picture.square(1, label=True).max(axis=2)
    for part in (drawn[:20, 40:60], drawn[-20:, 40:60], drawn[40:60, :20], drawn[40:60, -20:]):
        assert part.any()
    assert drawn[:20, :20].any() and not drawn[-20:, -20:].any()
    assert not picture.square(5, label=True).any()


def test_png_and_jpeg_hold_the_pixels() -> None:
    import io

    from PIL import Image

    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    colour = np.stack([grey, grey * 2, grey * 3], axis=-1)
    for pixels in (grey, colour, colour[::-1]):
        with Image.open(io.BytesIO(encoded(pixels))) as image:
            assert image.format == "PNG" and not image.info
            assert np.array_equal(np.asarray(image), pixels)
    with Image.open(io.BytesIO(encoded(colour, kind_of_name("A.JPEG")))) as image:
        assert image.format == "JPEG" and image.size == (8, 6)
    with pytest.raises(DataConsistencyError, match=r"a\.gif: expected a name ending in \.png"):
        kind_of_name("a.gif")
    assert scaled(grey, 6, 8) is grey
    assert scaled(colour, 3, 16).shape == (3, 16, 3)
    assert labelled(grey, []).shape == (6, 8, 3)


# --------------------------------------------------------------------------------- real series


@pytest.mark.parametrize("name", ["ct_philips_thin", "mr_siemens_sag"])
def test_real_heads_are_upright(name: str, shared_data: Path, tmp_path: Path) -> None:
    """The crown of the head is narrow, and at the top."""
    with cube_of(DicomCubeImage.from_dicom_folder(shared_data / name), tmp_path) as cube:
        _, coronal, sagittal = mid_planes(cube, 128)
    assert coronal.ends[:2] == ("H", "F") and sagittal.ends[2:] == ("A", "P")
    inside = coronal.pixels > 40
    middle = inside[:, inside.shape[1] // 4 : -inside.shape[1] // 4].sum(axis=1)
    rows = np.flatnonzero(middle)
    assert middle[rows[: len(rows) // 8]].mean() < middle[rows[-len(rows) // 2 :]].mean()
