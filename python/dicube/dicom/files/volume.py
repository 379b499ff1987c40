"""Reads the pixels of a series from its files into one array, without changing stored values.

Samples that a file stores in the array's own form are read directly into the array; all others are
decoded, by dicube's codecs or by pydicom. Must not know metadata beyond what describes pixels.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from dicube.codecs.lossless_jpeg import decode_lossless_jpeg
from dicube.codecs.samples import new_array
from dicube.dicom.dicom_tags import uid_name
from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.dicom.files.coded_frames import (
    CodedPixels,
    coded_frames,
    coded_pixels,
    reordered_by_table,
)
from dicube.dicom.files.coded_images import (
    declared_by,
    is_lossless_jpeg,
    least_size,
    rle_fault,
)
from dicube.dicom.files.instance import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, Instance
from dicube.dicom.files.series import describe_series
from dicube.dicom.files.sources import Opened
from dicube.dicom.transfer_syntaxes import INTERPRETATIONS, coded_syntax_of
from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    DataConsistencyError,
    DicomCubeError,
    without_quotes,
)
from dicube.threads import Threads

_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_ALLOCATED, _STORED, _SIGNED = 0x00280100, 0x00280101, 0x00280103
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_MOST_LISTED = 8  # files that an error lists
_OFFSET_TABLE = 0x7FE00001
_OFFSET_TABLE_TAG = b"\xe0\x7f\x01\x00"  # as encapsulated files have it, in little endian
_LOSSLESS_JPEG = (JPEGLossless, JPEGLosslessSV1)
# Bytes that coded frames may decode to: decoders take what a frame declares, and few bytes can
# declare gigabytes. Frames of one value reach the factor, but images don't.
_ALWAYS_ALLOWED, _MOST_GROWTH = 1 << 28, 4096
_MISSING_DECODER = "pip install dicube[dicom-codecs]"


@dataclass(frozen=True)
class FrameLayout:
    """How a file stores its frames.

    Attributes:
        shape: (rows, columns) or (rows, columns, samples).
        dtype: dtype of a sample, in native byte order.
        direct: whether the file stores samples in the same form as memory, but for byte order.
        packed: whether the file stores samples as single bits, eight in a byte.
        swapped: whether packed bytes are swapped in pairs, because they are big-endian words.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    direct: bool
    packed: bool
    swapped: bool

    @property
    def size(self) -> int:
        """The size of a frame in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def frame_layout(instance: Instance) -> FrameLayout:
    """Return the layout of the frames in a file.

    Raises:
        DataConsistencyError: the file has no pixels or no shape, or is truncated.
    """
    return instance.known(_frame_layout)


def _frame_layout(instance: Instance) -> FrameLayout:
    place, path = instance.pixels, instance.path
    if place is None:
        raise DataConsistencyError(f"{path} has no pixel data")
    rows, columns = instance.number(_ROWS), instance.number(_COLUMNS)
    samples, bits = instance.number(_SAMPLES, 1), instance.number(_ALLOCATED)
    if samples not in (1, 3):
        raise DataConsistencyError(
            f"{path}: expected (0028,0002) SamplesPerPixel of 1 or 3, found {samples}"
        )
    if rows < 1 or columns < 1:
        raise DataConsistencyError(
            f"{path} has no image shape: found {rows} rows, {columns} columns"
        )
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    dtype = _dtype(instance, place.tag, bits)
    direct = (
        place.direct
        and bits != 1
        and (samples == 1 or instance.number(_PLANAR) == 0)
        and instance.text(_PHOTOMETRIC) not in _SUBSAMPLED
    )
    big_endian = instance.transfer_syntax == ExplicitVRBigEndian
    packed = (place.direct or big_endian) and bits == 1 and samples == 1
    expected, found = instance.least_pixel_bytes, instance.pixel_bytes
    if found < expected:
        raise DataConsistencyError(
            f"{path} is truncated: expected {expected} bytes of pixels, found {found}"
        )
    return FrameLayout(shape, dtype, direct, packed, big_endian and place.vr == "OW")


def common_layout(instances: Sequence[Instance]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype shared by the frames of all files.

    Raises:
        DataConsistencyError: files differ, which it lists; or a file has no usable frame; or coded
            frames declare far more pixels than their files can be expected to hold.
    """
    layouts = [frame_layout(instance) for instance in instances]
    kinds: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for layout, instance in zip(layouts, instances, strict=True):
        kinds.setdefault((layout.shape, layout.dtype.name), []).append(instance.path)
    if len(kinds) > 1:
        listed = "".join(
            f"\n  {len(paths)} of {' x '.join(map(str, shape))} {dtype}"
            + (f", e.g. {paths[0]}" if len(paths) > _MOST_LISTED else ": " + ", ".join(paths))
            for (shape, dtype), paths in kinds.items()
        )
        raise DataConsistencyError(
            f"the images of a series ({describe_series(instances)}) differ, so they can't form a "
            f"volume:{listed}",
            suggestion="keep_all=True (--exact always) keeps the others whole; or pass a list of "
            "the files of one kind",
        )
    if excess := growth_fault(instances):
        first = next(filter(has_coded_frames, instances))
        raise DataConsistencyError(f"{first.path}: {excess}")
    return layouts[0].shape, layouts[0].dtype


def growth_fault(instances: Sequence[Instance]) -> str:
    """Return that coded frames declare far more pixels than files of their size hold; or ''.

    Args:
        instances: files with frames of one shape and dtype.
    """
    coded = [instance for instance in instances if has_coded_frames(instance)]
    declared = sum(frame_layout(instance).size * instance.frame_count for instance in coded)
    size = sum(instance.size for instance in coded)
    if declared <= max(_ALWAYS_ALLOWED, _MOST_GROWTH * size):
        return ""
    return (
        f"expected coded frames of at most {_MOST_GROWTH} times the size of their files ({size} "
        f"bytes), or of {_ALWAYS_ALLOWED >> 20} MiB, but they declare {declared} bytes of pixels"
    )


def has_coded_frames(instance: Instance) -> bool:
    """Return whether the pixels of a file are coded frames."""
    return instance.pixels is not None and instance.pixels.encapsulated


def check_decoders(instances: Sequence[Instance]) -> None:
    """Raise a CodecError if nothing is installed that decodes the pixels of a file."""
    checked = set()
    for instance in instances:
        syntax = UID(instance.transfer_syntax, IGNORE)
        if not has_coded_frames(instance) or syntax in checked:
            continue
        checked.add(syntax)
        is_own = coded_syntax_of(syntax) is not None or syntax in _LOSSLESS_JPEG
        if not is_own and not _has_decoder(syntax, unknown=False):
            raise CodecError(
                f"{instance.path}: no decoder for {uid_name(syntax)} is installed",
                suggestion=None if _has_decoder(syntax) else _MISSING_DECODER,
            )


def read_volume(
    instances: Sequence[Instance],
    slices: Sequence[Sequence[int]],
    num_threads: int,
    on_frame: Callable[[], None] | None = None,
    on_read: Callable[[int, NDArray[Any], CodedPixels | None], None] | None = None,
    on_error: Callable[[int, DicomCubeError], None] | None = None,
) -> tuple[NDArray[Any], set[str]]:
    """Read the pixels of a series.

    Args:
        instances: the files of the series.
        slices: for each file, the slices that its frames become, in the order of the frames.
        num_threads: how many files are read at the same time.
        on_frame: called after each file, in the calling thread.
        on_read: called after each file, in many threads, with its number, the volume that now holds
            its frames, and the coded frames if the volume was decoded from them unchanged.
        on_error: called in place of `on_read`, with the number of a file and why its pixels can't
            be read; by default that is raised.

    Returns:
        The stored values as (slice, row, column) or (slice, row, column, sample), C-contiguous, in
        native byte order; and the photometric interpretations after decoding that differ from those
        in the files (because colours were subsampled, or transformed by a codec).

    Raises:
        DataConsistencyError: frames differ, a file is truncated or has no pixels; names it.
        CodecError: compressed pixels can't be decoded; names the file, and a missing decoder.
        CubeFileAccessError: the operating system refuses to read.
        OutOfMemoryError: the volume needs more memory than there is.
    """
    shape, dtype = common_layout(instances)
    volume = new_array((sum(map(len, slices)), *shape), dtype)
    interpretations: set[str] = set()

    def read(index: int) -> None:
        try:
            read_file(index)
        except (CodecError, DataConsistencyError) as error:
            if on_error is None:
                raise
            on_error(index, error)

    def read_file(index: int) -> None:
        instance, places = instances[index], slices[index]
        layout, coded = frame_layout(instance), None
        if layout.direct:
            _read_direct(instance, volume, places)
        elif layout.packed:
            _read_packed(instance, volume, places, layout.swapped)
        else:
            interpretation, coded = _decode(instance, volume, places)
            if interpretation != instance.text(_PHOTOMETRIC):
                interpretations.add(interpretation)
        if on_read is not None:
            on_read(index, volume, coded)

    with Threads(max(1, num_threads)) as threads:
        for _ in threads.map(read, range(len(instances))):
            if on_frame is not None:
                on_frame()
    return volume, interpretations


def _dtype(instance: Instance, tag: int, bits: int) -> np.dtype[Any]:
    if tag == FLOAT_PIXEL_DATA:
        return np.dtype(np.float32)
    if tag == DOUBLE_FLOAT_PIXEL_DATA:
        return np.dtype(np.float64)
    if bits not in (1, 8, 16, 32, 64):
        raise DataConsistencyError(
            f"{instance.path} has BitsAllocated {bits}: expected 1, 8, 16, 32 or 64"
        )
    return np.dtype(f"{'i' if instance.number(_SIGNED) and bits > 1 else 'u'}{max(bits, 8) // 8}")


def _read_direct(instance: Instance, volume: NDArray[Any], places: Sequence[int]) -> None:
    """Read frames directly into the slices that they become."""
    assert instance.pixels is not None
    first = places[0]
    if list(places) == list(range(first, first + len(places))):
        runs = [volume[first : first + len(places)]]
    else:
        runs = [volume[place] for place in places]
    with _opened(instance) as file:
        file.seek(instance.pixels.offset)
        for run in runs:
            _read_into(instance, file, run.reshape(-1).view(np.uint8).data)
    if sys.byteorder == "big":
        for run in runs:
            run.byteswap(inplace=True)


def _read_packed(
    instance: Instance, volume: NDArray[Any], places: Sequence[int], swapped: bool
) -> None:
    """Read frames of one-bit samples, which follow each other without padding (PS3.5 8.1.1)."""
    assert instance.pixels is not None
    samples = volume[places[0]].size * len(places)
    data = np.empty((samples + 7) // 8 if not swapped else (samples + 15) // 16 * 2, np.uint8)
    with _opened(instance) as file:
        file.seek(instance.pixels.offset)
        _read_into(instance, file, data.data)
    if swapped:
        data = data.reshape(-1, 2)[:, ::-1].reshape(-1)
    bits = np.unpackbits(data, count=samples, bitorder="little")
    for frame, place in zip(bits.reshape(len(places), -1), places, strict=True):
        volume[place] = frame.reshape(volume.shape[1:])


def _read_into(instance: Instance, file: Opened, view: memoryview) -> None:
    done = 0
    while done < len(view):
        length = file.readinto(view[done:])  # type: ignore[union-attr]  # BinaryIO lacks it
        if not length:
            raise DataConsistencyError(
                f"{instance.path} is truncated: expected {len(view)} bytes of pixels, found {done}"
            )
        done += length


def _decode(
    instance: Instance, volume: NDArray[Any], places: Sequence[int]
) -> tuple[str, CodedPixels | None]:
    """Decode frames by dicube's own codecs, or else by pydicom's plugins.

    Returns:
        The photometric interpretation of the decoded frames, and the coded frames if they decode to
        the volume's dtype.
    """
    place = instance.pixels
    if place is None or not place.encapsulated:
        return _decode_by_plugins(instance, None, volume, places), None
    value = instance.read(place.offset, place.length)
    frames = _checked_frames(instance, value, volume, len(places))
    # Plugins that decode these may end the process if a frame is damaged.
    if instance.transfer_syntax in _LOSSLESS_JPEG and all(map(is_lossless_jpeg, frames)):
        return _decode_lossless_jpegs(instance, frames, volume, places), None
    try:
        decoded = _decode_ourselves(instance, value, volume, places)
    except (CodecError, DataConsistencyError):
        # A plugin may decode it, or describe the fault better. Without a plugin, this error is the
        # better one: a missing plugin is not the fault.
        if not _has_decoder(UID(instance.transfer_syntax, IGNORE), unknown=False):
            raise
        decoded = None
    return decoded or (_decode_by_plugins(instance, frames, volume, places), None)


def check_order(instance: Instance, value: bytes, count: int) -> None:
    """Raise unless all readers show the coded frames of a file in one order.

    Raises:
        DataConsistencyError: an offset table has another order than the fragments.
    """
    if reordered_by_table(value, count, _extended_table(instance) if count > 1 else b""):
        raise DataConsistencyError(
            f"{instance.path}: its offset table has its {count} frames in another order than their "
            "fragments, so that readers show them in one or the other",
            suggestion="remove the offset table, if you know that it is wrong",
        )


def _extended_table(instance: Instance) -> bytes:
    """Return the value of ExtendedOffsetTable; empty if there is none."""
    if instance.around is not None and _OFFSET_TABLE_TAG not in instance.around[0]:
        return b""
    with pydicom_quiet():
        found = instance.dataset().get(_OFFSET_TABLE)
    return found.value if found is not None and isinstance(found.value, bytes) else b""


def _checked_frames(
    instance: Instance, value: bytes, volume: NDArray[Any], count: int
) -> list[bytes]:
    """Return the coded frames of encapsulated pixels.

    Raises:
        DataConsistencyError: a frame declares another size than the elements, or one that it is too
            short for; or fragments can't be assigned to frames.
        CodecError: an RLE frame has too few or too many pixels.
    """
    path = instance.path
    check_order(instance, value, count)
    frames = coded_frames(value, count)
    if frames is None:
        raise DataConsistencyError(f"{path}: can't assign fragments to {count} coded frames")
    rows, columns, *more = volume.shape[1:]
    samples, size = (*more, 1)[0], volume.dtype.itemsize
    for number, frame in enumerate(frames, 1):
        if instance.transfer_syntax == RLELossless:
            fault = rle_fault(frame, rows * columns, samples * size)
            if fault:
                raise _undecodable(instance, CodecError(f"frame {number}: {fault}"))
            continue
        found = declared_by(frame)
        if found is None or not found.columns or not found.samples:
            continue  # the decoder finds the damage
        if (found.rows or rows, found.columns, found.samples) != (rows, columns, samples):
            raise DataConsistencyError(
                f"{path}: expected frames of {rows} x {columns} with {samples} samples per pixel, "
                f"but coded frame {number} has {found.rows} x {found.columns} with {found.samples}"
            )
        least = least_size(frame, rows * columns)
        if len(frame) < least:
            raise DataConsistencyError(
                f"{path}: coded frame {number} is truncated: expected at least {least} bytes for "
                f"{rows} x {columns} pixels, found {len(frame)}"
            )
        if found.bits > 8 * size:
            raise DataConsistencyError(
                f"{path}: expected at most {8 * size} bits per sample, but coded frame {number} "
                f"has {found.bits}"
            )
    return frames


def _decode_ourselves(
    instance: Instance, value: bytes, volume: NDArray[Any], places: Sequence[int]
) -> tuple[str, CodedPixels | None] | None:
    """Decode frames as `_decode` does, by dicube's own codecs; None if they can't decode these."""
    syntax = coded_syntax_of(instance.transfer_syntax)
    if syntax is None:
        return None
    alike = True
    try:
        coded = coded_pixels(syntax, value, len(places), instance.text(_PHOTOMETRIC))
        if coded is None:
            return None
        for number, index in enumerate(places):
            frame = coded.decode(number)
            _check_frame(instance, frame, volume)
            alike = alike and frame.dtype == volume.dtype
            volume[index] = frame
    except CodecError as error:
        raise _undecodable(instance, error) from error
    return coded.interpretation, coded if alike else None


def _decode_lossless_jpegs(
    instance: Instance, coded: list[bytes], volume: NDArray[Any], places: Sequence[int]
) -> str:
    """Decode frames of JPEG Lossless, and return their photometric interpretation.

    The codec does not know the sign of samples. If a JPEG declares fewer bits than are allocated,
    it lacks the bits above BitsStored, which repeat the sign.
    """
    size = volume.dtype.itemsize
    unused = 8 * size - instance.number(_STORED, 8 * size)
    try:
        for jpeg, place in zip(coded, places, strict=True):
            samples, bits = decode_lossless_jpeg(jpeg)
            frame = samples.astype(f"u{size}", copy=False)
            if volume.dtype.kind == "i":
                lacking = unused if bits < 8 * size else 0
                frame = (frame << lacking).view(volume.dtype) >> lacking
            _check_frame(instance, frame, volume)
            volume[place] = frame
    except CodecError as error:
        raise _undecodable(instance, error) from error
    return instance.text(_PHOTOMETRIC)


def _decode_by_plugins(
    instance: Instance, coded: list[bytes] | None, volume: NDArray[Any], places: Sequence[int]
) -> str:
    """Decode frames by pydicom, and return their photometric interpretation afterwards.

    Args:
        instance: the file.
        coded: its coded frames; None if its pixels are not encapsulated.
        volume, places: see `_decode`.
    """
    syntax = UID(instance.transfer_syntax or _IMPLICIT_LITTLE, IGNORE)
    interpretation = ""
    decoded = 0
    try:
        with pydicom_quiet():
            dataset = instance.dataset()
            if coded is not None:
                dataset = _with_one_fragment_each(dataset, coded)
            options: dict[str, Any] = {"number_of_frames": len(places)}
            # Bits above BitsStored are part of the file and are kept, unless a codec made them up.
            if coded is None or syntax == RLELossless:
                options["correct_unused_bits"] = False
            frames = _decoded_by_pydicom(syntax, dataset, options)
            for place, (frame, interpreted) in zip(places, frames, strict=False):
                _check_frame(instance, frame, volume)
                volume[place] = frame
                interpretation = interpreted
                decoded += 1
    except (DataConsistencyError, MemoryError):
        raise
    except Exception as error:  # pydicom and its plugins raise all kinds of exceptions
        missing = coded is not None and not _has_decoder(syntax)
        raise _undecodable(instance, error, _MISSING_DECODER if missing else None) from None
    if decoded < len(places):
        raise DataConsistencyError(
            f"{instance.path} is truncated: expected {len(places)} frames, found {decoded}"
        )
    return interpretation


def _with_one_fragment_each(dataset: Dataset, frames: list[bytes]) -> Dataset:
    """Return a dataset with its coded frames in one fragment each, and without offset tables.

    pydicom trusts the tables of a file, even if they are wrong.
    """
    changed = Dataset({key: element for key, element in dataset.items() if key < _OFFSET_TABLE})
    changed.file_meta = dataset.file_meta
    changed.PixelData = encapsulate(frames, has_bot=False)
    return changed


def _check_frame(instance: Instance, frame: NDArray[Any], volume: NDArray[Any]) -> None:
    shape, dtype = volume.shape[1:], volume.dtype
    if frame.shape != shape:
        raise DataConsistencyError(
            f"{instance.path}: expected a frame of shape {shape}, decoded {frame.shape}"
        )
    # A codestream may have narrower samples than BitsAllocated, but negative ones only if these
    # have all of the bits stored: else the sign was in bits that it lacks.
    stored = instance.number(_STORED, 8 * dtype.itemsize)
    narrow = frame.dtype.kind == "i" and 8 * frame.dtype.itemsize < stored
    if frame.dtype.kind != dtype.kind or narrow or not np.can_cast(frame.dtype, dtype, "safe"):
        raise DataConsistencyError(
            f"{instance.path}: expected samples of {dtype}, decoded {frame.dtype}"
        )


def _undecodable(instance: Instance, error: Exception, suggestion: str | None = None) -> CodecError:
    name = uid_name(instance.transfer_syntax or _IMPLICIT_LITTLE)
    return CodecError(
        f"{instance.path}: can't decode pixels in transfer syntax {name}: "
        + without_quotes(error, INTERPRETATIONS),
        suggestion=suggestion,
    )


def _has_decoder(syntax: UID, unknown: bool = True) -> bool:
    """Return whether pydicom has a working decoder; `unknown` if it has none for any program.

    No plugin would help with such a transfer syntax, so none should be suggested.
    """
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return unknown


def _decoded_by_pydicom(
    syntax: UID, dataset: Dataset, options: dict[str, Any]
) -> Iterator[tuple[NDArray[Any], str]]:
    """Yield the decoded frames of a dataset, each with its photometric interpretation."""
    decoder = get_decoder(syntax)
    if dataset.get("PhotometricInterpretation") == _SUBSAMPLED[0] and not syntax.is_encapsulated:
        # After the first frame, pydicom's iterator forgets that the others are subsampled too.
        for index in count():  # the caller stops after as many frames as it needs
            frame, facts = decoder.as_array(dataset, raw=True, index=index, **options)
            yield frame, str(facts["photometric_interpretation"])
    done = 0
    try:
        for frame, facts in decoder.iter_array(dataset, raw=True, **options):
            yield frame, str(facts["photometric_interpretation"])
            done += 1
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        # pydicom corrects the sign of samples in place, but some plugins return read-only arrays.
        # If asked for all frames at once, pydicom uses arrays of its own.
        decoded, facts = decoder.as_array(dataset, raw=True, **options)
        frames = decoded if int(facts["number_of_frames"]) > 1 else decoded[np.newaxis]
        for frame in frames[done:]:
            yield frame, str(facts["photometric_interpretation"])


@contextmanager
def _opened(instance: Instance) -> Iterator[Opened]:
    try:
        with instance.open() as file:
            yield file
    except OSError as error:
        raise CubeFileAccessError(f"can't read {instance.path}: {error.strerror}") from error
