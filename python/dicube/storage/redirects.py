"""Keeps credentials from servers that another server redirects to.

Of what a caller sends to an HTTP server, aiohttp withholds only the header Authorization from other
origins; cookies, default credentials and headers such as X-Api-Key follow. Must not know URLs of
other kinds, or what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from dicube.storage.urls import protocols_of

if TYPE_CHECKING:
    from aiohttp import ClientSession, TraceRequestRedirectParams

# The headers that any server gets. Range is fsspec's own.
_FOR_ALL = frozenset({"range", "accept", "accept-encoding", "user-agent"})
_OF_CLIENTS = ("auth", "cookies")
_PORTS = {"http": 80, "https": 443}


def options_within_origin(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for fsspec that send an HTTP server's credentials to its origin only.

    Args:
        url: a URL or a chain of them.
        options: the caller's storage options for it; a `get_client` in them stays in charge.
    """
    outermost, *others = protocols_of(url)
    own = _of_target(options)
    for protocol in others:
        if protocol in _PORTS or protocol in options:
            own[protocol] = _of_system(protocol, options.get(protocol, {}))
    return _of_system(outermost, own)


def _of_system(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for the file system of a protocol."""
    return _of_http(options) if protocol in _PORTS else _of_target(options)


def _of_target(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which those of a further file system are changed, if there is one."""
    protocol = options.get("target_protocol") or protocols_of(str(options.get("fo", "")))[0]
    if "target_options" not in options and protocol not in _PORTS:
        return dict(options)
    target = options.get("target_options") or {}
    return {**options, "target_options": _of_system(protocol, target)}


def _of_http(options: Mapping[str, Any]) -> dict[str, Any]:
    if "get_client" in options:
        return dict(options)
    kept = {name: value for name, value in options.items() if name not in _OF_CLIENTS}
    client = {name: options[name] for name in _OF_CLIENTS if name in options}
    if client:
        kept["client_kwargs"] = {**options.get("client_kwargs", {}), **client}
    return {**kept, "get_client": _client}


async def _client(
    *, auth: Any = None, cookies: Any = None, headers: Any = None, **options: Any
) -> ClientSession:
    """Return a client that has its credentials in headers, and drops these at other origins."""
    from aiohttp import ClientSession, TraceConfig

    sent = dict(headers or {})
    given = {name.lower() for name in sent}
    if auth is not None and "authorization" not in given:
        sent["Authorization"], auth = auth.encode(), None
    if cookies and "cookie" not in given:
        jar: SimpleCookie = SimpleCookie()
        jar.load(cookies if isinstance(cookies, (str, Mapping)) else dict(cookies))
        sent["Cookie"] = "; ".join(f"{name}={one.coded_value}" for name, one in jar.items())
    trace = TraceConfig()
    trace.on_request_redirect.append(_drop_at_other_origins)
    traces = [*options.pop("trace_configs", ()), trace]
    return ClientSession(auth=auth, headers=sent, trace_configs=traces, **options)


async def _drop_at_other_origins(
    _session: ClientSession, _context: object, redirect: TraceRequestRedirectParams
) -> None:
    """Remove the caller's headers from a request before it goes to another origin."""
    answered = redirect.response.headers
    target = urljoin(str(redirect.url), answered.get("Location") or answered.get("URI") or "")
    same = _origin_of(target) == _origin_of(str(redirect.url))
    for name in () if same else {*redirect.headers}:
        if name.lower() not in _FOR_ALL:
            redirect.headers.popall(name, None)


def _origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port (RFC 6454, 4); the port of a malformed URL is -1."""
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return parts.scheme, parts.hostname, -1
