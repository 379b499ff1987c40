"""DcbStreamingReader: makes a DICOM file of a single frame of a dicube file, for viewers.

Coded frames are copied if DICOM has a transfer syntax for them. Must not know how DICOM files are
laid out.
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
from dicube.core.instances.stored_files import expect_frames
from dicube.core.lossy.loss import has_plain_frames, read_losses
from dicube.core.num_threads import get_num_threads
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.folder import SeriesFiles, check_syntax
from dicube.dicom.export.frame_coding import CodedFrame, check_samples, kept_in
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.series.precedence import pixel_header_of, settled
from dicube.dicom.transfer_syntaxes import EXPLICIT, syntax_of_codec
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader


class DcbStreamingReader:
    """An open dicube file that returns each of its frames as a DICOM file.

    May be used by many threads at once.

    Args:
        dcb_file_path: the file.
        chunk_size: accepted for compatibility and reported by `get_cache_stats`. Instances are made
            when needed, since that takes only a few milliseconds.
        cache_size: how many of the last instances are kept; at least `chunk_size`.
        force_uncompressed: decode frames and use Explicit VR Little Endian.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
        InvalidCubeFileError: not a dicube file, or a damaged or newer one.
        MetaDataError: the metadata can't be parsed.

    Attributes:
        file_path, force_uncompressed: as given.
        chunk_size: as given, but at least 1.
        cache_size: as given, but at least the chunk size given.
        transfer_syntax_uid: of the coded frames: HTJ2K Lossless for `.dcbs`, JPEG XL Lossless for
            `.dcba`. Frames that it doesn't allow (signed samples in JPEG XL, for example) are
            returned in Explicit VR Little Endian.
        frame_count: number of frames.
        dicom_meta, space: of the file; None if it has none.
        pixel_header: of the file; one without rescale if it has none.
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
        expect_frames(self._reader)
        self.dicom_meta, self.space = read_meta(self._reader), read_space(self._reader)
        self.pixel_header = read_header(self._reader)
        self._losses, self._is_plain = read_losses(self._reader), has_plain_frames(self._reader)
        self._syntax = syntax_of_codec(self._reader.codec)
        self.transfer_syntax_uid = self._syntax.uid
        meta = self.dicom_meta or make_meta(self._reader.shape, self._reader.dtype, self.space)
        self._meta = settled(meta, self.pixel_header, self.space)
        self._lock = threading.Lock()  # metadata are merged when they are first needed
        self._instance = lru_cache(self.cache_size)(self._made_instance)
        self._last_access = time.time()

    def get_frame_count(self) -> int:
        """Return the number of frames."""
        return self.frame_count

    def get_dicom_for_frame(self, frame_index: int) -> bytes:
        """Return a frame as a DICOM file: elements, geometry and pixels of its slice.

        A frame of a multi-frame file gets a SOP instance UID of its own.

        Raises:
            IndexError: the frame does not exist.
            DicomCubeError: the frame or its metadata are damaged, or DICOM does not allow such
                samples.
        """
        if not 0 <= frame_index < self.frame_count:
            raise IndexError(
                f"expected a frame of 0 to {self.frame_count - 1}, found {frame_index}"
            )
        self._last_access = time.time()
        return self._instance(frame_index)

    def get_metadata(self) -> dict[str, Any]:
        """Return the properties of the file."""
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
        """Return the number of cached instances, and the time of the last request."""
        return {
            "cached_frames": self._instance.cache_info().currsize,
            "loading_frames": 0,
            "cache_size_limit": self.cache_size,
            "chunk_size": self.chunk_size,
            "last_access": self._last_access,
        }

    def clear_cache(self) -> None:
        """Drop all cached instances."""
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
