"""pixel_header: its JSON is the published one, and is read again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dicube.pixel_header import PixelDataHeader


def test_defaults_are_the_published_ones() -> None:
    assert PixelDataHeader().to_dict() == {
        "RescaleSlope": 1.0,
        "RescaleIntercept": 0.0,
        "OriginalPixelDtype": "uint16",
        "PixelDtype": "uint16",
        "WindowCenter": None,
        "WindowWidth": None,
        "MaxVal": None,
        "MinVal": None,
    }


def test_there_and_back_with_extras() -> None:
    header = PixelDataHeader(2.0, -3.5, "int16", "int16", 40.0, 400.0, 9.0, -1.0, {"Unit": "HU"})
    assert json.loads(header.to_json())["Unit"] == "HU"
    assert PixelDataHeader.from_json(header.to_json()) == header


def test_numpy_numbers_are_written() -> None:
    header = PixelDataHeader(RescaleSlope=np.float32(0.5), MaxVal=np.int64(7))
    assert PixelDataHeader.from_json(header.to_json()).RescaleSlope == 0.5


def test_published_nan() -> None:
    assert math.isnan(PixelDataHeader.from_json('{"MaxVal": NaN}').MaxVal or 0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '{"RescaleSlope": "1"}', '{"RescaleIntercept": null}'],
)
def test_what_is_no_header(text: str) -> None:
    with pytest.raises(ValueError):
        PixelDataHeader.from_json(text)
