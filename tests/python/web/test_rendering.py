"""Pictures of frames: windows, sizes, parts, quality, media types."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("sqlalchemy")
Image = pytest.importorskip("PIL.Image")

from inputs.series_trees import STUDY
from inputs.served import (
    COLOURS,
    ENHANCED,
    GREY,
    SHAPE,
    client_of,
    originals_of,
    parts_of,
    path_of,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset

PNG, JPEG = {"Accept": "image/png"}, {"Accept": "image/jpeg"}


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Any]:
    with client_of(made / "archive") as client:
        yield client


@pytest.fixture(scope="module")
def grey(made: Path) -> Dataset:
    return originals_of(made / "tree")[f"{STUDY}.1.{GREY}.0"]


def picture(response: Any) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def windowed(dataset: Dataset, center: float, width: float) -> NDArray[Any]:
    """Apply a LINEAR window, as the standard's formula has it (PS3.3 C.11.2.1.2.1)."""
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    shown = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.rint(np.clip(shown, 0, 255))


RENDERED = f"{path_of(1, GREY, 0)}/rendered"


def test_a_frame_is_shown_by_its_own_window(client: Any, grey: Dataset) -> None:
    found = picture(client.get(RENDERED, headers=PNG))
    expected = windowed(grey, float(grey.WindowCenter), float(grey.WindowWidth))
    assert found.shape == SHAPE
    assert np.array_equal(found, expected)
    assert 0 < expected.mean() < 255


def test_a_window_may_be_asked_for(client: Any, grey: Dataset) -> None:
    linear = picture(client.get(f"{RENDERED}?window=-600,900,linear", headers=PNG))
    assert np.array_equal(linear, windowed(grey, -600, 900))
    values = grey.pixel_array - 1024.0
    exact = picture(client.get(f"{RENDERED}?window=-600,900,linear-exact", headers=PNG))
    assert np.array_equal(exact, np.rint(np.clip((values + 600) / 900 + 0.5, 0, 1) * 255))
    curve = picture(client.get(f"{RENDERED}?window=-600,900,sigmoid", headers=PNG))
    assert np.array_equal(curve, np.rint(255 / (1 + np.exp(-4 * (values + 600) / 900))))


def test_jpeg_is_the_default_and_its_quality_counts(client: Any, grey: Dataset) -> None:
    response = client.get(RENDERED)
    assert response.headers["content-type"] == "image/jpeg"
    expected = windowed(grey, float(grey.WindowCenter), float(grey.WindowWidth))
    assert np.abs(picture(response) - expected).mean() < 3
    low, high = (client.get(f"{RENDERED}?quality={q}", headers=JPEG) for q in (5, 100))
    assert len(low.content) < len(high.content)
    assert low.headers["etag"] != high.headers["etag"]


def test_a_viewport_fits_the_picture_and_cuts_a_part(client: Any) -> None:
    whole = picture(client.get(RENDERED, headers=PNG))
    small = picture(client.get(f"{RENDERED}?viewport=18,18", headers=PNG))
    assert small.shape == (18, 16)
    part = picture(client.get(f"{RENDERED}?viewport=10,8,5,6,10,8", headers=PNG))
    assert np.array_equal(part, whole[6:14, 5:15])
    large = picture(client.get(f"{RENDERED}?viewport=72,100", headers=PNG))
    assert large.shape == (80, 72)


def test_colours_and_frames_of_an_instance(client: Any, made: Path) -> None:
    originals = originals_of(made / "tree")
    colours = picture(client.get(f"{path_of(1, COLOURS, 1)}/rendered", headers=PNG))
    assert np.array_equal(colours, originals[f"{STUDY}.1.{COLOURS}.1"].pixel_array)
    frames = f"{path_of(1, ENHANCED, 0)}/frames"
    one = client.get(f"{frames}/3/rendered", headers=PNG)
    assert picture(one).shape == (6, 5)
    several = client.get(
        f"{frames}/2,3/rendered", headers={"Accept": 'multipart/related; type="image/png"'}
    )
    (kind, _), (_, second) = parts_of(several)
    assert kind == "image/png"
    assert second == one.content
    assert client.get(f"{frames}/5/rendered").status_code == 404


def test_a_series_is_a_picture_of_each_instance(client: Any) -> None:
    accepted = {"Accept": 'multipart/related; type="image/png"'}
    parts = parts_of(client.get(f"{path_of(1, GREY)}/rendered", headers=accepted))
    assert len(parts) == 3
    assert parts[0][1] == client.get(RENDERED, headers=PNG).content


@pytest.mark.parametrize(
    "path",
    [
        f"/dicom-web/studies/{STUDY}.2/thumbnail",
        f"{path_of(1, GREY)}/thumbnail",
        f"{path_of(1, GREY, 0)}/thumbnail",
        f"{path_of(1, ENHANCED, 0)}/frames/2/thumbnail",
    ],
)
def test_thumbnails_are_small_pictures(client: Any, path: str) -> None:
    response = client.get(path)
    assert response.headers["content-type"] == "image/jpeg"
    assert max(picture(response).shape) == 128
    assert max(picture(client.get(f"{path}?viewport=20,20")).shape) == 20


@pytest.mark.parametrize(
    "query",
    [
        "window=1",
        "window=1,0,linear",
        "window=x,1,linear",
        "window=nan,1,linear",
        "window=1,2,cubic",
        "window=1,2,linear,3",
        "viewport=0,1",
        "viewport=1",
        "viewport=99999,1",
        "viewport=1,1,0,0,0,1",
        "viewport=1,1,0,0",
        "quality=0",
        "quality=101",
        "quality=high",
    ],
)
def test_invalid_views_are_refused(client: Any, query: str) -> None:
    response = client.get(f"{RENDERED}?{query}")
    assert response.status_code == 400
    assert response.text.partition(":")[0] == query.partition("=")[0]


def test_a_part_outside_of_the_picture_is_refused(client: Any) -> None:
    assert client.get(f"{RENDERED}?viewport=9,9,900,900,5,5").status_code == 400


def test_other_media_types_are_not_acceptable(client: Any) -> None:
    for kind in ("image/gif", "video/mp4", "application/dicom"):
        assert client.get(RENDERED, headers={"Accept": kind}).status_code == 406
