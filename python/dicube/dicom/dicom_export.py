"""DICOM folders: writing metadata and a volume as one instance per slice.

Explicit VR little endian, rebuilt from the metadata; what describes the pixels is made true of the
array. Must not know dicube files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicube.core.pixel_header import PixelDataHeader
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.element_values import DEFAULT_ENCODINGS
from dicube.dicom.geometry import Space
from dicube.dicom.instance_bytes import InstanceEncoder, element_header, encode_element
from dicube.dicom.merge_utils import JsonElement, slice_items
from dicube.dicom.pixel_attributes import Replaced, one_bit, pixel_attributes
from dicube.dicom.replaced_geometry import geometry_attributes
from dicube.dicom.slice_order import numbers
from dicube.exceptions import CubeFileAccessError, DataConsistencyError, TargetExistsError

# A UUID made once (PS3.5 B.2): says who wrote a file, so it is the same in all of them.
IMPLEMENTATION_CLASS_UID = "2.25.276819327744341003361683454210354626763"
IMPLEMENTATION_VERSION_NAME = "DICUBE"

_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
_PLANAR_CONFIGURATION = "00280006"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONGEST_VALUE = 0xFFFFFFFE


def write_dicom_folder(
    folder: str | os.PathLike[str],
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    space: Space | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write slice_0000.dcm, slice_0001.dcm, ... into a folder, which is made if need be.

    Every element of the metadata goes out. Instead of the metadata's go: what describes the
    samples, where the array is different; RescaleSlope and RescaleIntercept, where the pixel header
    is not that of the first slice; the image plane, where `space` puts voxels elsewhere; SOP
    instance UIDs, where slices have none of their own.

    Args:
        folder: where to.
        meta: of as many slices as the volume has.
        volume: stored values, (slice, row, column) or (slice, row, column, sample); integers of
            8, 16 or 32 bits, float32 or float64.
        pixel_header: rescale of the volume.
        space: where the voxels are, zyx order; None: as the metadata says.
        overwrite: write into a folder that is not empty. Files of the names written are replaced,
            others stay. Each file is whole at any time.
        progress: called with slices done and slices in all.

    Returns:
        The paths written.

    Raises:
        TargetExistsError: the folder is not empty, or is a file.
        DataConsistencyError: volume, metadata and space don't fit each other.
        MetaDataError: a value can't be encoded; names the tag.
        CubeFileAccessError: the operating system refuses.
    """
    _check(meta, volume, space)
    target = os.fspath(folder)
    encoder = InstanceEncoder(dict(meta.items()))
    geometry = geometry_attributes(meta, space)
    packed, planar = one_bit(meta, volume), numbers(meta, _PLANAR_CONFIGURATION, 1)
    pixels = pixel_attributes(meta, volume, pixel_header)
    uids = _instance_uids(meta)
    _make_folder(target, overwrite)
    paths = []
    for index in range(len(volume)):
        replaced = {**geometry[index], **pixels[index], **uids[index]}
        path = os.path.join(target, f"slice_{index:04d}.dcm")
        frame = volume[index]
        if packed:  # eight samples in a byte, the first one lowest (PS3.5 8.1.1)
            frame = np.packbits(frame.reshape(-1), bitorder="little")
        elif frame.ndim == 3 and planar[index] == (1.0,):
            frame = np.moveaxis(frame, -1, 0)
        _write_whole(path, _instance_parts(meta, encoder, index, replaced, frame))
        paths.append(path)
        if progress is not None:
            progress(index + 1, len(volume))
    return paths


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


def _make_folder(target: str, overwrite: bool) -> None:
    if os.path.exists(target) and not os.path.isdir(target):
        raise TargetExistsError(f"{target} is a file, not a folder")
    try:
        os.makedirs(target, exist_ok=True)
        with os.scandir(target) as entries:
            occupied = next(entries, None)
    except OSError as error:
        raise CubeFileAccessError(f"can't write to {target}: {error.strerror}") from error
    if occupied is not None and not overwrite:
        raise TargetExistsError(
            f"{target} is not empty: it holds {occupied.name}",
            suggestion="choose another folder, or overwrite=True",
        )


def _instance_uids(meta: DicomMeta) -> list[Replaced]:
    """Return the elements that identify instances, for slices that lack ones of their own."""
    classes = meta.get(_SOP_CLASS, force_nonshared=True)
    instances = meta.get(_SOP_INSTANCE, force_nonshared=True)
    repeated = len(set(map(str, instances))) < len(instances)
    series = str(meta.get("SeriesInstanceUID", force_nonshared=True)[0])
    replaced: list[Replaced] = []
    for index in range(meta.slice_count):
        uids: Replaced = {}
        if not classes[index]:
            uids[_SOP_CLASS] = {"vr": "UI", "Value": [_SECONDARY_CAPTURE]}
        if repeated or not instances[index]:
            # Made from what is there: exporting twice gives the same instances.
            uid = _uid_from(series, str(instances[index]), str(index))
            uids[_SOP_INSTANCE] = {"vr": "UI", "Value": [uid]}
        replaced.append(uids)
    return replaced


def _uid_from(*sources: str) -> str:
    return str(generate_uid(prefix="2.25.", entropy_srcs=list(sources)))


def _instance_parts(
    meta: DicomMeta,
    encoder: InstanceEncoder,
    index: int,
    replaced: Replaced,
    frame: NDArray[Any],
) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces."""
    key, vr = {"f4": ("7FE00008", "OF"), "f8": ("7FE00009", "OD")}.get(
        frame.dtype.str[1:], ("7FE00010", "OB" if frame.dtype.itemsize == 1 else "OW")
    )
    samples = np.ascontiguousarray(frame, frame.dtype.newbyteorder("<"))
    padding = samples.nbytes % 2
    if samples.nbytes + padding > _LONGEST_VALUE:
        raise DataConsistencyError(f"a frame of {samples.nbytes} bytes is too long for DICOM")
    elements = encoder.encode(index, replaced)
    return [
        b"\0" * 128 + b"DICM" + _file_meta(meta, index, replaced),
        *(data for tag, data in elements if tag < key),
        element_header(key, vr, samples.nbytes + padding),
        samples.reshape(-1).view(np.uint8).data,
        b"\0" * padding,
        *(data for tag, data in elements if tag > key),
    ]


def _file_meta(meta: DicomMeta, index: int, replaced: Replaced) -> bytes:
    """Return group 2 (PS3.10 7.1): the source's, but for what describes this very file."""

    def uid(key: str) -> str:
        element = replaced.get(key)
        return str(element["Value"][0] if element else meta.get(key, force_nonshared=True)[index])

    elements: dict[str, JsonElement] = {
        **slice_items(meta.file_meta, index),
        "00020001": {"vr": "OB", "InlineBinary": "AAE="},
        "00020002": {"vr": "UI", "Value": [uid(_SOP_CLASS)]},
        "00020003": {"vr": "UI", "Value": [uid(_SOP_INSTANCE)]},
        "00020010": {"vr": "UI", "Value": [str(ExplicitVRLittleEndian)]},
        "00020012": {"vr": "UI", "Value": [IMPLEMENTATION_CLASS_UID]},
        "00020013": {"vr": "SH", "Value": [IMPLEMENTATION_VERSION_NAME]},
    }
    written = b"".join(
        encode_element(key, elements[key], DEFAULT_ENCODINGS) for key in sorted(elements)
    )
    length: JsonElement = {"vr": "UL", "Value": [len(written)]}
    return encode_element("00020000", length, DEFAULT_ENCODINGS) + written


def _write_whole(path: str, parts: list[bytes | memoryview]) -> None:
    """Write a file beside its place and move it there, so that it is never seen half-written."""
    beside = f"{path}.{os.getpid()}.part"
    try:
        try:
            with open(beside, "xb") as file:
                for part in parts:
                    file.write(part)
            os.replace(beside, path)
        except BaseException:
            if os.path.exists(beside):
                os.unlink(beside)
            raise
    except OSError as error:
        raise CubeFileAccessError(f"can't write {path}: {error.strerror}") from error
