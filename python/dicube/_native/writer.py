"""The writer of libdicube, which writes a file to a path or through a function."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from dicube._native.callbacks import Callback
from dicube._native.handle import Handle
from dicube._native.header import WRITE_AT, CodecOptions, Image, Loss, Sink
from dicube.regular_files import encoded_path


class Writer(Handle):
    """A file that is being written, by one thread at a time."""

    def __init__(self, kept: Any, callback: Callback | None, name: str, *arguments: Any) -> None:
        super().__init__("dicube_writer_close", kept, callback, name, *arguments)

    @classmethod
    def open_path(
        cls, path: str | os.PathLike[str], image: Image | None, frames: int, options: CodecOptions
    ) -> Writer:
        """Begin a file, which gets its name when it is finished.

        The image is None if the file has no frames.
        """
        encoded = encoded_path(path)
        return cls(None, None, "dicube_writer_open_path", encoded, image, frames, options)

    @classmethod
    def open_sink(
        cls,
        write_at: Callable[[int, memoryview], None],
        image: Image | None,
        frames: int,
        options: CodecOptions,
    ) -> Writer:
        """Begin a file that `write_at(offset, data)` stores; it raises an exception if it fails."""
        callback = Callback(write_at)
        sink = Sink(write_at=WRITE_AT(callback))
        return cls(sink, callback, "dicube_writer_open_sink", sink, image, frames, options)

    def section(self, name: str, data: bytes) -> None:
        """Add a section."""
        self._call("dicube_writer_section", name.encode("ascii"), data, len(data))

    def append_section(self, name: str, data: bytes) -> None:
        """Begin a section after all frames, or append to the section begun last."""
        self._call("dicube_writer_section_append", name.encode("ascii"), data, len(data))

    def encode(self, count: int, pixels: int, pixels_size: int) -> None:
        """Encode the next `count` frames, whose samples are at the address `pixels`."""
        self._call("dicube_writer_encode", count, pixels, pixels_size)

    def encode_roi(
        self, count: int, pixels: int, pixels_size: int, masks: int, masks_size: int
    ) -> None:
        """Encode the next `count` frames, each with a mask."""
        self._call("dicube_writer_encode_roi", count, pixels, pixels_size, masks, masks_size)

    def loss(self) -> Loss:
        """Return what the frames encoded so far lost."""
        loss = Loss()
        self._call("dicube_writer_loss", loss)
        return loss

    def coded(self, coded: bytes) -> None:
        """Store a coded frame as the next one."""
        self._call("dicube_writer_coded", coded, len(coded))

    def finish(self) -> None:
        """Complete the file."""
        self._call("dicube_writer_finish")
