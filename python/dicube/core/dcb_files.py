"""DcbFile and its subclasses of the published package, implemented with reader, writer and image.

Must not know how a file is laid out, except for the header, which callers may read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import read_header, read_meta, read_space, read_status
from dicube.core.image import DicomCubeImage
from dicube.core.num_threads import get_num_threads
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.series.geometry import Space, space_to_json
from dicube.dicom.transfer_syntaxes import HTJ2K, JPEG_XL, JPEG_XL_LOSSY
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.formats import ARCHIVE, LOSSY, SPEED
from dicube.validation import validate_string_not_empty

_HEADER_FIELDS = (
    "magic",
    "version",
    *(
        f"{section}_{what}"
        for section in (
            "dicom_status",
            "dicommeta",
            "space",
            "pixel_header",
            "frame_offsets",
            "frame_lengths",
        )
        for what in ("offset", "length")
    ),
    "frame_count",
)
_HEADER_SIZE = 116


class DcbFile:
    """A dicube file at a path, whose parts are read when they are needed.

    An existing file is of the kind that its magic identifies, whatever the class called.

    Args:
        filename: the path.
        mode: 'r' to read; 'w' to write, which appends the extension of the kind if it is missing;
            'a' to read, or to write a file that doesn't exist yet.

    Raises:
        InvalidCubeFileError: an unknown mode, an empty path, not a dicube file, or a `.dcbr`.
    """

    HEADER_STRUCT = "<8sI13Q"
    MAGIC = b"DCMCUBE\0"
    VERSION = 1
    TRANSFER_SYNTAX_UID: str | None = None
    FILE_EXTENSION = ".dcb"
    CODEC_NAME: str | None = None

    def __init__(self, filename: str | os.PathLike[str], mode: str = "r") -> None:
        path = os.fspath(filename) if isinstance(filename, os.PathLike) else filename
        validate_string_not_empty(path, "filename", "DcbFile", InvalidCubeFileError)
        if mode not in ("r", "w", "a"):
            raise InvalidCubeFileError(f"expected mode r, w or a, found {mode!r}")
        if mode == "w" and not path.endswith(self.FILE_EXTENSION):
            path += self.FILE_EXTENSION
        self.filename = path
        self.mode = mode
        self._header: dict[str, Any] | None = None
        if mode != "w" and os.path.exists(path):
            magic = self.read_header(verify_magic=False)["magic"]
            if magic not in _KINDS:
                known = " or ".join(kind.FILE_EXTENSION for kind in _KINDS.values())
                raise InvalidCubeFileError(f"{path}: expected the magic of {known}, found another")
            self.__class__ = _KINDS[magic]

    @property
    def header(self) -> dict[str, Any]:
        """The fields of the header: magic, version, offsets and lengths, and frame_count."""
        return self.read_header()

    def read_header(self, verify_magic: bool = True) -> dict[str, Any]:
        """Return the fields of the header.

        Raises:
            InvalidCubeFileError: the file is missing or too short, or has another magic.
        """
        if self._header is None:
            DcbReader(self.filename).close()  # raises if anything is wrong with the file
            with open(self.filename, "rb") as file:
                fields = struct.unpack(self.HEADER_STRUCT, file.read(_HEADER_SIZE))
            self._header = dict(zip(_HEADER_FIELDS, fields, strict=True))
        magic = self._header["magic"]
        if verify_magic and magic != self.MAGIC:
            raise InvalidCubeFileError(
                f"{self.filename}: expected magic {self.MAGIC!r}, found another"
            )
        return self._header

    def write(
        self,
        images: Sequence[NDArray[Any]] | NDArray[Any],
        pixel_header: PixelDataHeader,
        dicom_meta: DicomMeta | None = None,
        dicom_status: DicomStatus = DicomStatus.CONSISTENT,
        space: Space | None = None,
    ) -> None:
        """Write the file; see `DicomCubeImage.to_file`.

        Args:
            images: the frames, all of one shape and dtype; or (slices, rows, columns[, 3]).
            pixel_header, dicom_meta, dicom_status, space: as of a `DicomCubeImage`.

        Raises:
            DataConsistencyError: no frames, or frames that differ in shape or dtype.
            InvalidCubeFileError: the file exists and was opened to append, which isn't supported;
                or this is a DcbFile of no kind.
        """
        if self.CODEC_NAME is None:
            raise InvalidCubeFileError(
                "a DcbFile of no kind can't be written", suggestion="use DcbSFile or DcbAFile"
            )
        if self.mode == "a" and os.path.exists(self.filename):
            raise InvalidCubeFileError(
                f"{self.filename}: nothing can be appended to a dicube file",
                suggestion="use mode 'w' to replace it",
            )
        try:
            volume = np.stack(list(images))
        except ValueError as error:
            raise DataConsistencyError(
                f"the frames can't be stacked to a volume: {error}"
            ) from None
        image = DicomCubeImage(volume, pixel_header, dicom_meta, space, dicom_status)
        image.to_file(self.filename, num_threads=get_num_threads())
        self._header = None

    def read_meta(self, DicomMetaClass: type[Any] = DicomMeta) -> Any:  # noqa: N803
        """Return the metadata; None if the file has none.

        Args:
            DicomMetaClass: the class to return; its `from_json` is called.
        """
        with DcbReader(self.filename) as reader:
            meta = read_meta(reader)
        if meta is None or DicomMetaClass is DicomMeta:
            return meta
        return DicomMetaClass.from_json(meta.to_json())

    def read_space(self, SpaceClass: type[Any] = Space) -> Any:  # noqa: N803
        """Return the geometry, in (z, y, x) order; None if the file has none.

        Args:
            SpaceClass: the class to return; its `from_json` is called.
        """
        with DcbReader(self.filename) as reader:
            space = read_space(reader)
        if space is None or SpaceClass is Space:
            return space
        return SpaceClass.from_json(space_to_json(space)).reverse_axis_order()

    def read_pixel_header(self, HeaderClass: type[Any] = PixelDataHeader) -> Any:  # noqa: N803
        """Return the pixel header; one without rescale if the file has none.

        Args:
            HeaderClass: the class to return; its `from_json` is called.
        """
        with DcbReader(self.filename) as reader:
            header = read_header(reader)
        return header if HeaderClass is PixelDataHeader else HeaderClass.from_json(header.to_json())

    def read_images(self) -> list[NDArray[Any]] | NDArray[Any]:
        """Return a list of frames; the frame itself if there is one, an empty array if none."""
        with DcbReader(self.filename, num_threads=get_num_threads()) as reader:
            if not reader.shape[0]:
                return np.array([], read_header(reader).OriginalPixelDtype)
            volume = reader.read_frames()
        return list(volume) if len(volume) > 1 else np.asarray(volume[0])

    def read_dicom_status(self) -> DicomStatus:
        """Return the status; CONSISTENT if the file has none."""
        with DcbReader(self.filename) as reader:
            return read_status(reader)

    def get_transfer_syntax_uid(self) -> str | None:
        """Return the UID of the transfer syntax of such frames; None for a DcbFile of no kind."""
        return self.TRANSFER_SYNTAX_UID


class DcbSFile(DcbFile):
    """A `.dcbs` file: HTJ2K, fast."""

    MAGIC, FILE_EXTENSION, CODEC_NAME = SPEED.magic, SPEED.extension, SPEED.codec.name
    TRANSFER_SYNTAX_UID = HTJ2K.uid


class DcbAFile(DcbFile):
    """A `.dcba` file: JPEG XL, small."""

    MAGIC, FILE_EXTENSION, CODEC_NAME = ARCHIVE.magic, ARCHIVE.extension, ARCHIVE.codec.name
    TRANSFER_SYNTAX_UID = JPEG_XL.uid


class DcbLFile(DcbFile):
    """A `.dcbl` file: JPEG XL, lossy."""

    MAGIC, FILE_EXTENSION, CODEC_NAME = LOSSY.magic, LOSSY.extension, LOSSY.codec.name
    TRANSFER_SYNTAX_UID = JPEG_XL_LOSSY.uid


_KINDS: dict[bytes, type[DcbFile]] = {kind.MAGIC: kind for kind in (DcbSFile, DcbAFile, DcbLFile)}
