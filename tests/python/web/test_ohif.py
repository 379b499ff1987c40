"""OHIF as its npm package has it, in Chromium: study list, a study opened, pixels of a viewport.

The package is fetched once into the cache folder, and never stored in the project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("sqlalchemy")

from inputs.dicom_series import set_pixels, write_series
from inputs.series_trees import series_of
from inputs.served import originals_of, served
from programs.running import PROGRAMS, needs

import dicube

pytestmark = pytest.mark.slow
PACKAGES = ("@ohif/app@3.13.2", "playwright-core@1.65.1")


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder node_modules with OHIF and playwright-core."""
    (npm, _) = needs("npm", "node")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dicube"
    home = cache / re.sub(r"[^\w.-]+", "-", "-".join(PACKAGES)).strip("-")
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        # OHIF's dependencies are built into its dist already.
        for package in PACKAGES:
            packed = run(home, npm, "pack", "--silent", package)
            folder = home / "node_modules" / package.rpartition("@")[0]
            folder.mkdir(parents=True)
            archive = str(home / packed.split()[-1])
            run(home, "tar", "xzf", archive, "-C", str(folder), "--strip-components=1")
            os.unlink(archive)
        (home / "ready").touch()
    return home / "node_modules"


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"npm's registry can't be reached: {result.stderr.strip()[-200:]}")
    return result.stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CT series of signed samples, and a `.dcba` of it."""
    folder = tmp_path_factory.mktemp("ohif")
    datasets = series_of(1, 5, shape=(96, 80), dtype="int16")
    rows, columns = np.mgrid[:96, :80]
    for index, dataset in enumerate(datasets):
        dataset.PatientName = "VIEWED^PATIENT"
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
        values = rows * 3 + columns * 2 - 150 + 10 * index + (rows * columns) % 7
        set_pixels(dataset, (values + 1024).astype("int16"))
    write_series(folder / "series", datasets)
    dicube.DicomCubeImage.from_dicom_folder(folder / "series").to_file(folder / "viewed.dcba")
    return folder


def shown(packages: Path, folder: Path, source: Path, tree: Path) -> tuple[Any, Any, int]:
    """Return what OHIF shows of a file, and the original of the slice shown."""
    (chromium, node) = needs("chromium", "node")
    originals = originals_of(tree)
    first = next(iter(originals.values()))
    with served(source, "--ohif", packages / "@ohif" / "app" / "dist") as url:
        patient = re.split(r"[\^=]", str(first.PatientName))[0]
        result = subprocess.run(
            [
                *(node, str(PROGRAMS / "ohif.mjs"), url, chromium, str(folder)),
                *(str(first.StudyInstanceUID), patient),
            ],
            env={**os.environ, "NODE_PATH": str(packages)},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    uid = re.search(r"/instances/([0-9.]+)/frames/1", found["imageId"])
    assert uid is not None
    return found, originals[uid[1]], len(originals)


def check(found: Any, original: Any, count: int) -> None:
    assert found["errors"] == []
    assert found["images"] == count
    frames = [one for one in found["requests"] if "/frames/" in one[1]]
    assert frames and all(one[0] == 200 for one in found["requests"])
    stored = original.pixel_array
    assert (found["rows"], found["columns"]) == stored.shape
    slope, intercept = (
        float(original.get(f"Rescale{word}", default))
        for word, default in (("Slope", 1), ("Intercept", 0))
    )
    values = stored * slope + intercept
    pixels = np.array(found["pixels"]).reshape(stored.shape)
    assert np.array_equal(pixels, stored) or np.array_equal(pixels, values)
    region = np.array(found["region"])
    real = values[region[:, 0], region[:, 1]]
    lower, upper = found["lower"], found["upper"]
    expected = np.clip((real - lower) / (upper - lower), 0, 1) * 255
    greys = region[:, 2]
    assert np.array_equal(greys, region[:, 3]) and np.array_equal(greys, region[:, 4])
    assert np.abs(greys - expected).max() <= 1.5  # of 255: shaders round in their own way
    assert len(np.unique(greys)) > 10


def test_ohif_shows_a_series_of_jpeg_xl(packages: Path, made: Path, tmp_path: Path) -> None:
    check(*shown(packages, tmp_path, made / "viewed.dcba", made / "series"))


def test_ohif_shows_colours(packages: Path, tmp_path: Path) -> None:
    datasets = series_of(1, 3, shape=(96, 80, 3), dtype="uint8")
    rows, columns = np.mgrid[:96, :80]
    for index, dataset in enumerate(datasets):
        dataset.PatientName, dataset.Modality, dataset.PlanarConfiguration = "COLOURED", "US", 1
        del dataset.RescaleSlope, dataset.RescaleIntercept
        planes = np.stack([rows * 2, columns * 3, np.full_like(rows, 60 * index)])
        dataset.PixelData = planes.astype("uint8").tobytes()
    write_series(tmp_path / "series", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "series").to_file(tmp_path / "us.dcbs")
    found, original, _ = shown(packages, tmp_path, tmp_path / "us.dcbs", tmp_path / "series")
    assert found["errors"] == []
    region = np.array(found["region"])
    expected = original.pixel_array[region[:, 0], region[:, 1]]
    assert np.abs(region[:, 2:] - expected).max() <= 1


def test_ohif_shows_a_real_series(packages: Path, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "mr_siemens_sag"
    dicube.DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "sag.dcbs")
    check(*shown(packages, tmp_path, tmp_path / "sag.dcbs", source))
