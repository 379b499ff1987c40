"""Napari opens dicube files, by its own loader of plugins and its model of a viewer, without Qt."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import ARRANGEMENTS, write_arranged
from inputs.dicom_series import make_series, write_series
from inputs.entry_points import environment
from inputs.placed_series import UNEVEN, write_placed
from inputs.training import colours, labels, library, write_labels
from numpy.typing import NDArray
from programs.running import ROOT

import dicube
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.integrations.napari import LayerArray, get_reader, read

MANIFEST = ROOT / "python" / "dicube" / "integrations" / "napari.yaml"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def convert(datasets: list[Any], folder: Path, extension: str = ".dcbs") -> Path:
    """Write a series as a dicube file."""
    path = folder / f"a{extension}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = dicube.DicomCubeImage.from_dicom_folder(write_series(folder / "dicom", datasets))
        image.to_file(path)
    return path


@pytest.fixture
def placed(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a synthetic series as a dicube file."""

    def make(name: str = "axial", extension: str = ".dcbs", **options: Any) -> Path:
        path = tmp_path / f"{name}{extension}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            series = write_placed(tmp_path / f"dicom {name}", name, **options)
            dicube.DicomCubeImage.from_dicom_folder(series).to_file(path)
        return path

    return make


def layer(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return data and properties of the only layer of a file."""
    ((data, properties, kind),) = read(str(path))
    assert kind == "image"
    return data, properties


# -------------------------------------------------------------------------------- found by napari


@pytest.fixture
def plugins() -> Iterator[Any]:
    """npe2, which knows this plugin."""
    npe2 = library("npe2")
    manager = npe2.PluginManager.instance()
    manager.register(npe2.PluginManifest.from_file(MANIFEST))
    yield npe2
    manager.unregister("dicube")


def test_the_manifest_is_valid(plugins: Any) -> None:
    manifest = plugins.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == ["*.dcbs", "*.dcba", "*.dcbl", "*.dcbr"]


def test_the_entry_point_is_valid(tmp_path: Path) -> None:
    library("npe2")
    command = [sys.executable, "-W", "ignore", "-m", "npe2", "validate", "dicube", "--imports"]
    found = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "valid" in found.stdout


def test_npe2_reads_a_file(plugins: Any, placed: Callable[..., Path]) -> None:
    path = placed()
    ((data, properties, kind),) = plugins.read([str(path)], stack=False)
    assert (properties["name"], kind) == ("axial", "image")
    assert np.array_equal(data, dicube.open(path).get_fdata())


def test_only_dicube_files_are_read() -> None:
    assert get_reader("a.dcbs") is read
    assert get_reader("s3://bucket/A.DCBA") is read
    assert get_reader("https://host/a.dcbs?key=secret") is read
    assert get_reader(["a.dcbs", "b.dcbr"]) is read
    assert get_reader("a.dcb") is None
    assert get_reader(["a.dcbs", "a.tif"]) is None
    assert get_reader([]) is None


# ---------------------------------------------------------------------------------------- a viewer


@pytest.fixture
def viewer(plugins: Any) -> Any:
    """A viewer without a window."""
    return library("napari.components").ViewerModel()


def test_a_viewer_opens_a_file(viewer: Any, placed: Callable[..., Path]) -> None:
    path = placed(WindowCenter="50", WindowWidth="100")
    (shown,) = viewer.open(str(path), plugin="dicube")
    assert (shown.name, shown.ndim, shown.multiscale, shown.rgb) == ("axial", 3, False, False)
    assert np.allclose(shown.scale, (2.5, 0.5, 0.75))
    assert np.allclose(shown.translate, (30, 20, -10))
    assert tuple(shown.contrast_limits) == (0, 100)
    assert [str(unit) for unit in shown.units] == ["millimeter"] * 3
    assert shown.axis_labels == ("z", "y", "x")
    with dicube.open(path) as cube:
        values = cube.get_fdata()
    for index in (0, 3):
        viewer.dims.set_point(0, 30 + 2.5 * index)
        assert np.array_equal(shown._data_view, values[index])
    assert shown.get_value((37.5, 21, -9.25), world=True) == values[3, 2, 1]
    viewer.dims.ndisplay = 3
    assert np.array_equal(shown._data_view, values)


def test_levels_are_shown(viewer: Any, tmp_path: Path) -> None:
    datasets = make_series(2, shape=(300, 200), dtype="int16")
    path = convert(datasets, tmp_path)
    (shown,) = viewer.open(str(path), plugin="dicube")
    cube = dicube.open(path)
    assert shown.multiscale
    assert [level.shape for level in shown.data] == [
        cube.at_level(level).shape for level in range(4)
    ]
    for level, data in enumerate(shown.data):
        assert np.array_equal(data, cube.at_level(level).get_fdata())
    viewer.dims.ndisplay = 3
    assert np.array_equal(shown._data_view, cube.at_level(3).get_fdata())


def test_colours_are_shown(viewer: Any, tmp_path: Path) -> None:
    path = colours(tmp_path)
    (shown,) = viewer.open(str(path), plugin="dicube")
    assert (shown.rgb, shown.ndim) == (True, 3)
    viewer.dims.set_point(0, 1)
    assert np.array_equal(shown._data_view[..., :3], dicube.open(path)[1])


def test_volumes_are_shown_over_time(viewer: Any, tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "times")
    (shown,) = viewer.open(str(path), plugin="dicube")
    assert shown.axis_labels == ("t", "z", "y", "x")
    assert np.allclose(shown.scale[:2], (1.5, 2.5))
    assert [str(unit) for unit in shown.units][:2] == ["second", "millimeter"]
    expected = dicube.open(path)._volumes(real=True).array
    viewer.dims.set_point(0, 1.5)
    viewer.dims.set_point(1, 5.0)
    assert np.array_equal(shown._data_view, expected[1, 2])


# --------------------------------------------------------------------------------------- the place


def placed_by(properties: dict[str, Any]) -> NDArray[np.float64]:
    """Return the matrix by which napari places voxels (z, y, x, 1)."""
    matrix = np.diag([*properties.get("scale", (1, 1, 1)), 1.0])
    matrix[:3, 3] = properties.get("translate", (0, 0, 0))
    return properties.get("affine", np.eye(4)) @ matrix


def lps(path: Path) -> NDArray[np.float64]:
    """Return the matrix from voxels (z, y, x, 1) to (z, y, x, 1) in LPS."""
    affine = dicube.open(path).affine_lps
    assert affine is not None
    return affine[np.ix_([2, 1, 0, 3], [2, 1, 0, 3])]


@pytest.mark.parametrize(
    ("name", "tilt", "expected"),
    [
        ("axial", 0.0, "scale"),
        ("RAS", 0.0, "scale"),
        ("axial", 0.3, "affine"),
        ("sagittal", 0.0, "own"),
        ("coronal", 0.0, "own"),
        ("axes swapped", 0.0, "own"),
        ("oblique", 0.0, "own"),
    ],
)
def test_the_place_in_the_patient(
    placed: Callable[..., Path], name: str, tilt: float, expected: str
) -> None:
    path = placed(name, tilt=tilt)
    _, properties = layer(path)
    assert np.allclose(properties["metadata"]["affine_lps"], lps(path))
    assert ("affine" in properties) == (expected == "affine")
    if expected == "own":
        assert np.allclose(placed_by(properties), np.diag([2.5, 0.5, 0.75, 1]))
    else:
        assert np.allclose(placed_by(properties), lps(path))


def test_oblique_slices_near_axial_are_turned(tmp_path: Path) -> None:
    datasets = make_series(3, shape=(4, 5), dtype="int16")
    cosine, sine = np.cos(0.2), np.sin(0.2)
    for index, dataset in enumerate(datasets):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, cosine, sine]
        dataset.ImagePositionPatient = (np.array([0, -sine, cosine]) * 2 * index).tolist()
    path = convert(datasets, tmp_path)
    _, properties = layer(path)
    assert np.allclose(placed_by(properties), lps(path))
    assert "affine" in properties


def test_an_unknown_place(placed: Callable[..., Path]) -> None:
    _, properties = layer(placed(places=UNEVEN))
    assert "uneven" in properties["metadata"]["geometry_problem"]
    assert np.allclose(placed_by(properties), np.diag([1.75, 0.5, 0.75, 1]))


def test_pixels_without_size(placed: Callable[..., Path]) -> None:
    _, properties = layer(placed(places=UNEVEN, PixelSpacing=[0, 0]))
    assert np.allclose(placed_by(properties), np.diag([1.75, 1, 1, 1]))


# ------------------------------------------------------------------------------ values and windows


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_every_arrangement_of_slices(tmp_path: Path, name: str) -> None:
    path, _ = write_arranged(tmp_path, name)
    data, properties = layer(path)
    with dicube.open(path) as cube:
        expected = cube._volumes(real=name != "labels").array
    assert np.array_equal(data, expected, equal_nan=expected.dtype.kind == "f")
    axes = expected.ndim - properties["rgb"]
    assert len(properties["axis_labels"]) == len(properties["units"]) == axes
    assert len(properties.get("scale", (1,) * axes)) == axes


def test_values_are_read_when_they_are_shown(
    placed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = layer(placed(WindowCenter="50", WindowWidth="100"))
    asked = []
    monkeypatch.setattr(
        data._volumes, "read", lambda key, read=data._volumes.read: asked.append(key) or read(key)
    )
    assert (data.shape, data.ndim, data.size, data.dtype) == ((5, 7, 6), 3, 210, np.float32)
    assert asked == []
    data[2]
    assert asked == [[2, slice(None), slice(None)]]


@pytest.mark.parametrize(
    "index",
    [
        *(0, -1, slice(1, 3), ..., (), (2, 3), (2, slice(None), 1), (..., 4), (1, ...)),
        *((slice(None, None, 2), ..., slice(2, 5)), (1, 2, 3), (np.int64(2),)),
    ],
    ids=repr,
)
def test_indices_are_those_of_numpy(placed: Callable[..., Path], index: Any) -> None:
    path = placed()
    data, _ = layer(path)
    expected = dicube.open(path).get_fdata()[index]
    assert np.array_equal(data[index], expected)
    assert np.shape(data[index]) == expected.shape


def test_wrong_indices_are_errors(placed: Callable[..., Path]) -> None:
    data, _ = layer(placed())
    for index in (5, (0, 0, 0, 0)):
        with pytest.raises((IndexError, ValueError)):
            data[index]
    assert np.asarray(data, np.float64).dtype == np.float64


def test_labels_keep_their_integers(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    array = labels((3, 4, 5), "uint16")
    data, _ = layer(write_labels(tmp_path / "labels.dcbs", array))
    assert data.dtype == np.uint16
    assert np.array_equal(data, array)


def test_without_a_window_the_values_set_the_contrast(placed: Callable[..., Path]) -> None:
    path = placed()
    low, high = layer(path)[1]["contrast_limits"]
    middle = dicube.open(path).get_fdata(2)
    assert middle.min() <= low < high <= middle.max()


def test_a_constant_volume_has_a_contrast(tmp_path: Path) -> None:
    dicube.DicomCubeImage(np.full((2, 3, 4), 7, np.int16)).to_file(tmp_path / "a.dcba")
    assert layer(tmp_path / "a.dcba")[1]["contrast_limits"] == (7, 8)


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 3, 4), 1e300),
        np.full((2, 3, 4), np.iinfo(np.uint64).max),
        np.arange(24).reshape(2, 3, 4) - (1 << 62),
    ],
)
def test_large_values_of_one_float_have_a_contrast(tmp_path: Path, array: NDArray[Any]) -> None:
    dicube.DicomCubeImage(array).to_file(tmp_path / "a.dcbs")
    low, high = layer(tmp_path / "a.dcbs")[1]["contrast_limits"]
    assert low < high


def test_a_window_narrower_than_floats_are_apart(placed: Callable[..., Path]) -> None:
    low, high = layer(placed(WindowCenter="1e20", WindowWidth="2"))[1]["contrast_limits"]
    assert low < high


def test_inverted_series(placed: Callable[..., Path]) -> None:
    assert layer(placed(PhotometricInterpretation="MONOCHROME1"))[1]["colormap"] == "gray_r"
    assert layer(placed("RAS"))[1]["colormap"] == "gray"


def test_palettes_are_rgb_and_have_no_levels(tmp_path: Path) -> None:
    datasets = make_series(1, shape=(200, 200), dtype="uint8")
    for dataset in datasets:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
            table = bytes(range(256)) if colour == "Red" else bytes(256)
            setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    path = convert(datasets, tmp_path)
    data, properties = layer(path)
    assert (properties["rgb"], properties["multiscale"]) == (True, False)
    assert data.shape == (1, 200, 200, 3)
    assert np.array_equal(data[..., 0], dicube.open(path)[:])


# ------------------------------------------------------------------------------- names of patients


@pytest.mark.parametrize(
    ("file", "series", "name"),
    [
        ("head", "T1", "head"),
        ("doe_jane-T1", "T1", "T1"),
        ("ID7", "scan of Jane", "volume"),
        ("JANE", "", "volume"),
    ],
)
def test_the_name_of_the_layer_is_not_the_patients(
    tmp_path: Path, file: str, series: str, name: str
) -> None:
    datasets = make_series(2, shape=(4, 5), dtype="int16")
    for dataset in datasets:
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "ID7"
        dataset.PatientBirthDate, dataset.SeriesDescription = "19700101", series
    path = convert(datasets, tmp_path).rename(tmp_path / f"{file}.dcbs")
    _, properties = layer(path)
    assert properties["name"] == name
    assert not any(word in str(properties) for word in ("Doe", "Jane", "ID7", "1970"))
    assert ("SeriesDescription" in properties["metadata"]) == (series == "T1")


# ---------------------------------------------------------------------------------------- sources


def test_several_files_are_layers(placed: Callable[..., Path]) -> None:
    paths = [str(placed()), str(placed("RAS"))]
    assert [properties["name"] for _, properties, _ in read(paths)] == ["axial", "RAS"]


def test_urls(placed: Callable[..., Path]) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = placed()
    with fsspec.open("memory://napari/head.dcbs", "wb") as file:
        file.write(path.read_bytes())
    ((data, properties, _),) = read("memory://napari/head.dcbs")
    assert properties["name"] == "head"
    assert np.array_equal(data, dicube.open(path).get_fdata())


def test_what_is_no_dicube_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcbs").write_bytes(b"DCMCUBES and no more")
    with pytest.raises(InvalidCubeFileError):
        read(os.fspath(tmp_path / "a.dcbs"))


def test_volumes_that_differ_are_an_error(tmp_path: Path) -> None:
    datasets = make_series(4, shape=(4, 5), dtype="int16")
    for dataset in datasets[2:]:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    path = convert(datasets, tmp_path)
    with pytest.raises(DataConsistencyError, match="differ"):
        read(str(path))


def test_an_array_of_a_layer_is_a_copy(placed: Callable[..., Path]) -> None:
    path = placed()
    data, _ = layer(path)
    assert np.array_equal(np.array(data, np.float64), dicube.open(path).get_fdata())
    with pytest.raises(ValueError, match="copy=False"):
        data.__array__(copy=False)


def test_napari_is_not_needed(placed: Callable[..., Path]) -> None:
    script = (
        "import sys; sys.modules['napari'] = None\n"
        "from dicube.integrations.napari import read; print(read(sys.argv[1])[0][0].shape)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(placed())],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["(5,", "7,", "6)"]
    assert isinstance(layer(placed())[0], LayerArray)
