"""Files in a folder that is written to: none replaced unasked, none ever half-written.

Must not know what is in them.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from io import BufferedWriter

from dicube.exceptions import CubeFileAccessError, TargetExistsError
from dicube.threads import Task, Threads

if sys.platform != "win32":
    import fcntl

_MOST_NAMES = 8  # of so many temporary names for each file leftovers are looked for


def make_folder(target: str, overwrite: bool) -> None:
    """Make a folder where it is missing.

    Raises:
        TargetExistsError: it is a file, or a folder that is not empty, without `overwrite`.
        CubeFileAccessError: the operating system refuses.
    """
    if os.path.exists(target) and not os.path.isdir(target):
        raise TargetExistsError(f"{target} is a file, not a folder")
    try:
        os.makedirs(target, exist_ok=True)
        with os.scandir(target) as entries:
            occupied = next(entries, None)
    except OSError as error:
        raise CubeFileAccessError(f"can't write to {target}: {error.strerror}") from error
    if occupied is not None and not overwrite:
        raise TargetExistsError(
            f"{target} is not empty: it holds {occupied.name}",
            suggestion="choose another folder, or overwrite=True",
        )


def write_whole(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place and move it there, so that it is never seen half-written.

    A file that is there is replaced only when the new one is on the disk, where it is when this
    returns, and keeps its permissions; a link stays a link. What a writer of the same file that was
    killed left behind is removed.

    Raises:
        CubeFileAccessError: the operating system refuses, or what is there is no file.
    """
    place = os.path.realpath(path) if os.path.islink(path) else path
    if os.path.lexists(place) and not os.path.isfile(place):
        raise CubeFileAccessError(f"can't write {path}: not a regular file")
    _settle(_written_beside(place, parts), place)
    _flush_folder(os.path.dirname(place))


class WholeFiles:
    """Files that are written one after the other, each as `write_whole` does: with this as context.

    While one is written those before it reach the disk, several at a time: one by one that takes as
    long again, or many times as long as writing. All are there when the context ends.
    """

    _THREADS = 8
    _MOST_WAITING = 16  # files, each of which is open

    def __enter__(self) -> WholeFiles:
        self._threads = Threads(self._THREADS)
        self._waiting: deque[Task[None]] = deque()
        self._folders: dict[str, None] = {}
        return self

    def write(self, path: str, parts: Iterable[bytes | memoryview]) -> None:
        """Write a file.

        Raises:
            CubeFileAccessError: the operating system refuses this one, or one before.
        """
        while len(self._waiting) >= self._MOST_WAITING:
            self._waiting.popleft().result()
        file = _written_beside(path, parts)
        self._waiting.append(self._threads.submit(_settle, file, path))
        self._folders[os.path.dirname(path)] = None

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._threads.__exit__(None, None, None)  # also those that wait are brought to the disk
        for file in self._waiting:
            if kind is None:
                file.result()
        for folder in self._folders:
            _flush_folder(folder)


def _written_beside(path: str, parts: Iterable[bytes | memoryview]) -> BufferedWriter:
    """Return a file, still open, of a temporary name beside its place."""
    try:
        file = _created_beside(path)
        try:
            for part in parts:
                file.write(part)
            file.flush()
        except BaseException:
            _discard(file)
            raise
    except OSError as error:
        raise CubeFileAccessError(f"can't write {path}: {error.strerror}") from error
    return file


def _settle(file: BufferedWriter, path: str) -> None:
    """Bring a file to the disk, and then to its place."""
    try:
        try:
            _copy_permissions(path, file)
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # what is open can't be moved there; elsewhere it is held
            os.replace(file.name, path)
        except BaseException:
            _discard(file)
            raise
        file.close()
    except OSError as error:
        raise CubeFileAccessError(f"can't write {path}: {error.strerror}") from error


def _copy_permissions(path: str, file: BufferedWriter) -> None:
    """Give a file the permissions of the one whose place it takes, where file systems have them."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        facts = os.lstat(path)
        if stat.S_ISREG(facts.st_mode):
            os.fchmod(file.fileno(), stat.S_IMODE(facts.st_mode))


def _discard(file: BufferedWriter) -> None:
    """Remove a temporary file."""
    if sys.platform == "win32":
        file.close()
    os.unlink(file.name)
    with suppress(OSError):  # what could not be written is not wanted
        file.close()


def _flush_folder(folder: str) -> None:
    """Let names in a folder survive a loss of power; some file systems can't, or need not."""
    with suppress(OSError):
        descriptor = os.open(folder or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _created_beside(path: str) -> BufferedWriter:
    """Return a new file of a temporary name, which nobody else removes while it is open.

    Named as libdicube names its own; not after the file, whose name may be as long as one can be.
    """
    folder, target = os.path.split(path)
    keys = [
        blake2b(os.fsencode(target), digest_size=6, salt=bytes([number])).hexdigest()
        for number in range(_MOST_NAMES)
    ]
    names = [os.path.join(folder, f".dicube-{key}") for key in keys]
    for name in names:
        _remove_unless_held(name)
    while True:
        name = names.pop(0) if names else os.path.join(folder, f".dicube-{secrets.token_hex(6)}")
        try:
            file = open(name, "xb")  # noqa: SIM115
        except FileExistsError:
            continue
        if _holds(file.fileno(), name):
            return file
        file.close()


def _remove_unless_held(name: str) -> None:
    """Remove a file that a writer left behind; not one whose writer lives, which has it locked."""
    if sys.platform == "win32":
        with suppress(OSError):  # what is open can't be removed
            os.unlink(name)
        return
    with suppress(OSError), open(name, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file.fileno(), name):
            os.unlink(name)


def _holds(descriptor: int, name: str) -> bool:
    """Lock a new file; return False if somebody was faster and removes it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # where files can't be locked nobody removes any
        return True
    return _is_at(descriptor, name)


def _is_at(descriptor: int, name: str) -> bool:
    """Return whether a name still is that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except FileNotFoundError:
        return False
