"""Frames coded one by one with the codecs of imagecodecs."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from stores.store import Array, Range, Shape, Store, index_of


class Imagecodecs(Store):
    """Coded frames after a line of JSON that gives their positions.

    Each thread of a pool codes a frame, because these codecs can't split a frame or are slower if
    they do. Frames are decoded directly into the volume.
    """

    environment = "imagecodecs"
    packages = ("imagecodecs",)
    extension = ".frames"
    signed: ClassVar[bool] = False

    def load_library(self) -> None:
        import imagecodecs

        self._codecs: Any = imagecodecs
        self._pool = ThreadPoolExecutor(self.threads)

    def encode(self, frame: Array) -> bytes:
        raise NotImplementedError

    def decode(self, coded: bytes, out: Array) -> None:
        raise NotImplementedError

    def write(self, volume: Array, path: str) -> None:
        # JPEG XL and JPEG-LS support only unsigned samples.
        least = 0 if self.signed else min(0, int(volume.min()))
        wanted = volume.dtype if self.signed else np.dtype(f"u{volume.dtype.itemsize}")
        if least or wanted != volume.dtype:
            volume = (volume.astype(np.int64) - least).astype(wanted)
        coded = list(self._pool.map(self.encode, volume))
        ends = np.cumsum([0, *map(len, coded)]).tolist()
        about = {"shape": volume.shape, "dtype": volume.dtype.str, "least": least, "ends": ends}
        with open(path, "wb") as file:
            file.write(json.dumps(about).encode() + b"\n")
            file.writelines(coded)

    def read(self, path: str) -> Array:
        return self._frames(path, 0, None)

    def open(self, path: str) -> Shape:
        with open(path, "rb") as file:
            return tuple(json.loads(file.readline())["shape"])

    def slice(self, path: str, index: int) -> Array:
        return self._frames(path, index, index + 1)[0]

    def patch(self, path: str, *box: Range) -> Array:
        (first, last), *plane = box
        return self._frames(path, first, last)[(slice(None), *index_of(plane))].copy()

    def _frames(self, path: str, first: int, last: int | None) -> Array:
        with open(path, "rb") as file:
            about = json.loads(file.readline())
            ends = about["ends"][first : None if last is None else last + 1]
            file.seek(ends[0], 1)
            coded = memoryview(file.read(ends[-1] - ends[0]))
        parts = [coded[a - ends[0] : b - ends[0]] for a, b in itertools.pairwise(ends)]
        frames = np.empty((len(parts), *about["shape"][1:]), about["dtype"])
        for _ in self._pool.map(self.decode, parts, frames):
            pass
        if about["least"]:
            frames = (frames.astype(np.int64) + about["least"]).astype(f"i{frames.itemsize}")
        return frames


class Htj2k(Imagecodecs):
    title = "imagecodecs HTJ2K"
    signed = True

    def encode(self, frame: Array) -> bytes:
        return self._codecs.htj2k_encode(frame, reversible=True)

    def decode(self, coded: bytes, out: Array) -> None:
        self._codecs.htj2k_decode(coded, out=out)


class JpegXl(Imagecodecs):
    """At the default effort of .dcba, with one thread per frame."""

    title = "imagecodecs JPEG XL"

    def encode(self, frame: Array) -> bytes:
        return self._codecs.jpegxl_encode(frame, lossless=True, effort=3, numthreads=1)

    def decode(self, coded: bytes, out: Array) -> None:
        self._codecs.jpegxl_decode(coded, numthreads=1, out=out)


class JpegLs(Imagecodecs):
    title = "imagecodecs JPEG-LS"

    def encode(self, frame: Array) -> bytes:
        return self._codecs.jpegls_encode(frame)

    def decode(self, coded: bytes, out: Array) -> None:
        self._codecs.jpegls_decode(coded, out=out)
