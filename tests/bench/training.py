"""Measure how fast training gets its data: `python tests/bench/training.py FOLDER [OPTION...]`.

Run it with the Python of `ci/run integrations`. First, how long MONAI's LoadImage takes for a
series as `.dcbs`, `.nii.gz` and a DICOM folder. Then how many patches a second a DataLoader with
two workers gives: from `.dcbs` by dicube's PatchDataset; from `.nii.gz` and `.dcbs` by MONAI and
TorchIO as they are, which load whole volumes and take some patches of each; and from blosc2 files
as nnU-Net stores preprocessed cases (float32), one opened for each patch as its loader does. Each
epoch takes the same number of patches of the same size. Prints the best of several runs, which take
turns. Files are in the page cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import dicube
from dicube.integrations.torch import PatchDataset
from dicube.integrations.torchio import read

READER = "dicube.integrations.monai.DicubeReader"
WORKERS = 2


def best_in_turns(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the least seconds that each of some calls takes, which take turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def loads(folder: Path, dcbs: Path, nifti: Path) -> dict[str, Callable[[], object]]:
    """Return what loads a series by MONAI."""
    from monai.transforms import LoadImage

    options: dict[str, Any] = {"ensure_channel_first": True}
    by_dicube = LoadImage(reader=READER, **options)
    by_one_thread = LoadImage(reader=READER, num_threads=1, **options)
    by_nibabel = LoadImage(reader="NibabelReader", **options)
    by_pydicom = LoadImage(reader="PydicomReader", **options)
    return {
        ".dcbs": lambda: by_dicube(dcbs),
        ".dcbs, 1 thread": lambda: by_one_thread(dcbs),
        ".nii.gz": lambda: by_nibabel(nifti),
        "DICOM folder (PydicomReader)": lambda: by_pydicom(folder),
    }


class Blosc2Patches(Dataset[Any]):
    """Random patches of files of nnU-Net's preprocessing."""

    def __init__(self, folder: Path, size: tuple[int, ...], samples_per_volume: int) -> None:
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

        self.cases = nnUNetDatasetBlosc2(str(folder))
        self.size, self.samples = size, samples_per_volume

    def __len__(self) -> int:
        return len(self.cases.identifiers) * self.samples

    def __getitem__(self, index: int) -> torch.Tensor:
        data = self.cases.load_case(self.cases.identifiers[index // self.samples])[0]
        random = np.random.default_rng(index)
        room = np.array(data.shape[1:]) - self.size
        start = random.integers(0, room, endpoint=True)
        part = (slice(a, a + n) for a, n in zip(start, self.size, strict=True))
        return torch.from_numpy(data[(slice(None), *part)])


def write_blosc2(path: Path, volume: np.ndarray[Any, Any], size: tuple[int, ...]) -> None:
    """Write a case as nnU-Net's preprocessing does."""
    from nnunetv2.training.dataloading.nnunet_dataset import (
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )

    data, seg = volume[np.newaxis].astype(np.float32), np.zeros((1, *volume.shape), np.int16)
    blocks, chunks = comp_blosc2_params(data.shape, size, data.itemsize)
    of_seg = comp_blosc2_params(seg.shape, size, seg.itemsize)
    nnUNetDatasetBlosc2.save_case(
        data, seg, {}, str(path), chunks, blocks, chunks_seg=of_seg[1], blocks_seg=of_seg[0]
    )


def by_monai(paths: list[Path], size: tuple[int, ...], count: int, **options: Any) -> DataLoader:
    """Return a loader of MONAI's."""
    from monai import data, transforms

    chain = transforms.Compose(
        [
            transforms.LoadImaged("image", ensure_channel_first=True, **options),
            transforms.RandSpatialCropSamplesd("image", size[::-1], count, random_size=False),
        ]
    )
    dataset = data.Dataset([{"image": path} for path in paths], chain)
    return data.DataLoader(dataset, batch_size=1, num_workers=WORKERS, persistent_workers=True)


def by_torchio(paths: list[Path], size: tuple[int, ...], count: int, **options: Any) -> DataLoader:
    """Return a loader of TorchIO's queue."""
    import torchio as tio

    subjects = [tio.Subject(image=tio.ScalarImage(path, **options)) for path in paths]
    queue = tio.Queue(
        tio.SubjectsDataset(subjects),
        max_length=len(paths) * count,
        samples_per_volume=count,
        sampler=tio.data.UniformSampler(size[::-1]),
        num_workers=WORKERS,
    )
    return tio.SubjectsLoader(queue, batch_size=count, num_workers=0)


def loaders(
    folder: Path, copies: int, size: tuple[int, ...], count: int
) -> dict[str, Iterable[Any]]:
    """Return the loaders, of copies of a series in a folder."""
    dcbs, small, nifti = (
        [folder / f"{number}{extension}" for number in range(copies)]
        for extension in (".dcbs", ".32.dcbs", ".nii.gz")
    )
    options: dict[str, Any] = {
        "batch_size": count,
        "num_workers": WORKERS,
        "persistent_workers": True,
    }
    return {
        "PatchDataset, .dcbs": DataLoader(PatchDataset(dcbs, size, None, count), **options),
        "PatchDataset, .dcbs of block_side=32": DataLoader(
            PatchDataset(small, size, None, count), **options
        ),
        "MONAI, .dcbs": by_monai(dcbs, size, count, reader=READER, num_threads=1),
        "MONAI, .nii.gz": by_monai(nifti, size, count),
        "TorchIO, .dcbs": by_torchio(dcbs, size, count, reader=read),
        "TorchIO, .nii.gz": by_torchio(nifti, size, count),
        "nnU-Net's blosc2": DataLoader(Blosc2Patches(folder / "blosc2", size, count), **options),
    }


def epoch(loader: Iterable[Any]) -> None:
    """Take all patches of an epoch."""
    for _ in loader:
        pass


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a DICOM series")
    parser.add_argument("--size", type=int, nargs=3, default=[64, 128, 128], metavar="N")
    parser.add_argument("--volumes", type=int, default=4, help="copies of the series")
    parser.add_argument("--samples", type=int, default=8, help="patches a volume and epoch")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    size, volumes, samples = tuple(options.size), options.volumes, options.samples
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        image = dicube.DicomCubeImage.from_dicom_folder(options.folder)
        image.to_file(scratch / "0.dcbs")
        image.to_file(scratch / "0.32.dcbs", block_side=32)
        image.to_nifti(scratch / "0.nii.gz")
        (scratch / "blosc2").mkdir()
        write_blosc2(scratch / "blosc2" / "0", image.get_fdata(), size)
        for number in range(1, volumes):
            for path in [*scratch.glob("0.*"), *(scratch / "blosc2").glob("0*")]:
                shutil.copy(path, path.with_name(path.name.replace("0", str(number), 1)))
        times = best_in_turns(
            loads(options.folder, scratch / "0.dcbs", scratch / "0.nii.gz"), options.repeats
        )
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {image!r}\n")
        print("| LoadImage | ms | of .nii.gz |\n|---|---|---|")
        for name, seconds in times.items():
            print(f"| {name} | {seconds * 1e3:.0f} | {seconds / times['.nii.gz']:.2f} |")
        sources = loaders(scratch, volumes, size, samples)
        for source in sources.values():
            epoch(source)  # starts the workers
        runs = {name: lambda source=source: epoch(source) for name, source in sources.items()}
        times = best_in_turns(runs, options.repeats)
        print(f"\n| {WORKERS} workers, {size} | patches a second |\n|---|---|")
        for name, seconds in times.items():
            print(f"| {name} | {volumes * samples / seconds:.1f} |")


if __name__ == "__main__":
    main()
