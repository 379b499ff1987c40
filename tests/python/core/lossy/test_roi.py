"""`.dcbr`: exact inside the mask, within the stated error outside, and the mask itself."""

from __future__ import annotations

import contextlib
import io
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import DTYPES, SmoothVolume
from numpy.typing import NDArray
from programs.running import needs

from dicube import DicomCubeImage
from dicube.cli import main
from dicube.codecs.jxl import (
    imdecode_jxl,
    imdecode_jxl_roi,
    imencode_jxl,
    imencode_jxl_roi,
)
from dicube.core.lossy.roi import find_body
from dicube.exceptions import CodecError, DataConsistencyError
from dicube.storage import DcbReader


def disc(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask: a disc in the middle of each slice, with a hole."""
    rows, columns = np.indices(shape[-2:])
    away = np.hypot((rows - shape[-2] / 2) / shape[-2], (columns - shape[-1] / 2) / shape[-1])
    return np.broadcast_to((away < 0.35) & (away > 0.05), shape).copy()


def noise_of_16_bits(full_range: SmoothVolume, shape: tuple[int, ...], dtype: str) -> Any:
    return full_range(shape, dtype, min(16, np.dtype(dtype).itemsize * 8))


@pytest.mark.parametrize("foreground", [0, 3])
@pytest.mark.parametrize("background", [0, 5, 1000, math.inf])
@pytest.mark.parametrize("samples", [(), (3,)], ids=["gray", "colour"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_image_and_mask_come_back(
    dtype: str,
    samples: tuple[int, ...],
    background: float,
    foreground: float,
    full_range: SmoothVolume,
) -> None:
    image = noise_of_16_bits(full_range, (37, 41, *samples), dtype)
    mask = disc((37, 41))
    coded = imencode_jxl_roi(image, mask, foreground, background)
    back, found = imdecode_jxl_roi(coded)
    assert back.dtype == image.dtype and found.dtype == bool
    assert np.array_equal(found, mask)
    error = np.abs(back.astype(np.int64) - image.astype(np.int64))
    assert error[mask].max() <= foreground
    assert error[~mask].max() <= background
    assert np.array_equal(imdecode_jxl(coded), back)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (64, 64)], ids=str)
@pytest.mark.parametrize("inside", ["nothing", "everything", "corner", "checkers"])
@pytest.mark.parametrize("effort", [None, 2, 5])
def test_any_mask(
    shape: tuple[int, int], inside: str, effort: int | None, full_range: SmoothVolume
) -> None:
    image = full_range(shape, "uint16")
    mask = {
        "nothing": np.zeros(shape, bool),
        "everything": np.ones(shape, bool),
        "corner": np.indices(shape).sum(axis=0) == sum(shape) - 2,
        "checkers": np.indices(shape).sum(axis=0) % 2 == 0,
    }[inside]
    back, found = imdecode_jxl_roi(imencode_jxl_roi(image, mask, effort=effort))
    assert np.array_equal(back, image) and np.array_equal(found, mask)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">i2"])
def test_a_mask_is_whatever_is_not_zero(dtype: Any, full_range: SmoothVolume) -> None:
    image = full_range((20, 30), "int16")
    mask = (disc((20, 30)) * (1 if dtype is bool else 77)).astype(dtype)[::-1]
    assert np.array_equal(imdecode_jxl_roi(imencode_jxl_roi(image, mask))[1], mask != 0)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.ones((8, 9), bool), r"\(8, 9\)"),
        (np.ones((1, 8, 8), bool), r"\(1, 8, 8\)"),
        (np.ones((8, 8)), "float64"),
        ("auto", "str"),
    ],
    ids=str,
)
def test_masks_that_do_not_fit(mask: Any, told: str) -> None:
    with pytest.raises(DataConsistencyError, match=told):
        imencode_jxl_roi(np.zeros((8, 8), np.uint8), mask)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_types_without_masks(dtype: str) -> None:
    with pytest.raises(DataConsistencyError, match=dtype):
        imencode_jxl_roi(np.zeros((8, 8), dtype), np.ones((8, 8), bool), background=1)


def test_samples_that_span_too_much() -> None:
    image = np.array([[0, 1 << 20]], np.int32)
    with pytest.raises(DataConsistencyError, match="65536"):
        imencode_jxl_roi(image, np.ones((1, 2), bool))


def test_an_image_without_a_mask() -> None:
    with pytest.raises(CodecError, match="no mask"):
        imdecode_jxl_roi(imencode_jxl(np.zeros((8, 8), np.uint8)))


def test_damaged_data(full_range: SmoothVolume) -> None:
    good = imencode_jxl_roi(full_range((24, 24), "int16", 12), disc((24, 24)))
    for size in (0, 1, 20, len(good) // 2, len(good) - 1):
        with pytest.raises(CodecError):
            imdecode_jxl_roi(good[:size])
    random = np.random.default_rng(2)
    for offset in [*range(min(len(good), 130)), *random.integers(0, len(good), 200)]:
        bad = bytearray(good)
        bad[offset] ^= 1 << int(random.integers(8))
        for decode in (imdecode_jxl, imdecode_jxl_roi):
            with contextlib.suppress(CodecError):
                decode(bytes(bad), num_threads=1)


class TestFile:
    """A whole volume."""

    @pytest.fixture
    def image(self, smooth_volume: SmoothVolume) -> DicomCubeImage:
        return DicomCubeImage(smooth_volume((5, 64, 60), "int16"))

    def test_there_and_back(self, image: DicomCubeImage, tmp_path: Path) -> None:
        mask = disc(image.shape)
        image.to_file(tmp_path / "x.dcbr", roi=mask, background=30)
        assert (tmp_path / "x.dcbr").read_bytes()[:8] == b"DCMCUBER"
        back = DicomCubeImage.from_file(tmp_path / "x.dcbr")
        assert back.roi_mask is not None
        assert np.array_equal(back.roi_mask, mask)
        assert np.array_equal(back.raw_image[mask], image.raw_image[mask])
        error = np.abs(back.raw_image.astype(int) - image.raw_image)
        assert 0 < error.max() <= 30
        (loss,) = back.losses
        assert loss.settings == {"foreground": 0, "background": 30}
        assert loss.max_error == error.max()
        with DcbReader(tmp_path / "x.dcbr") as reader:
            assert reader.extension == ".dcbr"
            assert np.array_equal(reader.read_frames(2, 3)[0], back.raw_image[2])
        back.to_file(tmp_path / "y.dcbr", background=30)  # the mask that it was read with
        again = DicomCubeImage.from_file(tmp_path / "y.dcbr")
        assert again.roi_mask is not None and np.array_equal(again.roi_mask, mask)
        back.to_file(tmp_path / "y.dcbs")
        assert DicomCubeImage.from_file(tmp_path / "y.dcbs").losses == back.losses

    def test_a_change_of_pixels_keeps_the_mask(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(tmp_path / "x.dcbr", roi=disc(image.shape))
        back = DicomCubeImage.from_file(tmp_path / "x.dcbr")
        back.raw_image += 1
        assert back.roi_mask is not None
        back.raw_image = back.raw_image + 1
        assert back.roi_mask is None

    def test_the_default_background(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(tmp_path / "x.dcbr", roi=disc(image.shape))
        span = int(image.raw_image.max()) - int(image.raw_image.min())
        (loss,) = DicomCubeImage.from_file(tmp_path / "x.dcbr").losses
        assert loss.settings == {"foreground": 0, "background": span // 100}

    def test_lossless_everywhere(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(tmp_path / "x.dcbr", roi=disc(image.shape), background=0)
        back = DicomCubeImage.from_file(tmp_path / "x.dcbr")
        assert np.array_equal(back.raw_image, image.raw_image)
        assert back.losses == ()

    def test_bytes_do_not_depend_on_threads(self, image: DicomCubeImage, tmp_path: Path) -> None:
        files = []
        for threads in (1, 2, 8):
            image.to_file(tmp_path / "x.dcbr", threads, roi="auto", background=9)
            files.append((tmp_path / "x.dcbr").read_bytes())
        assert files[0] == files[1] == files[2]

    def test_what_does_not_fit_is_refused(self, image: DicomCubeImage, tmp_path: Path) -> None:
        mask = disc(image.shape)
        for options, told in (
            ({}, "needs roi"),
            ({"roi": "head"}, "head"),
            ({"roi": mask[1:]}, r"\(4, 64, 60\)"),
            ({"roi": mask, "max_error": 3}, "takes foreground and background"),
            ({"roi": mask, "background": -3}, "-3"),
        ):
            with pytest.raises(DataConsistencyError, match=told):
                image.to_file(tmp_path / "x.dcbr", **options)
        assert not (tmp_path / "x.dcbr").exists()

    def test_dicom_export_decodes(self, image: DicomCubeImage, tmp_path: Path) -> None:
        unsigned = DicomCubeImage((image.raw_image - image.raw_image.min()).astype(np.uint16))
        unsigned.init_meta("CT")
        unsigned.to_file(tmp_path / "x.dcbr", roi="auto", background=20)
        lossy = DicomCubeImage.from_file(tmp_path / "x.dcbr")
        lossy.to_dicom_folder(tmp_path / "out", transfer_syntax="jpegxl")
        back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert np.array_equal(back.raw_image, lossy.raw_image)

    def test_command_line(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(tmp_path / "x.dcba")
        source, target = str(tmp_path / "x.dcba"), str(tmp_path / "y.dcbr")
        assert main(["convert", source, target, "--roi", "auto", "--background", "inf"]) == 0
        assert main(["verify", target]) == 0
        assert DicomCubeImage.from_file(target).roi_mask is not None


class TestBody:
    """`roi='auto'`."""

    def test_a_body_with_lungs_in_noise(self) -> None:
        rows, columns = np.indices((96, 128))
        body = np.hypot((rows - 48) / 30, (columns - 64) / 45) < 1
        lungs = np.hypot((rows - 48) / 12, (columns - 64) / 15) < 1
        random = np.random.default_rng(3)
        frame = np.where(body & ~lungs, 1000, 0) + random.normal(24, 10, body.shape)
        found = find_body(np.stack([frame.clip(0).astype(np.uint16)] * 3))
        assert found.shape == (3, 96, 128)
        assert found[1][body].all()
        assert found.mean() < 0.75

    def test_padding_is_air(self) -> None:
        rows, columns = np.indices((128, 128))
        away = np.hypot(rows - 64, columns - 64)
        random = np.random.default_rng(3)
        frame = np.where(away < 30, 40, -1000) + random.normal(0, 10, away.shape)
        frame[away > 60] = -2000
        found = find_body(frame.astype(np.int16)[None])[0]
        assert found[away < 30].all()
        assert found.mean() < 0.5

    @pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (2, 9, 8, 3)], ids=str)
    def test_any_shape(self, shape: tuple[int, ...], full_range: SmoothVolume) -> None:
        assert find_body(full_range(shape, "uint8")).shape == shape[:3]

    def test_nothing_to_tell_apart(self) -> None:
        assert find_body(np.full((2, 16, 16), 7, np.uint16)).all()

    @pytest.mark.parametrize(
        ("series", "tissue"),
        [("ct_ge_head", -300), ("ct_philips_thin", 700), ("mr_siemens_sag", 60)],
    )
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_no_tissue_of_real_series_is_outside(
        self, series: str, tissue: int, shared_data: Path
    ) -> None:
        """Nothing brighter than what is surely tissue, single noisy pixels apart."""
        volume = DicomCubeImage.from_dicom_folder(shared_data / series).raw_image[::4]
        found = find_body(volume)
        bright = volume > tissue
        # A pixel whose four neighbours are bright too is no noise.
        solid = bright[:, 1:-1, 1:-1].copy()
        for part in (
            bright[:, :-2, 1:-1],
            bright[:, 2:, 1:-1],
            bright[:, 1:-1, :-2],
            bright[:, 1:-1, 2:],
        ):
            solid &= part
        assert not (solid & ~found[:, 1:-1, 1:-1]).any()
        assert found.mean() < 0.85


class TestOtherDecoders:
    """The frames are ordinary JPEG XL: others show the image as a whole."""

    @pytest.fixture
    def coded(self, smooth_volume: SmoothVolume) -> tuple[bytes, NDArray[np.uint16]]:
        image = smooth_volume((60, 50), "uint16")
        coded = imencode_jxl_roi(image, disc((60, 50)), background=25)
        return coded, imdecode_jxl(coded)

    def test_imagecodecs(self, coded: tuple[bytes, NDArray[np.uint16]]) -> None:
        imagecodecs = pytest.importorskip("imagecodecs")
        shown = imagecodecs.jpegxl_decode(coded[0])
        assert np.array_equal(shown[..., 0], coded[1])
        assert (shown[..., 1] == shown[..., 1].max()).all()  # opaque everywhere

    def test_djxl(self, coded: tuple[bytes, NDArray[np.uint16]], tmp_path: Path) -> None:
        (djxl,) = needs("djxl")
        (tmp_path / "x.jxl").write_bytes(coded[0])
        subprocess.run(
            [djxl, tmp_path / "x.jxl", tmp_path / "x.pam"], check=True, capture_output=True
        )
        header, _, data = (tmp_path / "x.pam").read_bytes().partition(b"ENDHDR\n")
        most = int(header.split(b"MAXVAL ")[1].split()[0])
        shown = np.frombuffer(data, ">u2").reshape(60, 50, 2)[..., 0].astype(np.int64)
        if shown.max() > most:  # versions before 0.8 write 16 bits whatever they declare
            shown = (shown * most + 32767) // 65535
        assert np.array_equal(shown, coded[1])


def test_a_file_in_memory(smooth_volume: SmoothVolume, tmp_path: Path) -> None:
    image = DicomCubeImage(smooth_volume((2, 32, 32), "uint16"))
    image.to_file(tmp_path / "x.dcbr", roi="auto")
    data = (tmp_path / "x.dcbr").read_bytes()
    assert DicomCubeImage.from_file(io.BytesIO(data)).roi_mask is not None
