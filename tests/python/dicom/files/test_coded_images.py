"""coded_images, coded_frames: frames are what their file declares, in every codec, or refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import each, make_slice, set_pixels, write_series
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from dicube import DicomCubeImage, verify_file
from dicube.codecs import get_codec
from dicube.dicom.files.coded_images import declared_by, rle_fault
from dicube.exceptions import DataConsistencyError, DicomCubeError

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None", "ignore:.*compressed pixel data")

JPEG_XL = UID("1.2.840.10008.1.2.4.110")
CODECS = {
    "jpeg2000": JPEG2000Lossless,
    "jpegls": JPEGLSLossless,
    "htj2k": HTJ2KLossless,
    "jpegxl": JPEG_XL,
    "rle": RLELossless,
}
ROWS, COLUMNS = 40, 36


def frames_of(count: int, stored: int, signed: bool, samples: int = 1) -> NDArray[Any]:
    size = next(size for size in (1, 2, 4) if stored <= 8 * size)
    low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    shape = (count, ROWS, COLUMNS) if samples == 1 else (count, ROWS, COLUMNS, samples)
    random = np.random.default_rng(stored)
    return random.integers(low, high, shape, np.int64).astype(f"{'i' if signed else 'u'}{size}")


def coded_dataset(codec: str, frames: NDArray[Any], stored: int, **how: Any) -> Dataset:
    """A dataset of coded frames; `how` is passed on to pydicom's `encapsulate`."""
    if codec == "jpegls":
        pytest.importorskip("jpeg_ls")
    dataset = make_slice(0, frames.shape[1:], frames.dtype)
    dataset.BitsStored, dataset.HighBit = stored, stored - 1
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    syntax = CODECS[codec]
    if codec in ("htj2k", "jpegxl"):
        encode = get_codec("jph" if codec == "htj2k" else "jxl").encode
        coded = [encode(frame) for frame in frames]
    else:
        set_pixels(dataset, frames)
        dataset.compress(syntax, generate_instance_uid=False)
        coded = list(generate_frames(dataset.PixelData, number_of_frames=len(frames)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.add_new(0x7FE00010, "OB", encapsulate(coded, **how))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def loaded(folder: Path, dataset: Dataset) -> DicomCubeImage:
    syntax = dataset.file_meta.TransferSyntaxUID
    known = syntax if syntax.is_transfer_syntax else HTJ2KLossless
    dataset.file_meta.TransferSyntaxUID = known  # pydicom writes no other
    write_series(folder, [dataset])
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes().replace(known.encode(), syntax.encode(), 1))
    return DicomCubeImage.from_dicom_folder(folder)


NARROW = [
    *((codec, *bits) for codec in ("jpeg2000", "jpegls") for bits in ((16, 8, 0), (16, 5, 0))),
    *((codec, *bits) for codec in ("htj2k", "jpegxl") for bits in ((16, 8, 0), (32, 16, 0))),
    *(("jpeg2000", *bits) for bits in ((16, 8, 1), (32, 16, 0), (32, 16, 1), (32, 8, 0))),
    *(("htj2k", *bits) for bits in ((16, 8, 1), (32, 16, 1), (32, 8, 1))),
    ("jpegls", 16, 8, 1),
    ("jpegls", 32, 16, 0),
]


@pytest.mark.parametrize(("codec", "allocated", "stored", "signed"), NARROW)
def test_codestreams_narrower_than_the_words(
    tmp_path: Path, codec: str, allocated: int, stored: int, signed: int
) -> None:
    frames = frames_of(1, stored, bool(signed))
    dataset = coded_dataset(codec, frames, stored)
    dataset.BitsAllocated = allocated
    image = loaded(tmp_path / "in", dataset)
    assert image.dtype == f"{'int' if signed else 'uint'}{allocated}"
    assert np.array_equal(image.raw_image, frames)
    if codec != "jpegxl":
        judge = pydicom.dcmread(tmp_path / "in" / "I1").pixel_array
        assert np.array_equal(image.raw_image[0], judge)
    image.to_file(tmp_path / "x.dcbs")
    assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok
    back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    for name in ("ExplicitVRLittleEndian", "htj2k"):
        back.to_dicom_folder(tmp_path / name, exact=False, transfer_syntax=name)
        written = pydicom.dcmread(tmp_path / name / "slice_0000.dcm")
        assert np.array_equal(DicomCubeImage.from_dicom_folder(tmp_path / name).raw_image, frames)
        assert written.BitsAllocated == allocated
        assert written.BitsStored == stored
        assert written.HighBit == stored - 1
        assert written.PixelRepresentation == signed
    restored = pydicom.dcmread(tmp_path / "ExplicitVRLittleEndian" / "slice_0000.dcm")
    assert np.array_equal(restored.pixel_array, frames[0])


def transposed(dataset: Dataset) -> None:
    dataset.Rows, dataset.Columns = COLUMNS, ROWS


def smaller(dataset: Dataset) -> None:
    dataset.Rows = ROWS - 2


def larger(dataset: Dataset) -> None:
    dataset.Columns = COLUMNS + 2


def flat(dataset: Dataset) -> None:
    dataset.Rows, dataset.Columns = ROWS // 2, COLUMNS * 2


def coloured(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0


def byte_words(dataset: Dataset) -> None:
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7


@pytest.mark.parametrize("change", [transposed, smaller, larger, flat, coloured, byte_words])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("codec", CODECS)
def test_frames_of_another_size_are_refused(
    tmp_path: Path, codec: str, frames: int, change: Any
) -> None:
    if codec == "rle" and change in (transposed, flat):
        pytest.skip("RLE doesn't declare rows and columns, only the number of pixels")
    dataset = coded_dataset(codec, frames_of(frames, 16, signed=False), 16)
    change(dataset)
    with pytest.raises(DicomCubeError, match="I1"):
        loaded(tmp_path, dataset)


JPEG_FILES = [
    *("JPEG-lossy", "JPGExtended", "SC_rgb_jpeg_dcmtk"),
    *("JPEGLSNearLossless_08", "MR_small_jpeg_ls_lossless", "JPEG2000"),
]


@pytest.mark.parametrize("name", JPEG_FILES)
def test_jpeg_of_another_size_is_refused(tmp_path: Path, name: str) -> None:
    dataset = pydicom.dcmread(str(pydicom.data.get_testdata_file(f"{name}.dcm")))
    dataset.Rows, dataset.Columns = dataset.Columns // 2, dataset.Rows * 2
    with pytest.raises(DicomCubeError, match="I1"):
        loaded(tmp_path, dataset)


def with_table(dataset: Dataset, offsets: list[int]) -> None:
    """Replace the basic offset table."""
    data = dataset.PixelData
    (length,) = struct.unpack_from("<L", data, 4)
    table = struct.pack(f"<{len(offsets)}L", *offsets)
    dataset.PixelData = data[:4] + struct.pack("<L", len(table)) + table + data[8 + length :]


@pytest.mark.parametrize("codec", CODECS)
class TestOffsetTables:
    """As many fragments as frames: each is one, whatever a table says, unless it reorders them."""

    COUNT = 4

    def check(self, folder: Path, dataset: Dataset) -> None:
        image = loaded(folder, dataset)
        assert np.array_equal(image.raw_image, frames_of(self.COUNT, 16, signed=False))

    @pytest.mark.parametrize(
        "offsets",
        [[], [0], [0, 8], [0, 2, 4, 6], [0, 0, 0, 0], [9, 8, 7, 6], [0, 1 << 31, 5, 4], [0] * 9],
        ids=str,
    )
    def test_basic(self, tmp_path: Path, codec: str, offsets: list[int]) -> None:
        dataset = coded_dataset(codec, frames_of(self.COUNT, 16, signed=False), 16)
        with_table(dataset, offsets)
        self.check(tmp_path, dataset)

    @pytest.mark.parametrize("fault", ["offsets", "lengths", "short", "long", "empty"])
    def test_extended(self, tmp_path: Path, codec: str, fault: str) -> None:
        dataset = coded_dataset(codec, frames_of(self.COUNT, 16, signed=False), 16)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=self.COUNT))
        data, offsets, lengths = encapsulate_extended(frames)
        dataset.PixelData = data
        dataset.ExtendedOffsetTable = {
            "offsets": offsets[::-1],
            "short": offsets[:8],
            "long": offsets * 2,
            "empty": b"",
        }.get(fault, offsets)
        dataset.ExtendedOffsetTableLengths = {
            "lengths": bytes(8 * self.COUNT),
            "short": lengths[:8],
            "long": lengths * 2,
            "empty": b"",
        }.get(fault, lengths)
        self.check(tmp_path, dataset)

    @pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 1, 3, 2), (0, 1, 1, 3)], ids=str)
    @pytest.mark.parametrize("table", ["basic", "extended"])
    def test_another_order(
        self, tmp_path: Path, codec: str, table: str, order: tuple[int, ...]
    ) -> None:
        dataset = coded_dataset(codec, frames_of(self.COUNT, 16, signed=False), 16)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=self.COUNT))
        data, offsets, lengths = encapsulate_extended(frames)
        starts = np.frombuffer(offsets, "<u8")[list(order)]
        if table == "basic":
            with_table(dataset, starts.tolist())
        else:
            dataset.PixelData = data
            dataset.ExtendedOffsetTable = starts.tobytes()
            dataset.ExtendedOffsetTableLengths = lengths
        with pytest.raises(DataConsistencyError, match=r"table has its 4 frames in another order"):
            loaded(tmp_path, dataset)

    @pytest.mark.parametrize("table", ["right", "empty", "wrong", "short"])
    def test_several_fragments_a_frame(self, tmp_path: Path, codec: str, table: str) -> None:
        if codec == "rle":
            pytest.skip("each frame has one fragment (PS3.5 A.4.2)")
        dataset = coded_dataset(
            codec, frames_of(self.COUNT, 16, signed=False), 16, fragments_per_frame=3
        )
        if table != "right":
            with_table(dataset, {"empty": [], "wrong": [0, 2, 4, 6], "short": [0]}[table])
        self.check(tmp_path, dataset)

    def test_fewer_fragments_than_frames(self, tmp_path: Path, codec: str) -> None:
        dataset = coded_dataset(codec, frames_of(self.COUNT, 16, signed=False), 16)
        dataset.NumberOfFrames = self.COUNT + 1
        with pytest.raises(DicomCubeError, match="I1"):
            loaded(tmp_path, dataset)


def test_fragments_that_fit_no_frames_are_refused(tmp_path: Path) -> None:
    dataset = coded_dataset("jpeg2000", frames_of(2, 16, signed=False), 16)
    dataset.PixelData = encapsulate([bytes(100)] * 3, has_bot=False)
    with pytest.raises(DicomCubeError, match=r"I1: can't assign fragments to 2 coded frames"):
        loaded(tmp_path, dataset)


def test_rle_segments() -> None:
    def frame(*segments: bytes) -> bytes:
        offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
        header = struct.pack("<16L", len(segments), *offsets, *([0] * (15 - len(segments))))
        return header + b"".join(segments)

    five = b"\xfc\7"  # five times 7
    literal = b"\4abcde"
    assert rle_fault(frame(five, literal), 5, 2) == ""
    assert rle_fault(frame(five + b"\0\0", literal + b"\x80\0\0\0"), 5, 2) == ""
    assert "found 2" in rle_fault(frame(five, literal), 5, 1)
    assert "segment 1, found more" in rle_fault(frame(five + b"\0\1", literal), 5, 2)
    assert "segment 2, found more" in rle_fault(frame(five, literal), 4, 2).replace("1,", "2,")
    assert "segment 1, found less" in rle_fault(frame(five, literal), 6, 2)
    assert "segment 1, found less" in rle_fault(frame(literal[:-1]), 5, 1)
    assert "header" in rle_fault(b"\1\0\0\0", 5, 1)


def test_damaged_codestreams_declare_nothing() -> None:
    whole = get_codec("jph").encode(frames_of(1, 8, signed=False)[0])
    assert declared_by(whole) == (ROWS, COLUMNS, 1, 8)
    for length in range(42):
        assert declared_by(whole[:length]) is None
    jpeg = b"\xff\xd8\xff\xff\xe0\0\2\xff\xc0\0\x0b\x08\0\x28\0\x24\1\0\0\0\xff\xda"
    assert declared_by(jpeg) == (ROWS, COLUMNS, 1, 8)
    for length in range(16):
        assert declared_by(jpeg[:length]) is None


def jpeg_of(rows: int, columns: int, code: int = 0xC0) -> bytes:
    """The headers of a JPEG image, or with code F7 of a JPEG-LS image, and 100 bytes of a scan."""
    frame = struct.pack(">BBHBHHB3B", 0xFF, code, 11, 8, rows, columns, 1, 1, 0x11, 0)
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(100) + b"\xff\xd9"


def huge(syntax: str, side: int) -> Dataset:
    """An image of few bytes that declares side x side pixels."""
    if syntax in ("90", "201"):
        coded = bytearray(get_codec("jph").encode(np.zeros((8, 8), np.uint8)))
        struct.pack_into(">2L", coded, 8, side, side)
    else:
        coded = bytearray(jpeg_of(side, side, 0xF7 if syntax == "80" else 0xC0))
    dataset = make_slice(0, (8, 8), "uint8")
    dataset.Rows = dataset.Columns = side
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    if syntax == "5":
        dataset.file_meta.TransferSyntaxUID = RLELossless
        coded = bytearray(struct.pack("<16L", 1, 64, *([0] * 14)) + bytes(100))
    dataset.PixelData = encapsulate([bytes(coded) + b"\0" * (len(coded) % 2)])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return dataset


@pytest.mark.parametrize("syntax", ["50", "51", "57", "70", "80", "90", "110", "201", "5"])
def test_few_bytes_that_declare_gigabytes(syntax: str, tmp_path: Path) -> None:
    with pytest.raises(DataConsistencyError, match="I1: expected coded frames of at most 4096 tim"):
        loaded(tmp_path, huge(syntax, 65_500))


@pytest.mark.parametrize("syntax", ["50", "80", "90", "5"])
def test_files_that_together_declare_gigabytes(syntax: str, tmp_path: Path) -> None:
    several = [huge(syntax, 10_000) for _ in range(3)]  # each of which may be what it claims
    write_series(tmp_path, each(several, "SOPInstanceUID", ["1.1", "1.2", "1.3"]))
    with pytest.raises(DataConsistencyError, match="I1: expected coded frames of at most 4096 tim"):
        DicomCubeImage.from_dicom_folder(tmp_path)


def test_a_jpeg_too_short_for_its_pixels(tmp_path: Path) -> None:
    with pytest.raises(
        DataConsistencyError, match="frame 1 is truncated: expected at least 195313 "
    ):
        loaded(tmp_path, huge("50", 10_000))


def test_frames_of_one_value(tmp_path: Path) -> None:
    """They are coded in the fewest bytes, and are no attack."""
    for codec in ("jph", "jxl"):
        dataset = huge("201" if codec == "jph" else "110", 4096)
        coded = get_codec(codec).encode(np.full((4096, 4096), 7, np.uint8))
        dataset.PixelData = encapsulate([coded] * 3)
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.NumberOfFrames = 3
        assert loaded(tmp_path / codec, dataset).shape == (3, 4096, 4096)


@pytest.mark.parametrize("samples", [2, 4])
def test_other_numbers_of_samples_are_refused(tmp_path: Path, samples: int) -> None:
    dataset = make_slice(0, (4, 3, samples), "uint8")
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with pytest.raises(DicomCubeError, match=r"I1: .*\(0028,0002\) SamplesPerPixel"):
        loaded(tmp_path, dataset)
