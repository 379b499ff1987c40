"""A dicube file as DICOM instances, one for each frame, made when it is asked for: for viewers.

Frames go out as they are coded where DICOM has them so. Must not know how instances are laid out.
"""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import derived_attributes, read_header, read_meta, read_space
from dicube.core.dcb_files import DcbFile
from dicube.core.lossy.loss import has_plain_frames, read_losses
from dicube.core.num_threads import get_num_threads
from dicube.dicom.dicom_io import pixel_header_of
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.folder import SeriesFiles, check_syntax
from dicube.dicom.export.frame_coding import CodedFrame, check_samples, kept_in
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.series.precedence import settled
from dicube.dicom.transfer_syntaxes import EXPLICIT, syntax_of_codec
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader


class DcbStreamingReader:
    """An open dicube file that gives each of its frames as a DICOM file.

    May be used by many threads at once.

    Args:
        dcb_file_path: the file.
        chunk_size: taken as the published package takes it, and told by `get_cache_stats`; an
            instance takes a few milliseconds, so that none is made before it is asked for.
        cache_size: how many instances are kept, those that were asked for last.
        force_uncompressed: decode frames, and give Explicit VR Little Endian.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) there is no such file.
        InvalidCubeFileError: it is no dicube file, or a damaged or newer one.
        MetaDataError: its metadata can't be understood.

    Attributes:
        file_path, chunk_size, cache_size, force_uncompressed: as given.
        transfer_syntax_uid: of frames as they are coded: HTJ2K Lossless of `.dcbs`, JPEG XL
            Lossless of `.dcba`. What these can't hold (signed samples in JPEG XL, for one) comes
            in Explicit VR Little Endian.
        frame_count: how many there are.
        dicom_meta, pixel_header, space: of the file; None if it has none.
        dcb_file: the file as a `DcbFile`.
    """

    def __init__(
        self,
        dcb_file_path: str | os.PathLike[str],
        chunk_size: int = 10,
        cache_size: int = 50,
        force_uncompressed: bool = False,
    ) -> None:
        self.dcb_file = DcbFile(dcb_file_path)
        self._reader = DcbReader(dcb_file_path, num_threads=get_num_threads())
        self.file_path = dcb_file_path
        self.chunk_size = max(1, chunk_size)
        self.cache_size = max(chunk_size, cache_size)
        self.force_uncompressed = force_uncompressed
        self.frame_count = self._reader.shape[0]
        if not self.frame_count:
            raise InvalidCubeFileError(f"{dcb_file_path}: the file holds no frames")
        self.dicom_meta, self.space = read_meta(self._reader), read_space(self._reader)
        self.pixel_header = read_header(self._reader)
        self._losses, self._is_plain = read_losses(self._reader), has_plain_frames(self._reader)
        self._syntax = syntax_of_codec(self._reader.codec)
        self.transfer_syntax_uid = self._syntax.uid
        meta = self.dicom_meta or make_meta(self._reader.shape, self._reader.dtype, self.space)
        self._meta = settled(meta, self.pixel_header, self.space)
        self._lock = threading.Lock()  # metadata are merged when they are first asked for
        self._instance = lru_cache(self.cache_size)(self._made_instance)
        self._last_access = time.time()

    def get_frame_count(self) -> int:
        """Return how many frames there are."""
        return self.frame_count

    def get_dicom_for_frame(self, frame_index: int) -> bytes:
        """Return a frame as a DICOM file: elements, geometry and pixels of its slice.

        A frame of a file of several gets a SOP instance UID of its own.

        Raises:
            IndexError: there is no such frame.
            DicomCubeError: the frame or its metadata are damaged, or DICOM has no such samples.
        """
        if not 0 <= frame_index < self.frame_count:
            raise IndexError(
                f"expected a frame of 0 to {self.frame_count - 1}, found {frame_index}"
            )
        self._last_access = time.time()
        return self._instance(frame_index)

    def get_metadata(self) -> dict[str, Any]:
        """Return what the file is."""
        return {
            "frame_count": self.frame_count,
            "pixel_header": self.pixel_header.to_dict(),
            "has_dicom_meta": self.dicom_meta is not None,
            "has_space": self.space is not None,
            "transfer_syntax": self.transfer_syntax_uid,
            "file_type": type(self.dcb_file).__name__,
            "cache_stats": self.get_cache_stats(),
        }

    def get_cache_stats(self) -> dict[str, Any]:
        """Return how many instances are kept, and the time of the last one asked for."""
        return {
            "cached_frames": self._instance.cache_info().currsize,
            "loading_frames": 0,
            "cache_size_limit": self.cache_size,
            "chunk_size": self.chunk_size,
            "last_access": self._last_access,
        }

    def clear_cache(self) -> None:
        """Keep no instance any more."""
        self._instance.cache_clear()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> DcbStreamingReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _made_instance(self, index: int) -> bytes:
        with self._lock:
            meta = self._meta.select([index])
            header = pixel_header_of(meta, self._reader.dtype.name)
            header.Extras = self.pixel_header.Extras
            frame = np.broadcast_to(np.zeros((), self._reader.dtype), (1, *self._reader.shape[1:]))
            coded = self._coded(index, meta, frame, header)
            if not coded:
                frame = self._reader.read_frames(index, index + 1)
            syntax = self._syntax if coded else EXPLICIT
            derived = derived_attributes(meta, self._losses)
            files = SeriesFiles(meta, frame, header, None, syntax, coded, derived)
            return b"".join(files.parts(0))

    def _coded(
        self, index: int, meta: DicomMeta, frame: NDArray[Any], header: PixelDataHeader
    ) -> list[CodedFrame]:
        """Return a frame as it is coded; none if it has to be decoded."""
        if self.force_uncompressed or not self._is_plain:
            return []
        try:
            check_samples(frame.dtype, self._syntax)
            check_syntax(meta, frame, header, self._syntax)
        except DataConsistencyError:
            return []
        kept = kept_in(self._syntax, self._reader.coded(index))
        return [] if kept is None else [kept]
