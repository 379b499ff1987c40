"""Read and write .nii and .nii.gz files, with limits on memory and atomically.

Must not know more of a header than size, shape and type.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dicube.codecs.samples import new_array
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
)
from dicube.nifti.header import (
    BytesBehind,
    NiftiHeader,
    NiftiVolume,
    header_of_pair,
    read_header,
)
from dicube.regular_files import open_regular
from dicube.whole_files import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

NIFTI_EXTENSIONS = (".nii", ".nii.gz")
_PAIR = (".hdr", ".img")

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 1  # nibabel's default: higher levels take much more time and save little
# A byte of deflate unpacks to at most 1032 bytes (RFC 1951: 258 for two bits).
_MOST_GROWTH = 1032
_CHUNK = 1 << 24
_PIECE = 1 << 16  # allocated even if nothing is left to read
_MOST_KEPT = 1 << 28  # bytes behind the voxels, or of an .hdr file
_CALLER = 4  # stack level of whoever calls DicomCubeImage


def is_nifti_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is named like a NIfTI file or a file of a pair."""
    name = os.fspath(path)
    return name.lower().endswith(NIFTI_EXTENSIONS) or _pair_of(name) is not None


def read_nifti_file(path: str | os.PathLike[str]) -> NiftiVolume:
    """Read a .nii or .nii.gz file or a pair of .hdr and .img, NIfTI-1 or NIfTI-2.

    Except for pairs, the content decides what it is, not the name. A pair gets the header that it
    would have in a single file.

    Args:
        path: the file; either file of a pair, whose names may end in .gz.

    Returns:
        The header and the stored values, in the file's byte order.

    Raises:
        CubeFileNotFoundError: there is no such file.
        CubeFileAccessError: the operating system refuses to read.
        InvalidCubeFileError: it isn't a NIfTI file, or it is damaged.
        OutOfMemoryError: (an InvalidCubeFileError too) the voxels need more memory than there is.
        DataConsistencyError: the voxels have a type that can't be stored.
        MissingPackageError: nibabel is not installed.

    Warns:
        UserWarning: bytes are left out: those around the voxels of an .img file, or more than
            256 MiB behind the voxels; or the header doesn't say where the voxels begin.
    """
    name = os.fspath(path)
    pair = _pair_of(name)
    with _naming(name):
        if pair is None:
            with open_unpacked(name) as (file, most):
                header = read_header(file.read)
                volume, left_out = _read_voxels(file, most - len(header.data), header)
        else:
            with open_unpacked(pair[0]) as (file, _):
                header, offset = header_of_pair(_read_rest(file)[0])
            with open_unpacked(pair[1]) as (file, most):
                before = len(file.read(offset))
                volume, left_out = _read_voxels(file, most - before, header)
            behind = volume.header.behind
            left_out += before + (0 if behind is None else len(behind.data))
            volume = NiftiVolume(header, volume.voxels)
    if left_out:
        warnings.warn(
            f"{name}: {left_out} bytes around the voxels are left out", stacklevel=_CALLER
        )
    if volume.header.behind is not None and volume.header.uncertain_bytes:
        warnings.warn(
            f"{name}: vox_offset lies within the header, and bytes follow the voxels: voxels are "
            f"taken to begin at byte {len(volume.header.data)}",
            stacklevel=_CALLER,
        )
    return volume


def _read_voxels(file: BinaryIO, most: int, header: NiftiHeader) -> tuple[NiftiVolume, int]:
    """Read voxels and all bytes behind them.

    Args:
        file: at the first voxel.
        most: how many bytes the rest of the file has at most.
        header: of the file.

    Returns:
        The volume, and the number of bytes behind the voxels if there are too many to keep.
    """
    header.check()
    needed, uncertain = header.data_size, header.uncertain_bytes
    data = new_array((needed if needed <= most + uncertain else 0,), np.uint8)
    done = 0
    while done < len(data):
        count = file.readinto(data[done : done + _CHUNK].data)  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    if done < needed and needed - done == uncertain:
        data[uncertain:] = data[:done].copy()
        data[:uncertain] = np.frombuffer(header.data[-uncertain:], np.uint8)
        header, done = NiftiHeader(header.data[:-uncertain]), needed
    if done < needed:
        raise InvalidCubeFileError(
            f"the NIfTI file is truncated: its header declares {needed} bytes of voxels "
            f"({' x '.join(map(str, header.shape))}), the file has at most {done or most}"
        )
    behind, more = _read_rest(file)
    voxels = data.view(header.sample_dtype).reshape(header.voxels_shape)
    if behind and not more:
        digest = hashlib.sha256(data.data).digest()
        return NiftiVolume(header.with_behind(BytesBehind(digest, behind)), voxels), 0
    return NiftiVolume(header, voxels), more and more + len(behind)


def _read_rest(file: BinaryIO) -> tuple[bytes, int]:
    """Read to the end of a file, where gzip has a checksum.

    Returns:
        The first bytes, and the number of those that are too many to keep.
    """
    kept, more = bytearray(), 0
    while part := file.read(_PIECE):
        room = _MOST_KEPT - len(kept)
        kept += part[:room]
        more += len(part[room:])
    return bytes(kept), more


def without_stale_end(header: NiftiHeader, voxels: NDArray[Any]) -> NiftiHeader:
    """Return the header without bytes behind the voxels unless they belong to these voxels.

    Args:
        header: of a file that was read.
        voxels: stored values, in either byte order.

    Warns:
        UserWarning: such bytes are left out.
    """
    if header.behind is None:
        return header
    digest = hashlib.sha256()
    for frame in voxels:
        digest.update(_bytes_of(frame, header))
    if digest.digest() == header.behind.voxels_sha256:
        return header
    warnings.warn(
        f"the voxels have changed: the {len(header.behind.data)} bytes behind them in the NIfTI "
        "file read are left out",
        stacklevel=_CALLER,
    )
    return header.with_behind(None)


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


def nifti_bytes(header: NiftiHeader, voxels: NDArray[Any]) -> bytes:
    """Return the bytes of a .nii file with these voxels, which fit the header."""
    return b"".join(_parts(header, voxels))


def _parts(header: NiftiHeader, voxels: NDArray[Any]) -> Iterator[bytes | memoryview]:
    """Yield a file's bytes frame by frame, so that the volume is not held twice."""
    yield header.data
    for frame in voxels:
        yield _bytes_of(frame, header)
    if header.behind is not None:
        yield header.behind.data


def _bytes_of(frame: NDArray[Any], header: NiftiHeader) -> memoryview:
    """Return the bytes of a frame in the file's byte order."""
    return np.ascontiguousarray(frame, header.sample_dtype).reshape(-1).view(np.uint8).data


def _packed(parts: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yield the bytes of a gzip file without name and time, so that they are reproducible."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


def _pair_of(name: str) -> tuple[str, str] | None:
    """Return the names of the .hdr and the .img file of a pair, given either; None for others."""
    plain, packed = (name[:-3], name[-3:]) if name.lower().endswith(".gz") else (name, "")
    root, extension = os.path.splitext(plain)
    if extension.lower() not in _PAIR:
        return None
    header, image = (part.upper() if extension.isupper() else part for part in _PAIR)
    return root + header + packed, root + image + packed


@contextmanager
def open_unpacked(name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, through gzip if it is packed; give the most bytes it can contain, too.

    Raises:
        CubeFileNotFoundError: there is no such file.
        CubeFileAccessError: it is not a regular file, or the operating system refuses to read.
        InvalidCubeFileError: the gzip file is damaged; reading in the context raises this too.
    """
    try:
        with open_regular(name) as raw:
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
