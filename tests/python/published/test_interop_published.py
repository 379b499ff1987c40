"""The published package, dicube 0.3.0 from PyPI, reads our `.dcbs` files as we do.

conftest.py installs it once.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import DTYPES, SmoothVolume
from inputs.dicom_series import make_series, raw_data, write_series
from inputs.mapped_series import MAPPED
from programs.running import GOLDEN, run_published

from dicube import DicomCubeImage, DicomStatus, PixelDataHeader, store_files
from dicube.storage import DcbReader, DcbWriter

pytestmark = pytest.mark.interop

# Run by the published package: what it reads from each file, as JSON.
READ = """
import hashlib, json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import dicube
told = {}
for path in sys.argv[1:]:
    image = dicube.load(path)
    pixels = np.ascontiguousarray(image.raw_image)
    meta, space = image.dicom_meta, image.space
    told[path] = {
        "shape": pixels.shape,
        "dtype": pixels.dtype.name,
        "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "header": image.pixel_header.to_dict(),
        "status": image.dicom_status.value,
        "space": space and {name: list(getattr(space, name)) for name in (
            "shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation")},
        "meta": meta and [meta.index(number) for number in range(meta.slice_count)],
    }
print(json.dumps(told))
"""


# Golden files with frames that it doesn't know.
REFUSED = ("transformed", "float16", "float32", "float64", "int64", "uint64")


def read_by_published(python: Path, *paths: Path) -> list[dict[str, Any]]:
    """What the published package reads from each file."""
    result = run_published(python, "-c", READ, *paths)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    return [told[str(path)] for path in paths]


def sha256(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def check(image: DicomCubeImage, told: dict[str, Any]) -> None:
    """Compare what we wrote with what the published package read."""
    assert told["dtype"] == image.dtype.name
    # It gives one slice without the slice axis.
    assert told["shape"] == list(image.shape if len(image.raw_image) > 1 else image.shape[1:])
    assert told["sha256"] == sha256(image.raw_image)
    assert PixelDataHeader.from_dict(told["header"]) == image.pixel_header
    assert told["status"] == image.dicom_status.value
    if image.space is None:
        assert told["space"] is None
    else:
        for field, values in told["space"].items():
            assert list(getattr(image.space, field)) == values, field


@pytest.mark.parametrize("kind", ["full range", "like an image"])
def test_every_integer_type(
    kind: str,
    published_python: Path,
    tmp_path: Path,
    full_range: SmoothVolume,
    smooth_volume: SmoothVolume,
) -> None:
    make = full_range if kind == "full range" else smooth_volume
    images, paths = [], []
    for dtype in DTYPES:
        # Frames of this size: the published decoder itself corrupts small signed ones at times.
        for shape in ((3, 96, 80), (1, 65, 63)):
            image = DicomCubeImage(
                make(shape, dtype), PixelDataHeader(2.0, -3.5, dtype, dtype, 40.0, 400.0)
            )
            path = tmp_path / f"{dtype}-{shape[0]}.dcbs"
            image.to_file(path)
            images.append(image)
            paths.append(path)
    told = read_by_published(published_python, *paths)
    for image, one in zip(images, told, strict=True):
        check(image, one)
        assert one["meta"] is None


def test_mappings_in_the_header_and_a_status_that_it_lacks(
    published_python: Path, tmp_path: Path
) -> None:
    unreadable = make_series(2, shape=(64, 64))
    unreadable[1].RescaleSlope = [1, 2]
    paths = []
    for name, datasets in (("dose", MAPPED["dose"]().datasets), ("unreadable", unreadable)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / name, datasets))
        paths.append(tmp_path / f"{name}.dcbs")
        image.to_file(paths[-1])
    dose, other = read_by_published(published_python, *paths)
    assert dose["header"]["RescaleSlope"] == 1.23e-08
    assert other["status"] == "inconsistent"
    assert DicomCubeImage.from_file(paths[1]).dicom_status is DicomStatus.UNREADABLE_RESCALE


def test_golden_files(published_python: Path) -> None:
    """All of them but those that it would misread."""
    folder = GOLDEN / "0.4.0"
    paths = sorted(path for path in folder.glob("*.dcbs") if path.stem not in REFUSED)
    assert len(paths) > 12
    for path, told in zip(paths, read_by_published(published_python, *paths), strict=True):
        image = DicomCubeImage.from_file(path)
        assert told["dtype"] == image.dtype.name, path
        assert told["shape"] == list(image.shape if len(image.raw_image) > 1 else image.shape[1:])
        assert told["status"] == image.dicom_status.value, path
        if image.dtype.kind == "u":  # the published decoder corrupts small signed frames at times
            assert told["sha256"] == sha256(image.raw_image), path


def refuses(python: Path, path: Path) -> bool:
    """Return whether the published package refuses a file."""
    result = run_published(python, "-c", READ, path)
    return result.returncode != 0 and "InvalidCubeFileError" in result.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_would_misread_it_refuses(published_python: Path, name: str) -> None:
    assert refuses(published_python, GOLDEN / "0.4.0" / f"{name}.dcbs")


def test_lossy_frames_it_refuses(published_python: Path, tmp_path: Path) -> None:
    """It gives black for white that overshoots."""
    imagecodecs = pytest.importorskip("imagecodecs")
    sides = np.random.default_rng(0).integers(0, 2, (60, 70), "uint8")
    coded = imagecodecs.htj2k_encode(sides * 255, 0.05, reversible=False)
    with DcbWriter(tmp_path / "x.dcbs", (1, 60, 70), "uint8") as writer:
        writer.write_section("pixel_header", PixelDataHeader().to_json().encode())
        writer.write_coded(coded)
    assert refuses(published_python, tmp_path / "x.dcbs")


def test_metadata_that_are_padded(published_python: Path) -> None:
    path = GOLDEN / "0.4.0" / "padded_metadata.dcbs"
    image = DicomCubeImage.from_file(path)
    assert image.dicom_meta is not None
    (told,) = read_by_published(published_python, path)
    check(image, told)
    assert told["meta"] == [image.dicom_meta.index(0)]
    assert len(told["meta"][0]["0040A160"]["Value"][0]) > 16 << 20


@pytest.mark.parametrize("series", ["ct_philips_thin", "mr_siemens_sag"])
def test_real_series(
    series: str, published_python: Path, shared_data: Path, tmp_path: Path
) -> None:
    image = DicomCubeImage.from_dicom_folder(shared_data / series)
    path = tmp_path / "x.dcbs"
    image.to_file(path)
    (told,) = read_by_published(published_python, path)
    check(image, told)
    assert image.dicom_meta is not None
    for number, elements in enumerate(told["meta"]):
        expected = image.dicom_meta.index(number)
        assert set(elements) == set(expected)
        for tag, element in elements.items():
            # What the published package drops or can't read is listed in its own faults.
            if element["vr"] == "SQ" or "Value" not in expected[tag]:
                continue
            assert element["vr"] == expected[tag]["vr"], tag
            assert element.get("Value") == expected[tag]["Value"], tag


def test_originals_of_version_2_and_numbers_that_json_lacks(
    published_python: Path, tmp_path: Path
) -> None:
    series = make_series(3, shape=(96, 80))
    for number, dataset in zip((math.nan, math.inf, 2.5), series, strict=True):
        dataset.RecommendedDisplayFrameRateInFloat = number
        dataset.add_new(0x00189328, "FD", [1.0, -math.inf, number])
    write_series(tmp_path / "in", [*series, raw_data(1, bytes(range(256)) * 1000)])
    with pytest.warns(UserWarning, match="without pixels"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    path = tmp_path / "x.dcbs"
    image.to_file(path)
    with DcbReader(path) as reader:
        assert "originals_bulk" in reader.sections
    (told,) = read_by_published(published_python, path)
    assert told["sha256"] == sha256(image.raw_image)
    assert [elements["00189328"]["Value"] for elements in told["meta"]] == [
        [1, "-Infinity", "NaN"],
        [1, "-Infinity", "Infinity"],
        [1, "-Infinity", 2.5],
    ]


def test_a_header_with_numbers_that_json_lacks(published_python: Path, tmp_path: Path) -> None:
    header = PixelDataHeader(WindowCenter=math.inf, MaxVal=math.nan, PixelDtype="int16")
    image = DicomCubeImage(np.zeros((2, 96, 80), np.int16), header)
    image.to_file(tmp_path / "x.dcbs")
    (told,) = read_by_published(published_python, tmp_path / "x.dcbs")
    assert told["sha256"] == sha256(image.raw_image)
    assert (told["header"]["WindowCenter"], told["header"]["MaxVal"]) == ("Infinity", "NaN")


def test_a_file_without_frames_is_refused(published_python: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "in", [raw_data(1)])
    store_files(tmp_path / "in", tmp_path / "x.dcbs")
    result = run_published(published_python, "-c", READ, tmp_path / "x.dcbs")
    assert result.returncode != 0
