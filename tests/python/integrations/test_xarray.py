"""xarray opens a dicube file as `Cube.to_xarray` has it, and decodes what is taken."""

from __future__ import annotations

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import ARRANGEMENTS, two_places, write_arranged
from inputs.entry_points import distribution
from inputs.http_server import FileServer
from inputs.training import library
from programs.running import run_python

import dicube
from dicube import Cube, DicomCubeImage
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError

xr = library("xarray")

from dicube.integrations.xarray import DicubeBackend  # noqa: E402 (needs xarray)

pytestmark = pytest.mark.filterwarnings("ignore:the palette|nothing but the order")


def engine(path: Any, **options: Any) -> Any:
    """Open a file as a DataArray."""
    return xr.open_dataarray(path, engine=DicubeBackend, **options)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_it_is_what_cubes_hand_over(tmp_path: Path, name: str, real: bool) -> None:
    path, image = write_arranged(tmp_path, name)
    for array in (dicube.open(path).to_xarray(real), image.to_xarray(real)):
        found = engine(path, real=real)
        assert found.dims == array.dims
        assert found.dtype == array.dtype
        xr.testing.assert_identical(found, array)


def test_real_values_are_the_default(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "oblique")
    assert np.array_equal(engine(path), image.get_fdata())
    stored = engine(path, real=False)
    assert np.array_equal(stored, image.raw_image)
    assert (stored.attrs["scale_factor"], stored.attrs["add_offset"]) == (1, -1024)


def test_attributes(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "mapped")
    assert engine(path).attrs["units"] == image.pixel_header.Extras["Units"]
    assert engine(path).attrs["Modality"] == image.dicom_meta.get("Modality")
    assert "units" not in engine(path, real=False).attrs


def test_uneven_slices_have_no_coordinates(tmp_path: Path) -> None:
    found = engine(write_arranged(tmp_path, "uneven")[0])
    assert not found.coords
    assert found.attrs["geometry_problem"].startswith("gap_location")


def test_it_becomes_an_image_again(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "oblique")
    again = DicomCubeImage.from_xarray(engine(path, real=False)[1:, ::2])
    expected = image.crop(np.s_[1:, ::2])
    assert np.allclose(again.affine, expected.affine)
    assert np.array_equal(again.get_fdata(), expected.get_fdata())


def test_selections(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "times")
    whole = dicube.open(path).to_xarray()
    z = xr.DataArray([2, 0, 1], dims="p")
    for select in (
        lambda a: a.isel(t=1, z=slice(None, None, -2)),
        lambda a: a.isel(z=[2, 0, 2], x=[1, 4]),
        lambda a: a.isel(z=[2, 0], y=[0, 6, 3], x=[1, 4])[:, 1],
        lambda a: a.isel(z=z, x=xr.DataArray([0, 5, 3], dims="p")),
        lambda a: a.sel(z=3, y=21.2, method="nearest"),
        lambda a: a.isel(y=slice(3, 3)),
        lambda a: a[:, 1][0].isel(x=slice(2, 5)).T,
        lambda a: a.where(a.x > -9, drop=True),
    ):
        xr.testing.assert_identical(select(engine(path)).load(), select(whole))


def test_opening_decodes_nothing_and_a_slice_one_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[list[int]] = []
    decode = Cube._decode

    def recorded(self: Cube, frames: Any, *arguments: Any) -> None:
        decoded.append([*map(int, frames)])
        decode(self, frames, *arguments)

    monkeypatch.setattr(Cube, "_decode", recorded)
    path, _ = write_arranged(tmp_path, "oblique")
    found = engine(path)
    assert "values" in repr(found)
    part = found.isel(z=3)
    assert decoded == []
    part.load()
    assert decoded == [[3]]


def test_options_of_opening(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    low = engine(path, level=1, num_threads=1, verify=False)
    xr.testing.assert_identical(low, dicube.open(path, level=1).to_xarray())
    data = bytearray(path.read_bytes())
    offset, size = dicube.open(path)._reader.coded_range(2)
    data[offset + size - 9] ^= 0xFF
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="frames 2"):
        assert np.isnan(engine(path, on_error="skip").load()[2]).all()
    with pytest.raises(DataConsistencyError, match="storage_options are for URLs"):
        engine(path, storage_options={"a": 1})


def test_variables_are_dropped(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    for dropped in (["x", "absent"], "x"):
        dataset = xr.open_dataset(path, engine=DicubeBackend, drop_variables=dropped)
        assert {*dataset.variables} == {"voxels", "y", "z"}


def test_a_dataset_closes_its_file(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    with xr.open_dataset(path, engine=DicubeBackend) as dataset:
        part = dataset.voxels[1]
    with pytest.raises(ValueError, match="closed"):
        part.load()


def test_volumes_that_form_no_array_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataConsistencyError, match="differ in shape or position"):
        engine(two_places(tmp_path))


def test_which_files_it_opens() -> None:
    guess = DicubeBackend().guess_can_open
    for name in ("a.dcbs", "b/A.DCBA", Path("a.dcbl"), "s3://bucket/a.dcbr"):
        assert guess(name)
    assert guess("https://example.org/a.dcbs?signature=x.nc")
    for other in ("a.nc", "dcbs", b"a.dcbs", "https://example.org/a.nc?of=a.dcbs", None):
        assert not guess(other)


def test_urls(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    path, image = write_arranged(tmp_path, "oblique")
    server = FileServer()
    try:
        found = engine(server.add("a.dcbs", path.read_bytes()))
        assert np.array_equal(found[2], image.get_fdata()[2])
    finally:
        server.close()


def test_xarray_finds_it_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new process, where dicube is as if it were installed."""
    monkeypatch.syspath_prepend(distribution(tmp_path))
    path, image = write_arranged(tmp_path, "oblique")
    code = (
        "import xarray\n"
        "for engine in ('dicube', None):\n"
        f"    print(float(xarray.open_dataset({str(path)!r}, engine=engine).voxels[1, 2, 3]))"
    )
    done = run_python("-c", code)
    assert done.stdout.split() == [str(float(image.get_fdata()[1, 2, 3]))] * 2, done.stderr


def test_it_can_be_pickled(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "times")
    again = pickle.loads(pickle.dumps(engine(path)))
    xr.testing.assert_identical(again, dicube.open(path).to_xarray())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system that replaces open files")
def test_a_file_replaced_by_one_of_other_values_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.dcbs"
    image = DicomCubeImage(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.pixel_header.RescaleIntercept = -1024.0
    image.to_file(path)
    found = engine(path, cache=False)
    pickled, size = pickle.dumps(found), path.stat().st_size
    image.pixel_header.RescaleIntercept = -1025.0
    image.to_file(path)
    assert path.stat().st_size == size
    with pytest.raises(InvalidCubeFileError, match="replaced"):
        pickle.loads(pickled).load()
    assert found[0, 0, 0] == -1024


def test_many_threads(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    whole, found = dicube.open(path).to_xarray(), engine(path, cache=False)
    with ThreadPoolExecutor(8) as pool:
        parts = [*pool.map(lambda index: found[index % 5].values, range(200))]
    assert all(np.array_equal(part, whole[i % 5]) for i, part in enumerate(parts))


class TestDask:
    @pytest.fixture(autouse=True)
    def _dask(self) -> None:
        self.dask = library("dask")
        library("dask.array")

    @pytest.mark.parametrize(
        ("name", "chunks"),
        [("times", ((1, 1), (1, 1, 1), (7,), (6,))), ("mosaics", ((1, 1, 1), (7,), (16,), (12,)))],
    )
    def test_chunks_are_frames(self, tmp_path: Path, name: str, chunks: Any) -> None:
        assert engine(write_arranged(tmp_path, name)[0], chunks={}).chunks == chunks

    @pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
    @pytest.mark.parametrize("name", ["oblique", "palettes"])
    def test_schedulers(self, tmp_path: Path, name: str, scheduler: str) -> None:
        path, _ = write_arranged(tmp_path, name)
        lazy = engine(path, chunks={})
        with warnings.catch_warnings(), self.dask.config.set(scheduler=scheduler, num_workers=2):
            warnings.simplefilter("ignore")
            xr.testing.assert_identical(lazy.compute(), dicube.open(path).to_xarray())


if sys.platform == "win32":  # processes are started anew, and import this file
    del TestDask
