"""Libraries in plain Python: pydicom and nibabel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stores.store import Array, Range, Shape, Store, index_of


class Pydicom(Store):
    """The DICOM files, read with pydicom. Their order is given; users must read all to find it."""

    title = "DICOM, pydicom"
    environment = "pydicom"
    packages = ("pydicom",)

    def load_library(self) -> None:
        import pydicom

        self._pydicom = pydicom

    def source(self) -> Any:
        return [self._pydicom.dcmread(file) for file in self.series.files]

    def write(self, datasets: Any, path: str) -> None:
        Path(path).mkdir()
        for number, dataset in enumerate(datasets):
            dataset.save_as(Path(path, f"{number:04}.dcm"))

    def folder(self, path: str) -> list[Any]:
        datasets = [self._pydicom.dcmread(file) for file in self.series.files]
        return [(dataset, dataset.pixel_array) for dataset in datasets]

    def array(self, result: Any) -> Array:
        return np.stack([frame for _, frame in result]) if isinstance(result, list) else result

    def read(self, path: str) -> Array:
        return self._frames(self.series.files)

    def open(self, path: str) -> Shape:
        headers = [
            self._pydicom.dcmread(file, stop_before_pixels=True) for file in self.series.files
        ]
        return (len(headers), headers[0].Rows, headers[0].Columns)

    def slice(self, path: str, index: int) -> Array:
        return self._frames(self.series.files[index : index + 1])[0]

    def patch(self, path: str, *box: Range) -> Array:
        frames, rows, columns = index_of(box)
        return self._frames(self.series.files[frames])[:, rows, columns].copy()

    def _frames(self, files: Sequence[str]) -> Array:
        frames = (self._pydicom.dcmread(file).pixel_array for file in files)
        first = next(frames)
        volume = np.empty((len(files), *first.shape), first.dtype)
        volume[0] = first
        for place, frame in zip(volume[1:], frames, strict=True):
            place[...] = frame
        return volume


class Nibabel(Store):
    environment = "nibabel"
    packages = ("nibabel",)

    def load_library(self) -> None:
        import nibabel

        self._nibabel: Any = nibabel

    def write(self, volume: Array, path: str) -> None:
        # NIfTI's first axis varies fastest, so the transposed view is written without a copy.
        image = self._nibabel.Nifti1Image(volume.T, np.eye(4))
        image.to_filename(path)

    def read(self, path: str) -> Array:
        # Not a memory map, which would not read anything yet.
        return np.asanyarray(self._image(path).dataobj).T

    def open(self, path: str) -> Shape:
        return self._image(path).shape[::-1]

    def slice(self, path: str, index: int) -> Array:
        return np.asarray(self._image(path).dataobj[..., index]).T

    def patch(self, path: str, *box: Range) -> Array:
        return np.asarray(self._image(path).dataobj[index_of(box[::-1])]).T

    def _image(self, path: str) -> Any:
        return self._nibabel.load(path, mmap=False)


class NibabelGzip(Nibabel):
    """Compressed at nibabel's default gzip level, 1. A patch unpacks the stream up to its end."""

    title = ".nii.gz, nibabel"
    extension = ".nii.gz"
    for_patches = True


class NibabelPlain(Nibabel):
    title = ".nii, nibabel"
    extension = ".nii"
