"""The frames of one dicube file, in the transfer syntaxes that clients may ask for.

Frames go out as they are stored if a transfer syntax allows that; otherwise they are coded when
they are asked for. Must not know HTTP.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.codecs.codestream import probe
from dicube.codecs.jxl import restore_jpeg
from dicube.codecs.records import JPH, JXL
from dicube.core.cube import Cube, cube_of
from dicube.core.cube_parts import (
    CubeParts,
    derived_attributes,
    read_header,
    read_meta,
    read_space,
)
from dicube.core.fidelity.origin import Origin
from dicube.core.geometry.parts_of_series import parts_of_slices
from dicube.core.lossy.loss import has_plain_frames, read_losses
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus
from dicube.dicom.export.folder import SeriesFiles, check_syntax, pixel_element_of
from dicube.dicom.export.frame_coding import (
    CodedFrame,
    check_samples,
    encode_frame,
    kept_in,
)
from dicube.dicom.export.pixel_attributes import one_bit, photometric_interpretation
from dicube.dicom.series.stored_bits import most_bits_stored
from dicube.dicom.transfer_syntaxes import (
    EXPLICIT,
    HTJ2K,
    HTJ2K_RPCL,
    JPEG_XL,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from dicube.exceptions import CodecError, DataConsistencyError, MetaDataError
from dicube.storage.dcb_reader import DcbReader

if TYPE_CHECKING:
    from dicube.core.image import DicomCubeImage

_CHECKSUMS = "frame_checksums"
_LOSSY = ("00282110", "00282112", "00282114")  # LossyImageCompression, its ratio and method


class CodedFrames:
    """Frames that were coded for clients, the latest ones, up to a number of bytes."""

    def __init__(self, most: int = 128 << 20) -> None:
        self._most, self._size = most, 0
        self._frames: OrderedDict[tuple[Any, ...], CodedFrame] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[Any, ...]) -> CodedFrame | None:
        """Return a frame; None if it isn't kept."""
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def keep(self, key: tuple[Any, ...], frame: CodedFrame) -> None:
        """Keep a frame, and let go of those that were not used for longest."""
        with self._lock:
            if key in self._frames or len(frame.data) > self._most:
                return
            self._frames[key] = frame
            self._size += len(frame.data)
            while self._size > self._most:
                self._size -= len(self._frames.popitem(last=False)[1].data)


class Stored(NamedTuple):
    """How frames of an instance are stored.

    Attributes:
        syntax: the transfer syntax in which they can go out without decoding; None for none.
        is_jpeg: whether that is by restoring the JPEG images that they were made from.
        is_bare: whether their bytes in the file are nothing but codestreams.
        is_transformed: whether their codestreams have a colour transform.
    """

    syntax: TransferSyntax | None
    is_jpeg: bool = False
    is_bare: bool = False
    is_transformed: bool = False


class Frames:
    """The frames of an open dicube file, and what describes them.

    Attributes:
        reader: of the file.
        meta: the metadata of its slices.
        identity: distinguishes the file from others, and from one that replaced it.
    """

    def __init__(self, source: Any, identity: str, kept: CodedFrames) -> None:
        """Open a file.

        Args:
            source: as for `dicube.open`.
            identity: see the attribute.
            kept: keeps frames that were coded.

        Raises:
            InvalidCubeFileError: the file is damaged.
            MetaDataError: it has no metadata.
        """
        self.identity, self._kept = identity, kept
        self.reader = DcbReader(source, num_threads=1)
        meta = read_meta(self.reader)
        if meta is None:
            raise MetaDataError("the file has no DICOM metadata")
        self.meta: DicomMeta = meta
        self.header = read_header(self.reader)
        self.losses = read_losses(self.reader)
        self._least_bits = most_bits_stored(meta)
        self._stored: dict[int, Stored] = {}
        self._possible: dict[str, bool] = {}
        sections = self.reader.sections
        self._checksums = sections.get(_CHECKSUMS, b"")
        self._is_plain = has_plain_frames(self.reader)

    @cached_property
    def cube(self) -> Cube:
        """The file as a cube, for pictures."""
        return cube_of(self.reader)

    @property
    def has_colours(self) -> bool:
        """Whether a pixel has several samples."""
        return len(self.reader.shape) == 4

    def pixel_element(self) -> tuple[str, str]:
        """Return tag key and VR of the element that holds the pixels."""
        return pixel_element_of(self.reader.dtype, self.header)

    def interpretation(self, index: int) -> str:
        """Return the photometric interpretation of a slice's samples."""
        samples = self.reader.shape[3] if self.has_colours else 1
        return photometric_interpretation(self.meta, index, samples)

    def tag(self, slices: Sequence[int], syntax: str) -> str:
        """Return an entity tag of frames in a transfer syntax."""
        if self._checksums:
            sums = (self._checksums[8 * index : 8 * index + 8].hex() for index in slices)
            return f"{'-'.join(sums)}-{syntax}"
        return f"{self.identity}-{'-'.join(map(str, slices))}-{syntax}"

    def stored(self, slices: Sequence[int]) -> Stored:
        """Return how the frames of an instance are stored."""
        found = self._stored.get(slices[0])
        if found is None:
            found = self._stored[slices[0]] = self._find_stored(slices)
        return found

    def _find_stored(self, slices: Sequence[int]) -> Stored:
        first = self.reader.coded(slices[0])
        if not self._is_plain:
            return Stored(None)
        if self.reader.codec == JXL.name:
            name = str(self.meta.get_of_slice("00020010", slices[0]) or "")
            source = next((s for s in TRANSFER_SYNTAXES if s.is_jpeg and s.uid == name), None)
            if source is not None and probe(first).has_jpeg:
                return Stored(source, is_jpeg=True)
            candidates = [JPEG_XL]
        else:
            candidates = [HTJ2K_RPCL, HTJ2K] if self.reader.codec == JPH.name else []
        for syntax in filter(self.can_be, candidates):
            coded = map(self.reader.coded, slices)
            kept = [(kept_in(syntax, data), len(data)) for data in coded]
            if all(frame is not None for frame, _ in kept):
                is_bare = all(frame is not None and len(frame.data) == n for frame, n in kept)
                is_transformed = all(
                    frame is not None and frame.is_transformed for frame, _ in kept
                )
                return Stored(syntax, is_bare=is_bare, is_transformed=is_transformed)
        return Stored(None)

    def can_be(self, syntax: TransferSyntax) -> bool:
        """Return whether a transfer syntax that dicube writes can hold the frames."""
        if syntax == EXPLICIT:
            return True
        known = self._possible.get(syntax.uid)
        if known is None:
            nothing = np.broadcast_to(np.zeros((), self.reader.dtype), self.reader.shape)
            try:
                check_samples(self.reader.dtype, syntax)
                check_syntax(self.meta, nothing, self.header, syntax)
                known = self.meta.get_of_slice("BitsAllocated", 0) != 1
            except DataConsistencyError:
                known = False
            self._possible[syntax.uid] = known
        return known

    def frame(self, slices: Sequence[int], index: int, syntax: TransferSyntax) -> bytes:
        """Return a frame of an instance in a transfer syntax.

        Args:
            slices: of the instance.
            index: the slice.
            syntax: one that `can_be`, or the one that is stored.

        Raises:
            InvalidCubeFileError: the file is damaged.
            CodecError: the frame can't be decoded.
        """
        if syntax == EXPLICIT:
            return self._native(index)
        stored = self.stored(slices)
        if syntax == stored.syntax and (stored.is_jpeg or stored.is_bare):
            coded = self.reader.coded(index)
            return restore_jpeg(coded) if stored.is_jpeg else coded
        return self._coded(slices, index, syntax).data

    def _coded(self, slices: Sequence[int], index: int, syntax: TransferSyntax) -> CodedFrame:
        stored = self.stored(slices).syntax
        if stored == syntax or (stored == HTJ2K_RPCL and syntax == HTJ2K):
            kept = kept_in(syntax, self.reader.coded(index))
            if kept is not None:
                return kept
        key = self.identity, index, syntax.uid
        frame = self._kept.get(key)
        if frame is None:
            pixels = self.reader.read_frames(index, index + 1)[0]
            frame = encode_frame(pixels, syntax, self._least_bits)
            self._kept.keep(key, frame)
        return frame

    def _native(self, index: int) -> bytes:
        pixels: NDArray[Any] = self.reader.read_frames(index, index + 1)
        if one_bit(self.meta, pixels):
            return np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
        return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()

    def dicom_file(self, slices: Sequence[int], syntax: TransferSyntax) -> list[bytes | memoryview]:
        """Return a new DICOM file of an instance, in parts.

        It has the instance's own UID, also after lossy compression, which its elements tell.

        Raises:
            DicomCubeError: it can't be written.
        """
        whole = CubeParts(
            self.header,
            self.meta,
            read_space(self.reader),
            DicomStatus.CONSISTENT,
            Origin(losses=self.losses),
        )
        ((_, part),) = parts_of_slices(whole, self.reader.shape, [slices])
        assert part.meta is not None
        for key, element in self.derived(slices).items():
            part.meta.set_shared_item(key, element["Value"], element["vr"])
        coded: list[CodedFrame] = []
        if syntax.codec is None:
            volume = self.reader.read_frame_list(slices)
        else:
            coded = [self._coded(slices, index, syntax) for index in slices]
            if len({frame[1:] for frame in coded}) > 1:  # which one instance can't have
                raise CodecError("frames of an instance are coded with several depths")
            shape = len(slices), *self.reader.shape[1:]
            volume = np.broadcast_to(np.zeros((), self.reader.dtype), shape)
        files = SeriesFiles(part.meta, volume, part.header, part.space, syntax, coded, ())
        return files.parts(0)

    def derived(self, slices: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Return the elements of an instance that tell of lossy compression by dicube."""
        if not self.losses:
            return {}
        elements = derived_attributes(self.meta.select(list(slices)), self.losses)[0]
        return {key: dict(elements[key] or {}) for key in _LOSSY if elements.get(key)}


def in_memory(image: DicomCubeImage, identity: str, kept: CodedFrames) -> Frames:
    """Return the frames of an image, which stay in memory as a dicube file."""
    with tempfile.TemporaryDirectory(prefix="dicube-") as folder:
        path = os.path.join(folder, "image.dcbs")
        image.to_file(path, num_threads=1, exact=False)
        with open(path, "rb") as file:
            return Frames(file.read(), identity, kept)
