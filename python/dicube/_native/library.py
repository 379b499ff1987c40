"""Find libdicube, check its ABI, bind its functions, and raise exceptions for their status codes.

Environment:
    DICUBE_LIBRARY: path of the shared library to load instead of the one beside the package (for
        development).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Any

from dicube._native import header
from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    OutOfMemoryError,
)


def _candidates() -> list[str]:
    """Return the paths where libdicube may be, in the order in which they are tried."""
    override = os.environ.get("DICUBE_LIBRARY")
    if override:
        return [override]
    if sys.platform == "win32":
        names = ["dicube.dll"]
    elif sys.platform == "darwin":
        names = [f"libdicube.{header.ABI_VERSION}.dylib", "libdicube.dylib"]
    else:
        names = [f"libdicube.so.{header.ABI_VERSION}", "libdicube.so"]
    package = Path(__file__).resolve().parents[1]
    return [*(str(package / name) for name in names), names[0]]


def _load() -> tuple[ctypes.CDLL, str]:
    """Load libdicube; return it and its path.

    Raises:
        ImportError: it was not found, or has another ABI version.
    """
    failures = []
    for candidate in _candidates():
        try:
            library = ctypes.CDLL(candidate)
            get_abi_version = library.dicube_abi_version
        except (OSError, AttributeError) as error:
            failures.append(f"{candidate}: {error}")
            continue
        get_abi_version.restype = ctypes.c_uint32
        found = get_abi_version()
        if found != header.ABI_VERSION:
            raise ImportError(
                f"{candidate}: expected libdicube ABI {header.ABI_VERSION}, found {found}"
            )
        return library, candidate
    raise ImportError("libdicube was not found; tried " + "; ".join(failures))


def _bind(library: ctypes.CDLL, path: str) -> dict[str, Any]:
    """Return the functions of libdicube by name, each with its prototype and its error check."""
    functions = {}
    for name, (returned, taken) in header.PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise ImportError(f"{path}: function {name} is missing") from error
        function.restype = returned
        function.argtypes = taken
        if returned is header.STATUS:
            function.errcheck = _check
        functions[name] = function
    return functions


_EXCEPTIONS: dict[int, type[Exception]] = {
    header.ERROR_ARGUMENT: DataConsistencyError,
    header.ERROR_MEMORY: OutOfMemoryError,
    header.ERROR_NOT_FOUND: CubeFileNotFoundError,
    header.ERROR_IO: CubeFileAccessError,
    header.ERROR_FORMAT: InvalidCubeFileError,
    header.ERROR_UNSUPPORTED: InvalidCubeFileError,
    header.ERROR_CHECKSUM: InvalidCubeFileError,
    header.ERROR_CODEC: CodecError,
    header.ERROR_LIMIT: OutOfMemoryError,
    header.ERROR_STATE: DicomCubeError,
    header.ERROR_INTERNAL: DicomCubeError,
    header.ERROR_CANCELLED: DicomCubeError,
}


def _check(status: int, _function: Any, _arguments: Any) -> int:
    """Raise the exception for a status other than OK, with libdicube's message."""
    if status == header.OK:
        return status
    message = functions["dicube_last_error"]().decode("utf-8", "replace")
    error = _EXCEPTIONS.get(status, DicomCubeError)(message)
    if isinstance(error, CubeFileNotFoundError):
        error.errno = errno.ENOENT
    try:
        raise error
    finally:
        del error  # it refers to this frame: a cycle, which would keep the callers' arrays alive


_library, LIBRARY_PATH = _load()
functions = _bind(_library, LIBRARY_PATH)  # by their names in dicube.h


def version() -> str:
    """Return the version of libdicube, which is the version of this package."""
    text: bytes = functions["dicube_version"]()
    return text.decode()


def build_info() -> str:
    """Return versions of libdicube, its compiler and what it links, one "name version" a line."""
    text: bytes = functions["dicube_build_info"]()
    return text.decode()


def checksum(data: int, size: int) -> int:
    """Return the checksum, 64 bits, of the bytes at the address `data`."""
    found: int = functions["dicube_checksum"](data, size)
    return found
