"""JPEG Lossless (ISO/IEC 10918-1 Annex H), which DICOM files contain but dicube files don't.

Knows single images, no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube import _native
from dicube.codecs.samples import dtype_of, frame_shape_of, new_array


def decode_lossless_jpeg(jpeg: bytes) -> tuple[NDArray[Any], int]:
    """Decode a JPEG Lossless image of 2 to 16 bits per sample.

    Returns:
        The components as they are coded, without a conversion of colours: (rows, columns[,
        samples]) of uint8 if a sample has at most 8 bits, else of uint16; and the bits per sample.

    Raises:
        CodecError: it is another kind of image, or damaged.
    """
    coded = np.frombuffer(jpeg, np.uint8)
    image, bits = _native.lossless_jpeg_probe(coded.ctypes.data, coded.nbytes)
    samples = new_array(frame_shape_of(image), dtype_of(image))
    _native.lossless_jpeg_decode(
        coded.ctypes.data, coded.nbytes, image, samples.ctypes.data, samples.nbytes
    )
    return samples, bits
