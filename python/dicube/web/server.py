"""Runs the application at a port of this machine; see `serve`.

The only module that knows uvicorn.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    MissingPackageError,
)

try:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from dicube.web.application import application
    from dicube.web.negotiation import LOCAL_NAMES
    from dicube.web.security import Rules
    from dicube.web.stored import stored_at
except ImportError as error:
    if isinstance(error, MissingPackageError):
        raise
    raise MissingPackageError(
        f"the server needs {error.name}", suggestion="pip install 'dicube[web]'"
    ) from None

_LEAST_TOKEN = 16  # characters
_MOST_CONNECTIONS = 512
_SECONDS_TO_END = 3
_LONGEST_HEADER = 1 << 16  # bytes; httptools has no limit, and takes time by their square
_SECONDS_OF_HEADER = 10


def serve(
    sources: Sequence[str | os.PathLike[str]],
    host: str = "127.0.0.1",
    port: int = 8042,
    *,
    ohif: str | os.PathLike[str] | None = None,
    token_file: str | os.PathLike[str] | None = None,
    origins: Sequence[str] = (),
    started: Callable[[str], None] = print,
) -> None:
    """Serve dicube files by DICOMweb under `/dicom-web`, and a viewer under `/`; until interrupted.

    Args:
        sources: an archive; or dicube files, their URLs, folders of them, and archives.
        host: address or name to listen at. Any other than a loopback address needs a token.
        port: 0 for a free one.
        ohif: the `dist` folder of OHIF; None for the project's own page.
        token_file: has the bearer token that requests for DICOM data must have.
        origins: such as 'https://viewer.example', whose pages may read answers (CORS).
        started: called with the URL once requests are answered.

    Raises:
        DataConsistencyError: another host than a loopback address without a token.
        CubeFileNotFoundError: a source, or the file of the token, does not exist.
        CubeFileAccessError: the port can't be used.
        MissingPackageError: a package of `dicube[web]` is not installed.
    """
    is_local = _is_loopback(host)
    token = "" if token_file is None else read_token(token_file)
    if not is_local and not token:
        raise DataConsistencyError(
            f"{host} can be reached from other machines, so a token is needed",
            suggestion="--token-file FILE, with a bearer token of 16 characters or more",
        )
    hosts = (*LOCAL_NAMES, host.lower()) if is_local else ()
    rules = Rules(hosts=hosts, token=token, origins=frozenset(origins))
    opened = _listening(host, port)
    with opened:
        app = application(stored_at(sources), rules, ohif, _log)
        _errors_to_stderr()
        config = uvicorn.Config(
            app,
            http=_BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        server = _Server(config, lambda: started(_url(host, opened)))
        server.run(sockets=[opened])


def read_token(path: str | os.PathLike[str]) -> str:
    """Return the bearer token in a file.

    Raises:
        CubeFileNotFoundError: the file does not exist.
        CubeFileAccessError: it can't be read.
        DataConsistencyError: it has no token, or one that is too short to be one.
    """
    try:
        with open(path, encoding="utf-8") as file:
            token = file.read(4096).strip()
    except FileNotFoundError:
        raise CubeFileNotFoundError(f"{os.fspath(path)} does not exist") from None
    except OSError as error:
        raise CubeFileAccessError(f"can't read {os.fspath(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataConsistencyError(f"{os.fspath(path)}: expected a token, found no text") from error
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise DataConsistencyError(
            f"{os.fspath(path)}: expected a token of {_LEAST_TOKEN} or more printable ASCII "
            f"characters without spaces, found {len(token)} characters"
        )
    return token


class _BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose header is too long, or takes too long."""

    _size = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_header()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._size += len(data)
            if self._size > _LONGEST_HEADER:
                self._close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:  # a further request of the connection
            self._begin_header()

    def on_headers_complete(self) -> None:
        self._end_header()
        super().on_headers_complete()

    def _begin_header(self) -> None:
        self._size = 0
        self._timer = self.loop.call_later(_SECONDS_OF_HEADER, self._close)

    def _end_header(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._end_header()
        self.transport.close()


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started_ = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started_()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise CubeFileAccessError(
            f"can't listen at {host}, port {port}: {error.strerror}",
            suggestion="--port 0 takes a free one"
            if is_port
            else "--host: an address of this machine, such as 127.0.0.1",
        ) from error


def _url(host: str, opened: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{opened.getsockname()[1]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _log(line: str) -> None:
    """Write a line to the standard error output; Python's logging would take ten times as long."""
    with suppress(OSError):  # whoever read it has gone
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


def _errors_to_stderr() -> None:
    """Let failures be logged like requests."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log = logging.getLogger("dicube.web")
    log.addHandler(handler)
    log.propagate = False
    # With Python 3.10, Ctrl-C may end the task that waits for the server's end.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "CancelledError" not in record.getMessage()
    )
