"""HTTP responses: entity tags, ranges, compression and streams. Must not know DICOM."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dicube.threads import thread_count
from dicube.web.accept import accepts_gzip
from dicube.web.multipart import Bytes

# Browsers may keep an answer, but ask each time whether it still holds.
_CACHED = {"Cache-Control": "private, no-cache"}
_LEAST_COMPRESSED = 1024  # bytes
_LONGEST_CHUNK = 1 << 18  # bytes that are sent at a time
_MOST_WAITING = 256  # requests that wait for a processor; further ones are turned away

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Workers:
    """Threads for what reads and decodes, about as many as there are processors."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(thread_count(None) + 1, "dicube-web")
        self._waiting = 0

    async def run(
        self,
        call: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Call a function in a thread.

        Raises:
            HTTPException: 503, too many requests wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise HTTPException(503, "too many requests", {"Retry-After": "1"})
        return await self._run(partial(call, *arguments, **options))

    async def _run(self, call: Callable[[], Result]) -> Result:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads end when they have done what they have begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def stream(self, chunks: Iterable[Bytes]) -> AsyncIterator[Bytes]:
        """Return chunks that are made in threads, each when the one before has been sent.

        The first is made before this returns, so that what can't be made at all is an answer of its
        own. An answer that has begun is not turned away.
        """
        following = partial(next, _gathered(chunks), None)
        first = await self.run(following)

        async def rest() -> AsyncIterator[Bytes]:
            chunk = first
            while chunk is not None:
                yield chunk
                chunk = await self._run(following)

        return rest()


def _gathered(chunks: Iterable[Bytes]) -> Iterator[Bytes]:
    """Yield chunks of a size that is worth a change of threads."""
    small = bytearray()
    for chunk in chunks:
        if len(small) + len(chunk) <= _LONGEST_CHUNK:
            small += chunk
            continue
        if small:
            yield bytes(small)
            small.clear()
        view = memoryview(chunk)
        for start in range(0, len(view), _LONGEST_CHUNK):
            yield view[start : start + _LONGEST_CHUNK]
    if small:
        yield bytes(small)


def unchanged(request: Request, tag: str) -> Response | None:
    """Return the answer to a request whose sender has what the tag stands for; else None."""
    known = request.headers.get("if-none-match")
    if known is None or not tag:
        return None
    quoted = _quoted(tag).removeprefix("W/")
    tags = (one.strip().removeprefix("W/") for one in known.split(","))
    if known.strip() == "*" or quoted in tags:
        return Response(status_code=304, headers={"ETag": _quoted(tag), **_CACHED})
    return None


def whole(request: Request, body: Bytes, content_type: str, tag: str = "") -> Response:
    """Return a response of bytes, or of the range of them that is asked for.

    Args:
        request: the request.
        body: all bytes.
        content_type: of these, with parameters.
        tag: the entity tag; '' for none.
    """
    if (same := unchanged(request, tag)) is not None:
        return same
    headers = _headers(content_type, tag)
    if tag.startswith("W/"):
        return Response(body, headers=headers)
    headers["Accept-Ranges"] = "bytes"
    wanted = request.headers.get("range", "")
    if wanted and request.headers.get("if-range", _quoted(tag)) == _quoted(tag):
        found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", wanted)
        if found is not None and any(found.groups()):
            return _part(body, found[1], found[2], headers)
    return Response(body, headers=headers)


def _headers(content_type: str, tag: str) -> dict[str, str]:
    """Return the headers of a response whose form depends on the Accept header."""
    headers = {**_CACHED, "Content-Type": content_type, "Vary": "Accept"}
    if tag:
        headers["ETag"] = _quoted(tag)
    return headers


def _quoted(tag: str) -> str:
    """Return an entity tag as headers have it; one of a multipart message is weak.

    Its boundary is another one each time, so that no range of one continues another.
    """
    return f'W/"{tag[2:]}"' if tag.startswith("W/") else f'"{tag}"'


def _part(body: Bytes, first: str, last: str, headers: dict[str, str]) -> Response:
    size = len(body)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(body[start:stop], 206, headers)


async def streamed(
    request: Request, workers: Workers, chunks: Iterable[Bytes], content_type: str, tag: str
) -> Response:
    """Return a response whose bytes are made while they are sent."""
    headers = _headers(content_type, tag)
    if request.method == "HEAD":
        response = Response(headers=headers)
        del response.headers["content-length"]  # which nobody knows
        return response
    body: Any = await workers.stream(chunks)
    return StreamingResponse(body, headers=headers)


def compressed(body: bytes) -> bytes:
    """Return bytes packed with gzip, the same each time."""
    return gzip.compress(body, 5, mtime=0)


def json_response(
    request: Request,
    body: bytes,
    tag: str = "",
    packed: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Return a response of DICOM JSON, compressed if the client accepts that.

    Args:
        request: the request.
        body: the JSON.
        tag: the entity tag; '' for none.
        packed: the JSON packed with gzip; None to pack it if needed.
        headers: further ones.
    """
    if (same := unchanged(request, tag)) is not None:
        return same
    sent = {**headers, **_CACHED, "Vary": "Accept, Accept-Encoding"}
    sent["Content-Type"] = "application/dicom+json"
    if tag:
        sent["ETag"] = _quoted(tag)
    if len(body) >= _LEAST_COMPRESSED and accepts_gzip(request.headers.get("accept-encoding", "")):
        sent["Content-Encoding"] = "gzip"
        body = packed or compressed(body)
    return Response(body, headers=sent)
