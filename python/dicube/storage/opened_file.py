"""Keep a dicube file open for threads, and open it again in forked processes and after unpickling.

Knows how to open each kind of source. Must not know arrays, or what is in the file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from dicube import _native
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.storage.byte_source import RemoteFile, SeekableFile
from dicube.storage.urls import is_url

_FRAME_CHECKSUMS = "frame_checksums"
_PIXEL_HEADER = "pixel_header"
_MOST_HEADER = 4096  # bytes


class OpenedFile:
    """An open file, which opens itself again in a forked process and after unpickling.

    Args:
        source: a path, a URL, the bytes of a whole file, or a seekable binary file object.
        storage_options: options of the fsspec file system of a URL.
        options: fields of `_native.ReaderOptions`.

    Raises:
        CubeFileNotFoundError: the path or URL does not exist.
        CubeFileAccessError: the file can't be read.
        InvalidCubeFileError: it isn't a dicube file, or it is damaged or of a newer version.
        DataConsistencyError: the source is none of these.
    """

    def __init__(
        self, source: Any, storage_options: Mapping[str, Any] | None, **options: Any
    ) -> None:
        if is_url(source):
            source = RemoteFile(source, storage_options)
        elif storage_options:
            raise DataConsistencyError("storage_options are for URLs only")
        elif hasattr(source, "read") and hasattr(source, "seek"):
            if isinstance(source, io.TextIOBase):
                raise DataConsistencyError(f"expected a binary file, found {source!r}")
            source = SeekableFile(source)
        self._options = options
        self._closed = False
        reader = _open(source, options)
        self._identity = _identity_of(reader)
        if isinstance(source, (str, os.PathLike)):
            source = os.path.abspath(source)  # the working directory may have changed then
        self._opened: tuple[Any, _native.Reader | None] = source, reader

    def __getstate__(self) -> dict[str, Any]:
        source = self._opened[0]
        if isinstance(source, memoryview):
            source = bytes(source)
        return {**self.__dict__, "_opened": (source, None)}

    @property
    def reader(self) -> _native.Reader:
        """The reader of this process.

        Raises:
            InvalidCubeFileError: the file had to be opened again, but was replaced meanwhile.
        """
        return self._here()[1]

    def fetched(self, frames: Iterable[int], level: int) -> AbstractContextManager[None]:
        """Return a context that fetches what a level of frames needs from a URL, and keeps it.

        For other sources it does nothing.
        """
        source, reader = self._here()
        if not isinstance(source, RemoteFile):
            return nullcontext()
        ranges = (reader.level_range(int(frame), level) for frame in frames)
        return source.fetched((offset, offset + size) for offset, size in ranges)

    @property
    def name(self) -> str:
        """The path or URL for messages; '' for bytes and file objects."""
        return _name_of(self._opened[0])

    @property
    def needs_python(self) -> bool:
        """Whether Python reads the bytes, as it does for URLs and file objects."""
        return isinstance(self._opened[0], (RemoteFile, SeekableFile))

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._closed

    def close(self) -> None:
        """Close the file, after calls that other threads have begun."""
        self._closed = True
        reader = self._opened[1]
        if reader is not None:
            reader.close()

    def _here(self) -> tuple[Any, _native.Reader]:
        """Return source and reader of this process."""
        source, reader = self._opened
        if self._closed:
            raise ValueError("reader is closed")
        if reader is not None and reader.is_here:
            return source, reader
        # If several threads come here at once, each opens a reader, and the last one is kept.
        if isinstance(source, (RemoteFile, SeekableFile)):
            source = source.again()
        reader = _open(source, self._options)
        if _identity_of(reader) != self._identity:
            raise InvalidCubeFileError("the file was replaced after it was opened")
        self._opened = source, reader
        return source, reader


def _name_of(source: Any) -> str:
    if isinstance(source, RemoteFile):
        return source.name
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else ""


def _open(source: Any, options: Mapping[str, Any]) -> _native.Reader:
    """Return a reader of a source."""
    settings = _native.ReaderOptions(**options)
    if isinstance(source, (str, os.PathLike)):
        return _native.Reader.open_path(source, settings)
    if isinstance(source, (RemoteFile, SeekableFile)):
        return _native.Reader.open_source(source.size(), source.read_at, settings, _name_of(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        if isinstance(source, memoryview) and not source.c_contiguous:
            raise DataConsistencyError("expected contiguous bytes, found a memoryview with strides")
        data = np.frombuffer(source, np.uint8)
        return _native.Reader.open_memory(data.ctypes.data, data.nbytes, settings, data)
    raise DataConsistencyError(
        "expected a path, a URL, bytes or a seekable binary file object, "
        f"found {type(source).__name__}"
    )


def _identity_of(reader: _native.Reader) -> tuple[Any, ...]:
    """Return facts by which two readers of the same file are recognised."""
    image, frames = reader.image()
    info = reader.info()
    checksums = reader.section(_FRAME_CHECKSUMS) if frames and info.has_checksums else b""
    header = b""
    if _PIXEL_HEADER in reader.section_names(info.sections):  # such as another intercept
        size = min(reader.section_size(_PIXEL_HEADER), _MOST_HEADER)
        header = reader.section_at(_PIXEL_HEADER, 0, size)
    data = np.frombuffer(checksums + header, np.uint8)
    return (
        *(info.file_size, info.coded_size, info.sections, info.codec, frames),
        *(image.rows, image.columns, image.samples, image.sample_type),
        # Frames of different files may have equal sizes, if they are constant or noise.
        _native.checksum(data.ctypes.data, data.nbytes),
    )
