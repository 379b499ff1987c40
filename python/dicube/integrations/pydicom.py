"""Adds decoders and encoders to pydicom 3. Importing this module registers them.

    import dicube.integrations.pydicom

    dataset.pixel_array  # HTJ2K (.201, .202, .203) and JPEG XL (.110, .111, .112)
    dataset.compress("1.2.840.10008.1.2.4.110")  # and .201, .202

pydicom 3.0 does not know the transfer syntaxes of JPEG XL; this module adds their names and
keywords. Encoding is lossless and doesn't transform colours: use RGB, not YBR_RCT, in datasets.
Samples of a pixel are coded together, so set PlanarConfiguration to 0 after `compress`: pydicom
keeps it at 1, and its other decoders believe that.

The functions are those that pydicom's guides "Pixel Data Decoder Plugins" and "Pixel Data Encoder
Plugins" require. Must not know datasets or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import _uid_dict
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders import base as decoders
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.pixels.encoders import base as encoders
from pydicom.pixels.encoders.base import EncodeRunner
from pydicom.uid import UID

from dicube.codecs.still import decode_image
from dicube.dicom.export.frame_coding import check_samples, encode_frame
from dicube.dicom.files.coded_frames import decoded_interpretation
from dicube.dicom.transfer_syntaxes import (
    TRANSFER_SYNTAXES,
    coded_syntax_of,
    known_interpretation,
    transfer_syntax_of,
)
from dicube.exceptions import CodecError, DataConsistencyError

LABEL = "dicube"

_DECODED = [syntax for syntax in TRANSFER_SYNTAXES if syntax.codec and not syntax.is_jpeg]
_ENCODED = [syntax for syntax in _DECODED if syntax.name]

DECODER_DEPENDENCIES = {UID(syntax.uid): ("dicube",) for syntax in _DECODED}
ENCODER_DEPENDENCIES = {UID(syntax.uid): ("dicube",) for syntax in _ENCODED}


def is_available(uid: str) -> bool:
    """Return whether this plugin decodes a transfer syntax; it needs nothing but dicube."""
    return uid in DECODER_DEPENDENCIES


def register() -> None:
    """Register decoders and encoders with pydicom under the label 'dicube'.

    They are added to the plugins of pydicom's own decoders and encoders. pydicom has no public way
    to add a transfer syntax of the standard, so new ones are added to its tables. Calling this
    again has no effect.
    """
    for syntax in _DECODED:  # pydicom 3.0 knows DICOM before 2024d, which added JPEG XL
        entry = (syntax.title, "Transfer Syntax", "", "", syntax.keyword)
        _uid_dict.UID_dictionary.setdefault(syntax.uid, entry)
    _add_interpretation("XYB")
    for uid in DECODER_DEPENDENCIES:
        decoder, _ = decoders._PIXEL_DATA_DECODERS.setdefault(uid, (decoders.Decoder(uid), LABEL))
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode"))
    for uid in ENCODER_DEPENDENCIES:
        encoder, _ = encoders._PIXEL_DATA_ENCODERS.setdefault(uid, (encoders.Encoder(uid), LABEL))
        if LABEL not in encoder.available_plugins:
            encoder.add_plugin(LABEL, (__name__, "encode"))


def _add_interpretation(name: str) -> None:
    """Make pydicom accept a photometric interpretation (PS3.3 C.7.6.3.1.2) that it doesn't list."""
    known = PhotometricInterpretation
    if name not in known.__members__:
        member = str.__new__(known, name)
        member._name_ = member._value_ = name
        known._member_map_[name] = known._value2member_map_[name] = member


def decode(src: bytes, runner: DecodeRunner) -> bytes:
    """Return the samples of a frame in little endian, and set in `runner` what they are.

    Raises:
        CodecError: the frame can't be decoded, or its shape or signedness is not that of the
            dataset.
    """
    syntax = coded_syntax_of(str(runner.transfer_syntax))
    assert syntax is not None and syntax.codec is not None
    frame = decode_image(syntax.codec, src, num_threads=1)
    samples = runner.samples_per_pixel
    shape = (
        (runner.rows, runner.columns) if samples == 1 else (runner.rows, runner.columns, samples)
    )
    if frame.shape != shape:
        raise CodecError(f"expected a frame of shape {shape}, decoded {frame.shape}")
    interpretation = runner.photometric_interpretation
    decoded = decoded_interpretation(syntax, interpretation)
    if decoded != interpretation:
        runner.set_option("photometric_interpretation", decoded)
    if samples > 1:
        runner.set_option("planar_configuration", 0)
    size = max(1, runner.bits_allocated // 8)
    if frame.dtype.itemsize > size:
        raise CodecError(f"expected samples of {size} bytes, decoded {frame.dtype.itemsize}")
    sign = runner.pixel_representation
    is_signed = frame.dtype.kind == "i"
    if "i" in syntax.codec.sample_kinds and is_signed != (sign == 1):  # else none are signed
        raise CodecError(f"PixelRepresentation is {sign}, decoded samples of {frame.dtype}")
    return frame.astype(f"<{frame.dtype.kind}{size}").tobytes()


def encode(src: bytes, runner: EncodeRunner) -> bytes:
    """Return a losslessly coded frame.

    Args:
        src: the samples of the frame, in 1, 2 or 4 bytes each, as BitsStored requires.
        runner: describes the samples.

    Raises:
        DataConsistencyError: the transfer syntax can't hold these samples or colours, or samples
            use bits outside BitsStored.
        CodecError: the codec failed.
    """
    syntax = transfer_syntax_of(runner.transfer_syntax)
    interpretation = str(runner.photometric_interpretation)
    if interpretation not in syntax.interpretations:
        raise DataConsistencyError(
            f"{syntax.keyword}: expected PhotometricInterpretation "
            f"{' or '.join(syntax.interpretations)}, found {known_interpretation(interpretation)}"
        )
    bits, is_signed = runner.bits_stored, runner.pixel_representation == 1
    size = next((size for size in (1, 2, 4) if bits <= 8 * size), 8)
    order = str(runner.get_option("byteorder", "<"))
    words = np.frombuffer(src, np.dtype(f"{order}{'i' if is_signed else 'u'}{size}"))
    check_samples(words.dtype, syntax)
    rows, columns, samples = runner.rows, runner.columns, runner.samples_per_pixel
    if samples == 1:
        words = words.reshape(rows, columns)
    elif not runner.is_array and runner.planar_configuration == 1:
        words = np.moveaxis(words.reshape(samples, rows, columns), 0, -1)
    else:
        words = words.reshape(rows, columns, samples)
    return encode_frame(_values(words, bits), syntax, bits).data


def _values(words: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return the values of words with that many bits stored.

    Negative values may lack their sign extension (PS3.5 8.1.1).

    Raises:
        DataConsistencyError: words use other bits.
    """
    unused = words.dtype.itemsize * 8 - bits
    if not unused:
        return words
    values = words << unused >> unused
    if not np.array_equal(values, words) and (words >> bits).any():
        raise DataConsistencyError(f"samples use more than the {bits} bits of BitsStored")
    return values


register()
