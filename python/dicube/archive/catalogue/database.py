"""The database of a catalogue: opening it, its version, transactions, and its errors as dicube's.

Must not know what rows mean.
"""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dicube.archive.catalogue import schema
from dicube.archive.places import is_on_network
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MissingPackageError,
)
from dicube.storage.urls import text_without_credentials, without_credentials

_Self = TypeVar("_Self", bound="Database")

IN_MEMORY = ":memory:"
_BATCH = 500  # values in one IN: SQLite has allowed 999 variables since 2004
_SECONDS = 30  # to wait for another process that uses the database


class DamagedCatalogueError(InvalidCubeFileError):
    """A database is damaged, or is no catalogue."""

    default_suggestion = "`dicube archive index` makes it anew from the files"


class Database:
    """An open database with the tables of a catalogue.

    Args:
        where: a path of a SQLite database, or a URL of SQLAlchemy; `IN_MEMORY` for a database that
            only this object has.
        create: make the database, or its tables, if they are missing.
        anew: set a damaged database of SQLite aside, with a warning, and make a new one.

    Raises:
        CubeFileNotFoundError: there is no such catalogue, and `create` is False.
        InvalidCubeFileError: it was written by a newer version.
        DamagedCatalogueError: (an InvalidCubeFileError) it is damaged, or no catalogue.
        CubeFileAccessError: the database can't be used.
        DataConsistencyError: not a URL that SQLAlchemy knows.
    """

    def __init__(self, where: str, *, create: bool = False, anew: bool = False) -> None:
        self.name = without_credentials(where) if "://" in where else where
        with self._refusals():
            url = sql.make_url(where if "://" in where else "sqlite://")
        self._path: str | None = None  # of SQLite's database
        self._is_in_memory = where == IN_MEMORY
        if url.get_backend_name() == "sqlite" and not self._is_in_memory:
            self._path = (url.database or "") if "://" in where else where
            url = url.set(database=self._path)
        try:
            self._open(url, create, checked=anew)
        except DamagedCatalogueError as error:
            if not anew or self._path is None:
                raise
            with self._refusals():
                kept = _set_aside(self._path)
            warnings.warn(f"{error.message}: it is now {kept}, and may name patients", stacklevel=4)
            self._open(url, create, checked=False)

    def _open(self, url: sql.URL, create: bool, *, checked: bool) -> None:
        if self._path is not None and not os.path.exists(self._path):
            if not create:
                raise CubeFileNotFoundError(
                    f"{self._path} does not exist",
                    suggestion="`dicube archive index` makes a catalogue",
                )
            # As it names patients, nobody else may read it, nor the files that SQLite adds to it.
            with self._refusals():
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        is_writable = self._path is None or _is_writable(self._path)
        if not is_writable and self._path is not None:
            url = _read_only(url, self._path)
        with self._refusals():
            options: dict[str, Any] = {}
            if self._is_in_memory:  # one connection, which threads use in turn
                options = {"poolclass": sql.StaticPool}
                options["connect_args"] = {"check_same_thread": False}
            self._engine = sql.create_engine(url, hide_parameters=True, **options)
            if self._path is not None or self._is_in_memory:
                self._prepare_sqlite(self._path or "", is_writable)
            self._connection = self._engine.connect()
        try:
            if checked and self._path is not None:
                self._check_sqlite()
            self._open_schema(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._engine.dispose()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Make all changes in this context at once, or none."""
        with self._refusals(), self._connection.begin():
            yield

    def forget_removed(self) -> bool:
        """Let SQLite overwrite what was removed, in its log too; return whether it could.

        It can't while another process reads, or without room for a copy of the database. Other
        databases promise no overwriting.
        """
        if self._path is None:
            return True
        with self._refusals():
            self._connection.rollback()
            cursor = self._connection.connection.cursor()  # outside of transactions
            try:
                # `secure_delete` leaves copies of rows that SQLite has moved within its pages.
                cursor.execute("VACUUM")
                (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError:
                return False
            finally:
                cursor.close()
        return not busy

    def belong_to(self, archive: str, *, anew: bool) -> None:
        """Let the catalogue be that of an archive.

        Args:
            archive: where it lies.
            anew: whether it may have been another one's.

        Raises:
            DataConsistencyError: it is another one's.
        """
        with self.changes():
            of_archive = schema.about.c.name == schema.ARCHIVE
            found = self._connection.execute(
                sql.select(schema.about.c.value).where(of_archive)
            ).scalar()
            if found == archive:
                return
            if found is not None and not anew:
                raise DataConsistencyError(
                    f"{self.name} is the catalogue of {found} and not of {archive}",
                    suggestion="after you moved an archive, `dicube archive index`",
                )
            self._connection.execute(schema.about.delete().where(of_archive))
            self._connection.execute(
                schema.about.insert().values(name=schema.ARCHIVE, value=archive)
            )

    def _open_schema(self, create: bool) -> None:
        """Check the version of the tables; make or migrate them."""
        newest = len(schema.MIGRATIONS) + 1
        with self._refusals():
            has_tables = sql.inspect(self._connection).has_table(schema.about.name)
            self._connection.rollback()
            if not has_tables:
                if not create:
                    raise DamagedCatalogueError(f"{self.name} is not the catalogue of an archive")
                with self._connection.begin():
                    schema.metadata.create_all(self._connection)
                    row = {"name": schema.SCHEMA_VERSION, "value": str(newest)}
                    self._connection.execute(schema.about.insert().values(row))
                return
            value = sql.select(schema.about.c.value).where(
                schema.about.c.name == schema.SCHEMA_VERSION
            )
            found = str(self._connection.execute(value).scalar())
            self._connection.rollback()
            version = int(found) if re.fullmatch("[1-9][0-9]{0,8}", found) else 0
            expected = f"{self.name}: expected a catalogue of version 1 to {newest}, found"
            if version == 0:
                raise DamagedCatalogueError(f"{expected} {found[:20]!a}")
            if version > newest:
                raise InvalidCubeFileError(f"{expected} {version}: a newer dicube wrote it")
            for number in range(version, newest):
                with self._connection.begin():
                    schema.MIGRATIONS[number - 1](self._connection)
                    of_version = schema.about.c.name == schema.SCHEMA_VERSION
                    row = {"value": str(number + 1)}
                    self._connection.execute(schema.about.update().where(of_version).values(row))

    def _check_sqlite(self) -> None:
        """Read the whole database.

        Raises:
            DamagedCatalogueError: its pages, or its indexes and tables, contradict each other.
        """
        with self._reading():
            found = self._connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if found != "ok":
            raise DamagedCatalogueError(f"{self.name} is damaged")

    def _prepare_sqlite(self, path: str, is_writable: bool) -> None:
        """Set what each connection needs."""
        journal = "DELETE" if is_on_network(path) else "WAL"

        def connected(connection: Any, _record: Any) -> None:
            # sqlite3 would begin transactions only before INSERT and the like, so that one that
            # makes tables could be left half done.
            connection.isolation_level = None
            # SQLite's own knows ASCII only, and names of patients have other letters.
            connection.create_function("lower", 1, _lower, deterministic=True)
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {1000 * _SECONDS}")
            if is_writable:
                cursor.execute(f"PRAGMA journal_mode = {journal}")
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.execute("PRAGMA secure_delete = ON")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        def begun(connection: sql.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        sql.event.listen(self._engine, "connect", connected)
        sql.event.listen(self._engine, "begin", begun)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """End the transaction that reading begins."""
        with self._refusals():
            try:
                yield
            finally:
                self._connection.rollback()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise errors of the database as dicube's, without the values in its statements."""
        try:
            yield
        except DicomCubeError:
            raise
        except ImportError as error:
            raise MissingPackageError(f"the catalogue {self.name} needs {error.name}") from error
        except DBAPIError as error:
            text = text_without_credentials(str(error.orig)).partition("\n")[0]
            if "not a database" in text or "malformed" in text:
                raise DamagedCatalogueError(
                    f"{self.name} is damaged, or not the catalogue of an archive"
                ) from error
            raise CubeFileAccessError(f"the catalogue {self.name}: {_unquoted(text)}") from error
        except SQLAlchemyError as error:
            raise DataConsistencyError(
                f"expected a path or URL of a database, found {self.name}: {type(error).__name__}"
            ) from error
        except OSError as error:
            raise CubeFileAccessError(f"the catalogue {self.name}: {error.strerror}") from error


def _is_writable(path: str) -> bool:
    """Return whether SQLite can change a database, and the files that it adds to it."""
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path) or os.curdir, os.W_OK)


def _read_only(url: sql.URL, path: str) -> sql.URL:
    """Return the URL of a database that can only be read, as on a medium or in a snapshot.

    Without a log, which the last process that changes a database removes, no other file is needed.
    """
    query = {"uri": "true", "mode": "ro"}
    if not os.path.exists(f"{path}-wal"):
        query["immutable"] = "1"
    elif not os.path.exists(f"{path}-shm"):
        raise CubeFileAccessError(
            f"{path}: its log {path}-wal can be read only where files can be written",
            suggestion="copy the catalogue and its log elsewhere, and name that copy (--catalogue)",
        )
    return url.set(database=f"file:{quote(os.path.abspath(path))}", query=query)


def _set_aside(path: str) -> str:
    """Rename a database and the files that SQLite added to it; return the new name."""
    kept = next(
        name
        for name in (f"{path}.damaged{number or ''}" for number in count())
        if not os.path.lexists(name)
    )
    os.rename(path, kept)
    for added in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.rename(path + added, kept + added)
    return kept


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _unquoted(text: str) -> str:
    """Return a message of a database without the values that it quotes."""
    return re.sub(r"\([^)]*\)=\([^)]*\)|'[^']*'", "…", text)


def batches(values: list[Any]) -> Iterator[list[Any]]:
    """Yield values in lists that fit into one statement."""
    for first in range(0, len(values), _BATCH):
        yield values[first : first + _BATCH]
