"""Makes metadata for an array that does not come from DICOM.

Must not know the values of pixels, or files.
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
)

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.export.uids import new_uid
from dicube.dicom.series.geometry import Grid, Space, grid_of_space, plane_attributes
from dicube.exceptions import DataConsistencyError, MetaDataError

_SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
# Further elements of types 1 and 2 that these classes require (PS3.3 A.3, A.4, A.8, A.21), with the
# least specific values that are true of any array.
_OF_CLASS: dict[str, dict[str, Any]] = {
    "CT": {
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "PatientPosition": None,
        "KVP": None,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    },
    "MR": {
        "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
        "PatientPosition": None,
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": None,
        "MRAcquisitionType": None,
        "EchoTime": None,
        "EchoTrainLength": None,
    },
    "PT": {
        "ImageType": ["DERIVED", "PRIMARY"],
        "Units": "NONE",
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "CorrectedImage": None,
        "DecayCorrection": "NONE",
        "CollimatorType": None,
        "FrameReferenceTime": 0,
        "ActualFrameDuration": None,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "AcquisitionDate": None,
        "AcquisitionTime": None,
        "RadiopharmaceuticalInformationSequence": None,
        "PatientOrientationCodeSequence": None,
        "PatientGantryRelationshipCodeSequence": None,
    },
}
_OF_SECONDARY_CAPTURE: dict[str, Any] = {
    "ImageType": ["DERIVED", "SECONDARY"],
    "ConversionType": "WSD",
    "RescaleSlope": 1,
    "RescaleIntercept": 0,
    "RescaleType": "US",
    "PatientOrientation": None,
}
_RIGHT_ANGLE = 1e-2  # greatest cosine that counts as a right angle, as for a Space


def sop_class_of(modality: str | None) -> str:
    """Return the SOP class of new images: secondary capture unless the modality is CT, MR or PT."""
    return str(_SOP_CLASSES.get(modality or "", SecondaryCaptureImageStorage))


def make_meta(
    shape: Sequence[int],
    dtype: Any,
    space: Space | Grid | None = None,
    modality: str = "OT",
    patient_name: str = "ANONYMOUS^",
    patient_id: str = "0000000",
    *,
    volumes: int = 1,
    seconds_between_volumes: float | None = None,
) -> DicomMeta:
    """Make the metadata of a new series in a new study, with one instance per slice.

    Args:
        shape: shape of the array: (slice, row, column) or (slice, row, column, sample).
        dtype: dtype of the array.
        space: geometry of a volume: a Space in zyx order, or a Grid. None: axial, 1 mm voxels, the
            first one at the origin.
        modality: decides the SOP class: CT, MR and PT have their own, all others are secondary
            captures.
        patient_name: PatientName, not empty.
        patient_id: PatientID, not empty.
        volumes: number of volumes with the same geometry that follow each other in the array.
        seconds_between_volumes: time between volumes; None if they are not a time series.

    Raises:
        DataConsistencyError: `shape` is not that of a volume; shape, volumes and space don't match;
            or rows and columns are not at right angles, which DICOM doesn't allow.
        MetaDataError: modality, name or ID is empty.
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
    count, rows, columns = (int(n) for n in shape[:3])
    if volumes < 1 or count % volumes:
        raise DataConsistencyError(f"{count} slices can't be divided into {volumes} volumes")
    size = (columns, rows, count // volumes)
    if space is None:
        grid = Grid.from_steps(size, np.zeros(3), np.eye(3))
    else:
        grid = space if isinstance(space, Grid) else grid_of_space(space)
    if grid.shape != size:
        raise DataConsistencyError(
            f"expected a space of shape {size[::-1]}, found {grid.shape[::-1]}"
        )
    if abs(float(grid.axes[0] @ grid.axes[1])) > _RIGHT_ANGLE:
        raise DataConsistencyError(
            "rows and columns are not at right angles, which DICOM doesn't allow",
            suggestion="resample the volume, or set its space",
        )
    samples = int(shape[3]) if len(shape) == 4 else 1
    sample = np.dtype(dtype)
    bits = sample.itemsize * 8
    today, now = time.strftime("%Y%m%d"), time.strftime("%H%M%S")
    plane = plane_attributes(grid)

    meta = DicomMeta({}, slice_count=count)
    shared: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": sop_class_of(modality),
        "StudyDate": today,
        "SeriesDate": today,
        "ContentDate": today,
        "StudyTime": now,
        "SeriesTime": now,
        "ContentTime": now,
        "AccessionNumber": None,
        "Modality": modality,
        "Manufacturer": "dicube",
        "ReferringPhysicianName": None,
        "PatientName": patient_name,
        "PatientID": patient_id,
        "PatientBirthDate": None,
        "PatientSex": None,
        "SliceThickness": plane.slice_distance,
        "SpacingBetweenSlices": plane.slice_distance,
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
        "StudyID": "1",
        "SeriesNumber": 1,
        "FrameOfReferenceUID": new_uid(),
        "PositionReferenceIndicator": None,
        "Laterality": None,
        **_OF_CLASS.get(modality, _OF_SECONDARY_CAPTURE),
        "ImageOrientationPatient": plane.orientation,
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": plane.pixel_spacing,
    }
    if sample.kind == "f" or bits <= 32:  # few programs read 64-bit integers
        shared["BitsAllocated"] = bits
    if sample.kind != "f":
        shared |= {
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(sample.kind == "i"),
        }
    if samples > 1:
        shared["PlanarConfiguration"] = 0
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            shared.pop(keyword, None)
    for keyword, value in shared.items():
        meta.set_shared_item(keyword, value)
    per_slice: dict[str, list[Any]] = {
        "SOPInstanceUID": [new_uid() for _ in range(count)],
        "InstanceNumber": list(range(1, count + 1)),
        "ImagePositionPatient": plane.positions * volumes,
        "SliceLocation": plane.locations * volumes,
    }
    if modality == "PT":
        meta.set_shared_item("NumberOfSlices", grid.shape[2])
        per_slice["ImageIndex"] = list(range(1, count + 1))
        if volumes > 1:
            meta.set_shared_item("SeriesType", ["DYNAMIC", "IMAGE"])
            meta.set_shared_item("NumberOfTimeSlices", volumes)
    if volumes > 1:
        times = [time for time in range(1, volumes + 1) for _ in plane.positions]
        meta.set_shared_item("NumberOfTemporalPositions", volumes)
        per_slice |= {"TemporalPositionIdentifier": times, "AcquisitionNumber": times}
        if seconds_between_volumes is not None:
            meta.set_shared_item("TemporalResolution", seconds_between_volumes * 1000)
            meta.set_shared_item("RepetitionTime", seconds_between_volumes * 1000)
    for keyword, values in per_slice.items():
        meta.set_nonshared_item(keyword, values)
    return meta
