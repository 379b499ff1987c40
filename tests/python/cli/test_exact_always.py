"""`dicube convert --exact always`: every DICOM file that can be read is stored to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inputs.dicom_series import make_series, make_slice, raw_data, without_pixels, write_series
from inputs.original_files import contents, encapsulated
from programs.running import run_python
from pydicom.uid import MPEG4HP41, BasicTextSRStorage

from dicube import restore_files
from dicube.cli import main

Output = pytest.CaptureFixture[str]
OTHER = "1.2.826.0.1.3680043.8.498.5"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A CT with a scout and a file that claims too many frames, a series of one video, a report,
    and a CT with a file of a stranger."""
    claims = make_slice(9)
    claims.NumberOfFrames = 1_000_000
    scout = make_slice(8, shape=(9, 4))
    write_series(tmp_path / "tree" / "ct", [*make_series(3), scout, claims])
    video = encapsulated(make_slice(0), [bytes(range(256)) * 400] * 3)
    video.file_meta.TransferSyntaxUID = MPEG4HP41
    video.SeriesInstanceUID, video.NumberOfFrames = f"{OTHER}.1", 25
    report = without_pixels(BasicTextSRStorage, 1, f"{OTHER}.2")
    strange = [*make_series(2), make_slice(4, shape=(9, 4))]
    for dataset in strange:
        dataset.SeriesInstanceUID = f"{OTHER}.3"
    strange[2].PatientName = "ROE^BOB"
    write_series(tmp_path / "tree" / "more", [video, report])
    write_series(tmp_path / "tree" / "strange", strange)
    return tmp_path / "tree"


def convert(tree: Path, out: Path, *options: str) -> int:
    return main(["convert", str(tree), f"{out}/", "--all-series", "--to", "dcbs", *options])


def test_all_series_of_a_tree(tree: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "out"
    assert convert(tree, out) == 1
    assert len(list(out.iterdir())) == 1  # the report
    assert convert(tree, out, "--exact", "always") == 0
    shown = capsys.readouterr()
    assert "ROE" not in shown.err
    uid = make_slice().SeriesInstanceUID
    assert f"{out}/{uid}.dcbs: 3 slices" in shown.out
    assert f"{out}/{OTHER}.1.dcbs: 1 files without a volume" in shown.out
    assert f"{out}/{OTHER}.3.dcbs: 3 files without a volume" in shown.out
    assert f"{OTHER}.3.dcbs holds whole files and no volume" in shown.err
    found: dict[str, bytes] = {}
    for path in out.iterdir():
        assert main(["verify", str(path), "--require-originals"]) == 0
        restore_files(path, tmp_path / path.stem)
        found |= {
            f"{path.stem}/{name}": data for name, data in contents(tmp_path / path.stem).items()
        }
    assert sorted(found.values()) == sorted(contents(tree).values())
    capsys.readouterr()
    assert convert(tree, out, "--exact", "always") == 0
    assert capsys.readouterr().out.count("exists, left as it is") == 4
    write_series(tree / "ct", [raw_data(1)], ["raw"])
    assert convert(tree, out, "--exact", "always") == 1
    assert "exists with 5 files, and the series now has 6;" in capsys.readouterr().err


def test_one_series_in_processes(tree: Path, tmp_path: Path) -> None:
    source, path = tree / "ct", tmp_path / "x.dcba"
    refused = run_python("-m", "dicube", "convert", source, path)
    assert refused.returncode == 1 and "I5: NumberOfFrames is 1000000" in refused.stderr
    for arguments in (
        ("convert", source, path, "--exact", "always"),
        ("verify", path, "--against", source, "--whole-source", "--require-originals"),
        ("convert", path, f"{tmp_path}/out/"),
        ("convert", path, tmp_path / "y.dcbs", "--exact", "always"),
    ):
        done = run_python("-m", "dicube", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "out") == contents(source)
    restore_files(tmp_path / "y.dcbs", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(source)
    shown = json.loads(run_python("-m", "dicube", "info", path, "--json").stdout)
    assert list(shown["originals"]["whole"]) == ["I4", "I5"]


def test_what_else_is_there_is_an_error(tree: Path, tmp_path: Path, capsys: Output) -> None:
    """Nothing is left out: neither a report of another series nor a file that can't be read."""
    write_series(tree / "ct", [without_pixels(BasicTextSRStorage, 1, f"{OTHER}.2")], ["report"])
    options = [str(tmp_path / "x.dcbs"), "--exact", "always"]
    assert main(["convert", str(tree / "ct"), *options]) == 1
    assert "expected files of one series, found 1 of others" in capsys.readouterr().err
    (tree / "ct" / "report").unlink()
    (tree / "ct" / "I4").write_bytes((tree / "ct" / "I4").read_bytes()[:400])
    assert main(["convert", str(tree / "ct"), *options]) == 1
    assert "I4 is truncated" in capsys.readouterr().err
    assert not (tmp_path / "x.dcbs").exists()


def test_whole_files_keep_their_transfer_syntax(tmp_path: Path, capsys: Output) -> None:
    write_series(tmp_path / "in", [without_pixels(BasicTextSRStorage, 1)], ["report"])
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "x.dcbs")]) == 0
    options = ["--transfer-syntax", "htj2k"]
    assert main(["convert", str(tmp_path / "x.dcbs"), f"{tmp_path}/out/", *options]) == 1
    assert "has only whole files, which keep their own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
