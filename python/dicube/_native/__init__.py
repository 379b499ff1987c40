"""Call libdicube by ctypes: load it, declare its functions, raise exceptions for its errors.

The only package that imports ctypes. It works on addresses, sizes and bytes, and checks no
arguments: callers do, and libdicube. Must not know numpy, the file format or DICOM.
"""

from dicube._native.header import *  # noqa: F403 - all of dicube.h
from dicube._native.images import decode as decode
from dicube._native.images import decode_roi as decode_roi
from dicube._native.images import encode as encode
from dicube._native.images import encode_roi as encode_roi
from dicube._native.images import jpeg_encode as jpeg_encode
from dicube._native.images import jpeg_restore as jpeg_restore
from dicube._native.images import lossless_jpeg_decode as lossless_jpeg_decode
from dicube._native.images import lossless_jpeg_probe as lossless_jpeg_probe
from dicube._native.images import probe as probe
from dicube._native.images import recipe_code as recipe_code
from dicube._native.images import recipe_find as recipe_find
from dicube._native.library import LIBRARY_PATH as LIBRARY_PATH
from dicube._native.library import build_info as build_info
from dicube._native.library import checksum as checksum
from dicube._native.library import version as version
from dicube._native.reader import Decoding as Decoding
from dicube._native.reader import Reader as Reader
from dicube._native.writer import Writer as Writer
