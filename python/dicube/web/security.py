"""Guards a service: hosts, tokens, origins, bodies; and writes the log of requests.

Must not know what the service does.
"""

from __future__ import annotations

import hmac
import logging
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicube.exceptions import DicomCubeError

Log: TypeAlias = "Callable[[str], None]"

_LOG = logging.getLogger("dicube.web")
_EXPOSED = "Content-Type, Content-Range, Content-Length, ETag, Warning, Accept-Ranges"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Accept, Range, If-None-Match, If-Range",
    "Access-Control-Max-Age": "600",
}
_OF_ALL = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


@dataclass(frozen=True)
class Rules:
    """What a service allows.

    Attributes:
        hosts: names by which it may be called, without ports, against DNS rebinding; empty for any.
        token: that requests below `protected` must bear; '' for none.
        origins: pages at other origins that may read answers.
        protected: the beginnings of paths that need the token.
    """

    hosts: Collection[str] = ()
    token: str = ""
    origins: Collection[str] = ()
    protected: tuple[str, ...] = ("/dicom-web", "/files", "/findings")


class Guard:
    """An ASGI application before another one."""

    def __init__(self, inner: ASGIApp, rules: Rules, log: Log | None = None) -> None:
        """Take the application to guard, and what writes a line for each request."""
        self._inner, self._rules, self._log = inner, rules, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin", "")
        answer = _Answer(scope, send, origin if origin in self._rules.origins else "")
        refused = self._refusal(scope, headers, origin)
        try:
            await (refused or self._inner)(scope, receive, answer.send)
        except DicomCubeError as error:  # while the answer was being sent, which is cut off
            _LOG.error("%s: %s", type(error).__name__, error.message)
        except Exception as error:  # whose message may have values of a patient
            where = "".join(traceback.format_tb(error.__traceback__))
            _LOG.error("unexpected %s\n%s", type(error).__name__, where)
        finally:
            if self._log is not None:
                self._log(answer.line())

    def _refusal(self, scope: Scope, headers: dict[bytes, str], origin: str) -> Response | None:
        rules = self._rules
        if rules.hosts and _name_of_host(headers.get(b"host", "")) not in rules.hosts:
            return PlainTextResponse("expected a name of this machine, such as localhost\n", 421)
        if scope["method"] == "OPTIONS":
            allowed = origin in rules.origins
            return Response(status_code=204, headers=_PREFLIGHT if allowed else None)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET\n", 405, {"Allow": "GET, HEAD, OPTIONS"})
        if headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers:
            return PlainTextResponse("expected a request without a body\n", 413)
        if rules.token and scope["path"].startswith(rules.protected):
            kind, _, token = headers.get(b"authorization", "").partition(" ")
            same = hmac.compare_digest(token.strip().encode("latin-1"), rules.token.encode())
            if kind.lower() != "bearer" or not same:
                challenge = {"WWW-Authenticate": 'Bearer realm="dicube"'}
                return PlainTextResponse("a token is needed\n", 401, challenge)
        return None


class _Answer:
    """Adds headers to a response, and counts its bytes."""

    def __init__(self, scope: Scope, send: Send, origin: str) -> None:
        self._scope, self._send, self._origin = scope, send, origin
        self._status, self._size, self._begun = 0, 0, time.perf_counter()

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [*message["headers"], *_OF_ALL]
            if self._origin:
                headers += [
                    (b"access-control-allow-origin", self._origin.encode("latin-1")),
                    (b"access-control-expose-headers", _EXPOSED.encode()),
                    (b"vary", b"Origin"),
                ]
            message = {**message, "headers": headers}
        else:
            self._size += len(message.get("body", b""))
        await self._send(message)

    def line(self) -> str:
        """Return a line for the log, without values of the query, which may name patients."""
        shown = self._scope["path"]
        if self._scope["query_string"]:
            parts = self._scope["query_string"].decode("latin-1").split("&")
            shown += "?" + "&".join(part.partition("=")[0] for part in parts if part)
        shown = shown.encode("unicode_escape").decode()
        milliseconds = (time.perf_counter() - self._begun) * 1000
        return (
            f"{self._scope['method']} {shown} {self._status} {self._size} bytes"
            f" {milliseconds:.1f} ms"
        )


def _name_of_host(host: str) -> str:
    """Return a Host header without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
