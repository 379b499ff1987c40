"""Names are paths unless they are URLs beyond doubt, and no message has a URL's credentials."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from inputs.http_server import HttpServer, range_of

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
)
from dicube.storage import DcbReader
from dicube.storage.urls import is_chained, is_url, text_without_credentials, without_credentials

SECRET = "zzsecret"


class Server(HttpServer):
    """A server that keeps the headers it gets, and may redirect.

    Attributes:
        content: what it answers; with `to`, the address it redirects to instead.
        requests: path and headers of each request.
    """

    def __init__(self, content: bytes = b"", to: str = "") -> None:
        self.content, self.to = content, to
        self.requests: list[tuple[str, dict[str, str]]] = []
        super().__init__()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((handler.path, headers))
        body, asked, to = self.content, range_of(handler), self.to
        if to:
            handler.send_response(302)
            handler.send_header("Location", to)
            body = b""
        elif asked:
            start, stop = asked[0], min(asked[1], len(body))
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
            body = body[start:stop]
        else:
            handler.send_response(200)
            handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    DicomCubeImage(np.zeros((2, 8, 8), np.uint16)).to_file(tmp_path / "content.dcbs")
    return (tmp_path / "content.dcbs").read_bytes()


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    server = Server(content)
    yield server
    server.close()


@pytest.fixture
def inbox(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files from strangers, which is the working folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


NAMES = [
    "reference::refs.json",
    "simplecache::file:",
    "simplecache::reference::refs.json",
    "memory::a",
    "zip::x",
    "ct::1.dcbs",
    "http::x",
    "data:,x",
    "data::x",
    "filecache::http:",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_an_inbox_is_a_path(
    name: str, inbox: Path, content: bytes, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "refs.json").write_text(json.dumps({"": [f"{server.origin}/x"]}))
    missing = "no such file|No such file"
    with pytest.raises(CubeFileNotFoundError, match=missing):
        DcbReader(name)
    (inbox / name).write_bytes(content)
    assert dicube.load(name).shape == (2, 8, 8)
    assert main(["info", name]) == 0
    (inbox / name).unlink()
    (inbox / name).symlink_to("nowhere")
    with pytest.raises(CubeFileNotFoundError, match=missing):
        DcbReader(name)
    assert main(["info", name]) == 1
    assert not server.requests


def test_a_path_that_exists_is_a_path_even_if_it_looks_like_a_url(
    inbox: Path, content: bytes, server: Server
) -> None:
    host = server.origin.removeprefix("http://")
    place = inbox / "http:" / host
    place.mkdir(parents=True)
    (place / "x.dcbs").write_bytes(content)
    assert dicube.load(f"{server.origin}/x.dcbs").shape == (2, 8, 8)
    assert not server.requests


@pytest.mark.parametrize(
    ("source", "url", "chained"),
    [
        ("https://example.org/x.dcbs", True, False),
        ("s3://bucket/x.dcbs", True, False),
        ("HTTPS://example.org/x", True, False),
        ("simplecache::s3://bucket/x.dcbs", True, True),
        ("zip://x.dcbs::/folder/x.zip", True, True),
        ("aa::bb::https://x", True, True),
        ("C:\\x::y", False, False),
        ("c://x", False, False),
        ("x/http://y", False, False),
        ("x.dcbs::http://y", True, True),
        ("a b::http://y", False, False),
        ("::http://y", False, False),
        (b"http://y", False, False),
        (Path("http://y"), False, False),
    ],
)
def test_what_is_a_url(source: Any, url: bool, chained: bool) -> None:
    assert is_url(source) == url
    assert is_chained(source) == chained


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("reference://x", {"fo": "refs.json"}),
        ("reference://x::file://refs.json", {}),
        ("simplecache::reference://x::refs.json", {}),
        ("simplecache://x", {"target_protocol": "reference", "target_options": {"fo": "refs"}}),
        ("simplecache://x", {"target_options": {"target_protocol": "reference"}}),
        ("memory://x", {"protocol": "reference"}),
        ("zip://x::reference", {"reference": {"fo": "refs.json"}}),
        ("generic://reference://x", {}),
        ("zip://x", {"fo": "simplecache::reference://y::refs.json"}),
    ],
)
def test_addresses_are_not_taken_from_files(url: str, options: dict[str, Any], inbox: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(DataConsistencyError, match="found reference, which reads them from a file"):
        DcbReader(url, storage_options=options)


def test_the_command_takes_chains_only_when_asked(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"simplecache::{server.origin}/x.dcbs?key={SECRET}"
    assert main(["info", url]) == 1
    shown = capsys.readouterr().err
    assert "--allow-chained" in shown and SECRET not in shown
    assert not server.requests
    assert main(["info", "--allow-chained", url]) == 0
    assert server.requests
    assert main(["info", "--allow-chained", f"simplecache::reference://x::{server.origin}"]) == 1


# The lowest version of fsspec leaves cached archives to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_chains_and_local_urls(server: Server, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.dcbs").write_bytes(content)
    (tmp_path / "x.zip").write_bytes(zipped(content))
    server.content = zipped(content)
    for url in (
        f"file://{tmp_path}/x.dcbs",
        f"zip://x.dcbs::{tmp_path}/x.zip",
        f"zip://x.dcbs::file://{tmp_path}/x.zip",
        f"zip://x.dcbs::{server.origin}/x.zip",
        f"zip://x.dcbs::simplecache::{server.origin}/x.zip",
        f"simplecache::zip://x.dcbs::file://{tmp_path}/x.zip",
    ):
        assert dicube.load(url).shape == (2, 8, 8)
    for url, expected in (
        (f"file://{tmp_path}/none.dcbs", CubeFileNotFoundError),
        (f"zip://none.dcbs::file://{tmp_path}/x.zip", CubeFileNotFoundError),
        (f"zip://x.dcbs::file://{tmp_path}/none.zip", CubeFileNotFoundError),
        (f"zip://x.dcbs::file://{tmp_path}/x.dcbs", CubeFileAccessError),
        (f"file://{tmp_path}", CubeFileAccessError),
    ):
        with pytest.raises(expected):
            dicube.load(url)


# -------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@example.org/x?sig=pw", "https://example.org/x"),
        ("https://token@example.org/x", "https://example.org/x"),
        ("https://me:p@w@example.org/x", "https://example.org/x"),
        ("simplecache::ftp://me:pw@example.org/x", "simplecache::ftp://example.org/x"),
        ("zip://a::https://me:pw@h/x.zip?pw", "zip://a::https://h/x.zip"),
        ("https://example.org/x@1.0/y", "https://example.org/x@1.0/y"),
        ("https://example.org/x#token=pw", "https://example.org/x"),
    ],
)
def test_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    text = f"can't connect to '{url}' (really)"
    assert text_without_credentials(text) == f"can't connect to '{shown}' (really)"


def everything_of(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    return text + "".join(map(everything_of, filter(None, [error.__cause__, error.__context__])))


@pytest.mark.parametrize("failing", ["other", "redirects", "cut off", "host", "port", "protocol"])
@pytest.mark.parametrize("chain", ["", "simplecache::"])
def test_errors_have_no_credentials(
    failing: str, chain: str, server: Server, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even in the tracebacks of the errors that they come from."""
    place = server.origin.removeprefix("http://")
    scheme = "http"
    if failing == "redirects":
        server.to = "/none"
    elif failing == "cut off":
        server.content = content[:-9]
    elif failing == "other":
        server.content = b"no dicube file"
    elif failing == "host":
        place = "no-such-host.invalid"
    elif failing == "port":
        place = "127.0.0.1:1"
    else:
        scheme = "nonsense"
    url = f"{chain}{scheme}://me:{SECRET}@{place}/x.dcbs?sig={SECRET}"
    caplog.set_level(logging.WARNING)
    with pytest.raises(DicomCubeError) as raised:
        dicube.load(url)
    assert SECRET not in everything_of(raised.value) + caplog.text


def test_reports_have_no_credentials(
    server: Server, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.origin.replace("://", f"://me:{SECRET}@") + f"/x.dcbs?sig={SECRET}"
    for options in ([], ["--json"]):
        assert main(["info", url, *options]) == 0
    report = dicube.verify_file(url)
    assert report.ok
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err + str(report)
    damaged = bytearray(content)
    damaged[-1] ^= 1
    server.content = bytes(damaged)
    with pytest.warns(UserWarning) as warned:
        DicomCubeImage.from_file(url, on_error="skip")
    assert warned and SECRET not in str([str(w.message) for w in warned])


CREDENTIALS: list[dict[str, Any]] = [
    {"headers": {"X-Api-Key": SECRET}},
    {"headers": {"Authorization": f"Bearer {SECRET}", "x-token": SECRET}},
    {"client_kwargs": {"headers": {"PRIVATE-TOKEN": SECRET}}},
    {"client_kwargs": {"cookies": {"session": SECRET}}},
    {"cookies": {"session": SECRET}},
    {"client_kwargs": {"auth": ("me", SECRET)}},
    {"auth": ("me", SECRET)},
    {"params": {"key": SECRET}},
    {"user": True},
]


@pytest.mark.filterwarnings("ignore:BasicAuth")
@pytest.mark.parametrize("chain", ["", "simplecache::", "target", "zip"])
@pytest.mark.parametrize("options", CREDENTIALS, ids=lambda options: next(iter(options)))
def test_credentials_do_not_follow_a_redirect_to_another_origin(
    options: dict[str, Any], chain: str, server: Server, content: bytes, tmp_path: Path
) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    def with_auth(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: with_auth(one) for name, one in value.items()}
        return aiohttp.BasicAuth(*value) if isinstance(value, tuple) else value

    options = with_auth(options)
    url = server.origin
    if options.pop("user", False):
        url = url.replace("://", f"://me:{SECRET}@")
    other = Server(content)
    try:
        for to in (f"{other.origin}/x.dcbs", other.origin.replace("http:", "") + "/x.dcbs"):
            server.to = to
            server.requests.clear()
            other.requests.clear()
            address, given = f"{url}/x.dcbs", options
            cache = {"cache_storage": str(tmp_path / os.path.basename(to) / str(len(to)))}
            if chain == "simplecache::":
                address, given = f"{chain}{address}", {"http": options, **cache}
            elif chain == "target":
                address = f"simplecache://{address}"
                given = {"target_protocol": "http", "target_options": options, **cache}
            elif chain == "zip":
                other.content = zipped(content)
                given = {"fo": address, "target_options": options}
                address = "zip://x.dcbs"
            assert dicube.load(address, storage_options=given).shape == (2, 8, 8)
            # The base64 of "me:" and the secret.
            assert SECRET in str(server.requests) or "bWU6enpzZWNyZXQ=" in str(server.requests)
            assert other.requests
            assert SECRET not in str(other.requests) and "bWU6" not in str(other.requests)
            assert all({*headers} <= PLAIN for _, headers in other.requests)
    finally:
        other.close()


def zipped(content: bytes) -> bytes:
    archive = io.BytesIO()
    with ZipFile(archive, "w") as file:
        file.writestr("x.dcbs", content)
    return archive.getvalue()


PLAIN = {"host", "range", "accept", "accept-encoding", "user-agent", "connection"}


def test_credentials_follow_a_redirect_within_the_origin(server: Server, content: bytes) -> None:
    served: list[str] = []

    class Redirecting(Server):
        @property
        def to(self) -> str:  # type: ignore[override]
            served.append(self.requests[-1][0])
            return "" if served[-1] == "/there" else "/there"

        @to.setter
        def to(self, _value: str) -> None:
            pass

    redirecting = Redirecting(content)
    try:
        url = f"{redirecting.origin}/here"
        dicube.load(url, storage_options={"headers": {"X-Api-Key": SECRET}})
        assert {headers["x-api-key"] for _, headers in redirecting.requests} == {SECRET}
        assert {path for path, _ in redirecting.requests} == {"/here", "/there"}
    finally:
        redirecting.close()


def test_a_client_of_the_caller_is_used(server: Server) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def client(**options: Any) -> Any:
        return aiohttp.ClientSession(headers={"X-Own": "1"}, **options)

    dicube.load(f"{server.origin}/x.dcbs", storage_options={"get_client": client})
    assert {headers["x-own"] for _, headers in server.requests} == {"1"}


def test_a_cube_of_a_url_opens_again_with_its_credentials(server: Server) -> None:
    url = f"{server.origin}/x.dcbs"
    cube = dicube.open(url, storage_options={"headers": {"X-Api-Key": SECRET}})
    assert np.array_equal(pickle.loads(pickle.dumps(cube))[0], np.zeros((8, 8)))
    assert {headers["x-api-key"] for _, headers in server.requests} == {SECRET}


def test_a_server_that_is_gone_is_an_access_error(server: Server) -> None:
    server.close()
    with pytest.raises((CubeFileAccessError, InvalidCubeFileError)):
        DcbReader(f"{server.origin}/x.dcbs")
