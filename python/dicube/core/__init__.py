"""The image, and the functions that read and write it with `storage` and `dicom`."""

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
    # The image imports everything for DICOM, which `core.cube` must not wait for.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
