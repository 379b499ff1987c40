"""Frames by number, and at reduced resolution, compared with the wavelet of the standard."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError
from dicube.storage import DcbReader, DcbWriter

Volume = NDArray[Any]


def reader_of(volume: Volume, codec: str = "jph", **options: Any) -> DcbReader:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        writer.write_frames(volume)
    return DcbReader(target.getvalue(), **options)


def low_pass(signal: Volume, axis: int) -> Volume:
    """The low half of the reversible 5/3 wavelet (ISO/IEC 15444-1 F.4.8.1), edges mirrored."""
    x = np.moveaxis(signal, axis, 0)
    if len(x) == 1:
        return signal
    after = x[2::2] if len(x) % 2 else np.concatenate([x[2::2], x[-2:-1]])
    high = x[1::2] - ((x[0::2][: len(after)] + after) >> 1)
    before = np.concatenate([high[:1], high])
    behind = np.concatenate([high, high[-1:]]) if len(x) % 2 else high
    return np.moveaxis(x[0::2] + ((before[: len(behind)] + behind + 2) >> 2), 0, axis)


def reduced(volume: Volume, level: int) -> Volume:
    """What a frame is at a level, in the range of the bits that its codestream has."""
    width, signed = volume.dtype.itemsize * 8, volume.dtype.kind == "i"
    frames = []
    for frame in volume.astype(np.int64):
        extremes = [int(frame.min()), int(frame.max())]
        needed = max((v if v >= 0 else ~v).bit_length() for v in extremes) + signed
        bits = max(needed, width // 2 + 1 if width > 8 else 1)
        least = -(1 << (bits - 1)) if signed else 0
        for _ in range(level):
            frame = low_pass(low_pass(frame, 0), 1)
        frames.append(np.clip(frame, least, least + (1 << bits) - 1))
    return np.stack(frames).astype(volume.dtype)


SHAPES = [
    *[(3, 33, 50), (2, 1, 1), (2, 7, 1), (2, 1, 12), (3, 64, 65), (2, 19, 22, 3)],
    *[(2, 150, 261), (2, 1, 300), (2, 131, 1), (2, 130, 67, 3)],  # of which prefixes are read
]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_levels_are_those_of_the_standard(
    dtype: str, shape: tuple[int, ...], full_range: SmoothVolume, smooth_volume: SmoothVolume
) -> None:
    for make in (full_range, smooth_volume):
        volume = make(shape, dtype)
        with reader_of(volume) as reader:
            assert reader.levels == 5
            for level in range(6):
                sides = tuple(-(-side >> level) for side in shape[1:3])
                assert reader.frame_shape_at(level) == (*sides, *shape[3:])
                assert np.array_equal(reader.read_frames(level=level), reduced(volume, level))


@pytest.mark.parametrize("dtype", ["uint32", "int32"])
def test_levels_of_wide_integers(dtype: str, full_range: SmoothVolume) -> None:
    volume = full_range((2, 40, 31), dtype, bits=30)
    with reader_of(volume) as reader:
        for level in range(reader.levels + 1):
            assert np.array_equal(reader.read_frames(level=level), reduced(volume, level))


def test_large_frames_have_more_levels(smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((1, 3, 4500), "uint16")
    with reader_of(volume) as reader:
        assert reader.levels == 7
        assert np.array_equal(reader.read_frames(level=7), reduced(volume, 7))
    for side, levels in ((2048, 5), (2049, 6), (2080, 6), (4096, 6), (4097, 7)):
        with reader_of(smooth_volume((1, side, 70), "uint8")) as reader:
            assert reader.levels == levels
            assert max(reader.frame_shape_at(levels)) <= 64


@pytest.mark.parametrize(
    ("dtype", "codec"),
    [("float32", "jph"), ("uint64", "jph"), ("uint32", "jph"), ("int32", "jph"), ("int16", "jxl")],
)
def test_without_levels(dtype: str, codec: str, full_range: SmoothVolume) -> None:
    source = "int32" if dtype == "uint64" else "uint32" if dtype == "float32" else dtype
    volume = full_range((2, 20, 20), source).view(source).astype(dtype)
    with reader_of(volume, codec) as reader:
        assert reader.levels == 0
        assert np.array_equal(reader.read_frames(level=0), volume)
        with pytest.raises(
            DataConsistencyError, match=r"have no resolution levels \(asked for level 1\)"
        ):
            reader.read_frames(level=1)
        with pytest.raises(DataConsistencyError, match="asked for level -1"):
            reader.frame_shape_at(-1)


def test_a_frame_with_fewer_bits_than_the_first_has(full_range: SmoothVolume) -> None:
    volume = np.concatenate(
        [full_range((1, 20, 20), "uint32", bits=20), full_range((1, 20, 20), "uint32")]
    )
    with reader_of(volume) as reader:
        assert reader.levels == 5
        assert np.array_equal(reader.read_frames(0, 1, level=2), reduced(volume[:1], 2))
        with pytest.raises(DataConsistencyError, match=r"frame 1: .* 0 to 0 .* 32 bits, found 2"):
            reader.read_frames(level=2)


@pytest.mark.parametrize("codec", ["jph", "jxl"])
@pytest.mark.parametrize("threads", [1, 3])
def test_frames_by_their_numbers(codec: str, threads: int, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((23, 18, 20), "int16")
    with reader_of(volume, codec, num_threads=threads) as reader:
        for numbers in ([3, 7, 22], [22, 0, 5, 5, -1, -23], range(0, 23, 5), [], [4]):
            wanted = np.array(list(numbers), np.int64)
            assert np.array_equal(reader.read_frame_list(numbers), volume[wanted])
        assert np.array_equal(reader.read_frame_list(np.array([-1, 2], "int8")), volume[[-1, 2]])
        out = np.empty((2, 18, 20), "int16")
        done: list[tuple[int, int]] = []
        assert (
            reader.read_frame_list([9, 1], out=out, progress=lambda *counts: done.append(counts))
            is out
        )
        assert np.array_equal(out, volume[[9, 1]])
        assert done == [(2, 2)]
        for wrong in ([23], [0, -24], np.array([2**64 - 1], np.uint64)):
            with pytest.raises(IndexError, match="expected frames of -23 to 22"):
                reader.read_frame_list(wrong)
        for wrong_kind in ([1.5], [[1]], [True]):
            with pytest.raises(DataConsistencyError, match="list of frame numbers"):
                reader.read_frame_list(wrong_kind)


def test_levels_into_an_array_and_by_number(smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((9, 33, 20), "uint16")
    with reader_of(volume) as reader:
        out = np.empty((2, 9, 5), "uint16")
        reader.read_frame_list([8, 1], out=out, level=2)
        assert np.array_equal(out, reduced(volume[[8, 1]], 2))
        with pytest.raises(DataConsistencyError, match="expected out of shape"):
            reader.read_frame_list([8, 1], out=out, level=1)
