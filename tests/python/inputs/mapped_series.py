"""DICOM series whose real values a mapping gives, not a rescale, each with the values expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from inputs.dicom_frames import enhanced, frames_like
from inputs.dicom_series import item, make_series, pixels_of, set_pixels
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    NuclearMedicineImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
)

SHAPE = (6, 5)
LIMITS = ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped")


class Mapped(NamedTuple):
    """Datasets, the real values of their stored ones, float64, and the units of these."""

    datasets: list[Dataset]
    expected: NDArray[np.float64]
    units: str | None = None


def code(value: str) -> Dataset:
    """Make a code of UCUM."""
    return item(CodeValue=value, CodingSchemeDesignator="UCUM", CodeMeaning=value)


def mapping(
    slope: float | None = None,
    intercept: float = 0.0,
    first: int = 0,
    last: int = 65535,
    label: str = "x",
    units: str = "mm2/s",
    **further: Any,
) -> Dataset:
    """Make an item of a Real World Value Mapping Sequence."""
    made = item(LUTLabel=label, MeasurementUnitsCodeSequence=[code(units)], **further)
    if slope is not None:
        made.RealWorldValueSlope, made.RealWorldValueIntercept = slope, intercept
    for keyword, value in zip(LIMITS, (first, last), strict=True):
        made.add(DataElement(keyword, "SS" if first < 0 else "US", value))
    return made


def without_rescale(count: int = 3, dtype: str = "uint16") -> list[Dataset]:
    """Make the slices of an axial stack without RescaleSlope and RescaleIntercept."""
    series = make_series(count, dtype=dtype)
    for dataset in series:
        del dataset.RescaleSlope, dataset.RescaleIntercept
    return series


def stored(count: int = 3, dtype: str = "uint16") -> NDArray[Any]:
    """Return the samples of `without_rescale`."""
    return np.stack([pixels_of(index, SHAPE, dtype) for index in range(count)])


def with_each(series: list[Dataset], keyword: str, *items: Dataset) -> list[Dataset]:
    """Give each dataset a sequence."""
    for dataset in series:
        setattr(dataset, keyword, list(items))
    return series


def modality_lut(
    table: NDArray[Any], first: int = 0, bits: int = 16, signed: bool = False, **further: Any
) -> Dataset:
    """Make an item of a Modality LUT Sequence."""
    made = item(ModalityLUTType="OD", **further)
    count = len(table) % 65536
    descriptor = [count, first, bits]
    if signed:
        descriptor = [number - 65536 if number > 32767 else number for number in descriptor]
    made.add(DataElement("LUTDescriptor", "SS" if signed else "US", descriptor))
    data = table.tobytes()
    made.add(DataElement("LUTData", "OW", data + b"\0" * (len(data) % 2)))
    return made


def looked_up(table: NDArray[Any], first: int, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return a table's values, those beyond it being its ends."""
    places = np.clip(values.astype(np.int64) - first, 0, len(table) - 1)
    return table[places].astype(np.float64)


def dose() -> Mapped:
    """RT Dose of 32 bits, one file of four frames, with a rescale that says nothing."""
    dataset = enhanced(4)
    del dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence
    dataset.SOPClassUID, dataset.Modality = RTDoseStorage, "RTDOSE"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.GridFrameOffsetVector = [0.5, 0.75], [0, 2, 4, 6]
    dataset.DoseUnits, dataset.DoseGridScaling = "GY", "1.23e-08"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    samples = np.random.default_rng(1).integers(0, 1 << 32, (4, *SHAPE), np.uint64)
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    set_pixels(dataset, samples.astype("u4"))
    return Mapped([dataset], samples * 1.23e-8, "GY")


def dose_of_each_slice() -> Mapped:
    """RT Dose, a file for each plane, with a scaling of its own."""
    series = without_rescale()
    for index, dataset in enumerate(series):
        dataset.SOPClassUID, dataset.Modality = RTDoseStorage, "RTDOSE"
        dataset.DoseUnits, dataset.DoseGridScaling = "GY", f"0.{index + 1}"
    factors = np.array([0.1, 0.2, 0.3])[:, None, None]
    return Mapped(series, stored() * factors, "GY")


def at_the_root() -> Mapped:
    """One mapping at the root."""
    series = with_each(
        without_rescale(), "RealWorldValueMappingSequence", mapping(0.00123, -1.5, units="Bq/ml")
    )
    for dataset in series:
        dataset.SOPClassUID, dataset.Modality = NuclearMedicineImageStorage, "NM"
    return Mapped(series, stored() * 0.00123 - 1.5, "Bq/ml")


def of_each_frame() -> Mapped:
    """A mapping in the functional groups of each frame."""
    dataset = enhanced(
        4, groups=lambda i: plane_of(i, RealWorldValueMappingSequence=[mapping(0.5 + i, -3.0 * i)])
    )
    expected = [frame * (0.5 + i) - 3.0 * i for i, frame in enumerate(frames_like(4, 100))]
    return Mapped([dataset], np.stack(expected), "mm2/s")


def shared_by_frames() -> Mapped:
    """A mapping that all frames share."""
    shared = {"RealWorldValueMappingSequence": [mapping(2.0, 1.0)]}
    dataset = enhanced(4, groups=plane_of, shared=shared)
    return Mapped([dataset], frames_like(4, 100) * 2.0 + 1, "mm2/s")


def parametric_map() -> Mapped:
    """Samples of float32, whose ends the limits are, in double precision."""
    samples = np.random.default_rng(2).random((4, *SHAPE), np.float32)
    samples[0, 0, :3] = np.nan, 0.1, 0.9
    made = mapping(2.0, -1.0, units="1")
    for keyword, value in zip(LIMITS, (0.0, 0.9), strict=True):
        del made[keyword]
        setattr(made, f"DoubleFloat{keyword}", value)
    identity = item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")  # PS3.3 C.7.6.16.2.9b
    shared = {
        "RealWorldValueMappingSequence": [made],
        "PixelValueTransformationSequence": [identity],
    }
    dataset = enhanced(4, groups=plane_of, shared=shared)
    dataset.SOPClassUID, dataset.BitsAllocated = ParametricMapStorage, 32
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, keyword)
    dataset.FloatPixelData = samples.tobytes()
    inside = samples <= np.float32(0.9)
    return Mapped([dataset], np.where(inside, samples.astype(float) * 2 - 1, np.nan), "1")


def table_of_a_range() -> Mapped:
    """A table for stored values of -100 to 399 only."""
    table = np.linspace(-1, 7, 500) ** 3
    series = without_rescale(3, "int16")
    samples = stored(3, "int16") % 1000 - 300
    for dataset, frame in zip(series, samples, strict=True):
        set_pixels(dataset, frame)
    made = mapping(first=-100, last=399, RealWorldValueLUTData=table.tolist())
    expected = np.where(
        (samples >= -100) & (samples < 400), looked_up(table, -100, samples), np.nan
    )
    return Mapped(with_each(series, "RealWorldValueMappingSequence", made), expected, "mm2/s")


def two_ranges() -> Mapped:
    """Two items that map disjoint ranges to the same units."""
    items = mapping(2.0, 1.0, 0, 29999), mapping(0.5, 7.0, 30000, 65535)
    series = with_each(without_rescale(), "RealWorldValueMappingSequence", *items)
    samples = stored()
    expected = np.where(samples < 30000, samples * 2.0 + 1, samples * 0.5 + 7)
    return Mapped(series, expected, "mm2/s")


def lut() -> Mapped:
    """A Modality LUT of 4096 entries for samples of 16 bits."""
    table = np.linspace(0, 60000, 4096).astype("<u2")
    series = with_each(without_rescale(), "ModalityLUTSequence", modality_lut(table, 100))
    return Mapped(series, looked_up(table, 100, stored()), "OD")


def lut_of_signed() -> Mapped:
    """A Modality LUT of 65536 entries, the first of which is that of -32768."""
    table = (np.arange(65536) // 2).astype("<u2")[::-1]
    series = without_rescale(3, "int16")
    made = modality_lut(table.copy(), -32768, signed=True)
    expected = looked_up(table, -32768, stored(3, "int16"))
    return Mapped(with_each(series, "ModalityLUTSequence", made), expected, "OD")


def lut_of_bytes() -> Mapped:
    """A Modality LUT of 255 entries of 8 bits, packed in words."""
    table = np.random.default_rng(3).integers(0, 256, 255, np.uint8)
    series = without_rescale(3, "uint8")
    for dataset in series:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    made = modality_lut(table, 1, 8)
    expected = looked_up(table, 1, stored(3, "uint8"))
    return Mapped(with_each(series, "ModalityLUTSequence", made), expected, "OD")


def lut_of_each_slice() -> Mapped:
    """A Modality LUT of its own for each slice, with 8 bits in words of their own."""
    series = without_rescale(3, "uint8")
    expected = []
    for index, dataset in enumerate(series):
        table = ((np.arange(256) * (index + 1)) % 256).astype("<u2")
        dataset.ModalityLUTSequence = [modality_lut(table, 0, 8)]
        expected.append(looked_up(table, 0, stored(3, "uint8")[index]))
    return Mapped(series, np.stack(expected), "OD")


def plane_of(frame: int, **further: Any) -> dict[str, Any]:
    """The functional groups of a frame without a rescale."""
    return {
        "PlanePositionSequence": [item(ImagePositionPatient=[-10, 20, 2.5 * frame])],
        **further,
    }


MAPPED: dict[str, Callable[[], Mapped]] = {
    made.__name__: made
    for made in (
        *(dose, dose_of_each_slice, at_the_root, of_each_frame, shared_by_frames, parametric_map),
        *(table_of_a_range, two_ranges, lut, lut_of_signed, lut_of_bytes, lut_of_each_slice),
    )
}
