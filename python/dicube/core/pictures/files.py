"""Scales pictures and makes PNG and JPEG files of them. The only module that knows Pillow.

Arrays in, arrays or bytes out. Must not know what the pictures show.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError, needing

if TYPE_CHECKING:
    from PIL import Image

PNG, JPEG = "PNG", "JPEG"
_KINDS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG}
_QUALITY = 90  # of JPEG
_TEXT_SIZE, _MARGIN, _LIGHT = 12, 3, (255, 220, 120)

Pixels = NDArray[np.uint8]


def kind_of_name(name: str) -> str:
    """Return the kind of picture that a file's name asks for.

    Raises:
        DataConsistencyError: the name ends differently.
    """
    for extension, kind in _KINDS.items():
        if name.lower().endswith(extension):
            return kind
    raise DataConsistencyError(f"{name}: expected a name ending in {', '.join(_KINDS)}")


def encoded(pixels: Pixels, kind: str = PNG, quality: int = _QUALITY) -> bytes:
    """Return the bytes of a PNG or JPEG file, which has no metadata.

    Args:
        pixels: (rows, columns), or (rows, columns, 3) for colour.
        kind: PNG or JPEG.
        quality: of JPEG, 1 to 100.

    Raises:
        MissingPackageError: Pillow is not installed.
    """
    file = io.BytesIO()
    options = {"quality": quality} if kind == JPEG else {"optimize": False}
    _image_of(pixels).save(file, kind, **options)
    return file.getvalue()


def scaled(pixels: Pixels, rows: int, columns: int) -> Pixels:
    """Return a picture of another size; larger ones by linear interpolation.

    Raises:
        MissingPackageError: Pillow is not installed.
    """
    if pixels.shape[:2] == (rows, columns):
        return pixels
    image = _image_of(pixels)
    linear = _pillow().Resampling.BILINEAR
    return np.asarray(image.resize((columns, rows), linear, reducing_gap=2.0))


def labelled(pixels: Pixels, texts: Sequence[tuple[float, float, str]]) -> Pixels:
    """Return a picture in colour with short texts.

    Args:
        pixels: the picture.
        texts: each with its place, down and across, from 0 to 1: 0, 0.5 is the middle of the top.

    Raises:
        MissingPackageError: Pillow is not installed.
    """
    image = _image_of(pixels).convert("RGB")
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT_SIZE)
    for down, across, text in texts:
        left, top, right, bottom = draw.textbbox((0, 0), text, font)
        place = (
            _MARGIN - left + across * (image.width - 2 * _MARGIN - (right - left)),
            _MARGIN - top + down * (image.height - 2 * _MARGIN - (bottom - top)),
        )
        draw.text(place, text, _LIGHT, font, stroke_width=1, stroke_fill=(0, 0, 0))
    return np.asarray(image)


def _image_of(pixels: Pixels) -> Image.Image:
    image: Image.Image = _pillow().fromarray(np.ascontiguousarray(pixels))
    return image


def _pillow() -> Any:
    """Return Pillow's module of images.

    Raises:
        MissingPackageError: Pillow is not installed.
    """
    with needing("drawing", "Pillow", "notebook"):
        from PIL import Image
    return Image
