"""Shows a volume in a notebook: makes it a NIfTI file of the size that a browser takes.

Reads a few slices at a time. Must not know widgets, or how frames are stored.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.core.handover import niivue_of
from dicube.core.pictures.drawing import (
    Stack,
    is_in_colour,
    shades_for,
    stack_of,
    values_in_batches,
)
from dicube.core.pictures.thumbnail import Source
from dicube.core.pictures.windowing import in_bytes
from dicube.dicom.series.geometry import Grid
from dicube.exceptions import DataConsistencyError
from dicube.nifti import NiftiHeader, affine_of_grid, nifti_bytes

_SAMPLE_BYTES = 4  # float32, of grey values
_NAME = "volume.nii"  # never of the file or the series: notebooks are shared
_INT16 = np.iinfo(np.int16)


def view_of(source: Source, level: int | None, height: int, most_bytes: int) -> Any:
    """Return an interactive view of a volume; see `Cube.view`."""
    stack = stack_of(source)
    shown, step = _fitting(source, stack, level, most_bytes)
    if step > 1 or (level is None and shown.level > source.level):
        every = f", one of {step} rows, columns and slices" if step > 1 else ""
        warnings.warn(
            f"the view shows level {shown.level} of the volume{every}, because it is larger than "
            f"{most_bytes:,} bytes: see most_bytes",
            stacklevel=3,
        )
    index = stack.frames[len(stack.frames) // 2]
    voxels = _voxels(shown, stack, index, step)
    shades = shades_for(source, index)
    return niivue_of(
        _nifti(voxels, stack, (1 << (shown.level - source.level)) * step, step),
        _NAME,
        limits=None if voxels.ndim == 4 else shades.limits,
        inverted=shades.inverted,
        height=height,
    )


def _fitting(
    source: Source, stack: Stack, level: int | None, most_bytes: int
) -> tuple[Source, int]:
    """Return the source at the level to show, and which rows, columns and slices: each n-th."""

    def size(one: Source, step: int = 1) -> int:
        slices, rows, columns = (
            -(-n // step) for n in (len(stack.frames), one.shape[1], one.shape[2])
        )
        return slices * rows * columns * _SAMPLE_BYTES

    if level is not None:
        shown = source.at_level(level)
        if size(shown) > most_bytes:
            raise DataConsistencyError(
                f"level {level} takes {size(shown):,} bytes, more than most_bytes, {most_bytes:,}",
                suggestion="leave out level, or allow more bytes",
            )
        return shown, 1
    shown, step = source, 1
    while size(shown) > most_bytes and shown.level < source.levels:
        shown = source.at_level(shown.level + 1)
    while size(shown, step) > most_bytes and step < max(shown.shape):
        step *= 2
    return shown, step


def _voxels(source: Source, stack: Stack, index: int, step: int) -> NDArray[Any]:
    """Return real values as float32, or as int16 if all fit; or colours as uint8."""
    in_colour = is_in_colour(source, index)
    frames = list(stack.frames[::step])
    shape = (len(frames), -(-source.shape[1] // step), -(-source.shape[2] // step))
    found = np.empty((*shape, 3) if in_colour else shape, np.uint8 if in_colour else np.float32)
    fits = not in_colour
    for first, block in values_in_batches(source, frames, in_colour):
        part = block[:, ::step, ::step]
        found[first : first + len(part)] = in_bytes(part) if in_colour else part
        fits = fits and bool(
            (part == np.rint(part)).all() and part.min() >= _INT16.min and part.max() <= _INT16.max
        )
    return found.astype(np.int16) if fits else found


def _nifti(voxels: NDArray[Any], stack: Stack, factor: int, step: int) -> bytes:
    """Return a .nii file of voxels, whose spacing in a slice grew by `factor`."""
    slices, rows, columns = voxels.shape[:3]
    shape = columns, rows, slices
    header = NiftiHeader.new(shape).with_samples(voxels.dtype, voxels.ndim == 4)
    factors = np.array([factor, factor, step])
    if stack.grid is None:
        z, y, x = stack.spacing
        header = header.with_spacing(tuple(factors * (x, y, z)))
    else:
        steps = stack.grid.steps * factors[:, None]
        header = header.with_affine(
            affine_of_grid(Grid.from_steps(shape, stack.grid.origin, steps))
        )
    return nifti_bytes(header, voxels)
