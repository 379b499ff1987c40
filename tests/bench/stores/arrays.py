"""Files of plain arrays: blosc2, zarr and .npy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from stores.store import Array, Range, Shape, Store, index_of


class ArrayFile(Store):
    """A file that opens as an object to index."""

    for_patches = True

    def opened(self, path: str) -> Any:
        """Return an object to index."""
        raise NotImplementedError

    def read(self, path: str) -> Array:
        return self.part(path, ...)

    def open(self, path: str) -> Shape:
        return self.opened(path).shape

    def slice(self, path: str, index: int) -> Array:
        return self.part(path, index)

    def patch(self, path: str, *box: Range) -> Array:
        return self.part(path, index_of(box))

    def part(self, path: str, index: Any) -> Array:
        """Return the part at an index, as a copy."""
        return self.opened(path)[index]


class Blosc2(ArrayFile):
    """blosc2 with its defaults: zstd level 1 after a byte shuffle, and automatic chunks."""

    title = "blosc2, zstd"
    extension = ".b2nd"
    environment = "blosc2"
    packages = ("blosc2",)
    layout: ClassVar[dict[str, Shape]] = {}

    def load_library(self) -> None:
        import blosc2

        blosc2.set_nthreads(self.threads)
        self._blosc2: Any = blosc2
        self._settings = {
            "cparams": blosc2.CParams(
                codec=blosc2.Codec.ZSTD,
                clevel=1,
                filters=[blosc2.Filter.SHUFFLE],
                nthreads=self.threads,
            ),
            "dparams": blosc2.DParams(nthreads=self.threads),
        }

    def write(self, volume: Array, path: str) -> None:
        layout = {name: tuple(map(min, size, volume.shape)) for name, size in self.layout.items()}
        self._blosc2.asarray(volume, urlpath=path, mode="w", **layout, **self._settings)

    def opened(self, path: str) -> Any:
        return self._blosc2.open(path, mode="r", dparams=self._settings["dparams"])


class Blosc2Patches(Blosc2):
    """Chunked for patches: a block, the smallest unit that is decoded, is smaller than a patch.

    Of eleven chunkings tried on a CT, from slices to cubes, this one read patches in the least
    processor time; so did level 1, compared with 5.
    """

    title = "blosc2, zstd, cut for patches"
    layout: ClassVar = {"chunks": (64, 128, 128), "blocks": (16, 32, 32)}


class Zarr(ArrayFile):
    """A directory of chunks, one per slice, with zstd at zarr's default level."""

    title = "zarr, zstd"
    extension = ".zarr"
    environment = "zarr"
    packages = ("zarr", "numcodecs")
    chunks: ClassVar[Shape] = (1, 1 << 20, 1 << 20)

    def load_library(self) -> None:
        import zarr

        zarr.config.set({"threading.max_workers": self.threads})
        self._zarr: Any = zarr

    def compressor(self) -> Any:
        return self._zarr.codecs.ZstdCodec()

    def write(self, volume: Array, path: str) -> None:
        array = self._zarr.create_array(
            path,
            shape=volume.shape,
            dtype=volume.dtype,
            chunks=tuple(map(min, self.chunks, volume.shape)),
            compressors=self.compressor(),
        )
        array[:] = volume

    def opened(self, path: str) -> Any:
        return self._zarr.open_array(path, mode="r")


class ZarrPatches(Zarr):
    """Chunked for patches (the best of four chunkings tried), with blosc2's shuffle before zstd."""

    title = "zarr, blosc zstd, cut for patches"
    chunks = (32, 64, 64)

    def compressor(self) -> Any:
        return self._zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


class Npy(ArrayFile):
    """Uncompressed: np.load for everything, a memory map for parts."""

    title = ".npy"
    extension = ".npy"
    environment = "here"
    packages = ("numpy",)

    def write(self, volume: Array, path: str) -> None:
        np.save(path, volume)

    def read(self, path: str) -> Array:
        return np.load(path)

    def opened(self, path: str) -> Array:
        return np.load(path, mmap_mode="r")

    def part(self, path: str, index: Any) -> Array:
        return np.array(self.opened(path)[index])
