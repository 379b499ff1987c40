"""Datasets of PyTorch that read only what a sample needs: slices, or patches of volumes.

    patches = PatchDataset(paths, size=(64, 128, 128), samples_per_volume=8, seed=1)
    loader = DataLoader(patches, batch_size=4, shuffle=True, num_workers=2)

Samples are dicts that the usual collate function stacks. Images are real values, such as Hounsfield
units, as float32; masks keep their integers. Both have the axes (channel, z, y, x), or
(channel, y, x) for slices. Where files lie, and how, is up to `dicube.open`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicube.archive.archive import Archive
from dicube.archive.stored_series import StoredSeries
from dicube.core.cube import Cube
from dicube.core.cube import open as open_cube
from dicube.core.geometry.layout import layout_of
from dicube.core.slice_values import stored_are_real
from dicube.exceptions import DataConsistencyError, needing

with needing("a dataset of PyTorch", "torch", "torch"):
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info

Path: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Path | StoredSeries"
Sources: TypeAlias = "Archive | Source | Iterable[Source]"
Sample: TypeAlias = "dict[str, Any]"

_KEPT_OPEN = 16  # files of each dataset and process
_PLACES_OF_LABEL = 1000  # remembered of each mask

_TINY = 1e-6  # of a voxel, by which steps are rounded

# The first of the numbers that a random generator is made of, so that no two are equal.
_ORDER, _PATCH, _PLACES = range(3)


class _Files:
    """Files by their number, those used last kept open.

    Cubes open their file again by themselves in forked processes, and after unpickling.
    """

    def __init__(self, sources: Sources, options: dict[str, Any]) -> None:
        if isinstance(sources, Archive):
            sources = [series for series in sources.series() if series["shape"]]
        elif isinstance(sources, (str, os.PathLike, StoredSeries)):
            sources = [sources]
        self.sources = [s if isinstance(s, StoredSeries) else os.fspath(s) for s in sources]
        self._options = {"num_threads": 1, **options}
        self._opened = lru_cache(_KEPT_OPEN)(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {"sources": self.sources, "_options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = lru_cache(_KEPT_OPEN)(self._open)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: int) -> Cube:
        return self._opened(number)

    def _open(self, number: int) -> Cube:
        source = self.sources[number]
        if isinstance(source, StoredSeries):
            return source.open(**self._options)
        return open_cube(source, **self._options)

    def name(self, number: int) -> str:
        """Return the path or URL of a file."""
        source = self.sources[number]
        return source.path if isinstance(source, StoredSeries) else source

    def slices(self, number: int) -> int:
        """Return the number of slices in a file; that of a series of an archive is known."""
        source = self.sources[number]
        return source["shape"][0] if isinstance(source, StoredSeries) else len(self._open(number))


class _Samples(Dataset[Any]):
    """What both datasets have in common: a map from numbers to samples."""

    # Samples whose numbers differ only below this are of one volume.
    _group = 1

    def __init__(
        self,
        paths: Sources,
        masks: Sources | None,
        seed: int,
        elements: Sequence[str],
        transform: Callable[[Sample], Any] | None,
        options: dict[str, Any],
    ) -> None:
        self.seed, self.elements, self.transform = seed, tuple(elements), transform
        self._images = _Files(paths, options)
        # Low-pass filters would mix labels, so that masks have no levels.
        whole = {name: value for name, value in options.items() if name != "level"}
        self._masks = None if masks is None else _Files(masks, whole)
        if self._masks is not None and len(self._masks) != len(self._images):
            raise DataConsistencyError(
                f"expected a mask for each of {len(self._images)} volumes, found {len(self._masks)}"
            )
        # In shared memory, so that workers that live on see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Let the samples and the order of streams be those of another epoch, also in workers."""
        self._epoch.fill_(epoch)

    def stream(self, shuffle: bool = True) -> Stream:
        """Return the same samples as an iterable dataset; see `Stream`."""
        return Stream(self, self._group, shuffle)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected a sample below {len(self)}, found {index}")
        sample = self._sample(index % len(self))
        return sample if self.transform is None else self.transform(sample)

    def __len__(self) -> int:
        raise NotImplementedError

    def _sample(self, index: int) -> Sample:
        raise NotImplementedError

    def _random(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng((numbers[0], self.seed, *numbers[1:]))

    def _mask(self, volume: int) -> Cube | None:
        """Return the mask of a volume."""
        if self._masks is None:
            return None
        cube, mask = self._images[volume], self._masks[volume]
        name = self._masks.name(volume)
        if mask.shape != cube.shape[:3]:
            raise DataConsistencyError(
                f"{name}: expected a mask of shape {cube.shape[:3]}, found {mask.shape}"
            )
        if mask.dtype.kind not in "iu":
            raise DataConsistencyError(
                f"{name}: expected a mask of integers, found {mask.dtype.name}",
                suggestion="store it as integers",
            )
        if not stored_are_real(mask.dtype, mask.dicom_meta, mask.pixel_header):
            raise DataConsistencyError(f"{name}: expected a mask, found values with a rescale")
        return mask

    def _described(self, volume: int, first: Sequence[int], steps: NDArray[np.float64]) -> Sample:
        """Return what a sample has besides its pixels.

        Args:
            volume: number of the volume.
            first: (z, y, x) of its first voxel.
            steps: from a voxel of the sample to the next, in voxels along (z, y, x).
        """
        cube = self._images[volume]
        affine, spacing = cube.affine, cube.spacing
        if affine is None or spacing is None:
            affine, spacing = np.full((4, 4), math.nan), (math.nan,) * 3
        placed = np.diag([*steps[::-1], 1.0])
        placed[:3, 3] = first[::-1]
        meta: dict[str, Any] = {
            "path": self._images.name(volume),
            "volume": volume,
            "start": tuple(int(number) for number in first),
            "spacing": tuple(float(size) for size in spacing * steps),
        }
        for keyword in self.elements:
            found = cube.dicom_meta
            slice_number = min(max(int(first[0]), 0), len(cube) - 1)
            value = None if found is None else found.get_of_slice(keyword, slice_number)
            meta[keyword] = "" if value is None else value
        return {"affine": torch.from_numpy(affine @ placed), "meta": meta}


class Stream(IterableDataset[Any]):
    """The samples of a dataset one after another, each from one worker of a DataLoader.

    Samples of the same volume follow each other, so that each file is opened once. The order of
    volumes depends on seed and epoch only; call `set_epoch` of the dataset before each epoch.
    """

    def __init__(self, samples: _Samples, group: int, shuffle: bool) -> None:
        self._samples, self._group, self._shuffle = samples, group, shuffle

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Any]:
        samples, worker = self._samples, get_worker_info()
        order = np.arange(len(samples) // self._group)
        if self._shuffle:
            samples._random(_ORDER, int(samples._epoch)).shuffle(order)
        mine = order if worker is None else order[worker.id :: worker.num_workers]
        for first in (mine * self._group).tolist():
            yield from (samples[index] for index in range(first, first + self._group))


class SliceDataset(_Samples):
    """The slices of volumes, one after another: as many samples as there are slices.

    Each sample has `image`, float32 (channel, y, x); `mask`, if masks are given; `affine`,
    (4, 4) in float64, from the sample's voxel (x, y, 0) to RAS in mm, NaN if it is unknown; and
    `meta`: `path`, `volume` (the number of the file), `start` (z, y, x), `spacing` along (z, y, x)
    in mm, and the elements asked for.

    Args:
        paths: of dicube files, or URLs; or series of an archive, such as
            `archive.series(modality="CT")`; or an archive, for all of its volumes. Files are opened
            once to count their slices, series of archives aren't.
        masks: a file of labels for each volume, in the same order.
        elements: keywords of DICOM whose values to return, '' if missing.
        transform: applied to each sample.
        seed: of the order of `stream()`.
        options: for `dicube.open`, such as `storage_options`; `num_threads` is 1. Masks need
            `level` 0.

    Raises:
        DataConsistencyError: another number of masks than of volumes.
        InvalidCubeFileError: a file is missing or damaged.

    A sample raises a DataConsistencyError if a mask has another shape than its volume, no integers,
    or a rescale.

    Example, with torch installed:

        slices = SliceDataset(["a.dcbs", "b.dcbs"])
        slices[3]["image"].shape  # torch.Size([1, 512, 512])
    """

    def __init__(
        self,
        paths: Sources,
        *,
        masks: Sources | None = None,
        elements: Sequence[str] = (),
        transform: Callable[[Sample], Any] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(paths, masks, seed, elements, transform, options)
        counts = [self._images.slices(number) for number in range(len(self._images))]
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def _sample(self, index: int) -> Sample:
        volume = int(np.searchsorted(self._ends, index, side="right"))
        number = index - (int(self._ends[volume - 1]) if volume else 0)
        cube, mask = self._images[volume], self._mask(volume)
        sample = {"image": _channel_first(cube.get_fdata(number), 2)}
        if mask is not None:
            sample["mask"] = _channel_first(mask[number], 2)
        return {**sample, **self._described(volume, (number, 0, 0), np.ones(3))}


class PatchDataset(_Samples):
    """Random patches of volumes; only the frames, and code blocks of HTJ2K, in them are decoded.

    Sample `index` of an epoch depends on `seed`, epoch and `index` alone, whichever worker makes
    it. Volumes smaller than a patch are padded on both sides.

    Each sample has `image`, float32 (channel, z, y, x); `mask`, if masks are given; and `affine`
    and `meta`, see `SliceDataset`. `start` may be negative where the volume is padded.

    Args:
        paths: see `SliceDataset`.
        size: (z, y, x) of a patch, in voxels.
        spacing: along (z, y, x), or one number for all, in mm, to which patches are resampled,
            linearly for images, to the nearest voxel for masks; None for that of the volume. For
            twice the spacing of rows and columns or more, a lower resolution level is read.
        samples_per_volume: in an epoch.
        seed: of positions, and of the order of `stream()`.
        masks: a file of labels for each volume, in the same order.
        in_mask: how many of the patches, 0 to 1, are placed around a voxel of the mask: of each
            label equally often. The others may be anywhere.
        fill: the real value outside of the volume; None for the smallest one of the patch.
        elements, transform, options: see `SliceDataset`.

    Raises:
        DataConsistencyError: an argument is invalid; or another number of masks than of volumes.

    A sample raises a DataConsistencyError if a mask has another shape than its volume, no integers,
    or a rescale; if a spacing is given and that of the volume is unknown; or if a file has several
    volumes, as a time series does, or slices in mosaics.
    """

    def __init__(
        self,
        paths: Sources,
        size: Sequence[int],
        spacing: float | Sequence[float] | None = None,
        samples_per_volume: int = 1,
        seed: int = 0,
        *,
        masks: Sources | None = None,
        in_mask: float = 1.0,
        fill: float | None = None,
        elements: Sequence[str] = (),
        transform: Callable[[Sample], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(paths, masks, seed, elements, transform, options)
        self.size = np.array(size)
        self.spacing: NDArray[np.float64] | None = None
        self.in_mask, self.fill, self._group = in_mask, fill, samples_per_volume
        sizes_valid = self.size.shape == (3,) and self.size.dtype.kind in "iu"
        if not sizes_valid or self.size.min() < 1 or samples_per_volume < 1:
            raise DataConsistencyError(
                f"expected size of three numbers above 0, and samples_per_volume above 0, found "
                f"{size} and {samples_per_volume}"
            )
        if spacing is not None:
            distances = np.array(spacing, float)
            if distances.shape not in ((), (1,), (3,)) or not (distances > 0).all():
                raise DataConsistencyError(
                    f"expected spacing of one or three numbers above 0, found {spacing}"
                )
            self.spacing = np.broadcast_to(distances, 3)
        if not 0 <= in_mask <= 1:
            raise DataConsistencyError(f"expected in_mask of 0 to 1, found {in_mask}")
        self._places: dict[int, list[NDArray[Any]]] = {}
        self._single: set[int] = set()

    def __len__(self) -> int:
        return len(self._images) * self._group

    def _sample(self, index: int) -> Sample:
        volume = index // self._group
        random = self._random(_PATCH, int(self._epoch), index)
        cube, mask = self._images[volume], self._mask(volume)
        self._expect_one_volume(volume, cube)
        steps = self._steps(volume, cube)
        extent = self._extent(steps)
        room = np.array(cube.shape[:3]) - extent
        first = random.integers(0, np.maximum(room, 0), endpoint=True)
        if mask is not None and random.random() < self.in_mask:
            places = self._places_of(volume, mask)
            if places:
                of_label = places[random.integers(len(places))]
                centre = of_label[random.integers(len(of_label))]
                first = np.clip(centre - extent // 2, 0, np.maximum(room, 0))
        first = np.where(room < 0, room // 2, first)
        sample = {"image": _channel_first(self._values(cube, first, steps), 3)}
        if mask is not None:
            labels = _padded(mask.shape, first, extent, mask.__getitem__, 0)
            if self.spacing is not None:
                nearest = (np.rint(np.arange(n) * s) for n, s in zip(self.size, steps, strict=True))
                labels = labels[np.ix_(*(places.astype(int) for places in nearest))]
            sample["mask"] = _channel_first(labels, 3)
        return {**sample, **self._described(volume, first, steps)}

    def _expect_one_volume(self, volume: int, cube: Cube) -> None:
        """Raise DataConsistencyError if patches would go from one volume into another."""
        if volume in self._single:
            return
        layout = layout_of(cube.shape, cube._all_parts())
        name, count = self._images.name(volume), math.prod(layout.shape[3:])
        if layout.tiles is not None:
            raise DataConsistencyError(
                f"{name}: expected a volume, found {len(cube)} mosaics of slices",
                suggestion="to_nifti separates the slices",
            )
        if count > 1:
            raise DataConsistencyError(
                f"{name}: expected one volume, found {count}",
                suggestion="store each of DicomCubeImage.volumes() in a file of its own",
            )
        self._single.add(volume)

    def _extent(self, steps: NDArray[np.float64], offset: float | NDArray[Any] = 0) -> NDArray[Any]:
        """Return how many voxels a patch covers that begins at an offset from the first of them."""
        return np.ceil(offset + (self.size - 1) * steps - _TINY).astype(int) + 1

    def _steps(self, volume: int, cube: Cube) -> NDArray[np.float64]:
        """Return how many voxels of the volume there are to one of the patch, along each axis."""
        if self.spacing is None:
            return np.ones(3)
        if cube.spacing is None:
            raise DataConsistencyError(
                f"{self._images.name(volume)}: patches of a spacing need that of the volume, which "
                f"is unknown: {cube.geometry_problem}"
            )
        steps: NDArray[np.float64] = self.spacing / np.array(cube.spacing)
        return steps

    def _values(
        self, cube: Cube, first: NDArray[Any], steps: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return the real values of a patch."""
        level = 0
        if steps[1:].min() >= 2:
            level = min(int(math.log2(steps[1:].min())), cube.levels - cube.level)
        scale = np.array([1, 1 << level, 1 << level])
        low = cube.at_level(cube.level + level)
        begin = first / scale  # in voxels of the level, perhaps between two of them
        whole = np.floor(begin).astype(int)
        extent = self._extent(steps / scale, begin - whole)
        # The last voxels of a volume may be beyond the last ones of a level.
        is_inside = first + self._extent(steps) <= cube.shape[:3]
        extent = np.where(is_inside, np.minimum(extent, low.shape[:3] - whole), extent)
        values = _padded(low.shape[:3], whole, extent, low.get_fdata, self.fill)
        if self.spacing is None:
            return values
        for axis in range(3):
            step = steps[axis] / scale[axis]
            places = begin[axis] - whole[axis] + np.arange(self.size[axis]) * step
            values = _linear(values, axis, places)
        return values

    def _places_of(self, volume: int, mask: Cube) -> list[NDArray[Any]]:
        """Return voxels (z, y, x) of each label of a mask, a limited number of each."""
        found = self._places.get(volume)
        if found is None:
            labels = mask[...]
            filled = np.flatnonzero(labels)
            values, found = labels.reshape(-1)[filled], []
            for label in np.unique(values):
                places = filled[values == label]
                if len(places) > _PLACES_OF_LABEL:
                    random = self._random(_PLACES, volume, int(label) & 0xFFFFFFFF)
                    places = random.choice(places, _PLACES_OF_LABEL, replace=False)
                found.append(np.stack(np.unravel_index(places, labels.shape), 1).astype(np.int32))
            self._places[volume] = found
        return found


def _padded(
    shape: Sequence[int],
    first: NDArray[Any],
    extent: NDArray[Any],
    read: Callable[[Any], NDArray[Any]],
    fill: float | None,
) -> NDArray[Any]:
    """Return a region of a volume, filled where it is outside.

    Args:
        shape: (z, y, x) of the volume.
        first: of the region; may be negative.
        extent: of the region.
        read: returns the part of an index.
        fill: None for the smallest value inside.
    """
    begin, end = np.maximum(first, 0), np.minimum(first + extent, shape)
    inside = read(tuple(slice(*ends) for ends in zip(begin.tolist(), end.tolist(), strict=True)))
    before, after = begin - first, first + extent - end
    if not (before.any() or after.any()):
        return inside
    widths = [*zip(before, after, strict=True), *[(0, 0)] * (inside.ndim - 3)]
    return np.pad(inside, widths, constant_values=inside.min() if fill is None else fill)


def _linear(values: NDArray[Any], axis: int, places: NDArray[np.float64]) -> NDArray[Any]:
    """Return values interpolated linearly at places between those along an axis."""
    lower = np.floor(places).astype(int)
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    weights = (places - lower).astype(values.dtype)
    weights = weights.reshape(-1, *[1] * (values.ndim - axis - 1))
    below, above = values.take(lower, axis), values.take(upper, axis)
    between: NDArray[Any] = below + (above - below) * weights
    return between


def _channel_first(array: NDArray[Any], axes: int) -> torch.Tensor:
    """Return an array as a tensor, with an axis for channels before those of space."""
    if array.ndim > axes:
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0)))
    return torch.from_numpy(array[np.newaxis])
