"""VirtualiZarr sees a dicube file as a Zarr array, wherever the file is."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import ARRANGEMENTS, write_arranged, write_lossy_files
from inputs.arrays import random_bits
from inputs.dicom_series import make_series, write_series
from inputs.http_server import FileServer
from inputs.object_stores import s3_with_a_bucket
from inputs.placed_series import UNEVEN
from inputs.training import SERIES, colours, library
from numpy.typing import NDArray

import dicube
from dicube.exceptions import DataConsistencyError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader

if sys.version_info < (3, 12):
    pytest.skip("VirtualiZarr is for Python 3.12 and newer", allow_module_level=True)
vz = library("virtualizarr")
xr = library("xarray")
zarr = library("zarr")
stores = library("obstore.store")
registry_of = library("obspec_utils.registry").ObjectStoreRegistry

from zarr.registry import register_codec  # noqa: E402

from dicube.integrations.virtualizarr import DicubeParser  # noqa: E402
from dicube.integrations.zarr import HTJ2KCodec, JXLCodec  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning:zarr"
)

for codec in (HTJ2KCodec, JXLCodec):
    register_codec(codec.name, codec)

LOCAL = registry_of({"file://": stores.LocalStore()})


def opened(path: Path, registry: Any = LOCAL, **options: Any) -> Any:
    """Return what xarray reads through the virtual store: stored values by default."""
    url = path.as_uri() if isinstance(path, Path) else path
    store = DicubeParser()(url, registry)
    return xr.open_zarr(
        store, consolidated=False, zarr_format=3, **{"mask_and_scale": False, **options}
    )


def write(path: Path, array: NDArray[Any]) -> Path:
    """Write an array as a dicube file without metadata."""
    dicube.DicomCubeImage(array).to_file(path)
    return path


def convert(series: Path, path: Path) -> Path:
    """Write a series as a dicube file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dicube.DicomCubeImage.from_dicom_folder(series).to_file(path)
    return path


@pytest.fixture
def placed(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a synthetic series as a dicube file."""
    from inputs.placed_series import write_placed

    def make(name: str = "axial", extension: str = ".dcbs", **options: Any) -> Path:
        series = write_placed(tmp_path / "dicom", name, **options)
        path = tmp_path / f"a{extension}"
        return convert(series, path)

    return make


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint64", "float32"])
def test_values_are_those_of_the_cube(tmp_path: Path, extension: str, dtype: str) -> None:
    path = write(tmp_path / f"a{extension}", random_bits((4, 6, 5), dtype))
    voxels = opened(path)["voxels"]
    assert voxels.dims == ("z", "y", "x")
    with dicube.open(path) as cube:
        assert voxels.values.tobytes() == cube[:].tobytes()
        assert voxels[1:3, 2].values.tobytes() == cube[1:3, 2].tobytes()


@pytest.mark.parametrize("name", SERIES)
def test_coordinates_and_attributes_are_those_of_to_xarray(
    placed: Callable[..., Path], name: str
) -> None:
    path = placed(**SERIES[name])
    with dicube.open(path) as cube:
        expected, real = cube.to_xarray(real=False), cube.to_xarray()
    ours = opened(path)["voxels"]
    xr.testing.assert_identical(ours.load(), expected)
    scaled = opened(path, mask_and_scale=True)["voxels"]
    assert np.array_equal(scaled.values, real.values)


def test_a_virtual_dataset_points_into_the_file(placed: Callable[..., Path]) -> None:
    path = placed()
    virtual = vz.open_virtual_dataset(path.as_uri(), registry=LOCAL, parser=DicubeParser())
    assert {name: index.size for name, index in virtual.indexes.items()} == {"z": 5, "y": 7, "x": 6}
    chunks = virtual["voxels"].data.manifest.dict()
    data = path.read_bytes()
    with DcbReader(path) as reader:
        for frame in range(5):
            entry = chunks[f"{frame}.0.0"]
            assert entry["path"] == path.as_uri()
            stop = entry["offset"] + entry["length"]
            assert data[entry["offset"] : stop] == reader.coded(frame)


def test_an_unknown_position_is_told(placed: Callable[..., Path]) -> None:
    voxels = opened(placed(places=UNEVEN))["voxels"]
    assert "uneven" in voxels.attrs["geometry_problem"]
    assert not voxels.coords


def test_colours(tmp_path: Path) -> None:
    path = colours(tmp_path)
    voxels = opened(path)["voxels"]
    assert voxels.dims == ("z", "y", "x", "sample")
    with dicube.open(path) as cube:
        assert np.array_equal(voxels.values, cube[:])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_values_without_rescale_keep_their_type(tmp_path: Path, dtype: str) -> None:
    array = random_bits((2, 6, 5), dtype)
    found = opened(write(tmp_path / "a.dcbs", array), mask_and_scale=True)["voxels"]
    assert found.dtype == dtype
    assert found.values.tobytes() == array.tobytes()


NO_CHUNKS = {"mosaics": "mosaic", "palettes": "palette"}


@pytest.mark.parametrize("name", [name for name in ARRANGEMENTS if name not in NO_CHUNKS])
def test_every_arrangement_of_slices(tmp_path: Path, name: str) -> None:
    path, _ = write_arranged(tmp_path, name)
    with dicube.open(path) as cube:
        expected = cube.to_xarray(real=False)
    xr.testing.assert_identical(opened(path, decode_times=False)["voxels"].load(), expected)


@pytest.mark.parametrize("name", NO_CHUNKS)
def test_frames_that_are_no_chunks_are_refused(tmp_path: Path, name: str) -> None:
    path, _ = write_arranged(tmp_path, name)
    with pytest.raises(DataConsistencyError, match=NO_CHUNKS[name]) as caught:
        opened(path)
    assert "engine='dicube'" in str(caught.value)


def test_words_with_other_bits_are_refused(tmp_path: Path) -> None:
    datasets = make_series(2, shape=(5, 4), dtype="uint16")
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = np.full((5, 4), 0xF123, np.uint16).tobytes()
    path = convert(write_series(tmp_path / "dicom", datasets), tmp_path / "a.dcbs")
    with pytest.raises(DataConsistencyError, match="other bits"):
        opened(path)


def test_slices_of_different_rescale(tmp_path: Path) -> None:
    datasets = make_series(6, shape=(5, 4), dtype="int16")
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [0, 0, 2.5 * (index // 2)]
        dataset.TemporalPositionIdentifier = index % 2 + 1
        dataset.RescaleSlope, dataset.RescaleIntercept = str(index + 0.5), str(index)
    path = convert(write_series(tmp_path / "dicom", datasets), tmp_path / "a.dcbs")
    found = opened(path, mask_and_scale=True)
    assert "scale_factor" not in found["voxels"].encoding
    assert found["rescale_slope"].dims == ("t", "z")
    real = found["voxels"] * found["rescale_slope"] + found["rescale_intercept"]
    with dicube.open(path) as cube:
        assert np.allclose(real, cube.to_xarray())


def test_lossy_files_and_files_with_a_mask(tmp_path: Path) -> None:
    array = write_lossy_files(tmp_path)
    for name in ("a.dcbl", "a.dcbr"):
        with dicube.open(tmp_path / name) as cube:
            assert not np.array_equal(cube[:], array)
            assert np.array_equal(opened(tmp_path / name)["voxels"], cube[:])


# ------------------------------------------------------------------------------- over networks


@pytest.fixture
def server() -> Iterator[FileServer]:
    served = FileServer()
    yield served
    served.close()


def test_over_http_a_slice_costs_its_bytes(tmp_path: Path, server: FileServer) -> None:
    array = random_bits((40, 128, 128), "int16")
    path = write(tmp_path / "a.dcbs", array)
    url = server.add("a.dcbs", path.read_bytes())
    store = stores.HTTPStore.from_url(server.origin, client_options={"allow_http": True})
    voxels = opened(url, registry_of({server.origin: store}))["voxels"]  # type: ignore[arg-type]
    assert server.requests == [("HEAD", None, None), ("GET", 0, 1 << 18)]
    server.requests.clear()
    assert np.array_equal(voxels[7].values, array[7])
    with DcbReader(path) as reader:
        offset, size = reader.coded_range(7)
    assert server.requests == [("GET", offset, offset + size)]
    assert np.array_equal(voxels.values, array)


def test_over_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = random_bits((3, 6, 5), "int16")
    path = write(tmp_path / "a.dcba", array)
    with s3_with_a_bucket(monkeypatch, "secret") as system:
        system.put_file(str(path), "bucket/series/a.dcba")
        store = stores.S3Store(
            "bucket",
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            access_key_id="someone",
            secret_access_key="secret",
            region="us-east-1",
            client_options={"allow_http": True},
        )
        url: Any = "s3://bucket/series/a.dcba"
        found = opened(url, registry_of({"s3://bucket": store}))
        assert np.array_equal(found["voxels"].values, array)


# ------------------------------------------------------------------------------ written virtually


def assert_same(found: Any, expected: Any) -> None:
    """All is the same, but that a fill value of coordinates was written too."""
    for name in found.coords:
        found[name].attrs.pop("_FillValue", None)
    xr.testing.assert_identical(found.load(), expected)


def test_written_as_kerchunk(placed: Callable[..., Path], tmp_path: Path) -> None:
    library("fsspec")
    path = placed()
    virtual = vz.open_virtual_dataset(path.as_uri(), registry=LOCAL, parser=DicubeParser())
    try:
        references = virtual.vz.to_kerchunk(format="dict", zarr_format=3)
    except TypeError:
        pytest.skip("VirtualiZarr writes kerchunk's references of Zarr 3 from 2.8")
    (tmp_path / "a.json").write_text(json.dumps(references))
    with (
        xr.open_dataset(
            "reference://",
            engine="zarr",
            mask_and_scale=False,
            backend_kwargs={
                "consolidated": False,
                "storage_options": {"fo": str(tmp_path / "a.json"), "remote_protocol": "file"},
            },
        ) as found,
        dicube.open(path) as cube,
    ):
        assert_same(found["voxels"], cube.to_xarray(real=False))


def test_written_to_icechunk(placed: Callable[..., Path], tmp_path: Path) -> None:
    icechunk = library("icechunk")
    path = placed()
    prefix = tmp_path.as_uri() + "/"
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(prefix, icechunk.local_filesystem_store(str(tmp_path)))
    )
    repository = icechunk.Repository.create(
        icechunk.in_memory_storage(),
        config=config,
        authorize_virtual_chunk_access={prefix: None},
    )
    virtual = vz.open_virtual_dataset(path.as_uri(), registry=LOCAL, parser=DicubeParser())
    session = repository.writable_session("main")
    virtual.vz.to_icechunk(session.store)
    session.commit("a series")
    store = repository.readonly_session("main").store
    found = xr.open_zarr(store, consolidated=False, mask_and_scale=False)
    with dicube.open(path) as cube:
        assert_same(found["voxels"], cube.to_xarray(real=False))


def test_series_are_concatenated_virtually(placed: Callable[..., Path]) -> None:
    paths = [placed()] * 2
    virtual = [
        vz.open_virtual_dataset(path.as_uri(), registry=LOCAL, parser=DicubeParser())
        for path in paths
    ]
    both = xr.concat(virtual, "t", coords="minimal", compat="override", join="override")
    assert both["voxels"].shape == (2, 5, 7, 6)


# ---------------------------------------------------------------------------------- refused


def test_what_is_no_dicube_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcbs").write_bytes(b"DCMCUBES and no more")
    with pytest.raises(InvalidCubeFileError):
        opened(tmp_path / "a.dcbs")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "missing.dcbs")


def test_a_damaged_frame_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcbs", random_bits((2, 16, 16), "int16"))
    with DcbReader(path) as reader:
        offset, _ = reader.coded_range(1)
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    voxels = opened(path)["voxels"]
    assert voxels[0].values.any()
    with pytest.raises(DicomCubeError):
        voxels[1].values  # noqa: B018


def test_a_file_without_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    dataset = make_series(1)[0]
    del dataset.PixelData
    write_series(tmp_path / "report", [dataset])
    dicube.store_files(tmp_path / "report", tmp_path / "a.dcbs")
    with pytest.raises(InvalidCubeFileError, match="no frames, but 1 original file"):
        opened(tmp_path / "a.dcbs")


def test_colours_that_are_not_rgb_are_refused(tmp_path: Path) -> None:
    datasets = make_series(2, shape=(4, 5), dtype="uint8")
    for dataset in datasets:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "YBR_FULL"
        dataset.PixelData = bytes(range(60))
    path = convert(write_series(tmp_path / "dicom", datasets), tmp_path / "a.dcbs")
    with pytest.raises(DataConsistencyError, match="YBR_FULL"):
        opened(path)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "virtualizarr.manifests", None)
    monkeypatch.delitem(sys.modules, "dicube.integrations.virtualizarr")
    with pytest.raises(ImportError, match=r"dicube\[virtualizarr\]"):
        import dicube.integrations.virtualizarr  # noqa: F401
