"""Codecs, transfer syntaxes and kinds of files each have one complete record."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from programs.running import ROOT
from pydicom.uid import UID

import dicube
from dicube import DicomCubeImage
from dicube.codecs import get_codec, list_codecs
from dicube.codecs.codestream import probe
from dicube.codecs.records import RECORDS, CodecRecord, record_of
from dicube.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, coded_syntax_of, syntax_of_codec
from dicube.exceptions import DataConsistencyError
from dicube.storage import DcbReader
from dicube.storage.formats import KINDS, FileKind

PACKAGE = ROOT / "python" / "dicube"
SOURCES = sorted(PACKAGE.rglob("*.py"))

codec = pytest.mark.parametrize("codec", RECORDS, ids=[record.name for record in RECORDS])
kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.extension for kind in KINDS])


def constants(path: Path) -> set[object]:
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    }


def test_only_the_codecs_hold_their_names_and_labels() -> None:
    """Adding a codec needs no change elsewhere but in the tables of syntaxes and files."""
    names = {name for record in RECORDS for name in (record.name, record.label)}
    found = {
        str(path.relative_to(PACKAGE)): held
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0] != "codecs" and (held := constants(path) & names)
    }
    # DICOM's own keyword and title of two transfer syntaxes, which are the codecs' labels too.
    assert found == {"dicom/transfer_syntaxes.py": {"HTJ2K", "JPEG XL"}}


@codec
def test_a_codec_has_all_that_others_ask_for(codec: CodecRecord) -> None:
    registered = get_codec(codec.name)
    assert codec.name in list_codecs()
    assert (registered.id, registered.extensions) == (codec.id, codec.extensions)
    assert registered.name == codec.name
    assert record_of(codec.id) is record_of(codec.name) is codec
    assert f"{codec.library} ".lower() in dicube.build_info().lower()
    assert codec.library.lower() in registered.get_version().lower()
    assert syntax_of_codec(codec.name).interpretations
    assert any(one.codec is codec for one in KINDS)
    for word, number in codec.efforts.items():
        assert codec.effort_number(word) == codec.effort_number(number) == number
    for effort in (-1, 0, 10, 42, "utmost"):
        with pytest.raises(DataConsistencyError, match=f"found (effort )?{effort!r}"):
            codec.effort_number(effort)


def test_codecs_differ() -> None:
    for field in ("id", "name", "label"):
        assert len({getattr(record, field) for record in RECORDS}) == len(RECORDS)
    with pytest.raises(DataConsistencyError, match="expected a codec of jxl, jph, found 'jpeg'"):
        record_of("jpeg")


@codec
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_samples_that_other_decoders_read_are_coded_as_they_are(
    codec: CodecRecord, dtype: str
) -> None:
    image = np.arange(600).reshape(20, 30).astype(dtype)
    stream = probe(get_codec(codec.name).encode(image))
    assert stream.codec == codec.name
    as_they_are = stream.is_reversible and not stream.is_mapped
    same_kind = stream.is_signed == (image.dtype.kind == "i") and stream.components == 1
    claimed = image.dtype.kind in codec.sample_kinds
    claimed = claimed and image.dtype.itemsize * 8 <= codec.sample_bits
    assert claimed <= (as_they_are and same_kind)


@kind
def test_a_kind_of_file_is_what_its_record_says(kind: FileKind, tmp_path: Path) -> None:
    image = DicomCubeImage(np.arange(2400, dtype=np.uint16).reshape(2, 30, 40))
    path = tmp_path / f"x{kind.extension}"
    image.to_file(path, roi=image.raw_image > 7 if kind.has_masks else None)
    assert path.read_bytes().startswith(kind.magic)
    with DcbReader(path) as reader:
        assert (reader.extension, reader.codec) == (kind.extension, kind.codec.name)
        assert (reader.levels > 0) == kind.codec.has_levels
    loaded = DicomCubeImage.from_file(path)
    assert (loaded.roi_mask is not None) == kind.has_masks
    assert bool(loaded.losses) == (kind.loss == "always")
    if kind.loss == "never":
        with pytest.raises(DataConsistencyError, match="lossless"):
            image.to_file(path, max_error=1)
    elif not kind.has_masks:
        image.to_file(path, max_error=1)
        assert DicomCubeImage.from_file(path).losses


def test_transfer_syntaxes_have_the_names_of_dicom() -> None:
    for syntax in TRANSFER_SYNTAXES:
        uid = UID(syntax.uid)
        if uid.is_transfer_syntax:  # and known to pydicom
            assert (syntax.keyword, syntax.title) == (uid.keyword, uid.name)
        assert bool(syntax.interpretations) == bool(syntax.name and syntax.codec)
        assert coded_syntax_of(syntax.uid) == (syntax if syntax.codec else None)
    assert len({syntax.uid for syntax in TRANSFER_SYNTAXES}) == len(TRANSFER_SYNTAXES)
