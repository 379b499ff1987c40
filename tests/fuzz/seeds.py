"""Make the initial inputs of the fuzz targets: `python tests/fuzz/seeds.py FOLDER`.

FOLDER gets a folder of small good inputs for each target; a fuzzer mutates them. Inputs of the JPEG
target, and lossy and tiled HTJ2K (`*.j2c`), exist only in corpus/, because dicube does not write
such images.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np

from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import imencode_jxl
from dicube.storage import DcbWriter

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32")
INTEGERS = range(6)  # the types that can be coded lossily


def images() -> list[np.ndarray]:
    """Return small images of each type, gray and in colour: a ramp with noise."""
    images = []
    random = np.random.default_rng(0)
    for number, name in enumerate(TYPES):
        for samples in ((), (3,)):
            ramp = np.add.outer(np.arange(9 + number), np.arange(12)) * 5
            image = np.broadcast_to(ramp[(..., *(None for _ in samples))], (*ramp.shape, *samples))
            images.append((image + random.integers(0, 3, image.shape)).astype(name))
    return images


def frames_with_levels() -> np.ndarray:
    """Return frames that are large enough for a section `frame_levels`."""
    ramp = np.add.outer(np.arange(70), np.arange(66))
    noise = np.random.default_rng(1).integers(0, 3, (2, *ramp.shape))
    return (ramp // 2 + noise).astype("uint8")


def make(folder: Path) -> None:
    """Write the inputs of all targets."""
    for target in ("file", "decode", "round_trip", "lossy"):
        (folder / target).mkdir(parents=True, exist_ok=True)
    with DcbWriter(folder / "file" / "levels.dcbs", (2, 70, 66), "uint8") as writer:
        writer.write_frames(frames_with_levels())
    for number, image in enumerate(images()):
        name = f"{image.dtype.name}x{1 if image.ndim == 2 else 3}"
        for codec, encode in (("jxl", imencode_jxl), ("jph", imencode_jph)):
            (folder / "decode" / f"{name}.{codec}").write_bytes(encode(image))
            file = io.BytesIO()
            with DcbWriter(file, (2, *image.shape), image.dtype, codec=codec) as writer:
                writer.write_section("space", b"{}")
                writer.write_frames(np.stack([image, image]))
            (folder / "file" / f"{name}.{codec}").write_bytes(file.getvalue())
        head = bytes([image.shape[0], image.shape[1], 3 * (image.ndim == 3), number, number % 3])
        for codec in range(2):
            (folder / "round_trip" / f"{name}.{codec}").write_bytes(
                head + bytes([codec]) + image.tobytes()
            )
        if number // 2 in INTEGERS:
            kind = 4 * (number // 2) + 3 * (image.ndim == 3)
            for mode, name_of_mode in enumerate(("lossless", "error", "distance", "mask")):
                options = bytes([kind, mode + number % 2 * 4, number % 7, 5, 20, 0])
                size = bytes([image.shape[0], 0, image.shape[1], 0])
                (folder / "lossy" / f"{name}.{name_of_mode}").write_bytes(
                    size + options + image.tobytes()
                )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
