"""What an image was read from, and whether it still is that.

Nothing is told when a caller changes metadata, header, geometry or pixels, in place perhaps; so all
are compared with what was read. Must not know files of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dicube.core.pixel_header import PixelDataHeader
from dicube.dicom import DicomMeta
from dicube.dicom.geometry import Space, space_to_json
from dicube.dicom.original_elements import OriginalElements
from dicube.dicom.original_index import originals_from_bytes, originals_to_bytes
from dicube.dicom.originals import Originals
from dicube.exceptions import InvalidCubeFileError
from dicube.storage.packed_text import pack_bytes, unpack_bytes


class StoredOriginals:
    """The original files that a dicube file holds, unpacked when they are first asked for.

    Attributes:
        packed: the bytes of the section.
        coded: the coded frames of the dicube file, if the originals may refer to them.
    """

    def __init__(
        self, packed: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], codec: str
    ) -> None:
        """Take the bytes of the section, and what the file's frames are."""
        self.coded: tuple[bytes, ...] = ()
        self.packed = packed
        self._volume = shape, dtype, codec
        self._unpacked: Originals | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_unpacked": None}  # views of memory can't be pickled

    def __call__(self) -> Originals:
        """Return the originals.

        Raises:
            InvalidCubeFileError: the section is malformed.
        """
        if self._unpacked is None:
            try:
                data = unpack_bytes(self.packed)
            except InvalidCubeFileError as error:
                raise InvalidCubeFileError(f"section originals: {error.message}") from error
            originals = originals_from_bytes(data, *self._volume)
            originals.coded = self.coded
            self._unpacked = originals
        return self._unpacked


class StoredMeta:
    """The metadata that a dicube file holds, as they were read."""

    def __init__(self, text: str, originals: OriginalElements) -> None:
        """Take the JSON, and what gives the elements that are not whole in it."""
        self._text, self._originals = text, originals

    def __call__(self) -> DicomMeta:
        """Return the metadata, made anew."""
        return DicomMeta.from_json(self._text, originals=self._originals)


class Provenance:
    """The original files of an image, and what it was when it was read from them."""

    def __init__(
        self,
        originals: Originals | StoredOriginals | str,
        meta: DicomMeta | StoredMeta | None,
        header: PixelDataHeader,
        space: Space | None,
    ) -> None:
        """Take what was read.

        Args:
            originals: the files; or why there are none.
            meta: the metadata; a fork, that nobody else changes.
            header, space: as they are now.
        """
        self._originals, self._meta = originals, meta
        self._header, self._space = header.to_json(), _space_text(space)

    @property
    def originals(self) -> Originals:
        """The files, of an image to which there is no `objection`.

        Raises:
            InvalidCubeFileError: those that the file holds are malformed.
        """
        if isinstance(self._originals, StoredOriginals):
            return self._originals()
        assert isinstance(self._originals, Originals)
        return self._originals

    def pack_originals(self) -> bytes:
        """Return the section that holds the files, of an image to which there is no `objection`."""
        if isinstance(self._originals, StoredOriginals):
            return self._originals.packed
        return pack_bytes(originals_to_bytes(self.originals))

    def of_slices(
        self, slices: Sequence[int], meta: DicomMeta, header: PixelDataHeader, space: Space | None
    ) -> Provenance:
        """Return the files of some of the slices, of an image to which there is no `objection`.

        Args:
            slices: their numbers, ascending.
            meta, header, space: of these slices.

        Raises:
            InvalidCubeFileError: the files are malformed.
        """
        return Provenance(self.originals.of_slices(slices), meta.fork(), header, space)

    @property
    def is_fresh(self) -> bool:
        """Whether the files themselves were read, and not a dicube file that holds them."""
        return isinstance(self._originals, Originals)

    def objection(
        self, meta: DicomMeta | None, header: PixelDataHeader, space: Space | None
    ) -> str:
        """Return why the files are not the image's any more, pixels apart; '' if they are.

        Args:
            meta, header, space: the image's, as they are now.
        """
        if isinstance(self._originals, str):
            return self._originals
        before = self._meta() if isinstance(self._meta, StoredMeta) else self._meta
        if meta is None or before is None or not meta.same_as(before):
            return "the metadata were changed"
        if header.to_json() != self._header:
            return "the pixel header was changed"
        if _space_text(space) != self._space:
            return "the space was changed"
        return ""


def _space_text(space: Space | None) -> str:
    return "" if space is None else space_to_json(space)
