"""The coded frames that an image was read from, for exports that copy instead of recoding them.

The file is opened again when its frames are needed, and used only if it is still the file that was
read. Must not know DICOM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.codecs import get_codec
from dicube.core.lossy.loss import has_plain_frames
from dicube.exceptions import DicomCubeError
from dicube.storage.dcb_reader import DcbReader

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VolumeFrames:
    """The frames of an array, with their coded form where that decodes to the same samples."""

    def __init__(self, volume: NDArray[Any], codec: str = "", coded: Any = None) -> None:
        """Take the array, and a function that returns the coded form of a frame, or None."""
        self.shape, self.dtype, self.codec = volume.shape, volume.dtype, codec
        self._volume, self._coded = volume, coded

    def pixels(self, index: int) -> NDArray[Any]:
        """Return the samples of a frame."""
        frame: NDArray[Any] = self._volume[index]
        return frame

    def coded(self, index: int) -> bytes | None:
        """Return the coded form of a frame; None if it has none that decodes to its samples."""
        coded: bytes | None = None if self._coded is None else self._coded(index)
        return coded


class FileFrames:
    """The frames of an open file, decoded only when needed."""

    def __init__(self, reader: DcbReader) -> None:
        """Take the reader of the file."""
        self.shape, self.dtype, self.codec = reader.shape, reader.dtype, reader.codec
        self._reader = reader
        self._is_plain = has_plain_frames(reader)

    def pixels(self, index: int) -> NDArray[Any]:
        """Return the samples of a frame."""
        frame: NDArray[Any] = self._reader.read_frames(index, index + 1)[0]
        return frame

    def coded(self, index: int) -> bytes | None:
        """Return the coded form of a frame; None if only dicube decodes it to its samples."""
        return self._reader.coded(index) if self._is_plain else None


class CodedSource:
    """A dicube file that an image was read from: its path, or its bytes."""

    def __init__(self, source: Any) -> None:
        """Take the argument for a `DcbReader`, before it is opened.

        File objects and URLs are not kept, because a later change of the file can't be detected.
        """
        self._identity = _identity(source)
        is_known = isinstance(source, bytes) or self._identity is not None
        self._source = source if is_known else None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the bytes of a file, which hold all that was in it."""
        source = None if isinstance(self._source, bytes) else self._source
        return {**self.__dict__, "_source": source}

    @contextmanager
    def frames(self, volume: NDArray[Any], compare: bool) -> Iterator[VolumeFrames]:
        """Give the frames of a volume that was read from the file.

        Args:
            volume: as it is now.
            compare: whether samples may have changed; frames are then decoded and compared.
        """
        if self._source is None or _identity(self._source) != self._identity:
            yield VolumeFrames(volume)
            return
        try:
            reader = DcbReader(self._source, num_threads=1)
        except DicomCubeError:  # deleted since, or not readable any more
            yield VolumeFrames(volume)
            return
        with reader:
            alike = reader.shape == volume.shape and reader.dtype == volume.dtype
            if not alike or not has_plain_frames(reader):
                yield VolumeFrames(volume)
                return

            def coded(index: int) -> bytes | None:
                if compare:
                    decoded = reader.read_frames(index, index + 1)[0]
                    if not _same(decoded, volume[index]):
                        return None
                return reader.coded(index)

            yield VolumeFrames(volume, reader.codec, coded)


def frames_of_codec(
    volume: NDArray[Any], codec: str, coded: Sequence[bytes], compare: bool
) -> VolumeFrames:
    """Return the frames of a volume that was decoded from coded frames.

    Args:
        volume: as it is now.
        codec: of the coded frames.
        coded: one for each slice, empty if it has none.
        compare: whether samples may have changed; frames are then decoded and compared.
    """
    if len(coded) != len(volume):
        return VolumeFrames(volume)

    def kept(index: int) -> bytes | None:
        if not coded[index]:
            return None
        if compare and not _same(get_codec(codec).decode(coded[index]), volume[index]):
            return None
        return coded[index]

    return VolumeFrames(volume, codec, kept)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays are of one type and hold the same bits."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    kind = np.dtype(f"u{one.dtype.itemsize}")
    ours, theirs = (np.ascontiguousarray(each).view(kind) for each in (one, other))
    return bool(np.array_equal(ours, theirs))


def _identity(source: Any) -> tuple[int, ...] | None:
    """Return what distinguishes a file from one that replaced it; None if there is no file."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        status = os.stat(source)
    except (OSError, ValueError):  # there may be no such file, or no file of such a name
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
