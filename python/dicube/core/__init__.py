"""The image and its header, and how the rooms come together in it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dicube.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from dicube.core.image import DicomCubeImage
    from dicube.core.io import DicomCubeImageIO

__all__ = ["DicomCubeImage", "DicomCubeImageIO", "PixelDataHeader"]

_HOMES = {"DicomCubeImage": "dicube.core.image", "DicomCubeImageIO": "dicube.core.io"}


def __getattr__(name: str) -> Any:
    # The rooms below import the header from here: the image, which imports them, must come later.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
