"""An archive in use: search, open, restore, verify, remove, and index again."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sqlalchemy")

from inputs.dicom_frames import several_frames
from inputs.dicom_series import write_series
from inputs.object_stores import s3_with_a_bucket
from inputs.series_trees import STUDY, Inline, add, digests, files_in, series_of, write_tree

from dicube import Archive
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
    TargetExistsError,
)
from dicube.storage.dcb_reader import DcbReader


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tree, and an archive of it."""
    folder = tmp_path_factory.mktemp("made")
    add(Archive(folder / "archive"), write_tree(folder / "tree"))
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Archive:
    """A copy of the archive, to be changed."""
    shutil.copytree(made / "archive", tmp_path / "archive")
    return Archive(tmp_path / "archive")


@pytest.fixture
def tree(made: Path) -> Path:
    return made / "tree"


# -------------------------------------------------------------------------------- search and open


@pytest.mark.skipif(sys.platform == "win32", reason="folders are made read-only by modes here")
def test_an_archive_that_can_only_be_read(made: Path) -> None:
    """As a snapshot, a backup or a medium gives it. Another user reads it, as root may write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "archive")
        shutil.copytree(made / "archive", path)
        os.chmod(folder, 0o755)
        for one in [path, *path.rglob("*")]:
            one.chmod(0o555 if one.is_dir() else 0o444)
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                archive = Archive(path)
                (series,) = archive.series(patient="0815")
                checks = archive.verify(executor=Inline())
                found = [series.open().shape, len(checks), all(checks)]
                try:
                    archive.remove(patient="0815")
                except CubeFileAccessError as error:
                    found.append("Permission denied" in error.message)
                os.write(writer, repr(found).encode())
            except BaseException as error:
                os.write(writer, repr(error).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            assert answer.read() == "[(2, 6, 5), 6, True, True]"
        os.waitpid(child, 0)
        for one in [path, *path.rglob("*")]:
            one.chmod(0o755)
        assert len(Archive(path).rows()) == 6


def test_an_instance_of_two_series_is_restored_twice(archive: Archive, tmp_path: Path) -> None:
    write_series(tmp_path / "in", series_of(5, 1))
    other = series_of(6, 1, "0815")
    other[0].SOPInstanceUID = f"{STUDY}.1.5.0"
    write_series(tmp_path / "in", other, ["J1"])
    add(archive, tmp_path / "in")
    restored = archive.restore(tmp_path / "out", instance=f"{STUDY}.1.5.0")
    assert len(restored) == 2
    assert digests(restored) == digests([tmp_path / "in"])


def test_a_catalogue_is_of_one_archive(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    one, other = (Archive(tmp_path / name, path) for name in ("one", "other"))
    add(one, made / "tree" / "a")
    with pytest.raises(DataConsistencyError, match=r"is the catalogue of .*one and not of .*other"):
        add(other, made / "tree" / "b")
    (tmp_path / "one").rename(tmp_path / "moved")
    moved = Archive(tmp_path / "moved", path)
    with pytest.raises(DataConsistencyError, match="index"):
        moved.remove(patient="4711")
    moved.index(executor=Inline())
    assert add(moved, made / "tree" / "a").counts == {"present": 1}
    for name in ("sqlite://", "sqlite:///:memory:", ":memory:"):
        with pytest.raises(DataConsistencyError, match="that stays"):
            Archive(tmp_path / "one", name)


def test_truths_can_be_searched(archive: Archive) -> None:
    for value in (True, "true", "True", 1):
        assert len(archive.rows(has_originals=value)) == 6
    assert archive.rows(has_originals="false") == archive.rows(transformed=True) == []
    with pytest.raises(DataConsistencyError, match="has_originals: expected true or false"):
        archive.rows(has_originals="maybe")


def test_series_name_no_patient_in_messages(archive: Archive) -> None:
    assert all(str(s["PatientName"]) not in repr(s) for s in archive.series() if s["PatientName"])


def test_a_series_can_be_opened_read_and_restored(
    archive: Archive, tree: Path, tmp_path: Path
) -> None:
    (series,) = archive.series(modality="CT", patient="0815")
    cube, image = series.open(), series.image()
    assert cube.shape == (2, 6, 5)
    assert np.array_equal(cube[...], image.raw_image)
    assert digests(series.restore(tmp_path / "out")) == digests([tree / "c"])
    assert series["PatientID"] == "0815"
    assert Path(series.path).is_file()


def test_a_series_without_frames_opens_with_an_error_that_says_so(archive: Archive) -> None:
    series = archive.series(modality="OT")
    assert len(series) == 3
    with pytest.raises(InvalidCubeFileError, match="holds no frames, but 1 original file"):
        series[0].open()
    assert [instance["slice"] for instance in archive.instances(series[0])] == [None]


def test_instances_say_where_they_are(archive: Archive) -> None:
    (series,) = archive.series(series=f"{STUDY}.1.2")
    instances = archive.instances(series)
    assert [one["SOPInstanceUID"] for one in instances] == [f"{STUDY}.1.2.{i}" for i in range(4)]
    assert [(one["slice"], one["Rows"], one["NumberOfFrames"]) for one in instances] == [
        (index, 6, 1) for index in range(4)
    ]
    assert {one["sha256"] for one in instances} == digests(
        series.restore(Path(series.path).parent / "out")
    )


def test_without_a_catalogue_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError) as caught:
        Archive(tmp_path / "nothing").rows()
    assert "dicube archive index" in str(caught.value)
    assert not (tmp_path / "nothing").exists()


def test_to_pandas(archive: Archive) -> None:
    pytest.importorskip("pandas")
    frame = archive.to_pandas(patient="4711")
    assert len(frame) == 5
    assert {"PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"} <= set(frame.columns)


# ---------------------------------------------------------------------------------------- restore


@pytest.mark.parametrize(
    ("level", "uid", "folders"),
    [
        ("patient", "4711", ["a", "b", "others"]),
        ("study", f"{STUDY}.1", ["a", "b", "others"]),
        ("series", f"{STUDY}.1.2", ["b"]),
        ("patient", "0815", ["c"]),
    ],
)
def test_restore(
    archive: Archive, tree: Path, tmp_path: Path, level: str, uid: str, folders: list[str]
) -> None:
    paths = archive.restore(tmp_path / "out", **{level: uid})
    assert digests(paths) == digests(tree / folder for folder in folders)
    assert digests(paths) == digests([tmp_path / "out"])
    with pytest.raises(TargetExistsError):
        archive.restore(tmp_path / "out", **{level: uid})


def test_restore_one_instance(archive: Archive, tree: Path, tmp_path: Path) -> None:
    (path,) = archive.restore(tmp_path / "out", instance=f"{STUDY}.1.2.3")
    assert Path(path).read_bytes() == (tree / "b" / "I4").read_bytes()
    (path,) = archive.restore(tmp_path / "pdf", instance=f"{STUDY}.1.8.1")
    assert Path(path).read_bytes() == (tree / "others" / "pdf").read_bytes()


@pytest.mark.parametrize("uid", [{"patient": "0815"}, {"instance": f"{STUDY}.2.1.0"}])
def test_an_error_of_restore_names_the_damaged_file(
    archive: Archive, tmp_path: Path, uid: dict[str, str]
) -> None:
    (series,) = archive.series(patient="0815")
    damage(series.path)
    with pytest.raises(InvalidCubeFileError, match="^" + re.escape(series["file"]) + ": frame 0"):
        archive.restore(tmp_path / "out", **uid)


def damage(path: str) -> None:
    """Change a bit of the first frame."""
    with DcbReader(path) as reader:
        offset, _ = reader.coded_range(0)
    content = bytearray(Path(path).read_bytes())
    content[offset] ^= 1
    Path(path).write_bytes(content)


def test_a_damaged_series_does_not_keep_others_from_being_restored(
    archive: Archive, tmp_path: Path
) -> None:
    first, *others = sorted(archive.series(patient="4711"), key=lambda one: not one["shape"])
    damage(first.path)
    text = f"1 of {1 + len(others)} series are damaged, the others are restored: {first['file']}: "
    with pytest.raises(InvalidCubeFileError, match=re.escape(text)):
        archive.restore(tmp_path / "out", patient="4711")
    for series in others:
        folder = tmp_path / "out" / os.path.splitext(series["file"])[0]
        assert len(list(folder.iterdir())) == series["NumberOfSeriesRelatedInstances"]


@pytest.mark.parametrize("given", [{}, {"patient": "4711", "study": "1.2"}])
def test_restore_takes_one_level(archive: Archive, tmp_path: Path, given: Any) -> None:
    with pytest.raises(DataConsistencyError, match="expected one of"):
        archive.restore(tmp_path / "out", **given)


def test_what_is_not_there_is_an_error_that_names_no_id(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError, match="no series of this patient") as caught:
        archive.restore(tmp_path / "out", patient="SECRET")
    assert "SECRET" not in str(caught.value)


def test_files_without_originals_are_restored_as_new_ones(tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    archive = Archive(tmp_path / "archive")
    add(archive, tmp_path / "a", exact="no")
    (series,) = archive.series()
    assert len(series.restore(tmp_path / "out")) == 3
    with pytest.warns(UserWarning, match="1 of 1 series were stored without original files"):
        archive.restore(tmp_path / "all", series=series["SeriesInstanceUID"])
    with pytest.raises(DataConsistencyError, match="holds no original files"):
        archive.restore(tmp_path / "one", instance=f"{STUDY}.1.1.1")


def test_the_paths_of_new_files_are_those_written(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [several_frames(3), several_frames(2, 2)])
    archive = Archive(tmp_path / "archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frames have no position
        add(archive, tmp_path / "a", exact="no")
        (series,) = archive.series()
        paths = series.restore(tmp_path / "out")
    assert sorted(paths) == sorted(map(str, (tmp_path / "out").iterdir()))
    assert len(paths) == 2


# ----------------------------------------------------------------------------------------- verify


def test_a_whole_archive_passes(archive: Archive, tmp_path: Path) -> None:
    checks = archive.verify(executor=Inline(), report=tmp_path / "rot.ndjson")
    assert len(checks) == 6
    assert all(checks)
    assert all(
        json.loads(line)["ok"] for line in (tmp_path / "rot.ndjson").read_text().splitlines()
    )


def test_rot_is_found_by_name(archive: Archive, tmp_path: Path) -> None:
    names = [series["file"] for series in archive.series()]
    folder = tmp_path / "archive"
    rotten = bytearray((folder / names[0]).read_bytes())
    rotten[len(rotten) // 2] ^= 4
    (folder / names[0]).write_bytes(rotten)
    (folder / names[1]).unlink()
    shutil.copy(folder / names[2], folder / "1.2.dcba")  # in no study's folder: not the archive's
    (folder / "1.2").mkdir()
    shutil.copy(folder / names[2], folder / "1.2" / "1.3.dcba")
    checks = {check.name: check for check in archive.verify(executor=Inline())}
    assert {name for name, check in checks.items() if not check} == {
        names[0],
        names[1],
        "1.2/1.3.dcba",
    }
    assert "No such file" in checks[names[1]].problems[0]
    assert "catalogue doesn't have it" in checks["1.2/1.3.dcba"].problems[0]


def test_a_file_in_place_of_another_is_found(archive: Archive, tmp_path: Path) -> None:
    one, other = (series["file"] for series in archive.series(modality="CT", patient="4711"))
    shutil.copy(tmp_path / "archive" / one, tmp_path / "archive" / other)
    (check,) = [check for check in archive.verify(executor=Inline()) if not check]
    assert check.name == other
    assert "instances that the file lacks" in check.problems[0]


def test_files_aside_are_checked(archive: Archive, tmp_path: Path) -> None:
    changed = series_of(1)[1:2]
    changed[0].SliceThickness = 8
    write_series(tmp_path / "b", changed)
    add(archive, tmp_path / "b")
    (aside,) = (tmp_path / "archive" / "aside").rglob("*.dcm")
    assert all(archive.verify(executor=Inline()))
    aside.write_bytes(b"rot")
    (check,) = [check for check in archive.verify(executor=Inline()) if not check]
    assert check.name == aside.relative_to(tmp_path / "archive").as_posix()


def test_a_sample_is_checked(archive: Archive) -> None:
    assert len(archive.verify(executor=Inline(), sample=0.5)) == 3
    assert len(archive.verify(executor=Inline(), sample=0.001)) == 1
    with pytest.raises(DataConsistencyError, match="expected sample"):
        archive.verify(sample=0)


# ----------------------------------------------------------------------------------------- remove


@pytest.mark.parametrize(
    ("level", "uid", "left"),
    [("patient", "4711", 1), ("study", f"{STUDY}.2", 5), ("series", f"{STUDY}.1.2", 5)],
)
def test_remove_leaves_neither_file_nor_row(
    archive: Archive, tmp_path: Path, level: str, uid: str, left: int
) -> None:
    going = [series["file"] for series in archive.series(**{level: uid})]
    assert sorted(archive.remove(**{level: uid})) == sorted(going)
    assert len(archive.rows()) == left == len(files_in(tmp_path / "archive"))
    content = b"".join(
        path.read_bytes() for path in (tmp_path / "archive").glob("catalogue.sqlite*")
    )
    for file in going:
        assert Path(file).stem.encode() + b"." not in content  # nor a UID of an instance
    assert not any(folder.name == "out" for folder in (tmp_path / "archive").iterdir())


def test_a_removed_patient_is_in_no_page_of_the_catalogue(archive: Archive, tmp_path: Path) -> None:
    files = list((tmp_path / "archive").glob("catalogue.sqlite*"))
    assert b"0815" in b"".join(path.read_bytes() for path in files)
    archive.remove(patient="0815")
    files = list((tmp_path / "archive").glob("catalogue.sqlite*"))
    assert b"0815" not in b"".join(path.read_bytes() for path in files)


def test_an_interrupted_removal_can_be_ended(archive: Archive, tmp_path: Path) -> None:
    (series,) = archive.series(patient="0815")
    Path(series.path).unlink()
    assert archive.remove(patient="0815") == []
    assert archive.rows(patient="0815") == []


def test_what_was_removed_can_be_added_again(archive: Archive, tree: Path) -> None:
    archive.remove(patient="0815")
    assert add(archive, tree).counts == {"present": 5, "added": 1}


# ------------------------------------------------------------------------------------------ index


def without_history(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("added", "dicube")} for row in rows]


def test_the_catalogue_is_made_again_from_the_files(archive: Archive, tmp_path: Path) -> None:
    before = archive.rows()
    instances = [archive.instances(series) for series in archive.series()]
    for path in (tmp_path / "archive").glob("catalogue.sqlite*"):
        path.unlink()
    report = archive.index(executor=Inline())
    assert (report.files, report.failed) == (6, {})
    assert without_history(archive.rows()) == without_history(before)
    assert [archive.instances(series) for series in archive.series()] == instances
    assert archive.rows()[0]["added"] is None


def test_an_index_keeps_what_only_the_catalogue_knows(archive: Archive, tree: Path) -> None:
    before = archive.rows()
    archive.index(executor=Inline())
    assert archive.rows() == before
    executor = Inline()
    assert archive.add(tree, executor=executor).counts == {"present": 6}
    assert executor.tasks == []


def test_an_index_follows_the_files(archive: Archive, tmp_path: Path) -> None:
    files = [series["file"] for series in archive.series()]
    folder = tmp_path / "archive"
    (folder / files[0]).unlink()
    (folder / files[1]).write_bytes(b"rot")
    shutil.copy(folder / files[2], tmp_path / "x.dcba")
    report = archive.index(executor=Inline())
    assert (report.files, list(report.failed)) == (4, [files[1]])
    assert not report
    assert {series["file"] for series in archive.series()} == set(files[1:])


# ------------------------------------------------------------------------------------------- URLs


@pytest.fixture(params=["memory://pacs", "s3://bucket/pacs"])
def prefix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix of an object store, and an end to what is there."""
    if request.param.startswith("s3:"):
        with s3_with_a_bucket(monkeypatch, "secret"):
            yield request.param
        return
    fsspec = pytest.importorskip("fsspec")
    yield request.param
    fsspec.filesystem("memory").store.clear()


def test_an_archive_at_a_url(prefix: str, tree: Path, tmp_path: Path) -> None:
    import fsspec

    system, root = fsspec.url_to_fs(prefix)

    def stored() -> list[str]:
        system.invalidate_cache()
        return system.find(root)

    with pytest.raises(DataConsistencyError, match="catalogue"):
        Archive(f"{prefix}/archive")
    archive = Archive(f"{prefix}/archive", tmp_path / "c.sqlite")
    assert add(archive, tree).counts == {"added": 6}
    assert add(archive, tree).counts == {"present": 6}
    assert len(stored()) == 6 and not any("sqlite" in path for path in stored())
    (series,) = archive.series(patient="0815")
    assert series.open()[0].shape == (6, 5)
    assert digests(archive.restore(tmp_path / "out", patient="4711")) == digests(
        [tree / "a", tree / "b", tree / "others"]
    )
    write_series(tmp_path / "late", series_of(1, 5)[3:], ["I4", "I5"])
    assert add(archive, tmp_path / "late").counts == {"merged": 1}
    assert all(archive.verify(executor=Inline()))
    archive.remove(patient="4711")
    assert len(stored()) == 1
    (tmp_path / "c.sqlite").unlink()
    assert archive.index(executor=Inline()).files == 1
