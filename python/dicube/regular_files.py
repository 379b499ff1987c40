"""Open regular files for reading; refuse named pipes, sockets and devices.

Opening a named pipe waits until another process writes to it, and a device may never end. Files
that libdicube opens are checked in cpp/src/file.cpp. Must not know what is in the files.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, FileIO

from dicube.exceptions import CubeFileAccessError

_WITHOUT_WAITING: int = getattr(os, "O_NONBLOCK", 0)  # Windows lacks it, and such files


def encoded_path(path: str | os.PathLike[str]) -> bytes:
    """Return a path as the operating system takes it.

    Raises:
        CubeFileAccessError: it has a null byte, or characters that can't be encoded.
    """
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise CubeFileAccessError(f"{os.fspath(path)!a}: no file can have this name")
    return encoded


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for many small reads.

    Raises:
        OSError: the operating system refuses, or the path leads to another kind of file.
    """
    encoded_path(path)
    return open(path, "rb", opener=_opened)


def open_unbuffered(path: str | os.PathLike[str]) -> FileIO:
    """Open a regular file as `open_regular` does, for a few large reads."""
    encoded_path(path)
    return open(path, "rb", buffering=0, opener=_opened)


def _opened(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _WITHOUT_WAITING)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # Python refuses a folder itself
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", path)
