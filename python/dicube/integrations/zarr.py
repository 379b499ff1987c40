"""Codecs of Zarr 3 for the frames of dicube files: HTJ2K and JPEG XL, a frame in each chunk.

    zarr.create_array(store, shape=(90, 512, 512), chunks=(1, 512, 512), dtype="int16",
                      serializer=HTJ2KCodec(), compressors=None)

Zarr finds them by their entry points, so that reading needs no import. Samples of any type are
mapped to those of the codec as in dicube files (FORMAT.md). Must not know files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dicube.codecs.records import JPH, JXL, CodecRecord
from dicube.codecs.samples import check_dtype
from dicube.codecs.still import decode_image_as, encode_image
from dicube.exceptions import DataConsistencyError, needing, shown

with needing("a codec of Zarr 3 (on Python 3.11 or newer)", "zarr", "zarr"):
    from zarr.abc.codec import ArrayBytesCodec

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer


@dataclass(frozen=True)
class _FrameCodec(ArrayBytesCodec):
    """A codec whose chunks are frames; see `HTJ2KCodec`."""

    name: ClassVar[str]
    record: ClassVar[CodecRecord]

    samples: int = 1
    effort: int | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or self.samples not in (1, 3):
            raise DataConsistencyError(
                f"{self.name}: expected 1 or 3 samples per pixel, found {shown(self.samples)}"
            )
        if self.effort is not None and not isinstance(self.effort, (int, str)):
            raise DataConsistencyError(
                f"{self.name}: expected a number or a word as effort, found {shown(self.effort)}"
            )
        self.record.effort_number(self.effort)

    @classmethod
    def from_dict(cls, data: Any) -> Any:
        """Return the codec that the metadata of an array describe.

        Raises:
            DataConsistencyError: they are malformed.
        """
        found = data.get("configuration", {}) if isinstance(data, Mapping) else {}
        if not isinstance(found, Mapping) or not found.keys() <= cls.__dataclass_fields__.keys():
            raise DataConsistencyError(f"{cls.name}: expected a configuration with other keys")
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as the metadata of an array describe it."""
        configuration = {k: value for k, value in asdict(self).items() if value is not None}
        return {"name": self.name, "configuration": configuration}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Check that each chunk of an array is a frame.

        Raises:
            DataConsistencyError: chunks of another shape, or a dtype that can't be encoded.
        """
        self._frame_shape(chunk_grid.chunk_shape)
        check_dtype(dtype.to_native_dtype())

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError: the size depends on the samples."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype, shape = chunk_spec.dtype.to_native_dtype(), tuple(chunk_spec.shape)
        # Zarr itself decodes chunks concurrently.
        frame = decode_image_as(chunk_data.as_numpy_array(), self._frame_shape(shape), dtype)
        chunk = frame.reshape(shape).astype(dtype, copy=False)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(chunk)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        chunk: NDArray[Any] = chunk_data.as_numpy_array()
        frame = chunk.reshape(self._frame_shape(chunk.shape))
        coded = encode_image(self.record, frame, self.effort, num_threads=1)
        return chunk_spec.prototype.buffer.from_bytes(coded)

    def _frame_shape(self, chunk: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the frame in a chunk: (rows, columns[, 3])."""
        axes = 2 if self.samples == 1 else 3
        fits = len(chunk) >= axes and (axes == 2 or chunk[-1] == 3)
        if not fits or np.prod(chunk[:-axes], dtype=object) != 1:
            frame = "rows, columns" if axes == 2 else "rows, columns, 3"
            raise DataConsistencyError(
                f"{self.name}: expected chunks of one frame, (1, …, {frame}), found {chunk}"
            )
        return tuple(chunk[-axes:])


@dataclass(frozen=True)
class HTJ2KCodec(_FrameCodec):
    """HTJ2K (ISO/IEC 15444-15), lossless; `dicube.htj2k` in the metadata of an array.

    Chunks are frames of any number of leading axes of length 1: (1, rows, columns), or
    (1, rows, columns, 3). Samples are integers of 8 to 64 bits or floats of 16 to 64.

    Args:
        samples: per pixel: 1, or 3 for colour, which is then the last axis.
        effort: None; HTJ2K has no choice.

    Raises:
        DataConsistencyError: another number of samples, or an effort.
    """

    name = "dicube.htj2k"
    record = JPH


@dataclass(frozen=True)
class JXLCodec(_FrameCodec):
    """JPEG XL (ISO/IEC 18181), lossless; `dicube.jxl` in the metadata of an array.

    Also decodes lossy frames, and those with a mask. Chunks and samples are those of `HTJ2KCodec`.

    Args:
        samples: per pixel: 1 or 3.
        effort: of encoding: 2 (fast) to 9 (small), or 'fast', 'balanced', 'best'; None for the
            default.

    Raises:
        DataConsistencyError: another number of samples, or an unknown effort.
    """

    name = "dicube.jxl"
    record = JXL
