"""An HTTP server on the loopback, whose answers a test writes. Must not know dicube files."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with Python's 5, some of many connections wait for a second
    daemon_threads = True


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
