"""dicube of this tree, and the published package."""

from __future__ import annotations

from typing import Any

from stores.store import Array, Range, Shape, Store, index_of


class Dicube(Store):
    """dicube of this tree.

    Its files hold all metadata, the data that restore the DICOM files to the byte, and checksums,
    which reading checks. A write returns only when the data are on the disk.
    """

    environment = "here"
    for_patches = True

    def load_library(self) -> None:
        import dicube

        self._dicube = dicube
        self._image = dicube.DicomCubeImage

    def versions(self) -> str:
        return f"dicube {self._dicube.__version__}"

    def source(self) -> Any:
        image = self._image.from_dicom_folder(self.series.folder)
        if self.series.as_read:
            return image
        volume = self.volume()
        if volume.shape != image.raw_image.shape:
            return self._image(volume)  # metadata of other frames don't fit
        image.raw_image = volume
        return image

    def write(self, image: Any, path: str) -> None:
        # Without verifying, because the other libraries don't verify.
        image.to_file(path, verify=False, num_threads=self.threads)

    def write_checked(self, image: Any, path: str) -> None:
        image.to_file(path, num_threads=self.threads)

    def write_one_thread(self, image: Any, path: str) -> None:
        image.to_file(path, verify=False, num_threads=1)

    def read(self, path: str) -> Array:
        return self._image.from_file(path, num_threads=self.threads).raw_image

    def read_one_thread(self, path: str) -> Array:
        return self._image.from_file(path, num_threads=1).raw_image

    def read_cube(self, path: str) -> Array:
        return self._part(path, ...)

    def real(self, path: str) -> Array:
        image = self._image.from_file(path, num_threads=self.threads, dtype="float32")
        return image.get_fdata("float32")

    def open(self, path: str) -> Shape:
        with self._dicube.open(path) as cube:
            return cube.shape

    def open_metadata(self, path: str) -> Shape:
        with self._dicube.open(path) as cube:
            assert cube.dicom_meta is not None
            assert cube.space is not None or cube.dicom_status is not None
            return cube.shape

    def slice(self, path: str, index: int) -> Array:
        return self._part(path, index)

    def patch(self, path: str, *box: Range) -> Array:
        return self._part(path, index_of(box))

    def patch_held(self, path: str, *box: Range) -> Array:
        return self.held(path)[index_of(box)]

    def opened(self, path: str) -> Any:
        return self._dicube.open(path, num_threads=self.threads)

    def _part(self, path: str, index: Any, level: int = 0) -> Array:
        with self._dicube.open(path, level=level, num_threads=self.threads) as cube:
            return cube[index]


class DicubeSpeed(Dicube):
    title = "dicube .dcbs"
    extension = ".dcbs"

    def write_without_originals(self, image: Any, path: str) -> None:
        image.to_file(path, verify=False, num_threads=self.threads, exact=False)

    def write_pixels(self, image: Any, path: str) -> None:
        self._image(image.raw_image).to_file(path, verify=False, num_threads=self.threads)

    def folder(self, path: str) -> Array:
        return self._image.from_dicom_folder(self.series.folder).raw_image

    def level_1(self, path: str) -> Array:
        return self._part(path, ..., level=1)

    def level_2(self, path: str) -> Array:
        return self._part(path, ..., level=2)

    def level_3(self, path: str) -> Array:
        return self._part(path, ..., level=3)


class DicubeSmallBlocks(Dicube):
    """For patches: smaller code blocks."""

    title = "dicube .dcbs, blocks of 32"
    extension = ".dcbs"

    def write(self, image: Any, path: str) -> None:
        image.to_file(path, verify=False, num_threads=self.threads, block_side=32)


class DicubeArchive(Dicube):
    title = "dicube .dcba"
    extension = ".dcba"


class Published(Store):
    """The published dicube. It always reads all frames, and applies the rescale to pixels."""

    title = "dicube 0.3.0 .dcbs"
    extension = ".dcbs"
    environment = "published"
    packages = ("dicube",)
    rescaled = True

    def load_library(self) -> None:
        import dicube

        dicube.set_num_threads(self.threads)
        self._dicube: Any = dicube

    def source(self) -> Any:
        return self._dicube.load_from_dicom_folder(self.series.folder)

    def write(self, image: Any, path: str) -> None:
        self._dicube.save(image, path)

    def write_pixels(self, image: Any, path: str) -> None:
        pixels = self._dicube.DicomCubeImage(image.raw_image, image.pixel_header)
        self._dicube.save(pixels, path)

    def folder(self, path: str) -> Array:
        return self._dicube.load_from_dicom_folder(self.series.folder).raw_image

    def read(self, path: str) -> Array:
        return self._dicube.load(path).raw_image

    def open(self, path: str) -> Shape:
        meta = self._dicube.load_meta(path)
        rows, columns = (meta.get_shared_value(tag) for tag in ("Rows", "Columns"))
        return (meta.slice_count, rows, columns)

    def slice(self, path: str, index: int) -> Array:
        return self.read(path)[index]

    def patch(self, path: str, *box: Range) -> Array:
        return self.read(path)[index_of(box)].copy()
