"""Reads the members of zip archives, which are unpacked in memory and never written to disk.

An archive may come from a stranger: what its directory states is checked, and no more is unpacked
at a time than the caller asks for. Must not know what the members hold.
"""

from __future__ import annotations

import bz2
import copy
import errno
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import IO, Any, BinaryIO, Protocol, cast

from dicube.exceptions import CubeFileAccessError, DataConsistencyError
from dicube.regular_files import open_regular

MOST_GROWTH = 200
"""How many times its packed size data may unpack to, unless that is little."""

ALWAYS_ALLOWED = 1 << 26
"""Bytes that a member of an archive, or a deflated dataset, may unpack to however small it is."""

# A series of images that are all background stays below the limits.
_ALWAYS_ALLOWED_TOGETHER = 1 << 30

_CHUNK = 1 << 20  # unpacked at a time
_PACKED_CHUNK = 1 << 16
_OF_BAD_DATA = (None, errno.EINVAL)  # of OSErrors: bz2's, and those of seeking to a bad offset
_ENCRYPTED = 1  # a bit of a member's flags
_UNPACK = "unpack the archive by another program, if you trust it, and read the folder"


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip archive.

    Attributes:
        name: path of the archive, followed by the path in the archive.
        archive: the archive.
        info: its entry in the archive's directory.
    """

    name: str
    archive: _Archive
    info: zipfile.ZipInfo

    @property
    def container(self) -> str:
        """The path of the file on disk that holds the bytes."""
        return self.archive.path

    @property
    def packed_size(self) -> int:
        """The number of bytes that the member takes in the archive."""
        return min(self.info.compress_size, self.archive.size)

    def open(self) -> BinaryIO:
        """Open the member; its bytes are unpacked while they are read.

        Raises:
            DataConsistencyError: the member is encrypted, damaged, packed by an unknown method, or
                unpacks to far more than its size. Reading raises this too.
        """
        found = self.info.file_size
        if found > most_unpacked(self.packed_size):
            raise DataConsistencyError(
                f"{self.name}: expected a file that unpacks to at most {MOST_GROWTH} times its "
                f"packed size of {self.packed_size} bytes, or to {ALWAYS_ALLOWED >> 20} MiB, "
                f"found {found} bytes",
                suggestion=_UNPACK,
            )
        if self.info.flag_bits & _ENCRYPTED:
            raise DataConsistencyError(f"{self.name} is encrypted", suggestion=_UNPACK)
        return cast(BinaryIO, _Unpacked(self))

    def open_buffered(self) -> BinaryIO:
        """Open the member for many small reads."""
        return BufferedReader(cast(RawIOBase, self.open()), _PACKED_CHUNK)

    def size(self, _file: Any) -> int:
        """Return the unpacked size of the member in bytes; reading never returns more."""
        return self.info.file_size


def members_of(path: str) -> list[ZipMember]:
    """Return the members of a zip archive, except for hidden ones and folders.

    Raises:
        CubeFileAccessError: the operating system refuses to read.
        DataConsistencyError: the archive is damaged, or unpacks to far more than its size.
    """
    try:
        archive = _Archive(path)
    except OSError as error:
        raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
    except Exception as error:  # zipfile raises all kinds of exceptions for malformed bytes
        raise DataConsistencyError(f"{path} is a damaged zip archive: {error}") from error
    visible = [info for info in archive.infos() if not _is_left_out(info)]
    total = sum(info.file_size for info in visible)
    if total > max(_ALWAYS_ALLOWED_TOGETHER, MOST_GROWTH * archive.size):
        raise DataConsistencyError(
            f"{path}: expected an archive that unpacks to at most {MOST_GROWTH} times its "
            f"size, found {total} bytes, which is {total // max(archive.size, 1)} times",
            suggestion=_UNPACK,
        )
    return [ZipMember(os.path.join(path, info.filename), archive, info) for info in visible]


def most_unpacked(packed: int) -> int:
    """Return how many bytes a member, or a deflated dataset, of so many bytes may unpack to."""
    return max(ALWAYS_ALLOWED, MOST_GROWTH * packed)


def _is_left_out(info: zipfile.ZipInfo) -> bool:
    *_, last = parts = info.filename.split("/")
    is_folder = not last and len(parts) > 1  # `is_dir` fails on an empty name
    return is_folder or any(part.startswith(".") or part == "__MACOSX" for part in parts)


class _Archive:
    """A zip archive that many threads read; open as long as one of its members is referenced."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        # If ZipFile opens the file itself, it counts its users in a way that isn't thread-safe.
        self._file = open_regular(path)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return _Archive, (self.path,)

    def infos(self) -> list[zipfile.ZipInfo]:
        """Return the archive's directory."""
        return self._archive.infolist()

    def open_packed(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """Open the packed bytes of a member: as one that is stored unpacked, without a checksum."""
        packed = copy.copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
        packed.CRC = None  # type: ignore[assignment]
        return self._archive.open(packed)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class _Unpacked(RawIOBase):
    """The bytes of a member. Seeks by reading, from the start if it has to go back.

    Python's own `ZipExtFile` unpacks as much as a few packed bytes give, whatever size the
    directory states. Since 3.12 it also seeks in the archive relative to wherever another thread
    has left it, and then returns wrong bytes (seen in 3.12.1 and 3.13.0).
    """

    def __init__(self, member: ZipMember) -> None:
        self._member, self._info = member, member.info
        self._position: int
        self._checksum: int
        self._is_checked: bool
        self._restart()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        offset += {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._info.file_size,
        }[whence]
        if offset < self._position:
            self._restart()
        while (ahead := offset - self._position) > 0 and self.read(min(ahead, _CHUNK)):
            pass
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        for part in self._parts(len(view)):
            view[done : done + len(part)] = part
            done += len(part)
        return done

    def read(self, size: int | None = -1, /) -> bytes:
        return b"".join(self._parts(-1 if size is None else size))

    def _parts(self, size: int) -> Iterator[bytes]:
        """Yield the next bytes, as many as are left if `size` is negative."""
        left = self._info.file_size - self._position
        wanted = left if size < 0 else min(size, left)
        while wanted:
            part = self._next(min(wanted, _CHUNK))
            if not part:
                raise self._damaged(f"expected {self._info.file_size} bytes")
            self._position += len(part)
            self._checksum = zlib.crc32(part, self._checksum)
            wanted -= len(part)
            yield part
        if self._position == self._info.file_size and not self._is_checked:
            self._is_checked = True
            if self._next(1):
                raise self._damaged(f"it has more than {self._info.file_size} bytes")
            if self._checksum != self._info.CRC:
                raise self._damaged("its checksum is wrong")

    def _next(self, most: int) -> bytes:
        """Return some of the next bytes, at most so many; none at the end."""
        unpacker = self._unpacker
        with self._naming():
            while not unpacker.eof:
                data = self._packed.read(_PACKED_CHUNK) if unpacker.needs_input else b""
                part = unpacker.decompress(data, most)
                if part or (unpacker.needs_input and not data):
                    return part
        return b""

    def _restart(self) -> None:
        self._position, self._checksum, self._is_checked = 0, 0, False
        with self._naming():
            self._packed = self._member.archive.open_packed(self._info)
            self._unpacker = self._new_unpacker()

    def _new_unpacker(self) -> _Unpacker:
        method = self._info.compress_type
        if method == zipfile.ZIP_STORED:
            return _Stored()
        if method == zipfile.ZIP_DEFLATED:
            return _Inflater()
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor()
        if method == zipfile.ZIP_LZMA:
            return _lzma_unpacker(self._packed, self._info.file_size)
        raise self._damaged(f"it is packed by the unknown method {method}")

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Raise what zipfile and the unpackers raise as an exception of dicube, with the name."""
        try:
            yield
        except DataConsistencyError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno not in _OF_BAD_DATA:
                raise
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> DataConsistencyError:
        return DataConsistencyError(f"{self._member.name} is damaged in its archive: {reason}")


class _Unpacker(Protocol):
    """What unpacks data, as bz2's and lzma's decompressors do.

    Attributes:
        eof: whether the end of the data was reached.
        needs_input: whether `decompress` needs more packed bytes to go on.
    """

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return unpacked bytes, at most so many."""


class _Stored:
    """Returns stored bytes as they are."""

    eof = False

    def __init__(self) -> None:
        self._left = b""

    @property
    def needs_input(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        data = self._left + data
        self._left = data[max_length:]
        return data[:max_length]


class _Inflater:
    """Inflates deflated bytes."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


def _lzma_unpacker(packed: IO[bytes], size: int) -> _Unpacker:
    """Return an unpacker of a member's LZMA data, given its start (APPNOTE.TXT 5.8.8)."""
    _, length = struct.unpack("<HH", packed.read(4))
    properties, dictionary = struct.unpack_from("<BL", packed.read(length))
    powers, lc = divmod(properties, 9)
    pb, lp = divmod(powers, 5)
    # The dictionary may be declared as large as 4 GiB, but all of it is never needed.
    dictionary = max(4096, min(dictionary, size))
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
