"""`dicube info` of trees and `dicube convert --all-series`: each series, and on after a bad one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from inputs.dicom_series import make_series, raw_data, write_series
from pydicom.uid import generate_uid

from dicube import DicomCubeImage, stored_names, verify_file
from dicube.cli import main
from dicube.cli.convert.all_series import file_name_of

Output = pytest.CaptureFixture[str]


def write(folder: Path, uid: str, count: int = 3) -> None:
    series = make_series(count)
    for dataset in series:
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid, generate_uid()
        dataset.SeriesDescription = "a description"
    write_series(folder, series)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two good series around one whose images differ in shape."""
    write(tmp_path / "tree" / "a", "1.1")
    write(tmp_path / "tree" / "b", "1.2")
    write(tmp_path / "tree" / "c", "1.3", 2)
    bad = make_series(2, shape=(9, 9))
    for dataset in bad:
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2", generate_uid()
    write_series(tmp_path / "tree" / "b2", bad)
    return tmp_path / "tree"


def convert(tree: Path, out: Path, *options: str) -> int:
    return main(["convert", str(tree), f"{out}/", "--all-series", *(options or ("--to", "dcba"))])


@pytest.mark.parametrize("packed", [False, True])
def test_each_series_is_converted(tree: Path, tmp_path: Path, packed: bool, capsys: Output) -> None:
    source = Path(shutil.make_archive(str(tree), "zip", tree)) if packed else tree
    assert convert(source, tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.1.dcba", "1.3.dcba"]
    lines = shown.out.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        f"{tmp_path}/out/1.1.dcba: 3 slices",
        f"{tmp_path}/out/1.3.dcba: 2 slices",
    ]
    errors = [line for line in shown.err.splitlines() if line.startswith("dicube: error: ")]
    first = source / "b2" / "I1"
    assert errors[0].startswith(f"dicube: error: series 2 of 3 ({first}): ")
    assert errors[1:] == ["dicube: error: 1 of 3 series failed: 2"]
    for name, folder in (("1.1", "a"), ("1.3", "c")):
        report = verify_file(
            tmp_path / "out" / f"{name}.dcba", tree / folder, require_originals=True
        )
        assert report.ok


@pytest.mark.parametrize("to", ["dcbs", "nii"])
def test_objects_that_are_left_out_are_an_error(
    tree: Path, tmp_path: Path, to: str, capsys: Output
) -> None:
    """A file of 1.1 without all that is in it isn't what an archive takes it for."""
    shutil.rmtree(tree / "b2")
    stranger = raw_data(9, series_uid="1.1")
    stranger.PatientName = "ROE^BOB"
    write_series(tree / "a", [stranger], ["raw"])
    assert convert(tree, tmp_path / "out", "--to", to) == (1 if to == "dcbs" else 0)
    assert len(list((tmp_path / "out").iterdir())) == 3
    errors = capsys.readouterr().err
    assert "1 left out, as they contradict the images" in errors
    assert ("dicube: error: objects were left out of series 1\n" in errors) == (to == "dcbs")


def test_a_series_without_images(tree: Path, tmp_path: Path, capsys: Output) -> None:
    """Its own files are stored, not those of the series with images."""
    shutil.rmtree(tree / "b2")
    write_series(tree / "a", [raw_data(number, series_uid="1.4") for number in (1, 2)], ["x", "y"])
    for _ in range(2):
        assert convert(tree, tmp_path / "out", "--to", "dcbs") == 0
        assert sorted(stored_names(tmp_path / "out" / "1.4.dcbs")) == ["x", "y"]
    assert capsys.readouterr().out.count("exists, left as it is") == 4


@pytest.mark.parametrize("to", ["dcba", "dcbs", "dcbl", "dcbr", "nii", "nii.gz", "dcm"])
def test_formats(tree: Path, tmp_path: Path, to: str) -> None:
    shutil.rmtree(tree / "b2")
    options = ["--roi", "auto"] if to == "dcbr" else []
    assert convert(tree, tmp_path / "out", "--to", to, *options) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"1.{number}.{to}" for number in (1, 2, 3)]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert convert(tree, tmp_path / "out", "--to", to, *options) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_it_goes_on_where_it_stopped(tree: Path, tmp_path: Path, capsys: Output) -> None:
    shutil.rmtree(tree / "b2")
    out = tmp_path / "out"
    assert convert(tree, out) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "1.2.dcba").unlink()
    capsys.readouterr()
    assert convert(tree, out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("exists, left as it is") for line in lines] == [True, False, True]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_an_existing_file_of_other_content_is_an_error(
    tree: Path, tmp_path: Path, capsys: Output
) -> None:
    shutil.rmtree(tree / "b2")
    out = tmp_path / "out"
    assert convert(tree, out) == 0
    (tree / "a" / "I3").unlink()
    shutil.copy(out / "1.1.dcba", out / "1.2.dcba")
    (out / "1.3.dcba").write_bytes(b"DCMCUBEA, and no more")
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert convert(tree, out) == 1
    errors = capsys.readouterr().err
    assert "exists with 3 slices, and the series now has 2; --overwrite" in errors
    assert "3 of 3 series failed: 1, 2, 3" in errors
    assert before == {path: path.read_bytes() for path in out.iterdir()}
    assert convert(tree, out, "--to", "dcba", "--overwrite") == 0
    assert len(DicomCubeImage.from_file(out / "1.1.dcba").raw_image) == 2


def test_a_file_in_no_series_is_an_error(tree: Path, tmp_path: Path, capsys: Output) -> None:
    shutil.rmtree(tree / "b2")
    (tree / "a" / "I2").write_bytes((tree / "a" / "I2").read_bytes()[:400])
    assert convert(tree, tmp_path / "out") == 1
    errors = capsys.readouterr().err
    assert f"{tree}/a/I2" in errors
    assert "1 DICOM files or folders can't be read" in errors
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_target_may_be_in_the_source(tree: Path, capsys: Output) -> None:
    shutil.rmtree(tree / "b2")
    for _ in range(2):
        assert convert(tree, tree / "out", "--to", "dcm") == 0
        assert len(list((tree / "out").iterdir())) == 3
    shutil.rmtree(tree / "out")
    assert convert(tree, tree.parent) == 0
    assert len(list(tree.parent.glob("*.dcba"))) == 3


def test_nothing_to_convert(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    assert convert(tmp_path / "in", tmp_path / "out") == 1
    assert "no DICOM file among 1 files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("uid", ["", "..", "1..2", "../1", "1.2/3", "A", "1" * 65, ".1", "1.2\0"])
def test_names_of_invalid_uids(uid: str) -> None:
    name = file_name_of(uid)
    assert name.startswith("series-") and len(name) == 39
    assert name == file_name_of(uid) != file_name_of(f"{uid}x")
    assert file_name_of("1.2.840.0") == "1.2.840.0"


class TestInfo:
    def test_text(self, tree: Path, capsys: Output) -> None:
        DicomCubeImage.from_dicom_folder(tree, series_uid="1.1").to_file(tree / "x.dcbs")
        assert main(["info", str(tree)]) == 0
        lines = capsys.readouterr().out.splitlines()
        size = sum(path.stat().st_size for path in (tree / "a").iterdir())
        assert lines[0] == f"1.1  CT  3 x 6 x 5  3 files  {size:,} bytes  a description"
        assert lines[1].startswith("1.2  CT  5 CT Image Storage  5 files  ")
        assert lines[2].startswith("  can't be read: ") and "differ" in lines[2]
        assert lines[3].startswith("1.3  CT  2 x 6 x 5  2 files  ")
        assert lines[4].startswith(f"{tree}/x.dcbs  CT  3 x 6 x 5  ")
        assert lines[5:] == ["3 series, 10 DICOM files, 1 dicube files"]

    def test_json(self, tree: Path, capsys: Output) -> None:
        shutil.rmtree(tree / "b2")
        (tree / "c" / "I2").write_bytes((tree / "c" / "I2").read_bytes()[:400])
        assert main(["info", str(tree), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [one["series_uid"] for one in told["series"]] == ["1.1", "1.2", "1.3"]
        assert told["series"][0]["shape"] == [3, 6, 5]
        assert told["series"][0]["problems"] == []
        assert [one["path"] for one in told["unreadable"]] == [str(tree / "c" / "I2")]

    def test_patients_are_named_only_on_request(self, tree: Path, capsys: Output) -> None:
        DicomCubeImage.from_dicom_folder(tree, series_uid="1.1").to_file(tree / "x.dcbs")
        for options in ([], ["--json"]):
            assert main(["info", str(tree), *options]) == 0
            assert "DOE" not in capsys.readouterr().out
            assert main(["info", str(tree), "--patient", *options]) == 0
            assert capsys.readouterr().out.count("DOE^JOHN") == 4

    def test_one_dicom_file_and_an_archive(self, tree: Path, capsys: Output) -> None:
        assert main(["info", str(tree / "a" / "I1")]) == 0
        assert capsys.readouterr().out.startswith("1.1  CT  1 x 6 x 5  1 files")
        assert main(["info", shutil.make_archive(str(tree), "zip", tree)]) == 0
        assert capsys.readouterr().out.endswith("3 series, 10 DICOM files\n")

    def test_a_damaged_dicube_file(self, tree: Path, capsys: Output) -> None:
        (tree / "x.dcbs").write_bytes(b"DCMCUBES, and no more")
        assert main(["info", str(tree)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[4] == f"{tree}/x.dcbs  21 bytes"
        assert lines[5].startswith("  can't be read: ")
