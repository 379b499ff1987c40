"""Whether files that share UIDs are of one patient: what is stored together is removed together.

Must not know files.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Patient(NamedTuple):
    """What a file says of its patient.

    Attributes:
        id: PatientID; '' if it has none.
        name: PatientName; '' if it has none.
    """

    id: str = ""
    name: str = ""


def may_be_one(
    ones: Collection[Patient], others: Collection[Patient], *, by_uid: bool = True
) -> bool:
    """Return whether two groups of files of a series may be of one patient.

    IDs decide; names, if one group has no ID. Where neither can be compared, files of a series are
    of one patient if they have a UID in common.

    Args:
        ones, others: what the files of each group say.
        by_uid: whether the files have a SeriesInstanceUID; many that lack one are in one group.
    """
    ids = [{patient.id for patient in group} - {""} for group in (ones, others)]
    if all(ids):
        return not ids[0].isdisjoint(ids[1])
    names = [{_plain(patient.name) for patient in group} - {""} for group in (ones, others)]
    if all(names):
        return not names[0].isdisjoint(names[1])
    return by_uid or not any((*ids, *names))


def _plain(name: str) -> str:
    """Return a name without what differs between programs (PS3.5 6.2)."""
    return name.rstrip("^= ").casefold()
