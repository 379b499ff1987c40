"""One open file of an archive: its instances, their bytes, metadata and frames.

Must not know HTTP, or where files come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

from dicube.archive.record import record_in
from dicube.core.cube_parts import read_originals
from dicube.core.image import DicomCubeImage
from dicube.core.instances.one_instance import bytes_of_original
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.folder import encode_file_meta, instance_parts
from dicube.dicom.files.file_in_parts import FileInParts
from dicube.dicom.files.instance import Instance as DicomFile
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.merge_utils import slice_items
from dicube.dicom.metadata.slice_bytes import InstanceEncoder
from dicube.dicom.originals.model import Bytes, Original, Originals
from dicube.dicom.transfer_syntaxes import EXPLICIT, TransferSyntax
from dicube.exceptions import DataConsistencyError, DicomCubeError, MetaDataError
from dicube.web.frames import CodedFrames, Frames, in_memory
from dicube.web.metadata import PIXEL_KEYS, SeriesMetadata, bulk_value, whole_instance

_IMPLICIT = "1.2.840.10008.1.2"
_PLANAR, _INTERPRETATION, _SYNTAX = "00280006", "00280004", "00020010"


@dataclass(frozen=True)
class Entry:
    """What a dicube file says of an instance.

    Attributes:
        uid: SOPInstanceUID.
        first: its first slice; None if it is kept whole.
        digest: SHA-256 of the original file in hexadecimal; '' if it isn't kept.
    """

    uid: str
    first: int | None
    digest: str


class OpenSeries:
    """An open dicube file of a series.

    Many threads may use it at once.

    Attributes:
        study, series: its UIDs.
        patient: PatientID; None if it has none.
        source: the path or URL of the file.
        identity: distinguishes it from other files, and from one that replaced it.
        instances: by SOPInstanceUID.
    """

    def __init__(
        self,
        source: str,
        identity: str,
        kept: CodedFrames,
    ) -> None:
        """Open a file. It tells its instances itself: a catalogue may be older.

        Args:
            source: its path or URL.
            identity: see the attributes.
            kept: keeps frames that were coded.

        Raises:
            DicomCubeError: it can't be read.
        """
        self.source, self.identity = source, identity
        self.kept = kept
        self.frames = Frames(source, identity, kept)
        self.lock = RLock()
        self.latest_whole: tuple[str, _WholeFile] | None = None
        self._metadata: tuple[str, bytes, bytes] | None = None
        record = record_in(self.frames.reader)
        self.study, self.series = record.uids
        self.patient: str | None = record.patient["PatientID"]
        entries = [Entry(str(one.values[0]), one.slice, one.sha256) for one in record.instances]
        has_frames = self.frames.reader.shape[0] > 0
        slices = {one[0]: one for one in self.frames.meta.instances()} if has_frames else {}
        self.instances: dict[str, StoredInstance] = {}
        for entry in entries:
            own = [] if entry.first is None else slices.get(entry.first, [])
            self.instances.setdefault(entry.uid, StoredInstance(self, entry, own))

    @cached_property
    def metadata(self) -> SeriesMetadata:
        """The metadata of instances with slices."""
        return SeriesMetadata(self.frames.meta)

    def all_metadata(self, url: str, compress: Callable[[bytes], bytes]) -> tuple[bytes, bytes]:
        """Return the metadata of all instances as JSON, plain and compressed.

        Args:
            url: of the service, for links to large values.
            compress: compresses it.
        """
        with self.lock:
            if self._metadata is None or self._metadata[0] != url:
                text = ",".join(one.metadata(url) for one in self.instances.values())
                plain = f"[{text}]".encode("utf-8", "replace")
                self._metadata = url, plain, compress(plain)
            return self._metadata[1:]

    @cached_property
    def originals(self) -> Originals | None:
        """The original files; None if they aren't kept."""
        stored = read_originals(self.frames.reader, remembering=True)
        return None if stored is None else stored()

    @cached_property
    def by_digest(self) -> Mapping[str, Original]:
        """The original files by their SHA-256 in hexadecimal."""
        every = () if self.originals is None else self.originals.all_files
        return {file.digest.hex(): file for file in reversed(every)}


class StoredInstance:
    """A SOP instance of an open series.

    Attributes:
        entry: what the catalogue says of it.
        own: the slices of the series' volume that are its frames; empty if it is kept whole.
    """

    def __init__(self, series: OpenSeries, entry: Entry, slices: Sequence[int]) -> None:
        self._series, self.entry, self.own = series, entry, slices

    @property
    def path(self) -> str:
        """The path of its URL below that of the service."""
        series = self._series
        return f"/studies/{series.study}/series/{series.series}/instances/{self.entry.uid}"

    @property
    def tag(self) -> str:
        """An entity tag of the original file, or of what the dicube file has of it."""
        return self.entry.digest or f"{self._series.identity}-{self.entry.uid}"

    @property
    def size(self) -> int:
        """The number of bytes of its samples; 0 of one that is kept whole, which is in memory."""
        reader = self._series.frames.reader
        return math.prod(reader.shape[1:]) * reader.dtype.itemsize * len(self.own)

    @property
    def has_original(self) -> bool:
        """Whether the original file comes back to the byte."""
        return self.entry.digest in self._series.by_digest

    @property
    def frames(self) -> Frames:
        """The file that has its frames.

        Raises:
            DataConsistencyError: it has no frames that dicube can read.
        """
        return self._series.frames if self.own else self.whole().frames

    @property
    def slices(self) -> Sequence[int]:
        """The slices of `frames` that are its frames.

        Raises:
            DataConsistencyError: see `frames`.
        """
        return self.own or self.whole().slices

    @property
    def has_frames(self) -> bool:
        """Whether it has frames that dicube can read."""
        try:
            return len(self.slices) > 0
        except DicomCubeError:
            return False

    @property
    def is_plain(self) -> bool:
        """Whether it is an object without pixels."""
        return not self.own and self.whole().file.pixels is None

    @property
    def syntax(self) -> str:
        """UID of the transfer syntax of the original file; '' if there is none."""
        if not self.has_original:
            return ""
        if self.own:
            return str(self._series.frames.meta.get_of_slice(_SYNTAX, self.own[0]) or _IMPLICIT)
        return self.whole().file.transfer_syntax or _IMPLICIT

    def original(self) -> Iterator[Bytes]:
        """Return the bytes of the original file in parts; the end checks the SHA-256."""
        series = self._series
        assert series.originals is not None
        file = series.by_digest[self.entry.digest]
        return bytes_of_original(series.frames.reader, series.originals, file)

    def written(self, syntax: TransferSyntax) -> list[bytes | memoryview]:
        """Return a new DICOM file of it, in parts.

        Raises:
            DicomCubeError: it can't be written in this transfer syntax.
        """
        if self.own or self.whole().file.pixels is not None:
            return self.frames.dicom_file(self.slices, syntax)
        if syntax != EXPLICIT:
            raise DataConsistencyError("an object without pixels has no coded frames")
        return self.whole().written()

    def metadata(self, url: str) -> str:
        """Return its metadata as JSON.

        They are those of the original file. Only PlanarConfiguration and PhotometricInterpretation
        of colours are those of the frames as they are sent.

        Args:
            url: of the service, for links to large values.
        """
        with self._series.lock:
            where = f"{url}{self.path}"
            if self.own:
                replaced = self._described(where)
                return self._series.metadata.instance(self.own[0], where, replaced)
            whole = self.whole()
            replaced = {}
            if whole.file.pixels is not None:
                key = f"{whole.file.pixels.tag:08X}"
                vr = "OB" if whole.file.pixels.encapsulated else "OW"
                replaced[key] = {"vr": vr, "BulkDataURI": f"{where}/bulkdata/{key}"}
            return whole_instance(whole.meta, where, replaced)

    def _described(self, url: str) -> dict[str, Mapping[str, Any] | None]:
        """Return the elements that tell of the frames as they are sent."""
        frames, first = self._series.frames, self.own[0]
        key, vr = frames.pixel_element()
        replaced: dict[str, Mapping[str, Any] | None] = {**frames.derived(self.own)}
        replaced[key] = {"vr": vr, "BulkDataURI": f"{url}/bulkdata/{key}"}
        if frames.has_colours:
            replaced[_PLANAR] = {"vr": "US", "Value": [0]}
            text = frames.interpretation(first)
            if frames.stored(self.own).is_jpeg and self.has_original:
                file = read_instance(FileInParts("instance.dcm", list(self.original())))
                text = text if file is None else file.text(int(_INTERPRETATION, 16))
            replaced[_INTERPRETATION] = {"vr": "CS", "Value": [text]}
        return replaced

    def bulk(self, path: Sequence[str]) -> bytes | None:
        """Return a binary value that `metadata` links to, other than pixels; None if it has none.

        Args:
            path: see `metadata.bulk_value`.
        """
        with self._series.lock:
            if self.own:
                return bulk_value(self._series.frames.meta, self.own[0], path)
            return bulk_value(self.whole().meta, 0, path)

    def is_pixels(self, path: Sequence[str]) -> bool:
        """Return whether a path of `bulk` is that of the pixels."""
        return len(path) == 1 and path[0] in PIXEL_KEYS and self.has_frames

    def whole(self) -> _WholeFile:
        """Return the original file, of an instance that is kept whole.

        A series has only the latest one in memory: they may be videos.
        """
        series = self._series
        with series.lock:
            if series.latest_whole is None or series.latest_whole[0] != self.tag:
                if not self.has_original:
                    raise MetaDataError("the dicube file has no slices of this instance")
                series.latest_whole = None
                whole = _WholeFile(list(self.original()), self.tag, series.kept)
                series.latest_whole = self.tag, whole
            return series.latest_whole[1]


class _WholeFile:
    """A DICOM file in memory."""

    def __init__(self, parts: Sequence[Bytes], tag: str, kept: CodedFrames) -> None:
        source = FileInParts("instance.dcm", parts)
        file = read_instance(source)
        if file is None:
            raise MetaDataError("the original is not a DICOM file")
        self.file: DicomFile = file
        self.meta = DicomMeta.from_items([file.item], [file.file_meta])
        self._source, self._tag, self._kept = source, tag, kept

    @cached_property
    def frames(self) -> Frames:
        if self.file.pixels is None:
            raise DataConsistencyError("the instance has no frames")
        image = DicomCubeImage.from_dicom_folder([self._source], num_threads=1)
        return in_memory(image, self._tag, self._kept)

    @property
    def slices(self) -> Sequence[int]:
        return range(self.frames.reader.shape[0])

    def written(self) -> list[bytes | memoryview]:
        """Return the file in explicit VR little endian, in parts; it has no pixels."""
        uids = [str(self.meta.get_of_slice(tag, 0) or "") for tag in ("00080016", "00080018")]
        file_meta = encode_file_meta(
            slice_items(self.meta.file_meta, 0), uids[0], uids[1], EXPLICIT
        )
        return instance_parts(file_meta, InstanceEncoder(self.meta.entries).encode(0), [])
