"""Serve a file over HTTP on the loopback as a server far away does: each answer comes late.

Must not know what is measured.
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "python"))

from inputs.http_server import HttpServer, range_of

LATENCY = 0.020  # seconds


class FarServer(HttpServer):
    """Serves one file.

    Attributes:
        url: of the file.
        requests, sent: numbers of requests and of bytes of the file so far.
    """

    def __init__(self, file: Path) -> None:
        self._bytes = file.read_bytes()
        self._lock = threading.Lock()
        self.requests = self.sent = 0
        super().__init__()
        self.url = f"{self.origin}/{file.name}"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer with the range asked for."""
        time.sleep(LATENCY)
        part, size = range_of(handler), len(self._bytes)
        start, stop = part or (0, size)
        body = self._bytes[start:stop]
        handler.send_response(200 if part is None else 206)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Length", str(len(body)))
        if part is not None:
            handler.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{size}")
        handler.end_headers()
        sent = 0
        if handler.command == "GET":
            handler.wfile.write(body)
            sent = len(body)
        with self._lock:
            self.requests += 1
            self.sent += sent
