"""Write files in a folder atomically: each replaces its target at once, or leaves it as it was.

Follows the scheme that cpp/src/file.h states for the files libdicube writes. Must not know what is
in the files.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DicomCubeError,
    TargetExistsError,
)
from dicube.threads import Task, Threads

if sys.platform != "win32":
    import fcntl

Parts = Iterable[bytes | memoryview]

_NAMES_PER_TARGET = 8
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def make_folder(target: str, overwrite: bool) -> None:
    """Make a folder where it is missing.

    Raises:
        TargetExistsError: it is a file, or a folder that is not empty, without `overwrite`.
        CubeFileAccessError: the operating system refuses.
    """
    if os.path.exists(target) and not os.path.isdir(target):
        raise TargetExistsError(f"{target} is a file, not a folder")
    with refusals_named(target):
        os.makedirs(target, exist_ok=True)
        with os.scandir(target) as entries:
            occupied = next(entries, None)
    if occupied is not None and not overwrite:
        raise TargetExistsError(
            f"{target} is not empty: it holds {occupied.name}",
            suggestion="choose another folder, or overwrite=True",
        )


def write_whole(path: str, parts: Parts) -> None:
    """Write a file; it is on the disk when this returns.

    Raises:
        CubeFileNotFoundError: its folder does not exist.
        CubeFileAccessError: the operating system refuses, or the target is not a regular file.
    """
    file = _Replacement(path)
    file.write(parts)
    file.settle()
    _flush_folder(file.folder)


class WholeFiles:
    """A context that writes many files; all are on the disk when it ends.

    Files are flushed while the next ones are written, several at a time: to wait for the disk after
    each file takes twice as long, on some disks many times as long.
    """

    _THREADS = 8
    _MOST_WAITING = 16  # each of them is an open file

    def __enter__(self) -> WholeFiles:
        self._threads = Threads(self._THREADS)
        self._waiting: deque[Task[None]] = deque()
        self._folders: dict[str, None] = {}
        return self

    def write(self, path: str, parts: Parts) -> None:
        """Write a file, as `write_whole` does.

        Raises:
            CubeFileAccessError: the operating system refuses this file or an earlier one, or the
                target is not a regular file.
        """
        while len(self._waiting) >= self._MOST_WAITING:
            self._waiting.popleft().result()
        file = _Replacement(path)
        file.write(parts)
        self._waiting.append(self._threads.submit(file.settle))
        self._folders[file.folder] = None

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._threads.__exit__(None, None, None)  # after an error, too, complete files are kept
        for file in self._waiting:
            if kind is None:
                file.result()
        for folder in self._folders:
            _flush_folder(folder)


@contextmanager
def refusals_named(path: str) -> Iterator[None]:
    """Raise what the operating system refuses to write as an exception of dicube, with the path."""
    try:
        yield
    except DicomCubeError:
        raise
    except FileNotFoundError as error:
        raise CubeFileNotFoundError(f"{path}: cannot write: {error.strerror}") from error
    except OSError as error:
        raise CubeFileAccessError(f"{path}: cannot write: {error.strerror}") from error


class _Replacement:
    """A temporary file that takes its target's place in the end.

    Args:
        path: the target.

    Attributes:
        folder: where both are.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with refusals_named(path):
            self._target = _resolved(path)
            self.folder = os.path.dirname(self._target)
            self._file = _created_for(self._target)
            self._copy_permissions()

    def write(self, parts: Parts) -> None:
        """Write all bytes."""
        with refusals_named(self._path), self._removed_on_error():
            for part in parts:
                self._file.write(part)
            self._file.flush()

    def settle(self) -> None:
        """Flush the file to the disk and rename it to its target."""
        with refusals_named(self._path), self._removed_on_error():
            self._copy_permissions()
            _flush(self._file.fileno())
            if sys.platform == "win32":
                self._file.close()  # an open file can't be renamed there
            os.replace(self._file.name, self._target)
        self._file.close()

    def _copy_permissions(self) -> None:
        """Take the permissions of the file that is replaced, if its file system has them."""
        if sys.platform == "win32":
            return
        with suppress(OSError):
            mode = os.stat(self._target).st_mode
            os.fchmod(self._file.fileno(), stat.S_IMODE(mode))

    @contextmanager
    def _removed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if sys.platform == "win32":
                self._file.close()
            os.unlink(self._file.name)
            with suppress(OSError):  # closing writes what is buffered, which nobody needs now
                self._file.close()
            raise


def _resolved(path: str) -> str:
    """Return the file that a path leads to through links, which need not exist."""
    target = os.path.realpath(path) if os.path.islink(path) else path
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode):
        raise CubeFileAccessError(f"{path}: cannot write: not a regular file")
    return target


def _created_for(target: str) -> BufferedWriter:
    """Create the temporary file of a target and lock it; remove what killed writers left."""
    folder, name = os.path.split(target)
    paths = [os.path.join(folder, temporary) for temporary in _temporary_names(name)]
    for path in paths:
        _remove_unless_locked(path)
    while True:
        path = paths.pop(0) if paths else os.path.join(folder, f".dicube-{secrets.token_hex(6)}")
        try:
            file = open(path, "xb")  # noqa: SIM115
        except FileExistsError:
            continue
        if _lock(file.fileno(), path):
            return file
        file.close()


def _temporary_names(target: str) -> list[str]:
    """Return the temporary names of a target; short, since its own may be as long as can be."""
    bits = _FNV_OFFSET
    for byte in os.fsencode(target):
        bits = (bits ^ byte) * _FNV_PRIME % (1 << 64)
    hashes = [(bits ^ number) * _FNV_PRIME % (1 << 48) for number in range(_NAMES_PER_TARGET)]
    return [f".dicube-{digits:012x}" for digits in hashes]


def _remove_unless_locked(path: str) -> None:
    """Remove a file that a killed writer left behind, unless its lock shows that one is alive."""
    with suppress(OSError):
        if sys.platform == "win32":
            os.unlink(path)  # which fails while a writer has the file open
            return
        flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, os.O_RDWR | flags)  # NFS locks only what may be written
        except PermissionError:
            descriptor = os.open(path, os.O_RDONLY | flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                os.unlink(path)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, path: str) -> bool:
    """Lock a new file; return False if another writer was faster and removes it as a leftover."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks: there nobody removes leftovers
        return True
    return _is_at(descriptor, path)


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _flush(descriptor: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves the data in the disk's own cache
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _flush_folder(folder: str) -> None:
    """Let a rename survive a loss of power; some file systems can't flush folders."""
    with suppress(OSError):
        descriptor = os.open(folder or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
