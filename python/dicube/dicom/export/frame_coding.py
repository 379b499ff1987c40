"""Codes the frames of a series for a transfer syntax; already coded frames are kept if it allows.

The rules of transfer syntaxes: PS3.5 8.2.4 and 8.2.14 (HTJ2K), 8.2.15 (JPEG XL), 10.18. Must not
know files or elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from dicube.codecs.codestream import Codestream, probe
from dicube.codecs.records import CodecRecord
from dicube.codecs.still import decode_image, encode_image
from dicube.dicom.transfer_syntaxes import (
    EXPLICIT,
    HTJ2K_RPCL,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from dicube.exceptions import CodecError, DataConsistencyError
from dicube.threads import Progress, Threads, thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Frames(Protocol):
    """The frames of a volume.

    Attributes:
        shape: (slice, row, column) or (slice, row, column, sample).
        dtype: dtype of the samples.
        codec: name of the coded frames' codec in `dicube.codecs`; '' if there are none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str

    def pixels(self, index: int) -> NDArray[Any]:
        """Return the samples of a frame."""

    def coded(self, index: int) -> bytes | None:
        """Return the coded frame that decodes to these samples; None if there is none."""


class CodedFrame(NamedTuple):
    """A frame coded for a transfer syntax.

    Attributes:
        data: the codestream.
        bits: bits per sample that the codestream declares.
        is_transformed: whether the codestream uses a colour transform.
    """

    data: bytes
    bits: int
    is_transformed: bool


def code_frames(
    frames: Frames,
    syntax: TransferSyntax,
    instances: Sequence[Sequence[int]],
    least_bits: int | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> list[CodedFrame]:
    """Return the coded frames of a volume for a transfer syntax, one for each slice.

    Frames that are already coded as the transfer syntax requires are kept. All others are encoded,
    then decoded again and compared. The frames of an instance are coded with the same depth and
    colour transform.

    Args:
        frames: the frames of the volume.
        syntax: the transfer syntax, which must have a codec.
        instances: for each instance, its slices.
        least_bits: the least number of bits that codestreams declare: BitsStored.
        num_threads: how many frames are encoded at the same time; None or 0: all threads.
        progress: called with the number of frames done and the total number.

    Raises:
        DataConsistencyError: the transfer syntax can't hold such samples.
        CodecError: an encoded frame decodes to other samples.
    """
    check_samples(frames.dtype, syntax)
    found: list[CodedFrame | None] = [None] * frames.shape[0]

    def code(index: int) -> None:
        kept = _kept(frames, syntax, index)
        # Some words are wider than BitsStored needs, and a codestream that decodes to such words
        # declares more bits.
        if kept is None or (least_bits and _word(kept.bits) > _word(least_bits)):
            kept = encode_frame(frames.pixels(index), syntax, least_bits)
        found[index] = kept

    def adapt(slices: Sequence[int]) -> None:
        """Encode frames again that differ from others of an instance in depth or transform."""
        members = [frame for index in slices if (frame := found[index]) is not None]
        if len({frame[1:] for frame in members}) < 2:
            return
        bits = max(frame.bits for frame in members)
        for index, frame in zip(slices, members, strict=True):
            if frame.bits < bits or frame.is_transformed:
                found[index] = encode_frame(frames.pixels(index), syntax, bits)

    with Threads(thread_count(num_threads)) as threads:
        for done, _ in enumerate(threads.map(code, range(len(found))), 1):
            if progress is not None:
                progress(done, len(found))
        for _ in threads.map(adapt, instances):
            pass
    return [frame for frame in found if frame is not None]


def kept_in(syntax: TransferSyntax, coded: bytes) -> CodedFrame | None:
    """Return a coded frame as a transfer syntax stores it; None if the syntax doesn't allow it.

    JPEG XL frames are stored as bare codestreams, without boxes.
    """
    try:
        stream = probe(coded)
    except CodecError:
        return None
    is_of_syntax = (
        stream.codec == _codec_of(syntax).name and stream.is_reversible and not stream.is_mapped
    )
    if not is_of_syntax or not stream.codestream:
        return None
    if syntax is HTJ2K_RPCL and not _is_progressive(stream):
        return None
    return CodedFrame(stream.codestream, stream.bits, stream.has_colour_transform)


# The greatest width or height of the lowest resolution in HTJ2K Lossless RPCL (PS3.5 10.18).
_THUMBNAIL = 64


def _is_progressive(stream: Codestream) -> bool:
    """Return whether a reversible codestream meets the other rules of HTJ2K Lossless RPCL.

    These are RPCL order, tile-part lengths, and a lowest resolution of at most 64 pixels in width
    or height (PS3.5 10.18).
    """
    lowest = -(-min(stream.rows, stream.columns) >> stream.levels)  # rounded up
    return stream.progression == "RPCL" and stream.has_tile_lengths and lowest <= _THUMBNAIL


def encode_frame(
    pixels: NDArray[Any], syntax: TransferSyntax, least_bits: int | None
) -> CodedFrame:
    """Encode a frame, and decode it again to verify it.

    Args:
        pixels: the samples, which `check_samples` must accept.
        syntax: the transfer syntax.
        least_bits: the least number of bits that the codestream declares. It declares no more than
            fit the same words, if the samples don't need more.

    Raises:
        CodecError: the encoded frame decodes to other samples.
    """
    codec = _codec_of(syntax)
    words = _narrowed(pixels, least_bits) if least_bits else pixels
    frame = kept_in(syntax, encode_image(codec, words, None, 1, least_bits))
    assert frame is not None
    if not np.array_equal(decode_image(codec, frame.data, 1), pixels):
        raise CodecError("an encoded frame decodes to other samples")
    return frame


def _word(bits: int) -> int:
    """Return the size in bytes of the words that hold so many bits."""
    return next((size for size in (1, 2, 4) if bits <= 8 * size), 8)


def _narrowed(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return samples in words that hold so many bits, if they fit there."""
    if _word(bits) >= pixels.dtype.itemsize:
        return pixels
    words = pixels.astype(f"{pixels.dtype.kind}{_word(bits)}")
    return words if np.array_equal(words, pixels) else pixels


def check_samples(dtype: np.dtype[Any], syntax: TransferSyntax) -> None:
    """Raise an error unless samples of a dtype can be encoded in a transfer syntax.

    Raises:
        DataConsistencyError: they can't be encoded.
    """
    codec = _codec_of(syntax)
    if _codes(codec, dtype):
        return
    others = [
        other.keyword
        for other in TRANSFER_SYNTAXES
        if other.name and other.codec is not None and _codes(other.codec, dtype)
    ]
    signs = "integers" if "i" in codec.sample_kinds else "unsigned integers"
    raise DataConsistencyError(
        f"{syntax.keyword} can't store samples of {dtype.name}: "
        f"{codec.label} codes {signs} of at most {codec.sample_bits} bits",
        suggestion=f"use {' or '.join([*others, EXPLICIT.keyword])}",
    )


def _codec_of(syntax: TransferSyntax) -> CodecRecord:
    if syntax.codec is None:
        raise DataConsistencyError(f"{syntax.keyword} ({syntax.uid}) has no coded frames")
    return syntax.codec


def _codes(codec: CodecRecord, dtype: np.dtype[Any]) -> bool:
    """Return whether other decoders can read samples of a dtype that this codec encodes."""
    return dtype.kind in codec.sample_kinds and dtype.itemsize * 8 <= codec.sample_bits


def _kept(frames: Frames, syntax: TransferSyntax, index: int) -> CodedFrame | None:
    coded = frames.coded(index) if frames.codec == _codec_of(syntax).name else None
    return None if coded is None else kept_in(syntax, coded)
