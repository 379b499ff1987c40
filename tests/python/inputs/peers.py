"""Pixels as other decoders read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def pixels_by_gdcm(path: Path) -> NDArray[Any]:
    """The stored values of a DICOM file as gdcm decodes them; skips where it isn't installed."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    dtype = image.GetPixelFormat().GetScalarTypeAsString().lower()
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(data, dtype).reshape(image.GetDimensions()[::-1])
