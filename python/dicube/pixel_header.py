"""PixelDataHeader: how stored values become real ones, and how they are meant to be shown.

Knows JSON and nothing else: no DICOM, no arrays, no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from dicube.exceptions import DataConsistencyError
from dicube.strict_json import parse_json


@dataclass
class PixelDataHeader:
    """The PixelDataHeader section of a dicube file.

    `real value = stored value * RescaleSlope + RescaleIntercept` (DICOM PS3.3 C.7.6.16.2.9).

    Attributes:
        RescaleSlope, RescaleIntercept: of the whole series. Where they differ from slice to slice
            the per-slice values stand in the metadata, and these are the first slice's.
        OriginalPixelDtype: numpy name of the dtype the source had.
        PixelDtype: numpy name of the dtype stored.
        WindowCenter, WindowWidth: of the first window, in real values; None if the source has none.
        MaxVal, MinVal: greatest and smallest stored value; None if not determined.
        Extras: further entries, kept at the top level of the JSON.
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
        """Return the header as one flat dictionary, `Extras` among the other entries."""
        own = {name: _plain(getattr(self, name)) for name in _NAMES}
        return {**self.Extras, **own}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> PixelDataHeader:
        """Make a header from a flat dictionary; unknown entries become `Extras`.

        Raises:
            ValueError: an entry is not of its type.
        """
        for name, value in d.items():
            fits = _FITS.get(name)
            if fits is not None and not fits(value):
                raise ValueError(f"{name}: {str(value)[:40]!r} can't be that")
        own = {name: value for name, value in d.items() if name in _NAMES}
        extras = {name: value for name, value in d.items() if name not in _NAMES}
        return cls(**own, Extras=extras)

    def to_json(self) -> str:
        """Return the header as JSON text.

        Raises:
            DataConsistencyError: it holds what could not be read again.
        """
        try:
            text = json.dumps(self.to_dict(), default=_plain)
            self.from_json(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataConsistencyError(f"the pixel header can't be stored: {error}") from None
        return text

    @classmethod
    def from_json(cls, json_str: str) -> PixelDataHeader:
        """Make a header from JSON text.

        Raises:
            ValueError: the text is not a JSON object, or an entry is not of its type.
        """
        entries = parse_json(json_str)
        if not isinstance(entries, dict):
            raise ValueError(f"expected a JSON object, found {type(entries).__name__}")
        return cls.from_dict(entries)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and (type(value) is float or abs(value) < 1 << 1000)


def _plain(value: Any) -> Any:
    """Return the Python number inside a numpy scalar, which JSON can't hold."""
    return value.item() if hasattr(value, "item") else value


_NAMES = tuple(entry.name for entry in fields(PixelDataHeader) if entry.name != "Extras")

_FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept"), _is_number),
    **dict.fromkeys(("OriginalPixelDtype", "PixelDtype"), lambda value: isinstance(value, str)),
    **dict.fromkeys(
        ("WindowCenter", "WindowWidth", "MaxVal", "MinVal"),
        lambda value: value is None or _is_number(value),
    ),
}
