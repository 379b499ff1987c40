"""Turns real values into grey values, as DICOM shows them (PS3.3 C.11.2, C.7.6.3.1.2).

A window, a VOI LUT, or without both the range of the values; MONOCHROME1 is inverted. Must not know
slices, or where values come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.series.precedence import Window, table_of_slice, window_of_slice

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.metadata.look_up_table import Lut
    from dicube.pixel_header import PixelDataHeader

_WITHOUT_OUTLIERS = 0.5, 99.5  # percentiles that are black and white without a window
_INVERTED = "MONOCHROME1"

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shades:
    """How real values are shown.

    Attributes:
        window: what is between black and white; None for the range of the values.
        table: a VOI LUT, which counts instead; None for none.
        inverted: whether the lowest value is white.
    """

    window: Window | None = None
    table: Lut | None = None
    inverted: bool = False

    def __call__(self, values: Values, among: Values | None = None) -> Values:
        """Return grey values from 0, black, to 1, white; what is not a number is black.

        Args:
            values: real values of any shape.
            among: values whose range is shown without a window and a table; None for these.
        """
        if self.table is not None:
            shown = _looked_up(values, self.table)
        elif self.window is not None:
            shown = windowed(values, self.window)
        else:
            shown = stretched(values, among)
        return np.where(np.isnan(values), 0.0, 1 - shown) if self.inverted else shown

    @property
    def limits(self) -> tuple[float, float] | None:
        """The lowest and the highest value of the window; None without one, or if they overflow."""
        if self.window is None:
            return None
        center, width = self.window.center, self.window.width
        low, high = center - width / 2, center + width / 2
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def shades_of_slice(
    meta: DicomMeta | None, header: PixelDataHeader, index: int, window: Window | None = None
) -> Shades:
    """Return how the metadata show a slice.

    The first VOI LUT counts, else the first window; a window set in the pixel header counts more,
    and a window given here more than all.
    """
    inverted = meta is not None and meta.get_of_slice("PhotometricInterpretation", index)
    table = None if window is not None else table_of_slice(meta, header, index)
    return Shades(
        window or window_of_slice(meta, header, index), table, inverted=inverted == _INVERTED
    )


def windowed(values: Values, window: Window) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3); what is not a number is black."""
    center, width = window.center, window.width
    with np.errstate(over="ignore"):
        if window.function == "SIGMOID":
            return _filled(1 / (1 + np.exp(-4 * (values - center) / width)))
        if window.function != "LINEAR_EXACT" and width >= 1:
            center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
        return _filled((values - center) / width + 0.5)


def stretched(values: Values, among: Values | None = None) -> Values:
    """Show all but outliers, of these values or those given, between black and white."""
    values = values / 2  # so that no difference overflows
    among = values if among is None else among / 2
    low, high = shown_range(among)
    return _filled((values - low) / ((high - low) or 1))


def shown_range(values: Values) -> tuple[float, float]:
    """Return the values that are black and white without a window; 0 and 0 if all are NaN."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, _WITHOUT_OUTLIERS)
    if low == high:
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def in_bytes(shown: Values) -> NDArray[np.uint8]:
    """Return values from 0 to 1 as 8 bits."""
    return np.rint(shown * 255).astype(np.uint8)


def _looked_up(values: Values, table: Lut) -> Values:
    last = len(table.entries) - 1
    entries = np.clip(np.rint(np.nan_to_num(values)) - table.first, 0, last)
    shown = table.entries[entries.astype(np.int64)] / ((1 << table.bits) - 1)
    return np.where(np.isnan(values), 0.0, np.clip(shown, 0, 1))


def _filled(shown: Values) -> Values:
    return np.nan_to_num(np.clip(shown, 0, 1), nan=0.0)
