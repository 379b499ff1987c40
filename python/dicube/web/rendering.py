"""Draws frames as JPEG or PNG for people to look at (PS3.18 8.3.5 and 10.4.1.1.3).

Must not know HTTP or files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dicube.core.pictures import files as picture_files
from dicube.core.pictures.thumbnail import picture
from dicube.dicom.series.precedence import Window
from dicube.web.frames import Frames
from dicube.web.matching import QueryError

JPEG, PNG = "image/jpeg", "image/png"
MEDIA_TYPES = (JPEG, PNG)
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_MOST_PIXELS = 8192  # of a side
_GREATEST = 1e9  # of any number in a query
_THUMBNAIL = 128
_QUALITY = 90


@dataclass(frozen=True)
class View:
    """How to draw a frame.

    Attributes:
        window: of grey values; None for the frame's own.
        size: the most columns and rows; None for those of the frame.
        part: first column and row, columns and rows of what is shown; None for all.
        quality: of JPEG, 1 to 100.
    """

    window: Window | None = None
    size: tuple[int, int] | None = None
    part: tuple[float, float, float, float] | None = None
    quality: int = _QUALITY


THUMBNAIL = View(size=(_THUMBNAIL, _THUMBNAIL))


def view_of(parameters: Mapping[str, str], default: View) -> View:
    """Return the view that the parameters of a query ask for.

    Args:
        parameters: `window`, `viewport` and `quality`; others are not looked at.
        default: what counts without parameters.

    Raises:
        QueryError: one of them is invalid.
    """
    size, part = default.size, None
    if text := parameters.get("viewport"):
        numbers = [_number("viewport", one) for one in text.split(",")]
        if len(numbers) not in (2, 6) or not all(1 <= n <= _MOST_PIXELS for n in numbers[:2]):
            raise QueryError("viewport: expected width,height or width,height,x,y,width,height")
        size = int(numbers[0]), int(numbers[1])
        if len(numbers) == 6:
            part = numbers[2], numbers[3], numbers[4], numbers[5]
            if part[2] <= 0 or part[3] <= 0:
                raise QueryError("viewport: expected a part with a width and a height")
    quality = _QUALITY
    if text := parameters.get("quality"):
        if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 100:
            raise QueryError("quality: expected 1 to 100")
        quality = int(text)
    return View(_window(parameters.get("window", "")), size, part, quality)


def rendered(frames: Frames, index: int, view: View, media_type: str) -> bytes:
    """Return a slice as the bytes of a JPEG or PNG file.

    Raises:
        QueryError: the part is outside of the picture.
        DicomCubeError: the slice can't be decoded, or its colours can't be converted.
    """
    pixels = picture(frames.cube, index, view.window)
    if view.part is not None:
        left, top, width, height = view.part
        right, bottom = math.ceil(left + width), math.ceil(top + height)
        left, top = max(0, math.floor(left)), max(0, math.floor(top))
        pixels = pixels[int(top) : max(0, int(bottom)), int(left) : max(0, int(right))]
        if not pixels.size:
            raise QueryError("viewport: expected a part of the picture")
    if view.size is not None:
        rows, columns = pixels.shape[:2]
        scale = min(view.size[0] / columns, view.size[1] / rows)
        rows, columns = max(1, round(rows * scale)), max(1, round(columns * scale))
        pixels = picture_files.scaled(pixels, rows, columns)
    kind = picture_files.JPEG if media_type == JPEG else picture_files.PNG
    return picture_files.encoded(pixels, kind, view.quality)


def _window(text: str) -> Window | None:
    if not text:
        return None
    parts = text.lower().split(",")
    function = _FUNCTIONS.get(parts[2] if len(parts) == 3 else "linear")
    if len(parts) not in (2, 3) or function is None:
        raise QueryError("window: expected center,width,function")
    center, width = (_number("window", part) for part in parts[:2])
    if width <= 0:
        raise QueryError("window: expected a width above 0")
    return Window(center, width, function)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= _GREATEST:
        raise QueryError(f"{name}: expected numbers")
    return number
