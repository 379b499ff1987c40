"""Pack text and bytes with zstd for sections; limit the memory that unpacking takes.

Knows no file, and not what the text and bytes mean.
"""

from __future__ import annotations

import struct
from typing import Any

import zstandard

from dicube.exceptions import InvalidCubeFileError, OutOfMemoryError, reporting_memory

_LEVEL = 3

# Repetitions are found up to 2 to the power of this apart, in bytes.
_WINDOW_LOG = 27

# Data that repeats at short distances, such as the headers of slices, packs four times as fast at
# this level without long-distance matching, and gets no larger. Only if it shrinks by less than
# _REPETITIVE times may there be repetitions at long distances.
_FAST_LEVEL = 2
_REPETITIVE = 16

# A few KB of zstd can unpack to gigabytes. Metadata of real series grows some hundredfold, as its
# slices are alike; data that grows far more is refused unless it is small.
_MOST_GROWTH = 4096
_ALWAYS_ALLOWED = 64 << 20
# Text is parsed, which takes many times the time and memory of unpacking.
_MOST_TEXT_GROWTH = 1024
_TEXT_ALWAYS_ALLOWED = 16 << 20

# An empty frame, which readers skip (RFC 8878, section 3.1.2).
_SKIPPABLE = struct.Struct("<LL")  # magic number, length of what follows
_SKIPPABLE_MAGIC = 0x184D2A50


def pack_text(text: str, least: int = 0) -> bytes:
    """Return text as one zstd frame of its UTF-8, which declares its size and has a checksum.

    Text so repetitive that `unpack_text` would refuse it is followed by padding. The published
    package refuses a frame that doesn't declare its size, and ignores bytes after the frame.

    Args:
        text: the text.
        least: the least number of bytes to return; padding makes up for it.
    """
    packer = zstandard.ZstdCompressor(_LEVEL, write_content_size=True, write_checksum=True)
    data = text.encode()
    packed = packer.compress(data)
    if len(data) > _TEXT_ALWAYS_ALLOWED:
        least = max(least, -(-len(data) // _MOST_TEXT_GROWTH))
    return packed + _padding(least - len(packed)) if len(packed) < least else packed


def pack_bytes(data: bytes, least: int = 0) -> bytes:
    """Return bytes as one zstd frame that declares its size; finds repetitions at long distances.

    Padding precedes the frame if `unpack_bytes` would refuse bytes so repetitive.

    Args:
        data: the bytes.
        least: as for `pack_text`.
    """
    packed = _packer(_FAST_LEVEL).compress(data)
    if len(packed) * _REPETITIVE > len(data):
        packed = min(packed, _packer(_LEVEL, enable_ldm=True).compress(data), key=len)
    if len(data) > _ALWAYS_ALLOWED:
        least = max(least, -(-len(data) // _MOST_GROWTH))
    return _padding(least - len(packed)) + packed if len(packed) < least else packed


def unpack_text(packed: bytes, most: int | None = None) -> str:
    """Return the text in one zstd frame.

    Args:
        packed: the frame.
        most: the most bytes that the text may take; None for a limit by the packed size.

    Raises:
        InvalidCubeFileError: it is damaged, not UTF-8, or implausibly large for its packed size.
        OutOfMemoryError: (an InvalidCubeFileError too) the text takes more than `most`.
    """
    try:
        limit = max(_TEXT_ALWAYS_ALLOWED, len(packed) * _MOST_TEXT_GROWTH)
        return _unpacked(_without_padding(packed), limit, most).decode()
    except UnicodeDecodeError as error:
        raise InvalidCubeFileError(str(error)) from error


def unpack_bytes(packed: bytes, most: int | None = None) -> bytes:
    """Return the bytes in one zstd frame.

    Args:
        packed: the frame.
        most: the most bytes that may be unpacked; None for a limit by the packed size.

    Raises:
        InvalidCubeFileError: it is damaged, or implausibly large for its packed size.
        OutOfMemoryError: (an InvalidCubeFileError too) the bytes take more than `most`.
    """
    return _unpacked(memoryview(packed)[_padding_before(packed) :], _limit(packed), most)


def pack_range(data: bytes | memoryview) -> bytes | memoryview:
    """Return bytes as one zstd frame that declares its size; as they are if that is no smaller.

    Padding precedes the frame if bytes are so repetitive that readers would refuse them.
    """
    packed = _packer(_FAST_LEVEL).compress(data)
    if len(data) > len(packed) * _MOST_GROWTH:
        packed = _padding(-(-len(data) // _MOST_GROWTH) - len(packed)) + packed
    return packed if len(packed) < len(data) else data


def unpack_range(stored: bytes, size: int) -> bytes:
    """Return the `size` bytes that `pack_range` stored.

    Raises:
        InvalidCubeFileError: they are not these bytes.
    """
    if len(stored) == size:
        return stored
    data = _unpacked(memoryview(stored)[_padding_before(stored) :], size, None)
    if len(data) != size:
        raise InvalidCubeFileError(f"expected {size} bytes, found {len(data)}")
    return data


def _unpacked(frame: bytes | memoryview, limit: int, most: int | None) -> bytes:
    """Return the bytes in exactly one zstd frame, at most `limit` and `most`."""
    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            raise InvalidCubeFileError("the zstd frame does not declare its size")
        if declared > limit:
            raise InvalidCubeFileError(
                f"{len(frame)} packed bytes declare {declared} bytes, more than {limit}"
            )
        if most is not None and declared > most:
            raise OutOfMemoryError(f"unpacking takes {declared} bytes, max_memory is {most}")
        with reporting_memory:
            unpacker = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
            return unpacker.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidCubeFileError(str(error)) from error


def _packer(level: int, **parameters: Any) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            level, window_log=_WINDOW_LOG, write_checksum=True, **parameters
        )
    )


def _padding(size: int) -> bytes:
    """Return an empty frame of so many bytes, or of the fewest possible."""
    content = bytes(max(size - _SKIPPABLE.size, 0))
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content)) + content


def _without_padding(packed: bytes) -> bytes:
    """Return packed bytes without padding at their end."""
    content = packed.rstrip(b"\0")
    head = packed.rfind(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, 0)[:4])
    if head < 0 or len(content) > head + _SKIPPABLE.size or head + _SKIPPABLE.size > len(packed):
        return packed
    (length,) = struct.unpack_from("<L", packed, head + 4)
    return packed[:head] if head + _SKIPPABLE.size + length == len(packed) else packed


def _padding_before(packed: bytes) -> int:
    """Return the size of the padding that packed bytes begin with."""
    if len(packed) < _SKIPPABLE.size:
        return 0
    magic, length = _SKIPPABLE.unpack_from(packed)
    return _SKIPPABLE.size + length if magic == _SKIPPABLE_MAGIC else 0


def _limit(packed: bytes) -> int:
    """Return how many bytes packed bytes may declare to unpack to."""
    return max(_ALWAYS_ALLOWED, len(packed) * _MOST_GROWTH)
