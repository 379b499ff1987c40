"""One DICOM file or dataset in memory: its elements, and the position of its pixels.

The pixels are read later, directly into the volume. Must not know series, or how files are parsed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, TypeVar

from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from dicube.dicom.elements.items import (
    PIXEL_DATA,
    Item,
    SequenceElement,
    frame_count,
    same_item,
    value_in,
)
from dicube.dicom.files.encoding import DEFLATED
from dicube.dicom.files.opened_dataset import open_dataset
from dicube.dicom.files.pixel_place import PixelPlace
from dicube.dicom.files.sources import DatasetInMemory, File, Opened
from dicube.exceptions import CubeFileAccessError, MetaDataError

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00008, 0x7FE00009

PIXEL_TAGS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
STORAGE_CLASS = 0x00020002
DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_CHUNK = 1 << 20
_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED = 0x00280010, 0x00280011, 0x00280002, 0x00280100
_PHOTOMETRIC = 0x00280004
_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}

Known = TypeVar("Known")


@dataclass
class Instance:
    """One DICOM file, or a dataset in memory.

    Attributes:
        path: path of the file, or another name for a dataset in memory.
        size: size of the file in bytes; of a dataset in memory, the size of its pixels.
        item: the elements, without the pixels.
        file_meta: the elements of group 2.
        transfer_syntax: UID of the pixels' transfer syntax; '' if the file doesn't give it.
        pixels: position of the pixels; None if there are none.
        source: the file or dataset that it was read from.
        around: the bytes before and after the value of the pixels; None if the file is not of the
            usual kind (see `instance_reading`).
        copies: other files that are the same instance with the same content.
        remarks: faults of the file that its reader has coped with, one sentence each.
    """

    path: str
    size: int
    item: Item
    file_meta: Item
    transfer_syntax: str
    pixels: PixelPlace | None
    source: File | DatasetInMemory
    around: tuple[bytes, bytes] | None = None
    copies: tuple[Instance, ...] = ()
    remarks: tuple[str, ...] = ()
    _values: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR."""
        return uid_in(self.file_meta, STORAGE_CLASS) == DIRECTORY

    @property
    def in_memory(self) -> bool:
        """Whether it is a dataset in memory and not a file."""
        return isinstance(self.source, DatasetInMemory)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; fewer than `length` if the file ends early.

        Raises:
            CubeFileAccessError: the operating system refuses to read.
        """
        parts: list[bytes] = []
        try:
            with self.open() as file:
                file.seek(offset)
                while length > 0 and (part := file.read(length)):
                    parts.append(part)
                    length -= len(part)
        except OSError as error:
            raise CubeFileAccessError(f"can't read {self.path}: {error.strerror}") from error
        return b"".join(parts)

    def open(self) -> Opened:
        """Open the file for reading; for a dataset in memory, open the value of its pixels."""
        if isinstance(self.source, DatasetInMemory):
            return BytesIO(pixel_bytes(self.source.dataset))
        return self.source.open()

    def dataset(self) -> Dataset:
        """Return the whole file as a pydicom Dataset, including the pixels."""
        if isinstance(self.source, DatasetInMemory):
            return self.source.dataset
        with self.source.open_buffered() as file:
            opened = open_dataset(file, self.source)
            dataset = read_dataset(opened.stream, *opened.encoding)
        dataset.file_meta = opened.file_meta
        if self.transfer_syntax:
            dataset.file_meta.TransferSyntaxUID = UID(self.transfer_syntax, IGNORE)
        return dataset

    def value(self, tag: int) -> Any:
        """Return an element's value, a list if it has several; None if absent or empty."""
        if tag not in self._values:
            self._values[tag] = value_in(self.item, tag)
        return self._values[tag]

    def known(self, make: Callable[[Instance], Known]) -> Known:
        """Return the result of a function of the file; the function is called only once."""
        if make not in self._known:
            self._known[make] = make(self)
        found: Known = self._known[make]
        return found

    def text(self, tag: int) -> str:
        """Return an element's value as text; '' if absent or empty."""
        value = self.value(tag)
        return "" if value is None else str(value)

    def number(self, tag: int, default: int = 0) -> int:
        """Return an element's value as an integer; the default if it isn't a finite number."""
        value = self.value(tag)
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else default

    @property
    def stated_frames(self) -> int:
        """NumberOfFrames; 1 if it is absent or invalid.

        Raises:
            MetaDataError: there would be more frames than the pixels have bits, or items of coded
                frames.
        """
        count = frame_count(self.item)
        # A frame takes a bit or more; a coded one is an item, which has a tag and a length.
        most = 0 if self.pixels is None else 8 * self.pixels.length
        if self.pixels is not None and self.pixels.encapsulated:
            most = self.pixels.length // 8
        if self.pixels is not None and count > max(1, most):
            raise MetaDataError(
                f"{self.path}: NumberOfFrames is {count}, but there are only {self.pixels.length} "
                "bytes of pixels"
            )
        return count

    @property
    def frame_count(self) -> int:
        """The number of frames, which is the number of slices; 1 if the file has no pixels.

        Whole frames beyond NumberOfFrames count as well.

        Raises:
            MetaDataError: see `stated_frames`.
        """
        return 1 if self.pixels is None else self.known(_frame_count)

    @property
    def pixel_bytes(self) -> int:
        """The number of bytes of pixels that the file has; its length field may claim more."""
        place = self.pixels
        if place is None:
            return 0
        # Deflated pixels have no offset, and the file is smaller than they are.
        return min(place.length, self.size - place.offset) if place.offset else place.length

    @property
    def least_pixel_bytes(self) -> int:
        """The number of bytes that uncompressed frames take without padding; 0 for coded ones."""
        return (self.known(_bits_per_frame) * self.frame_count + 7) // 8

    @property
    def bytes_beyond_frames(self) -> int:
        """The number of bytes after uncompressed frames and their padding to an even length."""
        bits = self.known(_bits_per_frame)
        return max(0, self.pixel_bytes - _even_bytes(bits * self.frame_count)) if bits else 0


def _frame_count(instance: Instance) -> int:
    assert instance.pixels is not None
    stated, length = instance.stated_frames, instance.pixel_bytes
    if instance.pixels.encapsulated:
        return max(stated, instance.pixels.images)
    bits = instance.known(_bits_per_frame)
    expected = _even_bytes(bits * stated)
    if not bits or 8 * (length - expected) < bits:
        return stated
    if instance.text(_PHOTOMETRIC).endswith("_422") and 2 * length >= 3 * expected:
        return stated  # samples that aren't subsampled after all, which pydicom refuses
    return 8 * length // bits


def _bits_per_frame(instance: Instance) -> int:
    """Return the size of an uncompressed frame in bits; 0 if it isn't known."""
    if instance.pixels is None or instance.pixels.encapsulated:
        return 0
    bits = _BITS.get(instance.pixels.tag) or instance.number(_ALLOCATED)
    for tag in (_ROWS, _COLUMNS, _SAMPLES):
        bits *= instance.number(tag, 1)
    return max(0, bits * 2 // 3 if instance.text(_PHOTOMETRIC).endswith("_422") else bits)


def _even_bytes(bits: int) -> int:
    return (bits + 15) // 16 * 2


def same_content(one: Instance, other: Instance) -> bool:
    """Return whether two instances have the same elements and the same pixels, to the byte."""
    if one.pixels is None or other.pixels is None:
        return one.pixels is other.pixels and same_item(one.item, other.item)
    return (
        one.transfer_syntax == other.transfer_syntax
        and one.pixels.length == other.pixels.length
        and same_item(one.item, other.item)
        and all(map(operator.eq, _pixel_chunks(one), _pixel_chunks(other)))
    )


def _pixel_chunks(instance: Instance) -> Iterator[bytes]:
    assert instance.pixels is not None
    if instance.transfer_syntax == DEFLATED:
        yield pixel_bytes(instance.dataset())
        return
    with instance.open() as file:
        file.seek(instance.pixels.offset)
        left = instance.pixels.length
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk


def pixel_bytes(dataset: Dataset) -> bytes:
    """Return the value of a dataset's pixel element; b'' if there is none."""
    value = next((dataset[tag].value for tag in PIXEL_TAGS if tag in dataset), b"")
    return bytes(value.read() if hasattr(value, "read") else value or b"")


def uid_in(item: Item, tag: int) -> str:
    """Return the UID of an element; '' if it is absent or empty."""
    element = item.elements.get(tag)
    data = b"" if element is None or isinstance(element, SequenceElement) else element.value or b""
    return data.decode("latin-1").strip(" \0")
