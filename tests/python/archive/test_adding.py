"""`Archive.add`: every series is stored, checked and catalogued, once, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from inputs.dicom_series import raw_data, write_series
from inputs.series_trees import (
    STUDY,
    Inline,
    add,
    digests,
    files_in,
    objects_of,
    series_of,
    write_tree,
)
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement

import dicube
from dicube import Archive, DicomCubeImage
from dicube.archive import series_task
from dicube.archive.executors import LostWorkerError
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
    TargetExistsError,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --------------------------------------------------------------------------------- what is stored


def test_each_series_becomes_a_file_named_by_its_uids(
    tree: Path, archive: Archive, tmp_path: Path
) -> None:
    report = add(archive, tree)
    assert report.ok
    assert report.counts == {"added": 6}
    expected = {f"{STUDY}.1/{STUDY}.1.{number}.dcba" for number in (1, 2, 7, 8, 9)}
    assert files_in(tmp_path / "archive").keys() == {*expected, f"{STUDY}.2/{STUDY}.2.1.dcba"}


@pytest.mark.parametrize("extension", [".dcba", ".dcbs"])
def test_all_originals_come_back_to_the_byte(
    tree: Path, archive: Archive, tmp_path: Path, extension: str
) -> None:
    add(archive, tree, format=extension)
    assert {Path(series["file"]).suffix for series in archive.series()} == {extension}
    for patient in ("4711", "0815"):
        archive.restore(tmp_path / "restored", patient=patient)
    assert digests([tmp_path / "restored"]) == digests([tree])


def test_default_processes_do_the_same(tree: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    add(Archive(here), tree)
    assert Archive(there).add(tree).counts == {"added": 6}
    assert files_in(here) == files_in(there)


def test_instances_of_a_series_are_grouped_across_sources(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 6)
    write_series(tmp_path / "a", datasets[:2], ["I1", "I2"])
    write_series(tmp_path / "b" / "deep", datasets[2:4], ["I1", "I2"])
    write_series(tmp_path / "c", datasets[4:], ["I5", "I6"])
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "c")
    report = add(archive, [tmp_path / "a", str(tmp_path / "b"), packed])
    assert report.counts == {"added": 1}
    (series,) = archive.series()
    assert series.open().shape == (6, 6, 5)
    assert digests(series.restore(tmp_path / "out")) == digests(tmp_path / name for name in "abc")


def test_zips_in_a_tree_are_opened(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    (tmp_path / "tree").mkdir()
    shutil.make_archive(str(tmp_path / "tree" / "packed"), "zip", tmp_path / "a")
    (tmp_path / "tree" / "broken.zip").write_bytes(b"PK\3\4 and no more")
    report = add(archive, tmp_path / "tree")
    assert report.counts == {"added": 1}
    assert [one.path for one in report.damaged] == [str(tmp_path / "tree" / "broken.zip")]
    assert not report.ok


def test_files_in_an_overlap_of_sources_count_once(tree: Path, archive: Archive) -> None:
    report = add(archive, [tree, tree / "a", tree / "a" / "I1"])
    assert report.counts == {"added": 6}
    assert sum(len(result.sources) for result in report.series) == 12


def test_equal_files_count_once(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    add(archive, [tmp_path / "a", tmp_path / "b"])
    (series,) = archive.series()
    assert len(archive.instances(series)) == 3
    assert len(series.restore(tmp_path / "out")) == 3


def test_dicube_files_are_sources(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 5)
    write_series(tmp_path / "a", datasets[:3])
    write_series(tmp_path / "b", datasets[3:], ["I4", "I5"])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "a")
    image.to_file(tmp_path / "a.dcbs")
    assert add(archive, [tmp_path / "a.dcbs", tmp_path / "b"]).counts == {"added": 1}
    (series,) = archive.series()
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a", tmp_path / "b"])


def test_a_file_without_originals_is_not_merged(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1, 2))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "a")
    image.to_file(tmp_path / "a.dcbs", exact=False)
    (failed,) = add(archive, [tmp_path / "a", tmp_path / "a.dcbs"]).failed
    assert "a.dcbs has no original files" in failed.text
    assert "leave it out of the sources" in failed.text
    add(archive, tmp_path / "a")
    (failed,) = add(archive, tmp_path / "a.dcbs").failed
    assert "a.dcbs has no original files" in failed.text
    assert "leave it out of the sources" in failed.text


def test_files_of_0_3_0_are_sources(archive: Archive, shared_data: Path) -> None:
    source = shared_data / "published_dicube_0_3_0" / "mr_siemens_sag.dcbs"
    assert add(archive, source).counts == {"added": 1}
    (series,) = archive.series()
    before, after = dicube.load(source), series.image()
    assert (before.raw_image == after.raw_image).all()
    assert series["has_originals"] is False
    assert add(archive, source).counts == {"present": 1}


def test_uids_of_strangers_stay_in_the_archive(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 2)
    for dataset in datasets:
        for keyword, uid in (("StudyInstanceUID", "../../elsewhere"), ("SeriesInstanceUID", "..")):
            dataset[keyword] = DataElement(keyword, "UI", uid, validation_mode=IGNORE)
    write_series(tmp_path / "a", datasets)
    add(archive, tmp_path / "a")
    (name,) = files_in(tmp_path / "archive")
    study, series = name.split("/")
    assert study.startswith("study-")
    assert series.startswith("series-")


def test_series_with_the_same_uid_in_two_studies_are_two(archive: Archive, tmp_path: Path) -> None:
    for study in (1, 2):
        datasets = series_of(1, study=study)
        for dataset in datasets:
            dataset.SeriesInstanceUID = "1.2.3"
        write_series(tmp_path / "tree" / str(study), datasets)
    assert add(archive, tmp_path / "tree").counts == {"added": 2}


def test_series_that_are_no_volume_are_kept_whole(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 4)
    scout = series_of(1, 5, shape=(9, 9))[4]
    write_series(tmp_path / "a", [*datasets, scout])
    report = add(archive, tmp_path / "a")
    (result,) = report.series
    assert list(result.kept_whole) == list(digests([tmp_path / "a" / "I5"]))
    (series,) = archive.series()
    assert series.open().shape == (4, 6, 5)
    slices = [instance["slice"] for instance in archive.instances(series)]
    assert slices == [0, 1, 2, 3, None]
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a"])


def test_images_that_no_reader_accepts_are_kept_whole(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 1)
    datasets[0].add_new(0x7FE00008, "OF", bytes(120))  # a second pixel element
    write_series(tmp_path / "a", datasets)
    report = add(archive, tmp_path / "a")
    if report.counts == {"added": 1}:
        (series,) = archive.series()
        assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a"])
    else:  # its header can't be read: then it is reported, by name
        assert [one.path for one in report.damaged] == [str(tmp_path / "a" / "I1")]


def test_files_that_are_no_instances_are_left_out_and_reported(
    tree: Path, archive: Archive, tmp_path: Path
) -> None:
    (tree / "README.txt").write_text("not DICOM")
    truncated = (tree / "a" / "I1").read_bytes()[:400]
    (tree / "a" / "I9").write_bytes(truncated)
    report = add(archive, tree, report=tmp_path / "report.ndjson")
    assert report.counts == {"added": 6}
    left = {one.path: one.is_damaged for one in report.left_out}
    assert left == {str(tree / "README.txt"): False, str(tree / "a" / "I9"): True}
    assert not report
    lines = [line for line in lines_of(tmp_path / "report.ndjson") if line["outcome"] == "left out"]
    assert {line["sources"][0] for line in lines} == left.keys()
    assert all(line["text"] for line in lines)


@pytest.mark.parametrize(("exact", "kept"), [("always", True), ("cheap", True), ("no", False)])
def test_exact(archive: Archive, tmp_path: Path, exact: str, kept: bool) -> None:
    write_series(tmp_path / "a", series_of(1))
    add(archive, tmp_path / "a", exact=exact)
    (series,) = archive.series()
    assert series["has_originals"] is kept
    assert (series.image().why_not_exact() == "") is kept


def test_exact_no_keeps_what_can_be_kept_in_no_other_way(archive: Archive, tree: Path) -> None:
    add(archive, tree, exact="no")
    kept = {series["Modality"]: series["has_originals"] for series in archive.series()}
    assert kept == {"CT": False, "OT": True}


# -------------------------------------------------------------------------------------- resuming


def test_what_is_done_is_skipped(tree: Path, archive: Archive, tmp_path: Path) -> None:
    add(archive, tree)
    before = files_in(tmp_path / "archive")
    executor = Inline()
    report = archive.add(tree, executor=executor, report=tmp_path / "report.ndjson")
    assert report.counts == {"present": 6}
    assert report.ok
    assert executor.tasks == []  # nothing was even opened
    assert files_in(tmp_path / "archive") == before
    lines = lines_of(tmp_path / "report.ndjson")
    assert sorted(path for line in lines for path in line["sources"]) == sorted(
        str(path) for path in tree.rglob("*") if path.is_file()
    )
    assert {frozenset(line) for line in lines} == {
        frozenset(
            "outcome StudyInstanceUID SeriesInstanceUID sources file error text instances "
            "source_size size seconds kept_whole aside without_frames warnings".split()
        )
    }


def test_a_touched_file_is_compared_by_content(tree: Path, archive: Archive) -> None:
    add(archive, tree)
    os.utime(tree / "a" / "I1", (1, 1))
    report = add(archive, tree)
    assert report.counts == {"present": 6}
    assert [len(result.sources) for result in report.series if "a/I1" in str(result.sources)] == [3]


def test_checksum_compares_content_whatever_the_time(
    tree: Path, archive: Archive, tmp_path: Path
) -> None:
    add(archive, tree)
    path = tree / "a" / "I1"
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert add(archive, tree).counts == {"present": 6}
    report = add(archive, tree, checksum=True)
    assert [len(result.aside) for result in report.series].count(1) == 1


def test_moved_sources_are_found_by_content(tree: Path, archive: Archive, tmp_path: Path) -> None:
    add(archive, tree)
    before = files_in(tmp_path / "archive")
    tree.rename(tmp_path / "moved")
    assert add(archive, tmp_path / "moved").counts == {"present": 6}
    assert files_in(tmp_path / "archive") == before
    assert add(archive, tmp_path / "moved").counts == {"present": 6}


def test_a_file_without_a_row_is_success(tree: Path, archive: Archive, tmp_path: Path) -> None:
    """As after a kill between the file's rename and the catalogue."""
    add(archive, tree)
    (tmp_path / "archive" / "catalogue.sqlite").unlink()
    assert add(archive, tree).counts == {"present": 6}
    assert len(archive.rows()) == 6


@pytest.mark.parametrize("exact", ["no", "always"])
def test_a_file_without_a_row_is_success_without_originals_too(
    archive: Archive, tmp_path: Path, exact: str
) -> None:
    write_series(tmp_path / "a", series_of(1))
    add(archive, tmp_path / "a", exact=exact)
    (tmp_path / "archive" / "catalogue.sqlite").unlink()
    assert add(archive, tmp_path / "a", exact=exact).counts == {"present": 1}


def test_a_removed_file_is_stored_again(tree: Path, archive: Archive, tmp_path: Path) -> None:
    add(archive, tree)
    before = files_in(tmp_path / "archive")
    name = f"{STUDY}.1/{STUDY}.1.1.dcba"
    (tmp_path / "archive" / name).unlink()
    assert add(archive, tree).counts == {"present": 5, "added": 1}
    assert files_in(tmp_path / "archive") == before


def test_a_damaged_file_in_the_archive_is_never_overwritten(
    tree: Path, archive: Archive, tmp_path: Path
) -> None:
    add(archive, tree)
    path = tmp_path / "archive" / f"{STUDY}.1/{STUDY}.1.1.dcba"
    damaged = path.read_bytes()[:-20]
    path.write_bytes(damaged)
    report = add(archive, tree)
    (result,) = report.failed
    assert "is damaged" in result.text
    assert path.read_bytes() == damaged


def test_leftovers_of_killed_writers_are_removed(
    tree: Path, archive: Archive, tmp_path: Path
) -> None:
    add(archive, tree)
    folder = tmp_path / "archive" / f"{STUDY}.1"
    marked, own = folder / ".dicube-0123456789ab", folder / ".dicube-ba9876543210"
    for path in (marked, own):
        path.write_bytes(b"left behind")
    marked.chmod(0o644 | stat.S_ISVTX)
    work = tmp_path / "archive" / ".dicube-work-0123"
    work.mkdir()
    (work / "lock").touch()
    (work / "new.dcba").write_bytes(b"half")
    add(archive, tree)
    assert not marked.exists()
    assert not work.exists()
    assert own.read_bytes() == b"left behind"  # a user's file, in spite of its name


def test_nothing_is_half_there_if_the_check_fails(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "a", series_of(1))
    real = series_task.read_whole

    def other(*arguments: Any) -> Any:
        record, volume, found = real(*arguments)
        return record, volume, frozenset(list(found)[1:])

    with monkeypatch.context() as context:
        context.setattr(series_task, "read_whole", other)
        (result,) = add(archive, tmp_path / "a").failed
        assert result.error == "InvalidCubeFileError"
        assert "lacks 1 of 3 original files" in result.text
        assert files_in(tmp_path / "archive") == {}
        assert archive.rows() == []
        assert add(archive, tmp_path / "a", restore_check=False).counts == {"added": 1}
    assert add(archive, tmp_path / "a").counts == {"present": 1}


def test_only_one_process_changes_an_archive(tree: Path, archive: Archive, tmp_path: Path) -> None:
    class Other(Inline):
        def submit(self, fn: Any, /, *args: Any) -> Any:
            with pytest.raises(CubeFileAccessError, match="another process"):
                add(Archive(tmp_path / "archive"), tree)
            return super().submit(fn, *args)

    assert archive.add(tree, executor=Other()).ok


# ------------------------------------------------------------------------------ late instances


def test_late_instances_are_merged(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 6)
    write_series(tmp_path / "a", datasets[:4])
    write_series(tmp_path / "b", datasets[3:], ["I4", "I5", "I6"])  # one of them a second time
    add(archive, tmp_path / "a")
    report = add(archive, tmp_path / "b")
    assert report.counts == {"merged": 1}
    (series,) = archive.series()
    assert series.open().shape == (6, 6, 5)
    assert len(archive.instances(series)) == 6
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a", tmp_path / "b"])
    assert add(archive, [tmp_path / "a", tmp_path / "b"]).counts == {"present": 1}


def test_late_instances_give_the_bytes_that_they_would_have_given_at_once(
    archive: Archive, tmp_path: Path
) -> None:
    datasets = series_of(1, 6)
    write_series(tmp_path / "a", datasets[:4])
    write_series(tmp_path / "b", datasets[4:], ["I5", "I6"])
    write_series(tmp_path / "all", datasets)
    add(archive, tmp_path / "a")
    add(archive, tmp_path / "b")
    add(Archive(tmp_path / "other"), tmp_path / "all")
    assert files_in(tmp_path / "archive") == files_in(tmp_path / "other")


def test_late_reports_are_merged(archive: Archive, tmp_path: Path) -> None:
    datasets = [raw_data(number) for number in (1, 2, 3)]
    write_series(tmp_path / "a", datasets[:1])
    write_series(tmp_path / "b", datasets[1:], ["I2", "I3"])
    add(archive, tmp_path / "a")
    assert add(archive, tmp_path / "b").counts == {"merged": 1}
    (series,) = archive.series()
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a", tmp_path / "b"])


def test_an_instance_with_other_bytes_is_kept_aside(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1)
    write_series(tmp_path / "a", datasets)
    add(archive, tmp_path / "a")
    before = files_in(tmp_path / "archive")
    datasets[1].SliceThickness = 9
    write_series(tmp_path / "b", datasets[1:2], ["I2"])
    report = add(archive, tmp_path / "b", report=tmp_path / "report.ndjson")
    (digest,) = digests([tmp_path / "b"])
    name = f"aside/{STUDY}.1/{STUDY}.1.1/{digest}.dcm"
    (result,) = report.series
    assert result.aside == {str(tmp_path / "b" / "I2"): name}
    assert lines_of(tmp_path / "report.ndjson")[0]["aside"] == result.aside
    after = files_in(tmp_path / "archive")
    assert after.pop(name) == (tmp_path / "b" / "I2").read_bytes()
    assert after == before
    restored = archive.restore(tmp_path / "out", patient="4711")
    assert str(tmp_path / "out" / name) in restored
    assert digests(restored) == digests([tmp_path / "a", tmp_path / "b"])
    archive.remove(series=f"{STUDY}.1.1")
    assert files_in(tmp_path / "archive") == {}


def test_a_late_image_never_costs_the_volume_its_frames(archive: Archive, tmp_path: Path) -> None:
    """Two images of another shape would otherwise outvote the one that is there."""
    write_series(tmp_path / "a", series_of(1, 1))
    others = series_of(1, 3, shape=(9, 9))[1:]
    write_series(tmp_path / "b", others, ["I2", "I3"])
    add(archive, tmp_path / "a")
    report = add(archive, tmp_path / "b")
    assert report.counts == {"merged": 1}
    (series,) = archive.series()
    assert series.open().shape == (1, 6, 5)
    assert report.series[0].kept_whole.keys() == digests([tmp_path / "b"])
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "a", tmp_path / "b"])


def test_a_late_slice_that_is_not_on_the_grid_is_kept_whole(
    archive: Archive, tmp_path: Path
) -> None:
    datasets = series_of(1, 5)
    datasets[4].ImagePositionPatient = [-10, 20, 11.1]
    write_series(tmp_path / "a", datasets[:4])
    write_series(tmp_path / "b", datasets[4:], ["I5"])
    add(archive, tmp_path / "a")
    report = add(archive, tmp_path / "b")
    (series,) = archive.series()
    assert series.open().shape == (4, 6, 5)
    assert series["spacing"] == [2.5, 0.5, 0.75]
    assert report.series[0].kept_whole.keys() == digests([tmp_path / "b"])


@pytest.mark.parametrize("kind", ["no originals", "transformed"])
def test_files_that_are_not_what_was_read_refuse_to_merge(
    archive: Archive, tmp_path: Path, kind: str
) -> None:
    datasets = series_of(1, 4)
    write_series(tmp_path / "a", datasets[:3])
    write_series(tmp_path / "b", datasets[3:], ["I4"])
    options = {"exact": "no"} if kind == "no originals" else {"transform": no_change}
    add(archive, tmp_path / "a", **options)
    before = files_in(tmp_path / "archive")
    (result,) = add(archive, tmp_path / "b", **options).failed
    assert result.error == "DataConsistencyError"
    assert f"{STUDY}.1/{STUDY}.1.1.dcba" in result.text
    assert files_in(tmp_path / "archive") == before


def no_change(dataset: Any) -> None:
    pass


# ------------------------------------------------------------------------------------ failures


def test_one_bad_series_stops_no_other(
    tree: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DicomCubeImage.from_dicom_folder

    def fails(files: Any, **options: Any) -> Any:
        if any(os.sep + "b" + os.sep in file.name for file in files):
            raise InvalidCubeFileError("made to fail")
        if any(os.sep + "c" + os.sep in file.name for file in files):
            raise ValueError("DOE^JOHN")
        return real(files, **options)

    with monkeypatch.context() as context:
        context.setattr(DicomCubeImage, "from_dicom_folder", fails)
        report = add(archive, tree, report=tmp_path / "report.ndjson")
    assert report.counts == {"added": 4, "failed": 2}
    assert not report.ok
    found = {line["error"]: line for line in lines_of(tmp_path / "report.ndjson")}
    assert found["InvalidCubeFileError"]["text"] == "made to fail"
    assert found["InvalidCubeFileError"]["SeriesInstanceUID"] == f"{STUDY}.1.2"
    assert len(found["InvalidCubeFileError"]["sources"]) == 4
    # What another exception says may quote values.
    assert found["ValueError"]["text"].startswith("unexpected, at test_adding.py, line")
    assert "DOE" not in (tmp_path / "report.ndjson").read_text()
    assert add(archive, tree).counts == {"present": 4, "added": 2}


def test_on_error_stop_ends_at_the_first_failure(
    tree: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(files: Any, **options: Any) -> Any:
        raise InvalidCubeFileError("made to fail")

    monkeypatch.setattr(DicomCubeImage, "from_dicom_folder", fails)
    executor = Inline()
    report = archive.add(tree, executor=executor, on_error="stop", in_flight=1)
    assert report.stopped
    assert not report.ok
    assert report.counts == {"failed": 1}


def test_a_missing_source_is_an_error(archive: Archive, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError, match="nowhere"):
        add(archive, [tree, tmp_path / "nowhere"])
    assert archive.rows() == []


@pytest.mark.parametrize(
    "options", [{"format": ".dcbl"}, {"exact": "maybe"}, {"on_error": "ignore"}, {"in_flight": 0}]
)
def test_wrong_arguments(archive: Archive, tree: Path, options: Any) -> None:
    with pytest.raises(DataConsistencyError, match="expected"):
        add(archive, tree, **options)


def test_a_dry_run_changes_nothing(tree: Path, archive: Archive, tmp_path: Path) -> None:
    assert add(archive, tree, dry_run=True).counts == {"new": 6}
    assert not (tmp_path / "archive").exists()
    add(archive, tree / "a")
    before = files_in(tmp_path / "archive")
    assert add(archive, tree, dry_run=True).counts == {"new": 5, "present": 1}
    assert files_in(tmp_path / "archive") == before


def test_progress_and_results_are_passed_on(tree: Path, archive: Archive) -> None:
    calls: list[tuple[int, int]] = []
    results: list[Any] = []
    report = add(archive, tree, progress=lambda *now: calls.append(now), on_series=results.append)
    assert calls == [(number, 6) for number in range(1, 7)]
    assert results == report.series
    assert sum(result.source_size for result in results) == sum(
        path.stat().st_size for path in tree.rglob("*") if path.is_file()
    )


def test_reports_are_private(tree: Path, archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "report.ndjson"
    path.touch(0o644)
    add(archive, tree, report=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line["outcome"] for line in lines_of(path)] == ["added"] * 6


def test_the_archive_itself_is_no_source(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    add(archive, tmp_path)
    report = add(archive, tmp_path)
    assert report.counts == {"present": 1}
    assert not any("archive" in one.path for one in report.left_out)


# ----------------------------------------------------------------------------------- transforms


def test_a_transform_is_applied_and_originals_are_not_kept(
    archive: Archive, tmp_path: Path
) -> None:
    write_series(tmp_path / "a", series_of(1))
    pixels = DicomCubeImage.from_dicom_folder(tmp_path / "a").raw_image
    report = add(archive, tmp_path / "a", transform=renamed)
    assert report.counts == {"added": 1}
    (series,) = archive.series()
    image = series.image()
    assert (image.raw_image == pixels).all()
    assert image.dicom_meta is not None
    assert image.dicom_meta.get("PatientName") == "NEW^NAME"
    assert series["SeriesInstanceUID"] == f"{STUDY}.1.1.77"
    assert series["file"] == f"{STUDY}.1/{STUDY}.1.1.77.dcba"
    assert series["has_originals"] is False
    assert b"DOE^JOHN" not in b"".join(files_in(tmp_path / "archive").values())
    assert add(archive, tmp_path / "a", transform=renamed).counts == {"present": 1}


def renamed(dataset: Any) -> Any:
    dataset.PatientName = "NEW^NAME"
    dataset.SeriesInstanceUID += ".77"
    return dataset


def test_a_transform_applies_to_objects_without_pixels(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", list(objects_of(1).values()))
    assert add(archive, tmp_path / "a", transform=renamed).counts == {"added": 3}
    for series in archive.series():
        (path,) = series.restore(tmp_path / series["SeriesInstanceUID"])
        assert b"NEW^NAME" in Path(path).read_bytes()


def test_a_failing_transform_is_recorded(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    (result,) = add(archive, tmp_path / "a", transform=failing).failed
    assert (result.error, "secret" in result.text) == ("RuntimeError", False)
    assert files_in(tmp_path / "archive") == {}


def failing(dataset: Any) -> None:
    raise RuntimeError(f"a secret: {dataset.PatientName}")


# ------------------------------------------------------------------------------------ the rest


def test_a_lost_zip_member_fails_alone(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    write_series(tmp_path / "b", series_of(2))
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for name in ("a/I1", "a/I2", "a/I3", "b/I1", "b/I2", "b/I3"):
            packed.write(tmp_path / name, name)
    data = bytearray(path.read_bytes())
    at = data.index((tmp_path / "b" / "I1").read_bytes()[-60:])
    data[at] ^= 255  # its CRC is now wrong
    path.write_bytes(data)
    report = add(archive, path)
    assert not report.ok
    assert f"{STUDY}.1.1" in [r.series_uid for r in report.series if r.outcome == "added"]


# ------------------------------------------------------------------------------- several patients


def test_a_series_of_several_patients_has_a_file_for_each(archive: Archive, tmp_path: Path) -> None:
    """In one file, removing one patient would remove the other's files."""
    folders = {patient: tmp_path / f"in-{patient}" for patient in ("4711", "0815", "0007")}
    for patient, folder in folders.items():
        datasets = series_of(1, 6, patient)
        for dataset in datasets:
            dataset.SOPInstanceUID += f".{patient.lstrip('0')}"
        write_series(folder / "now", datasets[:4])
        write_series(folder / "late", datasets[4:], ["I5", "I6"])
    first, second, third = folders.values()
    report = add(archive, [first / "now", second / "now"], workers=2)
    assert report.counts == {"added": 2}
    assert all("several patients" in result.warnings[0] for result in report.series)
    assert "0815" not in str(report.series[0].warnings)
    assert add(archive, [third / "now", first / "late"]).counts == {"added": 1, "merged": 1}
    assert add(archive, [second / "late", third / "late"]).counts == {"merged": 2}
    assert add(archive, tmp_path, checksum=True).counts == {"present": 3}
    stem = f"{STUDY}.1/{STUDY}.1.1"
    assert set(files_in(tmp_path / "archive")) == {f"{stem}{n}.dcba" for n in ("", "_2", "_3")}
    for patient, folder in folders.items():
        restored = archive.restore(tmp_path / f"out-{patient}", patient=patient)
        assert digests(restored) == digests([folder])
    assert archive.index(executor=Inline()).files == 3
    assert all(archive.verify(executor=Inline()))
    assert archive.remove(patient="4711") == [f"{stem}.dcba"]
    assert add(archive, [second, third], checksum=True).counts == {"present": 2}
    assert add(archive, first).counts == {"added": 1}
    assert len(archive.rows(patient="0815")) == len(archive.rows(patient="0007")) == 1


def test_files_without_a_patient_belong_to_their_series(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 3)
    del datasets[0].PatientID
    folder = write_series(tmp_path / "in", datasets)
    assert add(archive, folder).counts == {"added": 1}
    assert len(archive.rows(patient="4711")) == 1
    other = series_of(1, 4, "0815")[3:]
    write_series(tmp_path / "other", other)
    assert add(archive, tmp_path / "other").counts == {"added": 1}
    assert add(archive, tmp_path, checksum=True).counts == {"present": 3}


def test_files_without_uids_of_several_patients(archive: Archive, tmp_path: Path) -> None:
    datasets = [series_of(1, 1)[0], series_of(2, 1, patient="0815")[0]]
    for dataset in datasets:
        del dataset.SeriesInstanceUID, dataset.StudyInstanceUID
    report = add(archive, write_series(tmp_path / "in", datasets))
    assert report.counts == {"added": 2}
    archive.remove(patient="4711")
    assert digests(archive.restore(tmp_path / "out", patient="0815")) == digests(
        [tmp_path / "in" / "I2"]
    )


def test_files_without_uids_of_patients_without_ids(archive: Archive, tmp_path: Path) -> None:
    """Names tell them apart, also from one with an ID."""
    for number, (patient, name) in enumerate([("4711", "A^A"), ("", "B^B"), ("", "C^C"), ("", "")]):
        (dataset,) = series_of(number, 1, patient)
        dataset.PatientName = name
        del dataset.SeriesInstanceUID, dataset.StudyInstanceUID
        write_series(tmp_path / "in" / str(number), [dataset])
    for number in range(4):  # one after the other, and again together
        assert add(archive, tmp_path / "in" / str(number)).counts == {"added": 1}
    assert add(archive, tmp_path / "in", checksum=True).counts == {"present": 4}
    other = Archive(tmp_path / "other")
    assert add(other, tmp_path / "in").counts == {"added": 4}
    archive.remove(patient="4711")
    (series,) = archive.series(patient_name="B^B")
    assert digests(series.restore(tmp_path / "out")) == digests([tmp_path / "in" / "1"])


def test_a_dicube_file_of_several_patients(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 4)
    datasets[3].PatientID = "0815"
    write_series(tmp_path / "in", datasets)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "mixed.dcba")
    report = add(archive, tmp_path / "mixed.dcba")
    assert report.counts == {}
    assert "several patients" in report.damaged[0].why


def test_names_of_files_may_be_any_bytes(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "in", series_of(1))
    write_series(tmp_path / "in" / "others", series_of(2))
    os.rename(tmp_path / "in" / "I1", os.fsencode(tmp_path / "in") + b"/M\xfcller.dcm")
    report = add(archive, tmp_path / "in", report=tmp_path / "report.ndjson")
    assert report.counts == {"added": 2}
    assert "M\\\\udcfcller.dcm" in (tmp_path / "report.ndjson").read_text()
    assert add(archive, tmp_path / "in").counts == {"present": 2}
    assert digests(archive.restore(tmp_path / "out", patient="4711")) == digests([tmp_path / "in"])
    assert b"M\xfcller.dcm" in [
        os.path.basename(os.fsencode(p)) for p in tmp_path.rglob("out/*/*/*")
    ]


def one_series(dataset: Any) -> None:
    dataset.SeriesInstanceUID = f"{STUDY}.1.5"


def test_series_that_a_transform_gives_one_uid_lose_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    write_series(tmp_path / "in" / "a", series_of(1))
    write_series(tmp_path / "in" / "b", series_of(2))
    report = add(archive, tmp_path / "in", transform=one_series)
    assert report.counts == {"added": 1, "failed": 1}
    assert "transformed" in report.failed[0].text


# --------------------------------------------------------------------------------- what isn't read


def test_what_is_no_file_is_reported(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_series(tmp_path / "elsewhere", series_of(2))
    write_series(folder, series_of(1))
    (folder / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "lost").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe")
    report = add(archive, folder)
    assert report.counts == {"added": 1}
    assert {Path(one.path).name: (one.why, one.is_damaged) for one in report.left_out} == {
        "folder": ("a link to a folder", False),
        "lost": ("a link that leads to no file", True),
        "pipe": ("no regular file", False),
    }
    assert not report.ok


def test_a_report_replaces_only_reports(archive: Archive, tree: Path, tmp_path: Path) -> None:
    add(archive, tree / "a", report=tmp_path / "report")
    first = (tmp_path / "report").read_text()
    add(archive, tree / "a", report=tmp_path / "report")
    assert (tmp_path / "report").read_text() != first
    (stored,) = (tmp_path / "archive").rglob("*.dcba")
    for path in (tree / "b" / "I1", stored, tmp_path / "archive" / "catalogue.sqlite"):
        before = path.read_bytes()
        with pytest.raises(TargetExistsError, match="is no report"):
            add(archive, tree, report=path)
        assert path.read_bytes() == before
    mode = stat.S_IMODE(os.stat("/dev/null").st_mode)
    add(archive, tree, report="/dev/null")
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == mode


def test_a_report_that_cannot_be_written_is_named(archive: Archive, tree: Path) -> None:
    with pytest.raises(CubeFileAccessError, match=r"^/dev/full: "):
        add(archive, tree, report="/dev/full")


# ------------------------------------------------------------------------------------- conflicts


def test_instances_of_one_call_that_share_a_uid(archive: Archive, tmp_path: Path) -> None:
    datasets = series_of(1, 3)
    datasets[1].SOPInstanceUID = datasets[0].SOPInstanceUID
    report = add(archive, write_series(tmp_path / "in", datasets))
    assert report.counts == {"added": 1}
    reasons = report.series[0].kept_whole.values()
    assert ["has its SOPInstanceUID" in reason for reason in reasons] == [True, True]
    restored = archive.restore(tmp_path / "out", patient="4711")
    assert digests(restored) == digests([tmp_path / "in"])


# ------------------------------------------------------------------------------------ no workers


class Broken:
    """An executor whose processes end at once."""

    def submit(self, fn: Any, /, *args: Any) -> Any:
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("gone"))
        return future


def test_an_executor_that_does_nothing_is_an_error(archive: Archive, tree: Path) -> None:
    with pytest.raises(LostWorkerError, match="__main__"):
        archive.add(tree, executor=Broken())
