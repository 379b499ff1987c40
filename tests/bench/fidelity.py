"""Prints what becomes of every real DICOM series at hand: a row for each file or series.

usage: python tests/bench/fidelity.py [PART OF A NAME]

Columns: outcome (exact: all files come back to the byte from .dcbs and .dcba; equal: all elements
and samples do; refused: with which error), differences found (to be 0), bytes of the DICOM files,
of a .dcbs file without and with what exactness takes, and what that costs. Exit status 1 if there
is a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from inputs.real_series import Result, convert, sources


def outcome(result: Result) -> str:
    """Return what became of a source, in a few words."""
    if result.refused:
        return f"refused: {' '.join(result.refused.split())}"
    exact = [extension for extension, same in result.identical.items() if same]
    return f"exact {' '.join(exact)}" if exact else "equal"


def main(part: str = "") -> int:
    """Print the table; return the exit status."""
    titles = ("file or series", "transfer syntax", "slices", "outcome", "differences")
    print("| " + " | ".join((*titles, "DICOM", ".dcbs", "exact", "cost")) + " |")
    print("|---" * 9 + "|")
    count = different = refused = 0
    for source in sources():
        if part not in source.name:
            continue
        result = convert(source)
        count += 1
        refused += bool(result.refused)
        faults = result.faults()
        different += bool(faults)
        sizes = (result.source_size, result.plain_size, result.exact_size)
        cost = result.exact_size - result.plain_size
        numbers = " | ".join(f"{size:,}" for size in (*sizes, cost)) if sizes[2] else "| | | "
        told = (result.name, result.syntax, result.slices or "", outcome(result), len(faults))
        print(f"| {' | '.join(map(str, told))} | {numbers} |", flush=True)
        for fault in faults:
            print(f"    {fault}", file=sys.stderr)
    print(f"\n{count} sources: {refused} refused, {different} with differences")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
