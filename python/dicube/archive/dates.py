"""What a text of a search says of dates. Must not know catalogues."""

from __future__ import annotations

import re
from datetime import date


def dates_of(text: str) -> tuple[str, str] | None:
    """Return the first and last day that a text stands for, as DICOM writes them.

    A text is a day, such as 2024-01-31 or 20240131, or two days with ".." or "-" between them, of
    which one may be missing: '' then. None for any other text, for days that don't exist, and for
    days in the wrong order.
    """
    day = r"(\d{4})-?(\d{2})-?(\d{2})"
    if found := re.fullmatch(f"{day}", text):
        parts = [*found.groups(), *found.groups()]
    elif found := re.fullmatch(f"(?:{day})?(?:\\.\\.|-)(?:{day})?", text):
        parts = [part or "" for part in found.groups()]
    else:
        return None
    first, last = "".join(parts[:3]), "".join(parts[3:])
    if not all(map(_is_day, filter(None, (first, last)))) or (first and last and first > last):
        return None
    return first, last


def _is_day(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
