"""Read and write files of frames and named sections; convert stored pixels. Knows no DICOM."""

from typing import Any

from dicube.storage import dcb_file
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import FORMATS, codec_of_path
from dicube.storage.pixel_utils import derive_pixel_header_from_array, get_float_data
from dicube.storage.real_values import RealValues

__all__ = [
    "FORMATS",
    "DcbFile",
    "DcbReader",
    "DcbSFile",
    "DcbWriter",
    "RealValues",
    "codec_of_path",
    "derive_pixel_header_from_array",
    "get_float_data",
]


def __getattr__(name: str) -> Any:
    if name in ("DcbFile", "DcbSFile"):
        return getattr(dcb_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
