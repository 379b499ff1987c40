"""Files of frames and named sections, and what is done with stored pixels. Knows no DICOM."""

from dicube.storage.dcb_file import FORMATS, DcbReader, DcbWriter, codec_of_path
from dicube.storage.pixel_utils import derive_pixel_header_from_array, get_float_data

__all__ = [
    "FORMATS",
    "DcbReader",
    "DcbWriter",
    "codec_of_path",
    "derive_pixel_header_from_array",
    "get_float_data",
]
