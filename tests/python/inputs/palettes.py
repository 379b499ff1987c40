"""Slices whose stored values are indices of a palette."""

from __future__ import annotations

import numpy as np
from inputs.dicom_series import make_slice, set_pixels
from pydicom.dataset import Dataset

COLOURS = ("Red", "Green", "Blue")
INDICES = np.random.default_rng(3).integers(0, 300, (6, 5))


def palette(entries: int, bits: int, first: int = 0, dtype: str = "uint16") -> Dataset:
    """Make a slice of palette indices, with a palette of all colours at random."""
    dataset = make_slice(0, (6, 5), dtype)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    set_pixels(dataset, INDICES.astype(dtype) + first)
    random = np.random.default_rng(5)
    for colour in COLOURS:
        table = random.integers(0, 256, entries).astype("u1")
        data = table if bits == 8 else table.astype("<u2") * 257
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [entries, first, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data.tobytes())
    return dataset
