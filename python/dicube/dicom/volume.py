"""The pixels of a series: from its files into one array, stored values untouched.

Samples that lie in a file as they are in memory are read straight into the array; anything else
goes through pydicom. Must not know metadata beyond what describes pixels.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.filereader import dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicube.dicom.instance import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    Instance,
)
from dicube.dicom.series import describe_series
from dicube.exceptions import CodecError, CubeFileAccessError, DataConsistencyError

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _SIGNED = 0x00280010, 0x00280011, 0x00280100, 0x00280103
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"


@dataclass(frozen=True)
class FrameLayout:
    """What a file says of its one frame.

    Attributes:
        shape: (rows, columns) or (rows, columns, samples).
        dtype: of a sample, in native byte order.
        direct: samples lie in the file as they do in memory.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    direct: bool

    @property
    def size(self) -> int:
        """Bytes of the frame."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def frame_layout(instance: Instance) -> FrameLayout:
    """Return the layout of the frame in a file.

    Raises:
        DataConsistencyError: no pixels, no shape, more than one frame, a truncated file.
    """
    place, path = instance.pixels, instance.path
    if place is None:
        raise DataConsistencyError(f"{path} has no pixel data")
    frames = instance.number(_FRAMES, 1)
    if frames > 1:
        raise DataConsistencyError(
            f"{path} holds {frames} frames: multi-frame files are not supported yet"
        )
    rows, columns = instance.number(_ROWS), instance.number(_COLUMNS)
    samples, bits = instance.number(_SAMPLES, 1), instance.number(_ALLOCATED)
    if rows < 1 or columns < 1 or samples < 1:
        raise DataConsistencyError(
            f"{path} has no image shape: {rows} rows, {columns} columns, {samples} samples a pixel"
        )
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    dtype = _dtype(instance, place.tag, bits)
    direct = (
        place.direct
        and bits != 1
        and (samples == 1 or instance.number(_PLANAR) == 0)
        and instance.text(_PHOTOMETRIC) not in _SUBSAMPLED
    )
    layout = FrameLayout(shape, dtype, direct)
    if direct:
        found = min(place.length, instance.size - place.offset)
        if found < layout.size:
            raise DataConsistencyError(
                f"{path} is truncated: expected {layout.size} bytes of pixels, found {found}"
            )
    return layout


def common_layout(instances: Sequence[Instance]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype that the frames of all files have.

    Raises:
        DataConsistencyError: they differ, or a file has no usable frame; with the numbers.
    """
    layouts = [frame_layout(instance) for instance in instances]
    kinds: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for layout, instance in zip(layouts, instances, strict=True):
        kinds.setdefault((layout.shape, layout.dtype.name), []).append(instance.path)
    if len(kinds) > 1:
        listed = "".join(
            f"\n  {len(paths)} of {' x '.join(map(str, shape))} {dtype}, e.g. {paths[0]}"
            for (shape, dtype), paths in kinds.items()
        )
        raise DataConsistencyError(
            f"the images of the series {describe_series(instances)} don't make a volume:{listed}"
        )
    return layouts[0].shape, layouts[0].dtype


def read_volume(
    instances: Sequence[Instance],
    num_threads: int,
    on_frame: Callable[[], None] | None = None,
) -> tuple[NDArray[Any], set[str]]:
    """Read the pixels of a series.

    Args:
        instances: its files, in the order of the slices.
        num_threads: how many files are read at a time.
        on_frame: called after each file, by the thread that called this.

    Returns:
        The stored values as (slice, row, column) or (slice, row, column, sample), C-contiguous, in
        native byte order; and the photometric interpretations that decoding gave them, where that
        is not what the files say (of colours that were subsampled or transformed by a codec).

    Raises:
        DataConsistencyError: frames differ, a file is truncated or has no pixels; names it.
        CodecError: compressed pixels that can't be decoded; names the file, and what is missing.
        CubeFileAccessError: the operating system refuses to read.
    """
    shape, dtype = common_layout(instances)
    volume = np.empty((len(instances), *shape), dtype)
    interpretations: set[str] = set()

    def read(index: int) -> None:
        instance, frame = instances[index], volume[index]
        if frame_layout(instance).direct:
            _read_direct(instance, frame)
        else:
            interpretation = _decode(instance, frame)
            if interpretation != instance.text(_PHOTOMETRIC):
                interpretations.add(interpretation)

    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        for _ in pool.map(read, range(len(instances))):
            if on_frame is not None:
                on_frame()
    return volume, interpretations


def _dtype(instance: Instance, tag: int, bits: int) -> np.dtype[Any]:
    if tag == FLOAT_PIXEL_DATA:
        return np.dtype(np.float32)
    if tag == DOUBLE_FLOAT_PIXEL_DATA:
        return np.dtype(np.float64)
    if bits not in (1, 8, 16, 32):
        raise DataConsistencyError(
            f"{instance.path} has BitsAllocated {bits}: expected 1, 8, 16 or 32"
        )
    return np.dtype(f"{'i' if instance.number(_SIGNED) and bits > 1 else 'u'}{max(bits, 8) // 8}")


def _read_direct(instance: Instance, frame: NDArray[Any]) -> None:
    assert instance.pixels is not None
    view = frame.reshape(-1).view(np.uint8).data
    try:
        with open(instance.path, "rb", buffering=0) as file:
            file.seek(instance.pixels.offset)
            done = 0
            while done < len(view):
                count = file.readinto(view[done:])
                if not count:
                    raise DataConsistencyError(
                        f"{instance.path} is truncated: expected {len(view)} bytes of pixels, "
                        f"found {done}"
                    )
                done += count
    except OSError as error:
        raise CubeFileAccessError(f"can't read {instance.path}: {error.strerror}") from error
    if sys.byteorder == "big":
        frame.byteswap(inplace=True)


def _decode(instance: Instance, frame: NDArray[Any]) -> str:
    """Let pydicom decode a frame; return the photometric interpretation it then has."""
    syntax = UID(instance.transfer_syntax or _IMPLICIT_LITTLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(instance.path, force=True)
            decoded, facts = get_decoder(syntax).as_array(dataset, raw=True)
    except Exception as error:  # pydicom and its plugins raise whatever the bytes provoke
        raise CodecError(
            f"{instance.path}: can't decode pixels in transfer syntax {syntax.name}: "
            + " ".join(str(error).split()),
            suggestion="pip install dicube[dicom-codecs]" if syntax.is_encapsulated else None,
        ) from error
    if decoded.shape != frame.shape:
        raise DataConsistencyError(
            f"{instance.path}: expected a frame of shape {frame.shape}, decoded {decoded.shape}"
        )
    if not np.can_cast(decoded.dtype, frame.dtype, "equiv"):
        raise DataConsistencyError(
            f"{instance.path}: expected samples of {frame.dtype}, decoded {decoded.dtype}"
        )
    frame[...] = decoded
    return str(facts["photometric_interpretation"])
