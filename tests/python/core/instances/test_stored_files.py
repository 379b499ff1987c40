"""stored_files: dicube files without frames, and objects without pixels beside a volume."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import make_series, raw_data, without_pixels, write_series
from inputs.original_files import contents
from programs.running import run_python
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    MediaStorageDirectoryStorage,
    RawDataStorage,
    RTPlanStorage,
)

import dicube
from dicube import DicomCubeImage, strict_json
from dicube.core import cube_parts
from dicube.dicom.originals import keeper
from dicube.exceptions import (
    DataConsistencyError,
    InvalidCubeFileError,
    LeftOutWarning,
    MetaDataError,
    OutOfMemoryError,
)
from dicube.storage import DcbReader
from dicube.storage.packed_text import unpack_bytes

NOISE = np.random.default_rng(7).integers(0, 256, 3_000_000, np.uint8).tobytes()
OTHER_SERIES = "1.2.826.0.1.3680043.8.498.8"


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ranges of bulk so small that the files here have several."""
    monkeypatch.setattr(keeper, "_RANGE_SIZE", 1 << 20)


def mixed_series(folder: Path) -> Path:
    """Write a series of three images, a small raw data object and two large ones."""
    objects = [raw_data(1), raw_data(2, NOISE), raw_data(3, bytes(2_000_000))]
    return write_series(
        folder, [*make_series(3), *objects], ["1", "2", "3", "r/small", "r/noise", "r/zeros"]
    )


def loaded(source: object) -> DicomCubeImage:
    """Read a folder; ignore that it holds more than the images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*files? without pixels")
        return DicomCubeImage.from_dicom_folder(source)  # type: ignore[arg-type]


class TestObjectsOfTheImageSeries:
    @pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
    @pytest.mark.usefixtures("small_ranges")
    def test_they_come_back_to_the_byte(self, extension: str, tmp_path: Path) -> None:
        mixed_series(tmp_path / "in")
        with pytest.warns(UserWarning, match="without pixels.*3 Raw Data Storage") as seen:
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        assert len(seen) == 1
        assert image.shape == (3, 6, 5)
        assert image.why_not_exact() == ""
        image.to_dicom_folder(tmp_path / "direct")
        image.to_file(tmp_path / f"x{extension}")
        shutil.rmtree(tmp_path / "direct")
        with DcbReader(tmp_path / f"x{extension}") as reader:
            size = reader.sections.size("originals_bulk")
            assert len(NOISE) < size < len(NOISE) + 20_000  # zeros and headers shrink
        again = DicomCubeImage.from_file(tmp_path / f"x{extension}")
        assert again.why_not_exact() == ""
        again.to_dicom_folder(tmp_path / "out", exact=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "in")
        again.to_file(tmp_path / "y.dcbs")
        again.to_file(tmp_path / f"x{extension}")  # over the file that the bulk is read from
        for path in ("y.dcbs", f"x{extension}"):
            dicube.restore_files(tmp_path / path, tmp_path / f"out of {path}")
            assert contents(tmp_path / f"out of {path}") == contents(tmp_path / "in")

    def test_bulk_at_a_url(self, tmp_path: Path) -> None:
        fsspec = pytest.importorskip("fsspec")
        mixed_series(tmp_path / "in")
        loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        fsspec.filesystem("memory").pipe("/bulk.dcbs", (tmp_path / "x.dcbs").read_bytes())
        image = DicomCubeImage.from_file("memory://bulk.dcbs")
        image.to_dicom_folder(tmp_path / "out", exact=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "in")
        dicube.restore_files("memory://bulk.dcbs", tmp_path / "one", ["r/noise"])
        assert contents(tmp_path / "one")["r/noise"] == contents(tmp_path / "in")["r/noise"]

    def test_all_sources_of_files(self, tmp_path: Path) -> None:
        mixed_series(tmp_path / "in")
        with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((tmp_path / "in").rglob("*")):
                archive.write(path, path.relative_to(tmp_path / "in"))
        paths = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
        for number, source in enumerate((tmp_path / "in.zip", paths, str(tmp_path / "in"))):
            image = pickle.loads(pickle.dumps(loaded(source)))
            image.to_file(tmp_path / "x.dcbs")
            image = pickle.loads(pickle.dumps(DicomCubeImage.from_file(tmp_path / "x.dcbs")))
            image.to_dicom_folder(tmp_path / str(number), exact=True)
            assert contents(tmp_path / str(number)) == contents(tmp_path / "in")

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
    def test_other_encodings(self, syntax: str, tmp_path: Path) -> None:
        raw = raw_data(1, NOISE[:200_000])
        raw.file_meta.TransferSyntaxUID = syntax
        write_series(tmp_path / "in", [*make_series(2), raw])
        loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(tmp_path / "in")

    def test_one_is_read_without_unpacking_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mixed_series(tmp_path / "in")
        loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        assert sorted(dicube.stored_names(tmp_path / "x.dcbs")) == sorted(contents(tmp_path / "in"))
        data = bytearray((tmp_path / "x.dcbs").read_bytes())
        with DcbReader(bytes(data)) as reader:
            offset = reader._file.reader.section_range("originals_bulk")[0]
        data[offset + 10] ^= 1  # of the first
        (tmp_path / "bad.dcbs").write_bytes(data)
        dicube.restore_files(tmp_path / "bad.dcbs", tmp_path / "one", ["r/zeros", "2"])
        original = contents(tmp_path / "in")
        assert contents(tmp_path / "one") == {name: original[name] for name in ("r/zeros", "2")}
        with pytest.raises(InvalidCubeFileError, match=r"originals_bulk, offset 0: .*checksum"):
            dicube.restore_files(tmp_path / "bad.dcbs", tmp_path / "all", ["r/noise"])
        assert contents(tmp_path / "all") == {}
        with pytest.raises(InvalidCubeFileError, match=r"originals_bulk, offset 0: .*checksum"):
            DicomCubeImage.from_file(tmp_path / "bad.dcbs").to_file(tmp_path / "copy.dcbs")
        assert not (tmp_path / "copy.dcbs").exists()
        assert not dicube.verify_file(tmp_path / "bad.dcbs").ok
        assert dicube.verify_file(tmp_path / "x.dcbs").ok
        monkeypatch.setattr(DcbReader, "read_frames", None)  # frames are not decoded for these
        dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "raw", ["r/small"])

    def test_unknown_names(self, tmp_path: Path) -> None:
        mixed_series(tmp_path / "in")
        loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        with pytest.raises(DataConsistencyError, match="no original file nowhere"):
            dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out", ["1", "nowhere"])
        with pytest.warns(UserWarning, match="because exact is False"):
            loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs", exact=False)
        with pytest.raises(DataConsistencyError, match="holds no original files"):
            dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out")

    def test_an_edit_that_drops_them_says_so(self, tmp_path: Path) -> None:
        mixed_series(tmp_path / "in")
        loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        for image in (loaded(tmp_path / "in"), DicomCubeImage.from_file(tmp_path / "x.dcbs")):
            image.dicom_meta.set_shared_item("PatientName", "X")  # type: ignore[union-attr]
            dropped = r"3 files .*because the metadata were changed$"
            for write in (
                lambda image=image: image.to_file(tmp_path / "edited.dcbs"),
                lambda image=image: image.to_dicom_folder(tmp_path / "edited", overwrite=True),
            ):
                with pytest.warns(UserWarning, match=dropped):
                    write()
            with pytest.warns(UserWarning, match="3 files .*because it is coded lossily"):
                image.to_file(tmp_path / "lossy.dcba", max_error=1)
            with pytest.warns(UserWarning, match="3 files .*because new files are made"):
                image.to_dicom_folder(tmp_path / "new", overwrite=True, transfer_syntax="htj2k")
            with pytest.warns(UserWarning, match="3 files .*because exact is False"):
                image.to_file(tmp_path / "asked.dcbs", exact=False)
        assert "originals_bulk" not in DcbReader(tmp_path / "edited.dcbs").sections

    def test_a_source_that_changes_meanwhile(self, tmp_path: Path) -> None:
        mixed_series(tmp_path / "in")
        image = loaded(tmp_path / "in")
        noise = tmp_path / "in" / "r" / "noise"
        noise.write_bytes(noise.read_bytes()[:-2])
        assert "noise was changed or removed since it was read" in image.why_not_exact()
        with pytest.warns(UserWarning, match="3 files .*was changed or removed"):
            image.to_file(tmp_path / "x.dcbs")
        shutil.rmtree(tmp_path / "in")
        assert "was changed or removed" in image.why_not_exact()
        with pytest.raises(DataConsistencyError, match="was changed or removed"):
            image.to_dicom_folder(tmp_path / "out", exact=True)

    def test_a_truncated_image_is_no_such_object(self, tmp_path: Path) -> None:
        series = make_series(3)
        del series[1].PixelData
        write_series(tmp_path, series)
        with pytest.raises(DataConsistencyError, match="I2 has no pixel data"):
            DicomCubeImage.from_dicom_folder(tmp_path)

    @pytest.mark.parametrize("name", ["PatientID", "PatientName", "StudyInstanceUID"])
    def test_of_another_patient(self, name: str, tmp_path: Path) -> None:
        """A file shows one patient. What it would refuse to restore, it doesn't keep."""
        stranger, same = raw_data(1), raw_data(2)
        setattr(stranger, name, "1.2.3")
        setattr(same, name, str(make_series(1)[0].get(name)).lower())
        source = write_series(
            tmp_path / "in", [*make_series(2), stranger, same], ["1", "2", "stranger", "same"]
        )
        told = r"1 kept .*; 1 left out, as they contradict .*stranger\); store_files"
        with pytest.warns(UserWarning, match=told):
            DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "x.dcbs")
        dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out")
        kept = {key: data for key, data in contents(source).items() if key != "stranger"}
        assert contents(tmp_path / "out") == kept
        dicube.store_files(source, tmp_path / "all.dcbs")
        dicube.restore_files(tmp_path / "all.dcbs", tmp_path / "all")
        assert contents(tmp_path / "all") == contents(source)

    def test_slices_and_objects_of_a_dataset_in_memory(self) -> None:
        with pytest.warns(UserWarning, match="1 left out: 1 Raw Data Storage"):
            image = DicomCubeImage.from_dicom_folder([*make_series(2), raw_data(1)])
        assert image.shape == (2, 6, 5)


class TestObjectsOfOtherSeries:
    def study(self, folder: Path) -> Path:
        objects = [
            without_pixels(BasicTextSRStorage, 1, OTHER_SERIES + ".1", ValueType="CONTAINER"),
            without_pixels(KeyObjectSelectionDocumentStorage, 2, OTHER_SERIES + ".2"),
            without_pixels(
                EncapsulatedPDFStorage, 3, OTHER_SERIES + ".3", EncapsulatedDocument=b"%PDF-1.4"
            ),
            without_pixels(RTPlanStorage, 4, OTHER_SERIES + ".4"),
            raw_data(5, series_uid=OTHER_SERIES + ".5"),
        ]
        names = ["1", "2", "sr", "ko", "pdf", "plan", "raw"]
        return write_series(folder, [*make_series(2), *objects], names)

    def test_one_warning_counts_them_and_names_three(self, tmp_path: Path) -> None:
        self.study(tmp_path / "in")
        with pytest.warns(UserWarning) as seen:
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        image.to_file(tmp_path / "x.dcbs")
        (warning,) = seen
        text = str(warning.message)
        assert warning.filename == __file__
        for told in ("5 left out: ", "1 Basic Text SR Storage", "1 Encapsulated PDF Storage"):
            assert told in text
        assert sum(f"{os.sep}{name}" in text for name in ("sr", "ko", "pdf", "plan", "raw")) == 3
        with DcbReader(tmp_path / "x.dcbs") as reader:
            data = unpack_bytes(reader.sections["originals"])
        (length,) = struct.unpack_from("<L", data)
        assert json.loads(data[4 : 4 + length])["version"] == 1

    def test_verify_counts_them(self, tmp_path: Path) -> None:
        loaded(self.study(tmp_path / "in")).to_file(tmp_path / "x.dcbs")
        report = dicube.verify_file(tmp_path / "x.dcbs", tmp_path / "in")
        assert report.ok
        (check,) = [check for check in report.checks if check.name == "other files"]
        assert check.outcome.value == "unknown"
        assert check.message.startswith("not in the file: 5 files of other series: ")
        report = dicube.verify_file(tmp_path / "x.dcbs", tmp_path / "in", whole_source=True)
        (failed,) = [check for check in report.checks if check.outcome.value == "failed"]
        assert failed.name == "other files"
        assert "sr: Basic Text SR Storage of another series" in failed.problems

    def test_non_patient_objects_have_no_series(self, tmp_path: Path) -> None:
        protocol = without_pixels("1.2.840.10008.5.1.4.38.1", 1)
        del protocol.SeriesInstanceUID, protocol.StudyInstanceUID
        write_series(tmp_path, [*make_series(2), protocol])
        with pytest.warns(UserWarning, match="1 Hanging Protocol Storage"):
            assert DicomCubeImage.from_dicom_folder(tmp_path).shape == (2, 6, 5)


def test_verify_fails_on_objects_of_the_series_that_are_missing(tmp_path: Path) -> None:
    mixed_series(tmp_path / "in")
    image = loaded(tmp_path / "in")
    image.to_file(tmp_path / "exact.dcbs")
    assert dicube.verify_file(tmp_path / "exact.dcbs", tmp_path / "in", whole_source=True).ok
    with pytest.warns(UserWarning, match="coded lossily"):
        image.to_file(tmp_path / "lossy.dcba", max_error=2)
    with pytest.warns(UserWarning, match="because exact is False"):
        image.to_file(tmp_path / "new.dcbs", exact=False)
    for name in ("lossy.dcba", "new.dcbs"):
        report = dicube.verify_file(tmp_path / name, tmp_path / "in")
        (failed,) = [check for check in report.checks if check.outcome.value == "failed"]
        assert sorted(failed.problems) == [
            f"{name}: part of the series, but not restored"
            for name in ("r/noise", "r/small", "r/zeros")
        ]
    directory = raw_data(8)
    directory.SOPClassUID = MediaStorageDirectoryStorage
    directory.save_as(tmp_path / "in" / "DICOMDIR", enforce_file_format=True)
    for whole_source in (False, True):
        report = dicube.verify_file(
            tmp_path / "exact.dcbs", tmp_path / "in", whole_source=whole_source
        )
        assert report.ok is not whole_source
        assert report.checks[-1].message == "not in the file: 1 DICOMDIR: DICOMDIR"
    # The same UID in another study is another series.
    foreign = raw_data(9)
    foreign.StudyInstanceUID = "1.2.3"
    foreign.save_as(tmp_path / "in" / "foreign", enforce_file_format=True)
    assert dicube.verify_file(tmp_path / "exact.dcbs", tmp_path / "in").ok
    assert not dicube.verify_file(tmp_path / "exact.dcbs", tmp_path / "in", whole_source=True).ok


class TestFilesWithoutFrames:
    @pytest.fixture
    def reports(self, tmp_path: Path) -> Path:
        objects = [
            without_pixels(BasicTextSRStorage, number, PatientName="DOE^JANE")
            for number in range(3)
        ]
        large = without_pixels(EncapsulatedPDFStorage, 4, EncapsulatedDocument=NOISE)
        return write_series(tmp_path / "in", [*objects, large], ["a", "b/a", "b/b", "c.pdf.dcm"])

    @pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
    def test_they_restore_their_files(self, extension: str, reports: Path, tmp_path: Path) -> None:
        path = tmp_path / f"x{extension}"
        with pytest.raises(MetaDataError, match="no images among 4 DICOM files: 3 Basic Text SR"):
            DicomCubeImage.from_dicom_folder(reports)
        assert dicube.store_files(reports, path) == 4
        with DcbReader(path) as reader:
            assert reader.shape[0] == 0
            assert set(reader.sections) == {"dicom_meta", "originals", "originals_bulk"}
        dicube.restore_files(path, tmp_path / "out")
        assert contents(tmp_path / "out") == contents(reports)
        dicube.restore_files(path, tmp_path / "one", ["b/b"])
        assert contents(tmp_path / "one") == {"b/b": contents(reports)["b/b"]}
        meta = dicube.load_meta(path)
        assert meta is not None
        assert meta.slice_count == 4
        assert meta.get("PatientName", force_nonshared=True) == [*["DOE^JANE"] * 3, None]
        assert meta.get("EncapsulatedDocument", force_nonshared=True) == [None] * 4
        assert dicube.verify_file(path, reports, whole_source=True).ok

    def test_readers_of_images_say_what_it_is(self, reports: Path, tmp_path: Path) -> None:
        dicube.store_files(reports, tmp_path / "x.dcba")
        for read in (
            DicomCubeImage.from_file,
            dicube.load,
            dicube.open,
            lambda path: dicube.DicomCubeImage.from_file(path, dtype="float32"),
        ):
            with pytest.raises(InvalidCubeFileError, match="no frames, but 4 original files"):
                read(tmp_path / "x.dcba")  # type: ignore[no-untyped-call]

    def test_a_series_without_images_beside_one_with_images(
        self, reports: Path, tmp_path: Path
    ) -> None:
        uid = OTHER_SERIES + ".1"
        study = TestObjectsOfOtherSeries().study(tmp_path / "study")
        with pytest.raises(MetaDataError, match="no images among 1 DICOM files: 1 Basic Text SR"):
            DicomCubeImage.from_dicom_folder(study, series_uid=uid)
        assert dicube.store_files(study, tmp_path / "x.dcba", uid) == 1
        assert dicube.stored_names(tmp_path / "x.dcba") == ("sr",)

    def test_repetitive_bytes(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", [raw_data(1, bytes(20 << 20))])
        dicube.store_files(tmp_path / "in", tmp_path / "x.dcba")
        assert (tmp_path / "x.dcba").stat().st_size < 8000
        dicube.restore_files(tmp_path / "x.dcba", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(tmp_path / "in")

    def test_repetitive_metadata(
        self, reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strict_json, "_ALWAYS_ALLOWED", 100)
        monkeypatch.setattr(strict_json, "_MOST_GROWTH", 4)
        dicube.store_files(reports, tmp_path / "x.dcbs")
        assert dicube.load_meta(tmp_path / "x.dcbs") is not None
        assert len(dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out")) == 4

    def test_many_equal_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """They take fewer bytes than readers expect of so many files, so padding follows."""
        monkeypatch.setattr(cube_parts, "_SLICES_ALWAYS_ALLOWED", 10)
        names = [f"{number}" for number in range(300)]
        write_series(tmp_path / "in", [without_pixels(BasicTextSRStorage, 1)] * 300, names)
        dicube.store_files(tmp_path / "in", tmp_path / "x.dcbs")
        meta = dicube.load_meta(tmp_path / "x.dcbs")
        assert meta is not None
        assert meta.slice_count == 300

    def test_refused(self, reports: Path, tmp_path: Path) -> None:
        for name in ("x.dcbl", "x.dcbr", "x.txt"):
            with pytest.raises(DataConsistencyError):
                dicube.store_files(reports, tmp_path / name)
        with pytest.raises(DataConsistencyError, match="dataset in memory"):
            dicube.store_files(without_pixels(RawDataStorage, 1), tmp_path / "x.dcba")
        several = [without_pixels(RawDataStorage, 1), without_pixels(RawDataStorage, 2, "1.2.3")]
        write_series(tmp_path / "two", several)
        with pytest.raises(DataConsistencyError, match="2 series found"):
            dicube.store_files(tmp_path / "two", tmp_path / "x.dcba")
        assert dicube.store_files(tmp_path / "two", tmp_path / "x.dcba", "1.2.3") == 1
        assert dicube.stored_names(tmp_path / "x.dcba") == ("I2",)

    def test_max_memory(self, reports: Path, tmp_path: Path) -> None:
        dicube.store_files(reports, tmp_path / "x.dcba")
        with pytest.raises(OutOfMemoryError, match="max_memory is 1000000"):
            dicube.restore_files(
                tmp_path / "x.dcba", tmp_path / "out", ["c.pdf.dcm"], max_memory=1_000_000
            )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_gigabytes_of_raw_data_take_little_memory(tmp_path: Path) -> None:
    """In a process that can have 256 MB more than it has."""
    folder = write_series(tmp_path / "in", [*make_series(2), raw_data(1, b"AB")])
    raw = folder / "I3"
    head = bytearray(raw.read_bytes()[:-2])
    head[-4:] = struct.pack("<L", 320 << 20)
    with raw.open("wb") as file:
        file.write(head)
        file.write(NOISE)
        file.truncate(len(head) + (320 << 20))  # a hole, which takes no room on the disk
    script = """
import filecmp, pathlib, resource, sys, warnings
import dicube
from dicube import DicomCubeImage
warnings.simplefilter("ignore")
work = pathlib.Path(sys.argv[1])
dicube.load_from_dicom_folder(work / "small").to_file(work / "small.dcbs")
held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20),) * 2)
DicomCubeImage.from_dicom_folder(work / "in").to_file(work / "x.dcbs", num_threads=1)
image = DicomCubeImage.from_file(work / "x.dcbs", num_threads=1, max_memory=128 << 20)
image.to_file(work / "y.dcbs", num_threads=1)
image.to_dicom_folder(work / "out", exact=True)
print(filecmp.cmp(work / "in/I3", work / "out/I3", shallow=False))
dicube.store_files(work / "in/I3", work / "z.dcba")
print(dicube.verify_file(work / "z.dcba", num_threads=1).ok)
"""
    write_series(tmp_path / "small", make_series(2))
    done = run_python("-c", script, tmp_path)
    assert done.stdout == "True\nTrue\n", done.stderr
    assert (tmp_path / "y.dcbs").stat().st_size < 10_000_000


def hidden_copies(folder: Path) -> Iterator[Path]:
    """Yield sources that hold a part of a series as a dicube file."""
    series = write_series(folder / "all", make_series(4))
    loaded([series / f"I{n}" for n in (1, 2, 3)]).to_file(folder / "part.dcbs")
    mixed = folder / "mixed"
    mixed.mkdir()
    shutil.copy(series / "I4", mixed)
    shutil.copy(folder / "part.dcbs", mixed / "no extension")
    yield mixed
    with zipfile.ZipFile(folder / "mixed.zip", "w") as archive:
        for path in mixed.iterdir():
            archive.write(path, path.name)
    yield folder / "mixed.zip"


def test_dicube_files_among_sources_are_an_error_that_names_them(tmp_path: Path) -> None:
    sources: list[object] = list(hidden_copies(tmp_path))
    for source in (*sources, [tmp_path / "part.dcbs", tmp_path / "all" / "I4"]):
        for read in (DicomCubeImage.from_dicom_folder, dicube.read_dicom_dir):
            with pytest.raises(
                DataConsistencyError, match=r"(no extension|part.dcbs) is a dicube file"
            ):
                read(source)  # type: ignore[operator]


def test_images_are_copied_with_them(tmp_path: Path) -> None:
    mixed_series(tmp_path / "in")
    loaded(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    image = copy.deepcopy(DicomCubeImage.from_file(tmp_path / "x.dcbs"))
    image.to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


@pytest.mark.parametrize("target", ["x.dcbs", "x.nii.gz", "x.dcm", "out", "coded"])
def test_a_target_without_them_says_so(target: str, tmp_path: Path) -> None:
    mixed_series(tmp_path / "in")
    loaded(tmp_path / "in").to_file(tmp_path / "exact.dcba")
    image = DicomCubeImage.from_file(tmp_path / "exact.dcba")
    path = tmp_path / target
    with pytest.warns(UserWarning, match="3 files beside the volume, .*, are left out"):
        if target == "x.dcbs":
            image.to_file(path, exact=False)
        elif target == "x.nii.gz":
            image.to_nifti(path)
        elif target == "x.dcm":
            image.to_dicom_file(path)
        elif target == "out":
            image.to_dicom_folder(path, exact=False)
        else:
            image.to_dicom_folder(path, transfer_syntax="explicit")
    assert path.exists()


def test_an_edit_that_drops_them_is_a_warning_of_its_own(tmp_path: Path) -> None:
    mixed_series(tmp_path / "in")
    image = loaded(tmp_path / "in")
    image.dicom_meta.set_shared_item("SeriesDescription", "edited")
    with pytest.warns(LeftOutWarning, match="3 files beside the volume"):
        image.to_file(tmp_path / "x.dcbs")
