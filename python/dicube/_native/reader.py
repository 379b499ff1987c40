"""The reader of libdicube, which reads a file at a path, in memory or through a function."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any

from dicube._native.callbacks import Callback, call_with
from dicube._native.handle import Handle
from dicube._native.header import READ_AT, DecodeOptions, FileInfo, Image, ReaderOptions, Source
from dicube._native.library import functions
from dicube.exceptions import CubeFileNotFoundError
from dicube.regular_files import encoded_path

_MILLISECONDS = 100  # the longest that a signal waits, unless a frame takes longer
_SECTION_NAME_SIZE = 17  # 16 characters and the zero byte


class Reader(Handle):
    """An open file. Many threads may use it at once."""

    def __init__(self, kept: Any, callback: Callback | None, name: str, *arguments: Any) -> None:
        super().__init__("dicube_reader_close", kept, callback, name, *arguments)

    @classmethod
    def open_path(cls, path: str | os.PathLike[str], options: ReaderOptions) -> Reader:
        """Open the file at a path."""
        encoded = encoded_path(path)
        try:
            return cls(None, None, "dicube_reader_open_path", encoded, options)
        except CubeFileNotFoundError as error:
            error.filename = os.fspath(path)
            raise

    @classmethod
    def open_memory(cls, data: int, size: int, options: ReaderOptions, kept: Any) -> Reader:
        """Open the `size` bytes at the address `data`, which belong to the object `kept`."""
        return cls(kept, None, "dicube_reader_open_memory", data, size, options)

    @classmethod
    def open_source(
        cls,
        size: int,
        read_at: Callable[[int, memoryview], None],
        options: ReaderOptions,
        name: str,
    ) -> Reader:
        """Open `size` bytes that `read_at(offset, buffer)` reads; it fills the whole buffer.

        Many threads call it at once. It raises an exception if it fails. Errors begin with `name`.
        """
        callback = Callback(read_at, name)
        source = Source(size=size, read_at=READ_AT(callback))
        return cls(source, callback, "dicube_reader_open_source", source, options)

    def image(self) -> tuple[Image, int]:
        """Return the description of a frame, and the number of frames."""
        image = Image()
        frames = ctypes.c_uint64()
        self._call("dicube_reader_image", image, frames)
        return image, frames.value

    def info(self) -> FileInfo:
        """Return facts about the file other than its frames."""
        info = FileInfo()
        self._call("dicube_reader_info", info)
        return info

    def section_names(self, count: int) -> tuple[str, ...]:
        """Return the names of the first `count` sections."""
        name, names = ctypes.create_string_buffer(_SECTION_NAME_SIZE), []
        for index in range(count):
            self._call("dicube_reader_section_name", index, name)
            names.append(name.value.decode("ascii"))
        return tuple(names)

    def section(self, name: str) -> bytes:
        """Return the bytes of a section."""
        size = self.section_size(name)
        data = ctypes.create_string_buffer(size)
        self._call("dicube_reader_section_read", name.encode("ascii"), data, size)
        return data.raw

    def section_size(self, name: str) -> int:
        """Return the size of a section in bytes."""
        size = ctypes.c_size_t()
        self._call("dicube_reader_section_size", name.encode("ascii"), size)
        return size.value

    def section_range(self, name: str) -> tuple[int, int]:
        """Return the offset of a section in the file, and its size."""
        offset, size = ctypes.c_uint64(), ctypes.c_uint64()
        self._call("dicube_reader_section_range", name.encode("ascii"), offset, size)
        return offset.value, size.value

    def section_at(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a section; its checksum is not compared."""
        data = ctypes.create_string_buffer(size)
        self._call("dicube_reader_section_read_at", name.encode("ascii"), offset, data, size)
        return data.raw

    def levels(self) -> int:
        """Return how often the first frame can be halved in resolution."""
        levels = ctypes.c_uint32()
        self._call("dicube_reader_levels", levels)
        return levels.value

    def decoded_image(self, options: DecodeOptions) -> Image:
        """Return the description of a decoded frame."""
        image = Image()
        self._call("dicube_reader_decoded_image", options, image)
        return image

    def begin_decoding(
        self,
        frames: int,
        count: int,
        options: DecodeOptions,
        pixels: int,
        pixels_size: int,
        kept: Any,
    ) -> Decoding:
        """Begin to decode frames in the background. For paths and memory only.

        Args:
            frames: address of `count` frame numbers.
            options: the options.
            pixels, pixels_size: address and size of the memory to decode to.
            kept: objects that own this memory and the memory that the options point to.
        """
        numbers = ctypes.c_uint64.from_address(frames) if count else None
        return Decoding(self, numbers, count, options, pixels, pixels_size, kept)

    def decode(self, *arguments: Any) -> None:
        """Decode frames; takes the arguments of `begin_decoding`.

        The main thread handles signals such as Ctrl-C meanwhile; an exception from their handler
        cancels the decoding.
        """
        call_with(self._callback, lambda: self.begin_decoding(*arguments).finish())

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

    def level_range(self, frame: int, level: int) -> tuple[int, int]:
        """Return offset and size of the bytes that decoding a frame at a level reads."""
        offset, size = ctypes.c_uint64(), ctypes.c_size_t()
        self._call("dicube_reader_level_range", frame, level, offset, size)
        return offset.value, size.value

    def coded(self, frame: int) -> bytes:
        """Return the coded bytes of a frame."""
        size = self.coded_range(frame)[1]
        coded = ctypes.create_string_buffer(size)
        self._call("dicube_reader_coded_read", frame, coded, size)
        return coded.raw


# What open decodings read from and write to, by the id of their handle. It must outlive them, even
# if a signal interrupts the closing, or if reader and decoding are garbage-collected together.
_in_use: dict[int, tuple[Reader, ctypes.c_void_p, tuple[Any, ...]]] = {}


class Decoding:
    """Frames that threads of libdicube decode in the background.

    A context for one thread at a time. Leaving it before `finish` cancels frames that were not
    begun, and fills the whole output with zeros. The reader stays open until then.
    """

    _handle = ctypes.c_void_p()  # for a decoding that a signal left half built

    def __init__(self, reader: Reader, *arguments: Any) -> None:
        # Set before it begins, so that it is closed even if a signal interrupts this.
        self._handle = ctypes.c_void_p()
        reader._hold_open()
        _in_use[id(self._handle)] = reader, self._handle, arguments
        try:
            *given, _kept = arguments
            functions["dicube_decoding_begin"](reader._handle, *given, self._handle)
        except BaseException:
            self.close()
            raise

    def finish(self) -> None:
        """Wait until all frames are decoded, and close the decoding.

        The main thread handles signals meanwhile.
        """
        try:
            if threading.get_ident() == threading.main_thread().ident:
                left = ctypes.c_uint64(1)
                while left.value:
                    functions["dicube_decoding_help"](self._handle, _MILLISECONDS, left)
            functions["dicube_decoding_finish"](self._handle)
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the decoding unless it has finished. May be called again."""
        reader, *_ = _in_use.get(id(self._handle), (None,))
        if reader is None or not reader.is_here:
            return
        address, self._handle.value = self._handle.value, None
        try:
            functions["dicube_decoding_close"](address)
        finally:
            if _in_use.pop(id(self._handle), None):
                reader._let_close()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
