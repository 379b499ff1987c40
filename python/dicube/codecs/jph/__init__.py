"""HTJ2K (ISO/IEC 15444-15), the codec of `.dcbs` files: fast.

Lossless. Knows single images, no file.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dicube import _native
from dicube.codecs.still import decode_image, encode_image, library_version


def imencode_jph(
    image: NDArray[Any], num_threads: int | None = None, least_bits: int | None = None
) -> bytes:
    """Encode one image losslessly as HTJ2K.

    Args:
        image: (rows, columns), or (rows, columns, 3) for colour; integers of 8 to 64
            bits or floating-point numbers of 16 to 64, in either byte order, with any strides.
            (rows, columns, 1) is taken as (rows, columns).
        num_threads: taken for likeness with JPEG XL; this codec works on one thread an image.
        least_bits: that the codestream declares a sample, as far as the dtype has them; None for
            as few as hold the samples. The samples are the same.

    Returns:
        The coded image, a raw codestream.

    Raises:
        DataConsistencyError: a dtype or shape that can't be encoded.
        CodecError: the codec failed.
    """
    return encode_image(_native.CODEC_HTJ2K, image, None, num_threads, least_bits)


def imdecode_jph(data: Any, num_threads: int | None = None) -> NDArray[Any]:
    """Decode one image from a raw HTJ2K codestream.

    Args:
        data: the codestream, in any contiguous bytes-like object.
        num_threads: taken for likeness with JPEG XL; this codec works on one thread an image.

    Returns:
        The image, (rows, columns) or (rows, columns, 3). Its dtype is the smallest that holds the
        codestream's bit depth, signed as the codestream says.

    Raises:
        CodecError: it is not HTJ2K, it is damaged, or it is of a kind that libdicube does not
            store.
    """
    return decode_image(_native.CODEC_HTJ2K, data, num_threads)


class JphCodec:
    """HTJ2K as an entry of the codec registry."""

    id = _native.CODEC_HTJ2K
    name = "jph"
    extensions = (".j2k", ".j2c", ".jp2")

    def encode(self, image: NDArray[Any], /, *, num_threads: int | None = None) -> bytes:
        """Encode one image losslessly; see `imencode_jph`."""
        return imencode_jph(image, num_threads)

    def encode_lossless(self, image: NDArray[Any], /, **options: Any) -> bytes:
        """Encode one image losslessly; see `imencode_jph`."""
        return self.encode(image, **options)

    def decode(self, data: Any, /, *, num_threads: int | None = None) -> NDArray[Any]:
        """Decode one image; see `imdecode_jph`."""
        return imdecode_jph(data, num_threads)

    def is_available(self) -> bool:
        """Return True: libdicube always holds this codec."""
        return True

    def get_version(self) -> str:
        """Return name and version of the library behind it."""
        return library_version("OpenJPH")

    def __repr__(self) -> str:
        return f"<JphCodec id={self.id} name={self.name!r} version={self.get_version()!r}>"
