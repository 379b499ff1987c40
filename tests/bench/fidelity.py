"""Convert every real DICOM series available and print a table of the results.

usage: python tests/bench/fidelity.py [PART OF A NAME]

Columns: outcome (exact: .dcbs and .dcba restore all files to the byte; equal: they keep all
elements and samples; refused: with this error), number of differences (should be 0), bytes of the
DICOM files, bytes of a .dcbs file without and with the original files, and the difference of the
two. Exits with status 1 if there is a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from inputs.real_series import Result, convert, sources


def outcome(result: Result) -> str:
    """Return the outcome of a conversion in a few words."""
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
        row = (result.name, result.syntax, result.slices or "", outcome(result), len(faults))
        print(f"| {' | '.join(map(str, row))} | {numbers} |", flush=True)
        for fault in faults:
            print(f"    {fault}", file=sys.stderr)
    print(f"\n{count} sources: {refused} refused, {different} with differences")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
