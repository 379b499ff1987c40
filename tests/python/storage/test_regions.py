"""Regions of frames are the crop of whole frames, for each sample type, codec and level."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume, random_bits
from numpy.typing import NDArray

from dicube.codecs.samples import SUPPORTED_DTYPES
from dicube.exceptions import CodecError, DataConsistencyError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.frame_index import Region
from dicube.storage.real_values import RealValues

LOSSLESS_CODECS = ("jph", "jxl")


def bytes_of(volume: NDArray[Any], codec: str) -> bytes:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        writer.write_frames(volume)
    return target.getvalue()


def intervals(length: int) -> list[tuple[int, int]]:
    """Starts and lengths: the first, the last and another single one, at both ends, and all."""
    middle, part = length // 2, max(length // 3, 1)
    return [(0, 1), (length - 1, 1), (middle, 1), (0, part), (length - part, part), (0, length)]


def regions_of(rows: int, columns: int) -> list[Region]:
    return [
        Region(row, column, height, width)
        for (row, height), (column, width) in itertools.product(intervals(rows), intervals(columns))
    ]


@pytest.mark.parametrize("codec", LOSSLESS_CODECS)
@pytest.mark.parametrize("shape", [(9, 1, 1), (2, 5, 1), (2, 71, 139), (2, 33, 20, 3)], ids=str)
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_regions_of_every_sample_type(dtype: str, shape: tuple[int, ...], codec: str) -> None:
    volume = random_bits(shape, dtype)
    with DcbReader(bytes_of(volume, codec), num_threads=1) as reader:
        for region in regions_of(*shape[1:3]):
            found = reader.read_frame_list([1, 0], region=region)
            assert found.tobytes() == volume[(slice(1, None, -1), *region.slices)].tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("shape", [(2, 301, 203), (1, 64, 1), (2, 66, 65, 3)], ids=str)
def test_regions_of_every_level(
    dtype: str, shape: tuple[int, ...], smooth_volume: SmoothVolume
) -> None:
    volume = smooth_volume(shape, dtype)
    with DcbReader(bytes_of(volume, "jph"), num_threads=1) as reader:
        for level in range(reader.levels + 1):
            whole = reader.read_frames(level=level)
            for region in regions_of(*whole.shape[1:3]):
                found = reader.read_frame_list([0], level=level, region=region)
                assert np.array_equal(found, whole[(slice(0, 1), *region.slices)])


@pytest.mark.parametrize("codec", LOSSLESS_CODECS)
def test_real_values_of_regions(codec: str, smooth_volume: SmoothVolume) -> None:
    volume, region = smooth_volume((4, 70, 90), "int16"), Region(60, 3, 10, 80)
    real = RealValues("float32", [0.5, 2.0], [1.0, -3.0])
    with DcbReader(bytes_of(volume, codec)) as reader:
        found = reader.read_frame_list([3, 1], region=region, real=real)
    stored = volume[[3, 1], 60:, 3:83].astype("float32")
    assert np.array_equal(found, stored * np.float32([[[0.5]], [[2]]]) + [[[1]], [[-3]]])


@pytest.mark.parametrize("codec", LOSSLESS_CODECS)
def test_regions_beyond_the_frame_are_refused(codec: str, smooth_volume: SmoothVolume) -> None:
    with DcbReader(bytes_of(smooth_volume((2, 30, 40), "int16"), codec)) as reader:
        for region in (Region(30, 0, 1, 1), Region(0, 40, 1, 1), Region(1, 0, 30, 1)):
            with pytest.raises(DataConsistencyError, match="expected a part of 30 x 40 pixels"):
                reader.read_frame_list([0], region=region)


@pytest.mark.parametrize("codec", LOSSLESS_CODECS)
def test_out_has_the_shape_of_the_region(codec: str, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((3, 30, 40), "int16")
    with DcbReader(bytes_of(volume, codec)) as reader:
        out = np.empty((1, 4, 6), "int16")
        assert reader.read_frame_list([2], out=out, region=Region(5, 30, 4, 6)) is out
        assert np.array_equal(out[0], volume[2, 5:9, 30:36])
        with pytest.raises(DataConsistencyError, match="expected out of shape"):
            reader.read_frame_list([2], out=out, region=Region(5, 30, 6, 4))


def test_damage_anywhere_in_a_frame_counts(smooth_volume: SmoothVolume) -> None:
    """The checksum finds it; without the checksum, only damage that the region touches counts."""
    volume = np.random.default_rng(2).integers(0, 4096, (1, 300, 300), dtype=np.uint16)
    data = bytearray(bytes_of(volume, "jph"))
    near, far = Region(299, 299, 1, 1), Region(0, 0, 1, 1)  # of the end of the frame's bytes
    with DcbReader(bytes(data)) as reader:
        offset, size = reader.coded_range(0)
    data[offset + size - 4 : offset + size - 2] = bytes(2)  # the last block, in front of EOC
    for region in (near, far):
        with DcbReader(bytes(data)) as reader, pytest.raises(InvalidCubeFileError):
            reader.read_frame_list([0], region=region)
    with DcbReader(bytes(data), verify=False) as reader:
        with pytest.raises(CodecError):
            reader.read_frame_list([0], region=near)
        assert reader.read_frame_list([0], region=far) == volume[0, 0, 0]
    with DcbReader(bytes(data), on_error="skip") as reader:
        assert not reader.read_frame_list([0], region=far).any()
        assert list(reader.damaged_frames) == [0]


def test_memory_of_cut_frames_is_limited(smooth_volume: SmoothVolume) -> None:
    data = bytes_of(smooth_volume((1, 300, 300), "int32"), "jxl")
    with DcbReader(data, max_memory=300_000) as reader, pytest.raises(MemoryError):
        reader.read_frame_list([0], region=Region(0, 0, 1, 1))
