"""Writes a series as a folder of DICOM files, one for each instance.

Elements are encoded in Explicit VR Little Endian, pixels natively or by a codec. The elements are
those of the metadata, except that those that describe the pixels are adapted to the volume. Must
not know dicube files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.elements.values import DEFAULT_ENCODINGS
from dicube.dicom.export.encapsulation import pixel_element
from dicube.dicom.export.frame_attributes import frame_attributes
from dicube.dicom.export.frame_coding import CodedFrame
from dicube.dicom.export.nested_pixels import nested_pixels
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
from dicube.dicom.merge_utils import (
    Entries,
    JsonElement,
    is_uniform,
    slice_entry,
    slice_items,
)
from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.slice_bytes import (
    InstanceEncoder,
    element_header,
    encode_element,
    encoded_size,
)
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Space
from dicube.dicom.series.precedence import settled
from dicube.dicom.series.stored_bits import UNUSED_BITS
from dicube.dicom.transfer_syntaxes import EXPLICIT, TransferSyntax
from dicube.exceptions import DataConsistencyError, OutOfMemoryError
from dicube.pixel_header import PixelDataHeader
from dicube.threads import Progress
from dicube.whole_files import WholeFiles, make_folder

_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
_IN_FILE_META = {_SOP_CLASS: "00020002", _SOP_INSTANCE: "00020003"}
_PLANAR_CONFIGURATION = "00280006"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONGEST_VALUE = 0xFFFFFFFE
_PIXELS = "7FE00010"
# The bytes of elements in all files of an export.
_ELEMENTS_ALWAYS_ALLOWED = 1 << 30
_MOST_ELEMENTS = 64  # times the bytes of the samples


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
    """Write slice_0000.dcm, slice_0001.dcm, ... into a folder.

    Writes one file for each slice. Slices that were frames of one file become one file again, in
    the order of their frame numbers. If only some of its frames are left, elements with a value for
    each frame are cut to these, and the file gets a new SOP instance UID.

    Writes every element of the metadata, but replaces those that no longer hold: elements that
    describe the samples, if the array differs; RescaleSlope and RescaleIntercept, or WindowCenter
    and WindowWidth, if the pixel header differs from the first slice; the image plane, if `space`
    differs from the metadata; SOP instance UIDs, if they are missing or not unique.

    Args:
        folder: the target folder, which is created if needed.
        meta: metadata with as many slices as the volume.
        volume: stored values, (slice, row, column) or (slice, row, column, sample); integers of
            8, 16, 32 or 64 bits, float32 or float64.
        pixel_header: rescale and window of the volume.
        space: geometry of the volume in zyx order; None: that of the metadata.
        overwrite: write into a folder that is not empty. Files with the same names are replaced
            atomically; other files stay.
        progress: called with the number of files written and the total number.
        syntax: the transfer syntax of the files.
        coded: the coded frames for a transfer syntax with a codec, one for each slice; the samples
            of `volume` are then not read.
        derived: for each file, elements that replace the metadata's; none by default.

    Returns:
        The paths written.

    Raises:
        TargetExistsError: the folder is not empty, or is a file.
        DataConsistencyError: volume, metadata and space don't match, or the transfer syntax isn't
            supported or can't hold the samples.
        OutOfMemoryError: the elements of the files take more than 1 GiB and more than 64 times the
            samples.
        MetaDataError: a value can't be encoded; names the tag.
        CubeFileAccessError: the operating system refuses to write.
    """
    files = SeriesFiles(meta, volume, pixel_header, space, syntax, coded, derived)
    target = os.fspath(folder)
    make_folder(target, overwrite)
    paths = []
    with WholeFiles(target) as writer:
        for number in range(len(files.instances)):
            paths.append(writer.write(f"slice_{number:04d}.dcm", files.parts(number)))
            if progress is not None:
                progress(number + 1, len(files.instances))
    return paths


class SeriesFiles:
    """The files of a series; see `write_dicom_folder` for the arguments.

    Attributes:
        meta: the metadata, adapted to the space and the pixel header.
        instances: for each file, its slices.
        syntax: the transfer syntax of the files.
        pixel_parts: returns the pixel element of the file with the given slices, in parts.

    Raises:
        DataConsistencyError: volume, metadata and space don't match, or the transfer syntax isn't
            supported or can't hold the samples.
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
        self._entries = dict(meta.entries)
        self._frames_left = frame_attributes(meta)
        # What is left of the values of frames is in one file only.
        cut = set.intersection(*map(set, self._frames_left))
        entries = {key: entry for key, entry in self._entries.items() if key not in cut}
        _check_size(entries, [first for first, *_ in self.instances], volume.nbytes)
        self.syntax = syntax
        self.pixel_parts = _pixel_writer(meta, volume, pixel_header, coded)
        self._encoder = InstanceEncoder(self._entries)
        self._pixels = pixel_attributes(meta, volume, pixel_header, coded)
        self._nested_pixels = nested_pixels(meta, syntax.uid)
        self._original_uids = {key: _uids(meta, key) for key in _IN_FILE_META}
        self._uids = _instance_uids(meta, self.instances, self._original_uids)
        self._derived: list[Replaced] = [{} for _ in self.instances]
        # A derived image needs a UID of its own (PS3.3 C.7.6.1.1.5); the same derivation always
        # gets the same one.
        self._derived = [
            {**elements, **_derived_uid(self.uid(number, _SOP_INSTANCE), elements)}
            for number, elements in enumerate(derived or self._derived)
        ]

    @cached_property
    def _alike(self) -> dict[str, JsonElement | None]:
        """The elements that all slices share, which need not be made for each of them."""
        return {key: slice_entry(e, 0) for key, e in self._entries.items() if is_uniform(e)}

    def replaced(self, number: int) -> Replaced:
        """Return the elements of a file that replace those of its metadata."""
        return {
            **self._nested_pixels[number],
            **self._frames_left[number],
            **self._pixels[number],
            **self._uids[number],
            **self._derived[number],
        }

    def elements(self, number: int) -> dict[str, JsonElement]:
        """Return all elements of a file by tag key, without the pixels."""
        index, alike = self.instances[number][0], self._alike
        found = {
            key: alike[key] if key in alike else slice_entry(entry, index)
            for key, entry in self._entries.items()
        }
        written = {**found, **self.replaced(number)}
        return {key: element for key, element in written.items() if element is not None}

    def uid(self, number: int, key: str) -> str:
        """Return the SOP class UID or SOP instance UID of a file, given its tag key."""
        element = self.replaced(number).get(key)
        if element:
            return str(element["Value"][0])
        return self._original_uids[key][self.instances[number][0]]

    def parts(self, number: int) -> list[bytes | memoryview]:
        """Return the bytes of a file in parts.

        Raises:
            MetaDataError: a value can't be encoded; names the tag.
        """
        slices = self.instances[number]
        elements = self._encoder.encode(slices[0], self.replaced(number))
        uids = self.uid(number, _SOP_CLASS), self.uid(number, _SOP_INSTANCE)
        source = slice_items(self.meta.file_meta, slices[0])
        file_meta = encode_file_meta(source, *uids, self.syntax)
        return instance_parts(file_meta, elements, self.pixel_parts(slices))


def _check_size(entries: Entries, slices: Sequence[int], samples: int) -> None:
    """Raise an OutOfMemoryError if files would be far larger than their samples.

    A few KB of packed metadata can hold elements of megabytes that all files share.
    """
    limit = max(_ELEMENTS_ALWAYS_ALLOWED, _MOST_ELEMENTS * samples)
    size = encoded_size(entries, slices)
    if size > limit:
        raise OutOfMemoryError(
            f"the elements of {len(slices)} files take {size} bytes, more than {limit}",
            suggestion="remove large elements from the metadata",
        )


def _check(meta: DicomMeta, volume: NDArray[Any], space: Space | None) -> None:
    if volume.ndim not in (3, 4):
        raise DataConsistencyError(
            f"expected a volume of 3 or 4 dimensions, found shape {volume.shape}"
        )
    if len(volume) != meta.slice_count:
        raise DataConsistencyError(
            f"expected metadata of {len(volume)} slices, found {meta.slice_count}"
        )
    if space is not None and tuple(space.shape) != volume.shape[:3]:
        raise DataConsistencyError(
            f"expected a space of shape {volume.shape[:3]}, found {tuple(space.shape)}"
        )


def _instance_uids(
    meta: DicomMeta, files: list[list[int]], originals: dict[str, list[str]]
) -> list[Replaced]:
    """Return for each file the SOP class and instance UIDs that it lacks or shares with others."""
    classes, instances = originals[_SOP_CLASS], originals[_SOP_INSTANCE]
    repeated = len({instances[slices[0]] for slices in files}) < len(files)
    series = str(meta.get("SeriesInstanceUID", force_nonshared=True)[0])
    replaced: list[Replaced] = []
    for index, *_ in files:
        uids: Replaced = {}
        if not classes[index]:
            uids[_SOP_CLASS] = {"vr": "UI", "Value": [_SECONDARY_CAPTURE]}
        if repeated or not instances[index]:
            # Derived from the existing UIDs, so that exporting twice gives the same instances.
            uid = uid_from(series, instances[index], str(index))
            uids[_SOP_INSTANCE] = {"vr": "UI", "Value": [uid]}
        replaced.append(uids)
    return replaced


def _derived_uid(source: str, elements: Replaced) -> Replaced:
    """Return the SOP instance UID of a derived image; nothing if no elements were derived."""
    if not elements:
        return {}
    return {_SOP_INSTANCE: {"vr": "UI", "Value": [uid_from(source, str(elements))]}}


def _uids(meta: DicomMeta, key: str) -> list[str]:
    """Return a UID of each slice from the dataset, or else the file meta; '' if both lack it."""
    media = meta.get(_IN_FILE_META[key], force_nonshared=True)
    found = zip(meta.get(key, force_nonshared=True), media, strict=True)

    def text(uid: Any) -> str:
        return uid.decode("latin-1").rstrip(" \0") if isinstance(uid, bytes) else str(uid)

    return converted((own or other or "" for own, other in found), text)


def check_syntax(
    meta: DicomMeta, volume: NDArray[Any], pixel_header: PixelDataHeader, syntax: TransferSyntax
) -> None:
    """Raise an error unless a series can be written in a transfer syntax.

    Raises:
        DataConsistencyError: dicube can't write it, or its codec would lose bits outside BitsStored
            or lacks the photometric interpretation.
    """
    if not syntax.codec:
        if syntax != EXPLICIT:
            raise DataConsistencyError(
                f"can't write uncompressed pixels in {syntax.keyword} ({syntax.uid}), "
                f"only in {EXPLICIT.keyword}"
            )
        return
    if pixel_header.Extras.get(UNUSED_BITS):
        raise DataConsistencyError(
            f"samples use bits outside BitsStored, which {syntax.keyword} can't store",
            suggestion="ExplicitVRLittleEndian",
        )
    samples = volume.shape[3] if volume.ndim == 4 else 1
    for index in range(meta.slice_count):
        interpretation = photometric_interpretation(meta, index, samples)
        if interpretation not in syntax.interpretations or (
            interpretation == "PALETTE COLOR" and volume.dtype.kind == "i"
        ):
            raise DataConsistencyError(
                f"slice {index}: {syntax.keyword} can't store {interpretation} samples of "
                f"{volume.dtype.name}",
                suggestion="ExplicitVRLittleEndian",
            )


def _pixel_writer(
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    coded: Sequence[CodedFrame],
) -> Callable[[list[int]], list[bytes | memoryview]]:
    """Return a function that returns the pixel element of an instance's slices, in parts."""
    if coded:
        return lambda slices: pixel_element([coded[index].data for index in slices])
    key, vr = pixel_element_of(volume.dtype, pixel_header)
    packed, planar = one_bit(meta, volume), numbers(meta, _PLANAR_CONFIGURATION, 1)

    def native(slices: list[int]) -> list[bytes | memoryview]:
        frames = volume[as_slice(slices)]
        if packed:  # eight samples per byte, the first one in the lowest bit (PS3.5 8.1.1)
            frames = np.packbits(frames.reshape(-1), bitorder="little")
        elif frames.ndim == 4 and planar[slices[0]] == (1.0,):
            frames = np.moveaxis(frames, -1, 1)
        samples = np.ascontiguousarray(frames, frames.dtype.newbyteorder("<"))
        padding = samples.nbytes % 2
        if samples.nbytes + padding > _LONGEST_VALUE:
            raise DataConsistencyError(
                f"expected at most {_LONGEST_VALUE} bytes of pixels in a file, found "
                f"{samples.nbytes}",
                suggestion="a transfer syntax with a codec",
            )
        header = element_header(key, vr, samples.nbytes + padding)
        return [header, samples.reshape(-1).view(np.uint8).data, b"\0" * padding]

    return native


def pixel_element_of(dtype: np.dtype[Any], pixel_header: PixelDataHeader) -> tuple[str, str]:
    """Return tag key and VR of the element for samples."""
    if dtype.kind == "f":
        return ("7FE00008", "OF") if dtype.itemsize == 4 else ("7FE00009", "OD")
    bytes_as_ow = pixel_header.Extras.get(BYTES_AS_OW)
    return "7FE00010", "OB" if dtype.itemsize == 1 and not bytes_as_ow else "OW"


def instance_parts(
    file_meta: bytes,
    elements: Sequence[tuple[str, bytes]],
    pixels: Sequence[bytes | memoryview],
) -> list[bytes | memoryview]:
    """Return the bytes of a file in parts.

    Args:
        file_meta: the bytes of group 2.
        elements: the elements of the dataset without the pixels, as (tag key, bytes), in tag order.
        pixels: the bytes of the pixel element, and of the offset tables before it.
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
    """Return the bytes of group 2 (PS3.10 7.1): the source's, but with elements of the new file."""
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
