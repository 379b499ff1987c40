"""Files of plain arrays: blosc2, zarr and .npy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from stores.store import Array, Range, Shape, Store, index_of


class ArrayFile(Store):
    """A file that opens as an object to index."""

    for_patches = True

    def read(self, path: str) -> Array:
        return self.part(path, ...)

    def open(self, path: str) -> Shape:
        return self.opened(path).shape

    def slice(self, path: str, index: int) -> Array:
        return self.part(path, index)

    def patch(self, path: str, *box: Range) -> Array:
        return self.part(path, index_of(box))

    def patch_held(self, path: str, *box: Range) -> Array:
        return self.held(path)[index_of(box)]

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


class NnUnet(Blosc2):
    """nnU-Net's way to store a case for training: its own choice of chunks, blocks and filter.

    It stores float32; here it stores what all store.
    """

    title = "blosc2, as nnU-Net stores"
    environment = "nnU-Net"
    packages = ("nnunetv2", "blosc2")
    patch_size: ClassVar[Shape] = (64, 128, 128)

    def load_library(self) -> None:
        super().load_library()
        from nnunetv2.training.dataloading.nnunet_dataset import (
            comp_blosc2_params,
            nnUNetDatasetBlosc2,
        )

        self._chunk_rule: Any = comp_blosc2_params
        self._cases: Any = nnUNetDatasetBlosc2

    def write(self, volume: Array, path: str) -> None:
        case = volume[None]
        blocks, chunks = self._chunk_rule(case.shape, self.patch_size, volume.itemsize)
        # As save_case does, which stores a segmentation, too.
        codec = self._blosc2.Codec.ZSTD
        settings = {"codec": codec, "clevel": 5, "nthreads": self.threads}
        settings["filters"] = [self._cases._select_filter(case, blocks, chunks, codec, 5)]
        self._blosc2.asarray(case, urlpath=path, chunks=chunks, blocks=blocks, cparams=settings)

    def opened(self, path: str) -> Any:
        one_thread = {"nthreads": 1}  # and a memory map: as nnU-Net reads
        return _Channel(self._blosc2.open(path, mode="r", dparams=one_thread, mmap_mode="r"))


class _Channel:
    """The first channel of a case."""

    def __init__(self, case: Any) -> None:
        self._case = case
        self.shape = case.shape[1:]

    def __getitem__(self, index: Any) -> Array:
        parts = index if isinstance(index, tuple) else (index,)
        return self._case[(0, *parts)]


class Zarr(ArrayFile):
    """A directory of chunks, one per slice, with zstd at zarr's default level."""

    title = "zarr, zstd"
    extension = ".zarr"
    environment = "zarr"
    packages = ("zarr", "numcodecs")
    chunks: ClassVar[Shape] = (1, 1 << 20, 1 << 20)
    sharded: ClassVar[bool] = False

    def load_library(self) -> None:
        import zarr

        zarr.config.set({"threading.max_workers": self.threads})
        self._zarr: Any = zarr

    def compressor(self) -> Any:
        return self._zarr.codecs.ZstdCodec()

    def write(self, volume: Array, path: str) -> None:
        chunks = tuple(map(min, self.chunks, volume.shape))
        whole = tuple(
            -(-size // chunk) * chunk for size, chunk in zip(volume.shape, chunks, strict=True)
        )
        array = self._zarr.create_array(
            path,
            shape=volume.shape,
            dtype=volume.dtype,
            chunks=chunks,
            shards=whole if self.sharded else None,
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


class ZarrShards(ZarrPatches):
    """The same chunks in one file (Zarr 3's sharding codec)."""

    title = "zarr, the same, one shard"
    sharded = True


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

    def patch_held(self, path: str, *box: Range) -> Array:
        return np.array(self.held(path)[index_of(box)])
