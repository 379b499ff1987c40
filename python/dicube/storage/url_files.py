"""Whole files at URLs: copied to this machine to be read, and put there when they are complete.

A file to be written is made in a local folder first, so that a store never shows half of it. Must
not know what is in the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dicube.exceptions import (
    CubeFileAccessError,
    DataConsistencyError,
    DicomCubeError,
    TargetExistsError,
)
from dicube.storage.byte_source import RemoteFile
from dicube.storage.urls import is_chained, is_url, protocols_of, without_credentials
from dicube.whole_files import refusals_named, temporary_folder

_CHUNK = 1 << 24  # bytes fetched at a time
_OF_THIS_MACHINE = ("file", "local")
_READ_ONLY = ("http", "https")  # fsspec would POST the file


@contextmanager
def local_copy(source: Any, storage_options: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """Give a path to read a source from: that of a copy, if it is at a URL, or the source itself.

    Args:
        source: a path, a URL of a file, or anything else.
        storage_options: for the file system of a URL, as in fsspec.

    Raises:
        DicomCubeError: as `RemoteFile` does. Errors within the context name the URL.
    """
    if not is_url(source):
        yield source
        return
    with temporary_folder("dicube-url-") as folder:
        path = os.path.join(folder, _file_name(source))
        with refusals_named(path), open(path, "xb") as copy:
            for part in RemoteFile(source, storage_options).parts(_CHUNK):
                copy.write(part)
        with _naming(path, source):
            yield path


@contextmanager
def written_to(
    target: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
) -> Iterator[str | os.PathLike[str]]:
    """Give a path to write a file to; if the target is a URL, the file is put there at the end.

    After an error in the context, the target stays as it is.

    Args:
        target: a path, or a URL.
        storage_options: for the file system of a URL, as in fsspec.
        overwrite: replace an object at a URL; writing to a path decides that itself.

    Raises:
        DataConsistencyError: a chain of URLs, or one that can't be written; or options for a path.
        TargetExistsError: the object exists, and `overwrite` is False.
        CubeFileAccessError: the store refuses the object.
        MissingPackageError: the URL needs a package that is not installed.
    """
    if not is_url(target):
        if storage_options:
            raise DataConsistencyError("storage_options are for URLs only")
        yield target
        return
    remote = _RemoteTarget(os.fspath(target), storage_options)
    if not overwrite and remote.exists():
        raise TargetExistsError(f"{remote.name} already exists", suggestion="overwrite=True")
    if remote.local_path:
        yield remote.local_path
        return
    with temporary_folder("dicube-url-") as folder:
        path = os.path.join(folder, _file_name(remote.name))
        with _naming(path, remote.name):
            yield path
        remote.put(path)


def exists(target: str | os.PathLike[str]) -> bool:
    """Return whether there is something at a path or a URL.

    Raises:
        DicomCubeError: the URL can't be written; see `written_to`.
    """
    return _RemoteTarget(os.fspath(target)).exists() if is_url(target) else os.path.exists(target)


def size_of(path: str | os.PathLike[str]) -> int:
    """Return the size of a file at a path or a URL in bytes."""
    return _RemoteTarget(os.fspath(path)).stored_size() if is_url(path) else os.path.getsize(path)


class _RemoteTarget(RemoteFile):
    """A file at a URL that is written as a whole.

    Attributes:
        local_path: its path, if the URL is of this machine; else ''.
    """

    action, missing = "write", "cannot write: no such bucket or folder"

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, storage_options)
        protocol = protocols_of(url)[0]
        if is_chained(url):
            raise DataConsistencyError(f"{self.name}: expected one URL to write to, found a chain")
        if protocol in _READ_ONLY:
            raise DataConsistencyError(
                f"{self.name}: can't write to {protocol}; write to a path or to a store such as s3"
            )
        self._system, self._path = self._find_system()
        self.local_path = self._path if protocol in _OF_THIS_MACHINE else ""

    def exists(self) -> bool:
        """Return whether the object exists."""
        return bool(self._called(self._system.exists, self._path))

    def stored_size(self) -> int:
        """Return the size of the object in bytes."""
        return int(self._called(self._system.info, self._path)["size"])

    def put(self, path: str) -> None:
        """Store a complete file."""
        self._called(self._system.put_file, path, self._path)
        size, found = os.path.getsize(path), self.stored_size()
        if found != size:
            raise CubeFileAccessError(
                f"{self.name}: cannot write: sent {size} bytes, the store has {found}"
            )


@contextmanager
def _naming(path: str, url: str) -> Iterator[None]:
    """Let errors name a URL in place of the path on this machine that stands for it."""
    try:
        yield
    except DicomCubeError as error:
        error.message = error.message.replace(path, without_credentials(url))
        error.args = (error.message,)
        raise


def _file_name(url: str) -> str:
    """Return the last part of a URL, whose extension says of what kind the file is."""
    name = without_credentials(url).rpartition("/")[2].replace(os.sep, "_")
    return name if name not in ("", ".", "..") else "file"
