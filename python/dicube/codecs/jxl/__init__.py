"""JPEG XL (ISO/IEC 18181), the codec of `.dcba` files: small, slower.

Lossless. Knows single images, no file.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dicube import _native
from dicube.codecs.still import decode_image, encode_image, library_version


def imencode_jxl(
    image: NDArray[Any], effort: int | None = None, num_threads: int | None = None
) -> bytes:
    """Encode one image losslessly as JPEG XL.

    Args:
        image: (rows, columns), or (rows, columns, 3) for colour; uint8, int8, uint16, int16,
            uint32 or int32 in either byte order, with any strides. (rows, columns, 1) is taken
            as (rows, columns).
        effort: 1 (fast) to 9 (small); None for the default, 3.
        num_threads: threads for this one image; None or 0 for one for each processor.

    Returns:
        The coded image. It does not depend on the number of threads.

    Raises:
        DataConsistencyError: a dtype, shape or effort that can't be encoded.
        CodecError: the codec failed.
    """
    return encode_image(_native.CODEC_JXL, image, effort, num_threads)


def imdecode_jxl(data: Any, num_threads: int | None = None) -> NDArray[Any]:
    """Decode one image that `imencode_jxl` encoded.

    Args:
        data: the coded image, in any contiguous bytes-like object.
        num_threads: threads for this one image; None or 0 for one for each processor.

    Returns:
        The image, (rows, columns) or (rows, columns, 3), of the dtype that was encoded.

    Raises:
        CodecError: it is not JPEG XL, it is damaged, or it is of a kind that libdicube does not
            store.
    """
    return decode_image(_native.CODEC_JXL, data, num_threads)


class JxlCodec:
    """JPEG XL as an entry of the codec registry."""

    id = _native.CODEC_JXL
    name = "jxl"
    extensions = (".jxl",)

    def encode(
        self,
        image: NDArray[Any],
        /,
        *,
        effort: int | None = None,
        num_threads: int | None = None,
    ) -> bytes:
        """Encode one image losslessly; see `imencode_jxl`."""
        return imencode_jxl(image, effort, num_threads)

    def encode_lossless(self, image: NDArray[Any], /, **options: Any) -> bytes:
        """Encode one image losslessly; see `imencode_jxl`."""
        return self.encode(image, **options)

    def decode(self, data: Any, /, *, num_threads: int | None = None) -> NDArray[Any]:
        """Decode one image; see `imdecode_jxl`."""
        return imdecode_jxl(data, num_threads)

    def is_available(self) -> bool:
        """Return True: libdicube always holds this codec."""
        return True

    def get_version(self) -> str:
        """Return name and version of the library behind it."""
        return library_version("libjxl")

    def __repr__(self) -> str:
        return f"<JxlCodec id={self.id} name={self.name!r} version={self.get_version()!r}>"
