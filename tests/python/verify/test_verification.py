"""verification: each kind of damage is found and located; an intact file passes."""

from __future__ import annotations

import shutil
import signal
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import each, make_series, write_series
from numpy.typing import NDArray
from programs.running import ROOT, run_python

from dicube import DicomCubeImage, verify_file
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    MissingPackageError,
)
from dicube.storage import DcbReader, DcbWriter
from dicube.verify.report import Check, Outcome

COUNT = 40  # more than are decoded at a time


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("series"), make_series(COUNT))


@pytest.fixture(scope="module", params=[".dcbs", ".dcba"])
def good(request: pytest.FixtureRequest, originals: Path) -> bytes:
    path = originals.parent / f"good{request.param}"
    DicomCubeImage.from_dicom_folder(originals).to_file(path)
    return path.read_bytes()


def checks(path: Path, against: Path | None = None) -> dict[str, Check]:
    report = verify_file(path, against)
    assert report.ok == bool(report)
    assert report.ok == all(check.outcome is not Outcome.FAILS for check in report.checks)
    for check in report.checks:
        assert bool(check.problems) == (check.outcome is Outcome.FAILS)
        assert "\n" not in "".join([check.message, *check.problems])
    return {check.name: check for check in report.checks}


def failing(path: Path, against: Path | None = None) -> dict[str, Check]:
    return {n: c for n, c in checks(path, against).items() if c.outcome is Outcome.FAILS}


def test_few_large_frames_are_decoded_at_a_time(
    tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []

    def new_array(_reader: DcbReader, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        made.append(shape)
        return np.empty(shape, dtype)

    (tmp_path / "x").write_bytes(good)
    monkeypatch.setattr(DcbReader, "new_array", new_array)
    monkeypatch.setattr("dicube.verify.verification._BATCH_BYTES", 10 * 6 * 5 * 2)
    assert verify_file(tmp_path / "x")
    assert made[0] == (10, 6, 5)


def test_a_whole_file(tmp_path: Path, good: bytes, originals: Path) -> None:
    (tmp_path / "x").write_bytes(good)
    found = checks(tmp_path / "x", originals)
    assert list(found) == [
        *("structure", "checksums", "frames", "metadata", "counts", "geometry", "status"),
        *("original files", "agreement", "originals", "original bytes", "original elements"),
    ]
    assert {check.outcome for check in found.values()} == {Outcome.HOLDS}
    assert f"{COUNT} decoded" in found["frames"].message


def test_every_byte_that_means_something(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "x"
    for offset in np.random.default_rng(0).choice(len(good), 150, replace=False):
        damaged = bytearray(good)
        damaged[offset] ^= 1 << (offset % 8)
        path.write_bytes(damaged)
        assert failing(path), offset
    for length in (0, 50, 200, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        assert list(failing(path)) == ["structure"]


def test_mistakes_of_the_caller_are_no_damage(
    tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(good)
    with pytest.raises(DataConsistencyError, match="num_threads of 0 or more, found -1"):
        verify_file(tmp_path / "x", num_threads=-1)
    with pytest.raises(DataConsistencyError, match="storage_options are for URLs only"):
        verify_file(tmp_path / "x", storage_options={"anon": True})
    loaded = [name for name in sys.modules if name.startswith("fsspec.")]
    for name in ["fsspec", *loaded]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match="fsspec"):
        verify_file("https://example.org/x.dcbs")


def test_damaged_frames_are_named(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(good)
    with DcbReader(path) as reader:
        places = [reader.coded_range(index)[0] for index in (3, 35, 36)]
    damaged = bytearray(good)
    for place in places:
        damaged[place + 20] ^= 1
    path.write_bytes(damaged)
    found = failing(path)
    assert list(found) == ["checksums", "original files"]
    assert [problem.split(":")[0] for problem in found["checksums"].problems] == [
        "frame 3",
        "frame 35",
        "frame 36",
    ]


def test_a_damaged_section_is_named(tmp_path: Path, good: bytes) -> None:
    damaged = bytearray(good)
    offset, length = struct.unpack_from("<QQ", good, 28)
    damaged[offset + length // 2] ^= 1
    (tmp_path / "x").write_bytes(damaged)
    found = failing(tmp_path / "x")
    assert "dicom_meta" in found["checksums"].problems[0]
    assert found["metadata"].outcome is Outcome.FAILS


def test_frames_that_do_not_decode(tmp_path: Path, good: bytes) -> None:
    """Frames with a right checksum that are no image: a broken writer's."""
    (tmp_path / "x").write_bytes(good)
    with DcbReader(tmp_path / "x") as reader:
        offset, size = reader.coded_range(5)
        assert not failing(tmp_path / "x")
    broken = bytearray(good)
    broken[offset + size // 2 : offset + size] = bytes(size - size // 2)
    # A published writer's file has no checksums: as ours is without its directory.
    if broken[:8] == b"DCMCUBES":
        (tmp_path / "x").write_bytes(as_published(broken))
        problems = failing(tmp_path / "x")["frames"].problems
        assert [problem.split(":")[0] for problem in problems] == ["frame 5"]


def as_published(data: bytearray) -> bytes:
    """Take a file's extension directory away; one that a published reader would not miss."""
    data[116:126] = b"consistent"  # the first section
    struct.pack_into("<Q", data, 12, 116)  # where published writers put it
    return bytes(data)


def test_more_problems_than_are_told(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(good)
    damaged = bytearray(good)
    with DcbReader(path) as reader:
        for index in range(30):
            damaged[reader.coded_range(index)[0] + 20] ^= 1
    path.write_bytes(damaged)
    problems = failing(path)["checksums"].problems
    assert len(problems) == 21
    assert problems[-1] == "and 10 more"


def sections_replaced(
    path: Path,
    change: Callable[[dict[str, bytes]], object],
    change_frames: Callable[[NDArray[Any]], object] = lambda frames: None,
) -> None:
    """Write a file anew with right checksums and other sections or frames."""
    own = ("Image", "frame_offsets", "frame_lengths", "frame_checksums", "frame_levels")
    with DcbReader(path) as reader:
        sections = {name: reader.sections[name] for name in reader.sections if name not in own}
        frames, codec = reader.read_frames(), reader.codec
    change(sections)
    change_frames(frames)
    with DcbWriter(path, frames.shape, frames.dtype, codec=codec) as writer:
        for name, data in sections.items():
            writer.write_section(name, data)
        writer.write_frames(frames)


class TestPartsThatDoNotFit:
    @pytest.fixture
    def path(self, tmp_path: Path, originals: Path) -> Path:
        DicomCubeImage.from_dicom_folder(originals).to_file(tmp_path / "x.dcbs")
        return tmp_path / "x.dcbs"

    def test_metadata_of_another_number_of_slices(self, path: Path, originals: Path) -> None:
        one = DicomCubeImage.from_dicom_folder(originals / "I1")
        one.to_file(path.with_name("one.dcbs"))
        with DcbReader(path.with_name("one.dcbs")) as reader:
            meta = reader.sections["dicom_meta"]
        sections_replaced(path, lambda sections: sections.update(dicom_meta=meta))
        assert failing(path)["counts"].problems == (f"{COUNT} frames, but metadata of 1 slices",)

    def test_metadata_that_are_none(self, path: Path) -> None:
        sections_replaced(path, lambda sections: sections.update(dicom_meta=b"nothing"))
        assert "dicom_meta" in failing(path)["metadata"].problems[0]

    def test_geometry_of_another_volume(self, path: Path) -> None:
        sections_replaced(
            path,
            lambda sections: sections.update(
                space=sections["space"].replace(b'"shape": [5, 6, 40]', b'"shape": [5, 6, 41]')
            ),
        )
        assert "(40, 6, 5)" in failing(path)["counts"].problems[0]

    def test_geometry_elsewhere(self, path: Path) -> None:
        sections_replaced(
            path,
            lambda sections: sections.update(
                space=sections["space"].replace(b'"origin": [-10', b'"origin": [-11')
            ),
        )
        assert list(failing(path)) == ["geometry", "agreement"]

    def test_rows(self, path: Path) -> None:
        image = DicomCubeImage.from_file(path)
        assert image.dicom_meta is not None
        image.dicom_meta.set_shared_item("Rows", 7)
        image.to_file(path)
        assert "Rows is 7, but frames have 6" in failing(path)["counts"].problems

    def test_originals_of_other_pixels(self, path: Path) -> None:
        def flip(frames: NDArray[Any]) -> None:
            frames[7, 0, 0] ^= 1
            frames[30, 5, 4] ^= 0x8000

        sections_replaced(path, lambda sections: None, flip)
        (name,) = failing(path)
        assert name == "original files"
        assert failing(path)[name].problems == tuple(
            f"the original file of slice {index}: the restored file has another SHA-256"
            for index in (7, 30)
        )

    def test_originals_that_are_none(self, path: Path) -> None:
        sections_replaced(path, lambda sections: sections.update(originals=b"nothing"))
        assert "originals" in failing(path)["original files"].problems[0]

    def test_without_originals(self, path: Path) -> None:
        DicomCubeImage.from_file(path).to_file(path, exact=False)
        assert checks(path)["original files"].outcome is Outcome.UNKNOWN
        assert verify_file(path)

    def test_without_metadata(self, path: Path) -> None:
        sections_replaced(path, lambda sections: sections.clear())
        found = checks(path)
        assert found["metadata"].outcome is found["geometry"].outcome is Outcome.UNKNOWN
        assert verify_file(path)


class TestAgainst:
    @pytest.fixture(params=[".dcbs", ".dcba"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        write_series(tmp_path / "in", make_series(5))
        path = tmp_path / f"x{request.param}"
        DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(path)
        return path

    def test_the_same(self, path: Path) -> None:
        found = checks(path, path.with_name("in"))
        assert found["originals"].message.startswith("5 of 5 restored files")
        assert found["original elements"].outcome is Outcome.HOLDS

    @pytest.mark.parametrize("syntax", ["htj2k", "jpegxl"])
    def test_coded_originals(self, path: Path, syntax: str) -> None:
        coded = path.with_name("coded")
        DicomCubeImage.from_file(path).to_dicom_folder(coded, transfer_syntax=syntax)
        DicomCubeImage.from_dicom_folder(coded).to_file(path)
        assert not failing(path, coded)
        DicomCubeImage.from_file(path).to_file(path, exact=False)
        assert not failing(path, coded)

    def test_an_element_differs(self, path: Path) -> None:
        series = each(make_series(5), "PatientID", ["4711"] * 4 + ["4712"])
        write_series(path.with_name("in"), series)
        found = failing(path, path.with_name("in"))
        (problem,) = found["original elements"].problems
        assert problem.endswith("PatientID: a value of 4 bytes became a value of 4 bytes")

    def test_a_byte_differs_that_is_no_element(self, path: Path) -> None:
        target = path.with_name("in") / "I3"
        data = bytearray(target.read_bytes())
        data[5] = 1
        target.write_bytes(data)
        found = failing(path, path.with_name("in"))
        assert list(found) == ["original bytes"]
        assert found["original bytes"].problems == ("I3: first difference at byte 5",)
        DicomCubeImage.from_file(path).to_file(path, exact=False)
        assert verify_file(path, path.with_name("in"))

    def test_a_sample_differs(self, path: Path) -> None:
        target = path.with_name("in") / "I3"
        data = bytearray(target.read_bytes())
        data[-1] ^= 0x80
        target.write_bytes(data)
        (problem,) = failing(path, path.with_name("in"))["original elements"].problems
        assert "PixelData: 1 of 30 samples, the first at 29" in problem

    def test_an_original_is_missing(self, path: Path) -> None:
        (path.with_name("in") / "I3").unlink()
        (problem,) = failing(path, path.with_name("in"))["originals"].problems
        assert "no file with its SOPInstanceUID" in problem

    def test_an_original_that_the_file_lacks(self, path: Path) -> None:
        write_series(path.with_name("in"), make_series(6))
        (problem,) = failing(path, path.with_name("in"))["originals"].problems
        assert problem == "I6: part of the series, but not restored"

    def test_names_do_not_matter_and_other_files_neither(self, path: Path) -> None:
        folder = path.with_name("in")
        (folder / "sub").mkdir()
        (folder / "I1").rename(folder / "sub" / "renamed.dcm")
        other = each(make_series(1), "SeriesInstanceUID", ["1.9"])
        write_series(folder / "other", each(other, "SOPInstanceUID", ["1.9.1"]))
        (folder / "notes.txt").write_text("not DICOM")
        assert not failing(path, folder)

    def test_an_archive(self, path: Path, tmp_path: Path) -> None:
        archive = shutil.make_archive(str(tmp_path / "in"), "zip", path.with_name("in"))
        assert not failing(path, Path(archive))
        write_series(path.with_name("in"), make_series(6))
        archive = shutil.make_archive(str(tmp_path / "in"), "zip", path.with_name("in"))
        assert list(failing(path, Path(archive))) == ["originals"]

    @pytest.mark.skipif(sys.platform == "win32", reason="its limits have other names")
    def test_an_archive_is_not_unpacked_to_disk(self, path: Path, tmp_path: Path) -> None:
        archive = shutil.make_archive(str(tmp_path / "in"), "zip", path.with_name("in"))
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_BZIP2) as target:
            target.writestr("notes", bytes(20 << 20))
        script = """
import resource, sys
from dicube import verify_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
print(verify_file(sys.argv[1], against=sys.argv[2]).ok)
"""
        assert run_python("-c", script, path, archive).stdout == "True\n"
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_BZIP2) as target:
            target.writestr("I9", bytes(70 << 20))
        (problem,) = failing(path, Path(archive))["originals"].problems
        assert "I9: expected a file that unpacks to at most 200 times its packed" in problem

    @pytest.mark.parametrize("shape", [(6, 5), (300, 300)])
    def test_a_damaged_archive(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        """The last byte of the pixels; those of large images are read only to be compared."""
        folder = write_series(tmp_path / "in", make_series(2, shape=shape))
        path, archive = tmp_path / "x.dcbs", tmp_path / "in.zip"
        DicomCubeImage.from_dicom_folder(folder).to_file(path)
        with zipfile.ZipFile(archive, "w") as target:
            for file in sorted(folder.iterdir()):
                target.write(file, file.name)
        data = bytearray(archive.read_bytes())
        data[data.index(b"PK\x03\x04", 4) - 1] ^= 1
        archive.write_bytes(data)
        (problem,) = failing(path, archive)["originals"].problems
        assert "in.zip/I1 is damaged in its archive" in problem
        archive.write_bytes(data[:-30])
        (problem,) = failing(path, archive)["originals"].problems
        assert "in.zip is a damaged zip archive" in problem

    def test_no_originals_at_all(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert list(failing(path, tmp_path / "empty")) == ["originals"]
        with pytest.raises(CubeFileNotFoundError):
            verify_file(path, tmp_path / "none")

    def test_a_damaged_file_is_not_compared(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])
        assert checks(path, path.with_name("in"))["originals"].outcome is Outcome.UNKNOWN

    def test_a_file_without_metadata_restores_nothing(self, path: Path) -> None:
        sections_replaced(path, lambda sections: sections.clear())
        assert list(failing(path, path.with_name("in"))) == ["originals"]


class TestRequired:
    """What could not be checked is listed, and fails on request."""

    def test_a_whole_file(self, tmp_path: Path, good: bytes) -> None:
        (tmp_path / "x").write_bytes(good)
        report = verify_file(tmp_path / "x", require_checksums=True, require_originals=True)
        assert report.ok and report.unchecked == ()

    def test_no_originals(self, tmp_path: Path, good: bytes, originals: Path) -> None:
        path = tmp_path / "x.dcbs"
        path.write_bytes(good)
        DicomCubeImage.from_file(path).to_file(path, exact=False)
        report = verify_file(path)
        assert report.ok
        assert [check.name for check in report.unchecked] == ["original files"]
        for against in (None, originals):
            report = verify_file(path, against, require_originals=True)
            assert not report.ok
            (failed,) = (c for c in report.checks if c.outcome is Outcome.FAILS)
            assert failed.name == "original files"
            assert "holds no original files" in failed.problems[0]
        assert verify_file(path, require_checksums=True)

    def test_no_checksums(self, tmp_path: Path) -> None:
        path = tmp_path / "x.dcbs"
        DicomCubeImage(np.arange(60, dtype=np.uint16).reshape(3, 4, 5)).to_file(path)
        path.write_bytes(as_published(bytearray(path.read_bytes())))
        report = verify_file(path)
        assert report.ok
        assert "checksums" in [check.name for check in report.unchecked]
        report = verify_file(path, require_checksums=True)
        (failed,) = (c for c in report.checks if c.outcome is Outcome.FAILS)
        assert failed.name == "checksums"
        assert "checksums" not in [check.name for check in report.unchecked]

    def test_a_lossy_file(self, tmp_path: Path, originals: Path) -> None:
        path = tmp_path / "x.dcbl"
        DicomCubeImage.from_dicom_folder(originals).to_file(path, max_error=1)
        assert verify_file(path, originals)
        assert not verify_file(path, originals, require_originals=True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError):
        verify_file(tmp_path / "none.dcbs")


def test_a_folder_of_progress(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "x").write_bytes(good)
    steps: list[tuple[int, int]] = []
    verify_file(tmp_path / "x", progress=lambda *step: steps.append(step))
    assert steps[-1] == (COUNT, COUNT)


PUBLISHED = ROOT.parent / "shared" / "data" / "published_dicube_0_3_0"


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.dcbs")), ids=lambda path: path.name)
def test_published_files(path: Path) -> None:
    found = checks(path)
    assert found["checksums"].outcome is Outcome.UNKNOWN
    assert found["frames"].outcome is Outcome.HOLDS
    assert verify_file(path)


KILLED = """
import os, signal, sys, tempfile
import dicube.verify.original_comparison as comparison
import dicube.verify.nifti_comparison as nifti
from dicube.cli import main

tempfile.tempdir = sys.argv[3]

def killed(*_arguments):
    assert os.listdir(sys.argv[3]) and any(files for *_, files in os.walk(sys.argv[3]))
    for _ in range(2):
        os.kill(os.getpid(), getattr(signal, sys.argv[4]))
    signal.pause()

comparison.first_different_byte = nifti._voxels_check = killed
sys.exit(main(["verify", sys.argv[1], "--against", sys.argv[2]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_a_signal_leaves_nothing_of_the_restored_files(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(source)
    image.to_file(tmp_path / "x.dcbs")
    if kind == "nifti":
        pytest.importorskip("nibabel")
        source = tmp_path / "x.nii"
        image.to_nifti(source)
    (tmp_path / "temporary").mkdir()
    handler = "default_int_handler" if name == "SIGINT" else "SIG_DFL"
    code = f"import signal; signal.signal(signal.{name}, signal.{handler})\n"
    done = run_python(
        "-c", code + KILLED, tmp_path / "x.dcbs", source, tmp_path / "temporary", name
    )
    assert done.returncode == (1 if name == "SIGINT" else -getattr(signal, name)), done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "temporary").iterdir())
