"""late_instances: files that came late join the dicube file of their series, or are refused."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import (
    SERIES_UID,
    each,
    make_series,
    make_slice,
    raw_data,
    set_pixels,
    without_pixels,
    write_series,
)
from inputs.original_files import contents
from programs.running import run_python
from pydicom.uid import BasicTextSRStorage, JPEG2000Lossless

import dicube
from dicube import DicomCubeImage, SortMethod
from dicube.cli import main
from dicube.core.instances import late_instances
from dicube.core.instances.late_instances import Appended, append_files
from dicube.exceptions import (
    CubeFileAccessError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None", "ignore:.*DICOM files")


def stored(folder: Path, path: Path, **how: Any) -> Path:
    """Write the dicube file of a folder."""
    DicomCubeImage.from_dicom_folder(folder, keep_all=True).to_file(path, exact="always", **how)
    return path


def split(tmp_path: Path, datasets: list[Any], early: int) -> tuple[Path, Path]:
    """Write the first datasets into one folder and the others into another, as I1, I2, ..."""
    names = [f"I{number + 1}" for number in range(len(datasets))]
    first = write_series(tmp_path / "early", datasets[:early], names[:early])
    return first, write_series(tmp_path / "late", datasets[early:], names[early:])


def expect_all(path: Path, work: Path, *folders: Path) -> None:
    """A dicube file is whole, and restores the files of all folders to the byte."""
    report = dicube.verify_file(path, require_originals=True)
    assert report.ok, report
    shutil.rmtree(work / "out", ignore_errors=True)
    dicube.restore_files(path, work / "out")
    expected: dict[str, bytes] = {}
    for folder in folders:
        expected |= contents(folder)
    assert contents(work / "out") == expected


@pytest.mark.parametrize("extension", [".dcbs", ".dcba"])
def test_a_file_with_late_slices_equals_one_of_all_slices(extension: str, tmp_path: Path) -> None:
    early, late = split(tmp_path, make_series(6), 3)
    path = stored(early, tmp_path / f"x{extension}")
    os.chmod(path, 0o640)
    assert append_files(path, late) == Appended(3, 0, (3, 6), {}, ())
    expect_all(path, tmp_path, early, late)
    shutil.copytree(early, late, dirs_exist_ok=True)
    assert path.read_bytes() == stored(late, tmp_path / f"y{extension}").read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "x"))) == [
        path.name
    ]


def test_slices_between_and_sources_of_all_kinds(tmp_path: Path) -> None:
    series = make_series(7)
    early = write_series(tmp_path / "early", series[::3], ["1", "4", "7"])
    late = write_series(tmp_path / "late", [series[1], series[2], series[4]], ["2", "3", "5"])
    with zipfile.ZipFile(tmp_path / "late.zip", "w") as archive:
        archive.write(late / "2", "2")
        archive.write(early / "1", "1")
    path = stored(early, tmp_path / "x.dcbs")
    result = append_files(path, [tmp_path / "late.zip", late / "3", late / "5"])
    assert (result.added, result.present, result.slices) == (3, 1, (3, 3))
    assert len(result.whole) == 3  # as the volume has a step of three slices
    last = write_series(tmp_path / "last", [series[5]], ["6"])
    assert append_files(path, last).slices == (3, 7)
    image = DicomCubeImage.from_file(path)
    assert image.dicom_meta is not None
    assert image.dicom_meta.get("InstanceNumber", force_nonshared=True) == [*range(1, 8)]
    assert image.space is not None
    dicube.restore_files(path, tmp_path / "out")
    assert contents(tmp_path / "out") == {
        name: data for folder in (early, late, last) for name, data in contents(folder).items()
    }


@pytest.mark.parametrize("names", [[".a/1", ".a/2", ".b"], ["a/b/1", "a/b/2", "a/3"]])
def test_names_of_the_stored_files_stay(names: list[str], tmp_path: Path) -> None:
    series = make_series(4)
    early = write_series(tmp_path / "early", series[:3], names)
    late = write_series(tmp_path / "late", series[3:], ["late"])
    image = DicomCubeImage.from_dicom_folder([early / name for name in names])
    image.to_file(tmp_path / "x.dcbs")
    before = set(dicube.stored_names(tmp_path / "x.dcbs"))
    assert append_files(tmp_path / "x.dcbs", late).slices == (3, 4)
    assert set(dicube.stored_names(tmp_path / "x.dcbs")) == before | {"late"}


def test_slices_between_join_a_volume_with_copies(tmp_path: Path) -> None:
    series = make_series(5)
    early = write_series(tmp_path / "early", series[::2], ["1", "3", "5"])
    series[0].file_meta.ImplementationVersionName = "OTHER"
    write_series(early, series[:1], ["copy"])
    late = write_series(tmp_path / "late", series[1::2], ["2", "4"])
    path = stored(early, tmp_path / "x.dcbs")
    assert append_files(path, late).slices == (3, 5)
    expect_all(path, tmp_path, early, late)


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    early, _ = split(tmp_path, make_series(3), 3)
    path = stored(early, tmp_path / "x.dcbs")
    before = path.stat()
    assert append_files(path, [early, early / "I2"]) == Appended(0, 4, (3, 3), {}, ())
    assert path.stat() == before


def test_identical_late_files_count_once(tmp_path: Path) -> None:
    early, late = split(tmp_path, make_series(3), 2)
    shutil.copy(late / "I3", late / "again")
    path = stored(early, tmp_path / "x.dcbs")
    result = append_files(path, late)
    assert (result.added, result.present, result.slices) == (1, 1, (2, 3))


def test_names_that_exist_are_kept_apart(tmp_path: Path) -> None:
    series = make_series(4)
    early = write_series(tmp_path / "early", series[:2], ["a/1", "b"])
    late = write_series(tmp_path / "late", series[2:], ["x/1", "x/B"])
    path = stored(early, tmp_path / "x.dcbs")
    append_files(path, late)
    names = dicube.stored_names(path)
    assert {"a/1", "b"} < set(names)
    assert sorted(name.rpartition("-")[2] for name in names) == ["1", "B", "a/1", "b"]
    dicube.restore_files(path, tmp_path / "out")
    assert sorted(contents(tmp_path / "out").values()) == sorted(
        [*contents(early).values(), *contents(late).values()]
    )


@pytest.mark.parametrize("method", SortMethod)
def test_the_order_of_slices_stays(method: SortMethod, tmp_path: Path) -> None:
    series = each(make_series(5), "InstanceNumber", [3, 1, 4, 2, 5])
    early, late = split(tmp_path, series, 3)
    image = DicomCubeImage.from_dicom_folder(early, method)
    image.to_file(tmp_path / "x.dcbs")
    append_files(tmp_path / "x.dcbs", late)
    shutil.copytree(early, late, dirs_exist_ok=True)
    DicomCubeImage.from_dicom_folder(late, method).to_file(tmp_path / "y.dcbs")
    assert (tmp_path / "x.dcbs").read_bytes() == (tmp_path / "y.dcbs").read_bytes()


class TestConflicts:
    def test_other_bytes_of_an_instance_are_refused_by_name(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        early, late = split(tmp_path, make_series(4), 3)
        changed = make_slice(1)
        changed.SeriesDescription = "corrected"
        write_series(late, [changed], ["other"])
        path = stored(early, tmp_path / "x.dcbs")
        result = append_files(path, late)
        assert (result.added, result.slices) == (1, (3, 4))
        assert [conflict.path for conflict in result.conflicts] == [str(late / "other")]
        (late / "other").unlink()
        expect_all(path, tmp_path, early, late)
        write_series(late, [changed], ["other"])
        assert main(["append", str(path), str(late)]) == 3
        out, err = capsys.readouterr()
        assert out.endswith(
            "x.dcbs: 0 files added, 1 there already, 1 refused; 4 slices, 4 before\n"
        )
        assert f"{late / 'other'}: another file has its SOPInstanceUID" in err

    def test_of_files_beside_the_volume_and_of_files_without_frames(self, tmp_path: Path) -> None:
        objects = [raw_data(1), raw_data(2, bytes(100_000))]
        other = write_series(tmp_path / "other", [raw_data(1, b"else"), raw_data(2, b"else")])
        write_series(tmp_path / "in", objects)
        dicube.store_files(tmp_path / "in", tmp_path / "x.dcba")
        write_series(tmp_path / "in", [*objects, *make_series(2)])
        stored(tmp_path / "in", tmp_path / "y.dcba")
        for path in (tmp_path / "x.dcba", tmp_path / "y.dcba"):
            before = path.read_bytes()
            assert [*map(len, (append_files(path, other).conflicts,))] == [2]
            assert path.read_bytes() == before

    def test_among_late_files(self, tmp_path: Path) -> None:
        early, late = split(tmp_path, make_series(3), 2)
        changed = make_slice(2)
        changed.SeriesDescription = "corrected"
        write_series(late, [changed], ["other"])
        result = append_files(stored(early, tmp_path / "x.dcbs"), late)
        assert (result.added, len(result.conflicts)) == (1, 1)


class TestTheVolumeKeepsItsFrames:
    def test_more_late_slices_of_another_shape(self, tmp_path: Path) -> None:
        odd = [make_slice(index, shape=(9, 4)) for index in range(3, 9)]
        early, late = split(tmp_path, [*make_series(3), *odd], 3)
        path = stored(early, tmp_path / "x.dcbs")
        result = append_files(path, late)
        assert result.slices == (3, 3)
        assert set(result.whole) == {str(late / f"I{n}") for n in range(4, 10)}
        assert all("another shape" in reason for reason in result.whole.values())
        expect_all(path, tmp_path, early, late)
        # ... and the next time, too, with a slice that fits.
        more = write_series(tmp_path / "more", [make_slice(20)], ["I20"])
        more_slices = each([make_slice(3)], "SOPInstanceUID", [f"{SERIES_UID}.55"])
        write_series(more, more_slices, ["I21"])
        assert append_files(path, more).slices == (3, 5)
        expect_all(path, tmp_path, early, late, more)

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [
            ("ImagePositionPatient", [-10, 20, 8.6]),
            ("ImagePositionPatient", [-9, 20, 7.5]),
            ("ImageOrientationPatient", [1, 0, 0, 0, 0, 1]),
            ("PixelSpacing", [0.5, 0.7]),
            ("ImagePositionPatient", ...),
        ],
    )
    def test_a_slice_off_the_grid(self, keyword: str, value: Any, tmp_path: Path) -> None:
        series = make_series(5)
        each(series[3:4], keyword, [value])
        early, late = split(tmp_path, series, 3)
        path = stored(early, tmp_path / "x.dcbs")
        space = DicomCubeImage.from_file(path).space
        assert space is not None
        (late / "I5").rename(tmp_path / "I5")
        result = append_files(path, late)
        assert result.slices == (3, 3)
        assert "not on the grid" in result.whole[str(late / "I4")]
        assert DicomCubeImage.from_file(path).space is not None
        (tmp_path / "I5").rename(late / "I5")
        result = append_files(path, late)  # a slice that is missing between comes later still
        assert (result.present, result.slices) == (1, (3, 4))
        expect_all(path, tmp_path, early, late)

    def test_the_volume_is_a_single_slice(self, tmp_path: Path) -> None:
        series = make_series(3)
        series[1].ImageOrientationPatient = [1, 0, 0, 0, 0, 1]
        early, late = split(tmp_path, series, 1)
        path = stored(early, tmp_path / "x.dcbs")
        result = append_files(path, late)
        assert (result.slices, [*result.whole]) == ((1, 2), [str(late / "I2")])
        expect_all(path, tmp_path, early, late)

    def test_a_gap_is_filled_later(self, tmp_path: Path) -> None:
        series = make_series(6)
        early, late = split(tmp_path, series, 3)
        (late / "I4").rename(tmp_path / "I4")
        path = stored(early, tmp_path / "x.dcbs")
        assert append_files(path, late).slices == (3, 5)
        assert DicomCubeImage.from_file(path).space is None
        assert append_files(path, tmp_path / "I4").slices == (5, 6)
        assert DicomCubeImage.from_file(path).space is not None

    def test_a_slice_that_cannot_be_decoded(self, tmp_path: Path) -> None:
        broken = make_slice(3, shape=(64, 48))
        broken.compress(JPEG2000Lossless, generate_instance_uid=False)
        data = bytearray(broken.PixelData)
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        data[40:60] = bytes(20)
        broken.PixelData = bytes(data)
        early, late = split(tmp_path, [*make_series(3, shape=(64, 48)), broken], 3)
        path = stored(early, tmp_path / "x.dcbs")
        result = append_files(path, late)
        assert (result.added, result.slices) == (1, (3, 3))
        assert set(result.whole) == {str(late / "I4")}
        expect_all(path, tmp_path, early, late)

    def test_coded_frames_are_kept(self, tmp_path: Path) -> None:
        series = make_series(4, shape=(64, 48))
        for dataset in series[2:]:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        early, late = split(tmp_path, series, 2)
        path = stored(early, tmp_path / "x.dcba")
        assert append_files(path, late).slices == (2, 4)
        expect_all(path, tmp_path, early, late)

    def test_objects_without_pixels(self, tmp_path: Path) -> None:
        early, late = split(tmp_path, [*make_series(2), raw_data(1)], 2)
        path = stored(early, tmp_path / "x.dcba")
        result = append_files(path, late)
        assert (result.slices, len(result.whole)) == ((2, 2), 1)
        expect_all(path, tmp_path, early, late)


def test_files_without_frames(tmp_path: Path) -> None:
    early, late = split(tmp_path, [raw_data(1), without_pixels(BasicTextSRStorage, 2)], 1)
    path = tmp_path / "x.dcba"
    dicube.store_files(early, path)
    result = append_files(path, late)
    assert (result.added, result.slices) == (1, (0, 0))
    expect_all(path, tmp_path, early, late)
    images = write_series(tmp_path / "images", make_series(2), ["a", "b"])
    assert append_files(path, images).slices == (0, 2)
    expect_all(path, tmp_path, early, late, images)


class TestRefusals:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        split(tmp_path, make_series(4), 3)
        return stored(tmp_path / "early", tmp_path / "x.dcbs")

    @pytest.mark.parametrize("kind", ["no originals", "edited", "lossy", "arrays"])
    def test_files_without_originals(self, kind: str, path: Path, tmp_path: Path) -> None:
        image = DicomCubeImage.from_file(path)
        target = tmp_path / "y.dcba"
        if kind == "edited":
            assert image.dicom_meta is not None
            image.dicom_meta.set_shared_item("PatientName", "ANONYMOUS^")
        if kind == "arrays":
            image = DicomCubeImage(image.raw_image)
        options: dict[str, Any] = {"lossy": {"max_error": 2}, "no originals": {"exact": False}}
        image.to_file(target, **options.get(kind, {}))
        before = target.read_bytes()
        with pytest.raises(
            DataConsistencyError, match=r"y\.dcba holds no original files"
        ) as caught:
            append_files(target, tmp_path / "late")
        assert "DOE" not in str(caught.value)
        assert target.read_bytes() == before

    @pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
    def test_other_series(self, keyword: str, path: Path, tmp_path: Path) -> None:
        other = each([make_slice(7)], keyword, ["1.2.3.4"])
        late = write_series(tmp_path / "late", other, ["other"])
        before = path.read_bytes()
        with pytest.raises(DataConsistencyError, match="found 1 of 2 files of others") as caught:
            append_files(path, late)
        assert str(late / "other") in str(caught.value)
        assert path.read_bytes() == before

    def test_other_sources(self, path: Path, tmp_path: Path) -> None:
        before = path.read_bytes()
        (tmp_path / "empty").mkdir()
        for source, kind in (
            (tmp_path / "empty", MetaDataError),
            (tmp_path / "missing", FileNotFoundError),
            (make_slice(3), DataConsistencyError),
            (path, DicomCubeError),
        ):
            with pytest.raises(kind):  # type: ignore[call-overload]
                append_files(path, source)
        for target in ("memory://x.dcbs", tmp_path / "none.dcbs", tmp_path / "late" / "I4"):
            with pytest.raises(DicomCubeError):
                append_files(target, tmp_path / "late")
        assert path.read_bytes() == before

    def test_a_damaged_file(self, path: Path, tmp_path: Path) -> None:
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 2, len(data) - 40, 97):
            data[at] ^= 0x55
        path.write_bytes(data)
        with pytest.raises(InvalidCubeFileError):
            append_files(path, tmp_path / "late")
        assert path.read_bytes() == data

    def test_objects_of_another_patient(self, path: Path, tmp_path: Path) -> None:
        before = path.read_bytes()
        strange = without_pixels(BasicTextSRStorage, 1, PatientID="4712")
        late = write_series(tmp_path / "late", [strange], ["I9"])
        with pytest.raises(MetaDataError, match=r"x\.dcbs: 1 files can't be kept with the volume"):
            append_files(path, late)
        assert path.read_bytes() == before


class TestWhatIsWrittenIsReadBack:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        split(tmp_path, make_series(4), 3)
        return stored(tmp_path / "early", tmp_path / "x.dcbs")

    @pytest.mark.parametrize(
        "fault", ["other pixels", "a file less", "a late file less", "no such slice"]
    )
    def test_before_it_replaces_the_old_file(
        self, fault: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, write = path.read_bytes(), late_instances._write

        def wrong(files: list[Any], *arguments: Any) -> None:
            folder = os.path.dirname(files[0].name)
            if fault.endswith("file less"):
                files = files[:-1] if "late" in fault else files[1:]
            if fault == "other pixels":
                dataset = make_slice(0)
                set_pixels(dataset, np.zeros((6, 5), np.uint16))
                write_series(Path(folder), [dataset], ["I1"])
            if fault == "no such slice":
                monkeypatch.setattr(
                    late_instances, "_misfits", lambda *_: {str(Path(folder) / "I2"): "forgotten"}
                )
            write(files, *arguments)

        monkeypatch.setattr(late_instances, "_write", wrong)
        with pytest.raises(DicomCubeError, match=r"lacks 1 original|would leave the volume"):
            append_files(path, tmp_path / "late")
        assert path.read_bytes() == before

    def test_a_file_that_another_process_replaces_meanwhile(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = late_instances._write

        def slow(*arguments: Any) -> None:
            write(*arguments)
            path.write_bytes(b"of another process")

        monkeypatch.setattr(late_instances, "_write", slow)
        with pytest.raises(CubeFileAccessError, match="changed it meanwhile"):
            append_files(path, tmp_path / "late")
        assert path.read_bytes() == b"of another process"


def test_a_kill_at_any_time_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    early, late = split(tmp_path, make_series(30, shape=(128, 120)), 20)
    path = stored(early, tmp_path / "x.dcba")
    old = path.read_bytes()
    append_files(path, late)
    new = path.read_bytes()
    code = (
        "import sys, dicube; print('ready', flush=True);"
        "dicube.append_files(sys.argv[1], sys.argv[2]); print('done', flush=True)"
    )
    seen = set()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    for share in random.Random(1).sample(range(100), 8):
        path.write_bytes(old)
        begun = subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(late)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert begun.stdout is not None
        begun.stdout.readline()
        time.sleep(share / 100)
        begun.send_signal(signal.SIGKILL)
        begun.communicate()
        assert path.read_bytes() in (old, new)
        seen.add(path.read_bytes() == new)
    append_files(path, late)
    assert path.read_bytes() == new
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".dicube")] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pixels_are_held_once(tmp_path: Path) -> None:
    shape = (1024, 1024)
    early, late = split(tmp_path, make_series(40, shape=shape), 20)
    path = stored(early, tmp_path / "x.dcbs", effort=None)
    code = """if True:
        import resource, sys, dicube
        import dicube.core.instances.late_instances
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        dicube.append_files(sys.argv[1], sys.argv[2], num_threads=1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    result = run_python("-c", code, str(path), str(late))
    assert result.returncode == 0, result.stderr
    volume = 40 * 1024 * 1024 * 2
    # Random samples don't shrink, so the coded frames take as much as the volume does.
    assert int(result.stdout) * 1024 < 2.4 * volume


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = make_slice(9, shape=(9, 4))
    early, late = split(tmp_path, [*make_series(3), odd], 2)
    path = stored(early, tmp_path / "x.dcbs")
    assert main(["append", str(path), str(late / "I3"), str(late / "I4"), "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{path}: 2 files added, 0 there already, 0 refused; 3 slices, 2 before"
    assert lines[1].startswith(f"kept whole: {late / 'I4'}: ")
    assert "dicube-append" not in out + err
    assert main(["append", str(path), str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_effort_is_that_of_the_caller(tmp_path: Path) -> None:
    early, late = split(tmp_path, make_series(4, shape=(64, 60)), 2)
    path = stored(early, tmp_path / "x.dcba", effort="best")
    assert main(["append", str(path), str(late), "--effort", "best"]) == 0
    shutil.copytree(early, late, dirs_exist_ok=True)
    assert path.read_bytes() == stored(late, tmp_path / "y.dcba", effort="best").read_bytes()


def test_warnings_name_the_dicube_file(tmp_path: Path) -> None:
    early, late = split(tmp_path, [*make_series(2), make_slice(5)], 2)
    path = stored(early, tmp_path / "x.dcbs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        append_files(path, late)
    texts = [str(warning.message) for warning in caught]
    assert any(text.startswith(f"{path}: space is None") for text in texts)
    assert not any("dicube-append" in text for text in texts)
    assert {warning.filename for warning in caught} == {__file__}
