"""original_elements: long binary is stored once in a file, and read from original files."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import item, make_series, write_series
from inputs.original_files import SYNTAXES
from pydicom.dataset import Dataset

from dicube import DicomCubeImage
from dicube.dicom.originals.section import originals_from_bytes, originals_to_bytes
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")


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
    with pytest.raises(InvalidCubeFileError, match="does not contain"):
        meta.get("00291001")


def test_originals_survive_being_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "in", with_binary())
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    originals = image._origin.provenance.originals.with_digests(image.raw_image)
    packed = originals_to_bytes(image._origin.provenance.originals, image.raw_image)
    again = originals_from_bytes(packed, originals.shape, originals.dtype, originals.codec)
    assert again == originals
    assert [file.digest for file in originals.files] == [
        hashlib.sha256((tmp_path / "in" / file.name).read_bytes()).digest()
        for file in originals.files
    ]
