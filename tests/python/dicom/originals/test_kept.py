"""Coded frames that no recipe gives are kept as they are, if that is asked for."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inputs.dicom_series import make_series, make_slice, write_series
from inputs.original_files import (
    HTJ2K,
    JPEG_XL,
    PYDICOM_FILES,
    contents,
    encapsulated,
)
from inputs.real_series import SHARED
from inputs.rle_frames import byte_by_byte, rle_frame
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLSNearLossless, RLELossless

import dicube
from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import imencode_jxl
from dicube.core.cube_parts import parts_around_frames
from dicube.dicom.originals.model import Bulk, Original, frames_digest
from dicube.exceptions import DataConsistencyError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, unpack_bytes
from dicube.storage.pixel_utils import checksum_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*space is None", "ignore:.*have bytes after", "ignore:.*the file meta state"
)

SHAPE = 40, 50
STAND_IN = "1.2.840.10008.1.2.4.202"
EXTENSIONS = (".dcbs", ".dcba")


def jpeg_2000(frame: NDArray[Any], **options: Any) -> bytes:
    utils = pytest.importorskip("openjpeg.utils", reason="pylibjpeg-openjpeg is not installed")
    return bytes(utils.encode_array(frame, bits_stored=16, **options))


def near_lossless(frame: NDArray[Any]) -> bytes:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    return bytes(jpeg_ls.encode_array(frame, lossy_error=3))


def coded(dataset: Dataset, syntax: str, code: Callable[..., bytes], **options: Any) -> Dataset:
    encapsulated(dataset, [code(dataset.pixel_array, **options)])
    # pydicom writes no transfer syntax that it does not know; see `write`.
    dataset.file_meta.TransferSyntaxUID = STAND_IN if syntax == JPEG_XL else syntax
    return dataset


def write(folder: Path, series: list[Dataset]) -> Path:
    write_series(folder, series)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(STAND_IN.encode(), JPEG_XL.encode()))
    return folder


def series_of(syntax: str, code: Callable[..., bytes], folder: Path, **options: Any) -> Path:
    series = [coded(dataset, syntax, code, **options) for dataset in make_series(3, shape=SHAPE)]
    return write(folder, series)


def kept(source: Any, work: Path, extension: str = ".dcbs") -> dict[str, bytes]:
    """What comes out of a file that keeps a series always."""
    path = work / f"x{extension}"
    DicomCubeImage.from_dicom_folder(source).to_file(path, exact="always")
    image = DicomCubeImage.from_file(path)
    assert image.why_not_exact() == ""
    image.to_dicom_folder(work / "out", overwrite=True, exact=True)
    return contents(work / "out")


def kept_bytes(path: Path) -> int:
    return sum(file.kept_size for file in stored(path))


def stored(path: Path) -> tuple[Original, ...]:
    provenance = DicomCubeImage.from_file(path)._origin.provenance
    assert provenance is not None
    return provenance.originals.all_files


KINDS: dict[str, tuple[str, Callable[..., bytes], dict[str, Any]]] = {
    "JPEG 2000": (JPEG2000Lossless, jpeg_2000, {}),
    "lossy JPEG 2000": (JPEG2000, jpeg_2000, {"compression_ratios": [4], "use_mct": False}),
    "near-lossless JPEG-LS": (JPEGLSNearLossless, near_lossless, {}),
}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_recipe(kind: str, extension: str, tmp_path: Path) -> None:
    syntax, code, options = KINDS[kind]
    source = series_of(syntax, code, tmp_path / "in", **options)
    image = DicomCubeImage.from_dicom_folder(source)
    image.to_file(tmp_path / f"cheap{extension}")
    with DcbReader(tmp_path / f"cheap{extension}") as reader:
        assert "originals" not in reader.sections
    assert kept(source, tmp_path, extension) == contents(source)
    path = tmp_path / f"x{extension}"
    size = kept_bytes(path)
    reason = image.why_not_exact(record_name(extension))
    assert reason.startswith("the original files have frames in JPEG")
    assert reason.endswith(f"keeping these as they are (exact 'always') takes {size} bytes")
    report = verify_file(path, against=source)
    assert report.ok and not report.unchecked
    # Once kept, frames stay where they are.
    again = DicomCubeImage.from_file(path)
    for target in EXTENSIONS:
        again.to_file(tmp_path / f"again{target}")
        assert kept_bytes(tmp_path / f"again{target}") == size
        assert verify_file(tmp_path / f"again{target}", against=source).passed("original bytes")


def record_name(extension: str) -> str:
    return {".dcbs": "jph", ".dcba": "jxl"}[extension]


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize(
    ("syntax", "code", "own", "other"),
    [(HTJ2K, imencode_jph, ".dcbs", ".dcba"), (JPEG_XL, imencode_jxl, ".dcba", ".dcbs")],
)
def test_frames_of_the_other_codec(
    syntax: str, code: Any, own: str, other: str, is_stored: bool, tmp_path: Path
) -> None:
    source = series_of(syntax, code, tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(source)
    if is_stored:
        image.to_file(tmp_path / f"own{own}")
        image = DicomCubeImage.from_file(tmp_path / f"own{own}")
    reason = image.why_not_exact(record_name(other))
    assert "which a file with" in reason
    image.to_file(tmp_path / f"x{other}", exact="always")
    size = kept_bytes(tmp_path / f"x{other}")
    assert 0 < size < sum(map(len, contents(source).values()))
    assert reason.endswith(f"takes {size} bytes")
    assert verify_file(tmp_path / f"x{other}", against=source).passed("original bytes")
    assert image.why_not_exact() == ""  # the image itself has not changed


def test_several_transfer_syntaxes_in_one_series(tmp_path: Path) -> None:
    series = make_series(7, shape=SHAPE)
    for number in (0, 1):
        coded(series[number], HTJ2K, imencode_jph)
    coded(series[2], JPEG_XL, imencode_jxl)
    coded(series[3], JPEG2000Lossless, jpeg_2000)
    coded(series[4], RLELossless, lambda frame: rle_frame(frame, byte_by_byte))
    coded(series[5], JPEGLSNearLossless, near_lossless)
    source = write(tmp_path / "in", series)
    for extension in EXTENSIONS:
        assert kept(source, tmp_path, extension) == contents(source)
        names = {file.name for file in stored(tmp_path / f"x{extension}") if file.kept_size}
        among = {"I3", "I4", "I6"} if extension == ".dcbs" else {"I1", "I2", "I3", "I4", "I6"}
        assert names == among
    image = DicomCubeImage.from_dicom_folder(source)
    reason = image.why_not_exact()
    assert reason.startswith("3 of 7 original files have frames in JPEG XL Lossless among HTJ2K")
    assert "JPEG 2000" in reason and "JPEG-LS" in reason


@pytest.mark.parametrize(
    "how",
    [{"fragments_per_frame": 3}, {"has_bot": False}, {"fragments_per_frame": 2, "has_bot": False}],
    ids=str,
)
def test_fragments(how: dict[str, Any], tmp_path: Path) -> None:
    dataset = make_slice(0, SHAPE)
    frames = [jpeg_2000(dataset.pixel_array), jpeg_2000(dataset.pixel_array[::-1].copy())]
    dataset.NumberOfFrames = 2
    encapsulated(dataset, frames, **how)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    source = write_series(tmp_path / "in", [dataset])
    assert kept(source, tmp_path) == contents(source)


def test_a_file_read_again_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    monkeypatch.setattr("dicube.dicom.originals.keeper._RANGE_SIZE", 100)
    assert kept(source, tmp_path) == contents(source)
    first = stored(tmp_path / "x.dcbs")[0]
    sizes = [len(piece) for piece in first.pieces if isinstance(piece, Bulk)]
    assert len(sizes) > 3 and max(sizes) == 100
    htj2k = series_of(HTJ2K, imencode_jph, tmp_path / "htj2k" / "in")
    monkeypatch.setattr("dicube.dicom.originals.model._LARGE_CHUNK", 100)
    assert kept(htj2k, tmp_path / "htj2k", ".dcba") == contents(htj2k)


def test_sources_that_changed_since(tmp_path: Path) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(source)
    data = (source / "I2").read_bytes()
    (source / "I2").write_bytes(data[:-200] + b"\1" * 100 + data[-100:] + b"\0")
    with pytest.raises(DataConsistencyError, match="was changed or removed"):
        image.to_file(tmp_path / "x.dcbs", exact="always")
    assert not (tmp_path / "x.dcbs").exists()
    image.to_file(tmp_path / "x.dcbs")


def test_always_is_exact_or_raises(tmp_path: Path) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(source)
    for target, options in (
        ("x.dcbl", {}),
        ("x.dcbr", {"roi": "auto"}),
        ("x.dcba", {"max_error": 1}),
    ):
        with pytest.raises(DataConsistencyError, match="it is coded lossily"):
            image.to_file(tmp_path / target, exact="always", **options)
    with pytest.raises(DataConsistencyError, match="expected exact of True, False or 'always'"):
        image.to_file(tmp_path / "x.dcbs", exact="sometimes")  # type: ignore[arg-type]
    with pytest.raises(DataConsistencyError, match="not read from files"):
        DicomCubeImage(image.raw_image).to_file(tmp_path / "x.dcbs", exact="always")
    image.to_file(tmp_path / "without.dcbs", exact=False)
    without = DicomCubeImage.from_file(tmp_path / "without.dcbs")
    with pytest.raises(DataConsistencyError, match="holds no original files"):
        without.to_file(tmp_path / "x.dcbs", exact="always")
    image.raw_image[0, 0, 0] += 1
    with pytest.raises(DataConsistencyError, match="pixels of the original file of slice 0 were"):
        image.to_file(tmp_path / "x.dcbs", exact="always")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "without.dcbs"}
    fresh = DicomCubeImage.from_dicom_folder(source)
    dicube.save(fresh, tmp_path / "saved", "a", exact="always")
    assert DicomCubeImage.from_file(tmp_path / "saved.dcba").why_not_exact() == ""


def test_some_slices(tmp_path: Path) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(source)
    provenance = image._origin.provenance
    assert provenance is not None
    originals = provenance.originals.of_slices([1, 2])
    assert not isinstance(originals, str)
    for file, name in zip(originals.files, ("I2", "I3"), strict=True):
        parts = originals.parts(file, image.raw_image[1:])
        assert b"".join(parts or ()) == (source / name).read_bytes()


def without_decoders(code: str, *arguments: Any) -> str:
    """What a program prints in a process that can't import decoders of other packages."""
    blocked = ("openjpeg", "libjpeg", "pylibjpeg", "gdcm", "jpeg_ls", "PIL", "rle")
    start = f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
    command = [sys.executable, "-W", "ignore", "-c", start + code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_restoring_needs_no_decoder(tmp_path: Path) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "x.dcbs", exact="always")
    told = without_decoders(
        "import dicube\n"
        "image = dicube.DicomCubeImage.from_file(sys.argv[1])\n"
        "assert image.why_not_exact() == ''\n"
        "image.to_dicom_folder(sys.argv[2], exact=True)\n"
        "image.to_file(sys.argv[3], exact='always')\n"
        "report = dicube.verify_file(sys.argv[3], require_originals=True)\n"
        "print(report.ok, [check.message for check in report.unchecked])\n",
        *(tmp_path / "x.dcbs", tmp_path / "out", tmp_path / "again.dcba"),
    )
    assert contents(tmp_path / "out") == contents(source)
    assert told.startswith("True ['those of 3 files not compared: the original file of slice 0: ")
    report = verify_file(tmp_path / "again.dcba", against=source)
    assert report.ok and not report.unchecked


# ------------------------------------------------------------------------------- hostile files


def showing(source: Path, path: Path, change: Callable[[NDArray[Any]], object]) -> Path:
    """A file that shows other pixels than its kept frames have, with right digests."""
    image = DicomCubeImage.from_dicom_folder(source)
    provenance = image._origin.provenance
    assert provenance is not None
    volume = image.raw_image.copy()
    change(volume)
    files = tuple(
        replace(file, frames_digest=frames_digest(volume, file.frames))
        for file in provenance.originals.files
    )
    provenance._originals = replace(provenance.originals, files=files)
    parts = image._parts()
    parts.header.MinVal = parts.header.MaxVal = None
    writer = DcbWriter(path, volume.shape, volume.dtype)
    with writer, parts_around_frames(writer, parts, provenance, volume):
        writer.write_frames(volume)
    return path


def brighter(by: int) -> Callable[[NDArray[Any]], object]:
    def change(volume: NDArray[Any]) -> None:
        volume[1, 4:9, 5:8] += by

    return change


@pytest.mark.parametrize("kind", KINDS)
def test_kept_frames_of_another_picture_are_refused(kind: str, tmp_path: Path) -> None:
    syntax, code, options = KINDS[kind]
    source = series_of(syntax, code, tmp_path / "in", **options)
    honest = showing(source, tmp_path / "honest.dcbs", lambda volume: None)
    assert verify_file(honest, against=source).passed("original bytes")
    rounding = brighter(1) if kind == "lossy JPEG 2000" else lambda volume: None
    alike = showing(source, tmp_path / "alike.dcbs", rounding)
    assert verify_file(alike, against=source).passed("original bytes")
    by = 5000 if kind == "lossy JPEG 2000" else 1
    path = showing(source, tmp_path / "lying.dcbs", brighter(by))
    image = DicomCubeImage.from_file(path)
    told = "slice 1: its pixels are not those of the volume"
    assert told in image.why_not_exact()
    with pytest.raises(InvalidCubeFileError, match=told):
        image.to_dicom_folder(tmp_path / "out")
    with pytest.raises(InvalidCubeFileError, match=told):
        image.to_file(tmp_path / "again.dcbs", exact="always")
    assert not (tmp_path / "out").exists() and not (tmp_path / "again.dcbs").exists()
    failed = [c.name for c in verify_file(path).checks if c.outcome.value == "failed"]
    assert failed == ["agreement"]


def test_a_range_of_other_bytes_is_refused(tmp_path: Path) -> None:
    source = series_of(JPEG2000Lossless, jpeg_2000, tmp_path / "in")
    path, written = tmp_path / "x.dcbs", tmp_path / "lying.dcbs"
    DicomCubeImage.from_dicom_folder(source).to_file(path, exact="always")
    with DcbReader(path) as reader:
        sections = {name: bytes(reader.sections[name]) for name in reader.sections}
        volume = reader.read_frames()
    originals = unpack_bytes(sections["originals"])
    at = originals.index((source / "I1").read_bytes()[:140]) - 3 * 32  # the table of 3 ranges
    offset, stored_size, _, checksum = struct.unpack_from("<4Q", originals, at + 32)
    bulk = bytearray(sections["originals_bulk"])
    assert checksum_of(bulk[offset : offset + stored_size]) == checksum
    bulk[offset + stored_size // 2] ^= 1
    lie = struct.pack("<Q", checksum_of(bulk[offset : offset + stored_size]))
    sections["originals"] = pack_bytes(originals[: at + 56] + lie + originals[at + 64 :]) or b""
    sections["originals_bulk"] = bytes(bulk)
    with DcbWriter(written, volume.shape, volume.dtype) as writer:
        for name, data in sections.items():
            if not name.startswith(("frame", "Image")):
                writer.write_section(name, data)
        writer.write_frames(volume)
    with pytest.raises(InvalidCubeFileError):
        DicomCubeImage.from_file(written).to_dicom_folder(tmp_path / "out", exact=True)
    assert not contents(tmp_path / "out")
    assert not verify_file(written).ok
    dicube.restore_files(written, tmp_path / "one", ["I1"])  # whose range is right
    assert contents(tmp_path / "one") == {"I1": (source / "I1").read_bytes()}


def test_uncompressed_samples_kept_as_bulk_must_be_equal(tmp_path: Path) -> None:
    """A file in the bulk has the leeway of lossy frames only if it has such frames."""
    source = write_series(tmp_path / "in", make_series(3, shape=SHAPE))
    image = DicomCubeImage.from_dicom_folder(source)
    provenance = image._origin.provenance
    assert provenance is not None
    volume = image.raw_image.copy()
    brighter(1)(volume)

    class Whole(Bulk):
        def __init__(self, name: str) -> None:
            self.data = (source / name).read_bytes()

        def __len__(self) -> int:
            return len(self.data)

        def chunks(self) -> Any:
            yield self.data

    files = tuple(
        replace(file, pieces=(Whole(file.name),), digest=b"", frames=((n, 1),))
        for n, file in enumerate(provenance.originals.files)
    )
    files = tuple(replace(f, frames_digest=frames_digest(volume, f.frames)) for f in files)
    provenance._originals = replace(provenance.originals, files=files)
    writer = DcbWriter(tmp_path / "x.dcbs", volume.shape, volume.dtype)
    with writer, parts_around_frames(writer, image._parts(), provenance, volume):
        writer.write_frames(volume)
    lying = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    with pytest.raises(InvalidCubeFileError, match="slice 1: its pixels are not those"):
        lying.to_dicom_folder(tmp_path / "out")


# -------------------------------------------------------------------------------- files of others

CODED_FILES = sorted(
    path.name
    for path in PYDICOM_FILES.glob("*.dcm")
    if any(word in path.name for word in ("JPEG", "JPG", "J2K", "j2k", "jpeg", "RLE", "rle", "jls"))
)


def expect_kept(source: Path, work: Path) -> None:
    try:
        DicomCubeImage.from_dicom_folder(source)
    except DicomCubeError as error:
        pytest.skip(f"can't be read: {error.message}")
    for extension in EXTENSIONS:
        assert kept([source], work, extension) == {source.name: source.read_bytes()}
        assert verify_file(work / f"x{extension}", against=source.parent).ok


@pytest.mark.parametrize("name", CODED_FILES)
def test_files_of_pydicom(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / name
    source.write_bytes((PYDICOM_FILES / name).read_bytes())
    expect_kept(source, tmp_path)


@pytest.mark.parametrize("number", range(1, 10))
def test_real_files(number: int, tmp_path: Path) -> None:
    source = SHARED / "mr_nine_syntaxes" / f"{number}.dcm"
    if not source.exists():
        pytest.skip("no real data")
    (tmp_path / "in").mkdir()
    copy = tmp_path / "in" / source.name
    copy.write_bytes(source.read_bytes())
    expect_kept(copy, tmp_path)
