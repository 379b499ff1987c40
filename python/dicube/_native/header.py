"""All of dicube.h for ctypes: constants, structs, prototypes.

Loads nothing and calls nothing. Names are those of dicube.h without prefix: `dicube_image` is
`Image`, `DICUBE_OK` is `OK`.
"""

from __future__ import annotations

import ctypes
from typing import Any

# ---------------------------------------------------------------------------------- constants

ABI_VERSION = 1
FORMAT_VERSION = 1

OK = 0
ERROR_ARGUMENT = -1
ERROR_MEMORY = -2
ERROR_NOT_FOUND = -3
ERROR_IO = -4
ERROR_FORMAT = -5
ERROR_UNSUPPORTED = -6
ERROR_CHECKSUM = -7
ERROR_CODEC = -8
ERROR_LIMIT = -9
ERROR_STATE = -10
ERROR_INTERNAL = -11
ERROR_CANCELLED = -12

SAMPLE_UINT8 = 1
SAMPLE_INT8 = 2
SAMPLE_UINT16 = 3
SAMPLE_INT16 = 4
SAMPLE_UINT32 = 5
SAMPLE_INT32 = 6
SAMPLE_UINT64 = 7
SAMPLE_INT64 = 8
SAMPLE_FLOAT16 = 9
SAMPLE_FLOAT32 = 10
SAMPLE_FLOAT64 = 11

PROGRESSION_LRCP = 1
PROGRESSION_RLCP = 2
PROGRESSION_RPCL = 3
PROGRESSION_PCRL = 4
PROGRESSION_CPRL = 5

BYTE_ORDER_NATIVE = 0
BYTE_ORDER_LITTLE = 1
BYTE_ORDER_BIG = 2

SIZE_UNKNOWN = (1 << 64) - 1

CODEC_JXL = 1
CODEC_HTJ2K = 2

RECIPE_RLE = 1
RECIPE_JPEG_LS = 2
RECIPE_JPEG_LOSSLESS = 3

KIND_ARCHIVE = 65
KIND_LOSSY = 76
KIND_ROI = 82
KIND_SPEED = 83

# ------------------------------------------------------------------------------------- structs


class _Struct(ctypes.Structure):
    """A struct of dicube.h; all but handles begin with `struct_size`, which is filled in here."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Image(_Struct):
    """The description of a frame."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("rows", ctypes.c_uint64),
        ("columns", ctypes.c_uint64),
        ("samples", ctypes.c_uint32),
        ("sample_type", ctypes.c_uint32),
        ("byte_order", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class CodestreamInfo(_Struct):
    """What a coded image declares about itself."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("coded_size", ctypes.c_size_t),
        ("codestream_offset", ctypes.c_size_t),
        ("codestream_size", ctypes.c_size_t),
        ("codec", ctypes.c_uint32),
        ("bits", ctypes.c_uint32),
        ("is_signed", ctypes.c_uint32),
        ("components", ctypes.c_uint32),
        ("levels", ctypes.c_uint32),
        ("progression", ctypes.c_uint32),
        ("has_colour_transform", ctypes.c_uint32),
        ("is_reversible", ctypes.c_uint32),
        ("has_tile_lengths", ctypes.c_uint32),
        ("is_mapped", ctypes.c_uint32),
        ("has_jpeg", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


_CANCEL = ctypes.POINTER(ctypes.c_uint32)


class Cancel:
    """Cancels a call that another thread is in.

    Attributes:
        address: for the options of that call, which keep it.
    """

    def __init__(self) -> None:
        self._number = ctypes.c_uint32()
        self.address = ctypes.pointer(self._number)

    def __call__(self) -> None:
        """Keep the call from beginning further frames."""
        self._number.value = 1


class CodecOptions(_Struct):
    """How frames are encoded; zero means the default."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("codec", ctypes.c_uint32),
        ("num_threads", ctypes.c_uint32),
        ("effort", ctypes.c_uint32),
        ("skip_verify", ctypes.c_uint32),
        ("least_bits", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("max_error", ctypes.c_uint32),
        ("background_error", ctypes.c_uint32),
        ("has_range", ctypes.c_uint32),
        ("block_side", ctypes.c_uint32),
        ("least", ctypes.c_int64),
        ("greatest", ctypes.c_int64),
        ("distance", ctypes.c_double),
        ("cancel", _CANCEL),
    ]


class ReaderOptions(_Struct):
    """How a file is read; zero means the default."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("max_memory", ctypes.c_uint64),
        ("num_threads", ctypes.c_uint32),
        ("skip_checksums", ctypes.c_uint32),
    ]


_DOUBLES = ctypes.POINTER(ctypes.c_double)


class DecodeOptions(_Struct):
    """How frames are decoded; zero means the default."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("level", ctypes.c_uint32),
        ("real_type", ctypes.c_uint32),
        ("slopes", _DOUBLES),
        ("intercepts", _DOUBLES),
        ("cancel", _CANCEL),
        ("row", ctypes.c_uint64),
        ("column", ctypes.c_uint64),
        ("rows", ctypes.c_uint64),
        ("columns", ctypes.c_uint64),
    ]


class FileInfo(_Struct):
    """Facts about a file other than its frames."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("file_size", ctypes.c_uint64),
        ("coded_size", ctypes.c_uint64),
        ("sections", ctypes.c_uint64),
        ("format_version", ctypes.c_uint32),
        ("codec", ctypes.c_uint32),
        ("has_checksums", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
    ]


class Loss(_Struct):
    """What lossy coding changed."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("max_error", ctypes.c_uint64),
        ("samples", ctypes.c_uint64),
        ("changed", ctypes.c_uint64),
        ("coded_size", ctypes.c_uint64),
        ("squares", ctypes.c_double),
    ]


READ_AT = WRITE_AT = ctypes.CFUNCTYPE(
    *(ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t),
    ctypes.c_void_p,
)


class Source(_Struct):
    """Bytes that the caller provides."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("user", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("read_at", READ_AT),
    ]


class Sink(_Struct):
    """Bytes that the caller stores."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("user", ctypes.c_void_p),
        ("write_at", WRITE_AT),
    ]


def doubles_at(address: int) -> Any:
    """Return a pointer to the numbers at an address, for a struct."""
    return ctypes.cast(address, _DOUBLES)


# All structs by their names in dicube.h.
STRUCTS: dict[str, type[_Struct]] = {
    "dicube_image": Image,
    "dicube_codec_options": CodecOptions,
    "dicube_codestream_info": CodestreamInfo,
    "dicube_reader_options": ReaderOptions,
    "dicube_source": Source,
    "dicube_decode_options": DecodeOptions,
    "dicube_file_info": FileInfo,
    "dicube_sink": Sink,
    "dicube_loss": Loss,
}

# ---------------------------------------------------------------------------------- prototypes

_TEXT = ctypes.c_char_p
STATUS = ctypes.c_int32
_HANDLE = ctypes.c_void_p
_OUT_HANDLE = ctypes.POINTER(ctypes.c_void_p)
_OUT_SIZE = ctypes.POINTER(ctypes.c_size_t)
_OUT_U64 = ctypes.POINTER(ctypes.c_uint64)
_OUT_U32 = ctypes.POINTER(ctypes.c_uint32)
_NUMBERS = ctypes.POINTER(ctypes.c_uint64)
_DATA = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_U64 = ctypes.c_uint64
_U32 = ctypes.c_uint32
_IMAGE = ctypes.POINTER(Image)
_CODEC_OPTIONS = ctypes.POINTER(CodecOptions)
_CODESTREAM_INFO = ctypes.POINTER(CodestreamInfo)
_READER_OPTIONS = ctypes.POINTER(ReaderOptions)
_DECODE_OPTIONS = ctypes.POINTER(DecodeOptions)
_SOURCE = ctypes.POINTER(Source)
_SINK = ctypes.POINTER(Sink)
_FILE_INFO = ctypes.POINTER(FileInfo)
_LOSS = ctypes.POINTER(Loss)

# All functions of dicube.h: (type returned, types of the arguments). Returned statuses are checked.
PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "dicube_abi_version": (_U32, ()),
    "dicube_version": (_TEXT, ()),
    "dicube_build_info": (_TEXT, ()),
    "dicube_last_error": (_TEXT, ()),
    "dicube_checksum": (_U64, (_DATA, _SIZE)),
    "dicube_image_size": (STATUS, (_IMAGE, _U64, _OUT_SIZE)),
    "dicube_encode_bound": (STATUS, (_IMAGE, _CODEC_OPTIONS, _OUT_SIZE)),
    "dicube_encode": (
        STATUS,
        (_IMAGE, _CODEC_OPTIONS, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE),
    ),
    "dicube_encode_roi": (
        STATUS,
        (_IMAGE, _CODEC_OPTIONS, _DATA, _SIZE, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE),
    ),
    "dicube_probe": (STATUS, (_DATA, _SIZE, _IMAGE, _CODESTREAM_INFO)),
    "dicube_decode": (STATUS, (_DATA, _SIZE, _IMAGE, _U32, _DATA, _SIZE)),
    "dicube_decode_roi": (STATUS, (_DATA, _SIZE, _IMAGE, _U32, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_jpeg_encode": (STATUS, (_DATA, _SIZE, _U32, _DATA, _SIZE, _OUT_SIZE)),
    "dicube_jpeg_restore": (STATUS, (_DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE)),
    "dicube_lossless_jpeg_probe": (STATUS, (_DATA, _SIZE, _IMAGE, _OUT_U32)),
    "dicube_lossless_jpeg_decode": (STATUS, (_DATA, _SIZE, _IMAGE, _DATA, _SIZE)),
    "dicube_recipe_find": (
        STATUS,
        (_U32, _IMAGE, _DATA, _SIZE, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE, _OUT_SIZE),
    ),
    "dicube_recipe_bound": (STATUS, (_IMAGE, _SIZE, _OUT_SIZE)),
    "dicube_recipe_code": (
        STATUS,
        (_U32, _IMAGE, _DATA, _SIZE, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE),
    ),
    "dicube_reader_open_path": (STATUS, (_TEXT, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_open_memory": (STATUS, (_DATA, _SIZE, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_open_source": (STATUS, (_SOURCE, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_close": (None, (_HANDLE,)),
    "dicube_reader_image": (STATUS, (_HANDLE, _IMAGE, _OUT_U64)),
    "dicube_reader_info": (STATUS, (_HANDLE, _FILE_INFO)),
    "dicube_reader_section_name": (STATUS, (_HANDLE, _U64, _TEXT)),
    "dicube_reader_section_size": (STATUS, (_HANDLE, _TEXT, _OUT_SIZE)),
    "dicube_reader_section_read": (STATUS, (_HANDLE, _TEXT, _DATA, _SIZE)),
    "dicube_reader_section_range": (STATUS, (_HANDLE, _TEXT, _OUT_U64, _OUT_U64)),
    "dicube_reader_section_read_at": (STATUS, (_HANDLE, _TEXT, _U64, _DATA, _SIZE)),
    "dicube_reader_decode": (STATUS, (_HANDLE, _U64, _U64, _DATA, _SIZE)),
    "dicube_reader_levels": (STATUS, (_HANDLE, _OUT_U32)),
    "dicube_reader_decoded_image": (STATUS, (_HANDLE, _DECODE_OPTIONS, _IMAGE)),
    "dicube_reader_decode_frames": (
        STATUS,
        (_HANDLE, _NUMBERS, _U64, _DECODE_OPTIONS, _DATA, _SIZE),
    ),
    "dicube_decoding_begin": (
        STATUS,
        (_HANDLE, _NUMBERS, _U64, _DECODE_OPTIONS, _DATA, _SIZE, _OUT_HANDLE),
    ),
    "dicube_decoding_help": (STATUS, (_HANDLE, _U32, _OUT_U64)),
    "dicube_decoding_finish": (STATUS, (_HANDLE,)),
    "dicube_decoding_close": (None, (_HANDLE,)),
    "dicube_reader_decode_roi": (STATUS, (_HANDLE, _U64, _U64, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_reader_coded_range": (STATUS, (_HANDLE, _U64, _OUT_U64, _OUT_SIZE)),
    "dicube_reader_level_range": (STATUS, (_HANDLE, _U64, _U32, _OUT_U64, _OUT_SIZE)),
    "dicube_reader_coded_read": (STATUS, (_HANDLE, _U64, _DATA, _SIZE)),
    "dicube_writer_open_path": (
        STATUS,
        (_TEXT, _IMAGE, _U64, _CODEC_OPTIONS, _OUT_HANDLE),
    ),
    "dicube_writer_open_sink": (
        STATUS,
        (_SINK, _IMAGE, _U64, _CODEC_OPTIONS, _OUT_HANDLE),
    ),
    "dicube_writer_close": (None, (_HANDLE,)),
    "dicube_writer_section": (STATUS, (_HANDLE, _TEXT, _DATA, _SIZE)),
    "dicube_writer_section_append": (STATUS, (_HANDLE, _TEXT, _DATA, _SIZE)),
    "dicube_writer_encode": (STATUS, (_HANDLE, _U64, _DATA, _SIZE)),
    "dicube_writer_encode_roi": (STATUS, (_HANDLE, _U64, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_writer_loss": (STATUS, (_HANDLE, _LOSS)),
    "dicube_writer_coded": (STATUS, (_HANDLE, _DATA, _SIZE)),
    "dicube_writer_finish": (STATUS, (_HANDLE,)),
}
