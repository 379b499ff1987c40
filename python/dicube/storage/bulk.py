"""Writes and reads a section too large for memory as ranges, each packed and with its checksum.

What the bytes are, and where the records of the ranges are kept, is up to the caller.
"""

from __future__ import annotations

from typing import NamedTuple

from dicube.exceptions import InvalidCubeFileError, OutOfMemoryError
from dicube.storage.dcb_reader import Sections
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.packed_text import pack_range, unpack_range
from dicube.storage.pixel_utils import checksum_of


class PackedRange(NamedTuple):
    """A range of a section.

    Attributes:
        offset: in the section.
        stored: number of bytes in the section.
        size: number of bytes before packing.
        checksum: of the bytes in the section.
    """

    offset: int
    stored: int
    size: int
    checksum: int


class BulkWriter:
    """Writes a section range by range, after the frames of a file."""

    def __init__(self, writer: DcbWriter, name: str) -> None:
        """Take the file and the name of the section."""
        self._writer, self._name, self._end = writer, name, 0

    def write(self, data: bytes | memoryview) -> PackedRange:
        """Append bytes and return their range."""
        packed = bytes(pack_range(data))
        self._writer.append_section(self._name, packed)
        written = PackedRange(self._end, len(packed), len(data), checksum_of(packed))
        self._end += len(packed)
        return written


class BulkReader:
    """Reads ranges of a section.

    Attributes:
        size: bytes of the section.
    """

    def __init__(self, sections: Sections, name: str, max_memory: int | None) -> None:
        """Take the sections of a file, the name, and how much memory a range may take."""
        self._sections, self._name, self._max_memory = sections, name, max_memory
        self.size = sections.size(name)

    def read(self, offset: int, stored: int, size: int, checksum: int) -> bytes:
        """Return the bytes of a range, given the fields of its `PackedRange`.

        Raises:
            InvalidCubeFileError: the range is damaged.
            OutOfMemoryError: (an InvalidCubeFileError too) it takes more than `max_memory`.
        """
        where = f"section {self._name}, offset {offset}"
        if self._max_memory is not None and size > self._max_memory:
            raise OutOfMemoryError(
                f"{where}: unpacking takes {size} bytes, max_memory is {self._max_memory}"
            )
        packed = self._sections.part(self._name, offset, stored)
        found = checksum_of(packed)
        if found != checksum:
            raise InvalidCubeFileError(f"{where}: expected checksum {checksum}, found {found}")
        try:
            return unpack_range(packed, size)
        except InvalidCubeFileError as error:
            raise type(error)(f"{where}: {error.message}") from error
