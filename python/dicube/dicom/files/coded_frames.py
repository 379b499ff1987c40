"""Reads encapsulated pixels that dicube's own codecs decode: HTJ2K, JPEG XL and 8-bit JPEG.

Finds the coded frames in the value field (PS3.5 A.4) and decodes them. JPEG frames are recompressed
as JPEG XL, which can restore their bytes. Must not know elements or volumes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from dicube.codecs.codestream import probe
from dicube.codecs.jxl import recompress_jpeg
from dicube.codecs.records import CodecRecord
from dicube.codecs.still import decode_image
from dicube.dicom.files.coded_images import IMAGE_STARTS, segments_of_jpeg
from dicube.dicom.transfer_syntaxes import JPEG_XL_OF_JPEG, TransferSyntax
from dicube.exceptions import CodecError

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
# Photometric interpretations that the codecs convert to RGB when decoding.
_TRANSFORMED = frozenset({"YBR_RCT", "YBR_ICT", "XYB"})
# Adobe's JPEG segment, placed right after the start of the image: no colour transform.
_RGB_MARK, _MARK_POSITION = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0", 2

# The end marker of a JPEG, JPEG-LS or JPEG 2000 image, and how far before the end of its fragment
# pydicom searches for it.
_END_OF_IMAGE, _LONGEST_PADDING = b"\xff\xd9", 10

Fragment: TypeAlias = "tuple[int, int]"
"""Offset and length of a fragment in the value field."""

Range: TypeAlias = "tuple[int, int, int]"
"""A range of bytes in a coded frame: number of the frame, start, stop."""


@dataclass(frozen=True)
class CodedPixels:
    """The value field of encapsulated pixels, split into coded frames and the bytes around them.

    Attributes:
        codec: codec of the frames.
        frames: the coded frames.
        layout: the parts of the value field in order: bytes, or ranges of coded frames.
        jpeg: whether the ranges refer to the JPEG that each frame was recompressed from, and not to
            the frames in `frames`.
        interpretation: photometric interpretation of the decoded frames.
    """

    codec: CodecRecord
    frames: tuple[bytes, ...]
    layout: tuple[bytes | Range, ...]
    jpeg: bool
    interpretation: str

    def decode(self, frame: int) -> NDArray[Any]:
        """Return the samples of a frame.

        Raises:
            CodecError: the frame can't be decoded.
        """
        return decode_image(self.codec, self.frames[frame], num_threads=1)


def decoded_interpretation(syntax: TransferSyntax, interpretation: str) -> str:
    """Return the photometric interpretation of the decoded frames.

    Args:
        syntax: a transfer syntax whose frames are coded.
        interpretation: PhotometricInterpretation in the file.
    """
    recompressed = syntax == JPEG_XL_OF_JPEG and interpretation.startswith("YBR")
    return "RGB" if recompressed or interpretation in _TRANSFORMED else interpretation


def coded_pixels(
    syntax: TransferSyntax, value: bytes, count: int, interpretation: str
) -> CodedPixels | None:
    """Split the value field of encapsulated pixels into coded frames and the bytes around them.

    Args:
        syntax: a transfer syntax whose frames are coded.
        value: the value field, from the basic offset table to the delimiter.
        count: number of frames.
        interpretation: PhotometricInterpretation in the file.

    Returns:
        None if the bytes of each frame can't be identified, or if the codec would transform the
        colours of only some frames.

    Raises:
        CodecError: JPEG frames have more than 8 bits or are damaged.
    """
    jpeg = syntax.is_jpeg
    split = split_frames(value, count, len if jpeg else _coded_size)
    if split is None:
        return None
    frames, layout = split
    transformed = False
    interpretation = decoded_interpretation(syntax, interpretation)
    if jpeg and not interpretation.startswith("MONOCHROME"):
        found = [_colours_of_jpeg(frame, interpretation) for frame in frames]
        if True in found and not all(found):
            return None
        transformed = True in found
        unmarked = {number for number, colours in enumerate(found) if colours is None}
        frames = [_marked(f) if number in unmarked else f for number, f in enumerate(frames)]
        layout = [part for whole in layout for part in _without_mark(whole, unmarked)]
    if jpeg:
        frames = [recompress_jpeg(frame) for frame in frames]
    assert syntax.codec is not None
    return CodedPixels(
        syntax.codec, tuple(frames), tuple(layout), jpeg, "RGB" if transformed else interpretation
    )


def split_frames(
    value: bytes, count: int, size_of: Callable[[bytes], int]
) -> tuple[list[bytes], list[bytes | Range]] | None:
    """Split the value field of encapsulated pixels into coded frames and the bytes around them.

    Args:
        value: the value field.
        count: number of frames.
        size_of: returns the length of a frame without its padding; called in the order of frames.

    Returns:
        The coded frames, and the layout of the value field (see `CodedPixels`). None if the bytes
        of each frame can't be identified.
    """
    fragments = _fragments_of_frames(value, count)
    if fragments is None:
        return None
    frames = []
    layout: list[bytes | Range] = []
    done = 0
    for number, parts in enumerate(fragments):
        whole = b"".join(value[offset : offset + length] for offset, length in parts)
        size = size_of(whole)
        frames.append(whole[:size])
        start = 0
        for offset, length in parts:
            stop = min(start + length, size)
            if stop > start:
                layout += [value[done:offset], (number, start, stop)]
                done = offset + stop - start
            start = stop
    layout.append(value[done:])
    return frames, layout


def coded_frames(value: bytes, count: int) -> list[bytes] | None:
    """Return the coded frames in the value field of encapsulated pixels, with their padding.

    Returns:
        None if the bytes of each frame can't be identified.
    """
    fragments = _fragments_of_frames(value, count)
    if fragments is None:
        return None
    return [b"".join(value[at : at + size] for at, size in parts) for parts in fragments]


def reordered_by_table(value: bytes, count: int, extended: bytes) -> bool:
    """Return whether an offset table gives the frames in another order than their fragments.

    A table that points elsewhere is a mistake of its writer, and is ignored.

    Args:
        value: the value field of encapsulated pixels.
        count: number of frames.
        extended: the extended offset table; empty if there is none.
    """
    items = _items(value)
    if items is None or count == 1:
        return False
    (table, length), *fragments = items
    starts = {at - fragments[0][0] for at, _ in fragments}
    basic = value[table : table + length]
    for data, offset in ((basic, "L"), (extended, "Q")):
        if len(data) == count * struct.calcsize("<" + offset):
            offsets = struct.unpack(f"<{count}{offset}", data)
            ascending = sorted(set(offsets))
            if any(offsets) and starts.issuperset(offsets) and list(offsets) != ascending:
                return True
    return False


def _items(value: bytes) -> list[Fragment] | None:
    """Return offset and length of each item, the offset table first; None if malformed."""
    found = []
    position = 0
    while value[position : position + 4] == _ITEM and position + 8 <= len(value):
        (length,) = struct.unpack_from("<L", value, position + 4)
        found.append((position + 8, length))
        position += 8 + length
    whole = value[position : position + 4] in (_SEQUENCE_END, b"")
    return found if whole and len(found) > 1 else None


def _fragments_of_frames(value: bytes, count: int) -> list[list[Fragment]] | None:
    """Return the fragments of each frame; None if they can't be assigned to frames.

    If there are as many as frames, offset tables don't matter. That includes the extended one, with
    which each frame has one fragment (PS3.3 C.7.6.3.1.8).
    """
    items = _items(value)
    if items is None:
        return None
    table, *fragments = items
    if count == 1:
        return [fragments]
    if count == len(fragments):
        return [[fragment] for fragment in fragments]
    first = [
        _starts_by_table(value, table, fragments),
        _starts_by_ends(value, fragments),
        [number for number, (at, _) in enumerate(fragments) if value.startswith(IMAGE_STARTS, at)],
    ]
    for starts in first:
        if len(starts) == count and starts[0] == 0:
            stops = [*starts[1:], len(fragments)]
            return [fragments[a:b] for a, b in zip(starts, stops, strict=True)]
    return None


def _starts_by_table(value: bytes, table: Fragment, fragments: Sequence[Fragment]) -> list[int]:
    """Return the number of the first fragment of each frame, by the basic offset table."""
    offset, length = table
    numbers = {at - fragments[0][0]: number for number, (at, _) in enumerate(fragments)}
    offsets = struct.unpack_from(f"<{length // 4}L", value, offset)
    starts = [numbers.get(start, -1) for start in offsets]
    return starts if -1 not in starts and sorted(set(starts)) == starts else []


def _starts_by_ends(value: bytes, fragments: Sequence[Fragment]) -> list[int]:
    """Return the number of the first fragment of each frame, by the end markers of JPEG images.

    Empty if the last image doesn't end.
    """
    ends = [
        number
        for number, (at, length) in enumerate(fragments, 1)
        if _END_OF_IMAGE in value[max(at, at + length - _LONGEST_PADDING) : at + length]
    ]
    return [0, *ends[:-1]] if ends and ends[-1] == len(fragments) else []


def _coded_size(padded: bytes) -> int:
    """Return how many bytes of a coded frame are not padding; all if the frame is damaged."""
    try:
        return probe(padded).coded_size
    except CodecError:
        return len(padded)


def _colours_of_jpeg(jpeg: bytes, interpretation: str) -> bool | None:
    """Return whether decoding converts YCbCr to RGB; None if the codec would take RGB for YCbCr.

    The codec goes by the JPEG's own markers (JFIF, Adobe). If there are none, it goes by the
    component identifiers: colours are transformed unless these spell "RGB".
    """
    markers = dict(segments_of_jpeg(jpeg))
    if 0xE0 in markers:
        return True
    adobe = markers.get(0xEE, b"")
    if adobe.startswith(b"Adobe") and len(adobe) >= 12:
        return adobe[11] != 0
    start = next((markers[code] for code in (0xC0, 0xC1, 0xC2) if code in markers), b"")
    if start[6::3] == b"RGB":
        return False
    return None if interpretation == "RGB" else True


def _marked(jpeg: bytes) -> bytes:
    """Return a JPEG with a marker added that says that its colours are RGB."""
    return jpeg[:_MARK_POSITION] + _RGB_MARK + jpeg[_MARK_POSITION:]


def _without_mark(part: bytes | Range, marked: Container[int]) -> list[bytes | Range]:
    """Return a part of a layout, adapted to the marker that was added to some frames."""
    if isinstance(part, bytes) or part[0] not in marked:
        return [part]
    frame, start, stop = part
    split = min(max(start, _MARK_POSITION), stop)
    behind = split + len(_RGB_MARK), stop + len(_RGB_MARK)
    parts: list[bytes | Range] = [(frame, start, split), (frame, *behind)]
    return [p for p in parts if p[1] < p[2]]
