"""Where an archive lies: a folder, or a prefix in an object store; and how its files are named.

Names are made of UIDs alone, which are a stranger's input. Files appear whole: each is written in a
work folder, and then put under its name. Must not know what is in the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import IO, Any, TypeAlias

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    needing,
)
from dicube.storage.url_files import local_copy, written_to
from dicube.storage.urls import (
    check_links,
    is_url,
    missing_package,
    protocols_of,
    text_without_credentials,
    without_credentials,
)
from dicube.whole_files import (
    flush_folder,
    is_temporary,
    make_folder,
    refusals_named,
    remove_leftover,
    write_whole,
)

if sys.platform != "win32":
    import fcntl

FORMATS = (".dcba", ".dcbs")
ASIDE = "aside"
"""The folder of files that have the SOPInstanceUID of another file and other bytes."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64  # PS3.5 9.1
_OF_PATIENT = re.compile(r"_[0-9]+\Z")
_WORK = ".dicube-work-"
_LOCK = "lock"
_CHUNK = 1 << 20


def name_of_uid(uid: str, kind: str) -> str:
    """Return a UID as part of a name: itself, or for an invalid one a digest of it.

    Args:
        uid: the UID.
        kind: what it identifies, with which the name of a digest begins.

    Example:
        >>> from dicube.archive.places import name_of_uid
        >>> name_of_uid("1.2.840.1", "series"), name_of_uid("../etc", "series")
        ('1.2.840.1', 'series-f7f9121fdb53d8de1eccbfa65c4bd976')
    """
    if _UID.fullmatch(uid) and len(uid) <= _LONGEST_UID:
        return uid
    return f"{kind}-{hashlib.sha256(uid.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def stem_of(study_uid: str, series_uid: str) -> str:
    """Return the name of a series' file without its extension."""
    return f"{name_of_uid(study_uid, 'study')}/{name_of_uid(series_uid, 'series')}"


def stem_in(name: str) -> str:
    """Return the stem that the name of a series' file was made from."""
    return _OF_PATIENT.sub("", os.path.splitext(name)[0])


def free_name(stem: str, extension: str, taken: Iterable[str]) -> str:
    """Return a name for the file of a further patient with the UIDs that a stem is made from.

    Names don't tell patients, so patients are numbered: 'study/series.dcba' is followed by
    'study/series_2.dcba'.
    """
    stems = {os.path.splitext(name)[0] for name in taken}
    numbered = (f"{stem}_{number}" if number > 1 else stem for number in count(1))
    return next(name for name in numbered if name not in stems) + extension


@dataclass(frozen=True)
class LocalPlace:
    """A folder.

    Attributes:
        name: its absolute path.
    """

    name: str

    storage_options: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False)

    def locator(self, name: str) -> str:
        """Return the path of a file of the archive."""
        return os.path.join(self.name, *name.split("/"))

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None if there is none."""
        try:
            return os.stat(self.locator(name)).st_size
        except OSError:
            return None

    def find(self, stem: str) -> list[str]:
        """Return the names of the files of a series: one for each patient that has its UIDs."""
        study = stem.split("/")[0]
        try:
            return _named_by(stem, (f"{study}/{name}" for name in os.listdir(self.locator(study))))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CubeFileAccessError(
                f"can't read {self.locator(study)}: {error.strerror}"
            ) from error

    def series_files(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of each series' file, study by study.

        Raises:
            CubeFileAccessError: a folder can't be listed.
        """
        for study in self._listed(self.name):
            if study.is_dir(follow_symlinks=False) and not _is_apart(study.name):
                for file in self._listed(study.path):
                    if file.name.endswith(FORMATS) and not file.name.startswith("."):
                        yield f"{study.name}/{file.name}", file.stat().st_size

    def aside_files(self, stem: str = "") -> Iterator[str]:
        """Yield the names of the files kept aside, of one series or of all."""
        top = self.locator(f"{ASIDE}/{stem}" if stem else ASIDE)
        for folder, _, names in os.walk(top):
            inside = os.path.relpath(folder, self.name).replace(os.sep, "/")
            yield from (f"{inside}/{name}" for name in sorted(names) if name[0] != ".")

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        path = self.locator(name)
        try:
            return open(path, "rb")
        except FileNotFoundError:
            raise CubeFileNotFoundError(f"{path} does not exist") from None
        except OSError as error:
            raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error

    @contextmanager
    def local_file(self, name: str) -> Iterator[str]:
        """Give the path of a file."""
        yield self.locator(name)

    def put(self, path: str, name: str, *, replace: bool) -> None:
        """Put a file of the work folder under its name.

        Args:
            path: of the file.
            name: its name in the archive.
            replace: put it in place of a file that has the name.

        Raises:
            FileExistsError: another file has the name, and `replace` is False.
        """
        target = self.locator(name)
        self._make_folder(target)
        if not replace:
            try:
                os.link(path, target)
            except FileExistsError:
                raise
            except OSError:  # the file system has no links
                if os.path.lexists(target):
                    raise FileExistsError(target) from None
            else:
                os.unlink(path)
                return
        with refusals_named(target):
            os.replace(path, target)

    def put_aside(self, data: bytes, name: str) -> None:
        """Write a small file."""
        target = self.locator(name)
        self._make_folder(target)
        write_whole(target, [data])

    def flush(self, names: Iterable[str]) -> None:
        """Let the names of files survive a loss of power."""
        for folder in {os.path.dirname(self.locator(name)) for name in names}:
            flush_folder(folder)
        flush_folder(self.name)

    def remove(self, name: str) -> bool:
        """Remove a file, and its folder if that is empty then; return whether it existed."""
        path = self.locator(name)
        with refusals_named(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
        for _ in name.split("/")[1:]:
            path = os.path.dirname(path)
            with suppress(OSError):
                os.rmdir(path)
        return True

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """Make a folder that only this user can read; it goes at the end of the context.

        It is locked, so that `remove_leftovers` knows those of killed processes.
        """
        path = os.path.join(self.name, f"{_WORK}{secrets.token_hex(8)}")
        with refusals_named(path):
            os.mkdir(path, 0o700)
        try:
            with open(os.path.join(path, _LOCK), "wb") as lock:
                if sys.platform != "win32":
                    with suppress(OSError):  # the file system may have no locks
                        fcntl.flock(lock, fcntl.LOCK_EX)
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def remove_leftovers(self) -> int:
        """Remove what killed writers left anywhere in the archive; return how many there were."""
        removed = 0
        for folder, folders, names in os.walk(self.name):
            for inner in [inner for inner in folders if inner.startswith(_WORK)]:
                folders.remove(inner)
                removed += _removed_work_folder(os.path.join(folder, inner))
            for name in filter(is_temporary, names):
                removed += remove_leftover(os.path.join(folder, name))
        return removed

    def create(self) -> None:
        """Make the folder if it is missing."""
        make_folder(self.name, overwrite=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process change the archive in this context.

        Raises:
            CubeFileAccessError: another process changes it.
        """
        path = os.path.join(self.name, ".dicube-lock")
        with refusals_named(path):
            lock = open(path, "ab")  # noqa: SIM115 (closed below)
        with lock:
            if sys.platform != "win32":
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise CubeFileAccessError(
                        f"another process is changing the archive {self.name}"
                    ) from None
                except OSError:  # the file system has no locks
                    pass
            yield

    def _make_folder(self, target: str) -> None:
        with refusals_named(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)

    def _listed(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            raise CubeFileNotFoundError(f"{folder} does not exist") from None
        except OSError as error:
            raise CubeFileAccessError(f"can't read {folder}: {error.strerror}") from error


@dataclass(frozen=True)
class RemotePlace:
    """A prefix in an object store, or in any other file system of fsspec.

    Its files are written whole in a temporary folder of this machine, and then put.

    Attributes:
        url: of the prefix.
        storage_options: of the file system.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return without_credentials(self.url)

    def locator(self, name: str) -> str:
        """Return the URL of a file of the archive."""
        return f"{self.url.rstrip('/')}/{name}"

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None if there is none."""
        with self._system() as (system, root):
            try:
                return int(system.info(f"{root}/{name}")["size"])
            except FileNotFoundError:
                return None

    def find(self, stem: str) -> list[str]:
        """Return the names of the files of a series: one for each patient that has its UIDs."""
        return _named_by(stem, (name for name, _ in self._files(stem.split("/")[0])))

    def series_files(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of each series' file."""
        for name, size in self._files(""):
            if name.endswith(FORMATS) and name.count("/") == 1 and not _is_apart(name):
                yield name, size

    def aside_files(self, stem: str = "") -> Iterator[str]:
        """Yield the names of the files kept aside, of one series or of all."""
        yield from (name for name, _ in self._files(f"{ASIDE}/{stem}" if stem else ASIDE))

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        with self._system() as (system, root):
            opened: IO[bytes] = system.open(f"{root}/{name}", "rb")
            return opened

    @contextmanager
    def local_file(self, name: str) -> Iterator[str]:
        """Give the path of a copy on this machine, which goes at the end of the context."""
        with local_copy(self.locator(name), self.storage_options) as path:
            yield path

    def put(self, path: str, name: str, *, replace: bool) -> None:
        """Put a file of the work folder under its name, and read it back; see `LocalPlace.put`.

        Raises:
            CubeFileAccessError: what the store gives back has other bytes.
            FileExistsError: another file has the name, and `replace` is False.
        """
        if not replace and self.size(name) is not None:
            raise FileExistsError(name)
        with self._system() as (system, root):
            # Buckets have no folders, and those that are missing are never made.
            if system.isdir(root):
                system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        with written_to(self.locator(name), self.storage_options) as local:
            shutil.copyfile(path, local)
        with open(path, "rb") as written, self.open(name) as stored:
            if _digest(written) != _digest(stored):
                raise CubeFileAccessError(f"{self.name}/{name}: the store gives back other bytes")

    def put_aside(self, data: bytes, name: str) -> None:
        """Write a small file."""
        with self.work_folder() as folder:
            path = os.path.join(folder, "aside")
            write_whole(path, [data])
            self.put(path, name, replace=True)

    def flush(self, names: Iterable[str]) -> None:
        """Do nothing: what was put is stored."""

    def remove(self, name: str) -> bool:
        """Remove a file; return whether it existed."""
        with self._system() as (system, root):
            try:
                system.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return False
            return True

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """Make a folder that only this user can read; it goes at the end of the context."""
        with tempfile.TemporaryDirectory(prefix="dicube-", ignore_cleanup_errors=True) as path:
            yield path

    def remove_leftovers(self) -> int:
        """Return 0: a store shows no object before it is complete."""
        return 0

    def create(self) -> None:
        """Do nothing: a prefix exists where an object has it."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: stores have no locks; only one process at a time may change an archive."""
        yield

    def _files(self, below: str) -> list[tuple[str, int]]:
        with self._system() as (system, root):
            top = f"{root}/{below}".rstrip("/")
            system.invalidate_cache(top)  # other processes write too
            try:
                found = system.find(top, detail=True)
            except FileNotFoundError:
                return []
            return sorted((path[len(root) + 1 :], int(i["size"])) for path, i in found.items())

    @contextmanager
    def _system(self) -> Iterator[tuple[Any, str]]:
        """Give the file system and the path of the prefix; turn its errors into dicube's."""
        check_links(self.url, self.storage_options)
        with needing("an archive at a URL", "fsspec", "remote"):
            import fsspec
        try:
            system, root = fsspec.core.url_to_fs(self.url, **self.storage_options)
            yield system, root.rstrip("/")
        except (DicomCubeError, FileNotFoundError):
            raise
        except ImportError as error:
            raise missing_package(self.name, text_without_credentials(str(error))) from error
        except Exception as error:  # each file system has its own exceptions
            text = text_without_credentials(str(error)).partition("\n")[0]
            raise CubeFileAccessError(f"{self.name}: {text or type(error).__name__}") from error


Place: TypeAlias = "LocalPlace | RemotePlace"


def place_at(where: str | os.PathLike[str], storage_options: Mapping[str, Any]) -> Place:
    """Return the place of an archive.

    Raises:
        DataConsistencyError: options for a folder, which has none.
    """
    if is_url(where):
        url = os.fspath(where)
        if protocols_of(url)[0] not in ("file", "local"):
            return RemotePlace(url, dict(storage_options))
        where = url.split("://", 1)[1]
    if storage_options:
        raise DataConsistencyError("storage_options apply to an archive at a URL, not to a folder")
    return LocalPlace(os.path.abspath(where))


def _named_by(stem: str, names: Iterable[str]) -> list[str]:
    """Return which of these names are made from a stem, the first patient's first."""
    found = [name for name in names if name.endswith(FORMATS) and stem_in(name) == stem]
    return sorted(found, key=lambda name: (len(name), name))


def _is_apart(name: str) -> bool:
    """Return whether a folder of an archive holds no series."""
    return name.split("/")[0] == ASIDE or name.startswith(".")


def _removed_work_folder(path: str) -> bool:
    """Remove the work folder of a process that has ended; return whether it had."""
    if sys.platform == "win32":
        return False
    try:
        with open(os.path.join(path, _LOCK), "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    except FileNotFoundError:  # killed before it made the lock, or about to make it
        with suppress(OSError):
            os.rmdir(path)
    except OSError:
        return False
    return True


def _digest(file: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def is_on_network(path: str) -> bool:
    """Return whether a file is on a network file system, where SQLite's log can't be shared.

    Where the system doesn't tell, it may be.
    """
    if not sys.platform.startswith("linux"):
        return True
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return True
    folder = os.path.realpath(os.path.dirname(path) or os.curdir)
    inside = [
        (len(target), kind)
        for _, target, kind, *_ in mounts
        if folder == target or folder.startswith(os.path.join(target, ""))
    ]
    return max(inside, default=(0, ""))[1].partition(".")[0] in _NETWORK


_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs fuse 9p afs ceph lustre gpfs beegfs glusterfs ocfs2 gfs2 pvfs2"
    " virtiofs vboxsf".split()
)
