"""The original files of an image, and detection of changes since they were read.

Callers may modify metadata, header, geometry and pixels in place, so changes can't be observed;
they are found by comparing with what was read. Must not know files of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.metadata.original_elements import OriginalElements
from dicube.dicom.originals.model import Bytes, Original, Originals
from dicube.dicom.originals.section import (
    BulkSource,
    index_of,
    originals_from_bytes,
    originals_to_bytes,
)
from dicube.dicom.series.geometry import space_fields
from dicube.exceptions import InvalidCubeFileError, reporting_memory
from dicube.pixel_header import PixelDataHeader
from dicube.storage.packed_text import pack_bytes, unpack_bytes
from dicube.storage.pixel_utils import frame_checksums
from dicube.strict_json import least_packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicube.dicom.series.geometry import Space


def pack_originals(
    originals: Originals,
    volume: NDArray[Any],
    store: Callable[[Bytes], tuple[int, int, int, int]] | None = None,
) -> bytes:
    """Return the section that holds original files; see `originals_to_bytes` for the arguments."""
    data = originals_to_bytes(originals, volume, store)
    return pack_bytes(data, least_packed(index_of(data)))


class StoredOriginals:
    """The original files in a dicube file, unpacked when they are first needed.

    Attributes:
        packed: the bytes of the section.
        coded: the coded frames of the dicube file, if the originals may refer to them.
    """

    def __init__(
        self,
        packed: bytes,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        codec: str,
        max_memory: int | None,
        bulk: BulkSource | None,
    ) -> None:
        """Take the section's bytes, the properties of the file's frames, and the memory limit.

        `bulk` is the source of the ranges that the section refers to, if the file has any.
        """
        self.coded: tuple[bytes, ...] = ()
        self.packed = packed
        self._volume = shape, dtype, codec
        self._max_memory = max_memory
        self._bulk = bulk
        self._unpacked: Originals | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_unpacked": None}  # views of memory can't be pickled

    def __call__(self) -> Originals:
        """Return the originals.

        Raises:
            InvalidCubeFileError: the section is malformed.
        """
        if self._unpacked is None:
            self._unpacked = self._unpack()
        return self._unpacked

    def holding(self, text: bytes) -> Originals:
        """Return only those files that have a text among the bytes in the section.

        Raises:
            InvalidCubeFileError: the section is malformed; the other files are not checked.
        """
        return self._unpack(text)

    def _unpack(self, holding: bytes = b"") -> Originals:
        try:
            data = unpack_bytes(self.packed, self._max_memory)
        except InvalidCubeFileError as error:
            raise type(error)(f"section originals: {error.message}") from error
        with reporting_memory:
            originals = originals_from_bytes(
                data, *self._volume, self._bulk, len(self.packed), self._max_memory, holding
            )
        originals.coded = self.coded if originals.codec else ()
        return originals


class StoredMeta:
    """The metadata in a dicube file, as they were read."""

    def __init__(self, text: str, originals: OriginalElements) -> None:
        """Take the JSON, and the source of the elements that it does not hold completely."""
        self._text, self._originals = text, originals

    def __call__(self) -> DicomMeta:
        """Return new metadata, parsed from the JSON."""
        return DicomMeta.from_json(self._text, originals=self._originals)


class Provenance:
    """The original files of an image, and the state of the image when it was read from them.

    Attributes:
        is_fresh: whether the files themselves were read, rather than a dicube file with them.
    """

    def __init__(
        self,
        originals: Originals | StoredOriginals | str,
        meta: DicomMeta | StoredMeta | None,
        header: PixelDataHeader,
        space: Space | None,
    ) -> None:
        """Take what was read.

        Args:
            originals: the files; or the reason why there are none.
            meta: the metadata; a fork, because callers may change the metadata read.
            header, space: as read.
        """
        self._originals, self._meta = originals, meta
        self.is_fresh = isinstance(originals, Originals)
        self._checksums: list[int] | None = None
        self._is_meta_seen = False
        self._packed: bytes | None = None
        self._header, self._space = header.to_json(), space and space_fields(space)

    @property
    def originals(self) -> Originals:
        """The files. Only for an image without an `objection`.

        Raises:
            InvalidCubeFileError: the files in the dicube file are malformed.
        """
        if isinstance(self._originals, StoredOriginals):
            return self._originals()
        assert isinstance(self._originals, Originals)
        return self._originals

    @property
    def others(self) -> tuple[Original, ...]:
        """The files without frames, whether or not there is an `objection`."""
        try:
            return () if isinstance(self._originals, str) else self.originals.others
        except InvalidCubeFileError:  # which is no obstacle to leaving them out
            return ()

    def pack_originals(
        self,
        volume: NDArray[Any],
        store: Callable[[Bytes], tuple[int, int, int, int]] | None = None,
    ) -> bytes:
        """Return the section that holds the files.

        Args:
            volume: of an image without an `objection` or a `changed_file`.
            store: stores bulk; see `originals_to_bytes`.
        """
        if store is not None:
            return pack_originals(self.originals, volume, store)
        if isinstance(self._originals, StoredOriginals):
            return self._originals.packed
        # The files stay the same however often the image is saved, so they are hashed once.
        if self._packed is None:
            self._packed = pack_originals(self.originals, volume)
        return self._packed

    def of_slices(
        self, slices: Sequence[int], meta: DicomMeta, header: PixelDataHeader, space: Space | None
    ) -> Provenance:
        """Return the files of some slices, of an image without an `objection`.

        Args:
            slices: their numbers, ascending.
            meta, header, space: of these slices.

        Raises:
            InvalidCubeFileError: the files are malformed.
        """
        part = Provenance(self.originals.of_slices(slices), meta.fork(), header, space)
        part.is_fresh = self.is_fresh
        return part

    def keeping(self, codec: str) -> Provenance:
        """Return the files for a dicube file with frames of a codec; see `Originals.keeping`."""
        kept = copy(self)
        kept._originals = self.originals.keeping(codec)
        return self if kept._originals is self.originals else kept

    def watch(self, volume: NDArray[Any]) -> None:
        """Remember the pixels before a caller gets them, who may change them."""
        if self.is_fresh and self._checksums is None:
            found = frame_checksums(volume)
            # If two threads get here at once, no caller has the pixels yet.
            if self._checksums is None:
                self._checksums = found

    def let_meta_go(self) -> None:
        """Note that a caller gets the metadata, or replaces them."""
        self._is_meta_seen = True

    def changed_file(self, volume: NDArray[Any], num_threads: int) -> Original | None:
        """Return a file whose pixels were changed; None if there is none.

        Args:
            volume: as it is now, of an image without an `objection`.
            num_threads: files compared at the same time, if that requires decoding.

        Raises:
            InvalidCubeFileError: the files in the dicube file are malformed.
        """
        originals = self.originals
        if not self.is_fresh:
            return originals.first_changed(volume, num_threads)
        if self._checksums is None:
            return None
        if volume.shape != originals.shape or volume.dtype.newbyteorder("=") != originals.dtype:
            return originals.files[0]
        now = enumerate(frame_checksums(volume))
        before = self._checksums
        return originals.first_with({i for i, checksum in now if checksum != before[i]})

    def objection(
        self, meta: DicomMeta | None, header: PixelDataHeader, space: Space | None
    ) -> str:
        """Return why the image, pixels aside, is not what was read; '' if it is.

        Args:
            meta, header, space: of the image, as they are now.
        """
        if isinstance(self._originals, str):
            return self._originals
        if meta is None or (self._is_meta_seen and not self._is_as_read(meta)):
            return "the metadata were changed"
        if header.to_json() != self._header:
            return "the pixel header was changed"
        if (space and space_fields(space)) != self._space:
            return "the space was changed"
        if isinstance(self._originals, Originals):
            return next(filter(None, (bulk.problem() for bulk in self._originals.bulk)), "")
        return ""

    def _is_as_read(self, meta: DicomMeta) -> bool:
        before = self._meta() if isinstance(self._meta, StoredMeta) else self._meta
        return before is not None and meta.same_as(before)
