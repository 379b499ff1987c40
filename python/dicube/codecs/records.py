"""One record for each codec: its number, its names, its library. Knows nothing of how it works."""

from __future__ import annotations

from dataclasses import dataclass

from dicube import _native


@dataclass(frozen=True)
class CodecRecord:
    """A codec.

    Attributes:
        id: its number in files and in the C library.
        name: its name in the registry.
        label: its name in messages.
        extensions: of files that hold one bare codestream.
        library: the library that implements it.
    """

    id: int
    name: str
    label: str
    extensions: tuple[str, ...]
    library: str


JXL = CodecRecord(_native.CODEC_JXL, "jxl", "JPEG XL", (".jxl",), "libjxl")
JPH = CodecRecord(_native.CODEC_HTJ2K, "jph", "HTJ2K", (".j2k", ".j2c", ".jp2"), "OpenJPH")

RECORDS = {record.id: record for record in (JXL, JPH)}
