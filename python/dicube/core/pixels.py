"""The pixels of an image: an array, or an open file from which they are decoded when needed.

Knows arrays and the reader of files. It must not know metadata or geometry.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import InvalidCubeFileError
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.intact_frames import ranges_of
from dicube.storage.pixel_utils import compute_real_values
from dicube.storage.real_values import RealValues
from dicube.threads import Progress


class Pixels:
    """The stored values of an image, and its real values if these were decoded already.

    Args:
        source: the stored values, or the reader of the file that holds them, which is released
            after they are decoded.
        masks: (slices, rows, columns), True inside; None for none.

    Attributes:
        shape: (slices, rows, columns[, 3]).
        dtype: of the stored values.
        seen: whether a caller got the array and may have changed it. Images that share pixels share
            this too.
    """

    def __init__(
        self, source: NDArray[Any] | DcbReader, masks: NDArray[np.bool_] | None = None
    ) -> None:
        self.shape: tuple[int, ...] = source.shape
        self.dtype: np.dtype[Any] = source.dtype
        self._source = source
        self._masks = masks
        self._made: tuple[RealValues, NDArray[Any]] | None = None
        self._lock = threading.Lock()
        self.seen = False
        # The damaged frames that the image reports; None while it reports none.
        self._reported: frozenset[int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the array, because an open file can't be pickled."""
        return {"source": self.stored(), "masks": self._masks, "seen": self.seen}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Hold the array."""
        Pixels.__init__(self, state["source"], state["masks"])
        self.seen = state["seen"]

    def stored(self, progress: Progress | None = None) -> NDArray[Any]:
        """Return the stored values, decoding them at the first call.

        Args:
            progress: called as `progress(done, total)`, in slices, if they are decoded.

        Raises:
            InvalidCubeFileError: a checksum differs.
            CodecError: a frame does not decode.
        """
        with self._lock:
            self._made = None  # callers may change the array
            if isinstance(self._source, DcbReader):
                # The reader is not closed here: after a failure it is needed again, and other
                # threads may be using it. It closes when its last user lets it go.
                reader = self._source
                volume, masks = reader.begin_decoding(progress).finish()
                self._check_damage(reader)
                self._source, self._masks = volume, masks
            return self._source

    def some(self, slices: Sequence[int]) -> NDArray[Any]:
        """Return the stored values of some slices; what is decoded for this is not kept."""
        with self._lock:
            source = self._source
        if isinstance(source, DcbReader):
            return source.read_frame_list(slices)
        return source[list(slices)]

    @property
    def held(self) -> NDArray[Any] | None:
        """The stored values; None until they are decoded."""
        return None if isinstance(self._source, DcbReader) else self._source

    def masks(self) -> NDArray[np.bool_] | None:
        """Return the masks that a `.dcbr` file holds, (slices, rows, columns); else None."""
        if isinstance(self._source, DcbReader):
            self.stored()
        return self._masks

    def make_real(self, real: RealValues, progress: Progress | None = None) -> None:
        """Decode to real values, for the next `take_real` with equal arguments."""
        assert isinstance(self._source, DcbReader)
        self._made = real, self._source.read_frames(real=real, progress=progress)
        self._reported = frozenset(self._source.damaged_frames)

    def take_real(self, real: RealValues) -> NDArray[Any]:
        """Return real values in an array that only the caller has.

        Raises:
            DataConsistencyError: a dtype that real values can't have.
            InvalidCubeFileError: a checksum differs.
            CodecError: a frame does not decode.
        """
        with self._lock:
            made, self._made = self._made, None
            reader = self._source if isinstance(self._source, DcbReader) else None
        if not real.is_linear:
            return compute_real_values(self.stored(), real)
        if made is not None and made[0].same_as(real):
            return made[1]
        if reader is not None:
            values = reader.read_frames(real=real)
            self._check_damage(reader)
            return values
        return compute_real_values(self.stored(), real)

    def _check_damage(self, reader: DcbReader) -> None:
        """Raise InvalidCubeFileError if frames were skipped that the image reports as intact."""
        if self._reported is not None and (new := reader.damaged_frames.keys() - self._reported):
            raise InvalidCubeFileError(
                f"frames {ranges_of(sorted(new))} were damaged since they were first read"
            )
