"""What was measured, as data, as a table and as ratios. Must not know how it was measured."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contest import Measured
from stores import STORES


@dataclass
class Results:
    """All that was measured of one series.

    Attributes:
        volume: bytes of the stored values.
        measured: by operation and name of the store.
        sizes: bytes of each store's files.
    """

    volume: int
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def seconds(self, operation: str, store: str) -> float:
        """Return the median of an operation.

        Raises:
            KeyError: it was not measured.
        """
        measured = self.measured[operation, store]
        if measured.error:
            raise KeyError(measured.error)
        return measured.median

    def times_faster(self, operation: str, store: str, other: str, as_: str = "") -> float:
        """Return how many times as long another store takes for an operation, or for `as_`."""
        return self.seconds(as_ or operation, other) / self.seconds(operation, store)

    def as_data(self) -> dict[str, Any]:
        """Return everything as what JSON knows."""
        stores: dict[str, Any] = {}
        for (operation, store), measured in self.measured.items():
            about = stores.setdefault(
                store,
                {
                    "title": STORES[store].title,
                    "versions": measured.versions,
                    "bytes": self.sizes.get(store),
                    "operations": {},
                },
            )
            about["operations"][operation] = asdict(measured) | (
                {"median": measured.median, "spread": measured.spread} if measured.seconds else {}
            )
        return {"volume_bytes": self.volume, "stores": stores, "figures": figures(self)}


# One line for each ratio; what was not measured is left out.
FIGURES: dict[str, Callable[[Results], float]] = {
    "folder to image / pydicom's reading": lambda r: (
        r.seconds("folder", "DicubeSpeed") / r.seconds("folder", "Pydicom")
    ),
    "folder to image, times published": lambda r: r.times_faster(
        "folder", "DicubeSpeed", "Published"
    ),
    "load .dcbs, times published": lambda r: r.times_faster("read", "DicubeSpeed", "Published"),
    "load .dcbs / blosc2's read": lambda r: (
        r.seconds("read", "DicubeSpeed") / r.seconds("read", "Blosc2")
    ),
    "load .dcbs / imagecodecs' HTJ2K": lambda r: (
        r.seconds("read", "DicubeSpeed") / r.seconds("read", "Htj2k")
    ),
    "blosc2's bytes / .dcbs": lambda r: r.sizes["Blosc2"] / r.sizes["DicubeSpeed"],
    "save .dcbs, times published": lambda r: r.times_faster("write", "DicubeSpeed", "Published"),
    "save .dcbs with checking / without": lambda r: (
        r.seconds("write_checked", "DicubeSpeed") / r.seconds("write", "DicubeSpeed")
    ),
    "open .dcbs and one frame, ms": lambda r: 1000 * r.seconds("slice", "DicubeSpeed"),
    "open .dcbs and one frame, times published": lambda r: r.times_faster(
        "slice", "DicubeSpeed", "Published"
    ),
    ".dcba decode, one thread, MB/s": lambda r: (
        r.volume / 1e6 / r.seconds("read_one_thread", "DicubeArchive")
    ),
    ".dcba encode, one thread, MB/s": lambda r: (
        r.volume / 1e6 / r.seconds("write_one_thread", "DicubeArchive")
    ),
    ".dcbs decode, one thread, MB/s": lambda r: (
        r.volume / 1e6 / r.seconds("read_one_thread", "DicubeSpeed")
    ),
    ".dcba smaller than .dcbs, %": lambda r: (
        100 - 100 * r.sizes["DicubeArchive"] / r.sizes["DicubeSpeed"]
    ),
    "volume / .dcbs": lambda r: r.volume / r.sizes["DicubeSpeed"],
    "volume / .dcba": lambda r: r.volume / r.sizes["DicubeArchive"],
    "peak of load .dcbs beyond the volume, MB": lambda r: (
        (r.measured["read", "DicubeSpeed"].peak - r.volume) / 1e6
    ),
    "peak of save .dcbs beyond the image, MB": lambda r: (
        r.measured["write", "DicubeSpeed"].peak / 1e6
    ),
}


def figures(results: Results) -> dict[str, float]:
    """Return the ratios that can be told."""

    def value(figure: Callable[[Results], float]) -> float | None:
        try:
            return figure(results)
        except KeyError:
            return None

    told = {text: value(figure) for text, figure in FIGURES.items()}
    return {text: number for text, number in told.items() if number is not None}


def _milliseconds(measured: Measured) -> str:
    return f"{_short(1000 * measured.median)} ± {_short(1000 * measured.spread)}"


def _short(number: float) -> str:
    """Return a number with as many digits as mean something."""
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"


# Title, operation and what is shown of it.
_COLUMNS: tuple[tuple[str, str, Callable[[Measured], str]], ...] = (
    ("write, ms", "write", _milliseconds),
    ("read all, ms", "read", _milliseconds),
    ("open, ms", "open", _milliseconds),
    ("a slice, ms", "slice", _milliseconds),
    ("a patch, ms", "patch", _milliseconds),
    ("memory, MB", "read", lambda measured: _short(measured.peak / 1e6)),
    ("patches/s", "training", lambda measured: _short(1 / measured.median)),
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
Median of the runs ± half the range of their middle half. All use all cores, where their library
can, and files in the page cache. Of DICOM and of dicube, what is written and read includes all
metadata; dicube's writes are without checking, and on the disk when done. Patch: 64 x 128 x 128.
Memory: peak of read all. Patches/s: at random places of eight files, opened anew each time, by two
processes."""


def markdown(title: str, folder: str, results: Results) -> str:
    """Return table, versions and ratios: what can be pasted into a README is above the ratios.

    Args:
        title: of the series.
        folder: that was measured, as in the command.
        results: of it.
    """
    versions = {m.versions: None for m in results.measured.values() if m.versions}
    about = machine()
    made = (
        f"`ci/run bench {folder}`: {title}, {results.volume / 1e6:.1f} MB. {about['processor']}, "
        f"{about['cores']} cores, {about['memory_gb']} GB, {about['system']}, "
        f"Python {about['python']}; {', '.join(versions)}."
    )
    lines = [textwrap.fill(made, 100), "", _table(results), "", _LEGEND, ""]
    told = figures(results)
    width = max(map(len, told), default=0)
    lines += [f"    {text:{width}}  {figure:8.2f}" for text, figure in told.items()]
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
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
