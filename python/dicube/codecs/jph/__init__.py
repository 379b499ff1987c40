"""HTJ2K (ISO/IEC 15444-15), the codec of `.dcbs` files: fast.

Lossless. Knows single images, no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicube.codecs.records import JPH
from dicube.codecs.still import decode_image, encode_image, library_version
from dicube.exceptions import CodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def imencode_jph(
    image: NDArray[Any], num_threads: int | None = None, least_bits: int | None = None
) -> bytes:
    """Encode one image losslessly as HTJ2K.

    A codestream doesn't record the type of floating-point and 64-bit samples, which are coded as
    integers. dicube files and `dicube.integrations.zarr.HTJ2KCodec` record it; `imdecode_jph`
    can't restore it.

    Args:
        image: (rows, columns), or (rows, columns, 3) for colour; integers of 8 to 64
            bits or floating-point numbers of 16 to 64, in either byte order, with any strides.
            (rows, columns, 1) is taken as (rows, columns).
        num_threads: no effect, as this codec uses one thread per image; JPEG XL has it too.
        least_bits: the fewest bits per sample that the codestream declares, if the dtype has so
            many; None for as few as the samples need. It doesn't change the samples.

    Returns:
        The coded image, a raw codestream.

    Raises:
        DataConsistencyError: a dtype or shape that can't be encoded.
        CodecError: the codec failed.

    Example:
        >>> from dicube.codecs.jph import imdecode_jph, imencode_jph
        >>> image = np.arange(12, dtype="int16").reshape(3, 4)
        >>> coded = imencode_jph(image)
        >>> bool((imdecode_jph(coded) == image).all())
        True
    """
    return encode_image(JPH, image, None, num_threads, least_bits)


def imdecode_jph(data: Any, num_threads: int | None = None) -> NDArray[Any]:
    """Decode one image from a raw HTJ2K codestream.

    Args:
        data: the codestream, in any contiguous bytes-like object.
        num_threads: no effect; see `imencode_jph`.

    Returns:
        The image, (rows, columns) or (rows, columns, 3), of integers of 8 to 32 bits. Its dtype is
        the smallest that holds the codestream's bit depth, signed if the codestream is. Of float16
        and float32, the result is the integers that represent them.

    Raises:
        CodecError: it isn't HTJ2K, is damaged or larger than 4 GiB, was made of 64-bit samples, or
            is of a kind that libdicube doesn't support.
        DataConsistencyError: `data` isn't a contiguous bytes-like object.

    Example:
        >>> from dicube.codecs.jph import imdecode_jph, imencode_jph
        >>> imdecode_jph(imencode_jph(np.zeros((3, 4), "int16"))).shape
        (3, 4)
    """
    return decode_image(JPH, data, num_threads)


# The layout of all codestreams, by the names of the published package's options.
_LAYOUT = {
    "reversible": True,
    "num_decompositions": 5,
    "block_size": (64, 64),
    "precinct_size": None,
    "progression_order": "RPCL",
    "color_transform": False,
    "profile": None,
}


class JphCodec:
    """HTJ2K, an entry of the codec registry.

    Example:
        >>> from dicube.codecs import JphCodec
        >>> image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        >>> coded = JphCodec().encode(image)
        >>> len(coded) < image.nbytes, bool((JphCodec().decode(coded) == image).all())
        (True, True)
    """

    id = JPH.id
    name = JPH.name
    extensions = JPH.extensions

    def encode(
        self,
        image: NDArray[Any],
        /,
        reversible: bool = True,
        num_decompositions: int = 5,
        block_size: tuple[int, int] = (64, 64),
        precinct_size: tuple[int, int] | None = None,
        progression_order: str = "RPCL",
        color_transform: bool = False,
        profile: str | None = None,
        *,
        num_threads: int | None = None,
        **kwargs: Any,
    ) -> bytes:
        """Encode one image losslessly; see `imencode_jph`.

        Args:
            image: the image.
            reversible, num_decompositions, block_size, precinct_size, progression_order,
                color_transform, profile: options of the published package; only the defaults are
                supported. Large images have more decompositions.
            num_threads: see `imencode_jph`.
            kwargs: options of other codecs, which are ignored.

        Raises:
            CodecError: an option isn't the default; or as `imencode_jph`.
        """
        asked = {
            "reversible": reversible,
            "num_decompositions": num_decompositions,
            "block_size": tuple(block_size),
            "precinct_size": precinct_size,
            "progression_order": progression_order,
            "color_transform": color_transform,
            "profile": profile,
        }
        for name, value in asked.items():
            if value != _LAYOUT[name]:
                raise CodecError(
                    f"HTJ2K is written with {name}={_LAYOUT[name]!r} only, found {value!r}"
                )
        return imencode_jph(image, num_threads)

    def encode_lossless(self, image: NDArray[Any], /, **kwargs: Any) -> bytes:
        """Encode one image losslessly; see `encode`."""
        return self.encode(image, **kwargs)

    def decode(
        self,
        data: Any,
        /,
        level: int = 0,
        resilient: bool = False,
        *,
        num_threads: int | None = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """Decode one image; see `imdecode_jph`.

        Args:
            data: the codestream.
            level: 0, the full resolution; `DcbReader` decodes other levels.
            resilient: no effect: damaged data is always an error.
            num_threads: see `imdecode_jph`.
            kwargs: options of other codecs, which are ignored.

        Raises:
            CodecError: another level; or as `imdecode_jph`.
        """
        if level:
            raise CodecError(f"expected level 0, the full resolution, found {level}")
        return imdecode_jph(data, num_threads)

    def is_available(self) -> bool:
        """Return True: libdicube always contains this codec."""
        return True

    def get_version(self) -> str:
        """Return name and version of the codec's library."""
        return library_version(JPH)

    def __repr__(self) -> str:
        return f"<JphCodec id={self.id} name={self.name!r} version={self.get_version()!r}>"
