"""Opens DICOM files of any kind that pydicom can read, up to their dataset.

Must not know pixels, or what a caller needs of the elements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag

from dicube.dicom.dicom_tags import tag_name
from dicube.dicom.elements.items import check_character_set
from dicube.dicom.elements.parser import UNDEFINED_LENGTH, CutOff
from dicube.dicom.files.archives import most_unpacked
from dicube.dicom.files.encoding import (
    DEFLATED,
    EXPLICIT,
    Encoding,
    conflict,
    encoding_of,
    inflated,
    starts_like_dataset,
    syntax_of_pixels,
)
from dicube.dicom.files.sources import File
from dicube.exceptions import MetaDataError

# Two values of these elements would be two images: those that describe pixels, or say what the file
# is. Programs disagree about which of two counts: DCMTK and GDCM take the first, pydicom the last.
_DECISIVE_GROUPS = frozenset({0x0028, 0x5200, 0x7FE0})
_DECISIVE = frozenset(
    {0x00020010, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00200032, 0x00200037}
)


class OpenedDataset(NamedTuple):
    """A file of any kind that pydicom can read, read up to its dataset.

    Attributes:
        has_preamble: whether the file starts as DICOM files should.
        file_meta: the elements of group 2.
        command: the elements of group 0, which belong in messages and not in files.
        stream: has the dataset at its current position; not the file if that is deflated.
        encoding: of the dataset.
        syntax: the transfer syntax of the pixels; '' if the file doesn't give it.
        remarks: faults found so far; '' for none.
    """

    has_preamble: bool
    file_meta: FileMetaDataset
    command: Dataset
    stream: BinaryIO
    encoding: Encoding
    syntax: str
    remarks: list[str]


def open_dataset(file: BinaryIO, source: File) -> OpenedDataset:
    """Read a file up to its dataset.

    Raises:
        MetaDataError: the dataset can't be inflated, or an element that decides what the image is
            has two values.
    """
    has_preamble = file.read(132)[128:] == b"DICM"
    if not has_preamble:
        file.seek(0)
    meta, repeated = read_elements(file, Encoding(False, True), lambda tag: tag >> 16 != 2)
    remarks = remarks_on(source.name, repeated)
    command, _ = read_elements(file, Encoding(True, True), lambda tag: tag >> 16 != 0)
    stated = str(meta.get("TransferSyntaxUID", ""))
    place, stream = file.tell(), file
    start = file.read(8)
    if stated == DEFLATED or (start and not starts_like_dataset(start)):
        data = inflated(start + file.read(), most_unpacked(source.packed_size))
        if data is not None:
            place, stream, start = 0, BytesIO(data), data[:8]
        elif stated == DEFLATED and not starts_like_dataset(start):
            raise MetaDataError(f"{source.name} is damaged: its dataset can't be inflated")
    stream.seek(place)
    encoding = encoding_of(start, EXPLICIT if stated == DEFLATED else stated)
    found = encoding.syntax if stream is file else DEFLATED
    remarks.append(conflict(stated, found))
    syntax = syntax_of_pixels(stated, found)
    return OpenedDataset(
        has_preamble, FileMetaDataset(meta), command, stream, encoding, syntax, remarks
    )


def read_elements(
    stream: BinaryIO, encoding: Encoding, stop_before: Callable[[int], bool]
) -> tuple[Dataset, list[tuple[int, ...]]]:
    """Read elements by pydicom; return them, and the paths of those repeated with other values."""
    start = stream.tell()
    counts: Counter[int] = Counter()

    def stop(tag: BaseTag, _vr: str | None, length: int) -> bool:
        counts[tag] += 1
        if stop_before(tag):  # its header may have another encoding
            return True
        check_character_set(tag, length)
        return False

    dataset = read_dataset(stream, *encoding, stop_when=stop)
    several = [tag for tag, count in counts.items() if count > 1]
    if not several:
        return dataset, []
    stream.seek(start)  # pydicom keeps only the last one
    values: dict[int, list[Any]] = {}
    with suppress(EOFError):
        for element in data_element_generator(stream, *encoding, stop):
            if element.tag in several:
                values.setdefault(element.tag, []).append(element.value)
    return dataset, [(tag,) for tag, found in values.items() if any(v != found[0] for v in found)]


def remarks_on(path: str, repeated: list[tuple[int, ...]]) -> list[str]:
    """Return sentences about elements that are repeated with different values.

    Raises:
        MetaDataError: an element decides what the image is.
    """
    remarks = []
    for tags in dict.fromkeys(repeated):
        name = " in ".join(tag_name(f"{tag:08X}") for tag in reversed(tags))
        fault = f"{name} is there twice, with different values"
        if tags[0] >> 16 in _DECISIVE_GROUPS or tags[0] in _DECISIVE:
            raise MetaDataError(f"{path}: {fault}, so programs disagree about the image")
        remarks.append(f"{fault}; the last one is used, but other programs use the first")
    return remarks


def check_last_element(dataset: Dataset) -> None:
    """Raise CutOff if the file ended within an element, which pydicom doesn't report."""
    last = next(reversed(list(dataset.keys())), None)
    raw = None if last is None else dataset.get_item(last)
    if isinstance(raw, RawDataElement) and raw.length != UNDEFINED_LENGTH:
        found = len(raw.value or b"")
        if found < raw.length:
            raise CutOff(int(raw.tag), raw.length, found)
