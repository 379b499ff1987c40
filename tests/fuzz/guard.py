"""Watch what one call does to its surroundings: files, network, programs, memory.

Python's audit events show what it opens, removes and connects to. A call that leaves its folder,
takes too much memory or disk, or runs anything raises an Escape, which is a finding. Must not know
dicube.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_MEMORY = 400 << 20
"""Bytes of resident memory that one call may add."""

MOST_WRITTEN = 400 << 20
"""Bytes that one call may leave in its folder."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {  # audit events that change files, and which arguments are paths
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"), (0,)),
    **dict.fromkeys(("os.utime", "os.chown", "os.chflags", "os.setxattr", "os.mkfifo"), (0,)),
    "os.rename": (0, 1),
}
_NEVER = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system")
_NEVER += (
    "os.link",
    "os.symlink",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.kill",
    "urllib.Request",
)
_READ = (sys.prefix, sys.base_prefix, "/usr", "/lib", "/proc", "/sys", "/dev", "/etc")
_READ += (str(Path(__file__).resolve().parents[2]),)


class Escape(Exception):
    """Raised for a call that did what it must not do."""


class Guard:
    """Watches the calls in `watching`.

    Args:
        readable: folders that may be read, beside those of Python and this project.
    """

    def __init__(self, *readable: Path) -> None:
        self._readable = (*_READ, *sys.path[1:], *map(os.path.abspath, readable))
        self._writable: str | None = None
        self._found: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, name: str, writable: Path) -> Iterator[None]:
        """Raise an Escape if the block leaves a folder, or takes too much.

        Args:
            name: of the call, for the message.
            writable: the folder that it may write into.
        """
        self._found.clear()
        kept = sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # of modules that the call is the first to import
        before = _reset_peak()
        self._writable = os.path.abspath(writable)
        try:
            yield
        finally:
            self._writable, sys.dont_write_bytecode = None, kept
            grown = _status("VmHWM") - before
            if grown > MOST_MEMORY:
                self._found.append(f"took {grown >> 20} MiB of memory")
            written = _size_of(writable)
            if written > MOST_WRITTEN:
                self._found.append(f"wrote {written >> 20} MiB")
            if self._found:
                raise Escape(f"{name}: {'; '.join(self._found[:5])}")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._writable is None:
            return
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(path, int):
                return
            if isinstance(flags, int) and flags & _WRITING:
                self._check("writes", path, (self._writable, "/dev/null", "/proc/self"))
            else:
                self._check("reads", path, self._readable)
        elif event in _PATHS:
            for place in _PATHS[event]:
                self._check(event, arguments[place], (self._writable,))
        elif event in _NEVER:
            self._found.append(f"{event} {arguments!r:.200}")

    def _check(self, what: str, path: Any, allowed: tuple[str, ...]) -> None:
        try:
            # Making a link is found itself, so none need be followed: slow in deep folders.
            whole = os.path.abspath(os.fsdecode(path))
        except (OSError, ValueError, TypeError):
            return
        if not any(whole == folder or whole.startswith(folder + os.sep) for folder in allowed):
            self._found.append(f"{what} {whole:.200}")


def _size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder and below."""
    files = (os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(file).st_size for file in files)


def _reset_peak() -> int:
    """Let the peak of resident memory begin anew (Linux); return the memory now resident."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return _status("VmHWM")
    return _status("VmRSS")


def _status(name: str) -> int:
    """Return a number of bytes in /proc/self/status; 0 where there is no such file."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return 0
