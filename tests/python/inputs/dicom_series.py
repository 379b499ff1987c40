"""Synthetic DICOM series for tests: made by pydicom, so that ours is not judged by ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RawDataStorage

SERIES_UID = "1.2.826.0.1.3680043.8.498.1"


def make_slice(index: int = 0, shape: tuple[int, ...] = (6, 5), dtype: Any = "uint16") -> Dataset:
    """Make one slice of an axial CT: 0.5 mm between rows, 0.75 mm between columns, 2.5 mm steps."""
    kind = np.dtype(dtype)
    bits = kind.itemsize * 8
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{SERIES_UID}.{index + 1}"
    dataset.Modality = "CT"
    dataset.PatientName = "DOE^JOHN"
    dataset.PatientID = "4711"
    dataset.StudyInstanceUID = f"{SERIES_UID}.9.1"
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.SeriesDescription = "synthetic"
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [-10, 20, 2.5 * index]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.SliceThickness = 2.5
    dataset.SamplesPerPixel = 1 if len(shape) == 2 else shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if len(shape) == 2 else "RGB"
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(kind.kind == "i")
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = -1024
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    set_pixels(dataset, pixels_of(index, shape, dtype))
    return dataset


def make_series(count: int = 4, **kind: Any) -> list[Dataset]:
    """Make the slices of an axial CT."""
    return [make_slice(index, **kind) for index in range(count)]


def pixels_of(index: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return the samples of `make_slice`."""
    kind = np.dtype(dtype)
    values = np.random.default_rng(index).integers(0, 256**kind.itemsize, shape, np.uint64)
    return values.astype(f"u{kind.itemsize}").view(kind)


def set_pixels(dataset: Dataset, pixels: NDArray[Any]) -> None:
    """Put samples into a dataset, little endian, padded to an even number of bytes."""
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    vr = "OB" if pixels.dtype.itemsize == 1 else "OW"
    dataset.add_new(0x7FE00010, vr, data + b"\0" * (len(data) % 2))


def each(datasets: Sequence[Dataset], keyword: str, values: Iterable[Any]) -> list[Dataset]:
    """Give each slice its value of an element; `...` deletes it."""
    for dataset, value in zip(datasets, values, strict=True):
        if value is ...:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return list(datasets)


def item(**elements: Any) -> Dataset:
    """Make a sequence item."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write_series(folder: Path, datasets: Sequence[Dataset], names: Sequence[str] = ()) -> Path:
    """Write datasets into a folder, as I1, I2, ... or under the names given."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(datasets):
        path = folder / (names[index] if names else f"I{index + 1}")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return folder


def without_pixels(
    sop_class: str, number: int, series_uid: str = SERIES_UID, **elements: Any
) -> Dataset:
    """Make an object that is no image, of the study of `make_slice`."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"{SERIES_UID}.7.{number}"
    dataset.Modality = "OT"
    dataset.PatientID = "4711"
    dataset.StudyInstanceUID = f"{SERIES_UID}.9.1"
    dataset.SeriesInstanceUID = series_uid
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def raw_data(number: int, values: bytes = b"measured", **kind: Any) -> Dataset:
    """Make a raw data object with a private element."""
    dataset = without_pixels(RawDataStorage, number, **kind)
    dataset.add_new(0x20050010, "LO", "VENDOR RAW")
    dataset.add_new(0x20051001, "OB", values)
    return dataset
