"""Text packed with zstd, as the metadata section holds it; unpacking is bounded.

Knows no file and nothing of what the text says.
"""

from __future__ import annotations

import zstandard

from dicube.exceptions import InvalidCubeFileError

_LEVEL = 3

# A few KB of zstd can unpack to gigabytes. Metadata of real series, alike in all their slices, grow
# some hundredfold; what grows far beyond is refused unless it is small.
_MOST_GROWTH = 4096
_ALWAYS_ALLOWED = 64 << 20


def pack_text(text: str) -> bytes:
    """Return text as one zstd frame of its UTF-8, which declares its size and has a checksum.

    Published readers refuse a frame that doesn't declare its size.
    """
    packer = zstandard.ZstdCompressor(_LEVEL, write_content_size=True, write_checksum=True)
    return packer.compress(text.encode())


def unpack_text(packed: bytes) -> str:
    """Return the text in one zstd frame.

    Raises:
        InvalidCubeFileError: it is damaged, not UTF-8, or would take more memory than a text of
            its packed size has a reason to.
    """
    limit = max(_ALWAYS_ALLOWED, len(packed) * _MOST_GROWTH)
    try:
        declared = zstandard.get_frame_parameters(packed).content_size
        if declared in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            raise InvalidCubeFileError("the zstd frame does not declare its size")
        if declared > limit:
            raise InvalidCubeFileError(
                f"{len(packed)} packed bytes declare {declared} bytes, more than {limit}"
            )
        unpacked = zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
        return unpacked.decode()
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise InvalidCubeFileError(str(error)) from error
