"""real_values: decoding directly to real values gives the same bits as converting afterwards."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.pixel_header import PixelDataHeader
from dicube.storage import DcbReader, DcbWriter, RealValues, get_float_data

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "float32", "float64")


def reader_of(volume: NDArray[Any], codec: str = "jph", **options: Any) -> DcbReader:
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        writer.write_frames(volume)
    return DcbReader(target.getvalue(), **options)


def any_values(dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Noise over all bits of a dtype, with what is special in it at the beginning."""
    kind = np.dtype(dtype)
    values = np.frombuffer(np.random.default_rng(5).bytes(np.prod(shape) * kind.itemsize), kind)
    values = values.reshape(shape).copy()
    if kind.kind == "f":
        bounds = np.finfo(kind)
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, bounds.max, bounds.tiny, 1.5, -3.0]
    else:
        bounds = np.iinfo(kind)
        special = [0, 1, bounds.min, bounds.max, bounds.max // 2, bounds.max // 3]
    values.flat[: len(special)] = special
    return values


def same_bits(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether arrays are equal, signs of zeros too; one NaN is as good as another."""
    return (
        found.dtype == expected.dtype
        and np.array_equal(found, expected, equal_nan=True)
        and bool(np.all(np.isnan(found) | (np.signbit(found) == np.signbit(expected))))
    )


RESCALES = [(1.0, 0.0), (1.0, -1024.0), (2.0, 5.0), (0.3, 1e-3), (-1.0, 0.0), (1e-9, 0.0)]


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("real", FLOATS)
@pytest.mark.parametrize("stored", INTEGERS + FLOATS)
def test_as_computed_afterwards(stored: str, real: str) -> None:
    volume = any_values(stored, (len(RESCALES), 19, 23))
    slopes, intercepts = zip(*RESCALES, strict=True)
    expected = get_float_data(volume, PixelDataHeader(), real, slopes=slopes, intercepts=intercepts)
    with reader_of(volume) as reader:
        found = reader.read_frames(real=RealValues(real, slopes, intercepts))
        assert same_bits(found, expected)
        assert same_bits(reader.read_frames(real=RealValues(real)), volume.astype(real))
        backwards = np.arange(len(volume))[::-1]
        out = np.empty(volume.shape, real)
        reader.read_frame_list(
            backwards, real=RealValues(real, slopes[::-1], intercepts[::-1]), out=out
        )
        assert same_bits(out[::-1], expected)


@pytest.mark.filterwarnings("ignore:overflow")
def test_every_float16_there_is() -> None:
    """Around each float16, and half-way between it and the next, float64 rounds to even."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    between = (halves[:-1] + halves[1:]) / 2
    near = [halves, between, np.nextafter(between, 0), np.nextafter(between, 1e9)]
    near.append(np.array([65519.99, 65520, 65520.01, 1e300, np.inf, np.nan]))
    values = np.concatenate([*near, *(-part for part in near)])
    with reader_of(values.reshape(1, 2, -1)) as reader:
        found = reader.read_frames(real=RealValues("float16"))
    assert same_bits(found.reshape(-1), values.astype(np.float16))
    with reader_of(
        np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(1, 256, 256)
    ) as all_:
        assert same_bits(
            all_.read_frames(real=RealValues("float64")), all_.read_frames().astype("float64")
        )


@pytest.mark.parametrize("codec", ["jph", "jxl"])
def test_with_colours_levels_and_batches(codec: str, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((40, 21, 30, 3), "int16")
    slopes = [0.5 + i for i in range(40)]
    with reader_of(volume, codec, num_threads=2) as reader:
        level = min(reader.levels, 1)
        stored = reader.read_frames(3, 39, level=level)
        expected = get_float_data(
            stored, PixelDataHeader(RescaleIntercept=7.0), slopes=slopes[3:39]
        )
        real = RealValues("float32", slopes[3:39], 7.0)
        assert same_bits(reader.read_frames(3, 39, level=level, real=real), expected)
        done: list[int] = []
        found = reader.read_frames(
            3, 39, level=level, real=real, progress=lambda count, _total: done.append(count)
        )
        assert same_bits(found, expected)
        assert len(done) > 1


def test_misuse(smooth_volume: SmoothVolume) -> None:
    with reader_of(smooth_volume((3, 8, 8), "int16")) as reader:
        with pytest.raises(DataConsistencyError, match="float16, float32, float64, found int32"):
            reader.read_frames(real=RealValues("int32"))
        with pytest.raises(DataConsistencyError, match="expected 3 slopes, found 2"):
            reader.read_frames(real=RealValues("float32", [1.0, 2.0]))
        with pytest.raises(DataConsistencyError, match="dtype float32, found"):
            reader.read_frames(real=RealValues("float32"), out=np.empty((3, 8, 8), "float64"))
    with (
        reader_of(smooth_volume((1, 80, 80), "int16"), max_memory=9000) as reader,
        pytest.raises(InvalidCubeFileError, match="frame 0: 12800 bytes, max_memory is 9000"),
    ):
        reader.read_frames(real=RealValues("float32"), out=np.empty((1, 80, 80), "float32"))
