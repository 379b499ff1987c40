"""packed_text: packs and unpacks, and limits hostile input."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
import zstandard

from dicube.exceptions import InvalidCubeFileError
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes, unpack_text


@pytest.mark.parametrize("text", ["", "{}", "Müller^Jörg 山田", '{"a": "b"}' * 100_000])
def test_there_and_back(text: str) -> None:
    assert unpack_text(pack_text(text)) == text


def test_declares_its_size_as_published_readers_need() -> None:
    packed = pack_text("text" * 100)
    assert zstandard.get_frame_parameters(packed).content_size == 400
    assert zstandard.get_frame_parameters(packed).has_checksum


def with_declared_size(size: int) -> bytes:
    """A zstd frame that declares any size: magic, descriptor of an 8-byte size, no content."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("packed", "told"),
    [
        (b"", None),
        (b"plain text", None),
        (pack_text("text" * 1000)[:-1], None),
        (pack_text("text" * 1000)[:12], None),
        (with_declared_size(1 << 62), "4611686018427387904"),
        (with_declared_size(1 << 40), "1099511627776"),
        (with_declared_size(100), None),
        (zstandard.ZstdCompressor().compress(bytes(1 << 28)), "268435456"),
        (zstandard.ZstdCompressor().compress(b"\xff\xfe"), "utf-8"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"{}"), "declare"),
        (pack_text("text") + b"more", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(packed: bytes, told: str | None) -> None:
    with pytest.raises(InvalidCubeFileError, match=told):
        unpack_text(packed)


def test_any_flipped_bit_is_noticed() -> None:
    text = "".join(f"{number:x}" for number in range(300))
    good = pack_text(text)
    for offset in range(len(good)):
        bad = bytearray(good)
        bad[offset] ^= 1 << (offset % 8)
        with contextlib.suppress(InvalidCubeFileError):
            assert unpack_text(bytes(bad)) == text, offset


def test_bytes_there_and_back_with_what_is_alike_far_apart() -> None:
    block = random.Random(0).randbytes(1 << 20)
    data = block + random.Random(1).randbytes(6 << 20) + block
    packed = pack_bytes(data)
    assert unpack_bytes(packed) == data
    assert len(packed) < len(data) - 0.9 * len(block)
    assert zstandard.get_frame_parameters(packed).has_checksum


@pytest.mark.parametrize("size", [64 << 20, (64 << 20) + 1, 80 << 20])
def test_bytes_that_are_all_alike(size: int) -> None:
    packed = pack_bytes(bytes(size))
    assert unpack_bytes(packed) == bytes(size)
    assert len(packed) < 21 << 10
    with pytest.raises(InvalidCubeFileError):
        unpack_bytes(packed + b"\0")


def test_padding_that_is_all_there_is() -> None:
    with pytest.raises(InvalidCubeFileError):
        unpack_bytes(struct.pack("<LL", 0x184D2A50, 1 << 31))
    with pytest.raises(InvalidCubeFileError):
        unpack_bytes(struct.pack("<LL", 0x184D2A50, 4) + bytes(4))
