"""The ctypes fence: finds libdicube, checks its ABI, declares each of its functions once, raises.

The only module that imports ctypes. It works on addresses, sizes and bytes; it knows no numpy, no
file format, no DICOM, and has no policy of its own: what a caller may ask for is decided above it,
what libdicube refuses is raised as the exception that the status code stands for.

Names are those of dicube.h without their prefix: `dicube_image` is `Image`, `DICUBE_OK` is `OK`.

Environment:
    DICUBE_LIBRARY: path of the shared library to load instead of the one beside the package (for
        development).
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    OutOfMemoryError,
)

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

BYTE_ORDER_NATIVE = 0
BYTE_ORDER_LITTLE = 1
BYTE_ORDER_BIG = 2

SIZE_UNKNOWN = (1 << 64) - 1

CODEC_JXL = 1
CODEC_HTJ2K = 2

KIND_ARCHIVE = 65
KIND_LOSSY = 76
KIND_ROI = 82
KIND_SPEED = 83

_SECTION_NAME_SIZE = 17  # 16 characters and the zero byte

# ------------------------------------------------------------------------------------- structs


class _Struct(ctypes.Structure):
    """A struct of dicube.h; all but handles begin with `struct_size`, which is filled in here."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Image(_Struct):
    """What one frame is."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("rows", ctypes.c_uint64),
        ("columns", ctypes.c_uint64),
        ("samples", ctypes.c_uint32),
        ("sample_type", ctypes.c_uint32),
        ("byte_order", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


_CANCEL = ctypes.POINTER(ctypes.c_uint32)


class Cancel:
    """What ends a call that another thread is in.

    Attributes:
        address: for the options of that call, which keep it.
    """

    def __init__(self) -> None:
        self._number = ctypes.c_uint32()
        self.address = ctypes.pointer(self._number)

    def __call__(self) -> None:
        """Let no further frame be begun."""
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
        ("reserved", ctypes.c_uint32),
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
    ]


class FileInfo(_Struct):
    """What there is to know of a file beside its frames."""

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
    """What lossy coding has changed."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("max_error", ctypes.c_uint64),
        ("samples", ctypes.c_uint64),
        ("changed", ctypes.c_uint64),
        ("coded_size", ctypes.c_uint64),
        ("squares", ctypes.c_double),
    ]


_READ_AT = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t
)
_WRITE_AT = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t
)


class Source(_Struct):
    """Bytes that come from the caller."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("user", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("read_at", _READ_AT),
    ]


class Sink(_Struct):
    """Bytes that go to the caller."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("user", ctypes.c_void_p),
        ("write_at", _WRITE_AT),
    ]


def doubles_at(address: int) -> Any:
    """Return the numbers at an address as a struct takes them."""
    return ctypes.cast(address, _DOUBLES)


# Every struct of dicube.h by its name there.
STRUCTS: dict[str, type[_Struct]] = {
    "dicube_image": Image,
    "dicube_codec_options": CodecOptions,
    "dicube_reader_options": ReaderOptions,
    "dicube_source": Source,
    "dicube_decode_options": DecodeOptions,
    "dicube_file_info": FileInfo,
    "dicube_sink": Sink,
    "dicube_loss": Loss,
}

# ---------------------------------------------------------------------------------- prototypes

_TEXT = ctypes.c_char_p
_STATUS = ctypes.c_int32
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
_READER_OPTIONS = ctypes.POINTER(ReaderOptions)
_DECODE_OPTIONS = ctypes.POINTER(DecodeOptions)
_SOURCE = ctypes.POINTER(Source)
_SINK = ctypes.POINTER(Sink)
_FILE_INFO = ctypes.POINTER(FileInfo)
_LOSS = ctypes.POINTER(Loss)

# Every function of dicube.h: (what it returns, what it takes). What returns a status is checked
# after each call.
PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "dicube_abi_version": (_U32, ()),
    "dicube_version": (_TEXT, ()),
    "dicube_build_info": (_TEXT, ()),
    "dicube_last_error": (_TEXT, ()),
    "dicube_checksum": (_U64, (_DATA, _SIZE)),
    "dicube_image_size": (_STATUS, (_IMAGE, _U64, _OUT_SIZE)),
    "dicube_encode_bound": (_STATUS, (_IMAGE, _CODEC_OPTIONS, _OUT_SIZE)),
    "dicube_encode": (
        _STATUS,
        (_IMAGE, _CODEC_OPTIONS, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE),
    ),
    "dicube_encode_roi": (
        _STATUS,
        (_IMAGE, _CODEC_OPTIONS, _DATA, _SIZE, _DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE),
    ),
    "dicube_probe": (_STATUS, (_DATA, _SIZE, _OUT_U32, _IMAGE)),
    "dicube_decode": (_STATUS, (_DATA, _SIZE, _IMAGE, _U32, _DATA, _SIZE)),
    "dicube_decode_roi": (_STATUS, (_DATA, _SIZE, _IMAGE, _U32, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_jpeg_encode": (_STATUS, (_DATA, _SIZE, _U32, _DATA, _SIZE, _OUT_SIZE)),
    "dicube_jpeg_restore": (_STATUS, (_DATA, _SIZE, _DATA, _SIZE, _OUT_SIZE)),
    "dicube_reader_open_path": (_STATUS, (_TEXT, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_open_memory": (_STATUS, (_DATA, _SIZE, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_open_source": (_STATUS, (_SOURCE, _READER_OPTIONS, _OUT_HANDLE)),
    "dicube_reader_close": (None, (_HANDLE,)),
    "dicube_reader_image": (_STATUS, (_HANDLE, _IMAGE, _OUT_U64)),
    "dicube_reader_info": (_STATUS, (_HANDLE, _FILE_INFO)),
    "dicube_reader_section_name": (_STATUS, (_HANDLE, _U64, _TEXT)),
    "dicube_reader_section_size": (_STATUS, (_HANDLE, _TEXT, _OUT_SIZE)),
    "dicube_reader_section_read": (_STATUS, (_HANDLE, _TEXT, _DATA, _SIZE)),
    "dicube_reader_decode": (_STATUS, (_HANDLE, _U64, _U64, _DATA, _SIZE)),
    "dicube_reader_levels": (_STATUS, (_HANDLE, _OUT_U32)),
    "dicube_reader_decoded_image": (_STATUS, (_HANDLE, _DECODE_OPTIONS, _IMAGE)),
    "dicube_reader_decode_frames": (
        _STATUS,
        (_HANDLE, _NUMBERS, _U64, _DECODE_OPTIONS, _DATA, _SIZE),
    ),
    "dicube_reader_decode_roi": (_STATUS, (_HANDLE, _U64, _U64, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_reader_coded_range": (_STATUS, (_HANDLE, _U64, _OUT_U64, _OUT_SIZE)),
    "dicube_reader_coded_read": (_STATUS, (_HANDLE, _U64, _DATA, _SIZE)),
    "dicube_writer_open_path": (
        _STATUS,
        (_TEXT, _IMAGE, _U64, _CODEC_OPTIONS, _OUT_HANDLE),
    ),
    "dicube_writer_open_sink": (
        _STATUS,
        (_SINK, _IMAGE, _U64, _CODEC_OPTIONS, _OUT_HANDLE),
    ),
    "dicube_writer_close": (None, (_HANDLE,)),
    "dicube_writer_section": (_STATUS, (_HANDLE, _TEXT, _DATA, _SIZE)),
    "dicube_writer_encode": (_STATUS, (_HANDLE, _U64, _DATA, _SIZE)),
    "dicube_writer_encode_roi": (_STATUS, (_HANDLE, _U64, _DATA, _SIZE, _DATA, _SIZE)),
    "dicube_writer_loss": (_STATUS, (_HANDLE, _LOSS)),
    "dicube_writer_coded": (_STATUS, (_HANDLE, _DATA, _SIZE)),
    "dicube_writer_finish": (_STATUS, (_HANDLE,)),
}

# ------------------------------------------------------------------------------------- loading


def _candidates() -> list[str]:
    """Return where libdicube may be, in the order in which it is tried."""
    override = os.environ.get("DICUBE_LIBRARY")
    if override:
        return [override]
    if sys.platform == "win32":
        names = ["dicube.dll"]
    elif sys.platform == "darwin":
        names = [f"libdicube.{ABI_VERSION}.dylib", "libdicube.dylib"]
    else:
        names = [f"libdicube.so.{ABI_VERSION}", "libdicube.so"]
    package = Path(__file__).resolve().parent
    return [*(str(package / name) for name in names), names[0]]


def _load() -> tuple[ctypes.CDLL, str]:
    """Load libdicube and return it with the name under which it was found.

    Raises:
        ImportError: it is nowhere, or it is of another ABI.
    """
    failures = []
    for candidate in _candidates():
        try:
            library = ctypes.CDLL(candidate)
            get_abi_version = library.dicube_abi_version
        except (OSError, AttributeError) as error:
            failures.append(f"{candidate}: {error}")
            continue
        get_abi_version.restype = ctypes.c_uint32
        found = get_abi_version()
        if found != ABI_VERSION:
            raise ImportError(f"{candidate}: expected libdicube ABI {ABI_VERSION}, found {found}")
        return library, candidate
    raise ImportError("libdicube was not found; tried " + "; ".join(failures))


def _bind(library: ctypes.CDLL, path: str) -> dict[str, Any]:
    """Return the functions of libdicube by name, each with its prototype and its error check."""
    functions = {}
    for name, (returned, taken) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise ImportError(f"{path}: function {name} is missing") from error
        function.restype = returned
        function.argtypes = taken
        if returned is _STATUS:
            function.errcheck = _check
        functions[name] = function
    return functions


_EXCEPTIONS: dict[int, type[Exception]] = {
    ERROR_ARGUMENT: DataConsistencyError,
    ERROR_MEMORY: OutOfMemoryError,
    ERROR_NOT_FOUND: CubeFileNotFoundError,
    ERROR_IO: CubeFileAccessError,
    ERROR_FORMAT: InvalidCubeFileError,
    ERROR_UNSUPPORTED: InvalidCubeFileError,
    ERROR_CHECKSUM: InvalidCubeFileError,
    ERROR_CODEC: CodecError,
    ERROR_LIMIT: OutOfMemoryError,
    ERROR_STATE: DicomCubeError,
    ERROR_INTERNAL: DicomCubeError,
    ERROR_CANCELLED: DicomCubeError,
}


def _check(status: int, _function: Any, _arguments: Any) -> int:
    """Raise what a status other than OK stands for, with libdicube's own message."""
    if status == OK:
        return status
    message = _c["dicube_last_error"]().decode("utf-8", "replace")
    error = _EXCEPTIONS.get(status, DicomCubeError)(message)
    if isinstance(error, CubeFileNotFoundError):
        error.errno = errno.ENOENT
    raise error


_library, LIBRARY_PATH = _load()
_c = _bind(_library, LIBRARY_PATH)


def version() -> str:
    """Return the version of libdicube, which is the version of this package."""
    text: bytes = _c["dicube_version"]()
    return text.decode()


def build_info() -> str:
    """Return versions of libdicube, its compiler and what it links, one "name version" a line."""
    text: bytes = _c["dicube_build_info"]()
    return text.decode()


def checksum(data: int, size: int) -> int:
    """Return the checksum, 64 bits, of the bytes at the address `data`."""
    found: int = _c["dicube_checksum"](data, size)
    return found


# --------------------------------------------------------------------------------------- images


def encode(image: Image, options: CodecOptions, pixels: int, pixels_size: int) -> bytes:
    """Encode the image whose samples stand at the address `pixels`."""
    return _encode("dicube_encode", image, options, pixels, pixels_size)


def encode_roi(
    image: Image, options: CodecOptions, pixels: int, pixels_size: int, mask: int, mask_size: int
) -> bytes:
    """Encode the image whose samples stand at the address `pixels`, and its mask."""
    return _encode("dicube_encode_roi", image, options, pixels, pixels_size, mask, mask_size)


def _encode(name: str, image: Image, options: CodecOptions, *arguments: int) -> bytes:
    """Return what a function that encodes writes."""
    bound = ctypes.c_size_t()
    _c["dicube_encode_bound"](image, options, bound)
    coded = ctypes.create_string_buffer(bound.value)
    size = ctypes.c_size_t()
    _c[name](image, options, *arguments, coded, bound, size)
    return memoryview(coded)[: size.value].tobytes()


def probe(coded: int, coded_size: int) -> tuple[int, Image]:
    """Return codec and image of the coded image at the address `coded`."""
    codec = ctypes.c_uint32()
    image = Image()
    _c["dicube_probe"](coded, coded_size, codec, image)
    return codec.value, image


def decode(
    coded: int, coded_size: int, image: Image, num_threads: int, pixels: int, pixels_size: int
) -> None:
    """Decode the coded image at the address `coded` to the address `pixels`."""
    _c["dicube_decode"](coded, coded_size, image, num_threads, pixels, pixels_size)


def decode_roi(
    coded: int,
    coded_size: int,
    image: Image,
    num_threads: int,
    pixels: int,
    pixels_size: int,
    mask: int,
    mask_size: int,
) -> None:
    """Decode the coded image at the address `coded`, and its mask."""
    _c["dicube_decode_roi"](
        coded, coded_size, image, num_threads, pixels, pixels_size, mask, mask_size
    )


# What coding a JPEG may add to its bytes at most.
_JPEG_EXCESS = 65536


def jpeg_encode(jpeg: bytes, effort: int) -> bytes:
    """Recompress a JPEG image by JPEG XL."""
    capacity = len(jpeg) + _JPEG_EXCESS
    coded = ctypes.create_string_buffer(capacity)
    size = ctypes.c_size_t()
    _c["dicube_jpeg_encode"](jpeg, len(jpeg), effort, coded, capacity, size)
    return memoryview(coded)[: size.value].tobytes()


def jpeg_restore(coded: bytes) -> bytes:
    """Restore the JPEG image that `jpeg_encode` recompressed."""
    size = ctypes.c_size_t()
    _c["dicube_jpeg_restore"](coded, len(coded), None, 0, size)
    jpeg = ctypes.create_string_buffer(size.value)
    _c["dicube_jpeg_restore"](coded, len(coded), jpeg, size.value, size)
    return jpeg.raw


# -------------------------------------------------------------------------------------- handles


class _Owner:
    """What owns a handle of libdicube.

    The handle is closed by `close`, or when the last reference to its owner goes; never below a
    call in flight, which is counted. It is of use only in the process that opened it: after a fork
    its locks may be those of threads that are not there, and what a writer closes is not its own.
    """

    def __init__(
        self, address: int | None, close: str, kept: Any, callback: _Callback | None
    ) -> None:
        self._address = address
        self._close_handle = _c[close]
        self._kept = kept  # what the handle points into must live as long
        self._callback = callback
        self._lock = threading.Lock()
        self._in_flight = 0
        self._closed = False
        self._process = os.getpid()

    def _call(self, name: str, *arguments: Any) -> None:
        """Call a function on the handle; raise what the caller's callback raised meanwhile."""
        if not self.is_here:
            raise ValueError(f"{type(self).__name__.lower()} belongs to process {self._process}")
        with self._lock:
            if self._closed:
                raise ValueError(f"{type(self).__name__.lower()} is closed")
            self._in_flight += 1
        try:
            _guarded(self._callback, name, self._address, *arguments)
        finally:
            with self._lock:
                self._in_flight -= 1
                if self._closed:
                    self._release()

    def _release(self) -> None:
        """Close the handle if no call is in flight."""
        if not self._in_flight:
            self._close_handle(self._address)
            self._address = self._kept = None

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def is_here(self) -> bool:
        """Whether it was opened in this process."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Close it, as soon as calls in flight have ended. May be called again."""
        if not self.is_here:
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def __del__(self) -> None:
        self.close()


class _Callback:
    """A Python function that libdicube calls, and the exception that it ended in.

    ctypes would print such an exception and forget it. It is kept here, libdicube told of a
    failure, and the exception raised where the library was called.
    """

    def __init__(self, function: Callable[[int, memoryview], None]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def __call__(self, _user: int | None, offset: int, address: int | None, size: int) -> int:
        if _calls.are_ending:
            return 1
        try:
            if size:
                buffer = (ctypes.c_char * size).from_address(address or 0)
                self._function(offset, memoryview(buffer).cast("B"))
            return 0
        except BaseException as error:  # KeyboardInterrupt too: it must not vanish
            with self._lock:
                self._error = self._error or error
            return 1

    def take_error(self) -> BaseException | None:
        """Return the first exception since the last call, and forget it."""
        with self._lock:
            error, self._error = self._error, None
            return error


class _CallsThatCallBack:
    """Calls in flight that call Python back, which the interpreter's end must not come upon.

    From then on a thread that asks for the interpreter is ended on the spot (before Python 3.14):
    the C++ above it is unwound as it can't be, and the process aborts. Other threads than the main
    one are daemons by then: their calls are made to fail, and they stay where they return.

    Attributes:
        are_ending: whether callbacks have to fail.
    """

    _SECONDS = 5.0  # that a callback may be waiting for, a server say

    def __init__(self) -> None:
        self.are_ending = False
        self._have_ended = False
        self._in_flight = set[int]()  # without a lock, which a fork could leave locked

    def __enter__(self) -> None:
        self._stay_if_ended()
        self._in_flight.add(threading.get_ident())
        self._stay_if_ended()

    def __exit__(self, *_exception: object) -> None:
        self._in_flight.discard(threading.get_ident())
        self._stay_if_ended()

    def _stay_if_ended(self) -> None:
        if self._have_ended and threading.current_thread() is not threading.main_thread():
            self._in_flight.discard(threading.get_ident())
            threading.Event().wait()

    def end(self) -> None:
        """Let those of other threads fail, and wait for that; atexit calls this."""
        self.are_ending = self._have_ended = True
        last = time.monotonic() + self._SECONDS
        while self._in_flight and time.monotonic() < last:
            time.sleep(0.001)
        self.are_ending = False  # what else is called at the exit may read

    def forget(self) -> None:
        """Forget calls of threads that a forked process does not have."""
        self._in_flight.clear()


_calls = _CallsThatCallBack()
atexit.register(_calls.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.forget)


def _guarded(callback: _Callback | None, name: str, *arguments: Any) -> None:
    """Call a function of libdicube; if a callback raised, raise that."""
    if callback is None:
        _c[name](*arguments)
        return
    with _calls:
        try:
            _c[name](*arguments)
        except Exception:
            error = callback.take_error()
            if error is not None:
                raise error from None
            raise


def _encoded_path(path: str | os.PathLike[str]) -> bytes:
    """Return a path as libdicube takes it."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte in path")
    return encoded


def _open(callback: _Callback | None, name: str, *arguments: Any) -> int | None:
    """Return the handle that the function `name` opens."""
    address = ctypes.c_void_p()
    _guarded(callback, name, *arguments, address)
    return address.value


class Reader(_Owner):
    """An open file. May be used by many threads at once."""

    def __init__(self, address: int | None, kept: Any, callback: _Callback | None) -> None:
        super().__init__(address, "dicube_reader_close", kept, callback)

    @classmethod
    def open_path(cls, path: str | os.PathLike[str], options: ReaderOptions) -> Reader:
        """Open the file at a path."""
        encoded = _encoded_path(path)
        try:
            return cls(_open(None, "dicube_reader_open_path", encoded, options), None, None)
        except CubeFileNotFoundError as error:
            error.filename = os.fspath(path)
            raise

    @classmethod
    def open_memory(cls, data: int, size: int, options: ReaderOptions, kept: Any) -> Reader:
        """Open the `size` bytes at the address `data`, which belong to the object `kept`."""
        return cls(_open(None, "dicube_reader_open_memory", data, size, options), kept, None)

    @classmethod
    def open_source(
        cls, size: int, read_at: Callable[[int, memoryview], None], options: ReaderOptions
    ) -> Reader:
        """Open `size` bytes that `read_at(offset, buffer)` reads, filling the whole buffer.

        It is called from many threads at once, and raises where it fails.
        """
        callback = _Callback(read_at)
        source = Source(size=size, read_at=_READ_AT(callback))
        address = _open(callback, "dicube_reader_open_source", source, options)
        return cls(address, source, callback)

    def image(self) -> tuple[Image, int]:
        """Return what each frame is, and how many there are."""
        image = Image()
        frames = ctypes.c_uint64()
        self._call("dicube_reader_image", image, frames)
        return image, frames.value

    def info(self) -> FileInfo:
        """Return what there is to know of the file beside its frames."""
        info = FileInfo()
        self._call("dicube_reader_info", info)
        return info

    def section_name(self, index: int) -> str:
        """Return the name of a section by its number."""
        name = ctypes.create_string_buffer(_SECTION_NAME_SIZE)
        self._call("dicube_reader_section_name", index, name)
        return name.value.decode("ascii")

    def section(self, name: str) -> bytes:
        """Return the bytes of a section."""
        size = self.section_size(name)
        data = ctypes.create_string_buffer(size)
        self._call("dicube_reader_section_read", name.encode("ascii"), data, size)
        return data.raw

    def section_size(self, name: str) -> int:
        """Return how many bytes a section has."""
        size = ctypes.c_size_t()
        self._call("dicube_reader_section_size", name.encode("ascii"), size)
        return size.value

    def levels(self) -> int:
        """Return how often the first frame can be halved in resolution."""
        levels = ctypes.c_uint32()
        self._call("dicube_reader_levels", levels)
        return levels.value

    def decoded_image(self, options: DecodeOptions) -> Image:
        """Return what each frame is when it is decoded."""
        image = Image()
        self._call("dicube_reader_decoded_image", options, image)
        return image

    def decode(
        self, frames: int, count: int, options: DecodeOptions, pixels: int, pixels_size: int
    ) -> None:
        """Decode the frames whose numbers stand at the address `frames` to the address `pixels`."""
        numbers = ctypes.c_uint64.from_address(frames) if count else None
        self._call("dicube_reader_decode_frames", numbers, count, options, pixels, pixels_size)

    def decode_roi(
        self, first: int, count: int, pixels: int, pixels_size: int, masks: int, masks_size: int
    ) -> None:
        """Decode frames to the address `pixels`, and their masks to the address `masks`."""
        self._call("dicube_reader_decode_roi", first, count, pixels, pixels_size, masks, masks_size)

    def coded_range(self, frame: int) -> tuple[int, int]:
        """Return offset and size of the coded bytes of a frame."""
        offset = ctypes.c_uint64()
        size = ctypes.c_size_t()
        self._call("dicube_reader_coded_range", frame, offset, size)
        return offset.value, size.value

    def coded(self, frame: int) -> bytes:
        """Return the coded bytes of a frame."""
        size = self.coded_range(frame)[1]
        coded = ctypes.create_string_buffer(size)
        self._call("dicube_reader_coded_read", frame, coded, size)
        return coded.raw


class Writer(_Owner):
    """A file that is being written. For one thread at a time."""

    def __init__(self, address: int | None, kept: Any, callback: _Callback | None) -> None:
        super().__init__(address, "dicube_writer_close", kept, callback)

    @classmethod
    def open_path(
        cls, path: str | os.PathLike[str], image: Image, frames: int, options: CodecOptions
    ) -> Writer:
        """Begin a file, which takes its name when it is finished."""
        encoded = _encoded_path(path)
        address = _open(None, "dicube_writer_open_path", encoded, image, frames, options)
        return cls(address, None, None)

    @classmethod
    def open_sink(
        cls,
        write_at: Callable[[int, memoryview], None],
        image: Image,
        frames: int,
        options: CodecOptions,
    ) -> Writer:
        """Begin a file that `write_at(offset, data)` stores; it raises where it fails."""
        callback = _Callback(write_at)
        sink = Sink(write_at=_WRITE_AT(callback))
        address = _open(callback, "dicube_writer_open_sink", sink, image, frames, options)
        return cls(address, sink, callback)

    def section(self, name: str, data: bytes) -> None:
        """Add a section."""
        self._call("dicube_writer_section", name.encode("ascii"), data, len(data))

    def encode(self, count: int, pixels: int, pixels_size: int) -> None:
        """Encode the next `count` frames, whose samples stand at the address `pixels`."""
        self._call("dicube_writer_encode", count, pixels, pixels_size)

    def encode_roi(
        self, count: int, pixels: int, pixels_size: int, masks: int, masks_size: int
    ) -> None:
        """Encode the next `count` frames, each with a mask."""
        self._call("dicube_writer_encode_roi", count, pixels, pixels_size, masks, masks_size)

    def loss(self) -> Loss:
        """Return what the frames encoded so far lost."""
        loss = Loss()
        self._call("dicube_writer_loss", loss)
        return loss

    def coded(self, coded: bytes) -> None:
        """Store bytes that are already coded as the next frame."""
        self._call("dicube_writer_coded", coded, len(coded))

    def finish(self) -> None:
        """Complete the file."""
        self._call("dicube_writer_finish")
