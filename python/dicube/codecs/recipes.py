"""Recipes: bytes from which, with its samples, a frame is coded again to the byte.

For frames that other programs coded losslessly, in codecs that dicube doesn't store. FORMAT.md
describes the kinds. Knows single frames, no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicube import _native
from dicube.codecs.samples import image_of
from dicube.exceptions import CodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RLE, JPEG_LS, JPEG_LOSSLESS = "rle", "jpeg-ls", "jpeg-lossless"
_KINDS = {
    RLE: _native.RECIPE_RLE,
    JPEG_LS: _native.RECIPE_JPEG_LS,
    JPEG_LOSSLESS: _native.RECIPE_JPEG_LOSSLESS,
}
KINDS = frozenset(_KINDS)


class FoundRecipe(NamedTuple):
    """A recipe that gives a coded frame.

    Attributes:
        data: the recipe.
        coded_size: the number of bytes that it gives: the coded frame without bytes behind it.
    """

    data: bytes
    coded_size: int


def find_recipe(kind: str, frame: NDArray[Any], coded: bytes) -> FoundRecipe | None:
    """Return the recipe by which a frame is coded to given bytes; None if there is none.

    The frame is coded by the recipe and compared with the bytes.

    Args:
        kind: one of `KINDS`.
        frame: the samples that the bytes decode to: (rows, columns), or (rows, columns, 3).
        coded: the coded frame.
    """
    pixels = _native_order(frame)
    described = image_of(pixels.shape, pixels.dtype)
    address, size = pixels.ctypes.data, pixels.nbytes
    try:
        return FoundRecipe(*_native.recipe_find(_KINDS[kind], described, address, size, coded))
    except CodecError:
        return None


def code_by_recipe(kind: str, frame: NDArray[Any], data: bytes, most: int | None = None) -> bytes:
    """Return the bytes that a recipe codes a frame to.

    Args:
        kind: one of `KINDS`.
        frame: the samples.
        data: the recipe, from any source.
        most: the most bytes that it may give; None for the most of any recipe.

    Raises:
        CodecError: the recipe is malformed, or not of such a frame, or gives more than `most`.
    """
    pixels = _native_order(frame)
    described = image_of(pixels.shape, pixels.dtype)
    address, size = pixels.ctypes.data, pixels.nbytes
    return _native.recipe_code(_KINDS[kind], described, address, size, bytes(data), most)


def _native_order(frame: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(frame, frame.dtype.newbyteorder("="))
