"""Damaged and hostile files. tests/damaged.json has a line for each case, for all readers.

Each file is refused, or read as it was written. None ends the process, or takes memory or time out
of proportion to its size.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inputs.arrays import LOSSLESS, SmoothVolume
from programs.running import GOLDEN

from dicube.codecs import get_codec
from dicube.exceptions import CodecError, InvalidCubeFileError
from dicube.storage import FORMATS, DcbReader, DcbWriter

HEADER = struct.Struct("<8sI13Q")
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


def table_entry(table: int, frame: int, value: int) -> Damage:
    """Set an entry of the offsets (0) or lengths (1) table."""

    def damage(data: bytes) -> bytes:
        return patched(place_of(data, table, frame), struct.pack("<Q", value))(data)

    return damage


def place_of(data: bytes, table: int, frame: int) -> int:
    start: int = HEADER.unpack_from(data)[2 + 2 * (4 + table)]
    return start + 8 * frame


def patched(offset: int, new: bytes) -> Damage:
    return lambda data: data[:offset] + new + data[offset + len(new) :]


def damage_of(case: dict[str, Any]) -> Damage:
    """Return the function that damages a file as a case of the table says."""
    if "table" in case:
        table = ("offsets", "lengths").index(case["table"])
        (value,) = struct.unpack("<Q", bytes.fromhex(case["bytes"]))
        return table_entry(table, case["frame"], value)
    if "at" in case:
        return patched(case["at"], bytes.fromhex(case["bytes"]))
    return lambda data: data[: case["cut"]] + bytes.fromhex(case.get("append", ""))


def cases(name: str) -> list[Any]:
    """Return (damage, what the message says) for each case of a table that all readers share."""
    table = json.loads((GOLDEN.parent / "damaged.json").read_text())[name]
    return [pytest.param(damage_of(case), case.get("says"), id=case["name"]) for case in table]


@pytest.mark.parametrize(("damage", "told"), cases("any_file"))
def test_damage_to_any_file(damage: Damage, told: str | None, any_file: bytes) -> None:
    with pytest.raises(InvalidCubeFileError, match=told) as caught:
        read_all(damage(any_file))
    assert type(caught.value) is InvalidCubeFileError


@pytest.mark.parametrize(("damage", "told"), cases("published_tables"))
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
