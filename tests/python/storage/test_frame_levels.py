"""The section `frame_levels`: which bytes a level reads, and what a wrong section leads to."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from inputs.sealing import checksum, entries, sealed, with_section
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage
from dicube.codecs.jph import imencode_jph
from dicube.exceptions import CodecError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.frame_index import Region
from dicube.verify.report import Outcome

NAME = "frame_levels"
FRAMES, LEVELS = 3, 2  # described: a third one would halve 64 pixels or fewer
SHAPE = (FRAMES, 190, 201)


def file_of(volume: NDArray[Any], codec: str = "jph") -> bytes:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        writer.write_frames(volume)
    return target.getvalue()


def without_section(file: bytes) -> bytes:
    """The file with a name for the section that no reader knows."""
    changed = bytearray(file)
    at = entries(file)[NAME][3]
    changed[at : at + 16] = b"unknown".ljust(16, b"\0")
    return sealed(bytes(changed))


def prefixes_in(file: bytes) -> list[list[tuple[int, int]]]:
    """Number of bytes and checksum, for each frame and level."""
    offset, length, *_ = entries(file)[NAME]
    count, zero = struct.unpack_from("<2L", file, offset)
    assert (zero, length) == (0, 8 + 16 * count * FRAMES)
    numbers = struct.iter_unpack("<2Q", file[offset + 8 : offset + length])
    pairs = [(size, sum_) for size, sum_ in numbers]
    return [pairs[first : first + count] for first in range(0, len(pairs), count)]


@pytest.fixture(scope="module")
def volume(smooth_volume: SmoothVolume) -> NDArray[Any]:
    return smooth_volume(SHAPE, "int16")


@pytest.fixture(scope="module")
def file(volume: NDArray[Any]) -> bytes:
    return file_of(volume)


def test_each_level_is_described_until_it_is_small(file: bytes) -> None:
    with DcbReader(file) as reader:
        for frame, levels in enumerate(prefixes_in(file)):
            assert len(levels) == LEVELS
            coded = reader.coded(frame)
            sizes = [size for size, _ in levels]
            assert len(coded) > 2 * sizes[0] > 4 * sizes[1]
            assert [checksum(coded[:size]) for size in sizes] == [sum_ for _, sum_ in levels]
    first_frame = min(reader_offset for reader_offset in table_of_offsets(file))
    assert sum(entries(file)[NAME][:2]) <= first_frame


def table_of_offsets(file: bytes) -> tuple[int, ...]:
    offset, length, *_ = entries(file)["frame_offsets"]
    return struct.unpack_from(f"<{length // 8}Q", file, offset)


@pytest.mark.parametrize(
    ("shape", "dtype", "codec"),
    [
        ((3, 64, 64), "int16", "jph"),
        ((3, 90, 90), "float32", "jph"),
        ((3, 90, 90), "uint64", "jph"),
        ((3, 90, 90), "int16", "jxl"),
    ],
)
def test_what_has_no_levels_or_small_ones_has_no_section(
    shape: tuple[int, ...], dtype: str, codec: str
) -> None:
    assert NAME not in entries(file_of(np.ones(shape, dtype), codec))


@pytest.mark.parametrize("level", range(1, 6))
def test_a_level_reads_nothing_else(level: int, file: bytes, volume: NDArray[Any]) -> None:
    with DcbReader(without_section(file)) as whole:
        expected = whole.read_frames(level=level)
        region = Region(1, 2, 4, 3)
        part = whole.read_frame_list([2], level=level, region=region)
    cut, described = bytearray(file), min(level, LEVELS) - 1
    offsets = table_of_offsets(file)
    with DcbReader(file) as reader:
        for frame, levels in enumerate(prefixes_in(file)):
            size = levels[described][0]
            assert reader._file.reader.level_range(frame, level) == (offsets[frame], size)
            end = offsets[frame] + reader.coded_range(frame)[1]
            cut[offsets[frame] + size : end] = bytes(end - offsets[frame] - size)
    with DcbReader(bytes(cut)) as reader:
        assert reader.levels == 5
        assert np.array_equal(reader.read_frames(level=level), expected)
        assert np.array_equal(reader.read_frame_list([2], level=level, region=region), part)
        with pytest.raises(InvalidCubeFileError, match=r"frame .: expected checksum"):
            reader.read_frames()
    cut[offsets[1] + prefixes_in(file)[1][described][0] - 1] ^= 1
    with DcbReader(bytes(cut)) as reader:
        with pytest.raises(InvalidCubeFileError, match="frame 1: expected checksum"):
            reader.read_frames(level=level)
        assert np.array_equal(reader.read_frames(2, level=level), expected[2:])


def failing_checks(file: bytes, path: Path) -> dict[str, tuple[str, ...]]:
    path.write_bytes(file)
    report = dicube.verify_file(path)
    return {check.name: check.problems for check in report.checks if check.outcome is Outcome.FAILS}


def section(file: bytes, change: Callable[[list[list[tuple[int, int]]]], object]) -> bytes:
    """The section with other numbers of bytes, and the checksums of these bytes."""
    levels = prefixes_in(file)
    change(levels)
    packed = struct.pack("<2L", len(levels[0]), 0)
    for offset, of_frame in zip(table_of_offsets(file), levels, strict=True):
        for size, _ in of_frame:
            packed += struct.pack("<2Q", size, checksum(file[offset : offset + size]))
    return packed


def resized(frame: int, level: int, size: int) -> Callable[[list[list[tuple[int, int]]]], object]:
    def change(levels: list[list[tuple[int, int]]]) -> None:
        levels[frame][level - 1] = (levels[frame][level - 1][0] + size, 0)

    return change


def test_the_section_is_made_anew_without_a_change(file: bytes, tmp_path: Path) -> None:
    found = entries(file)[NAME]
    assert section(file, lambda _levels: None) == file[found[0] : sum(found[:2])]
    assert failing_checks(file, tmp_path / "x.dcbs") == {}
    report = dicube.verify_file(tmp_path / "x.dcbs")
    assert report.passed("levels")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes(8),
        struct.pack("<2L", 1, 0),
        lambda good: good[:-1],
        lambda good: good + bytes(1),
        lambda good: good + bytes(16 * FRAMES),
        lambda good: struct.pack("<2L", 1, 0) + good[8:],
        lambda good: struct.pack("<2L", 1 << 28, 0) + good[8:],
        lambda good: struct.pack("<2L", LEVELS, 1) + good[8:],
        lambda good: good[:8] + bytes(8) + good[16:],
        lambda good: good[:8] + b"\xff" * 8 + good[16:],
        lambda good: good[:-16] + bytes(8) + good[-8:],
        lambda good: good[:-16] + b"\xff" * 8 + good[-8:],
        lambda good: good[:8] + good[24:32] + good[16:24] + good[8:16] + good[32:],  # grows
    ],
)
def test_malformed_sections(bad: Any, file: bytes, volume: NDArray[Any], tmp_path: Path) -> None:
    offset, length, *_ = entries(file)[NAME]
    content = bad(file[offset : offset + length]) if callable(bad) else bad
    changed = with_section(file, NAME, content)
    with DcbReader(changed) as reader:
        for _ in range(2):
            with pytest.raises(InvalidCubeFileError, match="frame_levels: expected"):
                reader.read_frames(level=1)
        assert np.array_equal(reader.read_frames(), volume)
    assert list(failing_checks(changed, tmp_path / "x.dcbs")) == ["levels"]


def test_more_bytes_than_memory_may_be_used(file: bytes) -> None:
    changed = with_section(file, NAME, bytes(2 << 20))
    with DcbReader(changed, max_memory=4 << 20) as reader:
        assert reader.read_frames().shape == SHAPE
        with pytest.raises(DicomCubeError, match="frame_levels: needs 2097152 bytes, max_memory"):
            reader.read_frames(level=1)


@pytest.mark.parametrize(
    ("frame", "level", "size"), [(0, 2, -1), (1, 2, -20), (2, 1, -1), (1, 1, -1000)]
)
def test_prefixes_that_are_too_short(
    frame: int, level: int, size: int, file: bytes, tmp_path: Path
) -> None:
    """The checksums are right: somebody made the file so."""
    changed = with_section(file, NAME, section(file, resized(frame, level, size)))
    with DcbReader(changed) as reader:
        with pytest.raises(CodecError, match=rf"frame {frame}: .* bytes of the frame do not suff"):
            reader.read_frames(level=level)
        assert reader.read_frames().shape == SHAPE
    (problems,) = [failing_checks(changed, tmp_path / "x.dcbs")[name] for name in ("levels",)]
    assert any(problem.startswith(f"level {level}: frame {frame}") for problem in problems)


def test_prefixes_that_are_too_long_or_the_whole_frame(
    file: bytes, volume: NDArray[Any], tmp_path: Path
) -> None:
    with DcbReader(file) as reader:
        expected = reader.read_frames(level=1)
        sizes = [reader.coded_range(frame)[1] for frame in range(FRAMES)]

    def change(levels: list[list[tuple[int, int]]]) -> None:
        levels[0][0] = (levels[0][0][0] + 1, 0)
        levels[1] = [(sizes[1], 0), (sizes[1], 0)]
        levels[2][0] = (sizes[2] - 1, 0)  # ends within EOC, behind the tile-part

    changed = with_section(file, NAME, section(file, change))
    with DcbReader(changed) as reader:
        assert np.array_equal(reader.read_frames(0, 2, level=1), expected[:2])
        with pytest.raises(CodecError, match=r"frame 2: .* expected one tile-part"):
            reader.read_frames(2, level=1)
    assert list(failing_checks(changed, tmp_path / "x.dcbs")) == ["levels"]


def test_coded_frames_that_are_damaged_or_have_fewer_levels(
    volume: NDArray[Any], full_range: SmoothVolume
) -> None:
    """They are stored as they come, and described as if all their bytes were needed."""
    narrow, wide = volume[0].astype(np.int32), full_range(SHAPE[1:], "int32")
    coded = [imencode_jph(narrow), imencode_jph(wide)]
    damaged = bytearray(coded[0])
    packets = damaged.index(b"\xff\x93") + 2
    damaged[packets : packets + 60] = b"\xc0" + bytes(59)  # more empty bit planes than a block has
    target = io.BytesIO()
    with DcbWriter(target, SHAPE, "int32", codec="jph") as writer:
        for one in (coded[0], coded[1], bytes(damaged)):
            writer.write_coded(one)
    levels = prefixes_in(target.getvalue())
    assert levels[0][1][0] < levels[0][0][0] < len(coded[0])
    assert [size for size, _ in levels[1]] == [len(coded[1])] * LEVELS
    assert [size for size, _ in levels[2]] == [len(damaged)] * LEVELS
    with DcbReader(target.getvalue()) as reader:
        assert np.array_equal(reader.read_frames(0, 2), [narrow, wide])
        assert reader.read_frames(0, 1, level=2).shape == (1, 48, 51)
        with pytest.raises(DicomCubeError, match=r"frame 1: .* level of 0 to 0"):
            reader.read_frames(1, 2, level=1)


def test_verify_allows_frames_with_fewer_levels_than_the_first(
    volume: NDArray[Any], full_range: SmoothVolume, tmp_path: Path
) -> None:
    frames = [volume[0].astype(np.int32), full_range(SHAPE[1:], "int32")]
    DicomCubeImage(np.stack(frames)).to_file(tmp_path / "x.dcbs")
    report = dicube.verify_file(tmp_path / "x.dcbs")
    assert report.ok
    assert report.passed("levels")


def test_the_bytes_of_a_file_do_not_depend_on_threads(volume: NDArray[Any], file: bytes) -> None:
    for threads in (1, 3):
        target = io.BytesIO()
        with DcbWriter(
            target, volume.shape, volume.dtype, codec="jph", num_threads=threads
        ) as writer:
            writer.write_frames(volume)
        assert target.getvalue() == file


def test_callers_do_not_write_it() -> None:
    with (
        pytest.raises(DicomCubeError, match="frame_levels: is written by the library itself"),
        DcbWriter(io.BytesIO(), SHAPE, "int16", codec="jph") as writer,
    ):
        writer.write_section(NAME, bytes(8))
