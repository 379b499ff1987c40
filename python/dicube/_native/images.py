"""Encode and decode single images at addresses in memory. Knows no file."""

from __future__ import annotations

import ctypes

from dicube._native.header import CodecOptions, CodestreamInfo, Image
from dicube._native.library import functions


def encode(image: Image, options: CodecOptions, pixels: int, pixels_size: int) -> bytes:
    """Encode the image whose samples are at the address `pixels`."""
    return _encode("dicube_encode", image, options, pixels, pixels_size)


def encode_roi(
    image: Image, options: CodecOptions, pixels: int, pixels_size: int, mask: int, mask_size: int
) -> bytes:
    """Encode the image whose samples are at the address `pixels`, and its mask."""
    return _encode("dicube_encode_roi", image, options, pixels, pixels_size, mask, mask_size)


def _encode(name: str, image: Image, options: CodecOptions, *arguments: int) -> bytes:
    """Call a function that encodes, and return the coded bytes."""
    bound = ctypes.c_size_t()
    functions["dicube_encode_bound"](image, options, bound)
    coded = ctypes.create_string_buffer(bound.value)
    size = ctypes.c_size_t()
    functions[name](image, options, *arguments, coded, bound, size)
    return memoryview(coded)[: size.value].tobytes()


def probe(coded: int, coded_size: int) -> tuple[Image, CodestreamInfo]:
    """Return the image that the bytes at the address `coded` declare, and how it is coded."""
    image, info = Image(), CodestreamInfo()
    functions["dicube_probe"](coded, coded_size, image, info)
    return image, info


def decode(
    coded: int, coded_size: int, image: Image, num_threads: int, pixels: int, pixels_size: int
) -> None:
    """Decode the coded image at the address `coded` to the address `pixels`."""
    functions["dicube_decode"](coded, coded_size, image, num_threads, pixels, pixels_size)


def decode_roi(
    coded: int,
    coded_size: int,
    image: Image,
    num_threads: int,
    pixels: int,
    pixels_size: int,
    mask: int,
    mask_size: int,
) -> None:
    """Decode the coded image at the address `coded`, and its mask."""
    functions["dicube_decode_roi"](
        coded, coded_size, image, num_threads, pixels, pixels_size, mask, mask_size
    )


# The most bytes that recompression may add to a JPEG.
_JPEG_EXCESS = 65536


def jpeg_encode(jpeg: bytes, effort: int) -> bytes:
    """Recompress a JPEG image by JPEG XL."""
    capacity = len(jpeg) + _JPEG_EXCESS
    coded = ctypes.create_string_buffer(capacity)
    size = ctypes.c_size_t()
    functions["dicube_jpeg_encode"](jpeg, len(jpeg), effort, coded, capacity, size)
    return memoryview(coded)[: size.value].tobytes()


def jpeg_restore(coded: bytes) -> bytes:
    """Restore the JPEG image that `jpeg_encode` recompressed."""
    size = ctypes.c_size_t()
    functions["dicube_jpeg_restore"](coded, len(coded), None, 0, size)
    jpeg = ctypes.create_string_buffer(size.value)
    functions["dicube_jpeg_restore"](coded, len(coded), jpeg, size.value, size)
    return jpeg.raw


def lossless_jpeg_probe(jpeg: int, jpeg_size: int) -> tuple[Image, int]:
    """Return the image that the JPEG Lossless image at an address declares, and its bits."""
    image, bits = Image(), ctypes.c_uint32()
    functions["dicube_lossless_jpeg_probe"](jpeg, jpeg_size, image, bits)
    return image, bits.value


def lossless_jpeg_decode(
    jpeg: int, jpeg_size: int, image: Image, pixels: int, pixels_size: int
) -> None:
    """Decode the JPEG Lossless image at the address `jpeg` to the address `pixels`."""
    functions["dicube_lossless_jpeg_decode"](jpeg, jpeg_size, image, pixels, pixels_size)


# The most bytes that a recipe has besides those of its coded frame.
_RECIPE_EXCESS = 1024


def recipe_find(
    kind: int, image: Image, pixels: int, pixels_size: int, coded: bytes
) -> tuple[bytes, int]:
    """Return the recipe of a coded frame, and the number of its bytes that the recipe gives."""
    capacity = len(coded) + _RECIPE_EXCESS
    recipe = ctypes.create_string_buffer(capacity)
    size, given = ctypes.c_size_t(), ctypes.c_size_t()
    functions["dicube_recipe_find"](
        kind, image, pixels, pixels_size, coded, len(coded), recipe, capacity, size, given
    )
    return memoryview(recipe)[: size.value].tobytes(), given.value


def recipe_code(
    kind: int, image: Image, pixels: int, pixels_size: int, recipe: bytes, most: int | None = None
) -> bytes:
    """Code by a recipe the image whose samples are at the address `pixels`; fail beyond `most`."""
    bound, size = ctypes.c_size_t(), ctypes.c_size_t()
    functions["dicube_recipe_bound"](image, len(recipe), bound)
    capacity = bound.value if most is None else min(most, bound.value)
    coded = ctypes.create_string_buffer(capacity)
    functions["dicube_recipe_code"](
        kind, image, pixels, pixels_size, recipe, len(recipe), coded, capacity, size
    )
    return memoryview(coded)[: size.value].tobytes()
