"""What the metadata say about the real values of slices.

Four places can say it: RescaleSlope and RescaleIntercept (PS3.3 C.11.1, C.7.6.16.2.9), a Modality
LUT (C.11.1), DoseGridScaling (C.8.8.3) and Real World Value Mappings (C.7.6.16.2.11). A place is
absent, unreadable, or there. Values that an unreadable one would give are NaN, never guessed.

`series.precedence` decides which counts. Must not know pixel headers, volumes or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dicube.dicom.dicom_tags import TagLike, get_tag_key, tag_name
from dicube.dicom.metadata.look_up_table import Elements, Unreadable, read_lut
from dicube.dicom.metadata.lookup import MetadataLookup, converted
from dicube.dicom.metadata.slice_order import numbers
from dicube.exceptions import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

Choice: TypeAlias = "int | str"
"""The number of a mapping among those of a slice, or its LUTLabel."""

RESCALE_NAMES = ("RescaleSlope", "RescaleIntercept")

_DOSE, _LUTS, _MAPPINGS = (
    "DoseGridScaling",
    "ModalityLUTSequence",
    "RealWorldValueMappingSequence",
)
_UNITS, _QUANTITY = "MeasurementUnitsCodeSequence", "QuantityDefinitionSequence"
_SLOPE, _INTERCEPT = "RealWorldValueSlope", "RealWorldValueIntercept"
_TABLE = "RealWorldValueLUTData"
_FIRST = ("RealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueFirstValueMapped")
_LAST = ("RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueLastValueMapped")

# Each item is compared with all mappings before it. Real sequences have one item, or a few dozen.
_MOST_MAPPINGS = 1024

_SCALARS = (*RESCALE_NAMES, _DOSE)
# A slice with none of these has no real values but its stored ones.
DEFINING_KEYS = frozenset(map(get_tag_key, (*RESCALE_NAMES, _DOSE, _LUTS, _MAPPINGS)))
# An edit of one of these may change real values, unless there is a rescale.
MAPPING_KEYS = frozenset(
    map(
        get_tag_key,
        (
            *(_DOSE, "DoseUnits", _LUTS, "LUTDescriptor", "LUTData"),
            *(_MAPPINGS, _UNITS, _SLOPE, _INTERCEPT, _TABLE, *_FIRST, *_LAST),
        ),
    )
)

# XA, XRF and biplane XA, also enhanced. Their LUT turns stored values into ones proportional to the
# beam's intensity, and isn't part of the usual sequence of LUTs (PS3.3 C.8.7.1.1.2), so that other
# programs ignore it too.
_ANGIOGRAPHY = "1.2.840.10008.5.1.4.1.1.12."
# A Parametric Map has to say slope 1 and intercept 0 (PS3.3 A.75.3, C.7.6.16.2.9b), and RT Dose has
# no rescale at all (A.18.3), so that such a rescale beside a mapping is none.
_WITHOUT_RESCALE = frozenset({"1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481.2"})


class Piece(NamedTuple):
    """A part of a mapping: the real values of stored ones from `first` to `last`.

    Attributes:
        first, last: both are mapped.
        slope, intercept: make real values.
        table: the real values of first, first + 1, ...; None if slope and intercept make them.
    """

    first: float = -math.inf
    last: float = math.inf
    slope: float = 1.0
    intercept: float = 0.0
    table: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Mapping:
    """How the stored values of a slice become real ones. Called with them, it returns float64.

    Attributes:
        name: of the element that defines it.
        labels: LUTLabel, or whatever else names the mapping.
        units: of real values: a code value, such as 'mm2/s', or DICOM's term, such as 'GY'.
        pieces: disjoint; stored values in none of them become NaN.
        clamps: whether stored values beyond a table become its first or last value instead.
        unreadable: why real values are unknown; '' if they are known.
    """

    name: str
    labels: tuple[str, ...] = ()
    units: str = ""
    pieces: tuple[Piece, ...] = ()
    clamps: bool = False
    unreadable: str = ""

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and intercept of stored values that have a real one; None if they vary."""
        if len(self.pieces) != 1 or self.pieces[0].table is not None:
            return None
        return self.pieces[0].slope, self.pieces[0].intercept

    @property
    def is_unlimited(self) -> bool:
        """Whether it is a line for all stored values, which a pixel header can say."""
        return self.line is not None and self.pieces[0][:2] == (-math.inf, math.inf)

    def holds(self, low: Any, high: Any, dtype: np.dtype[Any]) -> bool:
        """Return whether it is a line for all stored values of a dtype from `low` to `high`."""
        if self.line is None:
            return False
        first, last = _ends(self.pieces[0], dtype)
        return bool(first <= low and high <= last)

    def of_samples(self, dtype: np.dtype[Any]) -> Mapping:
        """Return the mapping of samples of a dtype: without limits if these exclude none."""
        if self.is_unlimited:
            return self
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        if not self.holds(limits.min, limits.max, dtype):
            return self
        return replace(self, pieces=(self.pieces[0]._replace(first=-math.inf, last=math.inf),))

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Return the real values of stored ones of any shape."""
        values = np.full(stored.shape, np.nan)
        for piece in self.pieces:
            first, last = _ends(piece, stored.dtype)
            if piece.table is None:
                inside = (stored >= first) & (stored <= last)
                # numpy 1 multiplies float32 by a float64 scalar in float32.
                exact = stored[inside].astype(np.float64)
                values[inside] = exact * piece.slope + piece.intercept
                continue
            inside = np.ones(stored.shape, bool) if self.clamps else (stored >= first)
            if not self.clamps:
                inside &= stored <= last
            if stored.dtype.kind == "f":
                inside &= stored == np.floor(stored)  # no table has an entry between two
            entries = np.clip(stored[inside], first, last).astype(np.int64) - int(first)
            values[inside] = piece.table[entries]
        return values

    def same_as(self, other: Mapping) -> bool:
        """Return whether both give the same values, or are unreadable."""
        return self is other or (
            bool(self.unreadable) == bool(other.unreadable)
            and self.clamps == other.clamps
            and len(self.pieces) == len(other.pieces)
            and all(
                one[:4] == another[:4]
                and (one.table is None) == (another.table is None)
                and (one.table is None or np.array_equal(one.table, another.table, equal_nan=True))  # type: ignore[arg-type]
                for one, another in zip(self.pieces, other.pieces, strict=True)
            )
        )

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.labels)) or self.name
        return names + (f" ({self.units})" if self.units else "")


IDENTITY = Mapping("none", pieces=(Piece(),))


class SliceValues(NamedTuple):
    """What the metadata say about the real values of one slice.

    Attributes:
        rescale: of RescaleSlope and RescaleIntercept; None if the slice has neither.
        mappings: the others.
    """

    rescale: Mapping | None
    mappings: tuple[Mapping, ...]

    @property
    def counting(self) -> Mapping | None:
        """The rescale, else the only mapping, else none; None if there are several mappings."""
        if self.rescale is not None:
            return self.rescale
        if len(self.mappings) > 1:
            return None
        return self.mappings[0] if self.mappings else IDENTITY


class HeaderValues(NamedTuple):
    """What a pixel header repeats of a slice's real values.

    Attributes:
        slope, intercept: 1 and 0 if a slope and an intercept can't say it.
        units: '' if they are unknown, or if there is a rescale, which leaves them to RescaleType.
    """

    slope: float
    intercept: float
    units: str


def values_of_slices(meta: MetadataLookup) -> list[SliceValues]:
    """Return what the metadata say about the real values of each slice; alike slices share it."""
    if all(meta.is_missing(key) or meta.is_shared(key) for key in _SCALARS) and not any(
        meta.has_sequence(key) for key in (_LUTS, _MAPPINGS)
    ):
        return list(_values(meta, [0])) * meta.slice_count
    return list(_values(meta, range(meta.slice_count)))


def header_values(meta: MetadataLookup) -> HeaderValues:
    """Return what a pixel header repeats, of the first slice."""
    (values,) = _values(meta, [0])
    counting = values.counting
    if counting is None:
        return HeaderValues(1.0, 0.0, "")
    slope, intercept = counting.line or (1.0, 0.0)
    return HeaderValues(slope, intercept, counting.units)


def has_rescale(meta: MetadataLookup) -> bool:
    """Return whether the first slice has a rescale, readable or not."""
    return next(_values(meta, [0])).rescale is not None


def unreadable_slices(values: Sequence[SliceValues]) -> tuple[list[int], str]:
    """Return the slices whose real values are unknown, and why those of the first of them are."""
    found = [
        (index, slice_values.counting.unreadable)
        for index, slice_values in enumerate(values)
        if slice_values.counting is not None and slice_values.counting.unreadable
    ]
    return [index for index, _ in found], found[0][1] if found else ""


def _ends(piece: Piece, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the ends of a piece, rounded as samples of this dtype are."""
    if dtype.kind != "f":
        return piece.first, piece.last
    return dtype.type(piece.first), dtype.type(piece.last)


def _values(meta: MetadataLookup, slices: Sequence[int]) -> Iterator[SliceValues]:
    slopes, intercepts = (_numbers_or_reasons(meta, name) for name in RESCALE_NAMES)
    doses = _numbers_or_reasons(meta, _DOSE)
    mappings, luts = (meta.sequences(tag, slices) for tag in (_MAPPINGS, _LUTS))
    if any(luts) and _sop_class(meta).startswith(_ANGIOGRAPHY):
        luts = [None] * len(slices)
    known: SliceValues | None = None
    before: tuple[Any, ...] = ()
    for index, lut_items, mapping_items in zip(slices, luts, mappings, strict=True):
        found = slopes[index], intercepts[index], doses[index], lut_items, mapping_items
        # Slices mostly agree, and a table takes long to read.
        if known is None or found != before:
            rescale = _rescale(slopes[index], intercepts[index])
            others = list(_dose(meta, index, doses[index]))
            if lut_items:
                signed = _number(meta, "PixelRepresentation", index) == 1
                others += _modality_luts(lut_items, signed)
            if mapping_items:
                others += _real_world(mapping_items, _wraps(meta, index))
            if others and rescale is not None and rescale.line == (1.0, 0.0):
                rescale = None if _sop_class(meta) in _WITHOUT_RESCALE else rescale
            known, before = SliceValues(rescale, tuple(others)), found
        yield known


def _sop_class(meta: MetadataLookup) -> str:
    return str(meta.get_of_slice("SOPClassUID", 0))


def _number(meta: MetadataLookup, tag: TagLike, index: int) -> float | None:
    found = numbers(meta, tag, 1)[index]
    return None if found is None else found[0]


def _numbers_or_reasons(meta: MetadataLookup, tag: TagLike) -> list[float | str | None]:
    """Return the number of each slice; None if it has none, text about one that is unreadable."""

    def make() -> list[float | str | None]:
        vr = meta.get_vr(tag)
        return converted(meta.get_values(tag), lambda value: _number_or_reason(tag, vr, value))

    return list(meta.derived(tag, ("number or reason", meta.slice_count), make))


def _number_or_reason(tag: TagLike, vr: str, value: Any) -> float | str | None:
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if _is_number(values) and math.isfinite(values[0]):
        return float(values[0])
    found = shown(values[0] if len(values) == 1 else values)
    return f"{tag_name(get_tag_key(tag))}: expected one number, found {found} (VR {vr})"


def _is_number(values: Sequence[Any]) -> bool:
    return len(values) == 1 and isinstance(values[0], (int, float))


# ------------------------------------------------------------------------- rescale, dose, tables


def _rescale(slope: float | str | None, intercept: float | str | None) -> Mapping | None:
    if slope is None and intercept is None:
        return None
    for found in (slope, intercept):
        if isinstance(found, str):
            return Mapping("RescaleSlope", unreadable=found)
    factors = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    return Mapping("RescaleSlope", pieces=(Piece(-math.inf, math.inf, *factors),))


def _dose(meta: MetadataLookup, index: int, scaling: float | str | None) -> Iterator[Mapping]:
    if scaling is None:
        return
    units = str(meta.get_of_slice("DoseUnits", index) or "")
    if isinstance(scaling, str):
        yield Mapping(_DOSE, (_DOSE,), units, unreadable=scaling)
    else:
        yield Mapping(_DOSE, (_DOSE,), units, (Piece(slope=scaling),))


def _modality_luts(items: Sequence[Elements], signed: bool) -> Iterator[Mapping]:
    for item in items:
        labels = _labels(_text(item, "LUTExplanation"))
        units = _text(item, "ModalityLUTType")
        try:
            pieces = (_modality_lut(item, signed),)
        except Unreadable as reason:
            yield Mapping(_LUTS, labels, units, unreadable=f"{_LUTS}: {reason}")
        else:
            yield Mapping(_LUTS, labels, units, pieces, clamps=True)


def _modality_lut(item: Elements, signed: bool) -> Piece:
    """Return the table of an item (PS3.3 C.11.1.1.1)."""
    lut = read_lut(item, signed)
    last = lut.first + len(lut.entries) - 1
    return Piece(lut.first, last, table=lut.entries.astype(np.float64))


# ------------------------------------------------------------------------- real world values


def _real_world(items: Sequence[Elements], wraps: tuple[int, int] | None) -> list[Mapping]:
    """Return the mappings of a sequence; ranges of one mapping make one (PS3.3 C.7.6.16.2.11)."""
    if len(items) > _MOST_MAPPINGS:
        reason = f"{_MAPPINGS} has {len(items)} items, more than {_MOST_MAPPINGS}"
        return [Mapping(_MAPPINGS, unreadable=reason)]
    found: list[tuple[Mapping, Any]] = []
    for number, item in enumerate(items):
        labels = _labels(_text(item, "LUTLabel") or _text(item, "LUTExplanation"))
        units = _units(item)
        meaning = units, item.get(get_tag_key(_QUANTITY), {}).get("Value")
        try:
            mapping = Mapping(_MAPPINGS, labels, units, (_piece(item, wraps),))
        except Unreadable as reason:
            reason_text = f"item {number} of {_MAPPINGS}: {reason}"
            mapping = Mapping(_MAPPINGS, labels, units, unreadable=reason_text)
        for place, (other, other_meaning) in enumerate(found):
            together = _together(other, mapping) if meaning == other_meaning else None
            if together is not None:
                found[place] = together, meaning
                break
        else:
            found.append((mapping, meaning))
    return [mapping for mapping, _ in found]


def _together(one: Mapping, other: Mapping) -> Mapping | None:
    """Return the mapping of two items that mean the same; None if they are two mappings.

    They are one if they say the same, or if no stored value is in the ranges of both and they have
    the same label, or units, which different quantities without a label could share.
    """
    if one.unreadable or other.unreadable:
        return None
    labels = tuple(dict.fromkeys((*one.labels, *other.labels)))
    if one.same_as(other):
        return replace(one, labels=labels)
    pieces = sorted((*one.pieces, *other.pieces), key=lambda piece: piece.first)
    disjoint = all(before.last < after.first for before, after in pairwise(pieces))
    if not disjoint or not (len(labels) == len(one.labels) or one.units):
        return None
    return replace(one, labels=labels, pieces=tuple(pieces))


def _piece(item: Elements, wraps: tuple[int, int] | None) -> Piece:
    first, last = (_end(item, keywords, wraps) for keywords in (_FIRST, _LAST))
    slope, intercept = (_number_in(item, keyword) for keyword in (_SLOPE, _INTERCEPT))
    if first is not None and last is not None and first > last:
        raise Unreadable(f"the first value mapped is {first:g}, the last one {last:g}")
    if slope is not None and intercept is not None:
        limits = -math.inf if first is None else first, math.inf if last is None else last
        return Piece(*limits, slope, intercept)
    table = item.get(get_tag_key(_TABLE), {}).get("Value")
    if not table:
        missing = _SLOPE if slope is None else _INTERCEPT
        raise Unreadable(f"it has neither {missing} nor {_TABLE}")
    if first is None or not first.is_integer() or last != first + len(table) - 1:
        raise Unreadable(f"{_TABLE} has {len(table)} values for stored ones of {first} to {last}")
    if not all(isinstance(value, (int, float)) for value in table):
        raise Unreadable(f"{_TABLE} has values that are not numbers")
    return Piece(first, last, table=np.array(table, np.float64))


def _end(item: Elements, keywords: Sequence[str], wraps: tuple[int, int] | None) -> float | None:
    """Return the first or last value mapped; None for no limit."""
    for keyword in keywords:
        found = _number_in(item, keyword, finite=False)
        if found is not None:
            if wraps is not None and keyword == keywords[0]:
                lowest, count = wraps
                found = (found - lowest) % count + lowest
            return found
    return None


def _wraps(meta: MetadataLookup, index: int) -> tuple[int, int] | None:
    """Return the lowest value and the number of values of 16 bits; None if samples have more.

    The value representation of the values mapped is US or SS after PixelRepresentation; some
    writers take the wrong one.
    """
    allocated = _number(meta, "BitsAllocated", index)
    if allocated is None or allocated > 16:
        return None
    return (-0x8000 if _number(meta, "PixelRepresentation", index) == 1 else 0), 0x10000


# ------------------------------------------------------------------------- elements of items


def _number_in(item: Elements, keyword: str, finite: bool = True) -> float | None:
    """Return the number of an element in an item; None if it is absent."""
    element = item.get(get_tag_key(keyword))
    if element is None:
        return None
    values = element.get("Value", [])
    value = float(values[0]) if _is_number(values) else math.nan
    if math.isfinite(value) or not (finite or math.isnan(value)):
        return value
    found = shown(values[0] if len(values) == 1 else values)
    raise Unreadable(f"{keyword}: expected one number, found {found}")


def _text(item: Elements, keyword: str) -> str:
    values = item.get(get_tag_key(keyword), {}).get("Value") or [""]
    return str(values[0] or "").strip()


def _labels(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _units(item: Elements) -> str:
    codes = item.get(get_tag_key(_UNITS), {}).get("Value") or [{}]
    texts = (
        _text(codes[0], keyword)
        for keyword in ("CodeValue", "LongCodeValue", "URNCodeValue", "CodeMeaning")
    )
    return next(filter(None, texts), "")
