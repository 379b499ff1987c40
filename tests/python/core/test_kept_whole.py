"""keep_all: files of a series that can't be part of its volume are kept whole beside it."""

from __future__ import annotations

import copy
import filecmp
import struct
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import make_series, make_slice, pixels_of, raw_data, write_series
from inputs.original_files import contents, encapsulated
from programs.running import run_python
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG4HP41,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VideoPhotographicImageStorage,
)

import dicube
from dicube import DicomCubeImage
from dicube.dicom.files import volume
from dicube.exceptions import (
    DataConsistencyError,
    DicomCubeError,
    MetaDataError,
    NoImagesError,
)
from dicube.verify.file_summary import summarize_file

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None")

NOISE = np.random.default_rng(3).bytes(300_000)
UNKNOWN = b"1.2.840.10008.1.2.4.999"
MPEG = "no decoder for MPEG-4 AVC/H.264 High Profile / Level 4.1 is installed"


def scout(number: int = 9, **kind: Any) -> Dataset:
    """Make an image of another shape."""
    return make_slice(number, **{"shape": (9, 4), **kind})


def coded(dataset: Dataset, syntax: str, fragments: Sequence[bytes]) -> Dataset:
    """Give a dataset coded pixels."""
    encapsulated(dataset, list(fragments))
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def video(number: int = 8, fragments: Sequence[bytes] = (NOISE,)) -> Dataset:
    """Make an MPEG-4 object that claims 300 frames."""
    dataset = make_slice(number, shape=(6, 5, 3), dtype="uint8")
    dataset.SOPClassUID = VideoPhotographicImageStorage
    dataset.NumberOfFrames = 300
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    return coded(dataset, MPEG4HP41, fragments)


def read(source: Any) -> DicomCubeImage:
    """Read a series with all of its files."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*DICOM files (outside the volume|without)")
        return DicomCubeImage.from_dicom_folder(source, keep_all=True)


def whole_files(path: Path) -> dict[str, str]:
    """Return the files in a dicube file that have no frames of the volume, and why."""
    originals = summarize_file(path).originals
    assert originals is not None
    return originals.whole


def reasons_in(path: Path) -> dict[str, str]:
    """Return why the files in a dicube file are kept whole, without the name of their class."""
    return {name: why.partition(": ")[2] for name, why in whole_files(path).items()}


def check_restored(path: Path, source: Path) -> None:
    """Check that a file gives its source back, and that it can be verified."""
    dicube.restore_files(path, path.with_name("restored"))
    assert contents(path.with_name("restored")) == contents(source)
    name = list(contents(source))[-1]
    dicube.restore_files(path, path.with_name("one"), [name])
    assert contents(path.with_name("one")) == {name: contents(source)[name]}
    report = dicube.verify_file(path, source, whole_source=True, require_originals=True)
    assert report.ok, report


def check_in_processes(path: Path, source: Path) -> str:
    """Check the same with the command in processes of their own; return what info shows."""
    out = path.with_name("in_process")
    shown = ""
    for arguments in (
        ("convert", path, f"{out}/"),
        ("verify", path, "--against", source, "--whole-source", "--require-originals"),
        ("info", path),
    ):
        done = run_python("-m", "dicube", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        shown = done.stdout
    assert contents(out) == contents(source)
    return shown


class TestBesideAVolume:
    @pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
    def test_a_scout_in_a_ct(self, extension: str, tmp_path: Path) -> None:
        source = write_series(tmp_path / "in", [scout(), *make_series(3), raw_data(1)])
        with pytest.raises(DataConsistencyError, match=r"1 of 9 x 4 uint16.*\n.*3 of 6 x 5 uint16"):
            DicomCubeImage.from_dicom_folder(source)
        with pytest.warns(UserWarning, match="DICOM files outside the volume, 2 kept") as seen:
            image = dicube.load_from_dicom_folder(source, keep_all=True)
        assert len(seen) == 1
        assert not issubclass(seen[0].category, dicube.exceptions.LeftOutWarning)
        assert seen[0].filename.endswith("io.py")
        reason = "frames of 9 x 4 uint16, not of 6 x 5 uint16 as in the volume"
        assert f"1 of these have pixels that are not in the volume ({source}/I1: {reason})" in str(
            seen[0].message
        )
        assert image.space is not None
        expected = np.stack([pixels_of(index, (6, 5), "uint16") for index in range(3)])
        np.testing.assert_array_equal(image.raw_image, expected)
        assert image.why_not_exact() == ""
        path = tmp_path / f"x{extension}"
        image.to_file(path)
        assert reasons_in(path) == {"I1": reason, "I5": "no pixels"}
        check_restored(path, source)
        if extension == ".dcbs":
            assert f"  I1: CT Image Storage: {reason}\n" in check_in_processes(path, source)
        again = copy.deepcopy(DicomCubeImage.from_file(path))
        again.to_file(tmp_path / "again.dcbs")
        dicube.restore_files(tmp_path / "again.dcbs", tmp_path / "again")
        assert contents(tmp_path / "again") == contents(source)

    def test_a_video_in_an_ultrasound_series(self, tmp_path: Path) -> None:
        series = make_series(3, shape=(6, 5, 3), dtype="uint8")
        for dataset in series:
            dataset.SOPClassUID, dataset.Modality = UltrasoundImageStorage, "US"
            del dataset.ImagePositionPatient
        clip = video()
        clip.SOPClassUID = UltrasoundMultiFrameImageStorage
        source = write_series(tmp_path / "in", [clip, *series])
        with pytest.raises(DicomCubeError):
            DicomCubeImage.from_dicom_folder(source)
        image = read(source)
        assert image.shape == (3, 6, 5, 3)
        path = tmp_path / "x.dcbs"
        image.to_file(path)
        assert reasons_in(path) == {"I1": MPEG}
        check_restored(path, source)
        assert whole_files(path) == {"I1": f"Ultrasound Multi-frame Image Storage: {MPEG}"}

    def test_every_kind_at_once(self, tmp_path: Path) -> None:
        cut_off, no_shape, missing = make_slice(10), make_slice(11), make_slice(12)
        cut_off.PixelData = cut_off.PixelData[:20]
        del no_shape.Rows
        del missing.PixelData
        claims = coded(make_slice(14), RLELossless, [bytes(64)])
        claims.NumberOfFrames = 1_000_000
        apart = {
            "four samples": scout(13, shape=(6, 5, 4), dtype="uint8"),
            "signed": scout(15, shape=(6, 5), dtype="int16"),
            "wide": scout(16, shape=(6, 5), dtype="uint32"),
            "cut off": cut_off,
            "no shape": no_shape,
            "missing": missing,
            "broken": coded(make_slice(17), RLELossless, [b"\1" + bytes(99)]),
            "claims": claims,
            "unknown": video(18),
            "a/video": video(),
        }
        names = ["1", "2", "3", *apart]
        source = write_series(tmp_path / "in", [*make_series(3), *apart.values()], names)
        data = (source / "unknown").read_bytes()
        (source / "unknown").write_bytes(data.replace(MPEG4HP41.encode(), UNKNOWN, 1))
        image = read(source)
        assert image.shape == (3, 6, 5)
        image.to_file(tmp_path / "x.dcbs")
        found = reasons_in(tmp_path / "x.dcbs")
        in_volume = "not of 6 x 5 uint16 as in the volume"
        broken = found.pop("broken")
        assert broken.startswith("can't decode pixels in transfer syntax RLE Lossless: frame 1: ")
        assert found == {
            "four samples": "expected (0028,0002) SamplesPerPixel of 1 or 3, found 4",
            "signed": f"frames of 6 x 5 int16, {in_volume}",
            "wide": f"frames of 6 x 5 uint32, {in_volume}",
            "cut off": "is truncated: expected 60 bytes of pixels, found 20",
            "no shape": "has no image shape: found 0 rows, 5 columns",
            "missing": "has no pixel data",
            "claims": "NumberOfFrames is 1000000, but there are only 92 bytes of pixels",
            "unknown": "no decoder for an unknown UID (a text of 23 characters) is installed",
            "a/video": MPEG,
        }
        check_restored(tmp_path / "x.dcbs", source)

    def test_copies_and_files_that_differ_under_one_uid(self, tmp_path: Path) -> None:
        """Nobody knows which of two is the slice, so neither is; a copy is kept with its file."""
        series = make_series(4)
        other = copy.deepcopy(series[1])
        other.PixelData = bytes(60)
        datasets = [*series, other, series[1], series[2], scout(), scout()]
        source = write_series(tmp_path / "in", datasets)
        with pytest.raises(DataConsistencyError, match=r"I2 and .*I5 have the same SOPInstanceUID"):
            DicomCubeImage.from_dicom_folder(source)
        image = read(source)
        assert image.shape == (3, 6, 5)
        assert image.dicom_meta is not None
        assert image.dicom_meta.get("InstanceNumber", force_nonshared=True) == [1, 3, 4]
        image.to_file(tmp_path / "x.dcbs")
        found = reasons_in(tmp_path / "x.dcbs")
        assert sorted(found) == ["I2", "I5", "I6", "I8", "I9"]
        assert {found[name] for name in ("I2", "I5", "I6")} == {
            "another file of the series has its SOPInstanceUID and other content"
        }
        check_restored(tmp_path / "x.dcbs", source)

    @pytest.mark.parametrize(
        ("series", "shape"),
        [
            ([scout(8), scout(9), make_slice(1)], (2, 9, 4)),  # most files
            ([scout(8), several_frames(3)], (3, 6, 5)),  # most frames
            ([make_slice(1), scout(8)], (1, 6, 5)),  # the first
            ([scout(8), make_slice(1)], (1, 9, 4)),
            ([several_frames(5), scout(8), scout(9)], (2, 9, 4)),
        ],
    )
    def test_which_kind_is_the_commonest(
        self, series: list[Dataset], shape: tuple[int, ...], tmp_path: Path
    ) -> None:
        names = [f"I{number}" for number in (2, 9, 10)][: len(series)]
        image = read(write_series(tmp_path / "in", series, names))
        assert image.shape == shape
        image.to_file(tmp_path / "x.dcba")
        dicube.restore_files(tmp_path / "x.dcba", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(tmp_path / "in")

    def test_pixels_that_turn_out_not_to_decode(self, tmp_path: Path) -> None:
        """The commonest kind is that of the files that are left."""
        broken = [coded(make_slice(n), RLELossless, [b"\1" + bytes(99)]) for n in range(3)]
        scouts = [scout(8), scout(9)]
        calls: list[tuple[int, int]] = []
        source = write_series(tmp_path / "in", [*broken, *scouts])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = DicomCubeImage.from_dicom_folder(
                source, keep_all=True, progress=lambda done, total: calls.append((done, total))
            )
        assert image.shape == (2, 9, 4)
        assert calls[-1] == (10, 10)
        image.to_file(tmp_path / "x.dcbs")
        assert sorted(reasons_in(tmp_path / "x.dcbs")) == ["I1", "I2", "I3"]
        check_restored(tmp_path / "x.dcbs", source)

    def test_coded_frames_that_would_take_far_too_much_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(volume, "_ALWAYS_ALLOWED", 8000)
        monkeypatch.setattr(volume, "_MOST_GROWTH", 2)
        series = [make_slice(n, shape=(40, 40)) for n in range(6)]  # one of them is small enough
        for dataset in series[:5]:
            dataset.PixelData = bytes(3200)
            dataset.compress(RLELossless, generate_instance_uid=False)
        source = write_series(tmp_path / "in", series)
        with pytest.raises(DataConsistencyError, match="declare 16000 bytes of pixels"):
            DicomCubeImage.from_dicom_folder(source)
        image = read(source)
        assert image.shape == (1, 40, 40)
        image.to_file(tmp_path / "x.dcbs")
        assert len(reasons_in(tmp_path / "x.dcbs")) == 5

    def test_a_lack_of_memory_is_no_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_series(
            tmp_path / "in", [coded(make_slice(0), RLELossless, [NOISE]), make_slice(1)]
        )

        def fail(*_: Any, **__: Any) -> Any:
            raise MemoryError

        monkeypatch.setattr(volume, "_decoded_by_pydicom", fail)
        monkeypatch.setattr(volume, "rle_fault", lambda *_: "")
        with pytest.raises(dicube.exceptions.OutOfMemoryError):
            DicomCubeImage.from_dicom_folder(source, keep_all=True)


class TestWithoutAVolume:
    def test_undecodable_pixels_only(self, tmp_path: Path) -> None:
        broken = coded(make_slice(1), RLELossless, [b"\1" + bytes(99)])
        source = write_series(tmp_path / "in", [video(7), video(8), broken])
        with pytest.raises(NoImagesError, match="none of 3 images can be part") as caught:
            DicomCubeImage.from_dicom_folder(source, keep_all=True)
        assert caught.value.message.endswith(f"{source}/I1: {MPEG}")
        path = tmp_path / "x.dcbs"
        assert dicube.store_files(source, path, reasons=caught.value.reasons) == 3
        found = reasons_in(path)
        assert found["I1"] == found["I2"] == MPEG
        assert found["I3"].startswith("can't decode pixels in transfer syntax RLE Lossless")
        check_restored(path, source)
        shown = check_in_processes(path, source)
        assert f"  I1: Video Photographic Image Storage: {MPEG}\n" in shown

    def test_files_that_contradict_the_images(self, tmp_path: Path) -> None:
        """A volume shows one patient; so all files are stored whole."""
        stranger = scout()
        stranger.PatientName = "ROE^BOB"
        source = write_series(tmp_path / "in", [*make_series(2), stranger])
        with pytest.raises(NoImagesError, match=r"1 files can't be kept.*contradict") as caught:
            DicomCubeImage.from_dicom_folder(source, keep_all=True)
        assert "ROE" not in str(caught.value)
        dicube.store_files(source, tmp_path / "x.dcbs", reasons=caught.value.reasons)
        check_restored(tmp_path / "x.dcbs", source)

    def test_files_that_differ_under_one_uid(self, tmp_path: Path) -> None:
        one, other = video(8), video(8, [NOISE[:1000]])
        source = write_series(tmp_path / "in", [one, other])
        dicube.store_files(source, tmp_path / "x.dcbs")
        check_restored(tmp_path / "x.dcbs", source)


class TestErrors:
    def test_damaged_files_are_named(self, tmp_path: Path) -> None:
        source = write_series(tmp_path / "in", [*make_series(2), video()])
        (source / "I2").write_bytes((source / "I2").read_bytes()[:400])
        with pytest.raises(MetaDataError, match="I2 is truncated"):
            DicomCubeImage.from_dicom_folder(source, keep_all=True)

    def test_nothing_is_left_out(self, tmp_path: Path) -> None:
        other = raw_data(1, series_uid="1.2.3")
        source = write_series(tmp_path / "in", [*make_series(2), other])
        with pytest.raises(DataConsistencyError, match="found 1 of others: 1 Raw Data Storage"):
            DicomCubeImage.from_dicom_folder(source, keep_all=True)
        series_uid = str(make_slice().SeriesInstanceUID)
        image = DicomCubeImage.from_dicom_folder(source, series_uid=series_uid, keep_all=True)
        assert image.shape == (2, 6, 5)
        with pytest.raises(DataConsistencyError, match="1 left out: 1 CT Image Storage"):
            DicomCubeImage.from_dicom_folder([*make_series(2), scout()], keep_all=True)

    def test_reasons_name_no_patient(self, tmp_path: Path) -> None:
        """Neither by the path nor by values."""
        private = scout()
        private.SOPClassUID = "1.2.3.4711"
        source = write_series(tmp_path / "DOE", [*make_series(2), private], ["1", "2", "JOHN"])
        read(source).to_file(tmp_path / "x.dcbs")
        (why,) = whole_files(tmp_path / "x.dcbs").values()
        assert why.startswith("an unknown UID (a text of 10 characters): frames of 9 x 4")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_video_of_many_fragments_takes_little_memory(tmp_path: Path) -> None:
    """In a process that can have 128 MB more than it has; the video has 200 MB."""
    small = write_series(tmp_path / "small", make_series(2))
    source = write_series(tmp_path / "in", [*make_series(2), video(8, [b"AB"])])
    head = (source / "I3").read_bytes()
    size = 1 << 16
    with (source / "I3").open("wb") as file:
        file.write(head[: head.index(b"\xfe\xff\x00\xe0")])
        file.write(struct.pack("<HHL", 0xFFFE, 0xE000, 0))
        for number in range(3000):
            start = struct.pack("<HHLL", 0xFFFE, 0xE000, size, number)
            file.write(start + NOISE[number : number + size - 4])
        file.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
    script = """
import pathlib, resource, sys, warnings
import dicube
from dicube import DicomCubeImage
warnings.simplefilter("ignore")
work = pathlib.Path(sys.argv[1])
DicomCubeImage.from_dicom_folder(work / "small").to_file(work / "small.dcbs", num_threads=1)
held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (128 << 20),) * 2)
image = DicomCubeImage.from_dicom_folder(work / "in", keep_all=True, num_threads=1)
image.to_file(work / "x.dcbs", num_threads=1)
(work / "in/I3").rename(work / "video")
dicube.restore_files(work / "x.dcbs", work / "out", num_threads=1, max_memory=64 << 20)
print(dicube.verify_file(work / "x.dcbs", num_threads=1).ok)
dicube.store_files(work / "video", work / "y.dcba")
print(dicube.verify_file(work / "y.dcba", work / "video", num_threads=1).ok)
"""
    done = run_python("-c", script, tmp_path)
    assert done.stdout == "True\nTrue\n", done.stderr
    assert filecmp.cmp(tmp_path / "video", tmp_path / "out" / "I3", shallow=False)
    assert contents(small).keys() <= contents(tmp_path / "out").keys()
