"""JPEG XL's efforts, by word and number. The README has their measured speed and ratio.

Knows no codec.
"""

from __future__ import annotations

from dicube.exceptions import DataConsistencyError

# A number from 2 (fast) to 9 (small), or one of `EFFORTS`. libdicube takes 1 for 2.
Effort = int | str

# Efforts above 7 take four times as long and save less than one per cent.
EFFORTS = {"fast": 2, "balanced": 3, "best": 7}


def effort_number(effort: Effort | None) -> int:
    """Return an effort as the number that libdicube expects: 0 for the default.

    Raises:
        DataConsistencyError: the effort is neither one of these words nor a number above 0.
    """
    if effort is None:
        return 0
    if isinstance(effort, str):
        if effort not in EFFORTS:
            raise DataConsistencyError(
                f"expected an effort of 1 to 9, {', '.join(EFFORTS)}, found {effort!r}"
            )
        return EFFORTS[effort]
    if effort < 1:
        raise DataConsistencyError(f"expected an effort of 1 to 9, found {effort}")
    return effort
