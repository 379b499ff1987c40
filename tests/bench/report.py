"""Format the results as a table and figures. Must not know how they were measured."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contest import Measured
from results import Results
from stores import STORES


def _milliseconds(measured: Measured) -> str:
    return f"{_short(1000 * measured.median)} ± {_short(1000 * measured.spread)}"


def _short(number: float) -> str:
    """Return a number with its significant digits."""
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"


# Title, operation, and the text for its measurements.
_COLUMNS: tuple[tuple[str, str, Callable[[Measured], str]], ...] = (
    ("write, ms", "write", _milliseconds),
    ("read all, ms", "read", _milliseconds),
    ("open, ms", "open", _milliseconds),
    ("a slice, ms", "slice", _milliseconds),
    ("a patch, ms", "patch", _milliseconds),
    ("memory, MB", "read", lambda measured: _short(measured.peak / 1e6)),
    ("patches/s", "training", lambda measured: _short(1 / measured.median)),
    ("held open", "training_held", lambda measured: _short(1 / measured.median)),
)


def _table(results: Results) -> str:
    """Return the table of all stores."""
    rows = [["", "MB", *(title for title, _, _ in _COLUMNS)]]
    notes = []
    for store, size in results.sizes.items():
        title = STORES[store].title
        row = [title, _short(size / 1e6) if size else ""]
        for _, operation, shown in _COLUMNS:
            measured = results.measured.get((operation, store))
            if measured is None:
                row.append("")
            elif measured.error:
                row.append("wrong" if measured.wrong else "no")
                notes.append(f"{title}, {operation}: {measured.error}")
            else:
                row.append(shown(measured) if measured.seconds else "")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [
            row[0].ljust(widths[0]),
            *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in (rows[0], rule, *rows[1:])
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table + "".join(f"\n\n{note}" for note in dict.fromkeys(notes))


_LEGEND = """\
Median of the runs ± half the interquartile range. All use all cores if their library can, and files
in the page cache. DICOM and dicube write and read all metadata; dicube writes without verifying,
and to disk. Patch: 64 x 128 x 128. Memory: peak of read all. Patches/s: at random places of eight
files, reopened each time or held open, by two processes. If a volume has less than 64 MB of pixels,
a run handles up to 16 volumes in a row."""


def markdown(title: str, command: str, results: Results) -> str:
    """Return table, versions and ratios. The part above the ratios is for a README.

    Args:
        title: of the series.
        command: the command that measured it.
        results: of the series.
    """
    versions = {m.versions: None for m in results.measured.values() if m.versions}
    about = machine()
    conditions = (
        f"`{command}`: {title}, {results.volume / 1e6:.1f} MB. {about['processor']}, "
        f"{about['cores']} cores, {about['memory_gb']} GB, {about['system']}, "
        f"Python {about['python']}; {', '.join(versions)}."
    )
    lines = [textwrap.fill(conditions, 100), "", _table(results), "", _LEGEND, ""]
    figures = results.figures()
    width = max(map(len, figures), default=0)
    lines += [f"    {text:{width}}  {figure:8.2f}" for text, figure in figures.items()]
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": _system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> int:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError, OSError):
        return 0


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
