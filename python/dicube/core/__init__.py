"""The image and its header, and how the rooms come together in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicube.core.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from dicube.core.image import DicomCubeImage

__all__ = ["DicomCubeImage", "PixelDataHeader"]


def __getattr__(name: str) -> Any:
    # The rooms below import the header from here: the image, which imports them, must come later.
    if name == "DicomCubeImage":
        from dicube.core.image import DicomCubeImage

        return DicomCubeImage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
