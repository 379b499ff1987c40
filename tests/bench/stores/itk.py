"""Formats read or written with SimpleITK: DICOM files, NIfTI and NRRD.

Each operation returns a SimpleITK image. An array view of its samples costs nothing, as long as the
image is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stores.store import Array, Range, Shape, Store


class SimpleItk(Store):
    environment = "SimpleITK"
    packages = ("SimpleITK",)

    def load_library(self) -> None:
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(self.threads)
        self._itk: Any = SimpleITK

    def array(self, result: Any) -> Array:
        return self._itk.GetArrayViewFromImage(result)

    def _header(self, path: str) -> Any:
        """Return a reader that has read the header of a file."""
        reader = self._itk.ImageFileReader()
        reader.SetFileName(path)
        reader.ReadImageInformation()
        return reader

    def _slice(self, path: str, index: int) -> Any:
        """Return a slice of a file."""
        reader = self._header(path)
        columns, rows, _ = reader.GetSize()
        reader.SetExtractIndex((0, 0, index))
        reader.SetExtractSize((columns, rows, 1))
        return reader.Execute()[:, :, 0]


class SimpleItkDicom(SimpleItk):
    """The DICOM files, read with SimpleITK, which returns real values. Their order is given."""

    title = "DICOM, SimpleITK"
    rescaled = True

    def read(self, path: str) -> Any:
        return self._frames(self.series.files)

    def open(self, path: str) -> Shape:
        sizes = [self._header(file).GetSize() for file in self.series.files]
        return (len(sizes), sizes[0][1], sizes[0][0])

    def slice(self, path: str, index: int) -> Any:
        return self._slice(self.series.files[index], 0)

    def patch(self, path: str, *box: Range) -> Any:
        frames, rows, columns = (slice(*bounds) for bounds in box)
        return self._frames(self.series.files[frames])[columns, rows, :]

    def _frames(self, files: Sequence[str]) -> Any:
        reader = self._itk.ImageSeriesReader()
        reader.SetFileNames(files)
        return reader.Execute()


class SimpleItkFile(SimpleItk):
    """A file compressed at SimpleITK's default level. Reading a part returns only that part."""

    def source(self) -> Any:
        return self._itk.GetImageFromArray(self.volume())

    def write(self, image: Any, path: str) -> None:
        self._itk.WriteImage(image, path, useCompression=True)

    def read(self, path: str) -> Any:
        return self._itk.ReadImage(path)

    def open(self, path: str) -> Shape:
        return self._header(path).GetSize()[::-1]

    def slice(self, path: str, index: int) -> Any:
        return self._slice(path, index)

    def patch(self, path: str, *box: Range) -> Any:
        reader = self._header(path)
        reader.SetExtractIndex([start for start, _ in box[::-1]])
        reader.SetExtractSize([stop - start for start, stop in box[::-1]])
        return reader.Execute()


class SimpleItkNifti(SimpleItkFile):
    title = ".nii.gz, SimpleITK"
    extension = ".nii.gz"


class SimpleItkNrrd(SimpleItkFile):
    title = ".nrrd, SimpleITK"
    extension = ".nrrd"
