"""Requests for lossy coding: checked, and converted to options of the writer.

Knows arrays and the kinds of files. It must not know how samples are coded.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.codecs.jxl import checked_distance, error_bound, mask_bytes
from dicube.core.lossy.loss import Loss
from dicube.core.lossy.roi import find_body
from dicube.exceptions import DataConsistencyError
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import kind_of_path

# The default of `.dcbl`: errors stay below the noise of CT and MR.
DEFAULT_DISTANCE = 0.5
# The default error of the background of `.dcbr`, as a fraction of the range of the values.
DEFAULT_BACKGROUND_STEPS = 100


class LossyCoding(NamedTuple):
    """How the frames of a file may differ from the image.

    Attributes:
        options: for `DcbWriter`; None for lossless coding.
        settings: the request, to be recorded.
        least, greatest: of the image's values; 0 for lossless coding.
        masks: 0 or 1 for each pixel of a `.dcbr`.
    """

    options: dict[str, int | float] | None = None
    settings: dict[str, float] = {}  # noqa: RUF012 (a NamedTuple's default; never changed)
    least: int = 0
    greatest: int = 0
    masks: NDArray[np.uint8] | None = None

    def losses(self, writer: DcbWriter, size: int) -> list[Loss]:
        """Return what was lost in the frames that a writer has written; [] if nothing.

        Args:
            writer: of the file, which has all frames.
            size: bytes of the samples.
        """
        if self.options is None:
            return []
        found = writer.loss()
        if not found.changed:
            return []
        rmse = math.sqrt(found.squares / found.samples)
        share, ratio = found.changed / found.samples, size / found.coded_size
        values = found.max_error, rmse, self.least, self.greatest, share, ratio
        return [Loss(dict(self.settings), *values)]


def lossy_coding(
    path: str | os.PathLike[str],
    volume: NDArray[Any],
    has_unused_bits: bool,
    *,
    max_error: float | None,
    distance: float | None,
    roi: Any,
    foreground: float,
    background: float | None,
) -> LossyCoding:
    """Return how to code the frames of a file.

    Args:
        path: of the file, for messages.
        volume: the image's stored values.
        has_unused_bits: whether words hold other bits besides the values.
        max_error, distance, roi, foreground, background: see `DicomCubeImage.to_file`.

    Raises:
        DataConsistencyError: the options contradict each other, or the extension or the volume
            does not allow them.
    """
    name = os.fspath(path)
    if max_error is not None and distance is not None:
        raise DataConsistencyError("max_error and distance exclude each other: give one of them")
    kind = kind_of_path(path)
    if kind.has_masks:
        if roi is None:
            raise DataConsistencyError(f"{name}: .dcbr needs roi: a mask, or 'auto'")
        if max_error is not None or distance is not None:
            raise DataConsistencyError(
                f"{name}: .dcbr takes foreground and background, not max_error or distance"
            )
    elif roi is not None or foreground or background is not None:
        raise DataConsistencyError(f"{name}: only .dcbr takes roi, foreground and background")
    elif kind.loss == "always" and max_error is None and distance is None:
        distance = DEFAULT_DISTANCE
    if kind.loss == "never" and (max_error is not None or distance is not None):
        raise DataConsistencyError(
            f"{name}: .dcbs is always lossless; use .dcba, .dcbl or .dcbr for lossy coding"
        )
    if not kind.has_masks and not max_error and distance is None:
        return LossyCoding()
    if volume.dtype.kind not in "iu" or volume.dtype.itemsize > 4:
        raise DataConsistencyError(
            f"{name}: lossy coding needs integers of at most 32 bits, found {volume.dtype.name}"
        )
    if has_unused_bits:
        raise DataConsistencyError(
            f"{name}: words that hold other bits besides their values can't be coded lossily"
        )
    least, greatest = int(volume.min()), int(volume.max())
    options: dict[str, int | float] = {"least": least, "greatest": greatest}
    if distance is not None:
        options["distance"] = checked_distance(distance)
        return LossyCoding(options, {"distance": options["distance"]}, least, greatest)
    if not kind.has_masks:
        options["max_error"] = error_bound("max_error", max_error or 0)
        return LossyCoding(options, {"max_error": options["max_error"]}, least, greatest)
    masks = _masks(roi, volume)
    span = greatest - least
    outside = span / DEFAULT_BACKGROUND_STEPS if background is None else background
    # Bounds above the range all have the same effect: a single value.
    options["max_error"] = error_bound("foreground", foreground)
    options["background_error"] = error_bound("background", min(outside, max(span, 1)))
    settings = {
        "foreground": options["max_error"],
        "background": options["background_error"],
    }
    return LossyCoding(options, settings, least, greatest, masks)


def _masks(roi: Any, volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the mask of each slice."""
    if isinstance(roi, str):
        if roi != "auto":
            raise DataConsistencyError(f"expected roi to be a mask or 'auto', found {roi!r}")
        return find_body(volume).view(np.uint8)
    return mask_bytes(roi, volume.shape[:3])
