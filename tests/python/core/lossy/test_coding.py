"""Lossy files: no sample exceeds the requested error, and every export records the loss."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.arrays import DTYPES, SmoothVolume
from inputs.dicom_frames import enhanced, plane
from inputs.dicom_series import write_series
from numpy.typing import NDArray

import dicube
from dicube import DicomCubeImage, verify_file
from dicube.cli import main
from dicube.codecs.jxl import imdecode_jxl, imencode_jxl
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter


def errors(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    return np.abs(one.astype(np.int64) - other.astype(np.int64))


def stored(
    volume: NDArray[Any], path: Path, **options: Any
) -> tuple[DicomCubeImage, NDArray[np.int64]]:
    """Return a volume as a file gives it back, and the error of each sample."""
    before = volume.copy()
    DicomCubeImage(volume).to_file(path, **options)
    assert np.array_equal(volume, before)
    image = DicomCubeImage.from_file(path)
    assert (image.shape, image.dtype) == (volume.shape, volume.dtype.newbyteorder("="))
    return image, errors(image.raw_image, volume)


@pytest.mark.parametrize("bound", [1, 2, 3, 10, 100, 10**6])
@pytest.mark.parametrize("samples", [(), (3,)], ids=["gray", "colour"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_sample_errs_by_more_than_max_error(
    dtype: str, samples: tuple[int, ...], bound: int, tmp_path: Path, full_range: SmoothVolume
) -> None:
    volume = full_range((2, 19, 23, *samples), dtype)
    image, error = stored(volume, tmp_path / "x.dcbl", max_error=bound)
    assert error.max() <= bound
    values = image.raw_image
    assert volume.min() <= values.min() and values.max() <= volume.max()
    (loss,) = image.losses
    assert loss.max_error == error.max()
    assert loss.rmse == pytest.approx(math.sqrt((error.astype(float) ** 2).mean()))
    assert loss.changed == (error != 0).mean()
    assert loss.settings == {"max_error": bound}
    assert (loss.least, loss.greatest) == (volume.min(), volume.max())


def test_the_same_value_becomes_the_same_in_all_slices(tmp_path: Path) -> None:
    volume = np.arange(4 * 32 * 32, dtype=np.int16).reshape(4, 32, 32) % 997 - 200
    image, _ = stored(volume, tmp_path / "x.dcba", max_error=7)
    for value in (-200, 0, 13, 500):
        assert len(np.unique(image.raw_image[volume == value])) == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [np.asfortranarray, lambda volume: volume[:, ::-1, ::2]])
def test_any_layout(order: str, layout: Any, tmp_path: Path, full_range: SmoothVolume) -> None:
    volume = layout(full_range((3, 20, 24), "int16").astype(f"{order}i2"))
    assert stored(volume, tmp_path / "x.dcbl", max_error=5)[1].max() <= 5


@pytest.mark.parametrize("distance", [0.1, 0.5, 1, 3, 15])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32"])
def test_small_values_of_wide_types_are_not_black(
    dtype: str, distance: float, tmp_path: Path, smooth_volume: SmoothVolume
) -> None:
    """What a perceptual model takes for black, going by the type's range, keeps its shape."""
    volume = (smooth_volume((3, 64, 64), "uint16") // 2).astype(dtype)  # spans 900
    image, error = stored(volume, tmp_path / "x.dcbl", distance=distance)
    (loss,) = image.losses
    assert loss.max_error == error.max()
    assert loss.psnr > {0.1: 52, 0.5: 46, 1: 42, 3: 36, 15: 24}[distance]
    span = int(volume.max()) - int(volume.min())
    assert error.max() < span / 3
    assert volume.min() <= image.raw_image.min() and image.raw_image.max() <= volume.max()


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 1, 9), (1, 300, 2), (2, 9, 8, 3), (1, 1, 1, 3)], ids=str
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_shape_at_a_distance(
    dtype: str, shape: tuple[int, ...], tmp_path: Path, full_range: SmoothVolume
) -> None:
    stored(full_range(shape, dtype), tmp_path / "x.dcbl", distance=1)


@pytest.mark.parametrize("value", [0, -5, 1000])
def test_constant_volumes_come_back(value: int, tmp_path: Path) -> None:
    volume = np.full((2, 30, 30), value, np.int16)
    for options in ({"max_error": 9}, {"distance": 2}):
        image, error = stored(volume, tmp_path / "x.dcbl", **options)
        assert error.max() == 0
        assert image.losses == ()


@pytest.mark.parametrize("options", [{"max_error": 3}, {"distance": 1}], ids=str)
def test_bytes_do_not_depend_on_threads(
    options: dict[str, Any], tmp_path: Path, smooth_volume: SmoothVolume
) -> None:
    image = DicomCubeImage(smooth_volume((5, 200, 180), "uint16"))
    files = []
    for threads in (1, 2, 8):
        image.to_file(tmp_path / "x.dcbl", num_threads=threads, **options)
        files.append((tmp_path / "x.dcbl").read_bytes())
    assert files[0] == files[1] == files[2]


def test_greater_errors_make_smaller_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wave = np.sin(np.linspace(0, 6, 128))
    noise = random.normal(0, 10, (3, 128, 128))
    volume = (1000 + 300 * wave[:, None] * wave + noise).astype(np.uint16)
    sizes = []
    for bound in (0, 1, 3, 10, 30):
        DicomCubeImage(volume).to_file(tmp_path / "x.dcba", max_error=bound)
        sizes.append((tmp_path / "x.dcba").stat().st_size)
    assert all(later < 0.95 * earlier for earlier, later in itertools.pairwise(sizes))


def test_what_a_file_is_without_settings(tmp_path: Path, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((2, 40, 40), "uint16")
    image, error = stored(volume, tmp_path / "x.dcba")
    assert error.max() == 0 and image.losses == ()
    image, error = stored(volume, tmp_path / "x.dcbl")
    assert error.max() > 0 and image.losses[0].settings == {"distance": 0.5}
    with DcbReader(tmp_path / "x.dcbl") as reader:
        assert (reader.extension, reader.codec) == (".dcbl", "jxl")
    assert (tmp_path / "x.dcbl").read_bytes()[:8] == b"DCMCUBEL"


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("x.dcbs", {"max_error": 1}, "lossless"),
        ("x.dcbs", {"distance": 1}, "lossless"),
        ("x.dcbl", {"max_error": 1, "distance": 1}, "exclude"),
        ("x.dcbl", {"max_error": -1}, "-1"),
        ("x.dcbl", {"max_error": math.nan}, "nan"),
        ("x.dcbl", {"max_error": "3"}, "'3'"),
        ("x.dcbl", {"distance": 0}, "0"),
        ("x.dcbl", {"distance": 26}, "26"),
        ("x.dcbl", {"distance": math.nan}, "nan"),
        ("x.dcba", {"background": 3}, "dcbr"),
        ("x.dcba", {"roi": "auto"}, "dcbr"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(
    name: str, options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    with pytest.raises(DataConsistencyError, match=told):
        DicomCubeImage(np.zeros((2, 8, 8), np.uint16)).to_file(path, **options)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint64"])
def test_types_that_are_never_rounded(dtype: str, tmp_path: Path) -> None:
    volume = np.arange(64, dtype=dtype).reshape(1, 8, 8)
    for options in ({"max_error": 1}, {"distance": 1}, {}):
        with pytest.raises(DataConsistencyError, match=dtype):
            DicomCubeImage(volume).to_file(tmp_path / "x.dcbl", **options)
    for options in ({"max_error": 1}, {"distance": 1}):
        with pytest.raises(DataConsistencyError, match=dtype):
            imencode_jxl(volume[0], **options)
    assert not (tmp_path / "x.dcbl").exists()


def test_samples_outside_the_range_that_was_told(tmp_path: Path) -> None:
    volume = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    for lossy in ({"max_error": 2}, {"distance": 1.0}):
        options = {**lossy, "least": 3, "greatest": 63}
        with (
            pytest.raises(DataConsistencyError, match="outside the range of 3 to 63"),
            DcbWriter(tmp_path / "x.dcbl", volume.shape, volume.dtype, lossy=options) as writer,
        ):
            writer.write_frames(volume)


def test_single_images(full_range: SmoothVolume) -> None:
    image = full_range((40, 50), "int16", 12)
    for bound in (0, 1, 20):
        back = imdecode_jxl(imencode_jxl(image, max_error=bound))
        assert back.dtype == image.dtype and errors(back, image).max() <= bound
    assert len(imencode_jxl(image, distance=3)) < len(imencode_jxl(image)) / 2
    with pytest.raises(DataConsistencyError, match="30"):
        imencode_jxl(image, distance=30)


class TestRecord:
    """What was lost stays told."""

    @pytest.fixture
    def series(self, smooth_volume: SmoothVolume) -> DicomCubeImage:
        image = DicomCubeImage(smooth_volume((3, 32, 32), "uint16"))
        image.init_meta("CT")
        return image

    def test_a_lossless_file_of_a_lossy_image(self, series: DicomCubeImage, tmp_path: Path) -> None:
        series.to_file(tmp_path / "x.dcbl", max_error=3)
        lossy = DicomCubeImage.from_file(tmp_path / "x.dcbl")
        for name in ("y.dcbs", "y.dcba"):
            lossy.to_file(tmp_path / name)
            again = DicomCubeImage.from_file(tmp_path / name)
            assert again.losses == lossy.losses
            assert np.array_equal(again.raw_image, lossy.raw_image)
        lossy.to_file(tmp_path / "z.dcbl", max_error=20)
        assert [loss.settings for loss in DicomCubeImage.from_file(tmp_path / "z.dcbl").losses] == [
            {"max_error": 3},
            {"max_error": 20},
        ]

    def test_parts_of_a_lossy_file(self, series: DicomCubeImage, tmp_path: Path) -> None:
        series.to_file(tmp_path / "x.dcbl", max_error=3)
        with dicube.open(tmp_path / "x.dcbl") as cube:
            (loss,) = cube.losses
            assert loss.settings == {"max_error": 3}
            assert cube.at_level(0).losses == cube.losses
            meta = cube.dicom_meta.select([1, 2])
            dicube.write_frames(
                tmp_path / "y.dcbs",
                cube[1:],
                (2, *cube.shape[1:]),
                cube.dtype,
                dicom_meta=meta,
                losses=cube.losses,
            )
            part = DicomCubeImage(cube[1:], cube.pixel_header, meta, losses=cube.losses)
        part.to_file(tmp_path / "z.dcbs")
        for name in ("y.dcbs", "z.dcbs"):
            again = DicomCubeImage.from_file(tmp_path / name)
            assert again.losses == (loss,)
            again.to_dicom_folder(tmp_path / name[0])
            for path in (tmp_path / name[0]).iterdir():
                assert pydicom.dcmread(path).LossyImageCompression == "01"

    def test_dicom_export(self, series: DicomCubeImage, tmp_path: Path) -> None:
        series.to_dicom_folder(tmp_path / "source")
        source = DicomCubeImage.from_dicom_folder(tmp_path / "source")
        source.to_file(tmp_path / "x.dcbl", max_error=3)
        lossy = DicomCubeImage.from_file(tmp_path / "x.dcbl")
        assert lossy.why_not_exact() == "the pixels were coded lossily"
        lossy.to_dicom_folder(tmp_path / "out")
        lossy.to_dicom_folder(tmp_path / "again")
        for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
            before = pydicom.dcmread(tmp_path / "source" / path.name)
            after = pydicom.dcmread(path)
            assert after.LossyImageCompression == "01"
            assert after.LossyImageCompressionMethod == "ISO_18181_1"
            assert float(after.LossyImageCompressionRatio) == pytest.approx(
                lossy.losses[0].ratio, abs=0.01
            )
            assert after.ImageType[0] == "DERIVED"
            assert "maximum error 3" in after.DerivationDescription
            assert after.DerivationCodeSequence[0].CodeValue == "113040"
            assert after.SOPInstanceUID != before.SOPInstanceUID
            assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
            reference = after.SourceImageSequence[0]
            assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
            assert reference.ReferencedSOPClassUID == before.SOPClassUID
            assert np.array_equal(after.pixel_array, lossy.raw_image[index])
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
        with pytest.raises(DataConsistencyError, match="coded lossily"):
            lossy.to_dicom_folder(tmp_path / "exact", exact=True)

    def test_an_image_that_lost_before_it_was_read(
        self, series: DicomCubeImage, tmp_path: Path
    ) -> None:
        assert series.dicom_meta is not None
        series.dicom_meta.set_shared_item("LossyImageCompression", "01")
        series.dicom_meta.set_shared_item("LossyImageCompressionRatio", ["8.5"])
        series.dicom_meta.set_shared_item("LossyImageCompressionMethod", ["ISO_10918_1"])
        series.to_file(tmp_path / "x.dcbl", max_error=3)
        DicomCubeImage.from_file(tmp_path / "x.dcbl").to_dicom_folder(tmp_path / "out")
        after = pydicom.dcmread(next((tmp_path / "out").iterdir()))
        assert list(after.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_18181_1"]
        assert after.LossyImageCompressionRatio[0] == 8.5

    @pytest.mark.parametrize("options", [{"max_error": 3}, {"distance": 1}], ids=str)
    def test_coded_exports_hold_what_the_file_decodes_to(
        self, options: dict[str, Any], series: DicomCubeImage, tmp_path: Path
    ) -> None:
        series.to_file(tmp_path / "x.dcbl", **options)
        lossy = DicomCubeImage.from_file(tmp_path / "x.dcbl")
        lossy.to_dicom_folder(tmp_path / "image", transfer_syntax="jpegxl")
        source, target = str(tmp_path / "x.dcbl"), str(tmp_path / "file")
        assert main(["convert", source, target, "--transfer-syntax", "jpegxl"]) == 0
        for folder in ("image", "file"):
            back = DicomCubeImage.from_dicom_folder(tmp_path / folder)
            assert np.array_equal(back.raw_image, lossy.raw_image)
            assert back.dicom_meta is not None
            assert back.dicom_meta.get("LossyImageCompression") == "01"

    def test_info_and_convert(
        self, series: DicomCubeImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        series.to_file(tmp_path / "x.dcba")
        source, target = str(tmp_path / "x.dcba"), str(tmp_path / "y.dcba")
        assert main(["convert", source, target, "--max-error", "2"]) == 0
        assert main(["info", target]) == 0
        assert "max_error 2: maximum error 2, RMSE" in capsys.readouterr().out
        assert main(["verify", target]) == 0
        series.to_dicom_folder(tmp_path / "dicom")
        assert main(["verify", target, "--against", str(tmp_path / "dicom")]) == 0
        assert "maximum error 2, at most 2 recorded" in capsys.readouterr().out
        series.raw_image[1, 5, 5] += 100
        series.to_dicom_folder(tmp_path / "other")
        assert main(["verify", target, "--against", str(tmp_path / "other")]) == 1
        assert main(["convert", source, str(tmp_path / "y.dcbs"), "--distance", "2"]) == 1
        assert "writing .dcba or .dcbl, not .dcbs" in capsys.readouterr().err

    def test_frames_of_one_file_are_compared_too(self, tmp_path: Path) -> None:
        files = [enhanced(3), enhanced(2, 2, lambda frame: plane(frame, start=7.5))]
        source = write_series(tmp_path / "in", files)
        image = DicomCubeImage.from_dicom_folder(source)
        image.to_file(tmp_path / "x.dcbl", max_error=2)
        report = verify_file(tmp_path / "x.dcbl", source)
        assert report.ok
        assert report.checks[-1].message == "coded lossily: maximum error 2, at most 2 recorded"
        image.raw_image[4, 5, 4] ^= 64
        image.to_file(tmp_path / "x.dcbl", max_error=2)
        (problem,) = verify_file(tmp_path / "x.dcbl", source).checks[-1].problems
        assert problem.startswith("slice 4: error 6")

    @pytest.mark.parametrize("text", [b"{}", b"[]", b"{", b'{"losses": [{}]}', b"\xff"])
    def test_a_malformed_record(self, text: bytes, tmp_path: Path) -> None:
        volume = np.zeros((1, 4, 4), np.uint8)
        with DcbWriter(tmp_path / "x.dcbl", volume.shape, volume.dtype) as writer:
            writer.write_frames(volume)
            writer.write_section("loss", text)
        with pytest.raises(InvalidCubeFileError, match="section loss"):
            DicomCubeImage.from_file(tmp_path / "x.dcbl")


def test_words_with_other_bits_are_not_rounded(tmp_path: Path) -> None:
    image = DicomCubeImage(np.zeros((1, 8, 8), np.uint16))
    image.pixel_header.Extras["UnusedBits"] = True
    with pytest.raises(DataConsistencyError, match="other bits"):
        image.to_file(tmp_path / "x.dcbl", max_error=1)


@pytest.mark.parametrize("series", ["ct_ge_head", "mr_siemens_sag"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_series_stay_usable(series: str, shared_data: Path, tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(shared_data / series)
    volume = image.raw_image[::7].copy()
    for distance, psnr in ((0.1, 60), (1, 46), (3, 39), (10, 31)):
        back, _ = stored(volume, tmp_path / "x.dcbl", distance=distance, effort=4)
        assert back.losses[0].psnr > psnr
    assert stored(volume, tmp_path / "x.dcbl", max_error=4)[1].max() <= 4
