"""Writes a series as one multi-frame DICOM file.

`converted_elements` merges the elements of the slices. This module adds identifiers, pixels and the
elements that the SOP class requires. Must not know dicube files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import uid_name
from dicube.dicom.export.converted_elements import (
    CLASSIC,
    SECONDARY_CAPTURE,
    Elements,
    Kind,
    element,
    frame_type,
    merge_instances,
    text_of,
)
from dicube.dicom.export.folder import SeriesFiles, encode_file_meta, instance_parts
from dicube.dicom.export.frame_coding import CodedFrame
from dicube.dicom.export.pixel_attributes import Replaced
from dicube.dicom.export.uids import uid_from
from dicube.dicom.metadata.real_world import DEFINING_KEYS
from dicube.dicom.metadata.slice_bytes import encode_each
from dicube.dicom.metadata.slice_order import numbers, positions_along_normal
from dicube.dicom.series.geometry import Space
from dicube.dicom.transfer_syntaxes import EXPLICIT, TransferSyntax, known_interpretation
from dicube.exceptions import DataConsistencyError, TargetExistsError
from dicube.pixel_header import PixelDataHeader
from dicube.whole_files import write_whole

_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
# PS3.4 B.5: multi-frame secondary captures, by (samples per pixel, bytes per sample).
_CAPTURES = {
    (1, 1): "1.2.840.10008.5.1.4.1.1.7.2",
    (1, 2): "1.2.840.10008.5.1.4.1.1.7.3",
    (3, 1): "1.2.840.10008.5.1.4.1.1.7.4",
}
_GRAY = "MONOCHROME2"
_PER_FRAME_GROUPS = "52009230"
_PET = "1.2.840.10008.5.1.4.1.1.128"
_SAME_PLACE = 1e-3  # mm; positions along the normal that are closer count as equal


def frames_in_instances(meta: DicomMeta) -> list[list[int]]:
    """Return the slices of each instance that `write_dicom_file` writes: one with all slices."""
    instances = meta.instances()
    return instances if len(instances) == 1 else [list(range(meta.slice_count))]


def write_dicom_file(
    path: str | os.PathLike[str],
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    space: Space | None = None,
    overwrite: bool = False,
    syntax: TransferSyntax = EXPLICIT,
    coded: Sequence[CodedFrame] = (),
    derived: Sequence[Replaced] = (),
) -> None:
    """Write a series as one multi-frame instance; slices become frames in the same order.

    CT, MR and PET images become Legacy Converted Enhanced images (PS3.3 A.70 to A.72), secondary
    captures become multi-frame secondary captures (A.8.2 to A.8.5). They get a new series, with
    UIDs derived from those of the source. The frames of one multi-frame file become one file again,
    with its original SOP class.

    Args:
        path: path of the file.
        meta, volume, pixel_header, space, syntax, derived: as for
            `dicom.export.folder.write_dicom_folder`.
        coded: as for `write_dicom_folder`; all frames must have the same depth.
        overwrite: replace an existing file, atomically.

    Raises:
        TargetExistsError: the file exists.
        DataConsistencyError: the SOP class has no multi-frame form, slices differ in an element
            that an instance has only once, or as for `write_dicom_folder`.
        MetaDataError: a value can't be encoded; names the tag.
        CubeFileNotFoundError: the folder of `path` doesn't exist.
        CubeFileAccessError: the operating system refuses to write.
    """
    target = os.fspath(path)
    if os.path.exists(target) and not overwrite:
        raise TargetExistsError(f"{target} already exists", suggestion="overwrite=True")
    files = SeriesFiles(meta, volume, pixel_header, space, syntax, coded, derived)
    (declared,) = numbers(meta, "NumberOfFrames", 1)[0] or (1.0,)
    if meta.has_frames or declared > 1:
        if len(files.instances) > 1:
            raise DataConsistencyError(
                f"{len(files.instances)} multi-frame files can't be written as one file"
            )
        write_whole(target, files.parts(0))
        return
    sources = [files.elements(number) for number in range(len(files.instances))]
    for number, source in enumerate(sources):
        source.update(element("SOPClassUID", files.uid(number, _SOP_CLASS)))
        source.update(element("SOPInstanceUID", files.uid(number, _SOP_INSTANCE)))
        if text_of(source, "SOPClassUID") != text_of(sources[0], "SOPClassUID"):
            raise DataConsistencyError(f"slice {number} has another SOP class than slice 0")
    kind = _kind(sources[0], volume)
    _widen_bits(sources)
    merged = merge_instances(sources, kind, _ranks(meta, space))
    merged = {**_required(merged, sources, kind), **merged, **_identifiers(sources, kind)}
    uids = kind.sop_class, text_of(merged, "SOPInstanceUID")
    file_meta = encode_file_meta({}, *uids, files.syntax)
    pixels = files.pixel_parts(list(range(meta.slice_count)))
    write_whole(target, instance_parts(file_meta, encode_each(merged), pixels))


def _kind(source: Elements, volume: NDArray[Any]) -> Kind:
    """Return the kind of multi-frame instance that single-frame instances become.

    Raises:
        DataConsistencyError: DICOM has no multi-frame form of them.
    """
    sop_class = text_of(source, "SOPClassUID")
    photometric = text_of(source, "PhotometricInterpretation")
    found_samples = f"{known_interpretation(photometric)} samples of {volume.dtype.name}"
    if sop_class in CLASSIC:
        if volume.dtype.kind not in "iu" or volume.ndim != 3 or photometric != _GRAY:
            raise DataConsistencyError(
                f"{uid_name(sop_class)} has no multi-frame form for {found_samples}: "
                f"expected {_GRAY} integers (PS3.3 C.8.13.1, C.8.15.2, "
                "C.8.22.3)",
                suggestion="to_dicom_folder, which writes a file for each slice",
            )
        return CLASSIC[sop_class]
    if sop_class == SECONDARY_CAPTURE:
        samples = volume.shape[3] if volume.ndim == 4 else 1
        found = _CAPTURES.get((samples, volume.dtype.itemsize))
        gray_or_colour = photometric == _GRAY or (samples == 3 and photometric != "PALETTE COLOR")
        if found is not None and volume.dtype.kind == "u" and gray_or_colour:
            return Kind(found, "", "US")
        raise DataConsistencyError(
            f"a secondary capture has no multi-frame form for {samples} {found_samples}: "
            f"expected unsigned integers, gray ones as {_GRAY} (PS3.3 A.8.3 "
            "to A.8.5)",
            suggestion="to_dicom_folder, which writes a file for each slice",
        )
    name = uid_name(sop_class)
    raise DataConsistencyError(
        f"{name} has no multi-frame form",
        suggestion="CT, MR, PET and secondary capture images have one",
    )


def _widen_bits(sources: list[Elements]) -> None:
    """Give all instances the greatest BitsStored among them, which fits the others' values too."""
    stored = [int(text_of(source, "BitsStored") or 0) for source in sources]
    if min(stored) < max(stored):
        for source in sources:
            source.update(element("BitsStored", max(stored)))
            source.update(element("HighBit", max(stored) - 1))


def _ranks(meta: DicomMeta, space: Space | None) -> list[int] | None:
    """Return each slice's rank along the normal, from 1; None if the slices aren't one stack."""
    if space is not None:
        return list(range(1, meta.slice_count + 1))
    places = [place for place in positions_along_normal(meta) if place is not None]
    if len(places) < meta.slice_count:
        return None
    order = sorted(range(len(places)), key=places.__getitem__)
    ordered = [places[index] for index in order]
    if any(b - a < _SAME_PLACE for a, b in pairwise(ordered)):
        return None
    ranks = [0] * len(places)
    for rank, index in enumerate(order, 1):
        ranks[index] = rank
    return ranks


def _identifiers(sources: list[Elements], kind: Kind) -> Elements:
    """Return the elements that identify the instance and the equipment that converted it."""
    instances = [text_of(source, "SOPInstanceUID") for source in sources]
    series = text_of(sources[0], "SeriesInstanceUID")
    converter = {
        **element("Manufacturer", "dicube"),
        **element(
            "PurposeOfReferenceCodeSequence",
            {
                **element("CodeValue", "109106"),
                **element("CodingSchemeDesignator", "DCM"),
                **element("CodeMeaning", "Enhanced Multi-frame Conversion Equipment"),
            },
        ),
    }
    return {
        **element("SOPClassUID", kind.sop_class),
        **element("SOPInstanceUID", uid_from(series, *instances)),
        **element("SeriesInstanceUID", uid_from(series, kind.sop_class)),
        **element("InstanceNumber", 1),
        **element("NumberOfFrames", len(sources)),
        **element("ContributingEquipmentSequence", converter),
    }


def _required(merged: Elements, sources: list[Elements], kind: Kind) -> Elements:
    """Return the elements that the SOP class requires, as defaults (PS3.3 C.8.15.2)."""
    first = sources[0]
    date = text_of(first, "ContentDate") or text_of(first, "SeriesDate")
    time = text_of(first, "ContentTime") or text_of(first, "SeriesTime")
    found = {
        **element("ContentDate", date or text_of(first, "StudyDate") or "19000101"),
        **element("ContentTime", time or text_of(first, "StudyTime") or "000000"),
        **element("BurnedInAnnotation", "NO"),
        **element("LossyImageCompression", "00"),
    }
    gray = text_of(merged, "PhotometricInterpretation") == _GRAY
    if gray:
        found |= element("PresentationLUTShape", "IDENTITY")
    if not kind.frame_type:
        found |= element("ConversionType", "WSD") | element("PatientOrientation")
        found |= element("FrameIncrementPointer", _PER_FRAME_GROUPS)
        if gray:
            found |= element("RescaleType", "US")
        if gray and not any(DEFINING_KEYS & source.keys() for source in sources):
            found |= element("RescaleIntercept", 0) | element("RescaleSlope", 1)
        return found
    if kind is CLASSIC[_PET]:  # the conversion isn't approved for clinical use
        found |= element("ContentQualification", "RESEARCH")
    acquired = text_of(first, "AcquisitionDate") + text_of(first, "AcquisitionTime")
    if len(acquired) > 8:
        found |= element("AcquisitionDateTime", acquired)
    return {
        **found,
        **frame_type(first, kind, "ImageType"),
        **element("AcquisitionContextSequence"),
    }
