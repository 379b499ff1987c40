"""Read and write .nii and .nii.gz files, with limits on memory and atomically.

Must not know more of a header than size, shape and type.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
)
from dicube.nifti.header import NiftiHeader, NiftiVolume, read_header
from dicube.whole_files import write_whole

NIFTI_EXTENSIONS = (".nii", ".nii.gz")

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 1  # nibabel's default: higher levels take much more time and save little
# A byte of deflate unpacks to at most 1032 bytes (RFC 1951: 258 for two bits).
_MOST_GROWTH = 1032
_CHUNK = 1 << 24


def read_nifti_file(path: str | os.PathLike[str]) -> NiftiVolume:
    """Read a .nii or .nii.gz file, NIfTI-1 or NIfTI-2; the content decides which.

    Returns:
        The header and the stored values, in the file's byte order.

    Raises:
        CubeFileNotFoundError: there is no such file.
        CubeFileAccessError: the operating system refuses to read.
        InvalidCubeFileError: it isn't a NIfTI file, or it is damaged.
        DataConsistencyError: the voxels have a type that can't be stored.
        MissingPackageError: nibabel is not installed.
    """
    name = os.fspath(path)
    with _naming(name), _opened(name) as (file, most):
        header = read_header(file.read)
        header.check()
        needed = header.data_size
        if needed > most - len(header.data):
            raise InvalidCubeFileError(
                f"the NIfTI file is truncated: its header declares {needed} bytes of voxels "
                f"({' x '.join(map(str, header.shape))}), the file has at most {most} bytes"
            )
        data = np.empty(needed, np.uint8)
        done = 0
        while done < needed:
            count = file.readinto(data[done : done + _CHUNK].data)  # type: ignore[attr-defined]
            if not count:
                raise InvalidCubeFileError(
                    f"the NIfTI file is truncated: expected {needed} bytes of voxels, found {done}"
                )
            done += count
        file.read(1)  # compares the checksum at the end of a gzip file
    return NiftiVolume(header, data.view(header.sample_dtype).reshape(header.voxels_shape))


def write_nifti_file(
    path: str | os.PathLike[str], header: NiftiHeader, voxels: NDArray[Any]
) -> None:
    """Write a file; replace an existing one when the new file is complete.

    Args:
        path: ends in .nii or .nii.gz.
        header: of these voxels.
        voxels: stored values with the header's shape and type, in either byte order.

    Raises:
        DataConsistencyError: the name ends differently, or the voxels don't match the header.
        CubeFileNotFoundError: its folder does not exist.
        CubeFileAccessError: the operating system refuses to write.
    """
    name = os.fspath(path)
    if not name.lower().endswith(NIFTI_EXTENSIONS):
        raise DataConsistencyError(
            f"{name}: expected a name ending in {' or '.join(NIFTI_EXTENSIONS)}"
        )
    dtype = header.sample_dtype
    if voxels.shape != header.voxels_shape or voxels.dtype.newbyteorder("=") != dtype.newbyteorder(
        "="
    ):
        raise DataConsistencyError(
            f"expected voxels of shape {header.voxels_shape} and dtype {dtype}, as the NIfTI "
            f"header has them, found {voxels.shape} and {voxels.dtype}"
        )
    parts = _parts(header, voxels)
    write_whole(name, _packed(parts) if name.lower().endswith(".gz") else parts)


def _parts(header: NiftiHeader, voxels: NDArray[Any]) -> Iterator[bytes | memoryview]:
    """Yield a file's bytes frame by frame, so that the volume is not held twice."""
    yield header.data
    for frame in voxels:
        part = np.ascontiguousarray(frame, header.sample_dtype)
        yield part.reshape(-1).view(np.uint8).data


def _packed(parts: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yield the bytes of a gzip file without name and time, so that they are reproducible."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


@contextmanager
def _opened(name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, through gzip if it is packed; give the most bytes it can contain, too."""
    try:
        with open(name, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not packed:
                yield raw, size
                return
            with gzip.GzipFile(fileobj=raw) as file:
                yield file, size * _MOST_GROWTH  # type: ignore[misc]
    except FileNotFoundError as error:
        raise CubeFileNotFoundError(f"{name}: no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidCubeFileError(f"the gzip file is damaged: {error}") from error
    except OSError as error:
        if isinstance(error, InvalidCubeFileError):
            raise
        raise CubeFileAccessError(f"can't read {name}: {error.strerror}") from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Add the file's name to errors."""
    try:
        yield
    except (InvalidCubeFileError, DataConsistencyError) as error:
        if name in error.message:
            raise
        raise type(error)(f"{name}: {error.message}", suggestion=error.suggestion) from error
