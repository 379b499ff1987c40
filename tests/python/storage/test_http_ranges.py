"""HTTP servers that are broken or hostile: each answer is the file's bytes, or one error."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

import numpy as np
import pytest
from inputs.http_server import HttpServer, range_of

from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError, DicomCubeError
from dicube.storage import DcbReader, DcbWriter, http_ranges

pytest.importorskip("fsspec")
aiohttp = pytest.importorskip("aiohttp")

FRONT = 1 << 18  # bytes of the first request
PACKET = 1 << 16

Answer = Callable[[BaseHTTPRequestHandler, int, int], None]


class Server(HttpServer):
    """A server whose answers a test writes, byte by byte.

    Attributes:
        answer: writes the answer to a request for a range, given its start and stop.
        requests: method and path of each request.
        sent: bytes of bodies that were handed to the system.
        stopped: set when the test ends, for answers without end.
    """

    def __init__(self) -> None:
        self.answer: Answer = lambda handler, start, stop: None
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.stopped = Event()
        super().__init__()
        self.url = self.origin.replace("://", "://me:zzsecret@") + "/x.dcbs?key=zzsecret"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.command, handler.path))
        if handler.command == "HEAD":
            handler.send_error(405)
            return
        asked = range_of(handler)
        assert asked is not None, "only ranges are asked for"
        handler.close_connection = True
        with suppress(OSError):  # the client has closed the connection
            self.answer(handler, *asked)

    def head(self, handler: BaseHTTPRequestHandler, status: int, **headers: Any) -> None:
        """Send the status and headers of an answer."""
        handler.send_response(status)
        handler.send_header("Connection", "close")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()

    def body(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        """Send bytes, and count those that the client took."""
        for start in range(0, len(data), PACKET):
            part = data[start : start + PACKET]
            handler.wfile.write(part)
            self.sent += len(part)

    def close(self) -> None:
        self.stopped.set()
        super().close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def content() -> bytes:
    """A file of more than one request."""
    target = io.BytesIO()
    volume = np.random.default_rng(0).integers(0, 4096, (20, 140, 150), np.uint16)
    with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
        writer.write_frames(volume)
    return target.getvalue()


def partial(server: Server, content: bytes, **changed: Any) -> Answer:
    """The answer of a sound server, with some headers changed; None leaves one out."""

    def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        part = content[start:stop]
        headers = {
            "Content_Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}",
            "Content_Length": len(part),
            **{n: v(start, stop) if callable(v) else v for n, v in changed.items()},
        }
        server.head(handler, 206, **{n: v for n, v in headers.items() if v is not None})
        server.body(handler, part)

    return answer


def refused(server: Server, match: str, **options: Any) -> CubeFileAccessError:
    """Check that opening the file raises one error, with its URL and without its password."""
    with pytest.raises(CubeFileAccessError, match=match) as raised:
        DcbReader(server.url, storage_options=options)
    assert str(raised.value).startswith(f"{server.origin}/x.dcbs: cannot read: ")
    assert len(str(raised.value)) < 500
    assert "zzsecret" not in f"{raised.value} {raised.value.__cause__} {raised.value.__context__}"
    return raised.value


def test_a_sound_server(server: Server, content: bytes) -> None:
    server.answer = partial(server, content, ETag='"1"')
    with DcbReader(server.url) as reader:
        assert reader.read_frames().any()
    assert {method for method, _ in server.requests} == {"GET"}  # HEAD may be refused


@pytest.mark.parametrize(
    "stated",
    [
        None,
        "",
        "bytes 1-262144/900000",
        "bytes 0-262143/1000",
        "bytes 0-999999999/9999999999",
        "bytes 0-9/900000",
        "bytes 5-2/10",
        "bytes 0-262143/" + "9" * 5000,
        "pages 0-1/2",
    ],
)
def test_content_range_that_is_another(server: Server, content: bytes, stated: str | None) -> None:
    server.answer = partial(server, content, Content_Range=stated, Content_Length=None)
    refused(server, r"expected Content-Range bytes 0-262143.*found")


@pytest.mark.parametrize("length", [5, FRONT - 1, FRONT + 1, 1 << 40])
def test_content_length_that_contradicts_the_range(
    server: Server, content: bytes, length: int
) -> None:
    server.answer = partial(server, content, Content_Length=length)
    # Bytes behind those of Content-Length may be taken for the next answer, which they are not.
    refused(
        server,
        rf"expected 262144 bytes by Content-Range, found {length} by Content-Length"
        + ("|cannot read: 400" if length < FRONT else ""),
    )


@pytest.mark.parametrize("length", ["-1", "many", "5, 6", "9" * 400])
def test_content_length_that_is_no_number(server: Server, content: bytes, length: str) -> None:
    server.answer = partial(server, content, Content_Length=length)
    refused(server, "cannot read")


@pytest.mark.parametrize("stated", [True, False])
def test_connection_that_ends_early(server: Server, content: bytes, stated: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        length = {"Content_Length": stop - start} if stated else {}
        server.head(
            handler, 206, Content_Range=f"bytes {start}-{stop - 1}/{len(content)}", **length
        )
        server.body(handler, content[start : stop - 1000])

    server.answer = answer
    refused(server, r"expected 262144 bytes, (found|the connection ended after) 261144")


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("chunked", [True, False])
def test_more_than_asked_without_end(
    server: Server, content: bytes, status: int, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_ranges, "MOST_WHOLE", 1 << 20)

    def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        told = {"Content_Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        told |= {"Transfer_Encoding": "chunked"} if chunked else {}
        server.head(handler, status, **told)
        part = bytes(PACKET)
        while not server.stopped.is_set():
            server.body(handler, b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)

    server.answer = answer
    refused(server, "expected at most .* bytes, the server sends more")
    assert server.sent < 16 << 20  # what fits into the buffers of two sockets


def test_large_file_of_a_server_without_ranges(server: Server) -> None:
    def answer(handler: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
        server.head(handler, 200, Content_Length=1 << 40)
        while not server.stopped.is_set():
            server.body(handler, bytes(PACKET))

    server.answer = answer
    error = refused(server, r"asked for 262144 bytes, got the whole file of 1099511627776")
    assert "at most 16777216 bytes" in str(error)
    assert server.sent < 16 << 20


def test_small_file_of_a_server_without_ranges(server: Server, content: bytes) -> None:
    def answer(handler: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
        server.head(handler, 200, Content_Length=len(content))
        server.body(handler, content)

    server.answer = answer
    with DcbReader(server.url) as reader:
        assert reader.read_frames().any()
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip", "br", "zzz"])
def test_compressed_answers(server: Server, content: bytes, status: int, coding: str) -> None:
    bomb = gzip.compress(bytes(64 << 20))

    def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        told = {"Content_Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        server.head(handler, status, Content_Encoding=coding, Content_Length=len(bomb), **told)
        server.body(handler, bomb)

    server.answer = answer
    refused(server, f"expected bytes as they are, found Content-Encoding '{coding}'")


@pytest.mark.parametrize("what", ["ETag", "size"])
def test_file_that_changes_between_ranges(server: Server, content: bytes, what: str) -> None:
    versions = iter(('"1"', '"2"'))
    if what == "ETag":
        server.answer = partial(server, content, ETag=lambda *_: next(versions))
        match = 'expected ETag "1" as before, found "2"'
    else:
        server.answer = partial(server, content)
        match = f"expected size {len(content)} as before, found {len(content) + 1}"
    with DcbReader(server.url) as reader:
        if what == "size":
            server.answer = partial(server, content + b"x")
        with pytest.raises(CubeFileAccessError, match=match) as raised:
            reader.read_frames(15, 16)
        assert "zzsecret" not in str(raised.value)


@pytest.mark.parametrize(("options", "most"), [({}, 10), ({"max_redirects": 3}, 3)])
def test_redirects_without_end(server: Server, options: dict[str, int], most: int) -> None:
    def answer(handler: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
        server.head(handler, 302, Location=f"/{len(server.requests)}", Content_Length=0)

    server.answer = answer
    refused(server, f"redirected {most} times", **options)
    assert len(server.requests) < 20


@pytest.mark.parametrize("to", ["file:///etc/passwd", "http://", "//[", "gopher://x/", ""])
def test_redirects_to_no_server(server: Server, to: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
        server.head(handler, 302, Location=to, Content_Length=0)

    server.answer = answer
    with pytest.raises(DicomCubeError):
        DcbReader(server.url)


@pytest.mark.parametrize("status", [201, 204, 304, 401, 500, 599])
def test_other_answers(server: Server, status: int) -> None:
    server.answer = lambda handler, *_: server.head(handler, status, Content_Length=0)
    refused(server, rf"cannot read: {status}")


@pytest.mark.parametrize("status", [404, 410])
def test_no_such_file(server: Server, status: int) -> None:
    server.answer = lambda handler, *_: server.head(handler, status, Content_Length=0)
    with pytest.raises(CubeFileNotFoundError, match=rf"^{server.origin}/x\.dcbs: no such file"):
        DcbReader(server.url)


class TestSlowServers:
    """The limits end a request, and callers can change them."""

    @pytest.fixture
    def dripping(self, server: Server, content: bytes) -> Server:
        """A server that sends a byte of the file now and then."""

        def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
            told = {"Content_Range": f"bytes {start}-{stop - 1}/{len(content)}"}
            server.head(handler, 206, Content_Length=stop - start, **told)
            for byte in content[start:stop]:
                server.body(handler, bytes([byte]))
                if server.stopped.wait(0.05):
                    return

        server.answer = answer
        return server

    def test_the_whole_request_takes_a_limited_time(
        self, dripping: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_ranges, "WAIT", 0.5)
        monkeypatch.setattr(http_ranges, "SLOWEST", 1 << 20)
        error = refused(dripping, r"asked for 262144 bytes, got \d+ in the time allowed")
        assert "timeout" in str(error.suggestion)

    @pytest.mark.parametrize(
        "options",
        [
            {"timeout": 0.5},
            {"timeout": aiohttp.ClientTimeout(total=0.5)},
            {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=0.5)}},
        ],
    )
    def test_callers_choose_it(self, dripping: Server, options: dict[str, Any]) -> None:
        refused(dripping, r"asked for 262144 bytes, got \d+ in the time allowed", **options)

    @pytest.mark.parametrize("begins", [True, False])
    def test_a_server_that_sends_nothing(
        self, server: Server, begins: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_ranges, "WAIT", 0.5)

        def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
            if begins:
                told = {"Content_Range": f"bytes {start}-{stop - 1}/{1 << 20}"}
                server.head(handler, 206, Content_Length=stop - start, **told)
                handler.wfile.flush()
            server.stopped.wait(60)

        server.answer = answer
        refused(server, "asked for 262144 bytes, got 0 in the time allowed")

    def test_a_server_that_takes_its_time(self, server: Server, content: bytes) -> None:
        """Whoever answers in time is never refused."""
        sound = partial(server, content)

        def answer(handler: BaseHTTPRequestHandler, start: int, stop: int) -> None:
            time.sleep(0.2)
            sound(handler, start, stop)

        server.answer = answer
        with DcbReader(server.url, storage_options={"timeout": 60}) as reader:
            assert reader.read_frames().any()
