"""Files of frames and named sections, and what is done with stored pixels. Knows no DICOM."""

from dicube.storage.dcb_file import FORMATS, DcbReader, DcbWriter, codec_of_path
from dicube.storage.pixel_utils import derive_pixel_header_from_array, get_float_data
from dicube.storage.real_values import RealValues

__all__ = [
    "FORMATS",
    "DcbReader",
    "DcbWriter",
    "RealValues",
    "codec_of_path",
    "derive_pixel_header_from_array",
    "get_float_data",
]
