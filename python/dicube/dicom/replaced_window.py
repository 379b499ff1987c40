"""The window of a pixel header, and the window elements where it is not the metadata's.

PS3.3 C.11.2. Must not know pixels or files.
"""

from __future__ import annotations

import math

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.elements.values import number_text
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.metadata.first_slice import first_window
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader

_CENTER, _WIDTH = "00281050", "00281051"


def take_window_of_part(header: PixelDataHeader, whole: DicomMeta, part: DicomMeta) -> None:
    """Give the header of some of the slices the first window of these.

    Unless the header has another than the first of all slices: that was set, and is for all. Where
    it could be taken for that of the part's first, the same by chance, the part's metadata get it.
    """
    window = header.WindowCenter, header.WindowWidth
    if window == first_window(whole):
        header.WindowCenter, header.WindowWidth = first_window(part)
    elif window == first_window(part):
        for tag, value in zip((_CENTER, _WIDTH), window, strict=True):
            part.set_nonshared_item(tag, [value] * part.slice_count)


def window_attributes(meta: DicomMeta, pixel_header: PixelDataHeader) -> Replaced:
    """Return the window that all slices get instead of the metadata's.

    Nothing, if the header's is the first slice's in the metadata.

    Raises:
        DataConsistencyError: it is of no finite numbers.
    """
    window = pixel_header.WindowCenter, pixel_header.WindowWidth
    if window == first_window(meta):
        return {}
    if not all(value is None or math.isfinite(float(value)) for value in window):
        raise DataConsistencyError(f"DICOM can't hold a window of {window}")
    return {
        tag: None if value is None else {"vr": "DS", "Value": [float(number_text(float(value)))]}
        for tag, value in zip((_CENTER, _WIDTH), window, strict=True)
    }
