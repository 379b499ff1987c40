"""Metadata for an array that does not come from DICOM.

Must not know pixels' values or files.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.geometry import Space, plane_attributes
from dicube.exceptions import DataConsistencyError, MetaDataError

_SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
_UID_PREFIX = "2.25."


def make_meta(
    shape: Sequence[int],
    dtype: Any,
    space: Space | None = None,
    modality: str = "OT",
    patient_name: str = "ANONYMOUS^",
    patient_id: str = "0000000",
) -> DicomMeta:
    """Make the metadata of a new series: a new study, one instance per slice.

    Args:
        shape: of the array: (slice, row, column) or (slice, row, column, sample).
        dtype: of the array.
        space: where its voxels are, zyx order. None: 1 mm voxels from the origin, axial.
        modality: decides the SOP class: CT, MR and PT have their own, all else is a secondary
            capture.
        patient_name, patient_id: not empty.

    Raises:
        DataConsistencyError: shape and space don't fit, or it is no shape of a volume.
        MetaDataError: modality, name or id is empty.
    """
    for name, value in (
        ("modality", modality),
        ("patient_name", patient_name),
        ("patient_id", patient_id),
    ):
        if not isinstance(value, str) or not value.strip():
            raise MetaDataError(f"{name} is empty", context="make_meta")
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise DataConsistencyError(f"expected a shape of 3 or 4 sizes, found {tuple(shape)}")
    size = tuple(int(n) for n in shape[:3])
    if space is None:
        space = Space(shape=size, x_orientation=(0, 0, 1), z_orientation=(1, 0, 0))
    if tuple(space.shape) != size:
        raise DataConsistencyError(
            f"the space is of shape {tuple(space.shape)}, the array of {size}"
        )
    count, rows, columns = size
    samples = int(shape[3]) if len(shape) == 4 else 1
    sample = np.dtype(dtype)
    bits = sample.itemsize * 8
    today, now = time.strftime("%Y%m%d"), time.strftime("%H%M%S")
    plane = plane_attributes(space)

    meta = DicomMeta({}, slice_count=count)
    shared: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": _SOP_CLASSES.get(modality, SecondaryCaptureImageStorage),
        "StudyDate": today,
        "SeriesDate": today,
        "ContentDate": today,
        "StudyTime": now,
        "SeriesTime": now,
        "ContentTime": now,
        "AccessionNumber": None,
        "Modality": modality,
        "ConversionType": "WSD",
        "Manufacturer": "dicube",
        "ReferringPhysicianName": None,
        "PatientName": patient_name,
        "PatientID": patient_id,
        "PatientBirthDate": None,
        "PatientSex": None,
        "SliceThickness": plane.slice_distance,
        "SpacingBetweenSlices": plane.slice_distance,
        "StudyInstanceUID": generate_uid(_UID_PREFIX),
        "SeriesInstanceUID": generate_uid(_UID_PREFIX),
        "StudyID": "1",
        "SeriesNumber": 1,
        "FrameOfReferenceUID": generate_uid(_UID_PREFIX),
        "PositionReferenceIndicator": None,
        "ImageOrientationPatient": plane.orientation,
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": plane.pixel_spacing,
        "BitsAllocated": bits,
    }
    if sample.kind != "f":
        shared |= {
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(sample.kind == "i"),
        }
    if samples > 1:
        shared["PlanarConfiguration"] = 0
    for keyword, value in shared.items():
        meta.set_shared_item(keyword, value)
    per_slice: dict[str, list[Any]] = {
        "SOPInstanceUID": [generate_uid(_UID_PREFIX) for _ in range(count)],
        "InstanceNumber": list(range(1, count + 1)),
        "ImagePositionPatient": plane.positions,
        "SliceLocation": plane.locations,
    }
    for keyword, values in per_slice.items():
        meta.set_nonshared_item(keyword, values)
    return meta
