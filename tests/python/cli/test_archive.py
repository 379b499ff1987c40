"""`dicube archive`: its verbs, their output and exit statuses."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from inputs.dicom_series import write_series
from inputs.series_trees import STUDY, Inline, digests, series_of, write_tree
from programs.running import run_python
from pydicom.uid import JPEG2000Lossless

from dicube.archive import archive as module
from dicube.cli import main

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tasks in this process, which starts none."""

    class Here(Inline):
        def __init__(self, count: int) -> None:
            super().__init__()

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_exception: object) -> None:
            pass

    monkeypatch.setattr(module, "OwnProcesses", Here)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree")


@pytest.fixture
def archive(tree: Path, tmp_path: Path, capsys: Output) -> str:
    assert main(["archive", "add", str(tmp_path / "archive"), str(tree)]) == 0
    capsys.readouterr()
    return str(tmp_path / "archive")


def shown(capsys: Output, *arguments: str | Path) -> str:
    assert main(["archive", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_add_says_what_it_has_done(tree: Path, tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "archive"
    (tree / "notes.txt").touch()
    line = f"{folder}: 6 series added, 1 other files left out\n"
    assert shown(capsys, "add", folder, tree) == line
    line = f"{folder}: 6 series present, 1 other files left out\n"
    assert shown(capsys, "add", folder, tree) == line


def test_add_options(tree: Path, tmp_path: Path, capsys: Output) -> None:
    folder, report = tmp_path / "archive", tmp_path / "report.ndjson"
    arguments = ["--format", "dcbs", "--exact", "no", "--report", report, "--no-restore-check"]
    shown(capsys, "add", folder, tree / "a", *arguments)
    (row,) = json.loads(shown(capsys, "list", folder, "--format", "json"))
    assert (row["file"], row["has_originals"]) == (f"{STUDY}.1/{STUDY}.1.1.dcbs", False)
    assert json.loads(report.read_text())["outcome"] == "added"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert "2 series new" in shown(capsys, "add", folder, tree / "b", tree / "c", "--dry-run")


def test_paths_in_a_file(
    tree: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tmp_path / "paths.txt"
    listing.write_text(f"{tree / 'a'}\n\n{tree / 'b' / 'I1'}\n")
    assert "2 series added" in shown(capsys, "add", tmp_path / "one", f"@{listing}")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tree / 'c'}\n"))
    assert "1 series added" in shown(capsys, "add", tmp_path / "two", "@-")
    monkeypatch.chdir(tmp_path)
    (tree / "a").rename("@folder")
    assert "1 series added" in shown(capsys, "add", tmp_path / "three", "@folder")


def test_failures_give_status_3_and_a_line_each(tree: Path, tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "archive"
    assert main(["archive", "add", str(folder), str(tree)]) == 0
    (folder / f"{STUDY}.1" / f"{STUDY}.1.1.dcba").write_bytes(b"rot")
    (tree / "a" / "I9").write_bytes((tree / "a" / "I1").read_bytes()[:400])
    capsys.readouterr()
    assert main(["archive", "add", str(folder), str(tree)]) == 3
    out, err = capsys.readouterr()
    assert out == f"{folder}: 1 series failed, 5 series present, 1 damaged files\n"
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"dicube: error: {tree / 'a' / 'I1'} and 2 more files: ")
    assert str(tree / "a" / "I9") in lines[1]


def test_a_file_kept_aside_is_a_warning(archive: str, tmp_path: Path, capsys: Output) -> None:
    changed = series_of(1)[1:2]
    changed[0].SliceThickness = 8
    write_series(tmp_path / "b", changed)
    assert main(["archive", "add", archive, str(tmp_path / "b")]) == 0
    assert "kept as aside/" in capsys.readouterr().err


@pytest.mark.usefixtures("no_decoder_plugins")
def test_images_without_a_decoder_are_a_warning(tmp_path: Path, capsys: Output) -> None:
    series = series_of(1, 2, shape=(64, 48))
    for dataset in series:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    write_series(tmp_path / "series", series)
    main(["archive", "add", str(tmp_path / "archive"), str(tmp_path / "series")])
    result = capsys.readouterr()
    assert ".dcba keeps files without frames: " in result.err
    assert "no decoder for JPEG 2000" in result.err
    restored = tmp_path / "restored"
    shown(capsys, "restore", tmp_path / "archive", restored, "--study", f"{STUDY}.1")
    assert digests([restored]) == digests([tmp_path / "series"])


def test_wrong_sources_are_errors(tmp_path: Path, capsys: Output) -> None:
    assert main(["archive", "add", str(tmp_path / "a"), str(tmp_path / "nowhere")]) == 1
    assert main(["archive", "add", str(tmp_path / "a"), "@nowhere"]) == 1
    assert main(["archive", "list", str(tmp_path / "b")]) == 1
    assert capsys.readouterr().err.count("\n") == 3


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 6),
        (["--patient", "4711"], 5),
        (["--modality", "CT"], 3),
        (["--study-date", "2024-01-02..2024-03-31"], 1),
        (["--filter", f"SeriesInstanceUID={STUDY}.1.*", "--modality", "CT"], 2),
        (["--filter", "PatientID=4711", "--filter", "SeriesNumber=2"], 1),
        (["--patient", "nobody"], 0),
    ],
)
def test_list(archive: str, options: list[str], count: int, capsys: Output) -> None:
    table = shown(capsys, "list", archive, *options).splitlines()
    assert len(table) == count + 1
    assert table[0].split()[:3] == ["patient", "date", "modality"]
    rows = json.loads(shown(capsys, "list", archive, *options, "--format", "json"))
    assert len(rows) == count
    text = shown(capsys, "list", archive, *options, "--format", "csv")
    table = list(csv.DictReader(io.StringIO(text)))
    keys = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
    assert [[row[key] for key in keys] for row in table] == [
        [row[key] for key in keys] for row in rows
    ]


@pytest.mark.parametrize(
    "wrong", [["--filter", "PatientID"], ["--filter", "=x"], ["--sample", "5"]]
)
def test_wrong_usage(archive: str, wrong: list[str]) -> None:
    verb = "verify" if wrong[0] == "--sample" else "list"
    with pytest.raises(SystemExit) as ended:
        main(["archive", verb, archive, *wrong])
    assert ended.value.code == 2


def test_restore(archive: str, tree: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "out"
    line = f"{out}: 4 files\n"
    assert shown(capsys, "restore", archive, out, "--series", f"{STUDY}.1.2") == line
    assert digests([out]) == digests([tree / "b"])
    assert main(["archive", "restore", archive, str(out), "--series", f"{STUDY}.1.2"]) == 1
    shown(capsys, "restore", archive, out, "--series", f"{STUDY}.1.2", "--overwrite")


def test_verify(archive: str, tmp_path: Path, capsys: Output) -> None:
    assert shown(capsys, "verify", archive) == f"{archive}: 6 files OK\n"
    assert shown(capsys, "verify", archive, "--sample", "50%") == f"{archive}: 3 files OK\n"
    name = f"{STUDY}.1/{STUDY}.1.1.dcba"
    os.truncate(Path(archive) / name, 3000)
    report = tmp_path / "rot.ndjson"
    assert main(["archive", "verify", archive, "--report", str(report)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{name}: FAILED"
    assert out[-1] == f"{archive}: 1 of 6 files FAILED"
    lines = map(json.loads, report.read_text().splitlines())
    assert [line["file"] for line in lines if not line["ok"]] == [name]


def test_remove_and_index(archive: str, capsys: Output) -> None:
    out = shown(capsys, "remove", archive, "--patient", "0815")
    assert out == f"removed {STUDY}.2/{STUDY}.2.1.dcba\n"
    assert shown(capsys, "index", archive) == f"{archive}: 5 files in the catalogue\n"
    (Path(archive) / f"{STUDY}.1" / f"{STUDY}.1.1.dcba").write_bytes(b"rot")
    assert main(["archive", "index", archive]) == 3
    assert f"dicube: error: {STUDY}.1/{STUDY}.1.1.dcba: " in capsys.readouterr().err


def test_without_sqlalchemy_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None; from dicube.cli import main; "
        f"sys.exit(main(['archive', 'list', {str(tmp_path)!r}]))"
    )
    result = run_python("-c", code)
    assert result.returncode == 1
    assert result.stderr == (
        "dicube: error: an archive needs the package SQLAlchemy (pip install 'dicube[archive]')\n"
    )
    code = "import sys; sys.modules['sqlalchemy'] = None; import dicube.cli.convert"
    assert run_python("-c", code).returncode == 0


def test_a_catalogue_elsewhere(tree: Path, tmp_path: Path, capsys: Output) -> None:
    where = ["--catalogue", tmp_path / "elsewhere.sqlite"]
    shown(capsys, "add", tmp_path / "archive", tree / "a", *where)
    assert "4711" in shown(capsys, "list", tmp_path / "archive", *where)
    assert not (tmp_path / "archive" / "catalogue.sqlite").exists()


def test_urls_are_shown_without_credentials(tmp_path: Path, capsys: Output) -> None:
    pytest.importorskip("fsspec")
    place, catalogue = "memory://user:secret@bucket/place", str(tmp_path / "c.sqlite")
    assert main(["archive", "index", place, "--catalogue", catalogue]) == 0
    told = capsys.readouterr()
    assert told.out == "memory://bucket/place: 0 files in the catalogue\n"
    assert "secret" not in told.err


def test_remedies_name_options(tmp_path: Path, capsys: Output) -> None:
    pytest.importorskip("fsspec")
    assert main(["archive", "list", "memory://bucket/place"]) == 1
    assert "(--catalogue: a path" in capsys.readouterr().err
    for argument, text in (("5", "a percentage"), ("x%", "a percentage")):
        with pytest.raises(SystemExit):
            main(["archive", "verify", str(tmp_path), "--sample", argument])
        assert f"expected {text}" in capsys.readouterr().err
