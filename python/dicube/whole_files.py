"""Write files in a folder atomically: each replaces its target at once, or leaves it as it was.

Follows the scheme that cpp/src/file.h states for the files libdicube writes. Must not know what is
in the files.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import signal
import stat
import sys
import tempfile
import threading
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from types import FrameType

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DicomCubeError,
    TargetExistsError,
)
from dicube.regular_files import encoded_path
from dicube.threads import Task, Threads

if sys.platform != "win32":
    import fcntl

Parts = Iterable[bytes | memoryview]

_ENDING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]
_PREFIX, _DIGITS = ".dicube-", 12
_NAMES_PER_TARGET = 8
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
# Devices, of any extension; characters with a meaning; and ends that are cut off.
_NOT_ON_WINDOWS = re.compile(
    r'^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)|[\0-\x1f<>:"\\|?*]|[. ]$', re.I
)
_NEW_FILE = 0o666  # before the umask
# The mark of a temporary file: systems ignore this bit of a file, and no file of a user has it.
_TEMPORARY = stat.S_ISVTX


def make_folder(target: str, overwrite: bool) -> None:
    """Make a folder where it is missing.

    Raises:
        TargetExistsError: it is a file, or a folder that is not empty, without `overwrite`.
        CubeFileAccessError: the operating system refuses.
    """
    if os.path.exists(target) and not os.path.isdir(target):
        raise TargetExistsError(f"{target} is a file, not a folder")
    with refusals_named(target):
        with suppress(FileNotFoundError):
            os.lstat(target)  # raises another error for a path that is too long
        missing, folder = [], target
        while folder and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):  # `os.makedirs` recurses, perhaps too deep
            with suppress(FileExistsError):
                os.mkdir(folder)
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
    flush_folder(file.folder)


class WholeFiles:
    """A context that writes many files below a folder; all are on the disk when it ends.

    Their names may come from a stranger. No link below the folder is followed: a file or a folder
    takes its place.

    Files are flushed while the next ones are written, several at a time: to wait for the disk after
    each file takes twice as long, on some disks many times as long.

    Args:
        folder: the folder, which exists.
    """

    _THREADS = 8
    _MOST_WAITING = 16  # each of them is an open file

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> WholeFiles:
        self._threads = Threads(self._THREADS)
        self._waiting: deque[Task[None]] = deque()
        self._folders: dict[str, None] = {}  # that have new entries
        self._known: set[str] = set()  # folders that are no links
        self._written: dict[str, str] = {}
        return self

    def write(self, name: str, parts: Parts, shown: str = "") -> str:
        """Write a file, as `write_whole` does, and make the folders that it needs.

        Args:
            name: its path below the folder, with "/" between the parts; without "" and "..".
            parts: its bytes.
            shown: what errors call it, where its name may identify a patient; '' for its path.

        Returns:
            Its path.

        Raises:
            CubeFileAccessError: the operating system refuses this file or an earlier one, or the
                target is not a regular file, or is a file that was just written by another name.
        """
        path = os.path.join(self._folder, *name.split("/"))
        shown = f"{self._folder}: {shown}" if shown else path
        try:
            encoded_path(path)
        except CubeFileAccessError:
            if shown == path:
                raise
            raise CubeFileAccessError(f"{shown}: no file can have its name") from None
        with refusals_named(shown):
            self._make_folders(name.split("/"))
            self._check_new(name, path)
        # A file may be named like the temporary file of another one, which then has to be renamed
        # before, and must not be begun until this one is in place.
        is_alone = os.path.basename(path).casefold().startswith(_PREFIX)
        while len(self._waiting) >= (1 if is_alone else self._MOST_WAITING):
            self._waiting.popleft().result()
        file = _Replacement(path, shown, follow=False)
        file.write(parts)
        self._waiting.append(self._threads.submit(file.settle))
        self._folders[file.folder] = None
        if is_alone:
            self._waiting.pop().result()
        return path

    def _make_folders(self, parts: list[str]) -> None:
        """Make the folders of a file; recursion, as in `os.makedirs`, could be too deep."""
        if sys.platform == "win32":
            for part in parts:
                if _NOT_ON_WINDOWS.search(part):
                    raise OSError(errno.EINVAL, f"Windows reserves the name {part!a}")
        path = self._folder
        for part in parts[:-1]:
            above, path = path, os.path.join(path, part)
            if path in self._known:
                continue
            if os.path.islink(path):
                os.unlink(path)
            with suppress(FileExistsError):
                os.mkdir(path)
                self._folders[above] = None
            self._known.add(path)

    def _check_new(self, name: str, path: str) -> None:
        """Raise if a file was already written by a name that the file system takes for this one."""
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
        other = self._written.setdefault(folded, path)
        if other is path:
            return
        while self._waiting:
            self._waiting.popleft().result()
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(other), os.lstat(path)):
                raise OSError(errno.EEXIST, "the same file as another in this file system")

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._threads.__exit__(None, None, None)  # after an error, too, complete files are kept
        for file in self._waiting:
            if kind is None:
                file.result()
        for folder in self._folders:
            flush_folder(folder)


@contextmanager
def temporary_folder(prefix: str, inside: str | None = None) -> Iterator[str]:
    """Make a folder that only this user can read, and remove it at the end of the context.

    A signal that would end the process (SIGTERM, SIGHUP) does so after that.

    Args:
        prefix: of its name.
        inside: the folder to make it in; None for the system's.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    replaced = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # which handles all signals
        replaced = []
    for number in replaced:
        signal.signal(number, interrupt)
    try:
        path = tempfile.mkdtemp(prefix=prefix, dir=inside)
        try:
            yield path
        finally:
            with _signals_blocked():
                shutil.rmtree(path, ignore_errors=True)
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def _signals_blocked() -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *_ENDING})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def refusals_named(path: str) -> Iterator[None]:
    """Raise what the operating system refuses to write as an exception of dicube, with the path."""
    encoded_path(path)
    try:
        yield
    except DicomCubeError:
        raise
    except FileNotFoundError as error:
        raise CubeFileNotFoundError(f"{path}: cannot write: {error.strerror}") from None
    except OSError as error:
        raise CubeFileAccessError(f"{path}: cannot write: {error.strerror}") from None


class _Replacement:
    """A temporary file that takes its target's place in the end.

    Args:
        path: the target.
        name: what errors call it; '' for the path.
        follow: whether a link stays, and the file that it leads to is the target.

    Attributes:
        folder: where both are.
    """

    def __init__(self, path: str, name: str = "", follow: bool = True) -> None:
        self._name = name or path
        with refusals_named(self._name):
            self._target = os.path.realpath(path) if follow and os.path.islink(path) else path
            _check_replaceable(self._target, may_be_link=not follow)
            self.folder = os.path.dirname(self._target)
            self._temporary, self._file = _created_for(self._target)

    def write(self, parts: Parts) -> None:
        """Write all bytes."""
        with refusals_named(self._name), self._removed_on_error():
            for part in parts:
                self._file.write(part)
            self._file.flush()

    def settle(self) -> None:
        """Flush the file to the disk and rename it to its target."""
        with refusals_named(self._name), self._removed_on_error():
            descriptor = self._file.fileno()
            _flush(descriptor)
            if not _is_at(descriptor, self._temporary):
                raise CubeFileAccessError(
                    f"{self._name}: cannot write: its temporary file was replaced"
                )
            mode = _mode_of(self._target)
            if sys.platform == "win32":
                self._file.close()  # an open file can't be renamed there
            os.replace(self._temporary, self._target)
            if sys.platform != "win32":
                mode = stat.S_IMODE(os.fstat(descriptor).st_mode) if mode is None else mode
                _set_mode(descriptor, mode & ~_TEMPORARY)
        self._file.close()

    @contextmanager
    def _removed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if sys.platform == "win32":
                self._file.close()
                os.unlink(self._temporary)
            elif _is_at(self._file.fileno(), self._temporary):
                os.unlink(self._temporary)
            with suppress(OSError):  # closing writes what is buffered, which nobody needs now
                self._file.close()
            raise


def _check_replaceable(target: str, may_be_link: bool) -> None:
    with suppress(FileNotFoundError):
        mode = os.lstat(target).st_mode
        if not (stat.S_ISREG(mode) or (may_be_link and stat.S_ISLNK(mode))):
            raise OSError(errno.EINVAL, "not a regular file")


def _created_for(target: str) -> tuple[str, BufferedWriter]:
    """Create the temporary file of a target and lock it; remove what killed writers left."""
    folder, name = os.path.split(target)
    paths = [os.path.join(folder, temporary) for temporary in _temporary_names(name)]
    for path in paths:
        remove_leftover(path)
    mode = _mode_of(target)

    def create(path: str, flags: int) -> int:
        return os.open(path, flags, (_NEW_FILE if mode is None else mode) | _TEMPORARY)

    while True:
        random = f"{_PREFIX}{secrets.token_hex(_DIGITS // 2)}"
        path = paths.pop(0) if paths else os.path.join(folder, random)
        try:
            file = open(path, "xb", opener=create)  # noqa: SIM115
        except FileExistsError:
            continue
        if _lock(file.fileno(), path):
            if mode is not None:  # the umask may have taken some of it
                _set_mode(file.fileno(), mode | _TEMPORARY)
            return path, file
        file.close()


def _mode_of(target: str) -> int | None:
    """Return the permissions of a file to replace; None for a new one or a link, or on Windows."""
    if sys.platform == "win32":
        return None
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return None
    return stat.S_IMODE(mode) & ~_TEMPORARY if stat.S_ISREG(mode) else None


def _set_mode(descriptor: int, mode: int) -> None:
    with suppress(OSError):  # the file system may have no permissions
        if sys.platform != "win32":
            os.fchmod(descriptor, mode)


def _temporary_names(target: str) -> list[str]:
    """Return the temporary names of a target; short, since its own may be as long as can be."""
    bits = _FNV_OFFSET
    for byte in os.fsencode(target):
        bits = (bits ^ byte) * _FNV_PRIME % (1 << 64)
    hashes = [(bits ^ number) * _FNV_PRIME % (1 << 48) for number in range(_NAMES_PER_TARGET)]
    return [f"{_PREFIX}{digits:0{_DIGITS}x}" for digits in hashes]


def is_temporary(name: str) -> bool:
    """Return whether a file is named as temporary files are; a user's file may be so too."""
    return name.startswith(_PREFIX) and len(name) == len(_PREFIX) + _DIGITS


def remove_leftover(path: str) -> bool:
    """Remove a temporary file of a killed writer: it has the mark, and nobody has locked it.

    Returns:
        Whether it was removed.
    """
    if sys.platform == "win32":  # where no mark distinguishes it from a file of the user
        return False
    with suppress(OSError):
        flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, os.O_RDWR | flags)  # NFS locks only what may be written
        except PermissionError:
            descriptor = os.open(path, os.O_RDONLY | flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) and mode & _TEMPORARY and _is_at(descriptor, path):
                os.unlink(path)
                return True
        finally:
            os.close(descriptor)
    return False


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


def flush_folder(folder: str) -> None:
    """Let a rename survive a loss of power; some file systems can't flush folders."""
    with suppress(OSError):
        descriptor = os.open(folder or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
