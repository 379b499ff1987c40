"""unparsed_entries: long entries of metadata are parsed and checked when they are first used."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import item, make_series, write_series
from inputs.sealing import entries, with_section

import dicube
from dicube import DicomCubeImage, load_meta
from dicube.dicom import DicomMeta, SortMethod
from dicube.dicom.metadata import unparsed_entries
from dicube.dicom.metadata.entry_checks import check_nested
from dicube.exceptions import DicomCubeError, MetaDataError, OutOfMemoryError
from dicube.storage.packed_text import pack_text, unpack_text

SLICES = 300
NUMBER, POSITION, SEQUENCE, SEX = "00200013", "00200032", "00081140", "00100040"
MERGED, IN_ORIGINALS = "_merged_data", "00420013"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file whose metadata have long columns and a long sequence."""
    folder = tmp_path_factory.mktemp("long")
    datasets = make_series(SLICES)
    for index, dataset in enumerate(datasets):
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID=f"1.2.{index}")]
        long = item(ReferencedSOPInstanceUID=f"1.2.{index}")
        long.add_new(0x00420011, "OB", bytes([index % 256]) * 2000)
        dataset.add_new(IN_ORIGINALS, "SQ", [long])
        dataset.ImageComments = f'"]}}\\, {index} "\u00e9'
        dataset.add_new(0x00189328, "FD", [1.0, float("nan" if index % 2 else "inf")])
    image = DicomCubeImage.from_dicom_folder(write_series(folder / "dicom", datasets))
    image.to_file(folder / "x.dcbs")
    return (folder / "x.dcbs").read_bytes()


@pytest.fixture(scope="module")
def text(file: bytes) -> str:
    offset, length, *_ = entries(file)["dicom_meta"]
    found = unpack_text(file[offset : offset + length])
    assert len(found) > unparsed_entries._LEAST_TEXT
    return found


def parsed_keys(meta: DicomMeta) -> set[str]:
    return {key for key, entry in meta._merged_data._entries.items() if entry is not None}


def test_only_what_is_used_is_parsed(file: bytes, text: str) -> None:
    meta = DicomMeta.from_json(text, source="x.dcbs")
    long = {NUMBER, POSITION, SEQUENCE, "00080018", "00204000", "00189328"}
    assert set(meta.keys()) >= long
    assert not long & parsed_keys(meta)
    assert meta.get("PatientName") == "DOE^JOHN"
    assert meta.get("InstanceNumber") == list(range(1, SLICES + 1))
    assert long & parsed_keys(meta) == {NUMBER}
    for found in (load_meta(file), dicube.open(file).dicom_meta):
        assert found is not None
        assert found.get("PatientID") == "4711"
        assert not long & parsed_keys(found)


def test_all_that_can_be_done_is_as_with_parsed_ones(text: str) -> None:
    def both(use: Callable[[DicomMeta], Any]) -> None:
        one, other = DicomMeta.from_json(plain, source=""), DicomMeta.from_json(plain)
        assert str(use(one)) == str(use(other))
        assert one == other

    plain = changed(text, "in_originals", [])
    order = [*range(SLICES - 1, -1, -1)]
    both(lambda meta: meta.to_json())
    both(lambda meta: meta.keys())
    both(lambda meta: [meta[key] for key in meta])
    both(lambda meta: meta.index(7))
    both(lambda meta: meta.dataset(7))
    both(lambda meta: meta.instances())
    both(lambda meta: meta.sort_files(SortMethod.POSITION_LEFT_HAND))
    both(lambda meta: meta.reorder(order))
    both(lambda meta: meta.select([5, 3]).to_json())
    both(lambda meta: meta.set_shared_item("InstanceNumber", 5))
    both(lambda meta: meta.__delitem__("ImagePositionPatient"))
    both(lambda meta: meta.fork().to_json())
    both(lambda meta: copy.copy(meta).to_json())
    both(lambda meta: copy.deepcopy(meta).to_json())
    both(lambda meta: pickle.loads(pickle.dumps(meta)).to_json())
    meta = DicomMeta.from_json(plain, source="")
    forked = meta.fork()
    assert meta.same_as(forked)
    assert NUMBER not in parsed_keys(meta)
    forked.reorder(order)
    assert not meta.same_as(forked)
    assert meta.get("InstanceNumber") == list(range(1, SLICES + 1))


def test_elements_with_long_binary_are_completed_from_the_originals(file: bytes, text: str) -> None:
    document = json.loads(text)
    assert document["in_originals"] == [IN_ORIGINALS]
    assert len(json.dumps(document[MERGED][IN_ORIGINALS])) > unparsed_entries._LONGEST_ENTRY
    meta = load_meta(file)
    assert meta is not None
    items = meta.get(IN_ORIGINALS)
    assert [len(found[0]["00420011"]["InlineBinary"]) for found in items] == [2668] * SLICES


def test_metadata_that_differ_in_an_unparsed_entry_are_not_equal(text: str) -> None:
    document = json.loads(text)
    del document["in_originals"]
    text = json.dumps(document)
    meta = DicomMeta.from_json(text, source="")
    numbers = [*range(2, SLICES + 2)]
    other = DicomMeta.from_json(changed(text, MERGED, NUMBER, "Value", numbers), source="")
    assert not parsed_keys(other) & {NUMBER}
    assert not meta.same_as(other)


def changed(text: str, *path: Any) -> str:
    """Return metadata with a value, the last of the path, at the others."""
    document = found = json.loads(text)
    for key in path[:-2]:
        found = found[key]
    found[path[-2]] = path[-1]
    return json.dumps(document)


LONG = "x" * 2000
ENTRIES = [
    ("too few", (NUMBER, "Value", [1] * (SLICES - 1)), f"299 values for {SLICES} slices"),
    ("numbers", (NUMBER, "Value", [10**400] * SLICES), "values are malformed"),
    ("lists", (NUMBER, "Value", [[[1]]] * SLICES), "values are malformed"),
    ("no values", (NUMBER, {"vr": "IS", "shared": False, "x": LONG}), "has no values"),
    ("shared", (NUMBER, {"vr": "IS", "shared": 5, "x": LONG}), "'shared' is not true"),
    ("vr", (NUMBER, {"vr": 5, "shared": True, "x": LONG}), "'00200013' is malformed"),
    ("no vr", (NUMBER, {"shared": True, "x": LONG}), "'00200013' is malformed"),
    ("vr later", (NUMBER, {"shared": True, "x": LONG, "vr": 7}), "'00200013' is malformed"),
    ("a sequence", (NUMBER, {"vr": "LO", "shared": None, "x": LONG}), "'shared' is not true"),
    ("item", (SEQUENCE, "Value", [{SEX: {"x": LONG}}]), "'00100040' is malformed"),
    ("counts", (SEQUENCE, "counts", [2] * SLICES), "counts are malformed"),
    ("key within", (SEQUENCE, "Value", [{LONG: {"vr": "CS", "shared": True}}]), "hexadecimal"),
]


@pytest.mark.parametrize(("path", "told"), [pytest.param(*e[1:], id=e[0]) for e in ENTRIES])
def test_a_malformed_entry_is_found_when_it_is_used(
    path: tuple[Any, ...], told: str, text: str
) -> None:
    wrong = changed(changed(text, "in_originals", []), MERGED, *path)
    with pytest.raises(MetaDataError, match=told):
        DicomMeta.from_json(wrong)
    for use in (
        lambda meta: meta.get(path[0]),
        lambda meta: meta.get_values(path[0]),
        lambda meta: meta.index(0),
        lambda meta: meta.reorder([*range(1, SLICES), 0]),
        lambda meta: meta.to_json(),
        lambda meta: pickle.dumps(meta),
    ):
        meta = DicomMeta.from_json(wrong, source="folder/x.dcbs")
        assert meta.get("PatientName") == "DOE^JOHN"
        with pytest.raises(MetaDataError, match=f"^folder/x.dcbs: .*{told}"):
            use(meta)
        assert meta.get("PatientName") == "DOE^JOHN"


TEXTS = [
    ("number", b"[1, 2, 3,", b"[1, 02, 3,", "not JSON"),
    ("key twice", b'"Value": [1, 2, 3,', b'"Value": 5, "Value": [1, 2, 3,', "occurs twice"),
    ("vr twice", b'"Value": [1, 2, 3,', b'"vr": "SQ", "Value": [1, 2, 3,', "occurs twice"),
    ("digits", b"[1, 2, 3,", b"[1, " + b"9" * 10_000 + b", 3,", "not JSON"),
    ("depth", b"[1, 2, 3,", b"[" * 100_000 + b"]" * 100_000 + b", [1, 2, 3,", "not JSON|deep"),
    ("brackets", b"[1, 2, 3,", b"[1, }{, 3,", "not JSON"),
]


@pytest.mark.parametrize(
    ("before", "after", "told"), [pytest.param(*t[1:], id=t[0]) for t in TEXTS]
)
def test_text_that_is_no_json(
    before: bytes, after: bytes, told: str, text: str, file: bytes
) -> None:
    data = text.encode()
    assert data.count(before) == 1
    wrong = data.replace(before, after)
    bad = with_section(file, "dicom_meta", pack_text(wrong.decode()))
    with pytest.raises(DicomCubeError, match=told):
        DicomCubeImage.from_file(bad)
    with pytest.raises(DicomCubeError, match=told):
        load_meta(bad).get("InstanceNumber")  # type: ignore[union-attr]


def test_errors_that_are_found_at_once(text: str) -> None:
    lower = changed(text, MERGED, "0020001a", json.loads(text)[MERGED][NUMBER])
    for wrong, told in (
        (changed(lower, MERGED, "0020001A", {"vr": "CS", "shared": True}), "have a tag twice"),
        (changed(text, MERGED, SEX, None), "'00100040' is malformed"),
        (changed(text, MERGED, SEX, {"vr": "CS"}), "'shared' is not true"),
        (text.replace(f'"{NUMBER}"', f'"{POSITION}"'), "a key of 8 characters occurs twice"),
        (text[:-1], "not JSON"),
        (text.replace('"]}', '"]'), "not JSON"),
        (text.replace('"', "", 1), "not JSON"),
    ):
        with pytest.raises(MetaDataError, match=told):
            DicomMeta.from_json(wrong, source="")


def test_objects_elsewhere_are_no_entries(text: str) -> None:
    plain = changed(text, "in_originals", [])
    other = {"a": {"x": LONG}, "b": None}
    for name, value in (("other", other), ("other", [[{"x": LONG}]]), ("in_originals", 5)):
        meta = DicomMeta.from_json(changed(plain, name, value), source="")
        assert meta == DicomMeta.from_json(plain)


def test_slice_counts_that_columns_must_confirm(text: str) -> None:
    text = changed(text, "in_originals", [])
    column = json.loads(text)[MERGED][NUMBER]["Value"]
    assert len(column) == SLICES
    for count in ("many", 0, None):
        assert DicomMeta.from_json(changed(text, "slice_count", count), source="") == (
            DicomMeta.from_json(text)
        )
    with pytest.raises(MetaDataError, match="claim 1048577 slices"):
        DicomMeta.from_json(changed(text, "slice_count", (1 << 20) + 1), source="")
    with pytest.raises(MetaDataError, match=r"claim 300 slices, .* more than 299"):
        DicomMeta.from_json(text, most_slices=299, source="")


def test_sequences_are_limited_together(text: str) -> None:
    many = {"vr": "SQ", "shared": None, "Value": [{}] * 3000, "counts": [3000] * (SLICES - 1) + [1]}
    one = changed(text, MERGED, SEQUENCE, many)
    two = changed(one, MERGED, "00081115", many)
    assert DicomMeta.from_json(one, source="").get_values("00081140")[-1] == [{}]
    for key in (SEQUENCE, "00081115"):
        meta = DicomMeta.from_json(two, source="")
        assert meta.get("PatientName") == "DOE^JOHN"
        with pytest.raises(MetaDataError, match="elements in 300 slices, more than 1048576"):
            meta.get(key)
    with pytest.raises(MetaDataError, match="more than 1048576"):
        check_nested(json.loads(two)[MERGED], SLICES)


def test_published_entries_are_converted(text: str) -> None:
    document = json.loads(text)
    del document["merge_version"]
    document[MERGED][NUMBER]["Value"][3] = "None"
    meta = DicomMeta.from_json(json.dumps(document), source="")
    assert meta.get("InstanceNumber")[:5] == [1, 2, 3, None, 5]


def test_memory_is_limited_before_anything_is_parsed(file: bytes) -> None:
    with pytest.raises(OutOfMemoryError, match="section dicom_meta"):
        load_meta(file, max_memory=40_000)


def test_numbers_that_json_lacks(text: str) -> None:
    values = DicomMeta.from_json(text, source="").get("00189328")
    assert np.isnan(values[1][1])
    assert np.isposinf(values[0][1])


def test_an_error_names_the_file(file: bytes, text: str, tmp_path: Path) -> None:
    wrong = changed(text, MERGED, NUMBER, "Value", [1] * 200)
    path = tmp_path / "x.dcbs"
    path.write_bytes(with_section(file, "dicom_meta", pack_text(wrong)))
    meta = load_meta(path)
    assert meta is not None
    with pytest.raises(MetaDataError, match=r"x\.dcbs: metadata entry '00200013' has 200 values"):
        meta.get("InstanceNumber")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be", "utf-8-sig"])
def test_another_encoding_is_no_json(encoding: str, file: bytes, text: str) -> None:
    other = text.encode(encoding).decode("utf-8", "replace")
    wrong = with_section(file, "dicom_meta", pack_text(other))
    with pytest.raises(MetaDataError, match="not JSON"), dicube.open(wrong) as cube:
        _ = cube.dicom_meta
