"""What a verification finds: checks, how each ended, and what is wrong. Knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MOST_PROBLEMS = 20  # lines kept of one check


class Outcome(Enum):
    """How a check ended."""

    HOLDS = "ok"
    FAILS = "failed"
    UNKNOWN = "unknown"  # there is nothing that it could be told from


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, such as 'structure', 'checksums', 'frames' or 'original elements'.
        outcome: how it ended.
        message: what was looked at, on one line.
        problems: what is wrong, a line each; if they are very many, the first of them.
    """

    name: str
    outcome: Outcome
    message: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerificationReport:
    """What `verify_file` found; true if no check failed.

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

    def __bool__(self) -> bool:
        return self.ok


def judged(name: str, message: str, problems: Sequence[str]) -> Check:
    """Return a check that fails if there are problems."""
    kept = tuple(problems[:MOST_PROBLEMS])
    if len(problems) > len(kept):
        kept += (f"and {len(problems) - len(kept)} more",)
    return Check(name, Outcome.FAILS if problems else Outcome.HOLDS, message, kept)


def unknown(name: str, message: str) -> Check:
    """Return a check that could not be made; the message says why."""
    return Check(name, Outcome.UNKNOWN, message)
