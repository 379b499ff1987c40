"""Replaces the elements that describe samples where they differ from the array.

PS3.3 C.7.6.3.1 (image pixel), C.11.1 (modality LUT). Must not know files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.elements.values import NUMBER_FORMAT
from dicube.dicom.export.frame_coding import CodedFrame
from dicube.dicom.merge_utils import JsonElement, slice_entry
from dicube.dicom.metadata.frames import PER_FRAME
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.stored_bits import UNUSED_BITS
from dicube.exceptions import DataConsistencyError
from dicube.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Key in a pixel header's Extras: the source stored 8-bit samples with VR OW instead of OB.
BYTES_AS_OW = "BytesAsOW"

Replaced: TypeAlias = "dict[str, JsonElement | None]"
"""Elements by tag key that replace the metadata's in an export; None removes the element."""

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = "00280002", "00280004", "00280006", "00280008"
_ROWS, _COLUMNS = "00280010", "00280011"
_ALLOCATED, _STORED, _HIGH, _SIGNED = "00280100", "00280101", "00280102", "00280103"
_INTERCEPT, _SLOPE = "00281052", "00281053"
_SAMPLE_KINDS = {*((kind, bits) for kind in "ui" for bits in (8, 16, 32)), ("f", 32), ("f", 64)}
# Elements with VR US or SS, depending on PixelRepresentation.
_IN_STORED_UNITS = (
    "00280106",  # SmallestImagePixelValue
    "00280107",  # LargestImagePixelValue
    "00280108",  # SmallestPixelValueInSeries
    "00280109",  # LargestPixelValueInSeries
    "00280120",  # PixelPaddingValue
    "00280121",  # PixelPaddingRangeLimit
)


def pixel_attributes(
    meta: DicomMeta,
    volume: NDArray[Any],
    pixel_header: PixelDataHeader,
    coded: Sequence[CodedFrame] = (),
) -> list[Replaced]:
    """Return the elements to replace in each file, in the order of `meta.instances()`.

    BitsStored and HighBit are kept if the samples fit.

    Args:
        meta: the metadata of the volume's slices.
        volume: the samples, (slice, row, column) or (slice, row, column, sample).
        pixel_header: the header of the volume.
        coded: the coded frames, one for each slice. BitsStored is then what their codestreams
            declare (PS3.5 8.2.14, 8.2.15), and the samples are not read.

    Raises:
        DataConsistencyError: DICOM can't hold such samples.
    """
    kind, bits = volume.dtype.kind, volume.dtype.itemsize * 8
    # Few programs read 64-bit integers, so they are written only if the source had them.
    wide = kind in "ui" and bits == 64 and numbers(meta, _ALLOCATED, 1)[0] == (64.0,)
    if not wide and (kind, bits) not in _SAMPLE_KINDS:
        raise DataConsistencyError(
            f"samples of {volume.dtype} can't be written as DICOM",
            suggestion="integers of 8, 16 or 32 bits, float32 or float64",
        )
    samples = volume.shape[3] if volume.ndim == 4 else 1
    if not coded and one_bit(meta, volume):
        bits = 1
    wanted: dict[str, Any] = {
        _SAMPLES: samples,
        _ROWS: volume.shape[1],
        _COLUMNS: volume.shape[2],
        _ALLOCATED: bits,
    }
    found = {
        tag: numbers(meta, tag, 1)
        for tag in (*wanted, _STORED, _HIGH, _SIGNED, _PLANAR, _FRAMES, *_IN_STORED_UNITS)
    }
    replaced: list[Replaced] = []
    for slices in meta.instances():
        index, frames = slices[0], volume[as_slice(slices)]
        has = {tag: _whole(values[index]) for tag, values in found.items()}
        new: Replaced = {}
        for tag, value in wanted.items():
            if has[tag] != value:
                new[tag] = _us(value)
        if samples > 1 and has[_PLANAR] not in ((0,) if coded else (0, 1)):
            new[_PLANAR] = _us(0)
        if samples == 1 and not meta.is_missing(_PLANAR):
            new[_PLANAR] = None
        if len(slices) > 1:
            if has[_FRAMES] != len(slices):
                new[_FRAMES] = {"vr": "IS", "Value": [len(slices)]}
        elif has[_FRAMES] not in (None, 1):
            new[_FRAMES] = None if meta.is_missing(PER_FRAME) else {"vr": "IS", "Value": [1]}
        photometric = photometric_interpretation(meta, index, samples)
        if coded and coded[index].is_transformed:
            photometric = "YBR_RCT"
        if photometric != meta.get_of_slice(_PHOTOMETRIC, index):
            new[_PHOTOMETRIC] = {"vr": "CS", "Value": [photometric]}
        if kind == "f":
            new.update({tag: None for tag in (_STORED, _HIGH, _SIGNED) if has[tag] is not None})
        else:
            words = bool(pixel_header.Extras.get(UNUSED_BITS))
            if coded:
                new.update(_declared(has, coded[index].bits, kind == "i"))
            else:
                new.update(_bits(has, frames, bits, words))
            if new.get(_SIGNED) is not None and has[_SIGNED] is not None:
                new.update(_in_stored_units(meta, index, signed=kind == "i"))
        replaced.append(new)
    return replaced


def photometric_interpretation(meta: DicomMeta, index: int, samples: int) -> str:
    """Return a slice's photometric interpretation: the metadata's, if the samples allow it."""
    found = str(meta.get_of_slice(_PHOTOMETRIC, index) or "")
    if _interpretable(found, samples):
        return found
    return "RGB" if samples == 3 else "MONOCHROME2"


def one_bit(meta: DicomMeta, volume: NDArray[Any]) -> bool:
    """Return whether to write one-bit samples: the source had them, and the values still fit."""
    allocated = numbers(meta, _ALLOCATED, 1)
    return (
        all(bits == (1.0,) for bits in allocated)
        and volume.dtype == "u1"
        and bool(volume.max(initial=0) <= 1)
    )


def as_slice(slices: list[int]) -> Any:
    """Return an index that selects slices of a volume, as a view if they are consecutive."""
    first, last = slices[0], slices[-1]
    return slice(first, last + 1) if slices == list(range(first, last + 1)) else slices


def _bits(has: dict[str, int | None], frames: NDArray[Any], bits: int, words: bool) -> Replaced:
    """Return BitsStored, HighBit and PixelRepresentation as far as they don't match the samples.

    Args:
        has: the values in the metadata.
        frames: the samples.
        bits: bits allocated for a sample.
        words: whether samples are meant to use bits outside BitsStored.
    """
    signed = int(frames.dtype.kind == "i")
    stored = has[_STORED]
    if stored is not None and has[_SIGNED] == signed and has[_ALLOCATED] == bits:
        high = has[_HIGH]
        if 0 < stored <= bits and high is not None and stored - 1 <= high < bits:
            lowest, highest = (
                (-(1 << stored - 1), (1 << stored - 1) - 1)
                if signed
                else (
                    0,
                    (1 << stored) - 1,
                )
            )
            if (
                stored == bits
                or words
                or (frames.size and lowest <= frames.min() and frames.max() <= highest)
            ):
                return {}
    new = {_STORED: bits, _HIGH: bits - 1, _SIGNED: signed}
    return {tag: _us(value) for tag, value in new.items() if has[tag] != value}


def _declared(has: dict[str, int | None], bits: int, signed: bool) -> Replaced:
    """Return BitsStored, HighBit and PixelRepresentation for codestreams that declare `bits`."""
    new = {_STORED: bits, _HIGH: bits - 1, _SIGNED: int(signed)}
    return {tag: _us(value) for tag, value in new.items() if has[tag] != value}


def _in_stored_units(meta: DicomMeta, index: int, signed: bool) -> Replaced:
    """Return the elements in stored units for samples whose signedness changed.

    Elements whose values no longer fit are removed.
    """
    new: Replaced = {}
    for tag in _IN_STORED_UNITS:
        entry = meta.entries.get(tag)
        element = None if entry is None else slice_entry(entry, index)
        if element is None or element["vr"] not in NUMBER_FORMAT:
            continue
        low, high = (-0x8000, 0x7FFF) if signed else (0, 0xFFFF)
        values = element.get("Value", [])
        fits = all(low <= value <= high for value in values)
        new[tag] = {"vr": "SS" if signed else "US", "Value": values} if fits else None
    return new


def _interpretable(photometric: str, samples: int) -> bool:
    if samples == 1:
        return photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if samples == 3:
        return photometric in ("RGB", "YBR_FULL", "HSV")
    return bool(photometric)


def _whole(found: tuple[float, ...] | None) -> int | None:
    return None if found is None else int(found[0])


def _us(value: int) -> JsonElement:
    return {"vr": "US", "Value": [int(value)]}
