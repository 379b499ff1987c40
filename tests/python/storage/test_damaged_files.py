"""Damaged and hostile files: one line for each case, with the exception and its text.

Each file is refused, or read as it was written. None ends the process, or takes memory or time out
of proportion to its size.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inputs.arrays import LOSSLESS, SmoothVolume

from dicube.codecs import get_codec
from dicube.exceptions import CodecError, DicomCubeError, InvalidCubeFileError
from dicube.storage import FORMATS, DcbReader, DcbWriter

HEADER = struct.Struct("<8sI13Q")
SECTIONS = ("dicom_status", "dicom_meta", "space", "pixel_header", "offsets", "lengths")
FRAMES = 4

Damage = Callable[[bytes], bytes]


def content(volume: np.ndarray[Any, Any]) -> dict[str, bytes]:
    return {
        "dicom_status": b"consistent",
        "dicom_meta": b"m" * 300,
        "space": b"s" * 200,
        "pixel_header": b"h" * 100,
    }


@pytest.fixture(scope="module")
def volume(smooth_volume: SmoothVolume) -> np.ndarray[Any, Any]:
    return smooth_volume((FRAMES, 48, 40), "int16")


def our_bytes(volume: np.ndarray[Any, Any], codec: str) -> bytes:
    """A file of this writer."""
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        for name, data in content(volume).items():
            writer.write_section(name, data)
        writer.write_frames(volume)
    return target.getvalue()


def published_bytes(volume: np.ndarray[Any, Any]) -> bytes:
    """A file laid out as published writers do: no directory, no checksums."""
    frames = [get_codec("jph").encode(frame) for frame in volume]
    sections = list(content(volume).values())
    at = HEADER.size
    extents = []
    for size in [*map(len, sections), 8 * FRAMES, 8 * FRAMES]:
        extents += [at, size]
        at += size
    offsets = []
    for frame in frames:
        offsets.append(at)
        at += len(frame)
    tables = struct.pack(f"<{2 * FRAMES}Q", *offsets, *map(len, frames))
    header = HEADER.pack(b"DCMCUBES", 1, *extents, FRAMES)
    return header + b"".join(sections) + tables + b"".join(frames)


@pytest.fixture(scope="module", params=LOSSLESS)
def our_file(request: pytest.FixtureRequest, volume: np.ndarray[Any, Any]) -> bytes:
    return our_bytes(volume, FORMATS[request.param])


@pytest.fixture(scope="module")
def published_file(volume: np.ndarray[Any, Any]) -> bytes:
    return published_bytes(volume)


@pytest.fixture(scope="module", params=[*LOSSLESS, "published"])
def any_file(request: pytest.FixtureRequest, volume: np.ndarray[Any, Any]) -> bytes:
    if request.param == "published":
        return published_bytes(volume)
    return our_bytes(volume, FORMATS[request.param])


def read_all(data: bytes) -> tuple[np.ndarray[Any, Any], dict[str, bytes]]:
    with DcbReader(data, max_memory=1 << 28) as reader:
        sections = {name: reader.sections[name] for name in reader.sections}
        return reader.read_frames(), sections


def test_undamaged(any_file: bytes, volume: np.ndarray[Any, Any]) -> None:
    back, sections = read_all(any_file)
    assert np.array_equal(back, volume)
    for name, expected in content(volume).items():
        assert sections[name] == expected


def test_published_files_have_no_checksums(our_file: bytes, published_file: bytes) -> None:
    for data, has_checksums in ((our_file, True), (published_file, False)):
        with DcbReader(data) as reader:
            assert reader.has_checksums is has_checksums
            assert reader.format_version == 1


def patched(offset: int, layout: str, value: Any) -> Damage:
    def damage(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(layout, changed, offset, value)
        return bytes(changed)

    return damage


def extent(section: str, field: str, value: int) -> Damage:
    """Set offset or length of a section in the header."""
    at = 12 + 16 * SECTIONS.index(section) + (8 if field == "length" else 0)
    return patched(at, "<Q", value)


# Ways to damage any file: name, damage, exception, what its message says.
ANY_FILE: list[tuple[str, Damage, type[DicomCubeError], str | None]] = [
    ("empty", lambda data: b"", InvalidCubeFileError, "0 bytes"),
    ("one byte", lambda data: data[:1], InvalidCubeFileError, "1 byte"),
    ("half a header", lambda data: data[:60], InvalidCubeFileError, "60"),
    ("header alone", lambda data: data[:116], InvalidCubeFileError, None),
    ("text", lambda data: b"This is no dicube file. " * 20, InvalidCubeFileError, None),
    ("zeros", lambda data: bytes(len(data)), InvalidCubeFileError, None),
    ("a PNG", lambda data: b"\x89PNG\r\n\x1a\n" + data[8:], InvalidCubeFileError, None),
    ("magic of another kind", patched(0, "8s", b"DCMCUBEX"), InvalidCubeFileError, None),
    ("magic of .dcbl", patched(0, "8s", b"DCMCUBEL"), InvalidCubeFileError, None),
    ("base magic", patched(0, "8s", b"DCMCUBE\0"), InvalidCubeFileError, None),
    ("version 0", patched(8, "<I", 0), InvalidCubeFileError, "version 0"),
    ("version 2", patched(8, "<I", 2), InvalidCubeFileError, "version 2"),
    ("version 2^32-1", patched(8, "<I", 2**32 - 1), InvalidCubeFileError, "4294967295"),
    ("frame count 2^20", patched(108, "<Q", 1 << 20), InvalidCubeFileError, None),
    ("frame count 2^61", patched(108, "<Q", 1 << 61), InvalidCubeFileError, None),
    ("frame count 2^64-1", patched(108, "<Q", 2**64 - 1), InvalidCubeFileError, None),
    ("one frame less", patched(108, "<Q", FRAMES - 1), InvalidCubeFileError, None),
    ("one frame more", patched(108, "<Q", FRAMES + 1), InvalidCubeFileError, None),
    *[
        (f"{section} {field} {value:#x}", extent(section, field, value), InvalidCubeFileError, None)
        for section in SECTIONS
        for field in ("offset", "length")
        for value in (1 << 32, 1 << 63, 2**64 - 1)
    ],
    ("offsets length 0", extent("offsets", "length", 0), InvalidCubeFileError, None),
    ("lengths length 8", extent("lengths", "length", 8), InvalidCubeFileError, None),
]


@pytest.mark.parametrize(
    ("damage", "expected", "told"),
    [pytest.param(*line[1:], id=line[0]) for line in ANY_FILE],
)
def test_damage_to_any_file(
    damage: Damage, expected: type[DicomCubeError], told: str | None, any_file: bytes
) -> None:
    with pytest.raises(expected, match=told) as caught:
        read_all(damage(any_file))
    assert type(caught.value) is expected


def table_entry(table: int, frame: int, value: int) -> Damage:
    """Set an entry of the offsets (0) or lengths (1) table."""

    def damage(data: bytes) -> bytes:
        start = HEADER.unpack_from(data)[2 + 2 * (4 + table)]
        return patched(start + 8 * frame, "<Q", value)(data)

    return damage


# Ways to damage a table that no checksum protects.
PUBLISHED_TABLES: list[tuple[str, Damage, str]] = [
    ("offset 0", table_entry(0, 1, 0), "frame 1"),
    ("offset beyond the end", table_entry(0, 2, 1 << 40), "frame 2"),
    ("offset 2^64-1", table_entry(0, 2, 2**64 - 1), "frame 2"),
    ("length 0", table_entry(1, 3, 0), "frame 3"),
    ("length beyond the end", table_entry(1, 0, 1 << 33), "frame 0"),
    ("length 2^64-1", table_entry(1, 0, 2**64 - 1), "frame 0"),
    ("length 5", table_entry(1, 2, 5), "frame 2"),
]


@pytest.mark.parametrize(
    ("damage", "told"), [pytest.param(*line[1:], id=line[0]) for line in PUBLISHED_TABLES]
)
def test_damage_to_a_published_table(damage: Damage, told: str, published_file: bytes) -> None:
    with pytest.raises((InvalidCubeFileError, CodecError), match=told):
        read_all(damage(published_file))


def test_every_truncation_is_noticed(our_file: bytes) -> None:
    lengths = [*range(0, 1200, 7), *range(1200, len(our_file), 97), len(our_file) - 1]
    for length in lengths:
        with pytest.raises(InvalidCubeFileError):
            read_all(our_file[:length])


def test_a_published_file_cut_anywhere_is_noticed(
    published_file: bytes, volume: np.ndarray[Any, Any]
) -> None:
    for length in [*range(0, 900, 7), *range(900, len(published_file), 97)]:
        with pytest.raises((InvalidCubeFileError, CodecError)):
            read_all(published_file[:length])


def test_every_flipped_byte_is_noticed(our_file: bytes, volume: np.ndarray[Any, Any]) -> None:
    good_sections = read_all(our_file)[1]
    random = np.random.default_rng(0)
    offsets = {*range(700), *map(int, random.integers(0, len(our_file), 700))}
    unnoticed = []
    for offset in sorted(offsets):
        bad = bytearray(our_file)
        bad[offset] ^= 1 << int(random.integers(8))
        try:
            back, sections = read_all(bytes(bad))
        except InvalidCubeFileError:
            continue
        assert np.array_equal(back, volume)
        assert sections == good_sections
        unnoticed.append(offset)
    # What nothing points at and no checksum covers: the unused room of the directory.
    assert len(unnoticed) < 400, unnoticed


def test_flipped_bytes_of_a_published_file_end_in_our_exceptions(published_file: bytes) -> None:
    random = np.random.default_rng(1)
    first_frame = HEADER.unpack_from(published_file)[10] + 16 * FRAMES
    offsets = [
        *range(HEADER.size),
        *range(first_frame, first_frame + 130),
        *random.integers(0, len(published_file), 300),
    ]
    for offset in offsets:
        bad = bytearray(published_file)
        bad[offset] ^= 1 << int(random.integers(8))
        with contextlib.suppress(InvalidCubeFileError, CodecError):
            read_all(bytes(bad))


@pytest.mark.parametrize("seed", range(3))
def test_noise_behind_a_good_magic(seed: int) -> None:
    random = np.random.default_rng(seed)
    for size in (0, 50, 108, 500, 5000):
        for magic in (b"DCMCUBES\1\0\0\0", b"DCMCUBEA\1\0\0\0"):
            with pytest.raises(InvalidCubeFileError):
                read_all(magic + random.bytes(size))


def test_a_frame_of_another_kind(published_file: bytes) -> None:
    """A codestream of another shape, dtype or codec than the first frame's."""
    for stranger in (
        get_codec("jph").encode(np.zeros((48, 41), np.int16)),
        get_codec("jph").encode(np.zeros((48, 40), np.uint16)),
        get_codec("jph").encode(np.zeros((48, 40), np.int8)),
        get_codec("jph").encode(np.zeros((48, 40, 3), np.int16)),
        get_codec("jxl").encode(np.zeros((48, 40), np.int16)),
    ):
        offset = len(published_file)
        bad = table_entry(0, 2, offset)(published_file + stranger)
        with pytest.raises((CodecError, InvalidCubeFileError), match="frame 2"):
            read_all(table_entry(1, 2, len(stranger))(bad))
