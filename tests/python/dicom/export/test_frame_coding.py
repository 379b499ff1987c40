"""frame_coding: exports in transfer syntaxes with a codec.

Judged by pydicom, and by pylibjpeg-openjpeg, gdcm and dcmtk where they are installed.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import make_series, set_pixels, write_series
from inputs.peers import pixels_by_gdcm
from numpy.typing import NDArray
from programs.running import needs
from pydicom.encaps import generate_frames
from pydicom.uid import HTJ2KLossless

from dicube import DicomCubeImage
from dicube.cli import main
from dicube.codecs.codestream import probe
from dicube.codecs.jph import imdecode_jph
from dicube.codecs.jxl import imdecode_jxl
from dicube.core.dicom_export import export_coded
from dicube.dicom import transfer_syntaxes
from dicube.dicom.export import frame_coding
from dicube.dicom.transfer_syntaxes import HTJ2K_RPCL, TransferSyntax
from dicube.exceptions import CodecError, DataConsistencyError
from dicube.storage import DcbReader

JPH = ("HTJ2KLossless", "HTJ2KLosslessRPCL")
SYNTAXES = (*JPH, "JPEGXLLossless")
UIDS = {
    "HTJ2KLossless": "1.2.840.10008.1.2.4.201",
    "HTJ2KLosslessRPCL": "1.2.840.10008.1.2.4.202",
    "JPEGXLLossless": "1.2.840.10008.1.2.4.110",
}
FILE_OF = {"HTJ2KLossless": ".dcbs", "HTJ2KLosslessRPCL": ".dcbs", "JPEGXLLossless": ".dcba"}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts frames that are encoded while a test runs."""
    calls: list[int] = []
    encode = frame_coding.encode_frame

    def counting(*arguments: Any) -> Any:
        calls.append(1)
        return encode(*arguments)

    monkeypatch.setattr(frame_coding, "encode_frame", counting)
    return calls


def cube(tmp_path: Path, bits: int = 12, **kind: Any) -> DicomCubeImage:
    """An image of a series whose slices need different numbers of bits."""
    datasets = make_series(3, **{"shape": (40, 70), **kind})
    for index, dataset in enumerate(datasets):
        pixels = dataset.pixel_array >> (dataset.BitsAllocated - bits + index)
        set_pixels(dataset, pixels)
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
    return DicomCubeImage.from_dicom_folder(write_series(tmp_path / "series", datasets))


def frames_of(dataset: pydicom.Dataset) -> list[bytes]:
    count = int(dataset.get("NumberOfFrames", 1))
    return list(generate_frames(dataset.PixelData, number_of_frames=count))


def decoded(dataset: pydicom.Dataset) -> NDArray[Any]:
    jxl = dataset.file_meta.TransferSyntaxUID.endswith(".110")
    return np.stack([decoded_jxl(f) if jxl else imdecode_jph(f) for f in frames_of(dataset)])


def decoded_jxl(padded: bytes) -> NDArray[Any]:
    """Decode a frame, with or without a zero behind it."""
    try:
        return imdecode_jxl(padded)
    except CodecError:
        return imdecode_jxl(padded[:-1])


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("bits", [9, 12, 16])
def test_files_of_a_transfer_syntax(tmp_path: Path, syntax: str, bits: int) -> None:
    image = cube(tmp_path, bits)
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    for index in range(3):
        dataset = pydicom.dcmread(tmp_path / "out" / f"slice_{index:04d}.dcm")
        source = pydicom.dcmread(tmp_path / "series" / f"I{index + 1}")
        assert dataset.file_meta.TransferSyntaxUID == UIDS[syntax]
        assert dataset["PixelData"].VR == "OB" and dataset["PixelData"].is_undefined_length
        np.testing.assert_array_equal(decoded(dataset)[0], source.pixel_array)
        assert (dataset.BitsStored, dataset.HighBit) == (bits, bits - 1)
        assert dataset.SOPInstanceUID == source.SOPInstanceUID
        del dataset.PixelData, source.PixelData
        assert dataset == source
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    np.testing.assert_array_equal(again.raw_image, image.raw_image)
    assert again.dicom_meta == image.dicom_meta
    assert again.dicom_status == image.dicom_status


@pytest.mark.parametrize("syntax", JPH)
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint32"])
def test_htj2k_of_other_samples(tmp_path: Path, syntax: str, dtype: str) -> None:
    datasets = make_series(2, dtype=dtype, shape=(20, 30))
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "series", datasets))
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    assert again.raw_image.dtype == dtype
    np.testing.assert_array_equal(again.raw_image, image.raw_image)
    assert again.dicom_meta == image.dicom_meta


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("planar", [0, 1])
def test_colour(tmp_path: Path, syntax: str, planar: int) -> None:
    datasets = make_series(2, dtype="uint8", shape=(20, 30, 3))
    colours = np.stack([dataset.pixel_array for dataset in datasets])
    for dataset, frame in zip(datasets, colours, strict=True):
        dataset.PlanarConfiguration = planar
        set_pixels(dataset, np.moveaxis(frame, -1, 0) if planar else frame)
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "series", datasets))
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    dataset = pydicom.dcmread(tmp_path / "out" / "slice_0000.dcm")
    assert (dataset.PhotometricInterpretation, dataset.PlanarConfiguration) == ("RGB", 0)
    np.testing.assert_array_equal(decoded(dataset)[0], colours[0])
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    np.testing.assert_array_equal(again.raw_image, colours)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_a_file_go_out_as_they_are(
    tmp_path: Path, syntax: str, encoded: list[int]
) -> None:
    path = tmp_path / f"x{FILE_OF[syntax]}"
    cube(tmp_path).to_file(path)
    image = DicomCubeImage.from_file(path)
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    assert image.raw_image.size  # now somebody may have changed it
    image.to_dicom_folder(tmp_path / "seen", transfer_syntax=syntax)
    name = {"HTJ2KLossless": "htj2k", "HTJ2KLosslessRPCL": "htj2k-rpcl"}.get(syntax, "jpegxl")
    assert main(["convert", str(path), f"{tmp_path}/cli/", "--transfer-syntax", name]) == 0
    with DcbReader(path) as reader:
        for index in range(3):
            files = [tmp_path / out / f"slice_{index:04d}.dcm" for out in ("out", "seen", "cli")]
            assert len({file.read_bytes() for file in files}) == 1
            (frame,) = frames_of(pydicom.dcmread(files[0]))
            assert frame.rstrip(b"\0") in reader.coded(index)
            assert len(frame) >= 0.9 * len(reader.coded(index)) - 100
    assert not encoded


def test_a_frame_that_was_changed_is_encoded(tmp_path: Path, encoded: list[int]) -> None:
    path = tmp_path / "x.dcbs"
    cube(tmp_path).to_file(path)
    image = DicomCubeImage.from_file(path)
    image.raw_image[1, 5, 5] ^= 1
    image.to_dicom_folder(tmp_path / "out", transfer_syntax="htj2k")
    assert len(encoded) == 1
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    np.testing.assert_array_equal(again.raw_image, image.raw_image)


@pytest.mark.parametrize("origin", ["file", "folder"])
def test_a_change_through_a_copy_is_seen(tmp_path: Path, origin: str) -> None:
    image = cube(tmp_path)
    if origin == "file":
        image.to_file(tmp_path / "x.dcbs")
        image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    else:
        image.to_dicom_folder(tmp_path / "coded", transfer_syntax="htj2k")
        image = DicomCubeImage.from_dicom_folder(tmp_path / "coded")
    copy.copy(image).raw_image[1] ^= 1
    for number, one in enumerate((image, pickle.loads(pickle.dumps(image)))):
        one.to_dicom_folder(tmp_path / f"out{number}", transfer_syntax="htj2k")
        again = DicomCubeImage.from_dicom_folder(tmp_path / f"out{number}")
        np.testing.assert_array_equal(again.raw_image, image.raw_image)


@pytest.mark.parametrize("fate", ["replaced", "removed"])
def test_a_file_that_is_another_by_now_is_not_used(
    tmp_path: Path, fate: str, encoded: list[int]
) -> None:
    path = tmp_path / "x.dcbs"
    image = cube(tmp_path)
    image.to_file(path)
    read = DicomCubeImage.from_file(path)
    path.unlink()
    if fate == "replaced":
        DicomCubeImage(image.raw_image + 1).to_file(path)
    read.to_dicom_folder(tmp_path / "out", transfer_syntax="htj2k")
    assert len(encoded) == 3
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    np.testing.assert_array_equal(again.raw_image, image.raw_image)


def test_bytes_are_a_source_too_and_a_file_object_is_none(
    tmp_path: Path, encoded: list[int]
) -> None:
    path = tmp_path / "x.dcbs"
    cube(tmp_path).to_file(path)
    DicomCubeImage.from_file(path.read_bytes()).to_dicom_folder(
        tmp_path / "bytes", transfer_syntax="htj2k"
    )
    assert not encoded
    with path.open("rb") as file:
        image = DicomCubeImage.from_file(file)
    image.to_dicom_folder(tmp_path / "file", transfer_syntax="htj2k")
    assert len(encoded) == 3
    for name in ("slice_0000.dcm", "slice_0002.dcm"):
        one, other = (tmp_path / folder / name for folder in ("bytes", "file"))
        assert one.read_bytes() == other.read_bytes()


def test_htj2k_dicom_files_are_not_recoded(tmp_path: Path, encoded: list[int]) -> None:
    cube(tmp_path).to_dicom_folder(tmp_path / "first", transfer_syntax="htj2k")
    encoded.clear()
    image = DicomCubeImage.from_dicom_folder(tmp_path / "first")
    image.dicom_meta.set_shared_item("PatientID", "4712")  # type: ignore[union-attr]
    image.to_dicom_folder(tmp_path / "out", transfer_syntax="htj2k-rpcl")
    assert not encoded
    assert pydicom.dcmread(tmp_path / "out" / "slice_0001.dcm").PatientID == "4712"


def test_files_of_rpcl_meet_its_conditions(tmp_path: Path) -> None:
    cube(tmp_path, shape=(300, 700)).to_dicom_folder(tmp_path / "out", transfer_syntax="htj2k-rpcl")
    (frame,) = frames_of(pydicom.dcmread(tmp_path / "out" / "slice_0000.dcm"))
    assert frame_coding.kept_in(HTJ2K_RPCL, frame) is not None
    cod = frame.index(b"\xff\x52")
    assert frame[cod + 5] == 2  # the progression order RPCL
    assert 700 / 2 ** frame[cod + 9] <= 64
    assert b"\xff\x55\x00\x08" in frame[:300]  # TLM


def test_published_files_are_recoded_only_where_they_must_be(
    tmp_path: Path, shared_data: Path, encoded: list[int]
) -> None:
    """Their frames have no tile-part lengths, and so can't be HTJ2K Lossless RPCL."""
    path = next(shared_data.joinpath("published_dicube_0_3_0").rglob("mr_siemens_sag.dcbs"))
    image = DicomCubeImage.from_file(path)
    image.to_dicom_folder(tmp_path / "plain", transfer_syntax="htj2k")
    assert not encoded
    assert pydicom.dcmread(tmp_path / "plain" / "slice_0000.dcm").BitsStored == 16
    image.to_dicom_folder(tmp_path / "rpcl", transfer_syntax="htj2k-rpcl")
    assert len(encoded) == len(image.raw_image)


def test_frames_of_one_file_agree(tmp_path: Path) -> None:
    """A multi-frame file says BitsStored once; frames whose own depth differs are encoded anew."""
    dataset = enhanced(3)
    pixels = np.stack([np.full((6, 5), 1 << bits, "uint16") for bits in (8, 11, 9)])
    set_pixels(dataset, pixels)
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", [dataset]))
    image.dicom_meta.set_shared_item("BitsStored", 4)  # type: ignore[union-attr]
    for syntax in SYNTAXES:
        out = tmp_path / syntax
        image.to_dicom_folder(out, transfer_syntax=syntax)
        written = pydicom.dcmread(out / "slice_0000.dcm")
        assert (written.NumberOfFrames, written.BitsStored, written.HighBit) == (3, 12, 11)
        np.testing.assert_array_equal(decoded(written), pixels)
        if syntax in JPH:
            assert {probe(frame).bits for frame in frames_of(written)} == {12}


@pytest.mark.parametrize(
    ("dtype", "shape", "syntax", "message"),
    [
        (
            "int16",
            (6, 5),
            "jpegxl",
            r"JPEGXLLossless can't store samples of int16: .*unsigned.*at most 16",
        ),
        ("uint32", (6, 5), "jpegxl", r"uint32: JPEG XL codes unsigned integers of at most 16 bits"),
        ("uint16", (6, 5), "jpeg2000", r"'jpeg2000'; supported: explicit"),
    ],
)
def test_what_a_transfer_syntax_has_not(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], syntax: str, message: str
) -> None:
    datasets = make_series(1, dtype=dtype, shape=shape)
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", datasets))
    with pytest.raises(DataConsistencyError, match=message):
        image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    assert not (tmp_path / "out").exists()


def test_a_transfer_syntax_without_a_writer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written as if it were Explicit VR Little Endian."""
    new = TransferSyntax("1.2.840.10008.1.2.2", "ExplicitVRBigEndian", "", "big-endian")
    known = (*transfer_syntaxes.TRANSFER_SYNTAXES, new)
    monkeypatch.setattr(transfer_syntaxes, "TRANSFER_SYNTAXES", known)
    image = cube(tmp_path)
    cube_file, out = tmp_path / "x.dcbs", tmp_path / "out"
    image.to_file(cube_file)
    for write in (
        lambda: image.to_dicom_folder(out, transfer_syntax="big-endian"),
        lambda: image.to_dicom_file(out, transfer_syntax="big-endian"),
        lambda: export_coded(cube_file, out, new),
    ):
        with pytest.raises(DataConsistencyError, match=r"ExplicitVRBigEndian \(1\.2\.840"):
            write()
    assert not out.exists()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_floating_point_is_refused(tmp_path: Path, syntax: str) -> None:
    image = DicomCubeImage(np.ones((2, 3, 4), "float32"))
    image.init_meta("MR")
    with pytest.raises(DataConsistencyError, match=r"can't store samples of float32"):
        image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)


def test_words_with_more_than_values_are_refused(tmp_path: Path) -> None:
    datasets = make_series(1)
    datasets[0].BitsStored, datasets[0].HighBit = 12, 11
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", datasets))
    with pytest.raises(DataConsistencyError, match=r"bits outside BitsStored"):
        image.to_dicom_folder(tmp_path / "out", transfer_syntax="htj2k")


def test_ybr_is_not_for_jpeg_xl(tmp_path: Path) -> None:
    datasets = make_series(1, dtype="uint8", shape=(6, 5, 3))
    datasets[0].PhotometricInterpretation = "YBR_FULL"
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", datasets))
    image.to_dicom_folder(tmp_path / "jph", transfer_syntax="htj2k")
    assert pydicom.dcmread(tmp_path / "jph/slice_0000.dcm").PhotometricInterpretation == "YBR_FULL"
    with pytest.raises(DataConsistencyError, match="slice 0: JPEGXLLossless can't store YBR_FULL"):
        image.to_dicom_folder(tmp_path / "jxl", transfer_syntax="jpegxl")


def test_explicit_little_endian_is_never_the_original(tmp_path: Path) -> None:
    image = cube(tmp_path)
    image.to_dicom_folder(tmp_path / "out", transfer_syntax="1.2.840.10008.1.2.1")
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == "slice_0000.dcm"
    with pytest.raises(DataConsistencyError, match="keep their own transfer syntax"):
        image.to_dicom_folder(tmp_path / "no", exact=True, transfer_syntax="explicit")
    image.to_dicom_folder(tmp_path / "exact")
    assert (tmp_path / "exact" / "I1").read_bytes() == (tmp_path / "series" / "I1").read_bytes()


@pytest.mark.parametrize("syntax", JPH)
def test_pylibjpeg_reads_it(tmp_path: Path, syntax: str) -> None:
    pytest.importorskip("openjpeg")
    image = cube(tmp_path)
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    for index in range(3):
        dataset = pydicom.dcmread(tmp_path / "out" / f"slice_{index:04d}.dcm")
        dataset.pixel_array_options(decoding_plugin="pylibjpeg")
        np.testing.assert_array_equal(dataset.pixel_array, image.raw_image[index])
    assert HTJ2KLossless == UIDS["HTJ2KLossless"]


@pytest.mark.parametrize("syntax", [*JPH, "ExplicitVRLittleEndian"])
def test_gdcm_reads_it(tmp_path: Path, syntax: str) -> None:
    """gdcm 3.2 has no JPEG XL."""
    image = cube(tmp_path)
    image.to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    for index in range(3):
        found = pixels_by_gdcm(tmp_path / "out" / f"slice_{index:04d}.dcm")
        np.testing.assert_array_equal(found, image.raw_image[index])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dcmtk_parses_it(tmp_path: Path, syntax: str) -> None:
    """dcmtk has no decoder for these; it parses the encapsulation."""
    import subprocess

    (dcmdump,) = needs("dcmdump")
    cube(tmp_path).to_dicom_folder(tmp_path / "out", transfer_syntax=syntax)
    told = subprocess.run(
        [dcmdump, "+L", str(tmp_path / "out" / "slice_0001.dcm")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0 and not told.stderr
    assert "(PixelSequence #=2)" in told.stdout
