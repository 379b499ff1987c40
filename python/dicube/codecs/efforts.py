"""How hard JPEG XL tries, in words and numbers. Their measured speed and ratio are in the README.

Knows no codec.
"""

from __future__ import annotations

from dicube.exceptions import DataConsistencyError

# A number from 1 (fast) to 9 (small), or one of `EFFORTS`.
Effort = int | str

# What the words stand for. Beyond 7 it takes four times as long for less than one per cent.
EFFORTS = {"fast": 1, "balanced": 3, "best": 7}


def effort_number(effort: Effort | None) -> int:
    """Return an effort as libdicube takes it: 0 stands for the default.

    Raises:
        DataConsistencyError: the effort is no such word, and no number that can be one.
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
