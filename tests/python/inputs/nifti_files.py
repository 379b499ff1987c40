"""Synthetic NIfTI files for tests: made by nibabel, so that ours is not judged by ours."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

nib = pytest.importorskip("nibabel")

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])

# Columns of the affines' upper left, in mm, x to the right, y to the front, z up.
ORIENTATIONS: dict[str, NDArray[Any]] = {
    "axial": np.diag([-1, -1, 1]),
    "RAS": np.eye(3),
    "LAS": np.diag([-1, 1, 1]),
    "coronal": np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "sagittal, left-handed": np.array([[0, 0, -1], [-1, 0, 0], [0, -1, 0]]),
    "axes swapped": np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
}
_random = np.random.default_rng(1)
ORIENTATIONS["oblique"] = np.linalg.qr(_random.normal(size=(3, 3)))[0]
ORIENTATIONS["oblique, flipped"] = ORIENTATIONS["oblique"] * [1, 1, -1]


def samples(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Noise over the whole range; of floating-point numbers with the odd ones among them."""
    random = np.random.default_rng(len(shape))
    if dtype == "RGB":
        return random.integers(0, 256, (*shape, 3), np.uint8).view(RGB)[..., 0]
    if dtype[0] == "f":
        array = random.normal(0, 1e3, shape).astype(dtype)
        array.flat[:4] = np.nan, np.inf, -np.inf, -0.0
        return array
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def affine_of(name: str = "oblique") -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[name] * [0.75, 1.5, 3.25]
    affine[:3, 3] = -81.5, 40.25, 13
    return affine


def nifti_bytes(
    array: NDArray[Any],
    version: int = 1,
    order: str = "<",
    affine: NDArray[Any] | None = None,
    slope: tuple[float, float] = (np.nan, np.nan),
    edit: Callable[[Any], Any] | None = None,
) -> bytes:
    """A file with something in every field of its header, and extensions."""
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(endianness=order)
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    placed = affine_of() if affine is None else affine
    header.set_sform(placed, 4)
    header.set_qform(placed, 1)
    header["pixdim"][4:] = 2.5, 7, 8, 9
    header.set_xyzt_units("mm", "sec")
    header.set_dim_info(freq=1, phase=0, slice=2)
    header.set_intent("t test", (17.0,), "an intent")
    header["scl_slope"], header["scl_inter"] = slope
    header["cal_min"], header["cal_max"], header["toffset"] = -3.5, 99, 1.25
    header["slice_start"], header["slice_end"], header["slice_code"] = 0, 1, 3
    header["slice_duration"] = 0.125
    header["descrip"], header["aux_file"] = b"what it is", b"other.txt"
    header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a comment"))
    header.extensions.append(nib.nifti1.Nifti1Extension(44, b'{"key": "value"}'))
    if edit is not None:
        edit(header)
    written = io.BytesIO()
    header.write_to(written)
    swapped = array if array.dtype == RGB else array.astype(array.dtype.newbyteorder(order))
    return written.getvalue() + swapped.tobytes(order="F")


def as_dicube(array: NDArray[Any]) -> NDArray[Any]:
    """A NIfTI array in the shape that dicube gives it."""
    x, y, z, *_ = (*array.shape, 1, 1, 1)
    if array.dtype == RGB:
        return np.ascontiguousarray(array.T).view(np.uint8).reshape(-1, y, x, 3)
    return array.T.reshape(-1 if array.ndim > 3 else z, y, x)


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether arrays are equal in shape and every bit, whatever their byte order."""
    native = [array.astype(array.dtype.newbyteorder("=")) for array in (one, other)]
    return one.shape == other.shape and native[0].tobytes() == native[1].tobytes()
