"""Reads ranges of a file from an HTTP server, which may be broken or hostile.

fsspec takes whatever a server sends, in memory, compressed or not. Here an answer is checked before
its body is read, the body is read up to the length that it may have, and all of it takes a limited
time. Must not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MOST_WHOLE = 1 << 24
"""Bytes of the largest file that is read from a server without range requests."""

# Seconds to connect, and between two packets.
WAIT = 30
SLOWEST = 1 << 13  # bytes; a request may take WAIT, and one second for each of these

_OK, _PARTIAL, _MISSING, _NOT_SATISFIABLE = 200, 206, (404, 410), 416  # RFC 9110, 15
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_LONGEST_REASON = 100


class HttpFile:
    """A file of an HTTP server. Many threads may read it at once.

    Args:
        system: fsspec's HTTP file system.
        url: the URL.
        name: the URL without credentials, for messages.
        options: the caller's storage options. `timeout`, in seconds or an aiohttp.ClientTimeout,
            replaces the limits of this module, as a timeout in `client_kwargs` does.
    """

    def __init__(self, system: Any, url: str, name: str, options: Mapping[str, Any]) -> None:
        self._system, self._url, self._name = system, url, name
        self._timeout = options.get("timeout")
        # The client of a caller has a timeout of its own.
        self._has_client = "get_client" in options or "timeout" in (
            options.get("client_kwargs") or {}
        )
        self._version: dict[str, str | int] = {}

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range; fewer if the file ends within it.

        If the server knows no ranges, and the range is that of the file's start, return the file.

        Raises:
            CubeFileNotFoundError: there is no such file.
            CubeFileAccessError: the server's answer is none to this request, is too large, too slow
                or compressed, or is of another version of the file than earlier ones.
        """
        from fsspec.asyn import sync

        data: bytes = sync(self._system.loop, self._read, start, stop)
        return data

    async def _read(self, start: int, stop: int) -> bytes:
        from aiohttp import ClientPayloadError, TooManyRedirects

        session = await self._system.set_session()
        options = {key: value for key, value in self._system.kwargs.items() if key != "timeout"}
        # Each byte that is read must be one of the file.
        asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        options["headers"] = {**options.get("headers", {}), **asked}
        options.update(self._limits(stop - start))
        url = self._system.encode_url(self._url)
        found = bytearray()
        try:
            async with session.get(url, auto_decompress=False, **options) as response:
                if response.status == _NOT_SATISFIABLE:
                    return b""
                most, exact = self._length_of(response, start, stop)
                async for part in response.content.iter_any():
                    if len(found) + len(part) > most:
                        raise self._failure(f"expected at most {most} bytes, the server sends more")
                    found += part
            if not exact or len(found) == most:
                return bytes(found)
            failure = self._failure(f"expected {most} bytes, found {len(found)}")
        except TooManyRedirects as error:
            failure = self._failure(f"redirected {len(error.history)} times")
        except asyncio.TimeoutError as error:
            failure = self._failure(
                f"asked for {stop - start} bytes, got {len(found)} in the time allowed"
                + (f" ({error})" if str(error) else ""),
                "storage_options={'timeout': seconds} allows more time",
            )
        except ClientPayloadError:
            failure = self._failure(
                f"expected {most} bytes, the connection ended after {len(found)}"
            )
        raise failure  # not within a handler: aiohttp's error has headers with passwords

    def _limits(self, size: int) -> dict[str, Any]:
        """Return the timeout of a request as an option of aiohttp; none to keep the client's."""
        from aiohttp import ClientTimeout

        if self._timeout is None and self._has_client:
            return {}
        if isinstance(self._timeout, ClientTimeout):
            return {"timeout": self._timeout}
        if self._timeout is not None:
            return {"timeout": ClientTimeout(total=float(self._timeout))}
        total = WAIT + size / SLOWEST
        return {"timeout": ClientTimeout(total=total, sock_connect=WAIT, sock_read=WAIT)}

    def _length_of(self, response: ClientResponse, start: int, stop: int) -> tuple[int, bool]:
        """Return the most bytes that the body of an answer may have, and if it must have all.

        Raises:
            CubeFileNotFoundError, CubeFileAccessError: see `read`.
        """
        if response.status in _MISSING:
            raise CubeFileNotFoundError(f"{self._name}: no such file")
        if response.status not in (_OK, _PARTIAL):
            raise self._failure(f"{response.status} {(response.reason or '')[:_LONGEST_REASON]}")
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise self._failure(f"expected bytes as they are, found Content-Encoding {coding!r}")
        total, length = None, response.content_length
        if response.status == _OK:
            if start:
                raise self._failure(
                    f"asked for {stop - start} bytes at {start}, got the whole file"
                    f"{'' if length is None else f' of {length} bytes'}: "
                    "the server doesn't support range requests"
                )
            most, exact = max(stop, MOST_WHOLE) if length is None else length, length is not None
            if most > max(stop, MOST_WHOLE):
                raise self._failure(
                    f"asked for {stop} bytes, got the whole file of {length}: the server doesn't "
                    f"support range requests, without which files have at most {MOST_WHOLE} bytes",
                    "download the file",
                )
        else:
            most, total = self._range_of(response, start, stop)
            exact = True
            if length not in (None, most):
                raise self._failure(
                    f"expected {most} bytes by Content-Range, found {length} by Content-Length"
                )
        self._check_version(response.headers.get("ETag"), total)
        return most, exact

    def _range_of(self, response: ClientResponse, start: int, stop: int) -> tuple[int, int | None]:
        """Return the length of the range in an answer, and of the file (None if it isn't given)."""
        stated = response.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(stated.strip())
        first, last = (int(found[1]), int(found[2])) if found else (-1, -1)
        size = None if found is None or found[3] == "*" else int(found[3])
        end = stop if size is None else min(stop, size)
        if first != start or not start <= last < stop or (size is not None and last + 1 != end):
            raise self._failure(
                f"expected Content-Range bytes {start}-{stop - 1}, or up to the end of the file, "
                f"found {stated[:_LONGEST_REASON]!r}"
            )
        return last + 1 - start, size

    def _check_version(self, tag: str | None, size: int | None) -> None:
        """Raise unless an answer is of the same version of the file as those before."""
        for what, now in (("ETag", tag), ("size", size)):
            before = self._version.setdefault(what, now) if now is not None else None
            if before != now:
                raise self._failure(
                    f"expected {what} {before} as before, found {now}: the file was changed",
                    "open it again",
                )

    def _failure(self, reason: str, suggestion: str | None = None) -> CubeFileAccessError:
        return CubeFileAccessError(f"{self._name}: cannot read: {reason}", suggestion=suggestion)
