"""Lets nibabel load dicube files. Importing this module registers them.

    import dicube.integrations.nibabel

    nib.load("a.dcbs").dataobj[..., 30]  # decodes one slice

Must not know how slices form volumes, or what a NIfTI header of them has in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube import open as open_cube
from dicube.core.lazy_volumes import LazyVolumes, lazy_volumes
from dicube.core.nifti_image import nifti_header
from dicube.exceptions import needing
from dicube.integrations.as_nifti import has_other_real_values
from dicube.nifti import nibabel_header, of_rgb
from dicube.nifti.header import RGB
from dicube.nifti.nibabel_door import refusing
from dicube.storage.formats import EXTENSIONS, is_dicube_name
from dicube.storage.pixel_utils import check_floats_hold
from dicube.storage.urls import name_of_source

with needing("nibabel's image of a dicube file", "nibabel", "nifti"):
    from nibabel import imageclasses
    from nibabel.fileholders import FileHolder
    from nibabel.fileslice import canonical_slicers
    from nibabel.nifti1 import Nifti1Header
    from nibabel.spatialimages import SpatialImage


class DicubeImage(SpatialImage):
    """A dicube file as an image of nibabel, which decodes what is taken of `dataobj`.

    Shape, affine and header are those of the NIfTI file of the same series: (x, y, z), or
    (x, y, z, t) if it has several volumes. Values are real ones, such as Hounsfield units: float64
    if the stored values are float64 or integers of more than 16 bits, else float32. If the stored
    values are the real ones, as in a file of labels, they keep their type. `nib.save` writes it in
    nibabel's formats.
    """

    header_class = Nifti1Header
    valid_exts = EXTENSIONS
    files_types = tuple(("image", extension) for extension in EXTENSIONS)
    rw = False

    def __init__(
        self,
        dataobj: Any,
        affine: Any,
        header: Any = None,
        extra: Any = None,
        file_map: Any = None,
    ) -> None:
        if isinstance(header, Nifti1Header):
            self.header_class = type(header)  # NIfTI-2 for long sides
        super().__init__(dataobj, affine, header, extra, file_map)
        made: Any = self._header  # as in nibabel's own images, these are of a file only
        made.set_data_offset(0)
        made.set_slope_inter(None, None)

    @classmethod
    def path_maybe_image(
        cls, filename: Any, sniff: Any = None, sniff_max: int = 1024
    ) -> tuple[bool, Any]:
        """Return whether a name is that of a dicube file, and what other classes sniffed."""
        return is_dicube_name(filename), sniff

    @classmethod
    def from_filename(
        cls, filename: Any, *, mmap: Any = None, keep_file_open: Any = None, **options: Any
    ) -> DicubeImage:
        """Open a file; `nib.load` calls this.

        Args:
            filename: see `dicube.open`. `nib.load` itself takes local paths only.
            mmap, keep_file_open: of `nib.load`; they have no effect.
            options: for `dicube.open`.

        Raises:
            DicomCubeError: see `dicube.open`; or the volumes of the series differ in shape or
                position.

        Warns:
            UserWarning: the position of the voxels is unknown; the affine then has the voxel sizes
                only. See also `DicomCubeImage.to_nifti`.
        """
        cube = open_cube(filename, **options)
        array, layout, parts = lazy_volumes(cube, has_other_real_values(cube))
        is_colour = array.ndim > len(layout.array_shape)
        proxy = _Voxels(array, layout.shape, is_colour)
        header = nifti_header(layout, proxy.sample_dtype, is_colour, parts)
        holder = FileHolder(name_of_source(filename) or None)
        with refusing():
            return cls(proxy, header.affine, nibabel_header(header), file_map={"image": holder})

    load = from_filename

    def to_file_map(self, file_map: Any = None, **_options: Any) -> None:
        """Raise an error: dicube files hold more than nibabel knows.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "nibabel doesn't write dicube files: use DicomCubeImage.from_nibabel(image).to_file"
        )

    def _affine2header(self) -> None:
        """Put a changed affine, as of a selection by `slicer`, into the header."""
        super()._affine2header()
        changed: Any = self._header
        changed.set_sform(self._affine, code="aligned")
        changed.set_qform(self._affine, code="unknown")


class _Voxels:
    """The voxels as nibabel's array proxies have them: (x, y, z[, t]), decoded when taken."""

    is_proxy = True

    def __init__(self, array: LazyVolumes, shape: tuple[int, ...], is_colour: bool) -> None:
        self._array, self._is_colour = array, is_colour
        self.shape, self.ndim = shape, len(shape)
        is_half = array.dtype.name == "float16"  # which NIfTI lacks
        self.sample_dtype = np.dtype(np.float32) if is_half else array.dtype
        self.dtype = RGB if is_colour else self.sample_dtype

    def __getitem__(self, slicer: Any) -> Any:
        """Return what nibabel's own proxies return for integers, slices, None and Ellipsis."""
        return self._taken(slicer, None)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("voxels are decoded, so an array of them is always a copy")
        found: NDArray[Any] = self._taken(..., dtype)
        return found

    def _taken(self, slicer: Any, dtype: DTypeLike | None) -> Any:
        items = canonical_slicers(slicer, self.shape)
        if any(_is_number(item) and item < 0 for item in items):  # which nibabel lets pass
            raise IndexError(f"index {slicer} is out of bounds for shape {self.shape}")
        key = [item for item in items if item is not None]
        key += [0] * (3 - len(key))
        is_float = dtype is not None and np.dtype(dtype).char in "efd"
        samples = [slice(None)] * self._is_colour
        found = self._array.read([*key[::-1], *samples], dtype if is_float else None)
        if self._is_colour:
            found = of_rgb(found)
        elif is_float:
            check_floats_hold(found)
        kept = [None if item is None else slice(None) for item in items if not _is_number(item)]
        voxels = found.T[tuple(kept)]
        return voxels.astype(dtype or self.dtype, copy=False)


def _is_number(item: Any) -> bool:
    return item is not None and not isinstance(item, slice)


# In nibabel's loop, all other classes come first, and want other extensions.
imageclasses.all_image_classes.append(DicubeImage)
imageclasses.KNOWN_SPATIAL_FIRST += (DicubeImage,)
