"""Files in JPEG Lossless, by several encoders, are restored to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import make_slice, write_series
from inputs.original_files import contents, encapsulated, originals_of, packed, restored
from inputs.peers import coded_by_dcmcjpeg, coded_by_gdcm
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

from dicube import DicomCubeImage, verify_file
from dicube.dicom.originals.model import Recoded, frames_digest
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")

EXTENSIONS = (".dcbs", ".dcba")


def check(source: Path, work: Path) -> None:
    """Restore a series of JPEG Lossless from both kinds of files, and find its recipes small."""
    for extension in EXTENSIONS:
        assert restored(source, work, extension) == contents(source)
        pieces = [p for f in originals_of(work / f"x{extension}").files for p in f.pieces]
        recipes = [piece.recipe for piece in pieces if isinstance(piece, Recoded)]
        assert len(recipes) >= len(contents(source))
        assert {recipe.kind for recipe in recipes} == {"jpeg-lossless"}
        assert max(len(recipe.data) for recipe in recipes) < 250


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(
    ("shape", "dtype", "bits"),
    [
        *(((40, 50), "uint16", 16), ((40, 50), "int16", 12), ((40, 50), "uint8", 8)),
        *(((40, 50, 3), "uint8", 8), ((40, 50), "int16", 16)),
    ],
    ids=str,
)
def test_libjpeg_turbo(
    shape: tuple[int, ...], dtype: str, bits: int, predictor: int, tmp_path: Path
) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    options = {"colorspace": "RGB", "outcolorspace": "RGB"} if len(shape) == 3 else {}
    series = []
    for number in range(3):
        dataset = make_slice(number, shape, dtype)
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        words = np.random.default_rng(number).integers(0, 1 << bits, shape)
        words = words.astype("uint8" if bits <= 8 else "uint16")
        coded = imagecodecs.jpeg8_encode(
            words, lossless=True, predictor=predictor, bitspersample=bits, **options
        )
        series.append(encapsulated(dataset, [coded]))
        dataset.file_meta.TransferSyntaxUID = JPEGLossless if predictor > 1 else JPEGLosslessSV1
    check(write_series(tmp_path / "in", series), tmp_path)


def test_files_that_lie_about_bits_that_are_not_coded(tmp_path: Path) -> None:
    """A point transform drops the lowest bits; fewer bits than BitsAllocated lack the highest."""
    imagecodecs = pytest.importorskip("imagecodecs")
    dataset = make_slice(shape=(12, 30), dtype="uint16")
    dataset.BitsStored, dataset.HighBit = 12, 11
    words = np.full((12, 30), 2048, "uint16")  # the first prediction, so that all differences are 0
    coded = imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=12)
    scan = coded.index(b"\xff\xda")
    assert coded[scan + 9] == 0
    coded = coded[: scan + 9] + b"\1" + coded[scan + 10 :]
    encapsulated(dataset, [coded])
    dataset.file_meta.TransferSyntaxUID = JPEGLossless
    source = write_series(tmp_path / "in", [dataset])
    assert restored(source, tmp_path) == contents(source)
    assert verify_file(tmp_path / "x.dcbs").ok
    for bit in (1, 1 << 12):
        with DcbReader(tmp_path / "x.dcbs") as reader:
            sections, volume = dict(reader.sections), reader.read_frames()
        np.testing.assert_array_equal(volume[0], words)
        (original,) = originals_of(tmp_path / "x.dcbs").files
        changed = volume.copy()
        changed[0, 2, 3] ^= bit
        digests = [frames_digest(frames, original.frames) for frames in (volume, changed)]
        data = unpack_bytes(sections["originals"])
        assert digests[0] in data
        sections["originals"] = packed(data.replace(*digests))
        with DcbWriter(tmp_path / "y.dcbs", volume.shape, volume.dtype) as writer:
            for name in ("dicom_status", "dicom_meta", "space", "pixel_header", "originals"):
                writer.write_section(name, sections[name])
            writer.write_frames(changed)
        assert not verify_file(tmp_path / "y.dcbs").ok
        image = DicomCubeImage.from_file(tmp_path / "y.dcbs")
        with pytest.raises(InvalidCubeFileError, match=r"slice 0: its pixels|contradicts itself"):
            image.to_dicom_folder(tmp_path / "out", exact=True)


@pytest.mark.parametrize("predictor", range(8), ids=lambda n: f"predictor{n}" if n else "sv1")
@pytest.mark.parametrize("name", ["ct_philips_tilt", "mr_siemens_sag"])
def test_dcmtk(shared_data: Path, tmp_path: Path, name: str, predictor: int) -> None:
    (tmp_path / "in").mkdir()
    for source in sorted((shared_data / name).iterdir())[1:4]:  # without DIRFILE
        coded_by_dcmcjpeg(source, tmp_path / "in" / source.name, predictor)
    check(tmp_path / "in", tmp_path)


def test_gdcm(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for source in sorted((shared_data / "ct_ge_head").iterdir())[:3]:
        coded_by_gdcm(source, tmp_path / "in" / source.name, "JPEGLosslessProcess14_1")
    check(tmp_path / "in", tmp_path)
