"""Measure each effort of JPEG XL and print a Markdown table for the README.

usage: python tests/bench/efforts.py FOLDER [FOLDER ...] [--slices N]

Each row has, for the series of each folder, the ratio (bytes of pixels / bytes of coded frames) and
the MB of pixels that one thread encodes and decodes in a second of processor time. The last row is
HTJ2K. Every decoded frame is compared with the original.
"""

from __future__ import annotations

import argparse
import io
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import dicube
from dicube import DicomCubeImage
from dicube.codecs.records import JXL
from dicube.storage import DcbReader, DcbWriter

REPEATS = 7


def seconds(action: Any, repeats: int) -> float:
    """Return the minimum processor time of an action."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def measure(volume: Any, codec: str, effort: int | None) -> str:
    """Return ratio, encoding and decoding speed of a series, as table cells."""
    file = io.BytesIO()

    def encode() -> None:
        file.seek(0)
        file.truncate()
        options = {"codec": codec, "effort": effort, "num_threads": 1, "verify": False}
        with DcbWriter(file, volume.shape, volume.dtype, **options) as writer:
            writer.write_frames(volume)

    encoding = seconds(encode, REPEATS if effort is None or effort < 4 else 1)
    with DcbReader(file.getvalue(), num_threads=1) as reader:
        back = np.empty_like(volume)
        decoding = seconds(lambda: reader.read_frames(out=back), REPEATS)
        if not np.array_equal(back, volume):
            raise SystemExit(f"{codec} effort {effort}: pixels differ")
        size, ratio = volume.nbytes / 1e6, volume.nbytes / reader.coded_size
        return f"{ratio:.2f} | {size / encoding:.1f} | {size / decoding:.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of one DICOM series each")
    parser.add_argument(
        "--slices", type=int, default=24, help="slices to take from each series (default: 24)"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")

    volumes = []
    for folder in options.folders:
        volume = DicomCubeImage.from_dicom_folder(folder).raw_image
        step = max(1, len(volume) // options.slices)
        volumes.append(np.ascontiguousarray(volume[::step]))
    print(", ".join(dicube.build_info().splitlines()), file=sys.stderr)
    print(f"{platform.processor() or platform.machine()}, {platform.system()}", file=sys.stderr)

    print(
        "| effort | " + " | ".join(f"{f.name}: ratio | encode | decode" for f in options.folders),
        "|",
    )
    print("|---|" + "---|" * (3 * len(volumes)))
    words = {number: word for word, number in JXL.efforts.items()}
    rows = [(f"{e} {words.get(e, '')}".strip(), "jxl", e) for e in range(2, 10)]
    for name, codec, effort in [*rows, ("HTJ2K", "jph", None)]:
        cells = (measure(volume, codec, effort) for volume in volumes)
        print(f"| {name} | " + " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
