"""Hostile sections beside the frames: JSON, zstd, originals, geometry.

One line for each case, with correct checksums, and the text of the error.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from inputs.dicom_series import item, make_series, write_series
from inputs.sealing import entries, with_section

from dicube import DicomCubeImage, load_meta, verify_file
from dicube.dicom import DicomMeta
from dicube.dicom.metadata.real_world import values_of_slices
from dicube.exceptions import (
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
    OutOfMemoryError,
)
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes, unpack_text
from dicube.verify.file_summary import summarize_file

SLICES = 3


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    datasets = make_series(SLICES)
    for dataset in datasets:
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2")]
    image = DicomCubeImage.from_dicom_folder(write_series(folder / "dicom", datasets))
    image.to_file(folder / "x.dcbs")
    return (folder / "x.dcbs").read_bytes()


def read(file: bytes) -> DicomCubeImage:
    """Read a file, export it and look into it; no exception but ours."""
    image = DicomCubeImage.from_file(file, max_memory=64 << 20, num_threads=1)
    image.get_fdata()
    image.why_not_exact()
    image.volumes()
    assert image.dicom_meta is not None
    for key in image.dicom_meta.keys():  # noqa: SIM118 (not a mapping)
        image.dicom_meta.get_values(key)
    return image


def section(file: bytes, name: str) -> bytes:
    offset, length, *_ = entries(file)[name]
    return file[offset : offset + length]


# ------------------------------------------------------------------------------------- metadata


def document(file: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unpack_text(section(file, "dicom_meta")))
    return found


def set_at(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Set what stands at a path, whose last part is the value."""

    def change(found: Any) -> None:
        for key in path[:-2]:
            found = found[key]
        found[path[-2]] = path[-1]

    return change


WITH_KEYWORD = {"PatientSex": {"vr": "CS", "shared": True}}


def twice_in_letters(found: Any) -> None:
    for key in ("0008103e", "0008103E"):
        found[MERGED][key] = {"vr": "LO", "shared": True, "Value": [key]}


MERGED, NUMBER, NAME, SEQUENCE = "_merged_data", "00200013", "00100010", "00081140"

METADATA = [
    ("no object", lambda m: m.clear(), "no '_merged_data'"),
    ("merged list", set_at(MERGED, []), "no '_merged_data'"),
    ("slices 2^63", set_at("slice_count", 1 << 63), "9223372036854775808 slices|3 values for"),
    ("slices 4", set_at("slice_count", 4), "claim 4 slices, .* more than 3"),
    ("slices 2", set_at("slice_count", 2), "3 values for 2 slices"),
    ("slices text", set_at("slice_count", "3"), None),
    (
        "tag with a comma",
        set_at(MERGED, "0010,0040", {"vr": "CS", "shared": True}),
        "digits, found a text of 9 char",
    ),
    (
        "keyword",
        set_at(MERGED, "PatientSex", {"vr": "CS", "shared": True}),
        "digits, found a text of 10 char",
    ),
    ("tag in both cases", twice_in_letters, "have a tag twice"),
    (
        "keyword within",
        set_at(MERGED, SEQUENCE, "Value", 0, WITH_KEYWORD),
        "digits, found a text of 10 char",
    ),
    ("entry list", set_at(MERGED, NUMBER, []), "'00200013' is malformed"),
    ("entry null", set_at(MERGED, NUMBER, None), "'00200013' is malformed"),
    ("no vr", set_at(MERGED, NUMBER, {"shared": True}), "'00200013' is malformed"),
    ("vr number", set_at(MERGED, NUMBER, "vr", 5), "'00200013' is malformed"),
    ("shared 5", set_at(MERGED, NUMBER, "shared", 5), "'shared' is not true"),
    ("no shared", set_at(MERGED, SEQUENCE, {"vr": "SQ", "Value": []}), "'shared' is not true"),
    ("too few", set_at(MERGED, NUMBER, "Value", [1, 2]), "2 values for 3 slices"),
    ("value object", set_at(MERGED, NUMBER, "Value", {"0": 1}), "no values for 3 slices"),
    ("value number", set_at(MERGED, NAME, "Value", 0.5), "'00100010': values are malformed"),
    ("object for number", set_at(MERGED, NUMBER, "Value", [1, {}, 2]), "values are malformed"),
    ("nested lists", set_at(MERGED, NUMBER, "Value", [[[1]], 2, 3]), "values are malformed"),
    ("huge number", set_at(MERGED, NUMBER, "Value", [1, 10**400, 3]), "values are malformed"),
    ("name of lists", set_at(MERGED, NAME, "Value", [{"Alphabetic": []}]), "values are malformed"),
    ("binary text", set_at(MERGED, NAME, "InlineBinary", "a\xe9=="), "is not base64"),
    ("binary number", set_at(MERGED, NAME, "InlineBinary", 5), "values are malformed"),
    ("raw number", set_at(MERGED, NAME, "raw", 5), "values are malformed"),
    ("raw beyond bytes", set_at(MERGED, NAME, "raw", "\u5c71"), "values are malformed"),
    ("vrs numbers", set_at(MERGED, NUMBER, "vrs", [1, 2, 3]), "values are malformed"),
    ("sequence as value", set_at(MERGED, NUMBER, "vrs", ["SQ"] * 3), "values are malformed"),
    ("items", set_at(MERGED, SEQUENCE, "Value", [5]), "items are malformed"),
    ("item", set_at(MERGED, SEQUENCE, "Value", [{"00081155": {}}]), "'00081155' is malformed"),
    ("counts", set_at(MERGED, SEQUENCE, "counts", [1, 0.5, 1]), "counts are malformed"),
    ("counts beyond", set_at(MERGED, SEQUENCE, "counts", [1, 2, 1]), "counts are malformed"),
    ("columns", set_at(MERGED, SEQUENCE, "columns", [0, 1 << 63, 0]), "columns are malformed"),
    (
        "key",
        set_at(MERGED, "no tag", {"vr": "US", "shared": True}),
        "digits, found a text of 6 char",
    ),
    ("frames", set_at("frames", [[0, 1], [0, 1 << 63]]), "valid frames for"),
    ("elsewhere", set_at("in_originals", [NAME]), None),
    ("group", set_at(MERGED, "52009230", {"vr": "LO", "shared": True, "Value": ["x"]}), None),
    ("file meta", set_at("_file_meta", {"00020010": {"vr": "UI"}}), "'shared' is not true"),
]


@pytest.mark.parametrize(("change", "told"), [pytest.param(*m[1:], id=m[0]) for m in METADATA])
def test_metadata(change: Callable[[dict[str, Any]], None], told: str | None, good: bytes) -> None:
    changed = document(good)
    change(changed)
    bad = with_section(good, "dicom_meta", pack_text(json.dumps(changed)))
    if told is None:
        read(bad)
        return
    with pytest.raises(DicomCubeError, match=told):
        read(bad)


def test_slices_that_a_file_can_not_have(good: bytes, tmp_path: Path) -> None:
    modality = {"00080060": {"vr": "CS", "shared": True, "Value": ["MR"]}}
    number: dict[str, Any] = {MERGED: modality, "slice_count": 1 << 20, "merge_version": 2}
    with pytest.raises(MetaDataError, match=r"claim 1048576 slices, .* more than 3"):
        load_meta(with_section(good, "dicom_meta", pack_text(json.dumps(number))))
    path = tmp_path / "x.dcbs"
    for count, allowed in ((4096, True), (4097, False)):
        number["slice_count"] = count
        with DcbWriter(path, (0, 0, 0), np.dtype(np.uint8), codec="jph") as writer:
            writer.write_section("dicom_meta", pack_text(json.dumps(number)))
        if allowed:
            assert summarize_file(path).tags == {"Modality": "MR"}
        else:
            with pytest.raises(MetaDataError, match=r"claim 4097 slices, .* more than 4096"):
                summarize_file(path)


def sequence_of(count: int, **more: Any) -> dict[str, Any]:
    return {"vr": "SQ", "shared": None, "Value": [{}] * count, **more}


MANY = 1 << 20
SEX = {"vr": "CS", "shared": False, "Value": ["F", "M", "F"]}


@pytest.mark.parametrize("version", [{"merge_version": 2}, {}])
@pytest.mark.parametrize(
    "sequence",
    [
        sequence_of(MANY, counts=[MANY, MANY - 1, MANY]),
        {"vr": "SQ", "shared": None, "Value": [{"00100040": SEX}] + [{}] * MANY},
        sequence_of(1, Value=[{"00081140": sequence_of(MANY, counts=[MANY, 1, None])}]),
    ],
)
def test_sequences_of_many_items_in_every_slice(
    sequence: dict[str, Any], version: dict[str, int]
) -> None:
    text = json.dumps({MERGED: {SEQUENCE: sequence}, "slice_count": 3, **version})
    with pytest.raises(MetaDataError, match=r"have \d+ elements in 3 slices, more than 1048576"):
        DicomMeta.from_json(text)
    if version and "counts" in sequence:
        meta = DicomMeta({SEQUENCE: sequence}, slice_count=3)
        with pytest.raises(MetaDataError, match="more than 1048576"):
            meta.to_json()  # else it couldn't be read again


@pytest.mark.slow
def test_sequences_of_many_items_that_slices_share() -> None:
    same = {"00081140": sequence_of(MANY), "00081115": sequence_of(MANY, columns=[0, 0, 0])}
    meta = DicomMeta.from_json(json.dumps({MERGED: same, "slice_count": 3, "merge_version": 2}))
    assert meta.is_shared("00081140")
    many = {"vr": "IS", "shared": False, "Value": list(range(200))}
    items = [{"00200013": many, "00100040": {"vr": "CS", "shared": True}}] * 10_000
    real = {MERGED: {SEQUENCE: {"vr": "SQ", "shared": None, "Value": items}}, "slice_count": 200}
    DicomMeta.from_json(json.dumps(real | {"merge_version": 2}))  # per-slice values justify it


def test_macros_with_the_same_element() -> None:
    tags = [f"0018{number:04X}" for number in range(0x9000, 0x9101)]
    inner = {"00180050": {"vr": "DS", "shared": True, "Value": [1.5]}}
    macro = {"vr": "SQ", "shared": None, "Value": [inner]}
    for count, told in ((256, ""), (257, "more than 256 macros have an element 00180050")):
        group = sequence_of(1, Value=[dict.fromkeys(tags[:count], macro)])
        meta = DicomMeta({"52009229": group}, slice_count=2)
        if told:
            with pytest.raises(MetaDataError, match=told):
                meta.get("SliceThickness")
        else:
            assert meta.get("SliceThickness") == 1.5


def test_many_mappings_to_real_values() -> None:
    slope = {"00409225": {"vr": "FD", "shared": True, "Value": [1.0]}}
    for count in (1024, 1025):
        entries = {"00409096": sequence_of(count, Value=[slope] * count)}
        (values,) = values_of_slices(DicomMeta(entries, slice_count=1))
        assert (len(values.mappings) == 1) == (count == 1025)
    assert "1025 items, more than 1024" in values.mappings[0].unreadable


TEXTS = [
    ("empty", "", "not JSON"),
    ("half", '{"_merged_data": {', "not JSON"),
    ("number", "5", "no '_merged_data'"),
    ("deep", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ("deep entries", '{"_merged_data":' * 100_000 + "{}" + "}" * 100_000, "nested too deeply"),
    ("thousands of digits", '{"slice_count": ' + "9" * 100_000 + "}", "not JSON"),
    (
        "a key twice",
        '{"_merged_data": {}, "_merged_data": {}}',
        "a key of 12 characters occurs twice",
    ),
    (
        "lone surrogate",
        '{"_merged_data": {"\\ud800": {"vr": "US", "shared": true}}}',
        "a text of 1 char",
    ),
    ("huge", '{"_merged_data": {}}' + " " * (70 << 20), "declare"),
]


@pytest.mark.parametrize(("text", "told"), [pytest.param(*t[1:], id=t[0]) for t in TEXTS])
def test_metadata_text(text: str, told: str, good: bytes) -> None:
    packed = zstandard.ZstdCompressor(write_content_size=True).compress(text.encode())
    bad = with_section(good, "dicom_meta", packed)
    with pytest.raises(DicomCubeError, match=told):
        read(bad)
    with pytest.raises(DicomCubeError, match=told):
        load_meta(bad)


def test_zstd_that_lies(good: bytes) -> None:
    """A content size that is another, and frames that unpack to more than there is reason to."""
    text = json.dumps(document(good)).encode()
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(text))
    size_at = frame.index(struct.pack("<H", len(text) - 256))
    for size in (0, 1, len(text) - 1, len(text) + 1, 65791):
        frame[size_at : size_at + 2] = struct.pack("<H", (size - 256) % 65536)
        for name in ("dicom_meta", "originals"):
            with pytest.raises(DicomCubeError):
                read(with_section(good, name, bytes(frame))).to_dicom_folder("/nowhere/x")
    bomb = zstandard.ZstdCompressor(1).compress(bytes(1 << 30))
    for name in ("dicom_meta", "originals"):
        file = with_section(good, name, bomb)
        with pytest.raises(InvalidCubeFileError, match="1073741824"):
            image = DicomCubeImage.from_file(file)
            image.to_dicom_folder("/nowhere/x")


def test_what_is_unpacked_is_within_max_memory(good: bytes) -> None:
    with pytest.raises(OutOfMemoryError, match=r"section dicom_meta: .* max_memory is 1000"):
        load_meta(good, max_memory=1000)
    assert load_meta(good, max_memory=1 << 20) == load_meta(good)
    with pytest.raises(OutOfMemoryError, match="max_memory is 100"):
        unpack_bytes(pack_bytes(bytes(101)), 100)


def test_metadata_that_shrink_a_lot_can_be_read_again() -> None:
    text = '{"_merged_data": {}}' + " " * (70 << 20)
    assert unpack_text(pack_text(text)) == text


# ------------------------------------------------------------------------------ other sections

SPACE = {
    "shape": [5, 6, 3],
    "origin": [0.0, 0.0, 0.0],
    "spacing": [1.0, 1.0, 1.0],
    "x_orientation": [1.0, 0.0, 0.0],
    "y_orientation": [0.0, 1.0, 0.0],
    "z_orientation": [0.0, 0.0, 1.0],
}
LOSS = {"max_error": 1, "rmse": 1, "least": 0, "greatest": 1, "changed": 1, "ratio": 1}
SECTIONS: list[tuple[str, str, Any, str]] = [
    *(
        (f"space {name} {value!r}", "space", {**SPACE, name: value}, "Space")
        for name in SPACE
        for value in (
            *([], [1, 2], "abc", None, 5, [1, 2, "3"], [1, 2, None], [1, 2, True]),
            *([float("nan")] * 3, [float("inf")] * 3, [1, 2, 10**400], [0, 0, 0]),
        )
        if (name, value) != ("origin", [0, 0, 0])
    ),
    ("space list", "space", [], "Space"),
    ("space of others", "space", {**SPACE, "shape": [5, 6, 4]}, "shape"),
    *(
        (f"header {name} {value!r}", "pixel_header", {name: value}, f"pixel_header: {name}")
        for name in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "MaxVal")
        for value in ("AA==", [1], {}, True, 10**400)
    ),
    ("header slope null", "pixel_header", {"RescaleSlope": None}, "RescaleSlope"),
    ("header dtype", "pixel_header", {"PixelDtype": 5}, "PixelDtype"),
    ("header list", "pixel_header", [], "pixel_header"),
    ("status", "dicom_status", "fine", "is not a status"),
    *(
        (
            f"loss {name} {value!r}",
            "loss",
            {"losses": [{**LOSS, "settings": {}, name: value}]},
            "section loss",
        )
        for name in LOSS
        for value in (None, "x", [], float("nan"), 10**400)
        if name not in ("changed", "ratio")
    ),
    ("loss negative", "loss", {"losses": [{**LOSS, "settings": {}, "rmse": -1}]}, "section loss"),
    ("loss list", "loss", [], "section loss"),
    (
        "loss of many objects",
        "loss",
        '{"losses":[], "x":[' + ",".join(["{}"] * (1 << 20)) + "]}",
        "section loss: parsing its JSON takes .* max_memory is",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "told"), [pytest.param(*s[1:], id=s[0]) for s in SECTIONS]
)
def test_sections(name: str, content: Any, told: str, good: bytes, tmp_path: Path) -> None:
    if name == "loss":
        image = DicomCubeImage.from_file(good)
        image.to_file(tmp_path / "x.dcbl", max_error=1)
        good = (tmp_path / "x.dcbl").read_bytes()
    text = content if isinstance(content, str) else json.dumps(content)
    bad = with_section(good, name, text.encode())
    with pytest.raises(DicomCubeError, match=told):
        read(bad)
    (tmp_path / "bad").write_bytes(bad)
    assert "max_memory" in told or not verify_file(tmp_path / "bad")


@pytest.mark.parametrize("name", ["space", "pixel_header", "dicom_status", "dicom_meta", "nifti"])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0", b"{", b"[" * 100_000, b"\x28\xb5\x2f\xfd"])
def test_bytes_that_are_no_text(name: str, content: bytes, good: bytes) -> None:
    if name == "nifti":
        return
    with pytest.raises(DicomCubeError):
        read(with_section(good, name, content))


# ----------------------------------------------------------------------------------- originals


def with_originals(good: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    data = unpack_bytes(section(good, "originals"))
    (length,) = struct.unpack_from("<L", data)
    index = json.loads(data[4 : 4 + length])
    change(index)
    text = json.dumps(index).encode()
    packed = pack_bytes(struct.pack("<L", len(text)) + text + data[4 + length :])
    return with_section(good, "originals", packed)


NAMES = [
    *("../x.dcm", "../../x", "a/../../x", "/etc/x", "//x", "a//x", "./x", "a/./x", "", "..", "."),
    *("C:x", "c:/x", "a\0b", "a/", "<second>/x"),
    *("a/" * 256 + "b", "a" * 4097),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_the_folder(name: str, good: bytes, tmp_path: Path) -> None:

    def rename(index: dict[str, Any]) -> None:
        index["files"][0]["name"] = name.replace("<second>", index["files"][1]["name"])

    bad = with_originals(good, rename)
    (tmp_path / "in").mkdir()
    with pytest.raises(DicomCubeError):
        DicomCubeImage.from_file(bad).to_dicom_folder(tmp_path / "in" / "out")
    found = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert not found
    assert not verify_file_of(bad, tmp_path)


def verify_file_of(data: bytes, folder: Path) -> bool:
    (folder / "x.dcbs").write_bytes(data)
    return bool(verify_file(folder / "x.dcbs"))


ORIGINALS = [
    ("no files", set_at("files", [])),
    ("files null", set_at("files", None)),
    ("file number", set_at("files", 0, 5)),
    ("no pieces", set_at("files", 0, "pieces", [])),
    ("piece text", set_at("files", 0, "pieces", ["x"])),
    ("piece 2^63", set_at("files", 0, "pieces", [1 << 63])),
    ("piece -1", set_at("files", 0, "pieces", [-1])),
    ("frames beyond", set_at("files", 0, "pieces", 1, [0, 1 << 40, 1])),
    ("frames many", set_at("files", 0, "pieces", 1, [0, 0, 1 << 40])),
    ("frames none", set_at("files", 0, "pieces", 1, [0, 0, 0])),
    ("form beyond", set_at("files", 0, "pieces", 1, [7, 0, 1])),
    ("form of text", set_at("forms", ["x"])),
    ("form of numbers", set_at("forms", [["little", 1, 0]])),
    ("coded", set_at("files", 0, "pieces", 1, {"coded": [0, 0, 1 << 40]})),
    ("jpeg", set_at("files", 0, "pieces", 1, {"jpeg": [0, 0, 10]})),
    ("the same file twice", lambda index: index["files"].append(index["files"][0])),
    ("version 3", set_at("version", 3)),
]


@pytest.mark.parametrize("change", [pytest.param(o[1], id=o[0]) for o in ORIGINALS])
def test_originals(change: Callable[[dict[str, Any]], None], good: bytes, tmp_path: Path) -> None:
    bad = with_originals(good, change)
    with pytest.raises(DicomCubeError):
        DicomCubeImage.from_file(bad).to_dicom_folder(tmp_path / "out")
    assert not verify_file_of(bad, tmp_path)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


# ----------------------------------------------------------------------------------- by itself


def test_published_metadata_that_are_malformed() -> None:
    for text in (
        '{"_merged_data": {"00081140": {"vr": "SQ", "shared": null, "Value": [{"00081155": 5}]}}}',
        '{"_merged_data": {"00081140": {"vr": "SQ", "shared": null, "Value": 5}}}',
        '{"_merged_data": {"00200013": {"vr": "IS", "shared": false, "Value": [[[1]], 2]}}}',
        '{"_merged_data": {}, "slice_count": 9223372036854775808}',
    ):
        try:
            DicomMeta.from_json(text)
        except MetaDataError:
            continue
        assert "SQ" in text


def test_names_of_sections_are_the_readers(good: bytes) -> None:
    with DcbReader(good) as reader:
        assert "originals" in reader.sections
