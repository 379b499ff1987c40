"""Read and write bytes of file objects, and read those of URLs through fsspec.

Over a network a request costs more than many bytes. So the front of a file is read in one request,
and from the rest only the ranges that were announced: near ones are joined, and all are fetched
concurrently. `http_ranges` checks the answers of HTTP servers. Must not know what the bytes mean.
"""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, BinaryIO

from dicube import _native
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MissingPackageError,
)
from dicube.storage.urls import (
    check_links,
    missing_package,
    protocols_of,
    text_without_credentials,
    without_credentials,
)
from dicube.threads import Dropped, Task, Threads

if TYPE_CHECKING:
    from dicube.storage.http_ranges import HttpFile

# Size of the first request. It covers header, tables and metadata of a thousand slices; at 10 MB/s
# it takes as long as the round trip to a near server.
_FRONT_SIZE = 1 << 18

# Ranges with a gap of at most so many bytes, and of this share of the bytes wanted around it, are
# fetched as one: every other frame, but not all of a frame whose first third is wanted.
_GREATEST_GAP = 1 << 18
_GREATEST_SHARE = 0.6

# Large ranges are split across connections: a single one rarely saturates the network.
_MOST_CONNECTIONS = 8
_LEAST_PART = 1 << 20

# Many small ranges, for which the server's latency counts, are fetched on more connections.
_MOST_REQUESTS = 32

_RANGE_NOT_SATISFIABLE = 416  # RFC 9110, 15.5.17: the range begins after the file's end

_LONGEST_REASON = 200  # characters of another library's error

Range = tuple[int, int]  # start and stop, in bytes


class SeekableFile:
    """A Python file object that is read and written at offsets; threads take turns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            self._file.__reduce_ex__(2)
        except TypeError:
            raise TypeError(
                f"a {type(self._file).__name__} can't be pickled: open the file by its path"
            ) from None
        return SeekableFile, (self._file,)

    def again(self) -> SeekableFile:
        """Return the same bytes for a forked process.

        Raises:
            CubeFileAccessError: both processes share the position in the file.
        """
        if not isinstance(self._file, io.BytesIO):
            raise CubeFileAccessError(
                f"a {type(self._file).__name__} shares its position with the process that opened "
                "it: open the file by its path"
            )
        return SeekableFile(self._file)

    def size(self) -> int:
        """Return the size of the file in bytes."""
        with self._lock:
            return self._file.seek(0, os.SEEK_END)

    def read_at(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes at an offset.

        Raises:
            EOFError: the file is too short.
        """
        filled = 0
        with self._lock:
            self._file.seek(offset)
            while filled < len(buffer):
                part = self._file.read(len(buffer) - filled)
                if not part:
                    raise EOFError(f"offset {offset}: expected {len(buffer)} bytes, found {filled}")
                buffer[filled : filled + len(part)] = part
                filled += len(part)

    def write_at(self, offset: int, data: memoryview) -> None:
        """Store bytes at an offset."""
        with self._lock:
            self._file.seek(offset)
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])


class RemoteFile:
    """A file at a URL, read in ranges. Many threads may use it at once.

    Args:
        url: any URL that fsspec opens.
        storage_options: options of the fsspec file system.

    Attributes:
        name: the URL without credentials.
        action, missing: what errors say the file is opened for, and that there is none.
    """

    action, missing = "read", "no such file"

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._url, self._storage_options = url, dict(storage_options or {})
        self.name = without_credentials(url)
        self._system: Any = None
        self._path = ""
        self._http: HttpFile | None = None
        self._front = _Block(0, 0, b"")
        self._ahead = _Block(0, 0, b"")
        self._held: list[list[_Block]] = []  # of each fetch, in the order of the file
        self._lock = threading.Lock()  # for the blocks

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFile, (self._url, self._storage_options)

    def again(self) -> RemoteFile:
        """Return the same file for a forked process, which can't share connections."""
        return RemoteFile(self._url, self._storage_options)

    def size(self) -> int:
        """Fetch the front; return the size in bytes, SIZE_UNKNOWN if the file is longer than that.

        Raises:
            CubeFileNotFoundError: there is no such file.
            CubeFileAccessError: the server or the connection fails.
            MissingPackageError: fsspec, or a package it needs for this URL, is not installed.
            DataConsistencyError: not a URL that fsspec opens, or one that reads further addresses
                from a file.
        """
        self._system, self._path = self._find_system()
        if protocols_of(self._url) in (["http"], ["https"]):
            from dicube.storage.http_ranges import HttpFile

            self._http = HttpFile(self._system, self._url, self.name, self._storage_options)
        data = self._request(0, _FRONT_SIZE)
        # A server without range requests sends the whole file, which then is the front.
        self._front = _Block(0, len(data), data)
        return _native.SIZE_UNKNOWN if len(data) == _FRONT_SIZE else len(data)

    def read_at(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes at an offset.

        Raises:
            InvalidCubeFileError: the file is too short.
            CubeFileAccessError: the server or the connection fails.
        """
        stop = offset + len(buffer)
        for block in self._blocks_with(offset, stop):
            with suppress(Dropped):  # the caller that requested the block has failed elsewhere
                buffer[:] = block.bytes_at(offset, stop)
                return
        # The front is longer than the first request: the bytes after these will be wanted next.
        wanted = max(len(buffer), _FRONT_SIZE)
        ahead = _Block(offset, offset + wanted, self._request(offset, offset + wanted))
        ahead.stop = offset + len(ahead.bytes_at(offset, ahead.stop))
        self._check_whole(offset, stop, ahead.stop)
        buffer[:] = ahead.bytes_at(offset, stop)
        if wanted == _FRONT_SIZE:
            with self._lock:
                self._ahead = ahead

    def parts(self, size: int) -> Iterator[bytes]:
        """Fetch the whole file, and yield it in parts of a size.

        Raises:
            DicomCubeError: as `size` and `read_at` do.
        """
        is_whole = self.size() != _native.SIZE_UNKNOWN
        start = self._front.stop
        yield bytes(self._front.bytes_at(0, start))
        while not is_whole and (part := self._request(start, start + size)):
            yield part
            start += len(part)
            is_whole = len(part) < size

    @contextmanager
    def fetched(self, ranges: Iterable[Range]) -> Iterator[None]:
        """Fetch ranges concurrently, and keep them for `read_at` until the context ends.

        The context begins before they have arrived; `read_at` waits for the bytes it needs.
        """
        parts = _parts(wanted for wanted in ranges if not self._is_mine(*wanted))
        if not parts:
            yield
            return
        with Threads(min(len(parts), _MOST_REQUESTS)) as threads:
            blocks = [
                _Block(start, stop, threads.submit(self._fetch, start, stop))
                for start, stop in parts
            ]
            with self._lock:
                self._held.append(blocks)
            try:
                yield
            finally:
                with self._lock:
                    self._held = [held for held in self._held if held is not blocks]
                threads.drop()

    def _blocks_with(self, start: int, stop: int) -> list[_Block]:
        """Return the blocks that contain a range."""
        with self._lock:
            found = [self._front, self._ahead]
            for blocks in self._held:
                place = bisect_right(blocks, start, key=_start_of)
                found += blocks[max(place - 1, 0) : place]
        return [block for block in found if block.start <= start and stop <= block.stop]

    def _is_mine(self, start: int, stop: int) -> bool:
        """Return whether a range is in the front, or in a block that this thread requested."""
        return any(
            block is self._front or (block is not self._ahead and block.thread == get_ident())
            for block in self._blocks_with(start, stop)
        )

    def _find_system(self) -> tuple[Any, str]:
        """Return the file system of the URL, and the path within it."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise MissingPackageError(
                f"{self.name}: a URL needs the package fsspec",
                suggestion="pip install 'dicube[remote]'",
            ) from None
        from dicube.storage.redirects import options_within_origin

        check_links(self._url, self._storage_options)
        options = options_within_origin(self._url, self._storage_options)
        system, path = self._called(url_to_fs, self._url, **options)
        return system, path

    def _fetch(self, start: int, stop: int) -> bytes:
        """Return all bytes of a range."""
        data = self._request(start, stop)
        self._check_whole(start, stop, start + len(data))
        return data

    def _check_whole(self, start: int, stop: int, end: int) -> None:
        if end < stop:
            raise InvalidCubeFileError(
                f"{self.name}: expected {stop - start} bytes at offset {start}, found {end - start}"
            )

    def _request(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range; fewer if the file ends within it."""
        data: bytes = self._called(self._cat, start, stop)
        if start and len(data) > stop - start:
            raise CubeFileAccessError(
                f"{self.name}: cannot read: asked for {stop - start} bytes, got {len(data)}: the "
                "server doesn't support range requests"
            )
        return data

    def _cat(self, start: int, stop: int) -> bytes:
        if self._http is not None:
            return self._http.read(start, stop)
        try:
            data: bytes = self._system.cat_file(self._path, start=start, end=stop)
        except Exception as error:
            if getattr(error, "status", None) == _RANGE_NOT_SATISFIABLE:
                return b""
            raise
        return data

    def _called(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return a result of fsspec; raise its errors as errors of dicube."""
        try:
            return function(*arguments, **options)
        except DicomCubeError:
            raise
        except Exception as error:  # each file system raises its own exceptions
            failure = self._failure_of(error)
        raise failure  # not within the block: the error, which has passwords, isn't its context

    def _failure_of(self, error: Exception) -> DicomCubeError:
        """Return an error without the credentials that an error of another library quotes."""
        status, reason = getattr(error, "status", None), str(error).replace(self._url, self.name)
        # Of a zip, fsspec may raise what zipfile does.
        if isinstance(error, FileNotFoundError) or "There is no item named" in reason:
            return CubeFileNotFoundError(f"{self.name}: {self.missing}")
        reason = text_without_credentials(reason) or type(error).__name__
        if isinstance(error, ImportError):
            return missing_package(self.name, reason)
        if self._system is None and isinstance(error, (ValueError, TypeError)):
            return DataConsistencyError(f"{self.name}: {reason}")
        if status is not None:
            reason = f"{status} {getattr(error, 'message', '')}"
        # Further lines quote what a server sent.
        reason = reason.strip().partition("\n")[0][:_LONGEST_REASON]
        return CubeFileAccessError(f"{self.name}: cannot {self.action}: {reason}")


class _Block:
    """Bytes that were requested, and may not have arrived yet.

    Attributes:
        start, stop: their place in the file.
        thread: the thread that requested them.
    """

    def __init__(self, start: int, stop: int, data: bytes | Task[bytes]) -> None:
        self.start, self.stop = start, stop
        self.thread = get_ident()
        self._data = data

    def bytes_at(self, start: int, stop: int) -> memoryview:
        """Wait for the bytes, and return some of them."""
        data = self._data if isinstance(self._data, bytes) else self._data.result()
        return memoryview(data)[start - self.start : stop - self.start]


def _parts(ranges: Iterable[Range]) -> list[Range]:
    """Return the parts to fetch: near ranges joined, parts of about equal size.

    Each range is entirely within one part.
    """
    ordered = sorted(ranges)
    total = sum(stop - start for start, stop in ordered)
    enough = max(-(-total // _MOST_CONNECTIONS), _LEAST_PART)
    parts: list[Range] = []
    wanted = 0  # bytes of the last part
    for start, stop in ordered:
        first, last = parts[-1] if parts else (start, start)
        wanted += stop - start
        is_near = start - last <= min(_GREATEST_GAP, _GREATEST_SHARE * wanted)
        if parts and is_near and last - first < enough:
            parts[-1] = first, max(stop, last)
        else:
            parts.append((start, stop))
            wanted = stop - start
    return parts


def _start_of(block: _Block) -> int:
    return block.start
