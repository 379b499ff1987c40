"""Print sizes and errors of lossy files: `python tests/bench/lossy.py FOLDER [FOLDER ...]`.

Sizes are relative to the lossless `.dcba` of the same series. Errors are those of stored values,
measured here by comparing each with the original.
"""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dicube import DicomCubeImage

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((".dcba", {"max_error": error}) for error in (1, 2, 5, 10, 20)),
    *((".dcbl", {"distance": distance}) for distance in (0.1, 0.5, 1.0, 3.0)),
    *((".dcbr", {"background": error}) for error in (0, 1, 2, 5, 10, 20, 50, math.inf)),
]


def main(folders: list[str]) -> None:
    """Print a table for each folder."""
    for folder in folders:
        image = DicomCubeImage.from_dicom_folder(folder)
        volume = image.raw_image
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "lossless.dcba"
            image.to_file(path, exact=False)
            lossless = path.stat().st_size
            low, high = volume.min(), volume.max()
            print(f"\n{Path(folder).name}: {volume.shape} {volume.dtype}, {low} to {high}")
            print(f"lossless .dcba: {lossless:,} bytes, ratio {volume.nbytes / lossless:.2f}")
            mask = None
            for extension, options in SETTINGS:
                path = Path(place) / f"lossy{extension}"
                if extension == ".dcbr":
                    options = {"roi": "auto" if mask is None else mask, **options}
                image.to_file(path, **options)
                back = DicomCubeImage.from_file(path)
                error = np.abs(back.raw_image.astype(np.int64) - volume)
                setting = ", ".join(f"{k} {v}" for k, v in options.items() if k != "roi")
                rmse = math.sqrt((error**2).mean())
                inside = ""
                if back.roi_mask is not None:
                    mask = back.roi_mask
                    inside = f"  foreground {mask.mean():.0%}, error {error[mask].max()}"
                print(
                    f"{extension} {setting:16} {path.stat().st_size / lossless:6.1%}  "
                    f"maximum error {error.max():4}  RMSE {rmse:6.2f}{inside}",
                    flush=True,
                )


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)
    main(sys.argv[1:])
