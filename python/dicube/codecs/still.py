"""One image there and back through libdicube: what the codecs have in common.

Knows the numbers of the codecs and nothing of how they work, and no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube import _native
from dicube.codecs.efforts import Effort, effort_number
from dicube.codecs.samples import dtype_of, frame_shape_of, image_of, thread_count
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError

_NAMES = {_native.CODEC_JXL: "JPEG XL", _native.CODEC_HTJ2K: "HTJ2K"}


def encode_image(
    codec: int,
    image: NDArray[Any],
    effort: Effort | None,
    num_threads: int | None,
    least_bits: int | None = None,
) -> bytes:
    """Encode one image losslessly with the codec of this number."""
    if not isinstance(image, np.ndarray):
        raise DataConsistencyError(f"expected a numpy array, found {type(image).__name__}")
    described = image_of(image.shape, image.dtype)
    options = _native.CodecOptions(
        codec=codec,
        num_threads=thread_count(num_threads),
        effort=effort_number(effort),
        least_bits=least_bits or 0,
    )
    pixels = np.ascontiguousarray(image)
    return _native.encode(described, options, pixels.ctypes.data, pixels.nbytes)


def decode_image(codec: int, data: Any, num_threads: int | None) -> NDArray[Any]:
    """Decode one image, which must be of the codec of this number."""
    try:
        coded = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(error, ValueError) and _is_empty(data):
            raise CodecError(f"expected {_NAMES[codec]} data, found 0 bytes") from None
        raise DataConsistencyError(
            f"expected a contiguous bytes-like object, found {type(data).__name__}"
        ) from error
    try:
        return _decoded(codec, coded, thread_count(num_threads))
    except InvalidCubeFileError as error:  # of a kind or size that libdicube does not decode
        raise CodecError(error.message) from None


def _decoded(codec: int, coded: NDArray[np.uint8], num_threads: int) -> NDArray[Any]:
    """Return the image that coded bytes hold."""
    found, described = _native.probe(coded.ctypes.data, coded.nbytes)
    if found != codec:
        raise CodecError(
            f"expected {_NAMES[codec]} data, found {_NAMES.get(found, f'codec {found}')}"
        )
    image = np.empty(frame_shape_of(described), dtype_of(described))
    _native.decode(
        coded.ctypes.data,
        coded.nbytes,
        described,
        num_threads,
        image.ctypes.data,
        image.nbytes,
    )
    return image


def library_version(name: str) -> str:
    """Return "name version" of a library that libdicube was built with, or "name" if unknown."""
    for line in _native.build_info().splitlines():
        if line.lower().startswith(name.lower() + " "):
            return line
    return name


def _is_empty(data: Any) -> bool:
    """Return whether a bytes-like object holds nothing; numpy refuses to view such."""
    return memoryview(data).nbytes == 0
