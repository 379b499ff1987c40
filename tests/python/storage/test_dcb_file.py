"""Files of frames and sections are written and read, whole or in parts, by any thread."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import struct
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import DTYPES, LOSSLESS, SmoothVolume
from programs.running import GOLDEN

from dicube._native.callbacks import Callback
from dicube._native.library import functions
from dicube.codecs import get_codec
from dicube.exceptions import (
    CodecError,
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
)
from dicube.storage import FORMATS, DcbReader, DcbWriter, codec_of_path

extension = pytest.mark.parametrize("extension", LOSSLESS)


def write(path: Any, volume: np.ndarray[Any, Any], **options: Any) -> Any:
    with DcbWriter(path, volume.shape, volume.dtype, **options) as writer:
        writer.write_section("note", b"first")
        writer.write_frames(volume)
    return path


def file_bytes(volume: np.ndarray[Any, Any], codec: str = "jph", **options: Any) -> bytes:
    target = io.BytesIO()
    write(target, volume, codec=codec, **options)
    return target.getvalue()


def damaged(data: bytes) -> bytes:
    """Return the bytes of a file, the last of its last frame another."""
    with DcbReader(data) as reader:
        offset, size = reader.coded_range(reader.shape[0] - 1)
    last = offset + size - 1
    return data[:last] + bytes([data[last] ^ 1]) + data[last + 1 :]


SHAPES = [(1, 1, 1), (3, 1, 7), (2, 45, 1), (5, 33, 21), (1, 64, 64), (3, 20, 15, 3), (1, 1, 1, 3)]


@extension
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back(
    extension: str,
    dtype: str,
    order: str,
    shape: tuple[int, ...],
    tmp_path: Path,
    full_range: SmoothVolume,
) -> None:
    volume = full_range(shape, dtype).astype(np.dtype(dtype).newbyteorder(order))
    before = volume.copy()
    volume.setflags(write=False)
    with DcbReader(write(tmp_path / f"x{extension}", volume)) as reader:
        assert reader.shape == shape
        assert reader.dtype == np.dtype(dtype)
        assert reader.codec == FORMATS[extension]
        assert reader.has_checksums
        assert reader.format_version == 1
        assert reader.file_size == (tmp_path / f"x{extension}").stat().st_size
        back = reader.read_frames()
    assert back.dtype == np.dtype(dtype)
    assert np.array_equal(back, volume)
    assert np.array_equal(volume, before)


@extension
@pytest.mark.parametrize(
    "layout",
    [
        lambda volume: volume[::-1],
        lambda volume: volume[:, ::-1, ::2],
        lambda volume: volume.transpose(2, 1, 0),
        np.asfortranarray,
    ],
    ids=["reversed", "steps", "transposed", "fortran"],
)
def test_strides(extension: str, layout: Any, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
    volume = layout(smooth_volume((40, 18, 20), "int16"))
    with DcbReader(write(tmp_path / f"x{extension}", volume)) as reader:
        assert np.array_equal(reader.read_frames(), volume)


@extension
def test_small_signed_frames_by_the_thousand(extension: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for dtype in ("int8", "int16", "int32"):
        bounds = np.iinfo(dtype)
        volume = random.integers(bounds.min, bounds.max, (1500, 2, 3), dtype, endpoint=True)
        volume[::2] >>= np.dtype(dtype).itemsize * 4
        with DcbReader(write(tmp_path / f"x{extension}", volume)) as reader:
            assert np.array_equal(reader.read_frames(), volume)


@extension
def test_bytes_do_not_depend_on_threads_or_batches(
    extension: str, smooth_volume: SmoothVolume
) -> None:
    codec = FORMATS[extension]
    volume = smooth_volume((37, 40, 50), "uint16")
    expected = file_bytes(volume, codec, num_threads=1)
    for threads in (2, 3, 8, None):
        assert file_bytes(volume, codec, num_threads=threads) == expected
    assert file_bytes(volume, codec, verify=False) == expected
    target = io.BytesIO()
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        writer.write_section("note", b"first")
        for first in range(0, 37, 5):
            writer.write_frames(volume[first : first + 5])
    assert target.getvalue() == expected
    for threads in (1, 3):
        with DcbReader(expected, num_threads=threads) as reader:
            assert np.array_equal(reader.read_frames(), volume)


@extension
def test_frame_ranges(extension: str, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((9, 30, 31), "int16")
    with DcbReader(file_bytes(volume, FORMATS[extension])) as reader:
        for start, stop in [(0, 9), (0, 1), (8, 9), (3, 7), (-2, None), (5, 5), (7, 3), (0, 99)]:
            assert np.array_equal(reader.read_frames(start, stop), volume[start:stop])


def test_out_is_filled_in_place(smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((4, 10, 12), "int16")
    with DcbReader(file_bytes(volume)) as reader:
        out = np.zeros((6, 10, 12), np.int16)
        part = out[1:5]
        assert reader.read_frames(out=part) is part
        assert np.array_equal(out[1:5], volume)
        assert not out[0].any() and not out[5].any()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (np.zeros((4, 10, 11), np.int16), r"\(4, 10, 12\).*\(4, 10, 11\)"),
        (np.zeros((3, 10, 12), np.int16), r"\(3, 10, 12\)"),
        (np.zeros((4, 10, 12), np.uint16), "int16.*u2"),
        (np.zeros((4, 10, 12), ">i2"), "int16.*>i2"),
        (np.zeros((4, 12, 10), np.int16).transpose(0, 2, 1), "contiguous"),
        (np.broadcast_to(np.int16(0), (4, 10, 12)), "contiguous"),
    ],
    ids=["shape", "count", "dtype", "order", "strides", "readonly"],
)
def test_out_that_does_not_fit(
    out: np.ndarray[Any, Any], told: str, smooth_volume: SmoothVolume
) -> None:
    data = file_bytes(smooth_volume((4, 10, 12), "int16"))
    with DcbReader(data) as reader, pytest.raises(DataConsistencyError, match=told):
        reader.read_frames(out=out)


class TestBeginDecoding:
    @pytest.mark.parametrize("shape", [(5, 33, 21), (9, 700, 700)], ids=["small", "large"])
    @pytest.mark.parametrize("num_threads", [1, 3])
    @pytest.mark.parametrize("of", [bytes, io.BytesIO], ids=["memory", "file object"])
    def test_the_file_can_be_read_in_the_meantime(
        self, shape: tuple[int, ...], num_threads: int, of: Any, smooth_volume: SmoothVolume
    ) -> None:
        volume = smooth_volume(shape, "<i2")
        steps: list[int] = []
        with DcbReader(of(file_bytes(volume)), num_threads=num_threads) as reader:
            for progress in (None, lambda done, _: steps.append(done)):
                with reader.begin_decoding(progress) as decoding:
                    assert reader.sections["note"] == b"first"
                    found, masks = decoding.finish()
                assert (found == volume).all()
                assert masks is None
        assert steps[-1] == shape[0]

    def test_no_frames(self) -> None:
        assert DcbReader(file_bytes(np.zeros((0, 3, 4)))).begin_decoding().finish()[0].size == 0

    @pytest.mark.parametrize("num_threads", [1, 3])
    def test_an_exception_cancels_it(
        self, num_threads: int, smooth_volume: SmoothVolume, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = file_bytes(smooth_volume((40, 300, 300), "<i2"))
        out = np.ones((40, 300, 300), np.int16)
        monkeypatch.setattr(DcbReader, "new_array", lambda *_: out)
        for content in (data, damaged(data)):
            reader = DcbReader(content, num_threads=num_threads)
            with pytest.raises(KeyError, match="mine"), reader.begin_decoding():
                raise KeyError("mine")
            assert not out.any()
            out.fill(1)

    def test_an_abandoned_one_keeps_its_memory_until_it_has_ended(
        self, smooth_volume: SmoothVolume, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume = smooth_volume((40, 300, 300), "<i2")
        reader = DcbReader(file_bytes(volume), num_threads=3)
        held_at_its_end = []
        close = functions["dicube_decoding_close"]

        def closed(address: int) -> None:
            close(address)
            held_at_its_end.append((frames() is not None, not native.closed))

        monkeypatch.setitem(functions, "dicube_decoding_close", closed)
        frames = weakref.ref(volume)
        new_array = DcbReader.new_array

        def watched(*arguments: Any) -> np.ndarray[Any, Any]:
            nonlocal frames
            array = new_array(*arguments)
            frames = weakref.ref(array)
            return array

        monkeypatch.setattr(DcbReader, "new_array", watched)
        decoding = reader.begin_decoding()
        native = reader._file.reader
        cycle: list[Any] = [decoding]
        cycle.append(cycle)
        assert (frames() is not None, held_at_its_end) == (True, [])
        del decoding, cycle
        gc.collect()
        assert held_at_its_end == [(True, True)]
        assert frames() is None
        assert (reader.read_frames() == volume).all()

    def test_damage_is_reported_at_the_end(self, smooth_volume: SmoothVolume) -> None:
        data = damaged(file_bytes(smooth_volume((9, 700, 700), "<i2")))
        told = pytest.raises(InvalidCubeFileError, match="frame 8: expected checksum")
        with DcbReader(data).begin_decoding() as decoding, told:
            decoding.finish()
        skipping = DcbReader(data, on_error="skip")
        with skipping.begin_decoding() as decoding:
            assert not skipping.damaged_frames
            decoding.finish()
        assert list(skipping.damaged_frames) == [8]

    def test_ctrl_c_at_its_very_beginning_ends_the_decoding(
        self, smooth_volume: SmoothVolume, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume = smooth_volume((9, 90, 90), "<i2")
        begin = functions["dicube_decoding_begin"]

        def interrupted(*arguments: Any) -> None:
            begin(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setitem(functions, "dicube_decoding_begin", interrupted)
        reader = DcbReader(file_bytes(volume), num_threads=3)
        out = np.ones(volume.shape, volume.dtype)
        with pytest.raises(KeyboardInterrupt):
            reader.read_frames(out=out)
        assert not out.any()

    @pytest.mark.parametrize("ends", ["close", "collect"])
    def test_the_reader_may_go_before_it(self, ends: str, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((9, 700, 700), "<i2")
        reader = DcbReader(file_bytes(volume))
        with reader.begin_decoding() as decoding:
            if ends == "close":
                reader.close()
            else:
                del reader
                gc.collect()
            assert (decoding.finish()[0] == volume).all()

    def test_a_closed_reader(self, smooth_volume: SmoothVolume) -> None:
        reader = DcbReader(file_bytes(smooth_volume((2, 7, 7), "<i2")))
        reader.close()
        with pytest.raises(ValueError, match="reader is closed"):
            reader.begin_decoding()


@extension
def test_coded_bytes(extension: str, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((5, 30, 40), "uint16")
    path = write(tmp_path / f"x{extension}", volume)
    whole = path.read_bytes()
    copy = tmp_path / f"copy{extension}"
    with (
        DcbReader(path) as reader,
        DcbWriter(copy, reader.shape, reader.dtype) as writer,
    ):
        for frame in range(5):
            coded = reader.coded(frame)
            offset, size = reader.coded_range(frame)
            assert whole[offset : offset + size] == coded
            decoded = get_codec(FORMATS[extension]).decode(coded)
            assert np.array_equal(decoded.reshape(30, 40), volume[frame])
            writer.write_coded(coded)
        assert reader.coded_size == sum(reader.coded_range(frame)[1] for frame in range(5))
    with DcbReader(copy) as reader:
        assert np.array_equal(reader.read_frames(), volume)


@pytest.mark.parametrize("frame", [-1, 5, 1 << 40])
def test_no_such_frame(frame: int, smooth_volume: SmoothVolume) -> None:
    with DcbReader(file_bytes(smooth_volume((5, 8, 8), "uint8"))) as reader:
        for ask in (reader.coded, reader.coded_range):
            with pytest.raises(IndexError, match=f"0 to 4, found {frame}"):
                ask(frame)


def test_frames_that_published_readers_misread_are_out_of_their_sight() -> None:
    with DcbReader(GOLDEN / "0.4.0" / "transformed.dcbs") as reader:
        transformed, pixels = reader.coded(0), reader.read_frames()
    for coded, tables in (([], 16), ([transformed], 0)):
        target = io.BytesIO()
        with DcbWriter(target, (1 + len(coded), *pixels.shape[1:]), "uint8", codec="jph") as writer:
            writer.write_frames(pixels)
            writer.write_coded_frames(coded)
        lengths = struct.unpack_from("<Q8xQ", target.getvalue(), 84)  # of the tables, in the header
        assert sum(lengths) == tables
        with DcbReader(target) as reader:
            assert all(np.array_equal(frame, pixels[0]) for frame in reader.read_frames())


def test_coded_bytes_of_another_image_are_refused(smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((2, 8, 8), "uint16")
    strangers = [
        get_codec("jph").encode(np.zeros((8, 9), np.uint16)),
        get_codec("jph").encode(np.zeros((8, 8), np.uint8)),
        get_codec("jph").encode(np.zeros((8, 8), np.int16)),
        get_codec("jxl").encode(np.zeros((8, 8), np.uint16)),
        b"nothing",
    ]
    for coded in strangers:
        with DcbWriter(io.BytesIO(), volume.shape, volume.dtype, codec="jph") as writer:
            with pytest.raises(DicomCubeError):
                writer.write_coded(coded)
            writer.close()


class TestSections:
    def test_there_and_back(self, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((2, 8, 8), "uint8")
        sections = {
            "dicom_status": b"consistent",
            "dicom_meta": os.urandom(3000),
            "space": b"{}",
            "pixel_header": b"{}",
            "own.Name_1-x": bytes(100_000),
            "a": b"x",
            "sixteen_letters_": b"y",
        }
        target = io.BytesIO()
        with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
            for name, data in sections.items():
                writer.write_section(name, data)
            writer.write_frames(volume)
            writer.write_section("last", b"behind the frames")
        with DcbReader(target.getvalue()) as reader:
            for name, data in {**sections, "last": b"behind the frames"}.items():
                assert name in reader.sections
                assert reader.sections[name] == data
                assert reader.sections.size(name) == len(data)
            assert set(sections) <= set(reader.sections)
            assert len(reader.sections) == len(list(reader.sections))

    def test_missing(self, smooth_volume: SmoothVolume) -> None:
        with DcbReader(file_bytes(smooth_volume((1, 4, 4), "uint8"))) as reader:
            assert reader.sections.get("space") is None
            assert "Ünbekannt" not in reader.sections
            for ask in (reader.sections.__getitem__, reader.sections.size):
                with pytest.raises(KeyError):
                    ask("space")

    @pytest.mark.parametrize("name", ["", "seventeen_letters", "a b", "a/b", "Ä", "a\n"])
    def test_bad_name(self, name: str) -> None:
        with DcbWriter(io.BytesIO(), (1, 2, 2), "u1", codec="jph") as writer:
            with pytest.raises(DataConsistencyError):
                writer.write_section(name, b"x")
            writer.close()

    def test_same_name_twice(self) -> None:
        with DcbWriter(io.BytesIO(), (1, 2, 2), "u1", codec="jph") as writer:
            writer.write_section("note", b"x")
            with pytest.raises(DataConsistencyError, match="note"):
                writer.write_section("note", b"x")
            writer.close()


class TestWriter:
    @pytest.mark.parametrize("name", ["x.dcb", "x", "x.dcbx", "x.nii", ".dcbs/x"])
    def test_unknown_extension(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(DataConsistencyError, match=r"\.dcbs or \.dcba"):
            codec_of_path(tmp_path / name)
        with pytest.raises(DataConsistencyError):
            DcbWriter(tmp_path / name, (1, 2, 2), "u1")

    def test_extension_in_capitals(self, tmp_path: Path) -> None:
        path = write(tmp_path / "X.DCBA", np.zeros((1, 2, 2), np.uint8))
        with DcbReader(str(path)) as reader:
            assert reader.codec == "jxl"

    def test_codec_must_be_named_for_a_file_object(self) -> None:
        with pytest.raises(DataConsistencyError, match="codec"):
            DcbWriter(io.BytesIO(), (1, 2, 2), "u1")

    @pytest.mark.parametrize(
        ("frames", "told"),
        [
            (np.zeros((1, 4, 5), np.int16), r"\(4, 4\).*\(4, 5\)"),
            (np.zeros((1, 4, 4), np.uint16), "i2.*u2"),
            (np.zeros((1, 4, 4), ">i2"), "<i2.*>i2"),
            (np.zeros((4, 4), np.int16), r"\(4,\)"),
        ],
        ids=["shape", "dtype", "order", "axes"],
    )
    def test_other_frames_are_refused(self, frames: np.ndarray[Any, Any], told: str) -> None:
        with DcbWriter(io.BytesIO(), (2, 4, 4), "<i2", codec="jph") as writer:
            with pytest.raises(DataConsistencyError, match=told):
                writer.write_frames(frames)
            writer.close()

    def test_too_many_frames(self) -> None:
        with DcbWriter(io.BytesIO(), (2, 4, 4), "u1", codec="jph") as writer:
            with pytest.raises(DicomCubeError, match="3"):
                writer.write_frames(np.zeros((3, 4, 4), np.uint8))
            writer.close()

    def test_too_few_frames(self, tmp_path: Path) -> None:
        path = tmp_path / "x.dcbs"
        with pytest.raises(DicomCubeError, match="2"), DcbWriter(path, (2, 4, 4), "u1") as writer:
            writer.write_frames(np.zeros((1, 4, 4), np.uint8))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("effort", [10, 255])
    def test_unknown_effort(self, effort: int, tmp_path: Path) -> None:
        with pytest.raises(DataConsistencyError, match=str(effort)):
            DcbWriter(tmp_path / "x.dcba", (1, 4, 4), "u1", effort=effort)
        assert list(tmp_path.iterdir()) == []

    def test_a_block_that_raises_leaves_the_target(self, tmp_path: Path) -> None:
        path = tmp_path / "x.dcbs"
        path.write_bytes(b"old")
        with pytest.raises(RuntimeError), DcbWriter(path, (2, 4, 4), "u1") as writer:
            writer.write_frames(np.zeros((2, 4, 4), np.uint8))
            raise RuntimeError
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_writer_forgotten_leaves_the_target(self, tmp_path: Path) -> None:
        writer = DcbWriter(tmp_path / "x.dcbs", (2, 4, 4), "u1")
        del writer
        gc.collect()
        assert list(tmp_path.iterdir()) == []

    def test_closed(self) -> None:
        writer = DcbWriter(io.BytesIO(), (1, 2, 2), "u1", codec="jph")
        writer.close()
        writer.close()
        with pytest.raises(ValueError, match="closed"):
            writer.write_section("note", b"")

    def test_progress(self, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((100, 8, 8), "uint8")
        target = io.BytesIO()
        told: list[tuple[int, int]] = []
        with DcbWriter(target, volume.shape, volume.dtype, codec="jph") as writer:
            writer.write_frames(volume, progress=lambda *step: told.append(step))
        assert told[-1] == (100, 100) and len(told) > 3 and told == sorted(told)
        told.clear()
        with DcbReader(target.getvalue()) as reader:
            back = reader.read_frames(progress=lambda *step: told.append(step))
        assert told[-1] == (100, 100) and len(told) > 3 and told == sorted(told)
        assert np.array_equal(back, volume)


class TestFileObjects:
    def test_source(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((30, 20, 20), "int16")
        path = write(tmp_path / "x.dcbs", volume)
        with path.open("rb") as file, DcbReader(file, num_threads=4) as reader:
            assert np.array_equal(reader.read_frames(), volume)
            assert reader.sections["note"] == b"first"

    def test_the_callers_exception_comes_through(self, smooth_volume: SmoothVolume) -> None:
        class Broken(io.BytesIO):
            broken = False

            def read(self, size: int | None = -1) -> bytes:
                if self.broken:
                    raise ZeroDivisionError("the disk is on fire")
                return super().read(size)

        file = Broken(file_bytes(smooth_volume((30, 20, 20), "int16")))
        with DcbReader(file, num_threads=4) as reader:
            file.broken = True
            with pytest.raises(ZeroDivisionError, match="on fire"):
                reader.read_frames()
            file.broken = False
            reader.read_frames()
        file.broken = True
        file.seek(0)
        with pytest.raises(ZeroDivisionError):
            DcbReader(file)

    def test_a_file_that_shrank(self, smooth_volume: SmoothVolume) -> None:
        file = io.BytesIO(file_bytes(smooth_volume((3, 20, 20), "int16")))
        with DcbReader(file) as reader:
            file.truncate(400)
            with pytest.raises(EOFError, match="expected"):
                reader.read_frames()

    def test_the_callers_exception_when_writing(self, smooth_volume: SmoothVolume) -> None:
        class Full(io.BytesIO):
            def write(self, data: Any) -> int:
                if self.tell() > 300:
                    raise OSError(28, "No space left on device")
                return super().write(data)

        volume = smooth_volume((3, 40, 40), "int16")
        with pytest.raises(OSError, match="No space left") as caught:
            write(Full(), volume, codec="jph")
        assert caught.value.errno == 28

    @pytest.mark.parametrize(
        "source", [None, 7, ["x.dcbs"], io.StringIO("x"), memoryview(b"abcd")[::2]]
    )
    def test_what_is_no_source(self, source: Any) -> None:
        with pytest.raises(DataConsistencyError, match=type(source).__name__):
            DcbReader(source)

    def test_a_text_file(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        path = write(tmp_path / "x.dcbs", smooth_volume((3, 40, 40), "int16"))
        with open(path) as file, pytest.raises(DataConsistencyError, match=r"binary file.*x\.dcbs"):
            DcbReader(file)


class TestReader:
    def test_memory_stays_alive(self, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((3, 50, 50), "int16")
        reader = DcbReader(bytearray(file_bytes(volume)))
        gc.collect()
        assert np.array_equal(reader.read_frames(), volume)

    def test_many_threads_at_once(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((16, 40, 40), "uint16")
        reader = DcbReader(write(tmp_path / "x.dcbs", volume), num_threads=2)
        wrong: list[Any] = []

        def read(first: int) -> None:
            try:
                for _ in range(10):
                    if not np.array_equal(reader.read_frames(first), volume[first:]):
                        wrong.append(first)
                    assert reader.sections["note"] == b"first"
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_closing_waits_for_calls_in_flight(self, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((60, 128, 128), "uint16")
        data = file_bytes(volume)
        for _ in range(5):
            reader = DcbReader(data, num_threads=2)
            done: list[bool] = []

            def read(reader: DcbReader = reader, done: list[bool] = done) -> None:
                try:
                    done.append(np.array_equal(reader.read_frames(), volume))
                except ValueError:  # closed before the call began
                    done.append(True)

            thread = threading.Thread(target=read)
            thread.start()
            reader.close()
            thread.join()
            assert done == [True]

    def test_closed(self, smooth_volume: SmoothVolume) -> None:
        reader = DcbReader(file_bytes(smooth_volume((1, 4, 4), "uint8")))
        reader.close()
        reader.close()
        with pytest.raises(ValueError, match="reader is closed"):
            reader.read_frames()

    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.dcbs"
        with pytest.raises(CubeFileNotFoundError, match=r"none\.dcbs") as caught:
            DcbReader(path)
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.filename == str(path)

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidCubeFileError):
            DcbReader(tmp_path)

    @pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
    def test_any_name(self, tmp_path: Path, smooth_volume: SmoothVolume) -> None:
        volume = smooth_volume((1, 4, 4), "uint8")
        for name in ("山田 ü.dcbs", os.fsdecode(b"not \xff utf-8.dcbs")):
            with DcbReader(write(tmp_path / name, volume)) as reader:
                assert np.array_equal(reader.read_frames(), volume)
        with pytest.raises(CubeFileAccessError, match="no file can have this name"):
            DcbReader("x\0.dcbs")

    def test_memory_limit(self, smooth_volume: SmoothVolume) -> None:
        data = file_bytes(smooth_volume((2, 200, 200), "uint16"))
        with pytest.raises(InvalidCubeFileError), DcbReader(data, max_memory=100) as reader:
            reader.read_frames()

    def test_no_check(self, smooth_volume: SmoothVolume) -> None:
        data = bytearray(file_bytes(smooth_volume((2, 8, 8), "uint16")))
        at = data.index(b"first")
        data[at] ^= 1
        with DcbReader(bytes(data)) as reader, pytest.raises(InvalidCubeFileError, match="note"):
            assert reader.sections["note"]
        with DcbReader(bytes(data), verify=False) as reader:
            assert reader.sections["note"] == b"girst"


@extension
def test_a_frame_that_is_damaged_is_zeroed(extension: str, smooth_volume: SmoothVolume) -> None:
    volume = smooth_volume((3, 40, 40), "uint16") + np.uint16(1)
    data = bytearray(file_bytes(volume, FORMATS[extension]))
    with DcbReader(bytes(data)) as reader:
        offset, size = reader.coded_range(1)
    data[offset + size // 2] ^= 0x55
    with DcbReader(bytes(data)) as reader:
        out = np.full(volume.shape, 7, np.uint16)
        with pytest.raises((InvalidCubeFileError, CodecError), match="frame 1"):
            reader.read_frames(out=out)
        assert not out[1].any()
        assert np.array_equal(reader.read_frames(0, 1), volume[:1])
        assert np.array_equal(reader.read_frames(2, 3), volume[2:])


@pytest.mark.parametrize("source", [bytes, io.BytesIO])
def test_what_could_not_be_read_holds_no_memory(source: Any, smooth_volume: SmoothVolume) -> None:
    """Until the garbage collector runs: the next attempt may need it."""
    data = damaged(file_bytes(smooth_volume((3, 40, 40), "uint16")))

    def attempt() -> weakref.ref[np.ndarray[Any, Any]]:
        with DcbReader(source(data)) as reader:
            out = np.empty(reader.shape, reader.dtype)
            with contextlib.suppress(InvalidCubeFileError):
                reader.read_frames(out=out)
        return weakref.ref(out)

    gc.disable()
    try:
        assert attempt()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_call_of_a_file_object_that_ends_before_it_begins(
    way: str, smooth_volume: SmoothVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal does that to a function, and ctypes then returns what may pass for success."""
    volume = smooth_volume((2, 20, 30), "<i2")
    good = file_bytes(volume)
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda _: lost.append(1))
    call = Callback.__call__
    calls = 0

    def ended_once(*arguments: Any) -> int:
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise KeyboardInterrupt
        return call(*arguments)

    monkeypatch.setattr(Callback, "__call__", ended_once)
    for number in range(1, 100):
        calls = number
        try:
            if way == "read":
                with DcbReader(io.BytesIO(good), verify=False) as reader:
                    assert reader.sections["note"] == b"first"
                    assert (reader.read_frames() == volume).all()
            else:
                assert file_bytes(volume) == good
        except CubeFileAccessError as error:
            assert " 0 of " in str(error)
        if calls > 0:
            break
    assert len(lost) == number - 1 > 5


@pytest.mark.parametrize("way", ["read", "write"])
def test_ctrl_c_at_the_very_opening_leaves_nothing_open(
    way: str, tmp_path: Path, smooth_volume: SmoothVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = smooth_volume((2, 20, 30), "<i2")
    path = write(tmp_path / "x.dcbs", volume)
    name = "dicube_reader_open_path" if way == "read" else "dicube_writer_open_path"
    open_path = functions[name]

    def interrupted(*arguments: Any) -> None:
        open_path(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setitem(functions, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        if way == "read":
            DcbReader(path)
        else:
            write(path, volume)
    gc.collect()  # what the exception held
    assert [file.name for file in tmp_path.iterdir()] == ["x.dcbs"]
    if sys.platform == "linux":
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert not any(str(tmp_path) in link for link in links)
