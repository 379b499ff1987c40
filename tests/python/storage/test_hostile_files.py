"""Files with flipped bits, extreme numbers and exchanged codestreams.

Damage is detected and located: the error names the section, frame or header. Hostile files with
correct checksums also raise an exception, and take little memory. With DICUBE_TEST_FULL=1 in the
environment, all eight bits of each byte are flipped instead of one, and all hostile numbers and
headers are tried instead of some.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from inputs.sealing import DIRECTORY, ENTRY, entries, sealed, table, with_frames, with_section
from programs.running import path_with, run_python

import dicube
from dicube import DicomCubeImage
from dicube.codecs.jph import imdecode_jph, imencode_jph
from dicube.codecs.jxl import imdecode_jxl, imencode_jxl
from dicube.exceptions import CodecError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader

FULL = bool(os.environ.get("DICUBE_TEST_FULL"))
EXTREMES = (0, 1, 2, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
PLACE = re.compile(
    r"(section \w|frame[ _]\w|header|extension directory|file: expected|not a dicube file|frames "
    r"|^(dicom_status|dicom_meta|space|pixel_header)[ :])"
)
MEMORY = 64 << 20

Everything = tuple[Any, ...]


def everything(file: bytes | Path, **options: Any) -> Everything:
    """All that a file gives."""
    with DcbReader(file, max_memory=MEMORY, num_threads=1, **options) as reader:
        sections = {name: reader.sections[name] for name in reader.sections}
        pixels, masks = reader.read_frames(), b""
        if reader.extension == ".dcbr":
            with reader.begin_decoding() as decoding:
                roi = decoding.finish()[1]
            assert roi is not None
            masks = roi.tobytes()
        facts = reader.shape, reader.dtype, reader.codec, reader.extension, reader.file_size
        return *facts, sections, pixels.tobytes(), masks


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind: several frames, metadata, geometry, originals where there can be."""
    folder = tmp_path_factory.mktemp("files")
    image = DicomCubeImage.from_dicom_folder(write_series(folder / "dicom", make_series(3)))
    image.to_file(folder / "x.dcbs")
    image.to_file(folder / "x.dcba")
    image.to_file(folder / "x.dcbl", max_error=2)
    image.to_file(folder / "x.dcbr", roi=image.raw_image > 30000, foreground=1, background=9000)
    return {path.suffix: path.read_bytes() for path in folder.glob("x.*")}


@pytest.fixture(params=[".dcbs", ".dcba", ".dcbl", ".dcbr"])
def file(request: pytest.FixtureRequest, files: dict[str, bytes]) -> bytes:
    return files[request.param]


# ------------------------------------------------------------------------------------ integrity


def test_each_flipped_bit_is_noticed_and_where(file: bytes) -> None:
    """Each byte of a file is under a checksum: header, directory, tables, sections, frames."""
    assert {"originals", "loss"} & set(entries(file))
    for offset in range(len(file)):
        for bit in range(8) if FULL else ((offset * 5) % 8,):
            bad = bytearray(file)
            bad[offset] ^= 1 << bit
            with pytest.raises(InvalidCubeFileError) as caught:
                everything(bytes(bad))
            assert PLACE.search(caught.value.message), (offset, bit, caught.value.message)


def test_no_byte_is_without_a_checksum(file: bytes) -> None:
    """What checksums are over, by FORMAT.md, are the bytes of a file, each once."""
    found = entries(file)
    spans = [(0, DIRECTORY + ENTRY * struct.unpack_from("<L", file, 128)[0])]
    spans += [(offset, offset + length) for offset, length, *_ in found.values()]
    frames = zip(table(file, "frame_offsets"), table(file, "frame_lengths"), strict=True)
    spans += [(offset, offset + length) for offset, length in frames]
    spans = sorted(span for span in spans if span[1] > span[0])
    assert [span[0] for span in spans] == [0, *(span[1] for span in spans[:-1])]
    assert spans[-1][1] == len(file)


def test_parts_that_changed_places_are_noticed(file: bytes) -> None:
    """Frames, and entries of tables, each of them good where it was."""
    offsets, lengths = table(file, "frame_offsets"), table(file, "frame_lengths")
    first, second = (file[o : o + n] for o, n in list(zip(offsets, lengths, strict=True))[:2])
    bad = bytearray(file)
    bad[offsets[0] : offsets[0] + len(first) + len(second)] = second + first
    at = entries(file)["frame_lengths"][0]
    swaps = [bytes(bad)]
    for name in ("frame_offsets", "frame_lengths", "frame_checksums"):
        at = entries(file)[name][0]
        numbers = file[at : at + 8], file[at + 8 : at + 16]
        if numbers[0] != numbers[1]:
            swaps.append(file[:at] + numbers[1] + numbers[0] + file[at + 16 :])
    for swapped in swaps:
        with pytest.raises(InvalidCubeFileError, match="checksum"):
            everything(swapped)


def test_without_checksums_only_who_asks_for_it(file: bytes) -> None:
    offset = entries(file)["pixel_header"][0]
    bad = bytearray(file)
    at = file.index(b"uint16", offset)
    bad[at : at + 6] = b"uint23"
    with pytest.raises(InvalidCubeFileError, match="section pixel_header: expected checksum"):
        DicomCubeImage.from_file(bytes(bad))
    image = DicomCubeImage.from_file(bytes(bad), verify=False)
    assert image.pixel_header.OriginalPixelDtype == "uint23"


# ------------------------------------------------------------------------------------ truncation


def edges(file: bytes) -> Iterator[int]:
    """Each byte of header, directory and tables; around the edges of sections and frames."""
    found = entries(file)
    tables = [found[f"frame_{name}"] for name in ("offsets", "lengths", "checksums")]
    yield from range(max(offset + length for offset, length, *_ in tables) + 1)
    frames = zip(table(file, "frame_offsets"), table(file, "frame_lengths"), strict=True)
    for offset, length in [*((e[0], e[1]) for e in found.values()), *frames]:
        for edge in (offset, offset + length // 2, offset + length):
            yield from range(max(edge - 2, 0), min(edge + 3, len(file)))


def test_truncation_is_noticed(file: bytes, tmp_path: Path) -> None:
    for length in sorted(set(edges(file))):
        for bad in (file[:length], file[:length] + bytes(len(file) - length)):
            if bad != file:
                with pytest.raises(InvalidCubeFileError) as caught:
                    everything(bad)
                assert PLACE.search(caught.value.message), (length, caught.value.message)
    for length in (0, 60, 130, 300, len(file) - 1):
        (tmp_path / "x").write_bytes(file[:length])
        with pytest.raises(InvalidCubeFileError):
            everything(tmp_path / "x")


# --------------------------------------------------------------------------- numbers at extremes


def numbers_in(file: bytes) -> Iterator[tuple[str, int]]:
    """Name and place of each 64-bit number in header, directory, tables and `Image`."""
    for place in range(12, 116, 8):
        yield "header", place
    yield "directory", 132
    found = entries(file)
    for name, (offset, length, _, at) in found.items():
        yield f"{name} offset", at + 16
        yield f"{name} length", at + 24
        if name.startswith("frame_"):
            for place in range(offset, offset + length, 8):
                yield name, place
    image = found["Image"][0]
    yield "rows", image
    yield "columns", image + 8


def hostile_numbers(file: bytes) -> Iterator[bytes]:
    """Files with one number at an extreme, or another's, as it is and sealed."""
    places = list(numbers_in(file))
    for index, (_, place) in enumerate(places):
        others = [file[other : other + 8] for _, other in places[index + 1 : index + 4]]
        values = [struct.pack("<Q", value) for value in EXTREMES]
        values += [struct.pack("<Q", value) for value in (len(file), len(file) - 1, 115, 117)]
        for value in {*values, *others}:
            bad = file[:place] + value + file[place + 8 :]
            if bad != file:
                yield bad
                yield sealed(bad)
    image = entries(file)["Image"][0]
    for place in (8, 124, 128, *range(image + 16, image + 32, 4)):
        for number in (0, 1, 2, 4, 12, 4097, 1 << 31, (1 << 32) - 1):
            bad = file[:place] + struct.pack("<L", number) + file[place + 4 :]
            if bad != file:
                yield bad
                yield sealed(bad)
    # Rows and columns whose product overflows, or is just too much.
    for rows, columns in ((1 << 32, 1 << 32), (1 << 31, 1 << 33), (1 << 20, 1 << 20), (30000,) * 2):
        yield sealed(file[:image] + struct.pack("<2Q", rows, columns) + file[image + 16 :])


def tried(bad: bytes) -> None:
    """Open and read; fail unless that works or ends in our exception."""
    for options in ({}, {"verify": False}):
        with contextlib.suppress(DicomCubeError):
            everything(bad, **options)


def test_numbers_at_extremes_are_no_surprise(file: bytes) -> None:
    for count, bad in enumerate(hostile_numbers(file)):
        if FULL or count % 3 == 0:
            tried(bad)


def test_hostile_numbers_take_little_memory(files: dict[str, bytes], tmp_path: Path) -> None:
    """In a process that can have 256 MB more than it has, with `max_memory` of 64 MB."""
    cases = [bad for kind in (".dcbs", ".dcba") for bad in hostile_numbers(files[kind])]
    cases += list(bombs(files))
    (tmp_path / "cases").write_bytes(
        b"".join(struct.pack("<Q", len(case)) + case for case in (cases if FULL else cases[::29]))
    )
    script = """
import resource, struct, sys, pathlib
from test_hostile_files import everything, tried
held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20),) * 2)
data, at = pathlib.Path(sys.argv[1]).read_bytes(), 0
while at < len(data):
    size, = struct.unpack_from("<Q", data, at)
    tried(data[at + 8 : at + 8 + size])
    at += 8 + size
print("survived")
"""
    done = run_python("-c", script, tmp_path / "cases", PYTHONPATH=path_with(__file__))
    assert done.stdout == "survived\n", done.stderr
    assert not done.stderr


def bombs(files: dict[str, bytes]) -> Iterator[bytes]:
    """Small files of images that are large."""
    for kind, encode in ((".dcbs", imencode_jph), (".dcba", imencode_jxl)):
        coded = encode(np.zeros((3000, 4000), np.uint16))
        file = with_frames(files[kind], [coded] * 3)
        image = entries(file)["Image"][0]
        yield sealed(file[:image] + struct.pack("<2Q", 3000, 4000) + file[image + 16 :])


def test_arrays_are_within_max_memory(files: dict[str, bytes], tmp_path: Path) -> None:
    for bad in bombs(files):
        with pytest.raises(InvalidCubeFileError, match="max_memory is 67108864"):
            everything(bad)
    image = entries(files[".dcbs"])["Image"][0]
    sizes = struct.pack("<2Q", 1 << 20, 1 << 20)
    bad = sealed(files[".dcbs"][:image] + sizes + files[".dcbs"][image + 16 :])
    reader = DcbReader(bad)
    with pytest.raises(MemoryError, match="3 x 1048576 x 1048576 uint16 takes 6597069766656"):
        reader.read_frames()
    path = tmp_path / "x.dcbs"
    DicomCubeImage(np.zeros((4, 1000, 1000), np.uint16)).to_file(path)
    assert DicomCubeImage.from_file(path, max_memory=8_000_000).shape == (4, 1000, 1000)
    for read in (
        lambda: DicomCubeImage.from_file(path, max_memory=7_999_999),
        lambda: dicube.load(path, max_memory=7_999_999),
        lambda: dicube.open(path, max_memory=7_999_999)[...],
        lambda: dicube.open(path, max_memory=7_999_999).get_fdata(),
    ):
        with pytest.raises(MemoryError, match="max_memory is 7999999"):
            read()


# ----------------------------------------------------------------------------------- codestreams


@pytest.mark.parametrize("kind", [".dcbs", ".dcba"])
def test_a_codestream_of_another_image(kind: str, files: dict[str, bytes]) -> None:
    """Of another size, depth, number of components, signedness or codec than `Image` says."""
    own, other = (imencode_jph, imencode_jxl) if kind == ".dcbs" else (imencode_jxl, imencode_jph)
    strangers = [
        own(np.zeros((6, 4), np.uint16)),
        own(np.zeros((5, 5), np.uint16)),
        own(np.zeros((5, 6), np.uint16)),
        own(np.zeros((6, 5), np.uint8)),
        own(np.zeros((6, 5), np.int16)),
        own(np.zeros((6, 5), np.uint32) + (1 << 20)),
        own(np.zeros((6, 5), np.float32) + 0.1),
        own(np.zeros((6, 5, 3), np.uint16)),
        other(np.zeros((6, 5), np.uint16)),
        b"",
        b"\0",
        b"\xff\x4f",
        bytes(1000),
    ]
    for stranger in strangers:
        bad = with_frames(files[kind], [None, stranger])
        with pytest.raises((CodecError, InvalidCubeFileError), match="frame 1: "):
            everything(bad)


def segment(coded: bytes, marker: int) -> int:
    """Where a marker segment of a codestream's main header begins."""
    at = 2
    while coded[at : at + 2] != struct.pack(">H", marker):
        at += 2 + struct.unpack_from(">H", coded, at + 2)[0]
    return at


def hostile_headers(coded: bytes) -> Iterator[bytes]:
    """A codestream of HTJ2K with each field of SIZ and COD at its extremes, and each byte."""
    siz, cod = segment(coded, 0xFF51), segment(coded, 0xFF52)
    for place in (*range(siz + 6, siz + 38, 4),):
        for number in (0, 1, 2, 63, 64, 65535, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
            yield coded[:place] + struct.pack(">L", number) + coded[place + 4 :]
    for place in (siz + 2, siz + 4, siz + 38, cod + 2, cod + 6):
        for number in (0, 1, 2, 4, 16384, 32767, 32768, 65535):
            yield coded[:place] + struct.pack(">H", number) + coded[place + 2 :]
    for place in range(siz, cod + 14):
        for value in (0, 1, 2, 31, 32, 64, 127, 128, 255, coded[place] ^ 1, coded[place] ^ 128):
            yield coded[:place] + bytes([value]) + coded[place + 1 :]
    # Width and height, and the tiles that go with them, so that only memory can be the objection.
    for width, height in (((1 << 31) - 1, 1), (1, (1 << 31) - 1), (1 << 20, 1 << 20), (65535,) * 2):
        sizes = struct.pack(">8L", width, height, 0, 0, width, height, 0, 0)
        yield coded[: siz + 6] + sizes + coded[siz + 38 :]
        tiles = struct.pack(">8L", width, height, 0, 0, 64, 64, 0, 0)
        yield coded[: siz + 6] + tiles + coded[siz + 38 :]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
@pytest.mark.parametrize("samples", [(), (3,)])
def test_hostile_siz_and_cod(dtype: str, samples: tuple[int, ...], files: dict[str, bytes]) -> None:
    good = np.arange(70 * 80 * (3 if samples else 1)).reshape(70, 80, *samples).astype(dtype)
    coded = imencode_jph(good)
    for number, bad in enumerate(hostile_headers(coded)):
        if not FULL and number % 3:
            continue
        with contextlib.suppress(DicomCubeError):
            imdecode_jph(bad)
        if number % 30 == 0:
            with contextlib.suppress(DicomCubeError):
                everything(with_frames(files[".dcbs"], [bad]))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_hostile_jpeg_xl_headers(dtype: str) -> None:
    coded = imencode_jxl(np.arange(900).reshape(30, 30).astype(dtype))
    for place in range(min(len(coded), 120)):
        for value in (0, 255, *(coded[place] ^ (1 << bit) for bit in range(8))):
            with contextlib.suppress(DicomCubeError):
                imdecode_jxl(coded[:place] + bytes([value]) + coded[place + 1 :])


@pytest.mark.parametrize("extension", [".dcbs", ".dcba", ".dcbl", ".dcbr"])
def test_frames_smaller_than_claimed_are_refused_before_decoding(
    extension: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    place, size, *_ = entries(files[extension])["Image"]
    claim = struct.pack("<2Q", 6000, 6000) + files[extension][place + 16 : place + size]
    path = tmp_path / f"x{extension}"
    path.write_bytes(with_section(files[extension], "Image", claim))
    for use in (DicomCubeImage.from_file, lambda path: np.asarray(dicube.open(path)), dicube.load):
        # Decoding would fill the whole array with zeros when it fails.
        with pytest.raises(
            CodecError, match=r"^frame 0: .*expected 6000 x 6000 x .*, found 6 x 5 x "
        ):
            use(path)
    assert not dicube.verify_file(path)


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_large_files_of_few_bytes_are_read(extension: str, dtype: str, tmp_path: Path) -> None:
    """Such as sparse labels: their array is far larger than the file."""
    volume = np.zeros((9, 1024, 1024), dtype)
    volume[4, 500, 600:] = 7
    path = tmp_path / f"x{extension}"
    DicomCubeImage(volume).to_file(path)
    assert volume.nbytes > max(64 << 20, 256 * path.stat().st_size)
    assert np.array_equal(dicube.open(path)[...], volume)
    place, size, *_ = entries(path.read_bytes())["Image"]
    claim = struct.pack("<2Q", 6000, 6000) + path.read_bytes()[place + 16 : place + size]
    path.write_bytes(with_section(path.read_bytes(), "Image", claim))
    with pytest.raises(CodecError, match="expected 6000 x 6000"):
        dicube.open(path)[...]


def test_what_is_made_by_with_section_is_read(files: dict[str, bytes]) -> None:
    """The sealing is right: otherwise nothing here would get behind the checksums."""
    for file in files.values():
        assert sealed(file) == file
        assert everything(with_section(file, "space", b"{}"))[5]["space"] == b"{}"
        again = with_frames(
            file,
            [
                file[o : o + n]
                for o, n in zip(
                    table(file, "frame_offsets"), table(file, "frame_lengths"), strict=True
                )
            ],
        )
        assert everything(again)[6] == everything(file)[6]
