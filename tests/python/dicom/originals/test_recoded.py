"""Files whose frames are coded again by recipes are restored to the byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import make_series, make_slice, pixels_of, write_series
from inputs.original_files import PYDICOM_FILES, contents, encapsulated, originals_of, restored
from inputs.real_series import SHARED
from inputs.rle_frames import Row, byte_by_byte, dcmtks, gdcms, pydicoms, rle_frame
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from dicube import DicomCubeImage, restore_files, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.dicom.originals.model import Recoded
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")

ROWS: dict[Row, int] = {pydicoms: 1, dcmtks: 2, gdcms: 3, byte_by_byte: 0}


def rle(dataset: Dataset, row: Row, **how: Any) -> Dataset:
    """Code a dataset's frames by RLE."""
    frames = dataset.pixel_array
    if not dataset.get("NumberOfFrames"):
        frames = frames[np.newaxis]
    coded = [rle_frame(frame, row) for frame in frames]
    encapsulated(dataset, coded, **how)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    return dataset


def recipes_in(path: Path) -> set[tuple[str, bytes]]:
    pieces = (piece for file in originals_of(path).all_files for piece in file.pieces)
    return {piece.recipe[:2] for piece in pieces if isinstance(piece, Recoded)}


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    ("shape", "dtype"), [((12, 30), "int16"), ((9, 11), "uint8"), ((7, 9, 3), "uint8")]
)
def test_rle(shape: tuple[int, ...], dtype: str, row: Row, extension: str, tmp_path: Path) -> None:
    series = [rle(make_slice(n, shape, dtype), row) for n in range(4)]
    write_series(tmp_path / "in", series)
    assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")
    kinds = recipes_in(tmp_path / f"x{extension}")
    assert {kind for kind, _ in kinds} == {"rle"}
    if ROWS[row]:
        assert all(len(data) == 2 for _, data in kinds)
    report = verify_file(tmp_path / f"x{extension}", against=tmp_path / "in")
    assert report.ok, report


@pytest.mark.parametrize("how", [{}, {"fragments_per_frame": 3}, {"has_bot": False}], ids=str)
def test_several_frames_and_fragments(how: dict[str, Any], tmp_path: Path) -> None:
    write_series(
        tmp_path / "in", [rle(several_frames(5, n, (9, 12)), dcmtks, **how) for n in (1, 2)]
    )
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    assert recipes_in(tmp_path / "x.dcbs") <= {("rle", b"\1\1"), ("rle", b"\2\1")}
    restore_files(tmp_path / "x.dcbs", tmp_path / "one", ["I2"])
    assert contents(tmp_path / "one") == {"I2": (tmp_path / "in" / "I2").read_bytes()}


def test_uncompressed_and_coded_files_in_one_series(tmp_path: Path) -> None:
    series = make_series(6, shape=(9, 12))
    for dataset, row in zip(series[2:], ROWS, strict=True):
        rle(dataset, row)
    write_series(tmp_path / "in", series)
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    originals = originals_of(tmp_path / "x.dcbs").of_slices([1, 3, 4])
    assert not isinstance(originals, str)
    volume = DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image[[1, 3, 4]]
    whole = contents(tmp_path / "in")
    for file, name in zip(originals.files, ("I2", "I4", "I5"), strict=True):
        assert b"".join(originals.parts(file, volume) or ()) == whole[name]


def test_coded_frames_of_only_some_files(tmp_path: Path) -> None:
    series = make_series(7, shape=(9, 12))
    for n in (1, 2, 4):
        encapsulated(series[n], [imencode_jph(series[n].pixel_array)])
    rle(series[5], gdcms)
    write_series(tmp_path / "in", series)
    pixels = np.stack([pixels_of(n, (9, 12), "uint16") for n in range(7)])
    done: list[tuple[int, int]] = []
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs", progress=lambda *numbers: done.append(numbers))
    assert done[-1] == (7, 7) and done == sorted(done)
    with DcbReader(tmp_path / "x.dcbs") as reader:
        assert np.array_equal(reader.read_frames(), pixels)
        for n in (1, 2, 4):
            assert reader.coded(n) == imencode_jph(pixels[n])
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    assert verify_file(tmp_path / "x.dcbs", against=tmp_path / "in").ok
    # The frames that are coded already are copied, the others encoded.
    image.to_dicom_folder(tmp_path / "new", transfer_syntax="htj2k")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "new")
    assert np.array_equal(again.raw_image, pixels)
    assert image.why_not_exact("jxl").startswith("3 of 7 original files have HTJ2K frames")


def test_jpeg_ls(tmp_path: Path) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    series = []
    for n in range(3):
        dataset = make_slice(n, (20, 30))
        coded = bytes(jpeg_ls.encode_array(dataset.pixel_array))
        series.append(encapsulated(dataset, [coded]))
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    write_series(tmp_path / "in", series)
    for extension in (".dcbs", ".dcba"):
        assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")
        assert {kind for kind, _ in recipes_in(tmp_path / f"x{extension}")} == {"jpeg-ls"}


def test_restoring_needs_no_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"]
    for name in names:
        if not (PYDICOM_FILES / name).exists():
            pytest.skip("not in this pydicom")
        image = DicomCubeImage.from_dicom_folder(PYDICOM_FILES / name)
        image.to_file(tmp_path / f"{name}.dcbs")

    def no_decoder(*_: Any, **__: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr("dicube.dicom.files.volume.get_decoder", no_decoder)
    for name in names:
        image = DicomCubeImage.from_file(tmp_path / f"{name}.dcbs")
        assert image.why_not_exact() == ""
        image.to_dicom_folder(tmp_path / name, exact=True)
        assert contents(tmp_path / name) == {name: (PYDICOM_FILES / name).read_bytes()}
        assert verify_file(tmp_path / f"{name}.dcbs").ok


def test_changed_pixels_are_detected(tmp_path: Path) -> None:
    write_series(tmp_path / "in", [rle(dataset, gdcms) for dataset in make_series(3)])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs")
    for changed in (image, DicomCubeImage.from_file(tmp_path / "x.dcbs")):
        changed.raw_image[1, 2, 3] += 1
        assert changed.why_not_exact() == "the pixels of the original file of slice 1 were changed"


def test_changed_pixels_within_a_run_are_detected(tmp_path: Path) -> None:
    """The control bytes that a recipe keeps, with the first byte of a run, still give the file."""
    dataset = make_slice(shape=(12, 30), dtype="uint16")
    dataset.PixelData = np.full((12, 30), 7, "uint16").tobytes()
    write_series(tmp_path / "in", [rle(dataset, lambda row: gdcms(row[:9]) + gdcms(row[9:]))])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.why_not_exact() == ""
    image.to_file(tmp_path / "x.dcbs")
    assert {data[0] for _, data in recipes_in(tmp_path / "x.dcbs")} == {0}
    for changed in (image, DicomCubeImage.from_file(tmp_path / "x.dcbs")):
        changed.raw_image[0, 2, 3] += 1
        assert changed.why_not_exact() == "the pixels of the original file of slice 0 were changed"


def test_recipes_are_stored_once(tmp_path: Path) -> None:
    write_series(tmp_path / "in", [rle(dataset, pydicoms) for dataset in make_series(50)])
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    with DcbReader(tmp_path / "x.dcbs") as reader:
        data = unpack_bytes(reader.sections["originals"])
    (length,) = struct.unpack_from("<L", data)
    assert json.loads(data[4 : 4 + length])["recipes"] == [{"kind": "rle", "bytes": 2}]


def with_originals(path: Path, data: bytes) -> Path:
    """A copy of a dicube file with another originals section; its checksums are right."""
    written = path.with_name("altered.dcbs")
    with DcbReader(path) as reader:
        volume = reader.read_frames()
        with DcbWriter(written, volume.shape, volume.dtype) as writer:
            for name in ("dicom_status", "dicom_meta", "space", "pixel_header"):
                writer.write_section(name, reader.sections[name])
            writer.write_section("originals", pack_bytes(data))
            writer.write_frames(volume)
    return written


# A recipe that lies, in a file whose checksums are right.
LIES: dict[str, Callable[[bytes], bytes]] = {
    "another rule": lambda data: data.replace(b"\2\1", b"\1\1"),
    "no rule": lambda data: data.replace(b"\2\1", b"\7\1"),
    "control bytes": lambda data: data.replace(b"\2\1", b"\0\1"),
    "another kind": lambda data: data.replace(b'"rle"', b'"rlf"'),
    "JPEG-LS": lambda data: data.replace(b'"rle","bytes":2}', b'"jpeg-ls","bytes":2}'),
    "another key": lambda data: data.replace(b'"bytes":2', b'"bytes":2,"a":1'),
}


@pytest.mark.parametrize("lie", LIES)
def test_lying_recipes_restore_nothing(lie: str, tmp_path: Path) -> None:
    runs = np.repeat(
        np.arange(60, dtype="uint16").reshape(6, 10), [2, 1, 3, 2, 1, 1, 4, 2, 1, 3], 1
    )
    series = [make_slice(n, runs.shape) for n in range(2)]
    for dataset in series:
        dataset.PixelData = runs.tobytes()
        rle(dataset, dcmtks)
    write_series(tmp_path / "in", series)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    with DcbReader(tmp_path / "x.dcbs") as reader:
        data = unpack_bytes(reader.sections["originals"])
    (length,) = struct.unpack_from("<L", data)
    index = LIES[lie](data[4 : 4 + length])
    rest = data[4 + length :]
    at = rest.index(b"\2\1" + (tmp_path / "in" / "I1").read_bytes()[:132])
    if index == data[4 : 4 + length]:
        rest = rest[:at] + LIES[lie](rest[at : at + 2]) + rest[at + 2 :]
    changed = struct.pack("<L", len(index)) + index + rest
    assert changed != data
    path = with_originals(tmp_path / "x.dcbs", changed)
    with pytest.raises(
        InvalidCubeFileError, match=r"slice 0 can.t be restored|slice 0: its pixels"
    ):
        DicomCubeImage.from_file(path).to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == {}
    assert not verify_file(path).ok


@pytest.mark.parametrize(
    "name",
    [
        *("MR_small_RLE", "SC_rgb_rle", "SC_rgb_rle_16bit", "SC_rgb_rle_16bit_2frame"),
        *("SC_rgb_rle_2frame", "SC_rgb_rle_32bit", "SC_rgb_rle_32bit_2frame", "rtdose_rle"),
        *("rtdose_rle_1frame", "MR_small_jpeg_ls_lossless"),
    ],
)
def test_files_of_pydicom(name: str, tmp_path: Path) -> None:
    source = PYDICOM_FILES / f"{name}.dcm"
    if not source.exists():
        pytest.skip("not in this pydicom")
    assert restored([source], tmp_path) == {source.name: source.read_bytes()}
    assert all(len(data) < 60 for _, data in recipes_in(tmp_path / "x.dcbs"))


@pytest.mark.parametrize("number", [4, 7, 8])
def test_real_files(number: int, tmp_path: Path) -> None:
    source = SHARED / "mr_nine_syntaxes" / f"{number}.dcm"
    if not source.exists():
        pytest.skip("no real data")
    assert restored([source], tmp_path) == {source.name: source.read_bytes()}
    assert all(len(data) < 60 for _, data in recipes_in(tmp_path / "x.dcbs"))


def test_noise_that_rle_makes_larger(tmp_path: Path) -> None:
    series = make_series(2, shape=(64, 64))
    for n, dataset in enumerate(series):
        dataset.PixelData = np.random.default_rng(n).bytes(64 * 64 * 2)
        rle(dataset, byte_by_byte)
    write_series(tmp_path / "in", series)
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert image.raw_image.dtype == pixels_of(0, (1, 1), "uint16").dtype


def test_frames_in_another_order_than_their_table_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = rle(several_frames(2), pydicoms, has_bot=False)
    fragments = [len(rle_frame(frame, pydicoms)) for frame in several_frames(2).pixel_array]
    sizes = [size + size % 2 for size in fragments]
    dataset.ExtendedOffsetTable = struct.pack("<2Q", 8 + sizes[0], 0)
    dataset.ExtendedOffsetTableLengths = struct.pack("<2Q", sizes[1], sizes[0])
    write_series(tmp_path / "in", [dataset])
    monkeypatch.setattr("dicube.dicom.files.volume.check_order", lambda *_: None)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    monkeypatch.undo()
    assert recipes_in(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    with pytest.raises(InvalidCubeFileError, match="offset table"):
        image.to_dicom_folder(tmp_path / "out")
