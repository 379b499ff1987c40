"""Recipes give the bytes that other programs coded, and none but those."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import make_slice, set_pixels, write_series
from inputs.peers import coded_by_gdcm
from inputs.rle_frames import Row, byte_by_byte, dcmtks, gdcms, pydicoms, rle_frame
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from dicube.codecs.recipes import JPEG_LS, RLE, code_by_recipe, find_recipe
from dicube.exceptions import CodecError

RULES: dict[Row, int] = {pydicoms: 1, dcmtks: 2, gdcms: 3, byte_by_byte: 0}


def with_runs(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> NDArray[Any]:
    """Samples in runs of all lengths, those around 128 and 256 among them."""
    random = np.random.default_rng(seed)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    lengths = random.choice(
        [*[1] * 40, *[2] * 20, 3, 3, 4, 9, *range(126, 132), 256, 257, 300], size
    )
    values = random.integers(0, 256, size, np.uint8)
    noise = random.random(size) < 0.5
    values[noise] = np.arange(np.count_nonzero(noise)).astype(np.uint8)  # long literal runs
    planes = np.repeat(values, lengths)[:size].reshape(np.dtype(dtype).itemsize, -1)
    return planes.T.copy().view(dtype).reshape(shape)


def code_by_damaged_recipes(
    kind: str, frame: NDArray[Any], data: bytes, times: int, changes: int
) -> None:
    """Code a frame by recipes in which some bytes are changed; they may only be refused."""
    random = np.random.default_rng(0)
    for _ in range(times):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), changes):
            damaged[at] = random.integers(0, 256)
        with contextlib.suppress(CodecError):
            code_by_recipe(kind, frame, bytes(damaged))


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("row", RULES)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((40, 300), "uint8"),
        ((1, 1), "uint8"),
        ((9, 700), "int16"),
        ((7, 257), "uint32"),
        ((11, 150, 3), "uint8"),
        ((5, 131, 3), "uint16"),
    ],
)
def test_rle_frames_are_coded_again(
    shape: tuple[int, ...], dtype: str, row: Row, even: bool
) -> None:
    frame = with_runs(shape, dtype)
    coded = rle_frame(frame, row, even=even)
    found = find_recipe(RLE, frame, coded + b"\0")
    assert found is not None
    assert code_by_recipe(RLE, frame, found.data) == (coded + b"\0")[: found.coded_size]
    if RULES[row]:
        # On few samples an earlier rule may give the same bytes.
        assert found.data[0] in ((RULES[row],) if frame.size > 1 else (1, 2, 3))
        assert len(found.data) == 2
        # A zero behind the frame may be the one that fills up its last segment.
        assert found.coded_size - len(coded) in (0, len(coded) % 2)
    swapped = frame.astype(frame.dtype.newbyteorder(">"))
    assert find_recipe(RLE, swapped, coded + b"\0") == found
    other = frame.copy()
    other[0, 0] ^= 1
    assert find_recipe(RLE, other, coded) is None


def test_rle_segments_may_have_bytes_behind_their_runs() -> None:
    frame = with_runs((9, 50), "uint16")
    coded = rle_frame(frame, dcmtks, behind=b"more")
    found = find_recipe(RLE, frame, coded)
    assert found is not None
    assert found.data[0] == 0
    assert code_by_recipe(RLE, frame, found.data) == coded
    assert found.coded_size == len(coded)


@pytest.mark.parametrize("change", ["segments", "first offset", "order", "cut off", "empty"])
def test_malformed_rle_has_no_recipe(change: str) -> None:
    frame = with_runs((9, 50), "uint16")
    coded = rle_frame(frame, byte_by_byte)
    header = list(struct.unpack_from("<16L", coded))
    if change == "segments":
        header[0] = 3
    elif change == "first offset":
        header[1] = 66
    elif change == "order":
        header[1:3] = header[2:0:-1]
    changed = struct.pack("<16L", *header) + coded[64:]
    changed = {"cut off": coded[:-100], "empty": b""}.get(change, changed)
    assert find_recipe(RLE, frame, changed) is None


def test_hostile_rle_recipes() -> None:
    frame = with_runs((9, 50), "uint16")
    found = find_recipe(RLE, frame, rle_frame(frame, byte_by_byte))
    assert found is not None
    for data in (b"", b"\1", b"\4\0", b"\xff\1", b"\1\0\0", found.data[:-1], found.data + b"\0"):
        with pytest.raises(CodecError):
            code_by_recipe(RLE, frame, data)
    with pytest.raises(CodecError, match="fewer bytes"):
        code_by_recipe(RLE, frame, bytes(65) + 2 * struct.pack("<L", 0) * 2)
    runs = struct.pack("<L", 100) + bytes([127]) * 100 + bytes(4)
    with pytest.raises(CodecError, match="more bytes"):
        code_by_recipe(RLE, frame, bytes(65) + runs * 2)
    with pytest.raises(CodecError):
        code_by_recipe(RLE, np.zeros((2, 2, 3), np.float64), b"\1\1")
    for other in (frame[1:], frame[:, 1:], frame.astype("uint32")):
        with pytest.raises(CodecError):
            code_by_recipe(RLE, other, found.data)
    code_by_damaged_recipes(RLE, frame, found.data, times=500, changes=3)


# ---------------------------------------------------------------------- what other programs write


def frames_of(path: Path) -> tuple[NDArray[Any], bytes]:
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID.is_encapsulated
    (coded,) = generate_frames(dataset.PixelData, number_of_frames=1)
    return dataset.pixel_array, coded


def written_by(program: str, source: Path, target: Path) -> None:
    if program == "dcmcrle":
        if shutil.which(program) is None:
            pytest.skip("DCMTK is not installed")
        subprocess.run([program, source, target], check=True)
    elif program == "gdcm":
        coded_by_gdcm(source, target, "RLELossless")
    else:
        if program == "pylibjpeg":
            pytest.importorskip("rle")
        dataset = pydicom.dcmread(source)
        dataset.compress(RLELossless, encoding_plugin=program, generate_instance_uid=False)
        dataset.save_as(target)


@pytest.mark.parametrize(
    ("program", "rule"), [("pydicom", 1), ("pylibjpeg", 1), ("dcmcrle", 2), ("gdcm", 3)]
)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((64, 700), "uint8"), ((33, 401), "uint16"), ((20, 130, 3), "uint8"), ((1, 5), "uint16")],
)
def test_rules_of_programs(
    program: str, rule: int, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    if program == "gdcm" and len(shape) == 3:
        pytest.skip("GDCM aborts the process when it writes a CT in colour")
    frame = with_runs(shape, dtype, seed=7)
    dataset = make_slice(0, shape, dtype)
    set_pixels(dataset, frame)
    source = write_series(tmp_path / "in", [dataset]) / "I1"
    written_by(program, source, tmp_path / "coded")
    pixels, coded = frames_of(tmp_path / "coded")
    assert np.array_equal(pixels, frame)
    found = find_recipe(RLE, frame, coded)
    assert found is not None
    assert found.data[0] == rule or (frame.size < 10 and found.data[0] > 0)
    assert code_by_recipe(RLE, frame, found.data) == coded[: found.coded_size]
    assert coded[found.coded_size :] in (b"", b"\0")


# ------------------------------------------------------------------------------------- JPEG-LS


def jpeg_ls(frame: NDArray[Any], **options: Any) -> bytes:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    return bytes(jpeg_ls.encode_array(frame, **options))


def smooth(shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    random = np.random.default_rng(bits)
    noise = random.integers(0, 3, shape) * random.integers(0, 2, shape)
    ramp = np.linspace(0, 2**bits - 3, int(np.prod(shape))).reshape(shape)
    return (ramp + noise).clip(0, 2**bits - 1).astype("uint8" if bits <= 8 else "uint16")


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 15, 16])
def test_jpeg_ls_frames_are_coded_again(bits: int, mode: int) -> None:
    frame = smooth((17, 33) if mode == 0 else (17, 33, 3), bits)
    coded = jpeg_ls(frame, interleave_mode=mode)
    found = find_recipe(JPEG_LS, frame, coded)
    assert found is not None and found.coded_size == len(coded)
    assert len(found.data) < 90
    assert code_by_recipe(JPEG_LS, frame, found.data) == coded
    # Bits of a sign are above those of the codestream.
    signed = frame.view(f"i{frame.dtype.itemsize}")
    assert find_recipe(JPEG_LS, signed, coded) == found


def markers(coded: bytes) -> Iterator[tuple[int, int]]:
    """Offset and code of each segment up to the scan."""
    at = 2
    while True:
        yield at, coded[at + 1]
        if coded[at + 1] == 0xDA:
            return
        at += 2 + int.from_bytes(coded[at + 2 : at + 4], "big")


def scan_of(coded: bytes) -> bytes:
    """The entropy-coded data of a codestream with one scan."""
    *_, (at, _) = markers(coded)
    return coded[at + 2 + int.from_bytes(coded[at + 2 : at + 4], "big") : -2]


def test_jpeg_ls_with_restart_intervals() -> None:
    frame = smooth((33, 40), 12)
    frame[::3, 0] = 4095  # by which pyjpegls chooses the precision
    coded = jpeg_ls(frame)
    *_, (at, _) = markers(coded)
    head = coded[:at] + b"\xff\xdd\0\4\0\3" + coded[at : -2 - len(scan_of(coded))]
    intervals = [scan_of(jpeg_ls(frame[row : row + 3])) for row in range(0, 33, 3)]
    restarts = [bytes([0xFF, 0xD0 + number % 8]) for number in range(len(intervals))]
    body = b"".join(a + b for a, b in zip(intervals, [*restarts[:-1], b""], strict=True))
    whole = head + body + b"\xff\xd9"
    found = find_recipe(JPEG_LS, frame, whole + b"\0")
    assert found is not None and found.coded_size == len(whole) + 1
    assert len(found.data) < 70
    assert code_by_recipe(JPEG_LS, frame, found.data) == whole + b"\0"


def test_too_many_restart_intervals_are_refused() -> None:
    """CharLS makes a table of 2^16 entries for each; all of these would take a minute."""
    frame = np.zeros((60_000, 1), "uint16")
    size = struct.pack(">HBHHB", 11, 16, *frame.shape, 1) + b"\1\x11\0"
    segments = b"\xff\xd8\xff\xf7" + size + b"\xff\xdd\0\4\0\1" + b"\xff\xda\0\x08\1\1\0\0\0\0"
    recipe = b"\1" + struct.pack("<L", len(segments)) + segments + b"\2\0\0\0\xff\xd9"
    with pytest.raises(CodecError, match="too many restart intervals, of 1 lines"):
        code_by_recipe(JPEG_LS, frame, recipe)
    assert code_by_recipe(JPEG_LS, frame[:16], recipe.replace(b"\xea\x60", b"\0\x10"))


def with_long_codes() -> tuple[NDArray[Any], bytes]:
    """Bytes that JPEG-LS makes three times as large, as each line starts with new contexts."""
    coded = jpeg_ls(smooth((65_000, 2), 8))
    *_, (at, _) = markers(coded)
    head = coded[:at] + b"\xff\xdd\0\4\0\1" + coded[at : -2 - len(scan_of(coded))]
    recipe = b"\1" + struct.pack("<L", len(head)) + head + b"\2\0\0\0\xff\xd9"
    frame = np.random.default_rng(0).choice(np.array([0, 128], "uint8"), (65_000, 2))
    return frame, code_by_recipe(JPEG_LS, frame, recipe)


def test_coded_frames_larger_than_their_samples() -> None:
    frame, coded = with_long_codes()
    assert len(coded) > 2 * frame.nbytes + 65536
    found = find_recipe(JPEG_LS, frame, coded)
    assert found is not None and found.coded_size == len(coded)
    for most in (None, len(coded), 10**15):
        assert code_by_recipe(JPEG_LS, frame, found.data, most) == coded
    with pytest.raises(CodecError, match=f"expected at most {len(coded) - 1} bytes"):
        code_by_recipe(JPEG_LS, frame, found.data, len(coded) - 1)


def test_jpeg_ls_with_a_scan_for_each_component() -> None:
    frame = smooth((17, 33, 3), 8)
    planes = [jpeg_ls(np.ascontiguousarray(frame[..., sample])) for sample in range(3)]
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    start = b"\xff\xf7\0\x11\x08\0\x11\0\x21\x03" + components
    scans = [
        b"\xff\xda\0\x08\x01" + bytes([number, 0, 0, 0, 0]) + scan_of(plane)
        for number, plane in enumerate(planes, 1)
    ]
    comment = b"\xff\xfe\0\x06note"
    whole = b"\xff\xd8" + start + scans[0] + comment + b"".join(scans[1:]) + b"\xff\xd9"
    found = find_recipe(JPEG_LS, frame, whole)
    assert found is not None and found.coded_size == len(whole)
    assert comment in found.data and len(found.data) < 100
    assert code_by_recipe(JPEG_LS, frame, found.data) == whole


def test_lossy_or_damaged_jpeg_ls_has_no_recipe() -> None:
    frame = smooth((17, 33), 8)
    coded = jpeg_ls(frame)
    for bad in (
        jpeg_ls(frame, lossy_error=2),
        coded[:40],
        coded[:20] + coded[21:],
        b"",
        b"\xff\xd8\xff\xd9",
        coded[:-30] + b"\xff\xd9",
    ):
        assert find_recipe(JPEG_LS, frame, bad) is None
    other = frame.copy()
    other[3, 4] ^= 1
    assert find_recipe(JPEG_LS, other, coded) is None
    assert find_recipe(JPEG_LS, frame.astype("uint32"), coded) is None


def test_hostile_jpeg_ls_recipes() -> None:
    frame = smooth((17, 33), 8)
    found = find_recipe(JPEG_LS, frame, jpeg_ls(frame))
    assert found is not None
    (length,) = struct.unpack_from("<L", found.data, 1)
    scan = found.data[1 : 5 + length]
    (at,) = (at for at, code in markers(scan[4:]) if code == 0xDA)
    # A scan of the same component again would take a frame's time each.
    again = struct.pack("<L", length - at) + scan[4 + at :]
    with pytest.raises(CodecError, match="two scans of one component"):
        code_by_recipe(JPEG_LS, frame, b"\2" + scan + again + bytes(4))
    with pytest.raises(CodecError, match="a component is in no scan"):
        code_by_recipe(JPEG_LS, frame, bytes(5))
    with pytest.raises(CodecError, match="two SOF55"):
        code_by_recipe(JPEG_LS, frame, b"\2" + scan + scan + bytes(4))
    for other in (frame[1:], frame[:, 1:], np.stack([frame] * 3, axis=-1)):
        with pytest.raises(CodecError, match=r"expected .*, found 17 x 33 x 1"):
            code_by_recipe(JPEG_LS, other, found.data)
    # CharLS relies on samples of at most MAXVAL.
    # It codes other samples than those given unless all bits of MAXVAL are ones.
    for maxval, fault in ((127, "exceeds MAXVAL"), (254, "MAXVAL 254 is no power of 2 less 1")):
        preset = b"\xff\xf8\0\x0d\1" + struct.pack(">5H", maxval, 3, 7, 21, 64)
        segments = scan[4 : 4 + at] + preset + scan[4 + at :]
        with pytest.raises(CodecError, match=fault):
            code_by_recipe(
                JPEG_LS, frame, b"\1" + struct.pack("<L", len(segments)) + segments + bytes(4)
            )
    code_by_damaged_recipes(JPEG_LS, frame, found.data, times=2000, changes=2)


def test_the_rules_of_the_inputs_are_different() -> None:
    frame = with_runs((40, 300), "uint8")
    coded = {rle_frame(frame, row) for row in RULES}
    assert len(coded) == len(RULES)
