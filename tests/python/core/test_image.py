"""DicomCubeImage: arrays and series are saved and loaded, and parts that don't match are errors."""

from __future__ import annotations

import copy
import shutil
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import DTYPES, SmoothVolume
from inputs.dicom_series import make_series, write_series
from programs.running import run_python

from dicube import (
    CommonTags,
    DicomCubeImage,
    DicomMeta,
    DicomStatus,
    PixelDataHeader,
    SortMethod,
    get_dicom_status,
    read_dicom_dir,
)
from dicube.core.pixels import Pixels
from dicube.dicom.series.geometry import Space
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
    MetaDataError,
    TargetExistsError,
)
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_text

extension = pytest.mark.parametrize("extension", [".dcbs", ".dcba"])


@pytest.fixture
def volume(smooth_volume: SmoothVolume) -> np.ndarray[Any, Any]:
    return smooth_volume((4, 20, 24), "int16")


def oblique(shape: tuple[int, ...]) -> Space:
    """A (z, y, x) space that is turned, shifted and of unequal spacing."""
    c, s = np.cos(0.3), np.sin(0.3)
    return Space(
        shape=shape[:3],
        origin=(-12.5, 40.25, 7.125),
        spacing=(2.5, 0.9, 0.8),
        x_orientation=(0.0, -s, c),
        y_orientation=(0.0, c, s),
        z_orientation=(1.0, 0.0, 0.0),
    )


def same_place(one: Space, other: Space) -> bool:
    return tuple(one.shape) == tuple(other.shape) and all(
        np.allclose(getattr(one, name), getattr(other, name), atol=1e-9)
        for name in ("origin", "spacing", "x_orientation", "y_orientation", "z_orientation")
    )


class TestFromArray:
    @extension
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(3, 9, 8), (1, 9, 8), (1, 1, 1), (3, 9, 8, 3)], ids=str)
    def test_there_and_back(
        self,
        extension: str,
        dtype: str,
        shape: tuple[int, ...],
        tmp_path: Path,
        full_range: SmoothVolume,
    ) -> None:
        image = DicomCubeImage(full_range(shape, dtype))
        image.to_file(tmp_path / f"x{extension}")
        back = DicomCubeImage.from_file(tmp_path / f"x{extension}")
        assert back.shape == shape
        assert back.dtype == np.dtype(dtype)
        assert np.array_equal(back.raw_image, image.raw_image)
        assert back.pixel_header == image.pixel_header
        assert back.pixel_header.PixelDtype == dtype
        assert back.dicom_meta is None
        assert back.space is None
        assert back.dicom_status is DicomStatus.CONSISTENT

    def test_one_slice_has_three_axes(self, tmp_path: Path, full_range: SmoothVolume) -> None:
        array = full_range((7, 8), "uint16")
        image = DicomCubeImage(array)
        assert image.shape == (1, 7, 8)
        image.to_file(tmp_path / "x.dcbs")
        again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        again.to_file(tmp_path / "y.dcbs")
        assert np.array_equal(DicomCubeImage.from_file(tmp_path / "y.dcbs").raw_image[0], array)

    def test_all_parts_there_and_back(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        header = PixelDataHeader(0.5, -3.25, "int16", "int16", 40.0, 400.0, 9.0, -1.0, {"a": [1]})
        image = DicomCubeImage(volume, header, space=oblique(volume.shape))
        image.init_meta(modality="CT", patient_name="Müller^Jörg", patient_id="7")
        image.dicom_status = DicomStatus.GAP_LOCATION
        image.to_file(tmp_path / "x.dcba")
        back = DicomCubeImage.from_file(tmp_path / "x.dcba")
        assert back.pixel_header == header
        assert back.dicom_meta == image.dicom_meta
        assert back.dicom_meta is not None
        assert back.dicom_meta.get("PatientName") == "Müller^Jörg"
        assert back.space == image.space
        assert back.dicom_status is DicomStatus.GAP_LOCATION

    def test_the_array_is_not_copied(self, volume: np.ndarray[Any, Any]) -> None:
        assert DicomCubeImage(volume).raw_image is volume

    def test_big_endian_and_strides(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        odd = volume.astype(">i2")[::-1, ::2, ::-1]
        DicomCubeImage(odd).to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert back.dtype == np.dtype("int16")
        assert np.array_equal(back.raw_image, odd)

    @pytest.mark.parametrize(
        ("array", "told"),
        [
            (None, "NoneType"),
            (np.zeros((2, 3, 4), complex), "complex128"),
            (np.zeros((2, 3, 4), bool), "bool"),
            (np.zeros(3, np.uint8), r"\(3,\)"),
            (np.zeros((2, 3, 4, 2), np.uint8), r"\(2, 3, 4, 2\)"),
        ],
        ids=["None", "complex", "bool", "1-D", "two samples"],
    )
    def test_no_volume(self, array: Any, told: str) -> None:
        with pytest.raises(DataConsistencyError, match=told):
            DicomCubeImage(array)

    def test_parts_that_dont_fit(self, volume: np.ndarray[Any, Any]) -> None:
        with pytest.raises(DataConsistencyError, match=r"\(4, 20, 24\).*\(4, 20, 25\)"):
            DicomCubeImage(volume, space=oblique((4, 20, 25)))
        other = DicomCubeImage(volume[:3]).init_meta()
        with pytest.raises(DataConsistencyError, match=r"4 slices.*3"):
            DicomCubeImage(volume, dicom_meta=other)
        with pytest.raises(MetaDataError, match="dict"):
            DicomCubeImage(volume, dicom_meta={})  # type: ignore[arg-type]
        with pytest.raises(DataConsistencyError, match="str"):
            DicomCubeImage(volume, space="axial")
        for header in ("x", {}, 5):
            with pytest.raises(DataConsistencyError, match="expected a PixelDataHeader, found"):
                DicomCubeImage(volume, header)  # type: ignore[arg-type]

    def test_header_with_another_dtype_is_put_right(
        self, tmp_path: Path, volume: np.ndarray[Any, Any]
    ) -> None:
        image = DicomCubeImage(volume, PixelDataHeader())
        image.to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert back.pixel_header.PixelDtype == "int16"
        assert image.pixel_header == PixelDataHeader()

    def test_status_is_that_of_the_metadata(self, volume: np.ndarray[Any, Any]) -> None:
        meta = DicomCubeImage(volume).init_meta()
        meta.set_shared_item("InstanceNumber", 1)
        image = DicomCubeImage(volume, dicom_meta=meta)
        assert image.dicom_status is DicomStatus.DUPLICATE_INSTANCE_NUMBERS


class TestAssigning:
    def test_raw_image(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, space=oblique(volume.shape))
        image.init_meta()
        image.raw_image = (volume // 2).astype(np.int32)
        image.to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert np.array_equal(back.raw_image, volume // 2)
        assert back.pixel_header.PixelDtype == "int32"
        for wrong in (volume[:2], volume[:, 1:], volume.astype(complex)):
            with pytest.raises(DataConsistencyError):
                image.raw_image = wrong
        assert image.raw_image.shape == volume.shape

    def test_meta(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume)
        with pytest.raises(DataConsistencyError, match=r"expected metadata of 4 slices.*found 2"):
            image.dicom_meta = DicomCubeImage(volume[:2]).init_meta()
        image.dicom_meta = DicomCubeImage(volume).init_meta()
        image.dicom_meta = None
        assert image.dicom_meta is None

    def test_space(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume)
        image.init_meta("CT")
        space = oblique(volume.shape)
        image.space = space
        image.to_file(tmp_path / "x.dcbs")
        assert same_place(DicomCubeImage.from_file(tmp_path / "x.dcbs").space, space)
        image.to_dicom_folder(tmp_path / "out")
        assert same_place(DicomCubeImage.from_dicom_folder(tmp_path / "out").space, space)
        meta = read_dicom_dir(tmp_path / "out")
        assert meta.get("PixelSpacing") == [0.9, 0.8]
        assert image.dicom_meta is not None
        assert image.dicom_meta.get("PixelSpacing") == [0.9, 0.8]

    def test_space_that_does_not_fit(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume)
        with pytest.raises(DataConsistencyError, match=r"\(24, 20, 4\)"):
            image.space = Space(shape=(24, 20, 4))
        assert image.space is None

    def test_space_of_numpy_numbers_is_saved(
        self, tmp_path: Path, volume: np.ndarray[Any, Any]
    ) -> None:
        image = DicomCubeImage(volume)
        image.space = Space(shape=volume.shape).apply_flip(0).apply_flip(2)
        image.to_file(tmp_path / "x.dcbs")
        assert same_place(DicomCubeImage.from_file(tmp_path / "x.dcbs").space, image.space)

    def test_no_space_again(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, space=oblique(volume.shape))
        image.space = None
        assert image.space is None

    def test_metadata_that_grew_apart_are_not_saved(
        self, tmp_path: Path, volume: np.ndarray[Any, Any]
    ) -> None:
        image = DicomCubeImage(volume)
        image.init_meta()
        image._pixels = Pixels(volume[:3])
        with pytest.raises(DataConsistencyError, match=r"3 slices.*4"):
            image.to_file(tmp_path / "x.dcbs")
        assert list(tmp_path.iterdir()) == []


class TestRealValues:
    def test_common_rescale(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, PixelDataHeader(RescaleSlope=0.1, RescaleIntercept=-1024))
        expected = (volume * 0.1 - 1024).astype(np.float32)
        assert image.get_fdata().dtype == np.float32
        assert np.array_equal(image.get_fdata(), expected)
        assert np.array_equal(image.get_fdata("float64"), volume * 0.1 - 1024)
        with pytest.raises(DataConsistencyError, match="int16"):
            image.get_fdata("int16")

    def test_each_slice_its_own(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        slopes, intercepts = [0.5, 1.0, 2.0, 0.25], [0.0, -1.0, 3.0, 9.5]
        image = DicomCubeImage(volume, PixelDataHeader(RescaleSlope=0.5))
        meta = image.init_meta("PT")
        meta.set_nonshared_item("RescaleSlope", slopes)
        meta.set_nonshared_item("RescaleIntercept", intercepts)
        expected = volume * np.reshape(slopes, (4, 1, 1)) + np.reshape(intercepts, (4, 1, 1))
        assert np.array_equal(image.get_fdata("float64"), expected)
        image.to_file(tmp_path / "x.dcba")
        back = DicomCubeImage.from_file(tmp_path / "x.dcba")
        assert np.array_equal(back.get_fdata("float64"), expected)
        back.to_dicom_folder(tmp_path / "out")
        again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert np.array_equal(again.raw_image, volume)
        assert np.array_equal(again.get_fdata("float64"), expected)

    def test_a_slice_without_rescale(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, PixelDataHeader(RescaleSlope=2.0))
        image.init_meta().set_nonshared_item("RescaleSlope", [2.0, None, 2.0, 3.0])
        expected = volume * np.reshape([2, 1, 2, 3], (4, 1, 1))
        assert np.array_equal(image.get_fdata("float64"), expected)

    def test_a_header_set_by_hand_wins(self, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, PixelDataHeader(RescaleSlope=2.0))
        image.init_meta().set_nonshared_item("RescaleSlope", [2.0, 3.0, 4.0, 5.0])
        image.pixel_header = PixelDataHeader(RescaleSlope=10.0)
        assert np.array_equal(image.get_fdata("float64"), volume * 10.0)


class TestInitMeta:
    def test_export(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume, space=oblique(volume.shape))
        with pytest.raises(MetaDataError, match="init_meta"):
            image.to_dicom_folder(tmp_path / "out")
        meta = image.init_meta(modality="MR", patient_name="DOE^JANE", patient_id="42")
        assert meta is image.dicom_meta
        assert get_dicom_status(meta) is DicomStatus.CONSISTENT
        image.to_dicom_folder(tmp_path / "out")
        assert len(list((tmp_path / "out").iterdir())) == 4
        back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert np.array_equal(back.raw_image, volume)
        assert same_place(back.space, oblique(volume.shape))
        assert back.dicom_meta is not None
        assert back.dicom_meta.get(CommonTags.PatientName) == "DOE^JANE"
        assert back.dicom_meta.get("Modality") == "MR"

    @pytest.mark.parametrize("name", ["modality", "patient_name", "patient_id"])
    def test_empty(self, name: str, volume: np.ndarray[Any, Any]) -> None:
        with pytest.raises(MetaDataError, match=name):
            DicomCubeImage(volume).init_meta(**{name: ""})

    def test_colour(self, tmp_path: Path, full_range: SmoothVolume) -> None:
        volume = full_range((2, 6, 7, 3), "uint8")
        image = DicomCubeImage(volume)
        image.init_meta()
        image.to_dicom_folder(tmp_path / "out")
        assert np.array_equal(DicomCubeImage.from_dicom_folder(tmp_path / "out").raw_image, volume)


class TestTargets:
    @pytest.mark.parametrize("name", ["x.dcb", "x.nii.gz", "x"])
    def test_unknown_extension(
        self, name: str, tmp_path: Path, volume: np.ndarray[Any, Any]
    ) -> None:
        with pytest.raises(DataConsistencyError, match=r"\.dcbs or \.dcba"):
            DicomCubeImage(volume).to_file(tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_folders_in_use(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume)
        image.init_meta()
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(TargetExistsError, match=r"thesis\.txt"):
            image.to_dicom_folder(tmp_path)
        image.to_dicom_folder(tmp_path, overwrite=True)
        assert (tmp_path / "thesis.txt").read_text() == "years of work"
        assert len(list(tmp_path.iterdir())) == 5
        with pytest.raises(FileExistsError):
            image.to_dicom_folder(tmp_path / "thesis.txt", overwrite=True)

    def test_bytes_do_not_depend_on_threads(
        self, tmp_path: Path, smooth_volume: SmoothVolume
    ) -> None:
        image = DicomCubeImage(smooth_volume((25, 30, 30), "uint16"))
        for suffix in (".dcbs", ".dcba"):
            for threads in (1, 2, 5):
                image.to_file(tmp_path / f"{threads}{suffix}", num_threads=threads)
            image.to_file(tmp_path / f"p{suffix}", progress=lambda *_: None, verify=False)
            written = [(tmp_path / f"{name}{suffix}").read_bytes() for name in "125p"]
            assert len(set(written)) == 1

    def test_fewer_threads_than_none(self, tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
        image = DicomCubeImage(volume)
        image.init_meta()
        image.to_dicom_folder(tmp_path / "dicom")
        for work in (
            lambda: image.to_dicom_folder(tmp_path / "o", transfer_syntax="htj2k", num_threads=-1),
            lambda: DicomCubeImage.from_dicom_folder(tmp_path / "dicom", num_threads=-1),
            lambda: image.to_file(tmp_path / "x.dcbs", num_threads=-1),
        ):
            with pytest.raises(DataConsistencyError, match="num_threads"):
                work()

    def test_effort(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        image = DicomCubeImage(smooth_volume((3, 128, 128), "uint16"))
        for effort in (1, 7):
            image.to_file(tmp_path / f"{effort}.dcba", effort=effort)
            back = DicomCubeImage.from_file(tmp_path / f"{effort}.dcba")
            assert np.array_equal(back.raw_image, image.raw_image)
        assert (tmp_path / "7.dcba").stat().st_size < (tmp_path / "1.dcba").stat().st_size

    @pytest.mark.parametrize("side", [None, 32, 64])
    def test_block_side(
        self, side: int | None, tmp_path: Path, smooth_volume: SmoothVolume
    ) -> None:
        image = DicomCubeImage(smooth_volume((2, 130, 70), "uint16"))
        image.to_file(tmp_path / "x.dcbs", block_side=side)
        assert np.array_equal(
            DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, image.raw_image
        )
        with DcbReader(tmp_path / "x.dcbs") as reader:
            coded = reader.coded(1)
        # The exponents, less 2, in COD (ISO/IEC 15444-1 A.6.1).
        exponents = coded[coded.index(b"\xff\x52") + 10 :][:2]
        assert [4 << exponent for exponent in exponents] == [side or 64] * 2

    @pytest.mark.parametrize(
        ("extension", "side"), [(".dcbs", 16), (".dcbs", -64), (".dcbs", 2**32 + 32), (".dcba", 32)]
    )
    def test_no_such_block_side(self, extension: str, side: int, tmp_path: Path) -> None:
        image = DicomCubeImage(np.zeros((1, 4, 4), np.uint8))
        with pytest.raises(DataConsistencyError, match="block_side"):
            image.to_file(tmp_path / f"x{extension}", block_side=side)
        assert list(tmp_path.iterdir()) == []

    def test_progress(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        image = DicomCubeImage(smooth_volume((40, 8, 8), "uint16"))
        image.init_meta()
        steps: list[tuple[int, int]] = []

        def tell(done: int, total: int) -> None:
            steps.append((done, total))

        def check() -> None:
            assert steps[-1][0] == steps[-1][1] and len(steps) > 1
            steps.clear()

        image.to_file(tmp_path / "x.dcbs", progress=tell)
        check()
        DicomCubeImage.from_file(tmp_path / "x.dcbs", progress=tell)
        check()
        image.to_dicom_folder(tmp_path / "out", progress=tell)
        check()
        DicomCubeImage.from_dicom_folder(tmp_path / "out", progress=tell)
        check()


NAN, FAR = float("nan"), 10**400


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


class TestWhatCantBeStored:
    """It is refused before anything is written: the file that was there stays as it was."""

    def refused(
        self, image: DicomCubeImage, folder: Path, error: type[Exception], told: str
    ) -> None:
        path = folder / "x.dcbs"
        DicomCubeImage(image.raw_image).to_file(path)
        before = path.read_bytes()
        with pytest.raises(error, match=told):
            image.to_file(path)
        assert path.read_bytes() == before
        assert list(folder.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("RescaleSlope", value) for value in (FAR, None, "2", True)),
            *(("WindowCenter", value) for value in ([40.0], "40", FAR)),
            *(("MaxVal", value) for value in (FAR, 10**5000, 1j)),
            ("OriginalPixelDtype", None),
            *(("Extras", value) for value in ([1], {(1, 2): 3}, {"a": {1}}, {"a": 10**5000})),
            ("Extras", {"a": nested(100_000)}),
            ("Extras", {"a": b"bytes"}),
            ("Extras", {1: "a key", "1": "and the same as text"}),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_pixel_header(
        self, name: str, value: Any, volume: np.ndarray[Any, Any], tmp_path: Path
    ) -> None:
        image = DicomCubeImage(volume)
        setattr(image.pixel_header, name, value)
        self.refused(image, tmp_path, DataConsistencyError, "the pixel header can't be stored")

    def test_pixel_header_of_what_was_read(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", make_series(2))
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        image.pixel_header.Extras = {"a": {1}}
        with pytest.raises(DataConsistencyError, match="the pixel header can't be stored"):
            image.why_not_exact()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("origin", value) for value in ((NAN, 0.0, 0.0), (0, 0, FAR), (0.0, "1", 0.0))),
            ("origin", (1.0, 2.0)),
            *(("spacing", (1.0, value, 1.0)) for value in (NAN, 0.0, -1.0, float("inf"))),
            ("x_orientation", (NAN, 0.0, 1.0)),
        ],
    )
    def test_space(
        self, name: str, value: Any, volume: np.ndarray[Any, Any], tmp_path: Path
    ) -> None:
        space = oblique(volume.shape)
        setattr(space, name, value)
        image = DicomCubeImage(volume)
        image.space = space
        self.refused(image, tmp_path, MetaDataError, "can't store the space")

    def test_numbers_at_the_edge_can(self, volume: np.ndarray[Any, Any], tmp_path: Path) -> None:
        image = DicomCubeImage(volume)
        image.pixel_header.MaxVal = 10**300
        image.pixel_header.WindowCenter = NAN
        image.pixel_header.Extras = {"a": FAR, "b": [NAN, nested(100)]}
        image.to_file(tmp_path / "x.dcbs")
        back = DicomCubeImage.from_file(tmp_path / "x.dcbs").pixel_header
        assert back.MaxVal == 10**300
        assert np.isnan(back.WindowCenter)
        assert back.Extras["a"] == FAR
        assert back.Extras["b"][1] == nested(100)


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            DicomCubeImage.from_file(tmp_path / "none.dcbs")
        assert isinstance(caught.value, CubeFileNotFoundError)
        with pytest.raises(FileNotFoundError):
            DicomCubeImage.from_dicom_folder(tmp_path / "none")

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MetaDataError):
            DicomCubeImage.from_dicom_folder(tmp_path)
        (tmp_path / "a.txt").write_text("text")
        with pytest.raises(MetaDataError):
            DicomCubeImage.from_dicom_folder(tmp_path)

    @pytest.mark.parametrize(
        ("section", "data", "expected"),
        [
            ("pixel_header", b"{", InvalidCubeFileError),
            ("pixel_header", b"[]", InvalidCubeFileError),
            ("pixel_header", b"\xff", InvalidCubeFileError),
            ("pixel_header", b"[" * 100_000, InvalidCubeFileError),
            ("pixel_header", b'{"RescaleSlope": "steep"}', InvalidCubeFileError),
            ("dicom_status", b"splendid", InvalidCubeFileError),
            ("dicom_status", b"\xff", InvalidCubeFileError),
            ("dicom_meta", b"no zstd", InvalidCubeFileError),
            ("dicom_meta", pack_text("{"), MetaDataError),
            ("dicom_meta", pack_text("[]"), MetaDataError),
            ("dicom_meta", pack_text('{"_merged_data": 7}'), MetaDataError),
            ("dicom_meta", pack_text("[" * 100_000), MetaDataError),
            ("space", b"{}", MetaDataError),
            ("space", b"not JSON", MetaDataError),
            ("space", b"[" * 100_000, MetaDataError),
        ],
    )
    def test_bad_section(
        self, section: str, data: bytes, expected: type[Exception], tmp_path: Path
    ) -> None:
        path = tmp_path / "x.dcbs"
        with DcbWriter(path, (1, 2, 2), "u1") as writer:
            writer.write_section(section, data)
            writer.write_frames(np.zeros((1, 2, 2), np.uint8))
        with pytest.raises(expected):
            DicomCubeImage.from_file(path)

    def test_metadata_of_another_number_of_slices(
        self, tmp_path: Path, volume: np.ndarray[Any, Any]
    ) -> None:
        meta = DicomCubeImage(volume).init_meta()
        path = tmp_path / "x.dcbs"
        for frames, error, message in (
            (3, MetaDataError, "4 slices.*more than 3"),
            (5, DataConsistencyError, r"5 slices.*4"),
        ):
            with DcbWriter(path, (frames, *volume.shape[1:]), volume.dtype) as writer:
                writer.write_section("dicom_meta", pack_text(meta.to_json()))
                writer.write_frames(np.resize(volume, (frames, *volume.shape[1:])))
            with pytest.raises(error, match=message):
                DicomCubeImage.from_file(path)

    def test_no_frames(self, tmp_path: Path) -> None:
        status = b"consistent"
        header = b"DCMCUBES" + struct.pack("<L13Q", 1, 116, len(status), *[0] * 11)
        with pytest.raises(InvalidCubeFileError, match="no frames"):
            DicomCubeImage.from_file(header + status)


SERIES = ("ct_philips_thin", "mr_siemens_sag", "ct_ge_head")


@pytest.mark.parametrize("series", SERIES)
class TestRealSeries:
    @pytest.fixture
    def image(self, series: str, shared_data: Path) -> DicomCubeImage:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return DicomCubeImage.from_dicom_folder(shared_data / series)

    @extension
    def test_there_and_back(
        self, extension: str, image: DicomCubeImage, series: str, tmp_path: Path
    ) -> None:
        path = tmp_path / f"x{extension}"
        image.to_file(path, effort=1 if extension == ".dcba" else None)
        back = DicomCubeImage.from_file(path)
        assert np.array_equal(back.raw_image, image.raw_image)
        assert back.dtype == image.dtype
        assert back.dicom_meta == image.dicom_meta
        assert back.pixel_header == image.pixel_header
        assert back.dicom_status is image.dicom_status
        assert back.space == image.space
        with DcbReader(path) as reader:
            assert np.array_equal(reader.read_frames(3, 5), image.raw_image[3:5])

    def test_export(self, image: DicomCubeImage, series: str, tmp_path: Path) -> None:
        image.to_dicom_folder(tmp_path / "out")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            back = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert np.array_equal(back.raw_image, image.raw_image)
        assert back.dicom_status is image.dicom_status
        assert back.space == image.space
        assert back.dicom_meta is not None and image.dicom_meta is not None
        for index in range(len(image.raw_image)):
            assert back.dicom_meta.index(index) == image.dicom_meta.index(index)


def test_a_series_whose_space_cant_be_told_warns(shared_data: Path) -> None:
    with pytest.warns(UserWarning, match="space is None: gap_location"):
        image = DicomCubeImage.from_dicom_folder(shared_data / "ct_ge_head")
    assert image.space is None
    assert image.dicom_status is DicomStatus.GAP_LOCATION


def test_sort_methods(shared_data: Path) -> None:
    folder = shared_data / "mr_siemens_sag"
    first = DicomCubeImage.from_dicom_folder(folder)
    turned = DicomCubeImage.from_dicom_folder(folder, SortMethod.INSTANCE_NUMBER_DESC)
    assert np.array_equal(turned.raw_image, first.raw_image[::-1])
    right = DicomCubeImage.from_dicom_folder(folder, sort_method=SortMethod.POSITION_RIGHT_HAND)
    left = DicomCubeImage.from_dicom_folder(folder, sort_method=SortMethod.POSITION_LEFT_HAND)
    assert np.array_equal(right.raw_image, left.raw_image[::-1])


def test_several_series(shared_data: Path, tmp_path: Path) -> None:
    for series in ("mr_siemens_sag", "ct_ge_head"):
        source = sorted((shared_data / series).glob("*.dcm"))[:2]
        for path in source:
            shutil.copy(path, tmp_path / f"{series}-{path.name}")
    with pytest.raises(DataConsistencyError, match="series"):
        DicomCubeImage.from_dicom_folder(tmp_path)
    uid = str(read_dicom_dir(shared_data / "mr_siemens_sag").get("SeriesInstanceUID"))
    image = DicomCubeImage.from_dicom_folder(tmp_path, series_uid=uid)
    assert image.shape == (2, 256, 256)


def test_loading_takes_little_more_memory_than_the_volume(
    shared_data: Path, tmp_path: Path
) -> None:
    """Peak of from_file: the volume and 64 MB."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    image = DicomCubeImage.from_dicom_folder(shared_data / "ct_philips_thin")
    image.to_file(tmp_path / "x.dcbs", verify=False)
    code = """
import sys
from dicube import DicomCubeImage
import dicube.core.image
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
before = peak()
image = DicomCubeImage.from_file(sys.argv[1])
print(peak() - before - image.raw_image.nbytes)
"""
    result = run_python("-c", code, tmp_path / "x.dcbs")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 64 << 20


def test_metadata_can_be_edited(tmp_path: Path, volume: np.ndarray[Any, Any]) -> None:
    image = DicomCubeImage(volume)
    meta = image.init_meta(patient_name="DOE^JOHN")
    assert isinstance(meta, DicomMeta)
    kept = copy.deepcopy(meta)
    meta.set_shared_item("PatientName", "NOBODY")
    image.to_file(tmp_path / "x.dcbs")
    back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert back.dicom_meta is not None
    assert back.dicom_meta.get("PatientName") == "NOBODY"
    assert kept.get("PatientName") == "DOE^JOHN"
