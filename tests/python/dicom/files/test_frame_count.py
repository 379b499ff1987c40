"""Instance.frame_count: frames that are there count, whatever NumberOfFrames says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import frames_like, several_frames
from inputs.dicom_series import make_slice, set_pixels, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

import dicube
from dicube import DicomCubeImage, verify_file
from dicube.exceptions import DicomCubeError

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")
MORE = "more frames than NumberOfFrames"
NOT_TOLD: list[Any] = [..., None, 0, 1, 2]


def stating(dataset: Dataset, count: Any) -> Dataset:
    """Give a file of three frames another NumberOfFrames; `...` deletes it."""
    if count is ...:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = count
    return dataset


def compressed(syntax: Any) -> Dataset:
    dataset = several_frames(3, shape=(32, 40))
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


@pytest.mark.parametrize("count", NOT_TOLD)
class TestMoreFrames:
    def test_uncompressed(self, tmp_path: Path, count: Any) -> None:
        write_series(tmp_path / "in", [stating(several_frames(3), count)])
        with pytest.warns(UserWarning, match=MORE):
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        np.testing.assert_array_equal(image.raw_image, frames_like(3, 100))
        with pytest.warns(UserWarning, match=MORE):
            assert dicube.read_dicom_dir(tmp_path / "in").slice_count == 3
        image.to_dicom_folder(tmp_path / "out", exact=False)
        (path,) = (tmp_path / "out").iterdir()
        np.testing.assert_array_equal(pixel_array(path), image.raw_image)
        assert pydicom.dcmread(path).NumberOfFrames == 3

    def test_through_a_file(self, tmp_path: Path, count: Any) -> None:
        write_series(tmp_path / "in", [stating(several_frames(3), count)])
        with pytest.warns(UserWarning, match=MORE):
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        image.to_file(tmp_path / "x.dcbs")
        assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok
        DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out")
        (path,) = (tmp_path / "out").iterdir()
        assert path.read_bytes() == (tmp_path / "in/I1").read_bytes()

    def test_a_file_without_originals_holds_all(self, tmp_path: Path, count: Any) -> None:
        write_series(tmp_path / "in", [stating(several_frames(3), count)])
        with pytest.warns(UserWarning, match=MORE):
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        image.to_file(tmp_path / "x.dcbs", exact=False)
        assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok

    @pytest.mark.parametrize(
        "syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
    )
    def test_other_encodings(self, tmp_path: Path, count: Any, syntax: Any) -> None:
        dataset = stating(several_frames(3), count)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = frames_like(3, 100).astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        write_series(tmp_path, [dataset])
        with pytest.warns(UserWarning, match=MORE):
            image = DicomCubeImage.from_dicom_folder(tmp_path)
        np.testing.assert_array_equal(image.raw_image, frames_like(3, 100))

    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
    @pytest.mark.parametrize("table", [False, True])
    def test_encapsulated(self, tmp_path: Path, count: Any, syntax: Any, table: bool) -> None:
        """All frames, or an error; never one of them in place of three."""
        if syntax == JPEG2000Lossless:
            pytest.importorskip("openjpeg")
        dataset = compressed(syntax)
        coded = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
        dataset.PixelData = encapsulate(coded, has_bot=table)
        write_series(tmp_path / "in", [stating(dataset, count)])
        with pytest.warns(UserWarning, match=MORE):
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        np.testing.assert_array_equal(image.raw_image, frames_like(3, 100, (32, 40)))

    @pytest.mark.parametrize("syntax", ["HTJ2KLossless", "JPEGXLLossless"])
    def test_own_codecs(self, tmp_path: Path, count: Any, syntax: str) -> None:
        image = DicomCubeImage.from_dicom_folder(several_frames(3))
        image.to_dicom_folder(tmp_path / "coded", transfer_syntax=syntax)
        (path,) = (tmp_path / "coded").iterdir()
        dataset = stating(pydicom.dcmread(path), count)
        with pytest.warns(UserWarning, match=MORE):
            back = DicomCubeImage.from_dicom_folder(dataset)
        np.testing.assert_array_equal(back.raw_image, image.raw_image)

    def test_in_memory(self, count: Any) -> None:
        for dataset in (several_frames(3), compressed(RLELossless)):
            with pytest.warns(UserWarning, match=MORE):
                image = DicomCubeImage.from_dicom_folder(stating(dataset, count))
            assert len(image.raw_image) == 3


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_fewer_frames_are_refused(tmp_path: Path, syntax: Any) -> None:
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    dataset = several_frames(3) if syntax is None else compressed(syntax)
    write_series(tmp_path, [stating(dataset, 5)])
    with pytest.raises(DicomCubeError, match="I1"):
        DicomCubeImage.from_dicom_folder(tmp_path)


@pytest.mark.parametrize("count", [100, 10_000, 2**31 - 1])
@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_more_frames_than_the_pixels_can_hold(tmp_path: Path, syntax: Any, count: int) -> None:
    dataset = several_frames(3) if syntax is None else compressed(syntax)
    length = len(dataset.PixelData)
    write_series(tmp_path, [stating(dataset, count)])
    with pytest.raises(DicomCubeError, match="I1") as caught:
        DicomCubeImage.from_dicom_folder(tmp_path)
    if count > 8 * length:
        assert "NumberOfFrames is" in caught.value.message


@pytest.mark.parametrize("kind", ["plain", "big endian", "planar", "subsampled", "deflated"])
def test_more_pixels_than_the_file_has(tmp_path: Path, kind: str) -> None:
    dataset = (
        make_slice(0, (6, 8, 3), "uint8") if kind in ("planar", "subsampled") else make_slice()
    )
    dataset.Rows = dataset.Columns = 65_535
    dataset.PlanarConfiguration = int(kind == "planar")
    if kind == "subsampled":
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    if kind in ("big endian", "deflated"):
        deflated = kind == "deflated"
        dataset.file_meta.TransferSyntaxUID = (
            DeflatedExplicitVRLittleEndian if deflated else ExplicitVRBigEndian
        )
    write_series(tmp_path, [dataset])
    with pytest.raises(DicomCubeError, match=r"I1 is truncated: expected \d{10,} bytes of pixels"):
        DicomCubeImage.from_dicom_folder(tmp_path)


def test_one_frame_of_several_fragments(tmp_path: Path) -> None:
    """Fragments that don't begin an image belong to the one before."""
    pytest.importorskip("openjpeg")
    dataset = make_slice(0, (32, 40))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    (coded,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([coded], fragments_per_frame=3)
    write_series(tmp_path, [dataset])
    image = DicomCubeImage.from_dicom_folder(tmp_path)
    np.testing.assert_array_equal(image.raw_image[0], pixel_array(make_slice(0, (32, 40))))


def test_samples_of_one_bit(tmp_path: Path) -> None:
    """Frames follow each other without padding, and what pads the last is no frame."""
    bits = np.random.default_rng(3).integers(0, 2, (3, 5, 7), np.uint8)
    dataset = make_slice(0, (5, 7), "uint8")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    set_pixels(dataset, np.packbits(bits, bitorder="little"))
    write_series(tmp_path / "three", [dataset])
    with pytest.warns(UserWarning, match=MORE):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "three")
    np.testing.assert_array_equal(image.raw_image, bits)

    dataset.Rows, dataset.Columns = 1, 3  # five such frames fit into two bytes
    set_pixels(dataset, np.packbits(bits[0, 0, :3], bitorder="little"))
    write_series(tmp_path / "one", [dataset])
    assert len(DicomCubeImage.from_dicom_folder(tmp_path / "one").raw_image) == 1


def test_bytes_that_make_no_frame(tmp_path: Path) -> None:
    dataset = make_slice()
    dataset.PixelData += bytes(20)
    write_series(tmp_path / "in", [dataset, make_slice(1)])
    with pytest.warns(UserWarning, match=r"1 of 2 files have bytes after their frames.*I1 has 20"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.shape == (2, 6, 5)
    image.to_dicom_folder(tmp_path / "out")
    assert (tmp_path / "out/I1").read_bytes() == (tmp_path / "in/I1").read_bytes()


def test_some_frames_are_another_image(tmp_path: Path) -> None:
    write_series(tmp_path, [stating(several_frames(3), ...)])
    with pytest.warns(UserWarning, match=MORE):
        meta = dicube.read_dicom_dir(tmp_path)
    chosen = DicomCubeImage(frames_like(3, 100)[1:], dicom_meta=meta.select([1, 2]))
    chosen.to_dicom_folder(tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    written = pydicom.dcmread(path)
    assert written.NumberOfFrames == 2
    assert written.SOPInstanceUID != several_frames(3).SOPInstanceUID


def test_bits_that_are_not_subsampled(tmp_path: Path) -> None:
    """Whole YBR samples declared as YBR_FULL_422, a third more than there should be."""
    pixels = np.zeros((2, 6, 8, 3), np.uint8)
    dataset = make_slice(0, (6, 8, 3), "uint8")
    dataset.PhotometricInterpretation, dataset.NumberOfFrames = "YBR_FULL_422", 2
    set_pixels(dataset, pixels)
    write_series(tmp_path, [dataset])
    with (
        pytest.warns(UserWarning, match="bytes after their frames"),
        pytest.raises(DicomCubeError, match="YBR_FULL_422"),
    ):
        DicomCubeImage.from_dicom_folder(tmp_path)
