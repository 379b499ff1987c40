"""JPEG XL (ISO/IEC 18181), the codec of `.dcba` files: small, slower.

Lossless. Knows single images, no file.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dicube import _native
from dicube.codecs.efforts import Effort, effort_number
from dicube.codecs.still import decode_image, encode_image, library_version


def imencode_jxl(
    image: NDArray[Any],
    effort: Effort | None = None,
    num_threads: int | None = None,
    least_bits: int | None = None,
) -> bytes:
    """Encode one image losslessly as JPEG XL.

    Args:
        image: (rows, columns), or (rows, columns, 3) for colour; integers of 8 to 64
            bits or floating-point numbers of 16 to 64, in either byte order, with any strides.
            (rows, columns, 1) is taken as (rows, columns).
        effort: 1 (fast) to 9 (small), or 'fast', 'balanced', 'best'; None for the default,
            'balanced'.
        num_threads: threads for this one image; None or 0 for one for each processor.
        least_bits: that the codestream declares a sample, as far as the dtype has them; None for
            as few as hold the samples. The samples are the same.

    Returns:
        The coded image. It does not depend on the number of threads.

    Raises:
        DataConsistencyError: a dtype, shape or effort that can't be encoded.
        CodecError: the codec failed.
    """
    return encode_image(_native.CODEC_JXL, image, effort, num_threads, least_bits)


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


def recompress_jpeg(jpeg: bytes, effort: Effort | None = None) -> bytes:
    """Recompress a JPEG image of 8 bits, so that its very bytes can be had back.

    Args:
        jpeg: the JPEG (ISO/IEC 10918-1).
        effort: 1 (fast) to 9 (small); None for the default.

    Returns:
        The coded image, about a fifth smaller. `imdecode_jxl` gives its pixels, `restore_jpeg` the
        JPEG.

    Raises:
        DataConsistencyError: the effort is out of range.
        CodecError: it is no JPEG image of 8 bits, or a damaged one.
    """
    return _native.jpeg_encode(jpeg, effort_number(effort))


def restore_jpeg(data: bytes) -> bytes:
    """Return the bytes of the JPEG image that `recompress_jpeg` coded.

    Raises:
        CodecError: it was not made of a JPEG image, or is damaged.
    """
    return _native.jpeg_restore(data)


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
        effort: Effort | None = None,
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
