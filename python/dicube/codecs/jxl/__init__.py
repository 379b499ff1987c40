"""JPEG XL (ISO/IEC 18181), the codec of `.dcba`, `.dcbl` and `.dcbr` files: smaller, slower.

Lossless by default. Knows single images, no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.codecs.records import JXL, Effort
from dicube.codecs.still import (
    decode_image,
    decode_image_and_mask,
    encode_image,
    library_version,
)
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The greatest `max_error` in libdicube; samples of 32 bits can't differ by more.
_MOST_ERROR = 2**32 - 1


def imencode_jxl(
    image: NDArray[Any],
    effort: Effort | None = None,
    num_threads: int | None = None,
    least_bits: int | None = None,
    *,
    max_error: float = 0,
    distance: float | None = None,
) -> bytes:
    """Encode one image as JPEG XL, losslessly unless `max_error` or `distance` is given.

    Args:
        image: (rows, columns), or (rows, columns, 3) for colour; integers of 8 to 64
            bits or floating-point numbers of 16 to 64, in either byte order, with any strides.
            (rows, columns, 1) is taken as (rows, columns).
        effort: 2 (fast) to 9 (small), or 'fast', 'balanced', 'best'; 1 means 2, None 'balanced',
            or with a distance 'best'.
        num_threads: threads for this image; None or 0 for one for each processor.
        least_bits: the fewest bits per sample that the codestream declares, if the dtype has so
            many; None for as few as the samples need. It doesn't change the samples.
        max_error: the most that a sample may differ from the original; each sample is checked. For
            integers of at most 32 bits.
        distance: JPEG XL's distance, above 0 and at most 25, relative to the range of the image's
            samples.

    Returns:
        The coded image, which does not depend on the number of threads.

    Raises:
        DataConsistencyError: a dtype, shape, effort, error or distance that can't be encoded.
        CodecError: the codec failed.

    Example:
        >>> from dicube.codecs.jxl import imdecode_jxl, imencode_jxl
        >>> image = np.random.default_rng(0).integers(0, 4096, (64, 64), "uint16")
        >>> bool((imdecode_jxl(imencode_jxl(image)) == image).all())
        True
        >>> lossy = imdecode_jxl(imencode_jxl(image, max_error=2))
        >>> int(abs(lossy.astype(int) - image).max()) <= 2
        True
    """
    lossy: dict[str, Any] = {"max_error": error_bound("max_error", max_error)}
    if distance is not None:
        lossy["distance"] = checked_distance(distance)
    return encode_image(JXL, image, effort, num_threads, least_bits, **lossy)


def imencode_jxl_roi(
    image: NDArray[Any],
    mask: NDArray[Any],
    foreground: float = 0,
    background: float = 0,
    effort: Effort | None = None,
    num_threads: int | None = None,
) -> bytes:
    """Encode one image as JPEG XL with two layers: inside and outside of a mask.

    Any JPEG XL decoder shows both layers together, and `imdecode_jxl` returns them so.

    Args:
        image: see `imencode_jxl`; integers of at most 32 bits with a range of at most 65536 values.
        mask: (rows, columns), boolean or integers, where 0 is outside.
        foreground, background: the most that samples inside and outside may differ from the
            original; 0 is lossless, and `math.inf` makes them all equal.
        effort, num_threads: see `imencode_jxl`.

    Raises:
        DataConsistencyError: a dtype, shape or error that can't be encoded, or a mask of another
            shape.
        CodecError: the codec failed.

    Example:
        >>> from dicube.codecs.jxl import imdecode_jxl_roi, imencode_jxl_roi
        >>> image = np.random.default_rng(0).integers(0, 4096, (64, 64), "uint16")
        >>> inside = np.zeros((64, 64), bool)
        >>> inside[16:48, 16:48] = True
        >>> coded = imencode_jxl_roi(image, inside, background=20)
        >>> decoded, mask = imdecode_jxl_roi(coded)
        >>> bool((decoded[inside] == image[inside]).all()), bool((mask == inside).all())
        (True, True)
    """
    pixels = np.asanyarray(image)
    inside = mask_bytes(mask, pixels.shape[:2])
    return encode_image(
        JXL,
        image,
        effort,
        num_threads,
        mask=inside,
        max_error=error_bound("foreground", foreground),
        background_error=error_bound("background", background),
    )


def imdecode_jxl_roi(
    data: Any, num_threads: int | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Decode one image that `imencode_jxl_roi` encoded, and its mask.

    Args:
        data, num_threads: see `imdecode_jxl`.

    Returns:
        The image, and the mask: (rows, columns), True inside.

    Raises:
        CodecError: it isn't JPEG XL, has no mask, or is damaged or larger than 4 GiB.
        DataConsistencyError: `data` isn't a contiguous bytes-like object.
    """
    return decode_image_and_mask(JXL, data, num_threads)


def error_bound(name: str, bound: float) -> int:
    """Return a greatest error of integer samples as libdicube expects it, rounded down.

    Raises:
        DataConsistencyError: it is negative, or not a number.
    """
    if isinstance(bound, bool) or not isinstance(bound, (int, float, np.number)) or not bound >= 0:
        raise DataConsistencyError(f"expected {name} of 0 or more, found {bound!r}")
    return int(min(bound, _MOST_ERROR))


def checked_distance(distance: float) -> float:
    """Return a lossy distance of JPEG XL.

    Raises:
        DataConsistencyError: it is out of range, or not a number.
    """
    if (
        isinstance(distance, bool)
        or not isinstance(distance, (int, float, np.number))
        or not 0 < distance <= 25
    ):
        raise DataConsistencyError(
            f"expected a distance above 0 and at most 25, found {distance!r}"
        )
    return float(distance)


def mask_bytes(mask: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a mask as libdicube expects it: a byte of 0 or 1 for each pixel.

    Raises:
        DataConsistencyError: it has another shape, or is neither boolean nor integer.
    """
    array = np.asarray(mask)
    if array.shape != shape or array.dtype.kind not in "biu":
        raise DataConsistencyError(
            f"expected a mask of shape {shape}, boolean or integer, "
            f"found {array.shape} and {array.dtype.name}"
        )
    return np.ascontiguousarray(array != 0).view(np.uint8)


def imdecode_jxl(data: Any, num_threads: int | None = None) -> NDArray[Any]:
    """Decode one image that `imencode_jxl` encoded.

    Args:
        data: the coded image, in any contiguous bytes-like object.
        num_threads: threads for this image; None or 0 for one for each processor.

    Returns:
        The image, (rows, columns) or (rows, columns, 3), of the dtype that was encoded.

    Raises:
        CodecError: it isn't JPEG XL, is damaged or larger than 4 GiB, or is of a kind that
            libdicube doesn't support.
        DataConsistencyError: `data` isn't a contiguous bytes-like object.

    Example:
        >>> from dicube.codecs.jxl import imdecode_jxl, imencode_jxl
        >>> imdecode_jxl(imencode_jxl(np.zeros((3, 4, 3), "uint8"))).shape
        (3, 4, 3)
    """
    return decode_image(JXL, data, num_threads)


def recompress_jpeg(jpeg: bytes, effort: Effort | None = None) -> bytes:
    """Recompress a JPEG image of 8 bits, losslessly: its bytes can be restored.

    Args:
        jpeg: the JPEG (ISO/IEC 10918-1).
        effort: 2 (fast) to 9 (small); 1 means 2, None the default.

    Returns:
        The coded image, about a fifth smaller. `imdecode_jxl` decodes its pixels, `restore_jpeg`
        restores the JPEG.

    Raises:
        DataConsistencyError: the effort is out of range.
        CodecError: it isn't a JPEG image of 8 bits, or is damaged.
    """
    return _native.jpeg_encode(jpeg, JXL.effort_number(effort))


def restore_jpeg(data: bytes) -> bytes:
    """Return the bytes of the JPEG image that `recompress_jpeg` recompressed.

    Raises:
        CodecError: it was not made from a JPEG image, or is damaged.
    """
    return _native.jpeg_restore(data)


class JxlCodec:
    """JPEG XL, an entry of the codec registry.

    Example:
        >>> from dicube.codecs import JxlCodec
        >>> image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        >>> coded = JxlCodec().encode(image, effort=5)
        >>> bool((JxlCodec().decode(coded) == image).all())
        True
    """

    id = JXL.id
    name = JXL.name
    extensions = JXL.extensions

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
        """Return True: libdicube always contains this codec."""
        return True

    def get_version(self) -> str:
        """Return name and version of the codec's library."""
        return library_version(JXL)

    def __repr__(self) -> str:
        return f"<JxlCodec id={self.id} name={self.name!r} version={self.get_version()!r}>"
