"""What pydicom asks of a plugin: one frame decoded or encoded, and what it can do.

The functions are those that pydicom's guides "Pixel Data Decoder Plugins" and "Pixel Data Encoder
Plugins" demand. Must not know datasets or files.
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
    transfer_syntax_of,
)
from dicube.exceptions import CodecError, DataConsistencyError

LABEL = "dicube"

_DECODED = [syntax for syntax in TRANSFER_SYNTAXES if syntax.codec and not syntax.is_jpeg]
_ENCODED = [syntax for syntax in _DECODED if syntax.name]

DECODER_DEPENDENCIES = {UID(syntax.uid): ("dicube",) for syntax in _DECODED}
ENCODER_DEPENDENCIES = {UID(syntax.uid): ("dicube",) for syntax in _ENCODED}


def is_available(uid: str) -> bool:
    """Return whether frames in a transfer syntax are decoded here; libdicube is always there."""
    return uid in DECODER_DEPENDENCIES


def register() -> None:
    """Give pydicom decoders and encoders, under the label 'dicube'. Doing it again does nothing.

    Where pydicom has a decoder or encoder of its own, this is added to its plugins. pydicom has no
    public way to add a transfer syntax of the standard, so its tables are added to.
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
    """Have pydicom take a photometric interpretation (PS3.3 C.7.6.3.1.2) that it does not list."""
    known = PhotometricInterpretation
    if name not in known.__members__:
        member = str.__new__(known, name)
        member._name_ = member._value_ = name
        known._member_map_[name] = known._value2member_map_[name] = member


def decode(src: bytes, runner: DecodeRunner) -> bytes:
    """Return a frame's samples, little endian; tell `runner` what they are.

    Raises:
        CodecError: it does not decode, or to an image of another shape or to samples of another
            sign than the dataset tells.
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
    told = decoded_interpretation(syntax, interpretation)
    if told != interpretation:
        runner.set_option("photometric_interpretation", told)
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
    """Return a frame coded losslessly.

    Args:
        src: its samples, in 1, 2 or 4 bytes each as BitsStored needs.
        runner: tells what they are.

    Raises:
        DataConsistencyError: the transfer syntax has no such samples or colours, or words hold
            more than BitsStored tells.
        CodecError: the codec failed.
    """
    syntax = transfer_syntax_of(runner.transfer_syntax)
    told = str(runner.photometric_interpretation)
    if told not in syntax.interpretations:
        raise DataConsistencyError(
            f"{syntax.keyword}: expected PhotometricInterpretation "
            f"{' or '.join(syntax.interpretations)}, found {told}"
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
    """Return the values of words of which `bits` are told to be the value's.

    Negative ones may stand there without their sign extended (PS3.5 8.1.1).

    Raises:
        DataConsistencyError: other bits are used.
    """
    unused = words.dtype.itemsize * 8 - bits
    if not unused:
        return words
    values = words << unused >> unused
    if not np.array_equal(values, words) and (words >> bits).any():
        raise DataConsistencyError(f"samples hold more than the {bits} bits that BitsStored tells")
    return values
