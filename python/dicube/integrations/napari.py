"""The reader for napari, which finds it by the manifest `napari.yaml` beside this module.

    napari head.dcbs

napari makes layers of the tuples returned, so that this module needs none of its names. Must not
know how slices form volumes, or how frames are decoded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube import Cube
from dicube.core.cube import open as open_cube
from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.layout import Layout
from dicube.core.lazy_volumes import LazyVolumes, lazy_volumes
from dicube.core.pictures.drawing import shades_for
from dicube.core.pictures.patient_names import file_name, may_name, names_of_patient
from dicube.core.pictures.windowing import shown_range
from dicube.core.slice_values import stored_are_real
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.identifiers import identifiers
from dicube.dicom.series.colours import has_palette
from dicube.dicom.series.geometry import Grid, voxel_size
from dicube.dicom.series.precedence import UNITS
from dicube.exceptions import DataConsistencyError
from dicube.storage.formats import is_dicube_name
from dicube.storage.urls import name_of_source

LayerData = tuple[Any, dict[str, Any], str]
"""The data of a layer, its properties and its type."""

_SMALLEST = 64  # rows or columns of a level that is worth its place
_ALONG_AXES = 1e-6  # of direction cosines


def get_reader(path: Any) -> Callable[[Any], list[LayerData]] | None:
    """Return the function that reads a path for napari; None if it isn't that of a dicube file.

    Args:
        path: a path or a URL, or a list of them, each of which becomes a layer.
    """
    paths = path if isinstance(path, list) else [path]
    is_ours = paths and all(is_dicube_name(name_of_source(one)) for one in paths)
    return read if is_ours else None


def read(path: Any) -> list[LayerData]:
    """Open files as layers of napari, which decode what is shown.

    The values are real ones, such as Hounsfield units; labels keep their integers and colours are
    RGB. Files with resolution levels (`.dcbs`) are multiscale. The axes are (z, y, x) in mm; a
    leading t counts the volumes of a series.

    Slices that are nearest to axial are at their place in the patient (LPS), by `scale` and
    `translate`, or by `affine` if they are oblique or sheared. napari shows no slices of volumes
    whose axes another affine swaps, so that sagittal and coronal ones keep their own axes. In any
    case, `metadata["affine_lps"]` gives the place of voxels (z, y, x, 1), as (z, y, x, 1) in mm.

    Args:
        path: a path or a URL, or a list of them.

    Raises:
        DicomCubeError: see `dicube.open`; or the volumes of the series differ in shape or position.

    Warns:
        UserWarning: see `Cube.to_xarray`.
    """
    paths = path if isinstance(path, list) else [path]
    return [_layer(open_cube(one), os.fspath(one)) for one in paths]


class LayerArray:
    """Volumes as napari indexes them: by integers and slices of the first axes."""

    def __init__(self, volumes: LazyVolumes) -> None:
        self._volumes = volumes
        self.shape, self.dtype, self.ndim = volumes.shape, volumes.dtype, volumes.ndim
        self.size = math.prod(volumes.shape)

    def __getitem__(self, index: Any) -> Any:
        key = list(index) if isinstance(index, tuple) else [index]
        missing = [slice(None)] * (self.ndim - len(key) + (Ellipsis in key))
        place = key.index(Ellipsis) if Ellipsis in key else len(key)
        return self._volumes.read([*key[:place], *missing, *key[place + 1 :]])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the volumes are decoded into a new array: copy=False can't be met")
        volume: NDArray[Any] = self[...]
        return volume if dtype is None else volume.astype(dtype, copy=False)


def _layer(cube: Cube, path: str) -> LayerData:
    """Return the layer of a cube."""
    volumes, layout, parts = lazy_volumes(cube, real=_are_real_wanted(cube))
    is_colour = cube.ndim == 4 or has_palette(parts.meta)
    properties = {
        "name": _name(path, parts.meta),
        "metadata": _metadata(layout, parts),
        "rgb": is_colour,
        **_place(layout, parts.meta, volumes.ndim - is_colour - 3),
    }
    levels = [volumes]
    # Averages of indices of a palette have no colour.
    if layout.tiles is None and not has_palette(parts.meta):
        levels += [volumes.at_level(level) for level in range(1, _levels(cube) + 1)]
    if not is_colour:
        shades = shades_for(cube, len(cube) // 2)
        properties["colormap"] = "gray_r" if shades.inverted else "gray"
        low, high = shades.limits or _range(levels[-1])
        if low == high:  # which napari refuses
            high = max(low + 1, float(np.nextafter(low, np.inf)))
        properties["contrast_limits"] = low, high
    arrays = [LayerArray(level) for level in levels]
    properties["multiscale"] = len(arrays) > 1
    return arrays if len(arrays) > 1 else arrays[0], properties, "image"


def _are_real_wanted(cube: Cube) -> bool:
    """Return whether real values differ from the stored ones and are known."""
    try:
        return not stored_are_real(cube.dtype, cube.dicom_meta, cube.pixel_header)
    except DataConsistencyError:  # several mappings, none of which is chosen
        return False


def _levels(cube: Cube) -> int:
    """Return the highest level to show."""
    longest = max(cube.shape[1:3])
    return min(cube.levels, max(0, math.ceil(math.log2(longest / _SMALLEST))))


def _range(volumes: LazyVolumes) -> tuple[float, float]:
    """Return the values to show as black and white by those of the middle slice."""
    middle = [size // 2 for size in volumes.shape[:-2]]
    return shown_range(volumes.read([*middle, slice(None), slice(None)]).astype(np.float64))


def _name(path: str, meta: DicomMeta | None) -> str:
    """Return the name of the file, or else of the series, unless it may name the patient."""
    patient = names_of_patient(meta)
    series = None if meta is None else meta.get_of_slice("SeriesDescription", 0)
    names = [os.path.splitext(file_name(path))[0], series]
    return next(
        (str(name) for name in names if name and not may_name(str(name), patient)), "volume"
    )


def _metadata(layout: Layout, parts: CubeParts) -> dict[str, Any]:
    """Return facts of the series, without dates, and without those that may name the patient."""
    meta, patient = parts.meta, names_of_patient(parts.meta)
    found: dict[str, Any] = {}
    if meta is not None:
        facts = identifiers(lambda word: meta.get_of_slice(word, 0), with_patient=False)
        found = {
            keyword: fact
            for keyword, fact in facts.items()
            if keyword.endswith("UID") or not may_name(str(fact), patient)
        }
    if UNITS in parts.header.Extras:
        found["units"] = parts.header.Extras[UNITS]
    if layout.grid is None:
        return {**found, "geometry_problem": layout.problem}
    return {**found, "affine_lps": _affine(layout.grid)}


def _place(layout: Layout, meta: DicomMeta | None, further: int) -> dict[str, Any]:
    """Return where napari shows the axes of the layer, and their names and units.

    Args:
        layout: of the volumes.
        meta: of all slices.
        further: the number of axes before z.
    """
    labels = (*("w", "v", "u", "t")[4 - further :], "z", "y", "x")
    lengths, units = np.ones(len(labels)), ["pixel"] * further + ["mm"] * 3
    if further and layout.seconds:
        lengths[further - 1], units[further - 1] = layout.seconds, "s"
    found: dict[str, Any] = {"axis_labels": labels, "units": units}
    grid = layout.grid
    if grid is None:
        sizes = (1, 1, 1) if meta is None else voxel_size(meta)[0][::-1]
        lengths[further:] = [size or 1 for size in sizes]  # napari refuses 0
        return {**found, "scale": lengths}
    affine = np.diag([*lengths, 1])
    affine[further:, further:] = _affine(grid)
    steps = np.diagonal(affine)[:-1]
    if np.allclose(affine[:-1, :-1], np.diag(steps), rtol=0, atol=_ALONG_AXES * grid.spacing.max()):
        return {**found, "scale": steps, "translate": affine[:-1, -1]}
    if (np.abs(grid.axes).argmax(axis=1) == (0, 1, 2)).all():
        return {**found, "affine": affine}
    lengths[further:] = grid.spacing[::-1]
    return {**found, "scale": lengths}


def _affine(grid: Grid) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from voxel (z, y, x) to LPS in mm, in the order (z, y, x)."""
    order = [2, 1, 0, 3]
    return grid.affine[np.ix_(order, order)]
