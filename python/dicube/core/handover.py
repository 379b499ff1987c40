"""Makes the objects of other libraries from volumes and their position, and the reverse.

Each library is imported when it is first needed, and only here, except nibabel. Must not know
dicube files, or how pixels are stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.layout import Layout, Volumes
from dicube.core.nifti_image import nifti_of_volumes
from dicube.core.slice_values import real_values
from dicube.dicom.series.geometry import Grid, space_of_grid
from dicube.dicom.series.precedence import UNITS
from dicube.exceptions import DataConsistencyError, needing
from dicube.nifti import nibabel_image as image_of_volume

VARIABLE = "voxels"  # the name of a DataArray, and of the variable in a Dataset
_EVEN = 1e-3  # mm, of coordinates that count as evenly spaced


class Handed(NamedTuple):
    """A volume of another library.

    Attributes:
        array: (slices, rows, columns[, samples]).
        grid: of its voxels; None if it isn't known.
        problem: why it isn't known.
        slope, intercept: of real values.
    """

    array: NDArray[Any]
    grid: Grid | None
    problem: str = ""
    slope: float = 1.0
    intercept: float = 0.0


# ---------------------------------------------------------------------------------- SimpleITK


def import_simpleitk() -> Any:
    """Return SimpleITK, which is imported when it is first needed."""
    with needing("an image of SimpleITK", "SimpleITK", "sitk"):
        import SimpleITK
    return SimpleITK


def sitk_image(volumes: Volumes) -> Any:
    """Return volumes as an image of SimpleITK; see `Volume.to_sitk`."""
    sitk, layout, array = import_simpleitk(), volumes.layout, volumes.array
    grid, axes = layout.grid, len(layout.array_shape)
    if grid is None:
        raise DataConsistencyError(
            f"SimpleITK needs the position of the voxels, which is unknown: {layout.problem}",
            suggestion="assign a space, or resample slices of uneven distances by regrid()",
        )
    if space_of_grid(grid)[0] is None:
        raise DataConsistencyError(
            "SimpleITK needs axes at right angles, and these are sheared, as by a tilted gantry",
            suggestion="resample by regrid()",
        )
    if axes > 4:
        raise DataConsistencyError(f"expected at most 4 dimensions, found shape {layout.shape}")
    kind = np.float32 if array.dtype.name == "float16" else array.dtype.newbyteorder("=")
    image = sitk.GetImageFromArray(array.astype(kind, copy=False), isVector=array.ndim > axes)
    direction = np.eye(axes)
    direction[:3, :3] = grid.axes.T
    further = axes - 3
    image.SetOrigin([*grid.origin.tolist(), *[0.0] * further])
    image.SetSpacing([*grid.spacing.tolist(), *[layout.seconds or 1.0] * further])
    image.SetDirection(direction.ravel().tolist())
    return image


def from_sitk(image: Any) -> Handed:
    """Return the volume of an image of SimpleITK.

    Raises:
        DataConsistencyError: it is not an image of three dimensions.
    """
    sitk = import_simpleitk()
    if not isinstance(image, sitk.Image) or image.GetDimension() != 3:
        found = f"{image.GetDimension()}" if isinstance(image, sitk.Image) else type(image).__name__
        raise DataConsistencyError(f"expected a SimpleITK.Image of 3 dimensions, found {found}")
    axes = np.reshape(image.GetDirection(), (3, 3)).T
    spacing = np.array(image.GetSpacing())
    grid = Grid(image.GetSize(), np.array(image.GetOrigin()), spacing, axes)
    return Handed(sitk.GetArrayFromImage(image), grid)


# ------------------------------------------------------------------------------------ nibabel


def nibabel_image(volumes: Volumes, parts: CubeParts) -> Any:
    """Return volumes as an image of nibabel; see `Volume.to_nibabel`."""
    return image_of_volume(nifti_of_volumes(volumes, parts, None))


# ------------------------------------------------------------------------------------- xarray


def _import_xarray() -> Any:
    with needing("a DataArray", "xarray", "xarray"):
        import xarray
    return xarray


def data_array(array: Any, layout: Layout, parts: CubeParts, real: bool) -> Any:
    """Return volumes as an xarray.DataArray; see `Volume.to_xarray`.

    Args:
        array: ([…, volume,] slice, row, column[, sample]): of numpy, or one that xarray indexes
            when it needs the values.
        layout: of the volumes.
        parts: of the image.
        real: whether these are real values.
    """
    xarray, grid = _import_xarray(), layout.grid
    further = len(layout.array_shape) - 3
    times = ["t", "u", "v", "w"][:further][::-1]
    is_colour = array.ndim > further + 3
    dims = [*times, "z", "y", "x", *["sample"] * is_colour]
    coords: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    if further and layout.seconds is not None:
        coords["t"] = ("t", np.arange(layout.shape[3]) * layout.seconds, {"units": "s"})
    if grid is None:
        attrs["geometry_problem"] = layout.problem
    else:
        # Axes that run against the patient's have falling coordinates, so that they are LPS.
        mains = np.abs(grid.axes).argmax(axis=1)[:, np.newaxis]
        signs = np.sign(np.take_along_axis(grid.axes, mains, axis=1))
        direction = (grid.axes * signs).T
        firsts = np.linalg.solve(direction, grid.origin)
        for axis, name in enumerate("xyz"):
            steps = np.arange(grid.shape[axis]) * grid.spacing[axis] * signs[axis, 0]
            spacing = float(grid.spacing[axis])  # of selections of one place
            coords[name] = (name, firsts[axis] + steps, {"units": "mm", "spacing": spacing})
        attrs["direction"] = (direction + 0.0).ravel().tolist()  # 0 in place of -0
    if not is_colour:
        attrs |= _attributes_of_values(array.dtype, parts, real)
    modality = None if parts.meta is None else parts.meta.get("Modality")
    if isinstance(modality, str) and modality:
        attrs["Modality"] = modality
    return xarray.DataArray(array, coords, dims, VARIABLE, attrs)


def _attributes_of_values(dtype: np.dtype[Any], parts: CubeParts, real: bool) -> dict[str, Any]:
    if real:
        units = parts.header.Extras.get(UNITS)
        return {} if units is None else {"units": units}
    try:
        values = real_values("float64", dtype, parts.meta, parts.header)
    except DataConsistencyError:  # of several mappings, which don't matter to stored values
        return {}
    # By neutral ones, too, xarray would make floats of labels in Zarr or netCDF files.
    if values.line in (None, (1, 0)):
        return {}
    slope, intercept = values.line
    return {"scale_factor": slope, "add_offset": intercept}


def from_data_array(array: Any) -> Handed:
    """Return the volume of an xarray.DataArray.

    Raises:
        DataConsistencyError: it is not a DataArray of dims z, y, x, and sample for colours.
    """
    xarray = _import_xarray()
    if not isinstance(array, xarray.DataArray) or {*array.dims} - {"sample"} != {"z", "y", "x"}:
        found = array.dims if isinstance(array, xarray.DataArray) else type(array).__name__
        raise DataConsistencyError(
            f"expected an xarray.DataArray of dims z, y, x (and sample for colours), found {found}"
        )
    ordered = array.transpose("z", "y", "x", ...)
    grid, problem = _grid_of_coordinates(ordered)
    attrs = array.attrs
    slope, intercept = attrs.get("scale_factor", 1.0), attrs.get("add_offset", 0.0)
    return Handed(ordered.values, grid, problem, float(slope), float(intercept))


def _grid_of_coordinates(array: Any) -> tuple[Grid | None, str]:
    direction = array.attrs.get("direction")
    if direction is None or any(name not in array.coords for name in "xyz"):
        return None, array.attrs.get("geometry_problem", "no coordinates with attrs['direction']")
    axes = np.reshape(np.asarray(direction, float), (3, 3)).T
    places = [np.asarray(array.coords[name].values, float) for name in "xyz"]
    firsts, steps = np.array([place[0] for place in places]), []
    for name, place in zip("xyz", places, strict=True):
        step = (place[-1] - place[0]) / max(len(place) - 1, 1)
        even = place[0] + step * np.arange(len(place))
        if not np.allclose(place, even, rtol=0, atol=_EVEN):
            return None, f"the coordinates {name} are not evenly spaced"
        steps.append(step or array.coords[name].attrs.get("spacing", 1.0))
    shape = (len(places[0]), len(places[1]), len(places[2]))
    return Grid.from_steps(shape, axes.T @ firsts, axes * np.array(steps)[:, None]), ""


# ---------------------------------------------------------------------------------- notebooks


def niivue_of(
    nifti: bytes,
    name: str,
    *,
    limits: tuple[float, float] | None = None,
    inverted: bool = False,
    height: int = 400,
) -> Any:
    """Return a volume as a widget for notebooks.

    Args:
        nifti: a .nii file.
        name: shown for the volume; ends in .nii.
        limits: the values that are black and white; None for the choice of NiiVue.
        inverted: whether the low value is white.
        height: of the widget, in pixels.

    Returns:
        An `ipyniivue.NiiVue` with three planes and 3D.

    Raises:
        MissingPackageError: ipyniivue is not installed.
    """
    with needing("the view", "ipyniivue", "notebook"):
        import ipyniivue
    low, high = limits or (None, None)
    volume = ipyniivue.Volume(
        data=nifti, name=name, cal_min=low, cal_max=high, colormap="gray", colorbar_visible=False
    )
    volume.colormap_invert = inverted
    # As radiologists look at them: the patient's right and front are at the left.
    view = ipyniivue.NiiVue(
        height=height,
        is_radiological_convention=True,
        sagittal_nose_left=True,
        multiplanar_show_render=ipyniivue.ShowRender.ALWAYS,
    )
    view.set_slice_type(ipyniivue.SliceType.MULTIPLANAR)
    view.load_volumes([volume])
    return view
