"""Encode and decode single images by libdicube, with the codec of a record.

Knows no file, and not how the codecs work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicube import _native
from dicube.codecs.records import CodecRecord, Effort, record_of
from dicube.codecs.samples import dtype_of, frame_shape_of, image_of, new_array
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError
from dicube.threads import thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_image(
    codec: CodecRecord,
    image: NDArray[Any],
    effort: Effort | None,
    num_threads: int | None,
    least_bits: int | None = None,
    *,
    mask: NDArray[np.uint8] | None = None,
    **lossy: int | float,
) -> bytes:
    """Encode one image, losslessly unless options permit losses.

    Args:
        codec: the codec.
        image: (rows, columns[, 3]), of a dtype that can be encoded.
        effort, num_threads, least_bits: see `imencode_jxl`.
        mask: bytes of 0 and 1 for each pixel; encodes a region of interest.
        lossy: fields of `dicube_codec_options`.

    Raises:
        DataConsistencyError: the codec can't encode such an image, or has no such options.
        CodecError: the codec failed.
    """
    if not isinstance(image, np.ndarray):
        raise DataConsistencyError(f"expected a numpy array, found {type(image).__name__}")
    described = image_of(image.shape, image.dtype)
    options = _native.CodecOptions(
        codec=codec.id,
        num_threads=thread_count(num_threads),
        effort=codec.effort_number(effort),
        least_bits=least_bits or 0,
        kind=0 if mask is None else _native.KIND_ROI,
        **lossy,
    )
    pixels = np.ascontiguousarray(image)
    address, size = pixels.ctypes.data, pixels.nbytes
    if mask is None:
        return _native.encode(described, options, address, size)
    return _native.encode_roi(described, options, address, size, mask.ctypes.data, mask.nbytes)


def decode_image(codec: CodecRecord, data: Any, num_threads: int | None) -> NDArray[Any]:
    """Decode one image that this codec coded; zeros may follow it.

    Raises:
        CodecError: it is damaged, or another codec coded it.
    """
    return _decode(codec, data, num_threads, has_mask=False)[0]


def decode_image_and_mask(
    codec: CodecRecord, data: Any, num_threads: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Decode one image that was encoded with a mask, and the mask: (rows, columns)."""
    image, mask = _decode(codec, data, num_threads, has_mask=True)
    return image, mask.view(np.bool_)


def decode_image_as(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Decode one image whose shape and dtype the caller knows, in this thread.

    Either codec may have coded it. In HTJ2K, wide and floating-point samples are coded as integers,
    which `decode_image` returns.

    Args:
        data: the coded image; zeros may follow it.
        shape: (rows, columns), or (rows, columns, 3).
        dtype: of the samples that were encoded.

    Returns:
        The image, in native byte order.

    Raises:
        CodecError: it is damaged, or an image of another shape or dtype.
        DataConsistencyError: there are no images of such a shape or dtype.
    """
    described, coded = image_of(shape, dtype.newbyteorder("=")), _bytes_of(data)
    address, size = coded.ctypes.data, coded.nbytes
    try:
        if dtype.itemsize < 8:  # libdicube doesn't describe wider samples in HTJ2K
            # Decoding would fill the whole array with zeros when it fails.
            found, _ = _native.probe(address, size)
            if (found.rows, found.columns) != shape[:2]:
                raise CodecError(
                    f"expected an image of {shape[0]} x {shape[1]} pixels, "
                    f"found {found.rows} x {found.columns}"
                )
        image = new_array(shape, dtype.newbyteorder("="), _MOST)
        _native.decode(address, size, described, 1, image.ctypes.data, image.nbytes)
    except InvalidCubeFileError as error:  # libdicube doesn't support its kind or size
        raise CodecError(error.message) from None
    return image


# The most bytes of an image, which libdicube limits too: a few coded bytes can declare any size.
_MOST = 1 << 32


def _decode(
    codec: CodecRecord, data: Any, num_threads: int | None, has_mask: bool
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Check the arguments and decode."""
    coded = _bytes_of(data, f"{codec.label} data")
    try:
        return _decoded(codec, coded, thread_count(num_threads), has_mask)
    except InvalidCubeFileError as error:  # libdicube doesn't support its kind or size
        raise CodecError(error.message) from None


def _bytes_of(data: Any, what: str = "a coded image") -> NDArray[np.uint8]:
    """Return the bytes of any bytes-like object."""
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(error, ValueError) and not memoryview(data).nbytes:  # refused by numpy
            raise CodecError(f"expected {what}, found 0 bytes") from None
        raise DataConsistencyError(
            f"expected a contiguous bytes-like object, found {type(data).__name__}"
        ) from error


def _decoded(
    codec: CodecRecord, coded: NDArray[np.uint8], num_threads: int, has_mask: bool
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return the decoded image and its mask, which is empty unless `has_mask`."""
    described, info = _native.probe(coded.ctypes.data, coded.nbytes)
    found = record_of(info.codec)
    if found != codec:
        raise CodecError(f"expected {codec.label} data, found {found.label}")
    image = new_array(frame_shape_of(described), dtype_of(described), _MOST)
    mask = new_array(image.shape[:2] if has_mask else (0,), np.uint8)
    given = (coded.ctypes.data, coded.nbytes, described, num_threads)
    if has_mask:
        _native.decode_roi(*given, image.ctypes.data, image.nbytes, mask.ctypes.data, mask.nbytes)
    else:
        _native.decode(*given, image.ctypes.data, image.nbytes)
    return image, mask


def library_version(codec: CodecRecord) -> str:
    """Return "name version" of a codec's library; "name" if the version is unknown."""
    name = codec.library
    for line in _native.build_info().splitlines():
        if line.lower().startswith(name.lower() + " "):
            return line
    return name
