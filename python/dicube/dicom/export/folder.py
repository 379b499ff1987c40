"""Write a series as DICOM files: a folder with one file for each instance.

Elements are encoded in Explicit VR Little Endian, pixels natively or by a codec. Elements come from
the metadata; those that describe the pixels are adapted to them. Must not know dicube files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.elements.values import DEFAULT_ENCODINGS
from dicube.dicom.export.encapsulation import pixel_element
from dicube.dicom.export.frame_attributes import frame_attributes
from dicube.dicom.export.frame_coding import CodedFrame
from dicube.dicom.export.pixel_attributes import (
    BYTES_AS_OW,
    Replaced,
    as_slice,
    one_bit,
    photometric_interpretation,
    pixel_attributes,
)
from dicube.dicom.export.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    uid_from,
)
from dicube.dicom.merge_utils import JsonElement, slice_items
from dicube.dicom.metadata.slice_bytes import InstanceEncoder, element_header, encode_element
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Space
from dicube.dicom.series.precedence import settled
from dicube.dicom.series.stored_bits import UNUSED_BITS
from dicube.dicom.transfer_syntaxes import EXPLICIT, TransferSyntax
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.threads import Progress
from dicube.whole_files import WholeFiles, make_folder

_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
_IN_FILE_META = {_SOP_CLASS: "00020002", _SOP_INSTANCE: "00020003"}
_PLANAR_CONFIGURATION = "00280006"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONGEST_VALUE = 0xFFFFFFFE
_PIXELS = "7FE00010"


def write_dicom_folder(
    folder: str | os.PathLike[str],
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    space: Space | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    syntax: TransferSyntax = EXPLICIT,
    coded: Sequence[CodedFrame] = (),
    derived: Sequence[Replaced] = (),
) -> list[str]:
    """Write slice_0000.dcm, slice_0001.dcm, ... into a folder, which is made if need be.

    A file for each slice; slices that are frames of one file make one again, in the order of their
    frame numbers. Where only some frames of a file are left, what tells of each frame is cut to
    those, and the file gets another SOP instance UID.

    Every element of the metadata goes out. Instead of the metadata's go: what describes the
    samples, where the array is different; RescaleSlope and RescaleIntercept, or WindowCenter and
    WindowWidth, where the pixel header's are not those of the first slice; the image plane, where
    `space` puts voxels elsewhere; SOP instance UIDs, where slices have none of their own.

    Args:
        folder: where to.
        meta: of as many slices as the volume has.
        volume: stored values, (slice, row, column) or (slice, row, column, sample); integers of
            8, 16, 32 or 64 bits, float32 or float64.
        pixel_header: rescale of the volume.
        space: where the voxels are, zyx order; None: as the metadata says.
        overwrite: write into a folder that is not empty. Files of the names written are replaced,
            others stay. Each file is whole at any time.
        progress: called with files done and files in all.
        syntax: the transfer syntax of the files.
        coded: the volume's frames in a coded transfer syntax, one for each slice; the samples of
            `volume` are then not read.
        derived: elements of each file that replace the metadata's; none by default.

    Returns:
        The paths written.

    Raises:
        TargetExistsError: the folder is not empty, or is a file.
        DataConsistencyError: volume, metadata and space don't fit each other, or the transfer
            syntax isn't supported or has no such samples.
        MetaDataError: a value can't be encoded; names the tag.
        CubeFileAccessError: the operating system refuses.
    """
    files = SeriesFiles(meta, volume, pixel_header, space, syntax, coded, derived)
    target = os.fspath(folder)
    make_folder(target, overwrite)
    paths = []
    with WholeFiles() as writer:
        for number in range(len(files.instances)):
            path = os.path.join(target, f"slice_{number:04d}.dcm")
            writer.write(path, files.parts(number))
            paths.append(path)
            if progress is not None:
                progress(number + 1, len(files.instances))
    return paths


class SeriesFiles:
    """The files that a series makes; see `write_dicom_folder` for the arguments.

    Attributes:
        meta: the metadata, which agree with space and pixel header.
        instances: the slices of each file.
        syntax: their transfer syntax.
        pixel_parts: gives the pixel element of a file, in pieces, for its slices.

    Raises:
        DataConsistencyError: volume, metadata and space don't fit each other, or the transfer
            syntax isn't supported or has no such samples.
    """

    def __init__(
        self,
        meta: DicomMeta,
        volume: NDArray[Any],
        pixel_header: PixelDataHeader,
        space: Space | None,
        syntax: TransferSyntax,
        coded: Sequence[CodedFrame],
        derived: Sequence[Replaced],
    ) -> None:
        _check(meta, volume, space)
        check_syntax(meta, volume, pixel_header, syntax)
        if syntax.codec and len(coded) != len(volume):
            raise DataConsistencyError(
                f"expected {len(volume)} frames coded in {syntax.keyword}, found {len(coded)}"
            )
        self.meta = meta = settled(meta, pixel_header, space)
        self.instances = meta.instances()
        self.syntax = syntax
        self.pixel_parts = _pixel_writer(meta, volume, pixel_header, coded)
        self._encoder = InstanceEncoder(dict(meta.items()))
        self._pixels = pixel_attributes(meta, volume, pixel_header, coded)
        self._frames_left = frame_attributes(meta)
        self._told = {key: _uids(meta, key) for key in _IN_FILE_META}
        self._uids = _instance_uids(meta, self.instances, self._told)
        self._derived: list[Replaced] = [{} for _ in self.instances]
        # A derived image is another instance than its source (PS3.3 C.7.6.1.1.5), of the same
        # derivation always the same.
        self._derived = [
            {**elements, **_derived_uid(self.uid(number, _SOP_INSTANCE), elements)}
            for number, elements in enumerate(derived or self._derived)
        ]

    def replaced(self, number: int) -> Replaced:
        """Return the elements of a file that go out instead of its metadata's."""
        return {
            **self._frames_left[number],
            **self._pixels[number],
            **self._uids[number],
            **self._derived[number],
        }

    def elements(self, number: int) -> dict[str, JsonElement]:
        """Return all elements of a file but the pixels, by tag key."""
        told = slice_items(dict(self.meta.items()), self.instances[number][0])
        given = {**told, **self.replaced(number)}
        return {key: element for key, element in given.items() if element is not None}

    def uid(self, number: int, key: str) -> str:
        """Return the SOP class or instance UID of a file, by tag key."""
        element = self.replaced(number).get(key)
        return str(element["Value"][0]) if element else self._told[key][self.instances[number][0]]

    def parts(self, number: int) -> list[bytes | memoryview]:
        """Return the bytes of a file, in pieces.

        Raises:
            MetaDataError: a value can't be encoded; names the tag.
        """
        slices = self.instances[number]
        elements = self._encoder.encode(slices[0], self.replaced(number))
        uids = self.uid(number, _SOP_CLASS), self.uid(number, _SOP_INSTANCE)
        source = slice_items(self.meta.file_meta, slices[0])
        file_meta = encode_file_meta(source, *uids, self.syntax)
        return instance_parts(file_meta, elements, self.pixel_parts(slices))


def _check(meta: DicomMeta, volume: NDArray[Any], space: Space | None) -> None:
    if volume.ndim not in (3, 4):
        raise DataConsistencyError(
            f"expected a volume of 3 or 4 dimensions, found shape {volume.shape}"
        )
    if len(volume) != meta.slice_count:
        raise DataConsistencyError(
            f"the volume has {len(volume)} slices, the metadata {meta.slice_count}"
        )
    if space is not None and tuple(space.shape) != volume.shape[:3]:
        raise DataConsistencyError(
            f"the space is of shape {tuple(space.shape)}, the volume of {volume.shape[:3]}"
        )


def _instance_uids(
    meta: DicomMeta, files: list[list[int]], told: dict[str, list[str]]
) -> list[Replaced]:
    """Return the elements that identify instances, for files that lack ones of their own."""
    classes, instances = told[_SOP_CLASS], told[_SOP_INSTANCE]
    repeated = len({instances[slices[0]] for slices in files}) < len(files)
    series = str(meta.get("SeriesInstanceUID", force_nonshared=True)[0])
    replaced: list[Replaced] = []
    for index, *_ in files:
        uids: Replaced = {}
        if not classes[index]:
            uids[_SOP_CLASS] = {"vr": "UI", "Value": [_SECONDARY_CAPTURE]}
        if repeated or not instances[index]:
            # Made from what is there: exporting twice gives the same instances.
            uid = uid_from(series, instances[index], str(index))
            uids[_SOP_INSTANCE] = {"vr": "UI", "Value": [uid]}
        replaced.append(uids)
    return replaced


def _derived_uid(source: str, elements: Replaced) -> Replaced:
    """Return the SOP instance UID of an image with elements of its own; nothing without any."""
    if not elements:
        return {}
    return {_SOP_INSTANCE: {"vr": "UI", "Value": [uid_from(source, str(elements))]}}


def _uids(meta: DicomMeta, key: str) -> list[str]:
    """Return a UID of each slice: the dataset's, else the file meta's; '' if it has neither."""
    found = []
    media = meta.get(_IN_FILE_META[key], force_nonshared=True)
    for own, other in zip(meta.get(key, force_nonshared=True), media, strict=True):
        uid = own or other or ""
        found.append(uid.decode("latin-1").rstrip(" \0") if isinstance(uid, bytes) else str(uid))
    return found


def check_syntax(
    meta: DicomMeta, volume: NDArray[Any], pixel_header: PixelDataHeader, syntax: TransferSyntax
) -> None:
    """Raise unless a series can be written in a transfer syntax.

    Raises:
        DataConsistencyError: pixels are not written in it, or its codec would lose bits outside
            BitsStored or has no such photometric interpretation.
    """
    if not syntax.codec:
        if syntax != EXPLICIT:
            raise DataConsistencyError(
                f"uncompressed pixels are written in {EXPLICIT.keyword} only, "
                f"not in {syntax.keyword} ({syntax.uid})"
            )
        return
    if pixel_header.Extras.get(UNUSED_BITS):
        raise DataConsistencyError(
            f"samples use bits outside BitsStored, which {syntax.keyword} can't keep",
            suggestion="ExplicitVRLittleEndian",
        )
    samples = volume.shape[3] if volume.ndim == 4 else 1
    for index in range(meta.slice_count):
        interpretation = photometric_interpretation(meta, index, samples)
        if interpretation not in syntax.interpretations or (
            interpretation == "PALETTE COLOR" and volume.dtype.kind == "i"
        ):
            raise DataConsistencyError(
                f"slice {index}: {syntax.keyword} has no {interpretation} of {volume.dtype.name}",
                suggestion="ExplicitVRLittleEndian",
            )


def _pixel_writer(
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    coded: Sequence[CodedFrame],
) -> Callable[[list[int]], list[bytes | memoryview]]:
    """Return what gives the pixel element of an instance, in pieces, for its slices."""
    if coded:
        return lambda slices: pixel_element([coded[index].data for index in slices])
    key, vr = pixel_element_of(volume.dtype, pixel_header)
    packed, planar = one_bit(meta, volume), numbers(meta, _PLANAR_CONFIGURATION, 1)

    def native(slices: list[int]) -> list[bytes | memoryview]:
        frames = volume[as_slice(slices)]
        if packed:  # eight samples in a byte, the first one lowest (PS3.5 8.1.1)
            frames = np.packbits(frames.reshape(-1), bitorder="little")
        elif frames.ndim == 4 and planar[slices[0]] == (1.0,):
            frames = np.moveaxis(frames, -1, 1)
        samples = np.ascontiguousarray(frames, frames.dtype.newbyteorder("<"))
        padding = samples.nbytes % 2
        if samples.nbytes + padding > _LONGEST_VALUE:
            raise DataConsistencyError(f"{samples.nbytes} bytes of pixels are too many for DICOM")
        header = element_header(key, vr, samples.nbytes + padding)
        return [header, samples.reshape(-1).view(np.uint8).data, b"\0" * padding]

    return native


def pixel_element_of(dtype: np.dtype[Any], pixel_header: PixelDataHeader) -> tuple[str, str]:
    """Return tag key and value representation of the element that samples go into."""
    if dtype.kind == "f":
        return ("7FE00008", "OF") if dtype.itemsize == 4 else ("7FE00009", "OD")
    bytes_as_ow = pixel_header.Extras.get(BYTES_AS_OW)
    return "7FE00010", "OB" if dtype.itemsize == 1 and not bytes_as_ow else "OW"


def instance_parts(
    file_meta: bytes,
    elements: Sequence[tuple[str, bytes]],
    pixels: Sequence[bytes | memoryview],
) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces.

    Args:
        file_meta: group 2.
        elements: the dataset's without the pixels, as (tag key, bytes), in tag order.
        pixels: the pixel element, and what belongs to it.
    """
    return [
        b"\0" * 128 + b"DICM" + file_meta,
        *(data for key, data in elements if key < _PIXELS),
        *pixels,
        *(data for key, data in elements if key > _PIXELS),
    ]


def encode_file_meta(
    source: dict[str, JsonElement], sop_class: str, sop_instance: str, syntax: TransferSyntax
) -> bytes:
    """Return group 2 (PS3.10 7.1): the source's, but for what describes this very file."""
    elements: dict[str, JsonElement] = {
        **source,
        "00020001": {"vr": "OB", "InlineBinary": "AAE="},
        "00020002": {"vr": "UI", "Value": [sop_class]},
        "00020003": {"vr": "UI", "Value": [sop_instance]},
        "00020010": {"vr": "UI", "Value": [syntax.uid]},
        "00020012": {"vr": "UI", "Value": [IMPLEMENTATION_CLASS_UID]},
        "00020013": {"vr": "SH", "Value": [IMPLEMENTATION_VERSION_NAME]},
    }
    written = b"".join(
        encode_element(key, elements[key], DEFAULT_ENCODINGS) for key in sorted(elements)
    )
    length: JsonElement = {"vr": "UL", "Value": [len(written)]}
    return encode_element("00020000", length, DEFAULT_ENCODINGS) + written
