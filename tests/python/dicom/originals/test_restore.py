"""restore: every original file is restored byte for byte, or the reason is reported."""

from __future__ import annotations

import shutil
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import item, make_series, make_slice, pixels_of, set_pixels, write_series
from inputs.original_files import (
    PIXEL_DATA,
    PYDICOM_FILES,
    SYNTAXES,
    contents,
    encapsulated,
    literal_size,
    originals_of,
    restored,
)
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ImplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.dicom.transfer_syntaxes import coded_syntax_of
from dicube.exceptions import DataConsistencyError
from dicube.storage import DcbReader
from dicube.storage.formats import codec_of_path

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")


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
    assert report.ok and any(
        "7 of 7 files are equal byte" in check.message for check in report.checks
    )

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
        ("again/newer: part of the series, but not restored",)
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


@pytest.mark.filterwarnings("ignore:.*bytes after their frames")
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
def test_plain_samples_go_from_one_codec_to_the_other(extension: str, tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / f"first{extension}")
    first = DicomCubeImage.from_file(tmp_path / f"first{extension}")
    for second in (".dcbs", ".dcba"):
        assert first.why_not_exact(codec_of_path(tmp_path / f"second{second}")) == ""
        first.to_file(tmp_path / f"second{second}")
        again = DicomCubeImage.from_file(tmp_path / f"second{second}")
        again.to_dicom_folder(tmp_path / "out", overwrite=True, exact=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "in")
        shutil.rmtree(tmp_path / "out")


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
        except Exception as error:  # other tests expect it
            pytest.skip(f"can't be read: {type(error).__name__}")
        syntax = UID(image.dicom_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        coded = syntax.startswith("1.2.840.10008.1.2.4.")
        extension = ".dcba" if coded else ".dcbs"
        image.to_file(tmp_path / f"x{extension}")
        again = DicomCubeImage.from_file(tmp_path / f"x{extension}")
        again.to_dicom_folder(tmp_path / "out")
    assert np.array_equal(again.raw_image, image.raw_image)
    is_recoded = syntax in (RLELossless, JPEGLSLossless, JPEGLossless, JPEGLosslessSV1)
    if syntax.is_encapsulated and coded_syntax_of(syntax) is None and not is_recoded:
        told = f"the original files have frames in {syntax.name}, which can't be coded again to"
        assert image.why_not_exact().startswith(told)
        assert again.why_not_exact() == "the dicube file holds no original files"
        assert again.dicom_meta.get("TransferSyntaxUID") == syntax
    else:
        assert contents(tmp_path / "out") == {path.name: path.read_bytes()}


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
