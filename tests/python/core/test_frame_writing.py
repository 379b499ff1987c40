"""frame_writing: files written frame by frame equal those written from an array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage, PixelDataHeader
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError, DicomCubeError

SHAPE = (50, 30, 40)


@pytest.fixture
def volume(smooth_volume: SmoothVolume) -> NDArray[Any]:
    return smooth_volume(SHAPE, "int16")


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("threads", [1, 3])
def test_as_of_an_array(extension: str, threads: int, volume: NDArray[Any], tmp_path: Path) -> None:
    image = DicomCubeImage(volume, PixelDataHeader(RescaleSlope=2.0), space=Space(shape=SHAPE))
    meta = image.init_meta()
    image.to_file(tmp_path / f"image{extension}")
    parts = {"pixel_header": image.pixel_header, "dicom_meta": meta, "space": image.space}
    done: list[tuple[int, int]] = []
    for name, frames in (("each", iter(volume)), ("list", list(volume)), ("array", volume)):
        dicube.write_frames(
            tmp_path / f"{name}{extension}",
            frames,
            SHAPE,
            "int16",
            num_threads=threads,
            progress=lambda *counts: done.append(counts),
            **parts,
        )
        written = (tmp_path / f"{name}{extension}").read_bytes()
        assert written == (tmp_path / f"image{extension}").read_bytes()
        assert done[-1] == (50, 50)
        assert done == sorted(done)
        done.clear()


def test_frames_are_asked_for_as_they_are_written(tmp_path: Path) -> None:
    """A frame may be made in place again and again; it is taken when it comes."""
    frame = np.zeros((20, 30), np.uint16)

    def frames() -> Iterator[NDArray[Any]]:
        for number in range(70):
            frame[:] = number
            yield frame

    dicube.write_frames(tmp_path / "x.dcbs", frames(), (70, 20, 30), frame.dtype, num_threads=2)
    back = DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image
    assert np.array_equal(back[:, 0, 0], np.arange(70))


@pytest.mark.parametrize("dtype", [">i2", "float32"])
def test_other_dtypes_and_colours(dtype: str, tmp_path: Path) -> None:
    volume = np.arange(5 * 6 * 7 * 3).reshape(5, 6, 7, 3).astype(dtype)
    dicube.write_frames(tmp_path / "x.dcbs", iter(volume), volume.shape, dtype)
    assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, volume)


@pytest.mark.parametrize("extension", [".dcbl", ".dcbr"])
def test_lossy_kinds_are_refused(extension: str, volume: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(DataConsistencyError, match=r"x\.dcb.: expected .dcbs or .dcba"):
        dicube.write_frames(tmp_path / f"x{extension}", volume, SHAPE, "int16")
    assert not list(tmp_path.iterdir())


def test_faults_leave_what_was_there(volume: NDArray[Any], tmp_path: Path) -> None:
    path = tmp_path / "x.dcbs"
    path.write_bytes(b"before")

    def breaks_off() -> Iterator[NDArray[Any]]:
        yield from volume[:20]
        raise RuntimeError("the scanner is off")

    def fails(error: type[Exception], match: str, frames: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            dicube.write_frames(path, frames, SHAPE, "int16", **options)
        assert path.read_bytes() == b"before"
        assert list(tmp_path.iterdir()) == [path]

    fails(RuntimeError, "the scanner is off", breaks_off())
    fails(DicomCubeError, "expected 50 frames, found 49", iter(volume[:-1]))
    fails(DicomCubeError, "at most 2 more frames", [*volume, volume[0]])
    wrong = [*volume[:30], volume[30].astype("uint16")]
    fails(DataConsistencyError, "frame 30: expected shape .* '?<i2.* found .*<u2", wrong)
    fails(DataConsistencyError, "frame 0: expected shape", iter(volume[:, :5]))
    fails(DataConsistencyError, "frame 0: .* found .*f8|frame 0", [[1.0, 2.0]])
    lists = [frame.tolist() for frame in volume]
    fails(DataConsistencyError, "frame 0: expected .* found .*<i8", lists)
    fails(DataConsistencyError, "space of shape", iter(volume), space=Space(shape=(1, 2, 3)))
    fails(DataConsistencyError, "expected frames of shape", volume[:, :5])
