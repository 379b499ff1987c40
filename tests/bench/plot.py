"""Draw the results of the bench: `plot.py DATA.json PICTURE.svg`. Needs matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_OURS, _OTHERS = "#c44e52", "#8da0b3"

# Title and operation.
_PANELS = (
    ("write, ms", "write"),
    ("read all, ms", "read"),
    ("open, ms", "open"),
    ("a slice, ms", "slice"),
    ("a patch 64 x 128 x 128, ms", "patch"),
)


def draw(data: dict[str, Any], picture: Path) -> None:
    """Draw a panel for each measurement, with a bar for each store."""
    stores = list(data["stores"].values())[::-1]
    panels = [("size, MB", [(about["bytes"] or 0) / 1e6 for about in stores])]
    for title, operation in _PANELS:
        runs = [about["operations"].get(operation, {}).get("median", 0) for about in stores]
        panels.append((title, [1000 * seconds for seconds in runs]))
    peaks = [about["operations"].get("read", {}).get("peak", 0) for about in stores]
    panels.append(("peak memory of read all, MB", [peak / 1e6 for peak in peaks]))
    training = [about["operations"].get("training", {}).get("median", 0) for about in stores]
    panels.append(
        ("patches/s, 2 processes", [1 / seconds if seconds else 0 for seconds in training])
    )

    figure, axes = pyplot.subplots(
        2, 4, figsize=(16, 2 + 0.5 * len(stores)), sharey=True, layout="constrained"
    )
    colours = [_OURS if _is_ours(about) else _OTHERS for about in stores]
    places = range(len(stores))
    for axis, (title, values) in zip(axes.flat, panels, strict=True):
        bars = axis.barh(places, values, color=colours)
        axis.bar_label(
            bars, [f"{value:.3g}" if value else "" for value in values], padding=2, size=7
        )
        axis.set_title(title, fontsize=10)
        axis.margins(x=0.2)
        if title.endswith("ms") and any(values):
            # Values range from microseconds to seconds. The axis starts at a tenth of the minimum.
            axis.set_xscale("log")
            axis.set_xlim(left=min(filter(None, values)) / 10)
        axis.set_xticks([], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_yticks(places, [about["title"] for about in stores], fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    about = data["machine"]
    figure.suptitle(
        f"{data['series']}; {about['processor']}, {about['cores']} cores; times on a log scale",
        fontsize=11,
    )
    figure.savefig(picture)


def _is_ours(about: dict[str, Any]) -> bool:
    return about["title"] in ("dicube .dcbs", "dicube .dcba")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
