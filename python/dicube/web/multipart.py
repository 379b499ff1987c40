"""Writes multipart messages (RFC 2387, PS3.18 8.6.1.2). Must not know what the parts hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import NamedTuple

Bytes = bytes | memoryview


class Part(NamedTuple):
    """A part of a message.

    Attributes:
        content_type: of its content, with parameters.
        content: its bytes, which may be made while they are sent.
        location: URL of what it is; '' for none.
    """

    content_type: str
    content: Iterable[Bytes]
    location: str = ""


class Multipart:
    """A multipart message.

    Attributes:
        content_type: of the message.
    """

    def __init__(self, media_type: str) -> None:
        """Take the media type of the parts."""
        self._boundary = token_hex(16)
        self.content_type = f'multipart/related; type="{media_type}"; boundary={self._boundary}'

    def message(self, parts: Iterable[Part]) -> Iterator[Bytes]:
        """Yield the bytes of a message; no part stands in memory as a whole."""
        for part in parts:
            location = f"Content-Location: {part.location}\r\n" if part.location else ""
            yield (
                f"--{self._boundary}\r\nContent-Type: {part.content_type}\r\n{location}"
                "MIME-Version: 1.0\r\n\r\n"
            ).encode("latin-1")
            yield from part.content
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode()
