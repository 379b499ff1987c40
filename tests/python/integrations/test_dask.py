"""dask makes arrays of cubes: chunks are frames, and names depend on the content alone."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrangements import write_arranged
from inputs.training import library
from programs.running import run_python

import dicube
from dicube import DicomCubeImage

dask = library("dask")
da = library("dask.array")
tokenize = library("dask.base").tokenize


def written(path: Path, volume: Any, **options: Any) -> dicube.Cube:
    DicomCubeImage(volume).to_file(path, **options)
    return dicube.open(path)


def noise(shape: tuple[int, ...] = (4, 6, 5)) -> Any:
    return np.random.default_rng(0).integers(0, 999, shape).astype("uint16")


def test_chunks(tmp_path: Path) -> None:
    cube = written(tmp_path / "a.dcbs", noise((40, 64, 48)))
    assert cube.chunks == (1, 64, 48)
    assert da.from_array(cube, chunks=cube.chunks).chunks == ((1,) * 40, (64,), (48,))
    with dask.config.set({"array.chunk-size": f"{10 * 64 * 48 * 2}B"}):
        chunks = da.from_array(cube).chunks  # whole frames, as many as the configuration wants
    assert chunks[1:] == ((64,), (48,))
    assert 1 < len(chunks[0]) < 40
    colours = written(tmp_path / "b.dcbs", noise((2, 6, 5, 3)).astype("uint8"))
    assert da.from_array(colours, chunks=colours.chunks).chunks == ((1, 1), (6,), (5,), (3,))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_schedulers(tmp_path: Path, scheduler: str) -> None:
    volume = noise()
    cube = written(tmp_path / "a.dcbs", volume)
    array = da.from_array(cube, chunks=cube.chunks)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        assert np.array_equal(array.compute(), volume)
        assert np.array_equal((array[1:, ::2] * 2).max(0).compute(), (volume[1:, ::2] * 2).max(0))
        assert np.array_equal(da.from_array(cube.at_level(1)).compute(), cube.at_level(1)[...])


def test_nothing_is_decoded_for_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = written(tmp_path / "a.dcbs", noise())
    monkeypatch.setattr(dicube.Cube, "_decode", None)
    da.from_array(cube).mean()


def test_the_same_content_has_the_same_token_anywhere(tmp_path: Path) -> None:
    path, _ = write_arranged(tmp_path, "oblique")
    copy = shutil.copy(path, tmp_path / "elsewhere.dcbs")
    token = tokenize(dicube.open(path))
    assert tokenize(dicube.open(copy, num_threads=1, cache=1 << 20)) == token
    assert tokenize(dicube.open(path.read_bytes())) == token
    cube = dicube.open(path)
    cube[1], cube.dicom_meta, cube.space
    assert tokenize(cube) == token
    code = f"import dicube, dask.base; print(dask.base.tokenize(dicube.open({str(copy)!r})))"
    for seed in ("1", "2"):
        assert run_python("-c", code, PYTHONHASHSEED=seed).stdout.strip() == token


def test_other_content_has_another_token(tmp_path: Path) -> None:
    path, image = write_arranged(tmp_path, "oblique")
    cube = dicube.open(path)
    tokens = [tokenize(cube), tokenize(cube.at_level(1))]
    image.raw_image[2, 3, 4] += 1
    image.to_file(tmp_path / "pixels.dcbs", exact=False)
    image.raw_image[2, 3, 4] -= 1
    image.pixel_header.RescaleSlope = 2.0
    image.to_file(tmp_path / "header.dcbs", exact=False)
    image.dicom_meta.set_shared_item("PatientName", "Other")
    image.to_file(tmp_path / "meta.dcbs", exact=False)
    tokens += [tokenize(dicube.open(tmp_path / f"{n}.dcbs")) for n in ("pixels", "header", "meta")]
    assert len({*tokens}) == len(tokens)


def test_noise_of_equal_size_has_another_token(tmp_path: Path) -> None:
    """Constant slices all have codestreams of one length."""
    tokens = [
        tokenize(written(tmp_path / f"{value}.dcbs", np.full((2, 4, 4), value, np.uint8)))
        for value in range(5)
    ]
    assert len({*tokens}) == 5


@pytest.mark.parametrize("options", [{"on_error": "skip"}, {"verify": False}])
def test_damage_that_is_read_counts(tmp_path: Path, options: dict[str, Any]) -> None:
    volume = noise((4, 40, 50))
    path = tmp_path / "a.dcbs"
    written(path, volume)
    whole = tokenize(dicube.open(path, **options))
    assert whole == tokenize(dicube.open(path, **options))
    data = bytearray(path.read_bytes())
    offset, size = dicube.open(path)._reader.coded_range(2)
    data[offset + size // 2] ^= 0xFF
    path.write_bytes(data)
    damaged = dicube.open(path, **options)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert tokenize(damaged) != whole
    assert len(found) == ("on_error" in options)
