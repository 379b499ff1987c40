"""The result of a verification: checks, their outcomes, and problems. Must not know files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MOST_PROBLEMS = 20  # lines kept for one check


class Outcome(Enum):
    """The outcome of a check."""

    HOLDS = "ok"
    FAILS = "failed"
    UNKNOWN = "unknown"  # the check could not be made


@dataclass(frozen=True)
class Check:
    """One check of a file.

    Attributes:
        name: such as 'structure', 'checksums', 'frames' or 'original elements'.
        outcome: whether it passed.
        message: what was checked, on one line; of an unknown outcome, why.
        problems: one line each; only the first ones if there are very many.
    """

    name: str
    outcome: Outcome
    message: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerificationReport:
    """The result of `verify_file`; true if no check failed, even if some could not be made.

    Attributes:
        path: the file.
        checks: in the order in which they were made.
    """

    path: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome is not Outcome.FAILS for check in self.checks)

    @property
    def unchecked(self) -> tuple[Check, ...]:
        """The checks that could not be made; the message of each gives the reason."""
        return tuple(check for check in self.checks if check.outcome is Outcome.UNKNOWN)

    def passed(self, name: str) -> bool:
        """Return whether a check of this name was made and passed."""
        return any(c.name == name and c.outcome is Outcome.HOLDS for c in self.checks)

    def requiring(self, name: str) -> VerificationReport:
        """Return the report with a failure in place of a check of this name that wasn't made."""
        checks = [
            judged(name, "required, and not checked", [check.message])
            if check.name == name and check.outcome is Outcome.UNKNOWN
            else check
            for check in self.checks
        ]
        return VerificationReport(self.path, tuple(checks))

    def __bool__(self) -> bool:
        return self.ok


def judged(name: str, message: str, problems: Sequence[str]) -> Check:
    """Return a check that failed if there are problems, and else passed."""
    kept = tuple(problems[:MOST_PROBLEMS])
    if len(problems) > len(kept):
        kept += (f"and {len(problems) - len(kept)} more",)
    return Check(name, Outcome.FAILS if problems else Outcome.HOLDS, message, kept)


def unknown(name: str, message: str) -> Check:
    """Return a check that could not be made; the message gives the reason."""
    return Check(name, Outcome.UNKNOWN, message)
