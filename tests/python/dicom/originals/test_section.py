"""section: the bytes of original files follow FORMAT.md, and hostile bytes are refused."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from inputs.dicom_series import make_series, write_series
from inputs.original_files import PIXEL_DATA, contents, packed
from inputs.work import lines_run

from dicube import DicomCubeImage, strict_json
from dicube.core.fidelity.provenance import pack_originals
from dicube.dicom.originals import model, section
from dicube.dicom.originals.model import (
    IN_MEMORY,
    Bulk,
    Coded,
    Original,
    Originals,
    Recipe,
    Recoded,
    Samples,
)
from dicube.dicom.originals.restore import write_originals
from dicube.dicom.originals.section import (
    BulkSource,
    fault_of,
    originals_from_bytes,
    originals_to_bytes,
)
from dicube.exceptions import InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")


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


UNSAFE = "is not a path within a folder"
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None] | bytes, str]] = {
    "absolute": (first_file("name", "/tmp/evil"), UNSAFE),
    "parent": (first_file("name", "../evil"), UNSAFE),
    "parent within": (first_file("name", "a/../../evil"), UNSAFE),
    "drive": (first_file("name", "C:evil"), UNSAFE),
    "zero": (first_file("name", "a\0b"), UNSAFE),
    "empty": (first_file("name", ""), UNSAFE),
    "folder": (first_file("name", "a/"), UNSAFE),
    "half a pair": (first_file("name", "a\ud800b"), UNSAFE),
    "duplicate": (first_file("name", "I2"), "two files have the same name"),
    "folder of another": (first_file("name", "I2/x"), "two files have the same name"),
    "number": (first_file("name", 7), "a file has no name"),
    "no pieces": (first_file("pieces", {}), "expected a list, found dict"),
    "too long a piece": (first_literal(10**9), "expected 1000000000 bytes at"),
    "negative piece": (first_literal(-1), "expected a piece of a file, found -1"),
    "short piece": (first_literal(1), "there are bytes that belong to no file"),
    "no form": (first_pixels([7, 0, 1]), "expected a piece of a file"),
    "no frames": (first_pixels([0]), r"expected runs of frames, found \[\]"),
    "half a run": (first_pixels([0, 0]), r"expected runs of frames, found \[0\]"),
    "empty run": (first_pixels([0, 0, 0]), r"expected runs of frames, found \[0, 0\]"),
    "unknown piece": (first_pixels("x"), "expected a piece of a file, found a text of 1 char"),
    "text for frames": (first_pixels([0, "0", 1]), "expected runs of frames"),
    "frame twice": (first_pixels([0, 0, 1], [0, 0, 1]), "frame 0 is in no file or in several"),
    "frame of another": (first_pixels([0, 1, 1]), "frame 0 is in no file or in several"),
    "frame of none": (first_pixels([0, 3, 1]), "frame 0 is in no file or in several"),
    "frames beyond": (
        lambda index: index["files"][2]["pieces"].append([0, 3, 10**15]),
        "expected files with 3 frames, found 1000000000000003",
    ),
    "coded, with a gap": (
        first_pixels([0, 0, 1], {"coded": [0, 5, 9]}),
        "bytes of frame 0 are missing or repeated",
    ),
    "coded backwards": (
        first_pixels([0, 0, 1], {"jpeg": [0, 0, 9]}, {"jpeg": [0, 9, 5]}),
        "bytes of frame 0 are missing or repeated",
    ),
    "no digest": (
        lambda index: index["files"][0].update(frames=[0, 1], pieces=[1]),
        "there are bytes that belong to no file",
    ),
    "version": (
        lambda index: index.update(version=3),
        "expected an index of version 1 or 2, found 3",
    ),
    "forms": (
        lambda index: index.update(forms=[["middle", False, False]]),
        "expected a form of samples",
    ),
    "files": (lambda index: index.update(files={}), "expected a list, found dict"),
    "copies": (lambda index: index.update(copies={}), "expected a list, found dict"),
    "copy of the same name": (copy_of_first(0, name="I1"), "two files have the same name"),
    "copy of a frame twice": (copy_of_first([0, 0, 1], [0, 0, 1]), "no file holds the same frames"),
    "copy of no frames": (copy_of_first(0), "no file holds the same frames"),
    "coded copy, with a gap": (
        copy_of_first([0, 0, 1], {"coded": [0, 5, 9]}),
        "bytes of frame 0 are missing or repeated",
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

    with DcbReader(tmp_path / "x.dcbs") as reader:
        data = bytearray(unpack_bytes(reader.sections["originals"]))
    (length,) = struct.unpack_from("<L", data)
    data[4 + length + 32] ^= 1  # in the SHA-256 of the second file
    image = DicomCubeImage.from_file(altered(tmp_path / "x.dcbs", packed(bytes(data))))
    assert image.why_not_exact() == "the pixels of the original file of slice 1 were changed"
    with pytest.raises(
        InvalidCubeFileError, match="of slice 1 can't be restored: its SHA-256 differs"
    ):
        image.to_dicom_folder(tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["I1"]


def test_coded_pieces_of_frames_that_are_none(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(1))
    originals = DicomCubeImage.from_dicom_folder(tmp_path / "in")._origin.provenance.originals
    for jpeg in (False, True):
        originals.coded = ()
        assert originals.coded_frame(Coded(0, 0, 1, jpeg)) is None
    originals.coded = (b"no JPEG XL",)
    assert originals.coded_frame(Coded(0, 0, 1, True)) is None


class Store:
    """A section `originals_bulk` in memory; stores ranges as they are, with a number each."""

    def __init__(self) -> None:
        self.data = b""
        self.ranges: list[tuple[int, int, int, int]] = []

    def write(self, chunk: Any) -> tuple[int, int, int, int]:
        self.ranges.append((len(self.data), len(chunk), len(chunk), len(self.ranges)))
        self.data += bytes(chunk)
        return self.ranges[-1]

    def read(self, offset: int, stored: int, size: int, checksum: int) -> bytes:
        assert (offset, stored, size, checksum) in self.ranges
        return self.data[offset : offset + stored]


class Chunks(Bulk):
    """Bulk of given chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def chunks(self) -> Iterator[bytes]:
        yield from self._chunks


VOLUME = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
RECIPE = Recipe("of tomorrow", b"recipe", '{"parameter": [1, {"x": null}]}')


def version_2() -> tuple[Originals, Store, bytes]:
    """Originals with everything that version 2 adds; the bytes of both sections."""
    samples = VOLUME.tobytes()
    files = (
        Original("a", b"", (b"head", Chunks(b"bulk"), Samples(IN_MEMORY, ((0, 1),)))),
        Original(
            "b", sha256(b"b"), (Recoded(RECIPE, 1, 0, 99), b"tail"), ((1, 1),), sha256(samples)
        ),
    )
    others = (
        Original("c", b"", (b"small",), why="raw data"),
        Original("d/e", b"", (Chunks(b"one", b"two"), b"literal", Chunks(b"three")), why="more"),
    )
    originals = Originals(files, VOLUME.shape, VOLUME.dtype, others=others)
    store = Store()
    return originals, store, originals_to_bytes(originals, VOLUME, store.write)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read_back(data: bytes, store: Store) -> Originals:
    bulk = BulkSource(len(store.data), store.read)
    return originals_from_bytes(data, VOLUME.shape, VOLUME.dtype, "jph", bulk)


def test_version_2_is_what_format_md_says(tmp_path: Path) -> None:
    _, store, data = version_2()
    assert store.data == b"bulkonetwothree"
    (length,) = struct.unpack_from("<L", data)
    assert json.loads(data[4 : 4 + length]) == {
        "version": 2,
        "forms": [["little", False, False]],
        "files": [
            {"name": "a", "pieces": [4, {"bulk": 0}, [0, 0, 1]]},
            {"name": "b", "pieces": [{"recoded": [0, 1, 0, 99]}, 4], "frames": [1, 1]},
        ],
        "recipes": [{"kind": "of tomorrow", "bytes": 6, "parameter": [1, {"x": None}]}],
        "bulk": 4,
        "others": [
            {"name": "c", "pieces": [5], "why": "raw data"},
            {"name": "d/e", "pieces": [{"bulk": 1}, {"bulk": 2}, 7, {"bulk": 3}], "why": "more"},
        ],
    }
    whole = {"a": b"headbulk" + VOLUME[0].tobytes(), "c": b"small", "d/e": b"onetwoliteralthree"}
    table = b"".join(struct.pack("<4Q", *place) for place in store.ranges)
    digests = [sha256(whole["a"]), sha256(b"b"), sha256(VOLUME.tobytes())]
    digests += [sha256(whole["c"]), sha256(whole["d/e"])]
    assert data[4 + length :] == b"".join([*digests, table, b"recipeheadtailsmallliteral"])

    originals = read_back(data, store)
    assert originals_to_bytes(originals, VOLUME, Store().write) == data
    # All but the file with the unknown recipe are restored, and the error says which it is.
    with pytest.raises(InvalidCubeFileError, match=r"slice 1 can't be restored: .*unknown kind"):
        write_originals(tmp_path, originals, VOLUME)
    assert contents(tmp_path) == whole
    with pytest.raises(InvalidCubeFileError, match="unknown kind"):
        originals.first_changed(VOLUME, 1)


def changed(place: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    """Set something in an index."""

    def change(index: Any) -> None:
        for key in place[:-1]:
            index = index[key]
        index[place[-1]] = value

    return change


HOSTILE_2: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no number": (changed(("bulk",), "4"), "expected a number of ranges"),
    "negative": (changed(("bulk",), -1), "expected a number of ranges"),
    "many": (changed(("bulk",), 1 << 58), "expected .* bytes at"),
    "fewer": (changed(("bulk",), 3), "range 3 of section originals_bulk is missing or used twice"),
    "twice": (changed(("others", 1, "pieces", 0), {"bulk": 0}), "range 0 .*used twice"),
    "unused": (changed(("others", 1, "pieces", 0), 0), "range 1 .*is in no file"),
    "a list": (changed(("others", 1, "pieces", 0), {"bulk": [1]}), "expected a piece"),
    "true": (changed(("others", 1, "pieces", 0), {"bulk": True}), "expected a piece"),
    "others": (changed(("others",), {}), "expected a list"),
    "unsafe": (changed(("others", 0, "name"), "../c"), UNSAFE),
    "duplicate": (changed(("others", 0, "name"), "a"), "two files have the same name"),
    "frames": (changed(("others", 0, "pieces"), [5, [0, 0, 1]]), " holds frames"),
    "recoded": (changed(("others", 0, "pieces"), [5, {"recoded": [0, 0, 0, 1]}]), " holds frames"),
    "coded": (changed(("others", 0, "pieces"), [5, {"coded": [0, 0, 1]}]), " holds frames"),
    "no kind": (changed(("recipes", 0), {}), "a recipe has no kind"),
    "no recipe": (changed(("recipes",), []), "expected a piece"),
    "recipe beyond": (changed(("recipes", 0, "bytes"), 1 << 40), "expected 1099511627776 bytes"),
    "text for bytes": (
        changed(("recipes", 0, "bytes"), "6"),
        "expected the number of a recipe's bytes",
    ),
    "backwards": (
        changed(("files", 1, "pieces", 0), {"recoded": [0, 1, 9, 0]}),
        "frame 1 are miss",
    ),
    "no beginning": (changed(("files", 1, "pieces", 0), {"recoded": [0, 1, 1, 9]}), "frame 1 are"),
    "empty": (changed(("files", 1, "pieces", 0), {"recoded": [0, 1, 0, 0]}), "frame 1 are missing"),
    "of another": (
        changed(("files", 1, "pieces", 0), {"recoded": [0, 0, 0, 9]}),
        "slice 1 has bytes of frames that it does not hold",
    ),
    "version 1": (changed(("version",), 1), "is missing or used twice"),
    "version": (changed(("version",), True), "expected an index of version 1 or 2, found True"),
}


@pytest.mark.parametrize("name", HOSTILE_2)
def test_hostile_version_2(name: str) -> None:
    _, store, data = version_2()
    change, told = HOSTILE_2[name]
    (length,) = struct.unpack_from("<L", data)
    index = json.loads(data[4 : 4 + length])
    change(index)
    text = json.dumps(index).encode()
    with pytest.raises(InvalidCubeFileError, match=f"^section originals: .*{told}"):
        read_back(struct.pack("<L", len(text)) + text + data[4 + length :], store)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0, 4, 1 << 27, 0), "a range stores 134217728 bytes as 4"),
        ((0, 4, 4 * 4096 + 1, 0), "a range stores 16385 bytes as 4"),
        ((0, 5, 4, 0), "a range stores 4 bytes as 5"),
        ((0, 0, 4, 0), "a range stores 4 bytes as 0"),
        ((12, 4, 4, 0), "4 bytes at 12 are beyond the 15 bytes"),
        (((1 << 64) - 1, 4, 4, 0), "are beyond the 15 bytes"),
        ((5, 4, 4, 0), "overlap at 5"),
    ],
)
def test_hostile_ranges(numbers: tuple[int, ...], told: str) -> None:
    _, store, data = version_2()
    table = b"".join(struct.pack("<4Q", *place) for place in store.ranges)
    at = data.index(table)
    bad = data[:at] + struct.pack("<4Q", *numbers) + data[at + 32 :]
    with pytest.raises(InvalidCubeFileError, match=told):
        read_back(bad, store)
    with pytest.raises(InvalidCubeFileError, match="beyond the 0 bytes"):
        originals_from_bytes(data, VOLUME.shape, VOLUME.dtype, "jph")


def coded_file(name: str, *pieces: Coded) -> Original:
    return Original(name, b"", pieces, ((0, 1), (1, 1)))


def test_empty_ranges_of_coded_frames_are_refused() -> None:
    whole = coded_file("a", Coded(0, 0, 9, True), Coded(1, 0, 9, True))
    empty = coded_file("a", Coded(0, 0, 9, True), Coded(0, 9, 9, True), Coded(1, 0, 9, True))
    assert fault_of(Originals((whole,), VOLUME.shape, VOLUME.dtype, "jxl")) == ""
    assert "frame 0" in fault_of(Originals((empty,), VOLUME.shape, VOLUME.dtype, "jxl"))


def test_each_frame_of_a_file_is_coded_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    coded: list[bytes] = []

    def code(_kind: str, frame: Any, data: bytes, most: int) -> bytes:
        coded.append(data)
        assert most == 6
        return data * 3

    monkeypatch.setattr(model, "code_by_recipe", code)
    one, two = Recipe("rle", b"ab"), Recipe("rle", b"cd")

    def file(*pieces: Recoded) -> Original:
        return Original("a", b"", pieces, ((0, 1), (1, 1)))

    def fault(*pieces: Recoded) -> str:
        return fault_of(Originals((file(*pieces),), VOLUME.shape, VOLUME.dtype))

    pieces = [Recoded(one, 0, at, at + 1) for at in range(6)]
    pieces += [Recoded(two, 1, at, at + 2) for at in (0, 2, 4)]
    whole = file(*pieces)
    originals = Originals((whole,), VOLUME.shape, VOLUME.dtype)
    assert b"".join(originals.parts(whole, VOLUME) or ()) == b"ababab" + b"cdcdcd"
    assert coded == [b"ab", b"cd"]

    assert fault(*pieces) == ""
    apart = "frame 0 are missing, repeated or apart"
    assert apart in fault(pieces[0], *pieces[6:], *pieces[1:6])
    assert apart in fault(pieces[0], pieces[1]._replace(recipe=two))
    assert apart in fault(pieces[0], pieces[2])
    assert apart in fault(pieces[0], pieces[0])


def test_each_jpeg_of_a_file_is_restored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[bytes] = []

    def restore(coded: bytes) -> bytes:
        restored.append(coded)
        return coded * 3

    monkeypatch.setattr(model, "restore_jpeg", restore)
    # Alternating between frames, which a memory of the last one alone would not help.
    pieces = [Coded(frame, at, at + 1, True) for at in range(6) for frame in (0, 1)]
    file = coded_file("a", *pieces)
    originals = Originals((file,), VOLUME.shape, VOLUME.dtype, "jxl", (b"ab", b"cd"))
    assert b"".join(originals.parts(file, VOLUME) or ()) == b"acbdacbdacbd"
    assert restored == [b"ab", b"cd"]


def test_copies_are_limited() -> None:
    shape = (2, 2048, 2048)  # 16 MiB
    files = (Original("a", b"", (Samples(IN_MEMORY, ((0, 2),)),)),)

    def fault(count: int, shape: tuple[int, ...]) -> str:
        copies = tuple(
            Original(f"c{i}", b"", (Samples(IN_MEMORY, ((0, 2),)),)) for i in range(count)
        )
        return fault_of(Originals(files, shape, np.dtype(np.uint16), copies=copies))

    assert fault(16, shape) == ""
    assert fault(17, shape).startswith("17 copies hold 285212672 bytes of samples, more than")
    assert fault(1000, (2, 64, 64)) == ""  # small ones add up to little


def test_pieces_are_limited() -> None:
    """Before they are made; a file that the writer makes has a few."""

    def of_pieces(count: int) -> tuple[Originals, bytes]:
        pieces = (b"a",) * count
        others = (Original("a", b"", pieces),)
        originals = Originals((), (0, 0, 0), VOLUME.dtype, others=others)
        return originals, originals_to_bytes(originals, VOLUME[:0])

    allowed, data = of_pieces(1 << 18)
    assert fault_of(allowed) == ""
    assert len(originals_from_bytes(data, (0, 0, 0), VOLUME.dtype, "").others[0].pieces) == 1 << 18
    refused, data = of_pieces((1 << 18) + 1)
    told = "expected at most 262144 pieces of files, found 262145"
    assert fault_of(refused) == told
    read = lines_run(lambda: refuses(data, told))
    assert read < 10_000


def refuses(data: bytes, told: str) -> None:
    with pytest.raises(InvalidCubeFileError, match=told):
        originals_from_bytes(data, (0, 0, 0), VOLUME.dtype, "")


def test_coded_frames_of_other_files_are_refused() -> None:
    files = coded_file("a", Coded(0, 0, 9, False), Coded(1, 0, 9, False))
    alien = coded_file("b", Coded(2, 0, 9, False))
    for copy, told in (
        (coded_file("b", *files.pieces), ""),
        (alien, "the original file of slice 0 has bytes of frames that it does not"),
    ):
        originals = Originals((files,), (2, 3, 4), VOLUME.dtype, copies=(copy,))
        assert fault_of(originals).startswith(told)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a/b", "a", "c"), "the same name"),
        (("a/b/c", "a/b", "c"), "the same name"),
        (("a", "a b", "a-b", "a/b"), "the same name"),
        (("x", "y", "x"), "the same name"),
        (("a/b", "a-b", "a/c", "ab", "b/a"), ""),
        (("/".join("a" * 256), "b"), ""),
        (("/".join("a" * 257), "b"), "a name has 513 characters in 257 parts"),
        (("a" * 4097, "b"), "a name has 4097 characters"),
    ],
)
def test_names(names: tuple[str, ...], told: str) -> None:
    others = tuple(Original(name, b"", (b"",)) for name in names)
    fault = fault_of(Originals((), (0, 0, 0), VOLUME.dtype, others=others))
    assert told in fault if told else not fault


def test_index_that_shrinks_a_lot_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON takes more memory than its packed bytes allow, so padding makes up for it."""
    monkeypatch.setattr(strict_json, "_ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(strict_json, "_MOST_GROWTH", 4)
    others = tuple(Original(f"a{i}", bytes(32), (b"",)) for i in range(1000))
    originals = Originals((), (0, 0, 0), VOLUME.dtype, others=others)
    packed = pack_originals(originals, VOLUME[:0], None)
    data = unpack_bytes(packed)
    found = originals_from_bytes(data, (0, 0, 0), VOLUME.dtype, "", None, len(packed))
    assert [file.name for file in found.others] == [file.name for file in others]
    with pytest.raises(InvalidCubeFileError, match="parsing its JSON takes"):
        originals_from_bytes(data, (0, 0, 0), VOLUME.dtype, "", None, len(packed) // 2)


def test_bytes_that_equal_recipes_repeat_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("rle", bytes(200), "{}")
    files = tuple(
        Original(name, b"", (Recoded(recipe, frame, 0, 9),), ((frame, 1),))
        for frame, name in enumerate("ab")
    )
    originals = Originals(files, (2, 3, 4), VOLUME.dtype)
    assert fault_of(originals) == ""
    monkeypatch.setattr(section, "_REPEATED_ALWAYS_ALLOWED", 199)
    assert fault_of(originals) == "equal recipes repeat 200 bytes, more than 199"


def test_reasons_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Original("a", b"", (Samples(IN_MEMORY, ((0, 2),)),))
    other = Original("b", b"", (b"bytes",), why="x" * 5000)
    originals = Originals((samples,), VOLUME.shape, VOLUME.dtype, others=(other,))
    store = Store()
    data = originals_to_bytes(originals, VOLUME, store.write)
    assert read_back(data, store).others[0].why == "x" * 1024
    monkeypatch.setattr(section, "_LONGEST_REASON", 5000)
    data = originals_to_bytes(originals, VOLUME, store.write)
    monkeypatch.undo()
    with pytest.raises(InvalidCubeFileError, match="a reason of at most 1024 characters"):
        read_back(data, store)
