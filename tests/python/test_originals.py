"""Every file that a series was read from comes back to the byte, or that it can't is said."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from copy import copy as shallow_copy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import zstandard
from dicom_series import item, make_series, make_slice, pixels_of, set_pixels, write_series
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import imencode_jxl
from dicube.dicom.coded_frames import coded_pixels, has_own_codec
from dicube.dicom.original_index import originals_from_bytes, originals_to_bytes
from dicube.dicom.originals import Coded, Originals
from dicube.exceptions import CodecError, DataConsistencyError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, unpack_bytes

PIXEL_DATA = b"\xe0\x7f\x10\x00"
HTJ2K, JPEG_XL, JPEG = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 110, 50))
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "little": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def restored(source: Any, work: Path, extension: str = ".dcbs") -> dict[str, bytes]:
    """What comes out of a file that a series was written to."""
    image = DicomCubeImage.from_dicom_folder(source)
    assert image.why_not_exact() == ""
    image.to_file(work / f"x{extension}")
    shutil.rmtree(work / "out", ignore_errors=True)
    DicomCubeImage.from_file(work / f"x{extension}").to_dicom_folder(work / "out", exact=True)
    return contents(work / "out")


def originals_of(path: Path) -> Originals:
    """The originals that a dicube file holds."""
    with DcbReader(path) as reader:
        data = unpack_bytes(reader.sections["originals"])
        return originals_from_bytes(data, reader.shape, reader.dtype, reader.codec)


def literal_size(originals: Originals) -> int:
    """The bytes that are kept as they are."""
    pieces = (piece for file in originals.files for piece in file.pieces)
    return sum(len(piece) for piece in pieces if isinstance(piece, (bytes, memoryview)))


# ------------------------------------------------------------------------- uncompressed sources


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "kind",
    [
        {"dtype": "uint8", "shape": (5, 5)},
        {"dtype": "uint8", "shape": (5, 5, 3)},
        {"dtype": "int16"},
        {"dtype": "uint16"},
        {"dtype": "uint32"},
    ],
    ids=str,
)
def test_each_transfer_syntax(syntax: str, kind: dict[str, Any], tmp_path: Path) -> None:
    series = make_series(3, **kind)
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
        if syntax == "big":
            pixels = pixels_of(dataset.InstanceNumber - 1, **{"shape": (6, 5), **kind})
            data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
            if pixels.dtype.itemsize == 1:  # words of two samples, the first one lowest
                data = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype("<u2").tobytes()
            dataset.add_new(0x7FE00010, "OW", data)
    write_series(tmp_path / "in", series)
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    pixels_kept = literal_size(originals_of(tmp_path / "x.dcbs")) - sum(
        data.rfind(PIXEL_DATA) + 12 for data in contents(tmp_path / "in").values()
    )
    if syntax in ("implicit", "little"):
        assert pixels_kept <= 3  # what pads odd lengths
    if syntax == "big":
        assert literal_size(originals_of(tmp_path / "x.dcbs")) < sum(
            len(data) for data in contents(tmp_path / "in").values()
        )


@pytest.mark.parametrize("syntax", [*SYNTAXES, "jph"])
def test_copies_come_back_under_their_own_names(syntax: str, tmp_path: Path) -> None:
    series = make_series(3, dtype="uint16")
    for number, dataset in enumerate(series):
        if syntax == "jph":
            encapsulated(dataset, [imencode_jph(pixels_of(number, (6, 5), "uint16"))])
        else:
            dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    folder = tmp_path / "in"
    write_series(folder, series)
    (folder / "again" / "and again").mkdir(parents=True)
    for name in ("again/I2", "again/Ärzte", "again/and again/I2"):
        shutil.copy(folder / "I2", folder / name)
    data = bytearray((folder / "I3").read_bytes())
    data[3] = 7
    (folder / "other preamble").write_bytes(data)
    assert restored(folder, tmp_path) == contents(folder)
    assert DicomCubeImage.from_file(tmp_path / "x.dcbs").shape[0] == 3
    report = verify_file(tmp_path / "x.dcbs", folder)
    assert report.ok and any("7 of 7 files are byte" in check.message for check in report.checks)

    # In a series that was made anew there is one for all.
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_file(tmp_path / "y.dcbs", exact=False)
    assert verify_file(tmp_path / "y.dcbs", folder).ok
    (folder / "again" / "I2").unlink()
    shutil.copy(folder / "I2", folder / "again" / "new")
    report = verify_file(tmp_path / "x.dcbs", folder)
    assert report.ok  # of the same bytes, wherever it is now
    shutil.copy(folder / "I2", folder / "again" / "newer")
    report = verify_file(tmp_path / "x.dcbs", folder)
    assert [check.problems for check in report.checks if check.problems] == [
        ("again/newer: of the series, and not in the file",)
    ]


def test_names_of_every_kind_come_back(tmp_path: Path) -> None:
    names = ("a/b c/IM", "a/IM", "ünï/ç", "line\nfeed", 'back\\slash "quoted"', "y" * 255)
    if sys.platform == "win32":
        names = (*names[:3], "y" * 100)
    for name, dataset in zip(names, make_series(len(names)), strict=True):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        path.chmod(0o400)
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok


def test_a_file_given_twice_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "in", make_series(2))
    monkeypatch.chdir(tmp_path)
    given = [tmp_path / "in", Path("in") / "I1", pydicom.dcmread(tmp_path / "in" / "I2")]
    assert restored(given, tmp_path) == contents(tmp_path / "in")


def test_copies_cost_next_to_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(40))
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "once.dcbs")
    shutil.copytree(tmp_path / "in", tmp_path / "in" / "copy")
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    once, twice = ((tmp_path / f"{name}.dcbs").stat().st_size for name in ("once", "x"))
    assert twice - once < 40 * 64  # bytes, of which a digest has 32


def raw_element(tag: int, vr: str, value: bytes) -> bytes:
    """An element in explicit VR little endian, of whatever length."""
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in ("OB", "OW", "UN", "SQ", "UT"):
        return start + struct.pack("<HL", 0, len(value)) + value
    return start + struct.pack("<H", len(value)) + value


def before_pixels(data: bytes, inserted: bytes) -> bytes:
    at = data.rindex(PIXEL_DATA)
    return data[:at] + inserted + data[at:]


def longer_pixels(data: bytes, behind: bytes) -> bytes:
    """A file whose pixel value has more bytes than the frame."""
    at = data.rindex(PIXEL_DATA) + 8
    (length,) = struct.unpack_from("<L", data, at)
    return data[:at] + struct.pack("<L", length + len(behind)) + data[at + 4 :] + behind


ODDITIES: dict[str, Callable[[bytes], bytes]] = {
    "odd length": lambda data: before_pixels(data, raw_element(0x00204000, "LT", b"odd")),
    "unknown VR": lambda data: before_pixels(data, raw_element(0x00290010, "UN", b"CREATOR ")),
    "private": lambda data: before_pixels(
        data,
        raw_element(0x00290010, "LO", b"CREATOR ") + raw_element(0x00291001, "OB", bytes(4000)),
    ),
    "undefined length": lambda data: before_pixels(
        data,
        b"\x32\x00\x64\x00SQ\0\0\xff\xff\xff\xff"
        + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        + raw_element(0x00080100, "SH", b"CODE")
        + b"\xfe\xff\x0d\xe0\0\0\0\0"
        + b"\xfe\xff\xdd\xe0\0\0\0\0",
    ),
    "overlay": lambda data: before_pixels(data, raw_element(0x60003000, "OW", b"\x55" * 40)),
    "behind the pixels": lambda data: data + raw_element(0x7FE10010, "LO", b"BEHIND"),
    "trailing padding": lambda data: data + raw_element(0xFFFCFFFC, "OB", b"\0" * 777),
    "longer pixels": lambda data: longer_pixels(data, b"\xab" * 10),
    "preamble": lambda data: b"II*\0" + bytes(range(124)) + data[128:],
    "no preamble": lambda data: data[132:],
    "wrong group length": lambda data: data[:140] + struct.pack("<L", 8) + data[144:],
    "group length": lambda data: before_pixels(
        data, raw_element(0x00290000, "UL", struct.pack("<L", 4711))
    ),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_oddities(oddity: str, tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3, shape=(5, 5)))
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(ODDITIES[oddity](path.read_bytes()))
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")


def planar(dataset: Dataset) -> None:
    dataset.PlanarConfiguration = 1


def high_bits(dataset: Dataset) -> None:
    dataset.BitsStored, dataset.HighBit = 12, 11


def one_bit(dataset: Dataset) -> None:
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.add_new(0x7FE00010, "OW", b"\xa5\x5a\x0f\x01")


def dirty_bits(dataset: Dataset) -> None:
    one_bit(dataset)
    dataset.add_new(0x7FE00010, "OW", b"\xa5\x5a\x0f\xff")  # 30 samples; the last two are no one's


def subsampled(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.add_new(0x7FE00010, "OB", bytes(range(48)))


def float_pixels(dataset: Dataset) -> None:
    dataset.BitsAllocated = 32
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        delattr(dataset, keyword)
    values = np.linspace(-1, 1, 30, dtype=np.float32)
    values[3:5] = np.nan, -0.0
    dataset.add_new(0x7FE00008, "OF", values.tobytes())


def frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 3
    set_pixels(dataset, pixels_of(dataset.InstanceNumber, (3, 6, 5), "uint16"))


def bit_frames(dataset: Dataset) -> None:
    one_bit(dataset)
    dataset.NumberOfFrames = 3
    dataset.add_new(0x7FE00010, "OB", b"\xa5\x5a\x0f\x01\xff\x10\x11\x33\x44\x55\x66\x02")


@pytest.mark.parametrize(
    ("change", "kind", "kept_apart"),
    [
        (planar, {"dtype": "uint8", "shape": (4, 6, 3)}, True),
        (planar, {"dtype": "uint16", "shape": (4, 6, 3)}, True),
        (high_bits, {"dtype": "uint16"}, True),
        (high_bits, {"dtype": "int16"}, True),
        (one_bit, {}, True),
        (dirty_bits, {}, False),
        (subsampled, {"dtype": "uint8", "shape": (4, 6, 3)}, False),
        (float_pixels, {}, True),
        (frames, {}, True),
        (bit_frames, {}, True),
    ],
)
def test_kinds_of_pixels(
    change: Callable[[Dataset], None], kind: dict[str, Any], kept_apart: bool, tmp_path: Path
) -> None:
    series = make_series(2, **kind)
    for dataset in series:
        change(dataset)
    write_series(tmp_path / "in", series)
    assert restored(tmp_path / "in", tmp_path) == contents(tmp_path / "in")
    kept = [bool(file.frames) for file in originals_of(tmp_path / "x.dcbs").files]
    assert kept == [not kept_apart] * 2


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_slices_that_are_not_in_the_order_of_names(extension: str, tmp_path: Path) -> None:
    series = make_series(12)
    write_series(tmp_path / "in", series, [f"a b/ü{11 - n}" for n in range(12)])
    assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_frames_that_are_not_in_the_order_of_slices(extension: str, tmp_path: Path) -> None:
    for change in (frames, bit_frames):
        series = make_series(2)
        for dataset in series:
            change(dataset)
            dataset.PerFrameFunctionalGroupsSequence = [
                item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])])
                for z in (5 + dataset.InstanceNumber, 3 + dataset.InstanceNumber, 1)
            ]
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        write_series(tmp_path / "in", series)
        assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")


def test_sources(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3), ["x/1", "x/2", "y/1"])
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "in").rglob("*/*")):
            archive.write(path, path.relative_to(tmp_path / "in"))
    wanted = contents(tmp_path / "in")
    assert restored(tmp_path / "in.zip", tmp_path) == wanted
    assert restored(sorted((tmp_path / "in").rglob("*/*")), tmp_path) == wanted
    assert restored(tmp_path / "in" / "y" / "1", tmp_path) == {"1": wanted["y/1"]}


def test_datasets_in_memory_have_no_files(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(make_series(2))
    assert "in memory" in image.why_not_exact()
    image.to_dicom_folder(tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 2
    with pytest.raises(DataConsistencyError, match="in memory"):
        image.to_dicom_folder(tmp_path / "other", exact=True)


SERIES = {
    "ct_philips_thin": 140,
    "mr_siemens_sag": 35,
    "ct_ge_head": 28,
    "mr_siemens_dti_mosaic": 13,
}


@pytest.mark.parametrize(("name", "files"), SERIES.items())
def test_real_series(name: str, files: int, shared_data: Path, tmp_path: Path) -> None:
    found = restored(shared_data / name, tmp_path)
    originals = contents(shared_data / name)
    assert len(found) == files
    assert {key: originals[key] for key in found} == found


@pytest.mark.parametrize(
    ("name", "most"), [("ct_philips_thin", 25_000), ("mr_siemens_sag", 60_000)]
)
def test_exactness_costs_next_to_nothing(
    name: str, most: int, shared_data: Path, tmp_path: Path
) -> None:
    image = DicomCubeImage.from_dicom_folder(shared_data / name)
    image.to_file(tmp_path / "x.dcbs", verify=False)
    with DcbReader(tmp_path / "x.dcbs") as reader:
        assert reader.sections.size("originals") <= most
    image.to_file(tmp_path / "y.dcbs", verify=False, exact=False)
    excess = (tmp_path / "x.dcbs").stat().st_size - (tmp_path / "y.dcbs").stat().st_size
    assert excess <= most
    if name == "mr_siemens_sag":  # where the metadata need not hold it too
        assert excess < 0


READABLE = sorted(path for path in PYDICOM_FILES.rglob("*") if path.suffix == ".dcm")


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_files_of_pydicom(path: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = DicomCubeImage.from_dicom_folder(path)
        except Exception as error:  # what can't be read is for other tests
            pytest.skip(str(error).splitlines()[0])
        syntax = UID(image.dicom_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        coded = syntax.startswith("1.2.840.10008.1.2.4.")
        extension = ".dcba" if coded else ".dcbs"
        image.to_file(tmp_path / f"x{extension}")
        again = DicomCubeImage.from_file(tmp_path / f"x{extension}")
        again.to_dicom_folder(tmp_path / "out")
    assert np.array_equal(again.raw_image, image.raw_image)
    if syntax.is_encapsulated and not has_own_codec(syntax):
        assert image.why_not_exact() == (
            f"frames in transfer syntax {syntax.name} are not kept as they are coded"
        )
        assert again.why_not_exact() == "the dicube file holds no original files"
        assert again.dicom_meta.get("TransferSyntaxUID") == syntax
    else:
        assert contents(tmp_path / "out") == {path.name: path.read_bytes()}


# --------------------------------------------------------------------------- compressed sources


def encapsulated(dataset: Dataset, frames: list[bytes], **how: Any) -> Dataset:
    """Give a dataset coded frames for pixels."""
    dataset.file_meta.TransferSyntaxUID = HTJ2K
    dataset.add_new(0x7FE00010, "OB", encapsulate(frames, **how))
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.mark.parametrize("how", [{}, {"fragments_per_frame": 3}, {"has_bot": False}], ids=str)
@pytest.mark.parametrize(
    ("syntax", "encode", "extension"),
    [(HTJ2K, imencode_jph, ".dcbs"), (JPEG_XL, imencode_jxl, ".dcba")],
)
@pytest.mark.parametrize("count", [1, 3])
def test_frames_of_our_codecs_pass_through(
    syntax: str, encode: Any, extension: str, how: dict[str, Any], count: int, tmp_path: Path
) -> None:
    pixels = [pixels_of(n, (9, 7), "uint16") for n in range(2 * count)]
    coded = [encode(frame) for frame in pixels]
    series = make_series(2, shape=(9, 7))
    for n, dataset in enumerate(series):
        if count > 1:
            dataset.NumberOfFrames = count
        encapsulated(dataset, coded[n * count : (n + 1) * count], **how)
    write_series(tmp_path / "in", series)
    for path in (tmp_path / "in").iterdir():  # pydicom writes no transfer syntax it does not know
        path.write_bytes(path.read_bytes().replace(HTJ2K.encode(), syntax.encode()))
    assert restored(tmp_path / "in", tmp_path, extension) == contents(tmp_path / "in")
    with DcbReader(tmp_path / f"x{extension}") as reader:
        assert np.array_equal(reader.read_frames(), pixels)
        assert [reader.coded(n) for n in range(2 * count)] == coded

    other = ".dcba" if extension == ".dcbs" else ".dcbs"
    image = DicomCubeImage.from_file(tmp_path / f"x{extension}")
    image.to_file(tmp_path / f"y{other}")
    image = DicomCubeImage.from_file(tmp_path / f"y{other}")
    assert np.array_equal(image.raw_image, pixels)
    assert image.why_not_exact() == "the dicube file holds no original files"
    assert image.dicom_meta.get("TransferSyntaxUID") == syntax


def test_frames_of_fewer_bits_than_the_file_says_are_decoded(tmp_path: Path) -> None:
    pixels = pixels_of(0, (9, 7), "uint8")
    dataset = make_slice(0, shape=(9, 7))
    dataset.BitsStored, dataset.HighBit = 8, 7
    write_series(tmp_path / "in", [encapsulated(dataset, [imencode_jph(pixels)])])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.dtype == np.uint16
    assert np.array_equal(image.raw_image, [pixels])
    assert "are not kept as they are coded" in image.why_not_exact()
    image.to_file(tmp_path / "x.dcbs")
    assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, [pixels])


def damaged(damage: str, folder: Path) -> Path:
    coded = imencode_jph(pixels_of(0, (9, 7), "uint8" if damage == "sign" else "int16"))
    if damage == "bytes":
        coded = coded[: len(coded) // 2]
    dataset = make_slice(0, shape=(8, 7) if damage == "shape" else (9, 7), dtype="int16")
    return write_series(folder, [encapsulated(dataset, [coded])])


@pytest.mark.usefixtures("no_decoder_plugins")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("shape", r"I1: expected a frame of shape \(8, 7\), decoded \(9, 7\)"),
        ("sign", "I1: expected samples of int16, decoded uint8"),
        ("bytes", "I1: can't decode pixels in .*: HTJ2K codestream: tile-part of .* bytes"),
    ],
)
def test_frames_that_are_not_what_the_file_says_are_an_error(
    damage: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(DicomCubeError, match=told) as caught:
        DicomCubeImage.from_dicom_folder(damaged(damage, tmp_path))
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("damage", ["shape", "sign", "bytes"])
def test_plugins_that_decode_such_frames_are_not_believed(damage: str, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg")
    with pytest.raises(
        DicomCubeError, match=r"I1: (can't decode pixels|expected samples of int16)"
    ):
        DicomCubeImage.from_dicom_folder(damaged(damage, tmp_path))


@pytest.mark.usefixtures("no_decoder_plugins")
def test_jpeg_that_our_codecs_do_not_decode_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="more than 8 bits"):
        DicomCubeImage.from_dicom_folder(PYDICOM_FILES / "JPGExtended.dcm")


def test_jpeg_is_recompressed_and_comes_back(tmp_path: Path) -> None:
    source = PYDICOM_FILES / "examples_ybr_color.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_dicom_folder(source)
        assert restored(source, tmp_path, ".dcba") == {source.name: source.read_bytes()}
    assert image.dicom_meta.get("PhotometricInterpretation") == "RGB"
    assert image.shape == (30, 240, 320, 3)
    assert (tmp_path / "x.dcba").stat().st_size < 0.95 * source.stat().st_size
    again = DicomCubeImage.from_file(tmp_path / "x.dcba")
    assert np.array_equal(again.raw_image, image.raw_image)
    again.to_file(tmp_path / "y.dcba")  # again without coding anew
    assert (tmp_path / "y.dcba").read_bytes() == (tmp_path / "x.dcba").read_bytes()
    assert "jxl" in again.why_not_exact("jph")


def test_a_copy_of_an_image_knows_of_changes_too(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    other = shallow_copy(image)
    image.raw_image[1] += 1
    with pytest.raises(DataConsistencyError, match="the pixels of I2 were changed"):
        other.to_dicom_folder(tmp_path / "out", exact=True)


def test_numbers_beyond_what_dicom_allows_come_back(tmp_path: Path) -> None:
    series = make_series(2)
    for dataset, text in zip(series, ("9" * 24, "-" + "9" * 307), strict=True):
        tag = pydicom.tag.Tag("AcquisitionNumber")
        value = text.encode() + b" " * (len(text) % 2)
        dataset[tag] = RawDataElement(tag, "IS", len(value), value, 0, False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path / "in", series)
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    for exact in (False, True):
        image.to_file(tmp_path / "x.dcbs", exact=exact)
        again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert again.dicom_meta == image.dicom_meta
    again.to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_files_are_hashed_when_they_are_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert not any(file.digest for file in image._originals.files)
    image.to_dicom_folder(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "first.dcbs")
    monkeypatch.setattr(Originals, "with_digests", lambda *_: pytest.fail("hashed again"))
    image.to_file(tmp_path / "second.dcbs")
    first, second = ((tmp_path / f"{name}.dcbs").read_bytes() for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("looked", [False, True])
def test_an_exchanged_array_is_known_by_its_values(tmp_path: Path, looked: bool) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    values = DicomCubeImage.from_dicom_folder(tmp_path / "in").raw_image
    if looked:
        assert np.array_equal(image.raw_image, values)
    image.raw_image = values.astype(values.dtype.newbyteorder(">"))
    assert image.why_not_exact() == ""
    values[2, 0, 0] += 1
    image.raw_image = values
    assert image.why_not_exact() == "the pixels of I3 were changed"
    image.to_file(tmp_path / "x.dcbs")
    assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, values)


def test_changed_pixels_are_coded_anew(tmp_path: Path) -> None:
    pixels = [pixels_of(n, (9, 7), "uint16") for n in range(2)]
    series = make_series(2, shape=(9, 7))
    for dataset, frame in zip(series, pixels, strict=True):
        encapsulated(dataset, [imencode_jph(frame)])
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.raw_image[1, 2, 3] ^= 1
    assert image.why_not_exact() == "the pixels of I2 were changed"
    image.to_file(tmp_path / "x.dcbs")
    again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert np.array_equal(again.raw_image, image.raw_image)
    assert again.raw_image[1, 2, 3] == pixels[1][2, 3] ^ 1


@pytest.mark.parametrize("fragments", [1, 3])
def test_colours_that_a_jpeg_leaves_open_are_as_dicom_has_them(
    fragments: int, tmp_path: Path
) -> None:
    """A JPEG without JFIF or Adobe marker: RGB after DICOM, YCbCr after the codec."""
    dataset = pydicom.dcmread(PYDICOM_FILES / "SC_jpeg_no_color_transform.dcm")
    (jpeg,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([jpeg], fragments_per_frame=fragments)
    dataset.save_as(tmp_path / "I1")
    assert restored(tmp_path / "I1", tmp_path, ".dcba") == {"I1": (tmp_path / "I1").read_bytes()}
    image = DicomCubeImage.from_file(tmp_path / "x.dcba")
    assert image.dicom_meta.get("PhotometricInterpretation") == "RGB"
    # Gray, as every decoder has it that takes the samples for RGB, and within what decoders of
    # JPEG differ.
    assert abs(image.raw_image[0, ::40, 30].astype(int) - 244).max() <= 1
    told = coded_pixels(JPEG, dataset.PixelData, 1, "YBR_FULL")
    assert told is not None and told.interpretation == "RGB"
    assert abs(told.decode(0)[::40, 30].astype(int) - 244).max() > 100


def test_frames_that_another_processor_rounds_otherwise_are_not_changed(tmp_path: Path) -> None:
    source = PYDICOM_FILES / "SC_jpeg_no_color_transform.dcm"
    image = DicomCubeImage.from_dicom_folder(source)
    image.to_file(tmp_path / "x.dcba")
    with DcbReader(tmp_path / "x.dcba") as reader:
        data = bytearray(unpack_bytes(reader.sections["originals"]))
        (length,) = struct.unpack_from("<L", data)
        data[4 + length + 32] ^= 1  # as if the samples had been others where it was written
        with DcbWriter(tmp_path / "other.dcba", reader.shape, reader.dtype) as writer:
            for name in set(reader.sections) & {"dicom_status", "dicom_meta", "pixel_header"}:
                writer.write_section(name, reader.sections[name])
            writer.write_section("originals", packed(bytes(data)))
            writer.write_coded(reader.coded(0))
    assert verify_file(tmp_path / "other.dcba").ok
    image = DicomCubeImage.from_file(tmp_path / "other.dcba")
    image.raw_image[0, 0, 0, 0] ^= 1
    assert image.why_not_exact() == f"the pixels of {source.name} were changed"
    image.raw_image[0, 0, 0, 0] ^= 1
    assert image.why_not_exact() == ""
    image.to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == {source.name: source.read_bytes()}


# -------------------------------------------------------------------------- what the file says


def test_the_section_is_what_format_md_says(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(2, shape=(5, 5)))
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    with DcbReader(tmp_path / "x.dcbs") as reader:
        section = reader.sections["originals"]
        volume = reader.read_frames()
    assert zstandard.get_frame_parameters(section).content_size > 0
    data = zstandard.ZstdDecompressor().decompress(section)
    (length,) = struct.unpack_from("<L", data)
    index = json.loads(data[4 : 4 + length])
    files = contents(tmp_path / "in")
    head = files["I1"].rindex(PIXEL_DATA) + 12
    assert index == {
        "version": 1,
        "forms": [["little", False, False]],
        "files": [
            {"name": "I1", "pieces": [head, [0, 0, 1]]},
            {"name": "I2", "pieces": [head, [0, 1, 1]]},
        ],
    }
    position = 4 + length + 2 * 32
    for number, name in enumerate(("I1", "I2")):
        piece = data[position + number * head : position + (number + 1) * head]
        assert piece + volume[number].tobytes() == files[name]
    assert position + 2 * head == len(data)


def altered(path: Path, change: Callable[[dict[str, Any]], None] | bytes) -> Path:
    """A copy of a dicube file with another originals section."""
    with DcbReader(path) as reader:
        sections = {name: reader.sections[name] for name in reader.sections}
        volume = reader.read_frames()
    data = unpack_bytes(sections["originals"])
    (length,) = struct.unpack_from("<L", data)
    if isinstance(change, bytes):
        sections["originals"] = change
    else:
        index = json.loads(data[4 : 4 + length])
        change(index)
        text = json.dumps(index).encode()
        sections["originals"] = packed(struct.pack("<L", len(text)) + text + data[4 + length :])
    written = path.with_name("altered.dcbs")
    with DcbWriter(written, volume.shape, volume.dtype) as writer:
        for name in ("dicom_status", "dicom_meta", "space", "pixel_header", "originals"):
            writer.write_section(name, sections[name])
        writer.write_frames(volume)
    return written


def packed(data: bytes) -> bytes:
    """Bytes as a section holds them."""
    return pack_bytes(data) or b""


def first_file(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set something of the first file in an index."""

    def change(index: dict[str, Any]) -> None:
        index["files"][0][key] = value

    return change


def first_pixels(*pieces: Any) -> Callable[[dict[str, Any]], None]:
    """Replace what the first file has for pixels."""

    def change(index: dict[str, Any]) -> None:
        index["files"][0]["pieces"][1:] = pieces

    return change


def first_literal(length: int) -> Callable[[dict[str, Any]], None]:
    """Set the length of the first file's first piece."""

    def change(index: dict[str, Any]) -> None:
        index["files"][0]["pieces"][0] = length

    return change


def copy_of_first(*pieces: Any, name: str = "copy") -> Callable[[dict[str, Any]], None]:
    """Add a copy of the first file, with bytes of a literal for its digest."""

    def change(index: dict[str, Any]) -> None:
        index["files"][-1]["pieces"][0] -= 32
        index["copies"] = [{"name": name, "pieces": [*pieces]}]

    return change


UNSAFE = "is no name of a file within a folder"
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None] | bytes, str]] = {
    "absolute": (first_file("name", "/tmp/evil"), UNSAFE),
    "parent": (first_file("name", "../evil"), UNSAFE),
    "parent within": (first_file("name", "a/../../evil"), UNSAFE),
    "drive": (first_file("name", "C:evil"), UNSAFE),
    "zero": (first_file("name", "a\0b"), UNSAFE),
    "empty": (first_file("name", ""), UNSAFE),
    "folder": (first_file("name", "a/"), UNSAFE),
    "duplicate": (first_file("name", "I2"), "two files have the same name"),
    "folder of another": (first_file("name", "I2/x"), "two files have the same name"),
    "number": (first_file("name", 7), "a file has no name"),
    "no pieces": (first_file("pieces", {}), "expected a list, found dict"),
    "too long a piece": (first_literal(10**9), "expected 1000000000 bytes at"),
    "negative piece": (first_literal(-1), "-1 is no piece of a file"),
    "short piece": (first_literal(1), "there are bytes that no file has"),
    "no form": (first_pixels([7, 0, 1]), "is no piece of a file"),
    "no frames": (first_pixels([0]), r"\[\] are no frames"),
    "half a run": (first_pixels([0, 0]), r"\[0\] are no frames"),
    "empty run": (first_pixels([0, 0, 0]), r"\[0, 0\] are no frames"),
    "unknown piece": (first_pixels("x"), "'x' is no piece of a file"),
    "text for frames": (first_pixels([0, "0", 1]), "are no frames"),
    "frame twice": (first_pixels([0, 0, 1], [0, 0, 1]), "frame 0 is not in one file"),
    "frame of another": (first_pixels([0, 1, 1]), "frame 0 is not in one file"),
    "frame of none": (first_pixels([0, 3, 1]), "frame 0 is not in one file"),
    "frames beyond": (
        lambda index: index["files"][2]["pieces"].append([0, 3, 10**15]),
        "there are 3 frames, of which files hold 1000000000000003",
    ),
    "coded, with a gap": (
        first_pixels([0, 0, 1], {"coded": [0, 5, 9]}),
        "bytes of frame 0 are not each in one place",
    ),
    "coded backwards": (
        first_pixels([0, 0, 1], {"jpeg": [0, 0, 9]}, {"jpeg": [0, 9, 5]}),
        "bytes of frame 0 are not each in one place",
    ),
    "no digest": (
        lambda index: index["files"][0].update(frames=[0, 1], pieces=[1]),
        "there are bytes that no file has",
    ),
    "version": (lambda index: index.update(version=2), "of another version"),
    "forms": (lambda index: index.update(forms=[["middle", False, False]]), "no form of samples"),
    "files": (lambda index: index.update(files={}), "expected a list, found dict"),
    "copies": (lambda index: index.update(copies={}), "expected a list, found dict"),
    "copy of the same name": (copy_of_first(0, name="I1"), "two files have the same name"),
    "copy of a frame twice": (copy_of_first([0, 0, 1], [0, 0, 1]), "copy is of other frames"),
    "copy of no frames": (copy_of_first(0), "copy is of other frames"),
    "coded copy, with a gap": (
        copy_of_first([0, 0, 1], {"coded": [0, 5, 9]}),
        "bytes of frame 0 are not each in one place",
    ),
    "no zstd": (b"rubbish", "Unknown frame descriptor"),
    "no index": (packed(b"\xff\xff\xff\xff"), "the index is cut off"),
    "no bytes": (packed(b""), "the index is cut off"),
    "no JSON": (packed(b"\2\0\0\0{]"), "the index is not JSON"),
    "deep JSON": (packed(struct.pack("<L", 200_000) + b"[" * 200_000), "the index is not JSON"),
    "bomb": (
        zstandard.ZstdCompressor(write_content_size=True).compress(bytes(1 << 28)),
        "declare 268435456 bytes",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_originals(name: str, tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    change, told = HOSTILE[name]
    path = altered(tmp_path / "x.dcbs", change)
    image = DicomCubeImage.from_file(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidCubeFileError, match=f"^section originals: .*{told}"):
        image.to_dicom_folder(tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    image.to_dicom_folder(tmp_path / "out", exact=False)
    assert len(contents(tmp_path / "out")) == 3


def test_files_are_not_given_names_before_their_hash_is_right(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")

    def swap(index: dict[str, Any]) -> None:
        first, second = index["files"][1:]
        first["pieces"], second["pieces"] = second["pieces"], first["pieces"]

    path = altered(tmp_path / "x.dcbs", swap)
    image = DicomCubeImage.from_file(path)
    assert image.why_not_exact() == "the pixels of I2 were changed"
    with pytest.raises(InvalidCubeFileError, match="I2 can't be restored: its SHA-256 differs"):
        image.to_dicom_folder(tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["I1"]


def test_coded_pieces_of_frames_that_are_none(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(1))
    originals = DicomCubeImage.from_dicom_folder(tmp_path / "in")._originals
    for jpeg in (False, True):
        originals.coded = ()
        assert originals._coded_bytes(Coded(0, 0, 1, jpeg)) is None
    originals.coded = (b"no JPEG XL",)
    assert originals._coded_bytes(Coded(0, 0, 1, True)) is None


# -------------------------------------------------------------------------------- long binary


def with_binary(**kind: Any) -> list[Dataset]:
    """Three slices with long binary of their own, in a sequence too."""
    series = make_series(3, **kind)
    for n, dataset in enumerate(series):
        block = dataset.private_block(0x29, "CREATOR", create=True)
        block.add_new(1, "OB", np.random.default_rng(n).bytes(5000))
        block.add_new(2, "OB", b"short" + bytes([n]))
        nested = item(TextValue=f"text {n}")
        nested.add_new(0x00282000, "OB", np.random.default_rng(n + 9).bytes(3000))
        dataset.ContentSequence = [nested, item(TextValue="more")]
    return series


def test_long_binary_is_in_the_file_once(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs")
    with DcbReader(tmp_path / "x.dcbs") as reader:
        document = json.loads(unpack_bytes(reader.sections["dicom_meta"]))
    assert document["in_originals"] == ["00291001", "0040A730"]
    assert document["_merged_data"]["00291001"] == {"vr": "OB", "shared": True}
    nested = document["_merged_data"]["0040A730"]["Value"][0]
    assert nested["00282000"] == {"vr": "OB", "shared": True}
    assert nested["0040A160"]["Value"] == ["text 0", "text 1", "text 2"]

    meta = DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta
    assert meta.get("00291001") == [np.random.default_rng(n).bytes(5000) for n in range(3)]
    for copy in (
        DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta,
        pickle.loads(pickle.dumps(DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta)),
        type(meta).from_json(DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta.to_json()),
    ):
        copy.filenames = image.dicom_meta.filenames
        assert copy == image.dicom_meta
        assert copy.index(1) == image.dicom_meta.index(1)


@pytest.mark.parametrize("kind", [*SYNTAXES, "odd", "planar", "behind"])
def test_long_binary_is_reached_whatever_the_files_are(kind: str, tmp_path: Path) -> None:
    shape = {"odd": (5, 5), "planar": (4, 4, 3)}.get(kind, (6, 5))
    series = with_binary(shape=shape, dtype="uint8" if kind == "odd" else "uint16")
    for number, dataset in enumerate(series):
        if kind in SYNTAXES:
            dataset.file_meta.TransferSyntaxUID = SYNTAXES[kind]
        if kind == "planar":
            dataset.PlanarConfiguration = 1
        if kind == "behind":
            block = dataset.private_block(0x7FE1, "CREATOR", create=True)
            block.add_new(1, "OB", np.random.default_rng(number).bytes(2000))
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    for source in (image, DicomCubeImage.from_dicom_folder(tmp_path / "in")):
        source.to_file(tmp_path / "x.dcbs")
        meta = DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta
        meta.filenames = image.dicom_meta.filenames
        assert meta == image.dicom_meta  # now it was looked at


def test_parts_and_orders_of_metadata_have_their_binary(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    binary = [np.random.default_rng(n).bytes(5000) for n in range(3)]
    part = DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta.select([2, 0])
    assert part.get("00291001") == [binary[2], binary[0]]
    meta = DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_meta
    meta.reorder([1, 2, 0])
    assert meta.get("00291001") == [binary[1], binary[2], binary[0]]


def test_metadata_that_were_looked_at_are_written_the_same(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    image.to_file(tmp_path / "y.dcbs")
    assert (tmp_path / "y.dcbs").read_bytes() == (tmp_path / "x.dcbs").read_bytes()
    image.dicom_meta.get("00291001")
    image.dicom_meta.to_json()
    assert image.why_not_exact() == ""
    image.to_file(tmp_path / "y.dcbs")
    assert (tmp_path / "y.dcbs").read_bytes() == (tmp_path / "x.dcbs").read_bytes()


def test_without_originals_all_is_in_the_metadata(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    image.to_file(tmp_path / "y.dcbs", exact=False)
    with DcbReader(tmp_path / "y.dcbs") as reader:
        assert "originals" not in reader.sections
    again = DicomCubeImage.from_file(tmp_path / "y.dcbs")
    assert again.dicom_meta == image.dicom_meta
    assert again.why_not_exact() == "the dicube file holds no original files"


def test_a_reference_without_originals_is_an_error(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    with DcbReader(tmp_path / "x.dcbs") as reader:
        sections = {name: reader.sections[name] for name in reader.sections}
        volume = reader.read_frames()
    with DcbWriter(tmp_path / "y.dcbs", volume.shape, volume.dtype) as writer:
        for name in ("dicom_status", "dicom_meta", "space", "pixel_header"):
            writer.write_section(name, sections[name])
        writer.write_frames(volume)
    meta = DicomCubeImage.from_file(tmp_path / "y.dcbs").dicom_meta
    assert meta.get("PatientName") == "DOE^JOHN"
    with pytest.raises(InvalidCubeFileError, match="does not hold"):
        meta.get("00291001")


# ------------------------------------------------------------------------------------- the rest


def test_originals_survive_being_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    originals = image._originals.with_digests(image.raw_image)
    packed = originals_to_bytes(image._originals, image.raw_image)
    again = originals_from_bytes(packed, originals.shape, originals.dtype, originals.codec)
    assert again == originals
    assert [file.digest for file in originals.files] == [
        hashlib.sha256((tmp_path / "in" / file.name).read_bytes()).digest()
        for file in originals.files
    ]


def test_originals_that_are_all_alike_come_back(tmp_path: Path) -> None:
    series = [make_slice(n) for n in range(2)]
    for dataset in series:
        dataset.private_block(0x29, "CREATOR", create=True).add_new(1, "OB", bytes(40 << 20))
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs", verify=False)
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_nothing_in_the_target_folder_is_replaced_unasked(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(2))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        image.to_dicom_folder(tmp_path / "out")
    image.to_dicom_folder(tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "in"), "thesis.txt": b"mine"}


def test_progress_counts_files(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    told: list[tuple[int, int]] = []
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_dicom_folder(tmp_path / "out", progress=lambda *n: told.append(n))
    assert told == [(1, 3), (2, 3), (3, 3)]
