"""PixelDataHeader: rescale, dtype and display window of the stored values.

Knows JSON; no DICOM, no arrays, no files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from dicube.exceptions import DataConsistencyError, shown
from dicube.strict_json import NOT_FINITE, dump_json, parse_json


@dataclass
class PixelDataHeader:
    """The pixel header section of a dicube file.

    `real value = stored value * RescaleSlope + RescaleIntercept` (DICOM PS3.3 C.7.6.16.2.9).

    Attributes:
        RescaleSlope, RescaleIntercept: of the whole series. If slices differ, these are the first
            slice's, and the metadata has a value for each slice.
        OriginalPixelDtype: numpy name of the source's dtype.
        PixelDtype: numpy name of the stored dtype.
        WindowCenter, WindowWidth: of the first window, in real values; None if the source has none.
        MaxVal, MinVal: maximum and minimum of the stored values; None if not determined.
        Extras: further entries, stored at the top level of the JSON.

    Example:
        >>> header = dicube.PixelDataHeader(RescaleSlope=2.0, PixelDtype="int16")
        >>> dicube.PixelDataHeader.from_json(header.to_json()) == header
        True
    """

    RescaleSlope: float = 1.0
    RescaleIntercept: float = 0.0
    OriginalPixelDtype: str = "uint16"
    PixelDtype: str = "uint16"
    WindowCenter: float | None = None
    WindowWidth: float | None = None
    MaxVal: float | None = None
    MinVal: float | None = None
    Extras: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the header as one flat dictionary, with the entries of `Extras`."""
        own = {name: _plain(getattr(self, name)) for name in _NAMES}
        return {**self.Extras, **own}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> PixelDataHeader:
        """Make a header from a flat dictionary; unknown entries become `Extras`.

        Raises:
            ValueError: an entry has the wrong type.
        """
        for name, value in d.items():
            fits = _FITS.get(name)
            if fits is not None and not fits(value):
                raise ValueError(f"{name} can't be {shown(value)}")
        own = {name: value for name, value in d.items() if name in _NAMES}
        extras = {name: value for name, value in d.items() if name not in _NAMES}
        return cls(**own, Extras=extras)

    def to_json(self) -> str:
        """Return the header as JSON text.

        Raises:
            DataConsistencyError: it has values that can't be read back.
        """
        try:
            text = dump_json(self.to_dict(), default=_plain)
            self.from_json(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataConsistencyError(f"the pixel header can't be stored: {error}") from None
        return text

    @classmethod
    def from_json(cls, json_str: str) -> PixelDataHeader:
        """Make a header from JSON text.

        Raises:
            ValueError: the text isn't a JSON object, or an entry has the wrong type.
        """
        entries = parse_json(json_str)
        if not isinstance(entries, dict):
            raise ValueError(f"expected a JSON object, found {type(entries).__name__}")
        for name in _NUMBERS:
            if isinstance(entries.get(name), str):
                entries[name] = NOT_FINITE.get(entries[name], entries[name])
        return cls.from_dict(entries)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and (type(value) is float or abs(value) < 1 << 1000)


def _plain(value: Any) -> Any:
    """Return a numpy scalar as a Python number, as JSON needs it."""
    return value.item() if hasattr(value, "item") else value


_NAMES = tuple(entry.name for entry in fields(PixelDataHeader) if entry.name != "Extras")

_OPTIONAL_NUMBERS = ("WindowCenter", "WindowWidth", "MaxVal", "MinVal")
_NUMBERS = ("RescaleSlope", "RescaleIntercept", *_OPTIONAL_NUMBERS)

_FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept"), _is_number),
    **dict.fromkeys(("OriginalPixelDtype", "PixelDtype"), lambda value: isinstance(value, str)),
    **dict.fromkeys(
        _OPTIONAL_NUMBERS,
        lambda value: value is None or _is_number(value),
    ),
}
