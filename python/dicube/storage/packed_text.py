"""Text and bytes packed with zstd, as sections hold them; unpacking is bounded.

Knows no file and nothing of what is packed.
"""

from __future__ import annotations

import struct
from typing import Any

import zstandard

from dicube.exceptions import InvalidCubeFileError, OutOfMemoryError

_LEVEL = 3

# What is alike is found as far apart as this, 2 to the power of it in bytes.
_WINDOW_LOG = 27

# What is alike near by, as the headers of slices are, takes a quarter of the time at this level and
# without long-distance matching, and gets no larger. Only what has not shrunk so many times by that
# may be alike far apart.
_FAST_LEVEL = 2
_ALIKE = 16

# A few KB of zstd can unpack to gigabytes. Metadata of real series, alike in all their slices, grow
# some hundredfold; what grows far beyond is refused unless it is small.
_MOST_GROWTH = 4096
_ALWAYS_ALLOWED = 64 << 20
# Text is parsed, which takes many times the time and memory of unpacking.
_MOST_TEXT_GROWTH = 1024
_TEXT_ALWAYS_ALLOWED = 16 << 20

# A frame that holds nothing (RFC 8878, section 3.1.2).
_SKIPPABLE = struct.Struct("<LL")  # magic number, length of what follows
_SKIPPABLE_MAGIC = 0x184D2A50


def pack_text(text: str) -> bytes:
    """Return text as one zstd frame of its UTF-8, which declares its size and has a checksum.

    Published readers refuse a frame that doesn't declare its size, and ignore what follows it: text
    so much alike that `unpack_text` would take it for a trap is followed by padding.
    """
    packer = zstandard.ZstdCompressor(_LEVEL, write_content_size=True, write_checksum=True)
    data = text.encode()
    packed = packer.compress(data)
    if len(data) <= max(_TEXT_ALWAYS_ALLOWED, len(packed) * _MOST_TEXT_GROWTH):
        return packed
    return packed + _padding(-(-len(data) // _MOST_TEXT_GROWTH) - len(packed))


def pack_bytes(data: bytes) -> bytes:
    """Return bytes as one zstd frame that declares its size; what is alike may be far apart.

    Bytes so much alike that `unpack_bytes` would take them for a trap follow padding.
    """
    packed = _packer(_FAST_LEVEL).compress(data)
    if len(packed) * _ALIKE > len(data):
        packed = min(packed, _packer(_LEVEL, enable_ldm=True).compress(data), key=len)
    if len(data) <= _limit(packed):
        return packed
    return _padding(-(-len(data) // _MOST_GROWTH) - len(packed)) + packed


def unpack_text(packed: bytes, most: int | None = None) -> str:
    """Return the text in one zstd frame.

    Args:
        packed: the frame.
        most: bytes that it may take; None for as many as its packed size has a reason to.

    Raises:
        InvalidCubeFileError: it is damaged, not UTF-8, or would take more memory than a text of
            its packed size has a reason to; OutOfMemoryError, which is one too: than `most`.
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
        most: bytes that they may take; None for as many as their packed size has a reason to.

    Raises:
        InvalidCubeFileError: it is damaged, or would take more memory than bytes of its packed
            size have a reason to; OutOfMemoryError, which is one too: than `most`.
    """
    return _unpacked(memoryview(packed)[_padding_before(packed) :], _limit(packed), most)


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
            raise OutOfMemoryError(f"it takes {declared} bytes, max_memory is {most}")
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
    """Return a frame that holds nothing, of so many bytes or as few as it can have."""
    content = bytes(max(size - _SKIPPABLE.size, 0))
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content)) + content


def _without_padding(packed: bytes) -> bytes:
    """Return packed bytes without the padding that ends them: zeros behind its head."""
    content = packed.rstrip(b"\0")
    head = packed.rfind(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, 0)[:4])
    if head < 0 or len(content) > head + _SKIPPABLE.size or head + _SKIPPABLE.size > len(packed):
        return packed
    (length,) = struct.unpack_from("<L", packed, head + 4)
    return packed[:head] if head + _SKIPPABLE.size + length == len(packed) else packed


def _padding_before(packed: bytes) -> int:
    """Return the size of the skippable frame that packed bytes begin with."""
    if len(packed) < _SKIPPABLE.size:
        return 0
    magic, length = _SKIPPABLE.unpack_from(packed)
    return _SKIPPABLE.size + length if magic == _SKIPPABLE_MAGIC else 0


def _limit(packed: bytes) -> int:
    """Return how many bytes packed ones may declare to be."""
    return max(_ALWAYS_ALLOWED, len(packed) * _MOST_GROWTH)
