"""HTTP servers on the loopback: of files, and one whose answers a test writes.

Must not know dicube files.
"""

from __future__ import annotations

import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with Python's 5, some of many connections wait for a second
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may leave
            super().handle_error(request, client_address)


class HttpServer:
    """Passes each GET and HEAD request to `handle`, in a thread of its own.

    Attributes:
        origin: the start of its URLs: scheme, host and port.
    """

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or a body waits 40 ms for the headers' receipt

            def do_GET(self) -> None:
                outer.handle(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Write the answer to a request."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def range_of(handler: BaseHTTPRequestHandler) -> tuple[int, int] | None:
    """Return start and stop of the range that a request asks for; None if it asks for none."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    return (int(found[1]), int(found[2]) + 1) if found else None


class FileServer(HttpServer):
    """A server of files that records its requests.

    Attributes:
        files: content by path.
        latency: seconds before each answer.
        requests: (method, start, stop) of each request so far; None and None for a whole file.
        at_once: the most requests that were under way together.
        ranges: whether it knows ranges.
        failing: the status it answers, if not what was asked for.
        lost: bytes that are missing at each file's end.
        sent: bytes of files sent so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.latency = 0.0
        self.ranges, self.failing, self.lost = True, 0, 0
        self.requests: list[tuple[str, int | None, int | None]] = []
        self.at_once = self._under_way = self.sent = 0
        self._lock = Lock()
        super().__init__()

    def url(self, name: str) -> str:
        return f"{self.origin}/{name}"

    def add(self, name: str, content: bytes) -> str:
        self.files[name] = content
        return self.url(name)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        start, stop = range_of(handler) or (None, None)
        with self._lock:
            self.requests.append((handler.command, start, stop))
            self._under_way += 1
            self.at_once = max(self.at_once, self._under_way)
        time.sleep(self.latency)
        status, body, told = self._content(handler.path.split("?")[0][1:], start, stop)
        with self._lock:
            self._under_way -= 1
            self.sent += len(body)
        handler.send_response(status)
        for name, value in {**told, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def _content(
        self, name: str, start: int | None, stop: int | None
    ) -> tuple[int, bytes, dict[str, str]]:
        if self.failing:
            return self.failing, b"no", {}
        if name not in self.files:
            return 404, b"", {}
        content = self.files[name]
        content = content[: len(content) - self.lost]
        if start is None or stop is None or not self.ranges:
            return 200, content, {}
        if start >= len(content):
            return 416, b"", {"Content-Range": f"bytes */{len(content)}"}
        part = content[start:stop]
        told = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return 206, part, {"Content-Range": told}
