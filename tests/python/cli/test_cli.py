"""The `dicube` command, run as users run it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from inputs.dicom_series import without_pixels, write_series
from inputs.mapped_series import MAPPED, mapping, with_each, without_rescale
from inputs.original_files import contents
from programs.running import run_python
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, JPEG2000Lossless

from dicube import DicomCubeImage, __version__
from dicube.cli import main
from dicube.cli.options.parser import parser
from dicube.cli.progress_bar import ProgressBar
from dicube.storage import DcbReader


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "dicube", *arguments, **environment)


def fails(*arguments: object) -> str:
    """Run a command that must end in status 1 and one line; return the line."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert main([str(argument) for argument in arguments]) == 1
    line = errors.getvalue()
    assert line.startswith("dicube: error: ")
    assert line.count("\n") == 1
    return line


def test_exit_status(tmp_path: Path) -> None:
    result = run("info", tmp_path / "none.dcbs")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("dicube: error: ")
    assert result.stderr.count("\n") == 1
    assert run("paint").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "", "x.dcbs"],
        ["verify", ""],
        ["verify", "x.dcbs", "--against", ""],
        ["demo", ""],
    ],
)
def test_nothing_is_not_the_working_folder(
    arguments: list[str], series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it comes from `"$UNSET"`."""
    monkeypatch.chdir(series)
    DicomCubeImage.from_dicom_folder(series).to_file("x.dcbs")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.fixture
def series(tmp_path: Path, smooth_volume: SmoothVolume) -> Path:
    """A DICOM folder."""
    image = DicomCubeImage(smooth_volume((5, 32, 40), "int16"))
    image.init_meta("CT", "DOE^JANE", "42")
    image.to_dicom_folder(tmp_path / "series")
    return tmp_path / "series"


class TestWhatFilesSay:
    @pytest.fixture
    def path(self, series: Path, tmp_path: Path) -> Path:
        image = DicomCubeImage.from_dicom_folder(series)
        assert image.dicom_meta is not None
        image.dicom_meta.set_shared_item("SpecificCharacterSet", "ISO_IR 192")
        image.dicom_meta.set_shared_item("SeriesDescription", "Größe\x1b]0;owned\x07\nlength 頭")
        image.to_file(tmp_path / "x.dcbs")
        return tmp_path / "x.dcbs"

    def test_terminals_obey_nothing_of_it(self, path: Path) -> None:
        told = run("info", path, PYTHONIOENCODING="utf-8")
        assert told.returncode == 0
        assert "Größe\\x1b]0;owned\\x07 length 頭\n" in told.stdout

    @pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
    def test_what_cant_be_shown_is_escaped(self, path: Path, series: Path) -> None:
        told = run("info", path, PYTHONIOENCODING="ascii")
        assert told.returncode == 0
        assert "Gr\\xf6\\xdfe" in told.stdout
        target = os.fsdecode(os.fsencode(path.parent) + b"/\xff.dcbs")
        told = run("convert", series, target, PYTHONIOENCODING="utf-8:strict")
        assert (told.returncode, told.stderr) == (0, "")
        assert "\\udcff.dcbs: 5 slices" in told.stdout


class TestConvert:
    def test_there_and_back(self, series: Path, tmp_path: Path) -> None:
        steps = [
            (series, tmp_path / "a.dcbs"),
            (tmp_path / "a.dcbs", tmp_path / "b.dcba"),
            (tmp_path / "b.dcba", tmp_path / "c.dcbs"),
            (tmp_path / "c.dcbs", tmp_path / "restored"),
        ]
        for source, target in steps:
            result = run("convert", source, target)
            assert result.returncode == 0, result.stderr
            assert "5 slices" in result.stdout
            assert result.stderr == ""
        one = DicomCubeImage.from_dicom_folder(series)
        two = DicomCubeImage.from_dicom_folder(tmp_path / "restored")
        assert contents(tmp_path / "restored") == contents(series)
        assert np.array_equal(one.raw_image, two.raw_image)
        assert one.dicom_meta == two.dicom_meta
        assert one.space == two.space

    def test_reports_why_original_files_are_not_kept(self, series: Path, tmp_path: Path) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        image.to_dicom_folder(tmp_path / "coded", transfer_syntax="htj2k")
        (tmp_path / "j2k").mkdir()
        for path in series.iterdir():
            dataset = dcmread(path)
            dataset.compress(JPEG2000Lossless)
            dataset.save_as(tmp_path / "j2k" / path.name)
        for source, target, reason in (
            (
                tmp_path / "j2k",
                tmp_path / "j2k.dcbs",
                "the original files have frames in JPEG 2000",
            ),
            (tmp_path / "j2k.dcbs", tmp_path / "j2k.dcba", ""),
            (tmp_path / "coded", tmp_path / "coded.dcbs", ""),
            (
                tmp_path / "coded.dcbs",
                tmp_path / "coded.dcba",
                "the original files have HTJ2K frames",
            ),
            (tmp_path / "coded.dcbs", tmp_path / "coded.dcbl", ""),
        ):
            result = run("convert", source, target)
            assert result.returncode == 0, result.stderr
            expected = (
                f"dicube: {target} holds every element and sample, but can't restore the original "
                f"files to the byte: {reason}"
            )
            assert result.stderr.startswith(expected) if reason else result.stderr == ""

    def test_keeping_original_files(self, series: Path, tmp_path: Path) -> None:
        source = tmp_path / "j2k"
        source.mkdir()
        for path in series.iterdir():
            dataset = dcmread(path)
            dataset.compress(JPEG2000Lossless)
            dataset.save_as(source / path.name)
        told = run("convert", source, tmp_path / "x.dcbs", "--exact", "cheap")
        assert "the original files have frames in JPEG 2000" in told.stderr
        told = run("convert", source, tmp_path / "x.dcbs", "--exact", "no", "--overwrite")
        assert told.returncode == 0 and not told.stderr
        told = run("convert", source, tmp_path / "x.dcbs", "--exact", "always", "--overwrite")
        assert told.returncode == 0 and not told.stderr
        size = (tmp_path / "x.dcbs").stat().st_size
        source_size = sum(map(len, contents(source).values()))
        assert f"{size / source_size:.2f} times the size of its original files" in told.stdout
        assert run("convert", tmp_path / "x.dcbs", tmp_path / "out/").returncode == 0
        assert contents(tmp_path / "out") == contents(source)
        shown = run("info", tmp_path / "x.dcbs").stdout
        assert f"5 files of {source_size:,} bytes" in shown
        assert "5 files: frames in JPEG 2000 Image Compression (Lossless Only), which" in shown
        kept = json.loads(run("info", "--json", tmp_path / "x.dcbs").stdout)["originals"]
        assert (kept["files"], kept["size"], kept["recoded"]) == (5, source_size, {})
        assert list(kept["kept"].values()) == [5] and 0 < kept["kept_size"] < source_size
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(source), str(tmp_path / "y.dcbs"), "--exact", "perhaps"])
        assert ended.value.code == 2

    def test_effort_in_words(self, series: Path, tmp_path: Path) -> None:
        for name, effort in (("word", "fast"), ("number", 1)):
            options = ["--effort", effort, "--no-verify"]
            assert run("convert", series, tmp_path / f"{name}.dcba", *options).returncode == 0
        word, number = tmp_path / "word.dcba", tmp_path / "number.dcba"
        assert word.read_bytes() == number.read_bytes()

    def test_options(self, series: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.dcba"
        options = ["--effort", 7, "--threads", 1, "--no-verify", "--sort", "instance-reverse"]
        assert run("convert", series, path, *options).returncode == 0
        expected = DicomCubeImage.from_dicom_folder(series).raw_image[::-1]
        with DcbReader(path) as reader:
            assert np.array_equal(reader.read_frames(), expected)

    def test_one_dicom_file(self, series: Path, tmp_path: Path) -> None:
        assert run("convert", series / "slice_0003.dcm", tmp_path / "x.dcbs").returncode == 0
        expected = DicomCubeImage.from_dicom_folder(series).raw_image[3:4]
        assert np.array_equal(DicomCubeImage.from_file(tmp_path / "x.dcbs").raw_image, expected)

    def test_one_multi_frame_file(self, series: Path, tmp_path: Path) -> None:
        expected = DicomCubeImage.from_dicom_folder(series)
        steps: list[tuple[Path, Path, list[str], str]] = [
            (series, tmp_path / "a.dcm", [], "1.2.840.10008.1.2.1"),
            (series, tmp_path / "x.dcbs", [], ""),
            (tmp_path / "x.dcbs", tmp_path / "b.dcm", ["htj2k"], "1.2.840.10008.1.2.4.201"),
            (tmp_path / "b.dcm", tmp_path / "c.DCM", ["htj2k-rpcl"], "1.2.840.10008.1.2.4.202"),
        ]
        for source, target, syntax, uid in steps:
            options = ["--transfer-syntax", *syntax] if syntax else []
            result = run("convert", source, target, *options)
            assert result.returncode == 0 and "5 slices" in result.stdout, result.stderr
            if uid:
                assert dcmread(target).file_meta.TransferSyntaxUID == uid
                again = DicomCubeImage.from_dicom_folder(target)
                assert np.array_equal(again.raw_image, expected.raw_image)
                assert again.space == expected.space
        assert "--overwrite" in fails("convert", series, tmp_path / "a.dcm")
        assert run("convert", series, tmp_path / "a.dcm", "--overwrite").returncode == 0
        folder = tmp_path / "x.dcm"
        folder.mkdir()
        assert run("convert", tmp_path / "x.dcbs", folder).returncode == 0
        assert len(list(folder.iterdir())) == 5

    def test_series_uid(self, series: Path, tmp_path: Path) -> None:
        other = DicomCubeImage(np.zeros((2, 8, 8), np.uint8))
        meta = other.init_meta("MR")
        other.to_dicom_folder(series / "other")
        told = fails("convert", series, tmp_path / "x.dcbs")
        uid = meta.get("SeriesInstanceUID")
        assert "--series-uid" in told and "dicube info" in told
        assert str(uid) not in told and str(uid) in run("info", series).stdout
        assert run("convert", series, tmp_path / "x.dcbs", "--series-uid", uid).returncode == 0
        assert DicomCubeImage.from_file(tmp_path / "x.dcbs").shape == (2, 8, 8)

    def test_files_without_images(self, tmp_path: Path) -> None:
        reports = [without_pixels(BasicTextSRStorage, number) for number in range(2)]
        source, path, out = write_series(tmp_path / "in", reports), tmp_path / "x.dcba", tmp_path
        stored = run("convert", source, path)
        assert stored.returncode == 0, stored.stderr
        assert stored.stdout.startswith(f"{path}: 2 files without a volume, ")
        info = run("info", path)
        assert info.returncode == 0, info.stderr
        lines = [line.split() for line in info.stdout.splitlines()]
        assert [line[2] for line in lines if line[:2] == ["stored", "whole"]] == ["I1:", "I2:"]
        assert json.loads(run("info", "--json", path).stdout)["original_files"] == ["I1", "I2"]
        assert run("convert", path, out / "out/").stdout == f"{out / 'out'}: 2 files\n"
        assert contents(out / "out") == contents(source)
        assert run("verify", path, "--against", source, "--whole-source").returncode == 0
        for target in ("y.dcbs", "y.nii", "y.dcm"):
            assert "no frames, but 2 original files" in fails("convert", path, tmp_path / target)
        for target in ("y.dcbl", "y.nii", "y.dcm"):
            assert "no images among 2 DICOM files" in fails("convert", source, tmp_path / target)
        assert "needs a folder to compare with" in fails("verify", path, "--whole-source")

    def test_what_is_there_stays_unless_overwritten(self, series: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.dcbs"
        path.write_bytes(b"old")
        assert "--overwrite" in fails("convert", series, path)
        assert path.read_bytes() == b"old"
        assert run("convert", series, path, "--overwrite").returncode == 0
        (series / "notes.txt").write_text("keep")
        told = fails("convert", path, series)
        assert "not empty" in told and told.rstrip().endswith("or --overwrite)")
        assert run("convert", path, series, "--overwrite").returncode == 0
        assert (series / "notes.txt").read_text() == "keep"

    def test_errors(self, series: Path, tmp_path: Path) -> None:
        good = tmp_path / "good.dcbs"
        assert run("convert", series, good).returncode == 0
        assert "no such file" in fails("convert", tmp_path / "none", tmp_path / "x.dcbs")
        assert "unknown format .dcbx; expected a name ending in .dcbs, .dcba" in fails(
            "convert", series, tmp_path / "x.dcbx"
        )
        assert "unknown format .nrrd" in fails("convert", good, tmp_path / "x.nrrd")
        assert "needs --transfer-syntax" in fails("convert", series, tmp_path / "x")
        (tmp_path / "empty").mkdir()
        assert "empty" in fails("convert", tmp_path / "empty", tmp_path / "x.dcbs")
        (tmp_path / "bad.dcbs").write_bytes(b"nothing of the kind")
        fails("convert", tmp_path / "bad.dcbs", tmp_path / "x.dcba")
        good.write_bytes(good.read_bytes()[:-100])
        fails("convert", good, tmp_path / "x.dcba")
        assert not list(tmp_path.glob("x*"))

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["convert"],
            ["convert", "a"],
            ["convert", "a", "b", "--effort", "10"],
            ["convert", "a", "b", "--effort", "0"],
            ["convert", "a", "b", "--effort", "hard"],
            ["convert", "a", "b", "--threads", "-1"],
            ["convert", "a", "b", "--sort", "colour"],
            ["paint"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: dicube" in capsys.readouterr().err


class TestInfo:
    @pytest.fixture
    def path(self, series: Path, tmp_path: Path) -> Path:
        image = DicomCubeImage.from_dicom_folder(series)
        image.to_file(tmp_path / "x.dcba")
        return tmp_path / "x.dcba"

    def test_text(self, path: Path) -> None:
        shown = run("info", path).stdout
        for text in ("JPEG XL", "5 x 32 x 40 int16", "consistent", "DOE^JANE", "[dicom_meta]"):
            assert text in shown
        assert f"{path.stat().st_size:,} bytes" in shown

    def test_json(self, path: Path) -> None:
        told = json.loads(run("info", "--json", path).stdout)
        assert told["shape"] == [5, 32, 40]
        assert told["dtype"] == "int16"
        assert told["codec"] == "jxl"
        assert told["file_size"] == path.stat().st_size
        assert told["raw_size"] == 5 * 32 * 40 * 2
        assert told["status"] == "consistent"
        assert told["tags"]["PatientName"] == "DOE^JANE"
        assert told["space"]["shape"] == [5, 32, 40]
        assert told["sections"]["dicom_status"] == len("consistent")
        assert told["findings"] == []
        assert told["originals"]["files"] == 5 and told["originals"]["kept"] == {}

    def test_findings(self, series: Path, tmp_path: Path) -> None:
        (series / "slice_0002.dcm").unlink()
        with pytest.warns(UserWarning, match="gap_location"):
            image = DicomCubeImage.from_dicom_folder(series)
        assert image.dicom_meta is not None
        image.dicom_meta.set_nonshared_item("WindowCenter", [1, 1, 1, 2])
        image.to_file(tmp_path / "y.dcbs")
        shown = run("info", tmp_path / "y.dcbs").stdout
        assert "gap_location: uneven slice spacing" in shown
        assert "[slices 3, PS3.3 C.11.2.1.2]" in shown
        told = json.loads(run("info", "--json", tmp_path / "y.dcbs").stdout)["findings"]
        assert [finding["kind"] for finding in told] == [
            "gap_instance_number",
            "gap_location",
            "non_uniform_window",
        ]
        assert told[0]["status"] == "gap_instance_number"
        assert told[2]["slices"] == [3]

    def test_without_metadata(self, tmp_path: Path) -> None:
        DicomCubeImage(np.zeros((1, 3, 3, 3), np.uint8)).to_file(tmp_path / "x.dcbs")
        shown = run("info", tmp_path / "x.dcbs").stdout
        assert "1 x 3 x 3 x 3 uint8" in shown
        assert dict(line.split(maxsplit=1) for line in shown.splitlines())["space"] == "unknown"

    def test_errors(self, path: Path, tmp_path: Path) -> None:
        assert "none.dcbs" in fails("info", tmp_path / "none.dcbs")
        path.write_bytes(path.read_bytes()[:50])
        fails("info", path)


class TestVerify:
    @pytest.fixture
    def path(self, series: Path, tmp_path: Path) -> Path:
        DicomCubeImage.from_dicom_folder(series).to_file(tmp_path / "x.dcbs")
        return tmp_path / "x.dcbs"

    def test_all_checks_pass(self, path: Path, series: Path) -> None:
        for arguments in ([], ["--against", series], ["--threads", 1]):
            result = run("verify", path, *arguments)
            assert result.returncode == 0, result.stderr
            assert result.stderr == ""
            assert result.stdout.endswith(f"{path}: OK\n")

    def test_damage(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with DcbReader(path) as reader:
            offset, size = reader.coded_range(4)
        data = bytearray(path.read_bytes())
        data[offset + size - 10] ^= 1
        path.write_bytes(data)
        assert main(["verify", str(path)]) == 1
        shown = capsys.readouterr().out
        assert "frame 4: " in shown
        assert shown.endswith(f"{path}: FAILED\n")

    def test_another_original(self, path: Path, series: Path) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        assert image.dicom_meta is not None
        image.dicom_meta.set_shared_item("PatientID", "43")
        image.to_dicom_folder(series, overwrite=True)
        result = run("verify", path, "--against", series)
        assert result.returncode == 1
        assert "(0010,0020) PatientID: a value of 2 bytes became" in result.stdout
        shown = run("verify", path, "--against", series, "--show-values").stdout
        assert "PatientID: '42' became '43'" in shown or "PatientID: '43' became '42'" in shown

    def test_json(self, path: Path, series: Path) -> None:
        told = json.loads(run("verify", "--json", path, "--against", series).stdout)
        assert told["ok"] is True
        assert told["path"] == str(path)
        outcomes = {check["name"]: check["outcome"] for check in told["checks"]}
        assert outcomes["frames"] == outcomes["original elements"] == "ok"

    def test_what_could_not_be_checked(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(path), "--require-originals", "--require-checksums"]) == 0
        DicomCubeImage.from_file(path).to_file(path, exact=False)
        capsys.readouterr()
        assert main(["verify", str(path)]) == 0
        assert capsys.readouterr().out.endswith(f"{path}: OK; not checked: original files\n")
        assert main(["verify", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["unchecked"] == ["original files"]
        assert main(["verify", str(path), "--require-originals"]) == 1
        assert capsys.readouterr().out.endswith(f"{path}: FAILED\n")

    def test_errors(self, path: Path, tmp_path: Path) -> None:
        assert "none.dcbs" in fails("verify", tmp_path / "none.dcbs")
        assert "none" in fails("verify", path, "--against", tmp_path / "none")


class TestDemo:
    def test_volume_of_nibabel(self) -> None:
        pytest.importorskip("nibabel")
        result = run("demo")
        assert result.returncode == 0, result.stderr
        assert "MR 24 x 96 x 128 int16" in result.stdout
        for extension in (".dcbs", ".dcba"):
            assert f"files from {extension}  24 of 24 equal, byte for byte" in result.stdout
        assert "dicube convert FOLDER head.dcbs" in result.stdout

    def test_series_of_pydicom(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: None if name == "nibabel" else find(name)
        )
        assert main(["demo"]) == 0
        result = capsys.readouterr().out
        assert result.count("equal: ") == 4
        assert "CT 5 x 16 x 16" in result

    def test_table(self) -> None:
        result = run("demo")
        assert result.stderr == ""
        assert result.stdout.count("equal: ") == 4
        for text in (".dcbs (HTJ2K)", ".dcba (JPEG XL)", "DICOM from .dcbs", "ratio"):
            assert text in result.stdout

    def test_own_folder(self, series: Path) -> None:
        result = run("demo", series)
        assert result.returncode == 0
        assert "CT 5 x 32 x 40 int16" in result.stdout

    def test_a_difference_is_told(
        self, series: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def from_file(path: Path, num_threads: int | None = None) -> DicomCubeImage:
            image = DicomCubeImage.from_dicom_folder(series)
            image.raw_image = image.raw_image.copy()
            image.raw_image[2, 3, 4] += 1
            assert image.dicom_meta is not None
            image.dicom_meta.set_shared_item("PatientID", "43")
            return image

        monkeypatch.setattr(DicomCubeImage, "from_file", from_file)
        assert main(["demo", str(series)]) == 1
        shown = capsys.readouterr().out
        assert "DIFFERS: 1 stored values; 00100020 in 5 slices" in shown

    def test_errors(self, tmp_path: Path) -> None:
        fails("demo", tmp_path)
        fails("demo", tmp_path / "none")


class TestHelp:
    @pytest.mark.parametrize(
        "arguments", [["--help"], ["convert", "--help"], ["info", "-h"], ["demo", "-h"]]
    )
    def test_help(self, arguments: list[str]) -> None:
        result = run(*arguments)
        assert result.returncode == 0
        assert result.stdout.startswith("usage: dicube")

    def test_examples(self) -> None:
        assert "dicube convert series/ head.dcbs" in run("--help").stdout

    def test_help_tells_of_every_command_and_option(self) -> None:
        commands = next(each for each in parser()._actions if isinstance(each.choices, dict))
        listed = {each.dest: each.help for each in commands._get_subactions()}
        assert listed.keys() == commands.choices.keys()
        for name, command in commands.choices.items():
            assert listed[name]
            for argument in command._actions:
                assert argument.help, f"{name} {argument.dest}"

    def test_version(self) -> None:
        shown = run("--version").stdout
        assert shown.startswith(f"dicube {__version__}\n")
        told = dict(line.split(maxsplit=1) for line in shown.splitlines())
        assert told["numpy"] == np.__version__
        assert {"compiler", "libjxl", "openjph", "python", "pydicom"} <= {
            name.lower() for name in told
        }
        assert "libjxl" in shown and "OpenJPH" in shown

    def test_output_that_is_not_utf8(self, series: Path) -> None:
        result = run("demo", series, PYTHONIOENCODING="ascii")
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", ["demo {series}", "--help", "--version"])
def test_a_reader_that_goes_away_is_no_error(arguments: str, series: Path) -> None:
    program = f"{sys.executable} -m dicube {arguments.format(series=series)}"
    command = f"(sleep 0.1; {program}) | true"
    result = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""


def test_progress_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("reading") as bar:
        bar(5, 10)
    assert capsys.readouterr().err == ""  # no terminal, no bar
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with ProgressBar("reading") as bar:
        bar(5, 10)
        bar(6, 10)  # too soon to be shown
        bar(10, 10)
    shown = capsys.readouterr().err
    assert "reading  [###############...............] 5/10" in shown
    assert " 6/10" not in shown
    assert "] 10/10" in shown
    assert shown.endswith("\r\x1b[K")


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
@pytest.mark.parametrize(("output", "status"), [(">/dev/full", 1), (">&-", 0)])
def test_an_output_that_takes_nothing(output: str, status: int) -> None:
    result = subprocess.run(
        f"{sys.executable} -m dicube --version {output}",
        shell=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == status
    assert "Traceback" not in result.stderr


def test_mappings_are_shown_and_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = without_rescale(), mapping(2.0, label="SUV", units="g/ml"), mapping(3.0, label="raw")
    folder = write_series(
        tmp_path / "pet", with_each(made[0], "RealWorldValueMappingSequence", *made[1:])
    )
    path = tmp_path / "pet.dcbs"
    assert main(["convert", str(folder), str(path)]) == 0
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "mapping 0" in shown
    assert "'SUV' (g/ml)" in shown
    assert "--real-world" in fails("convert", path, tmp_path / "x.nii")
    stored = DicomCubeImage.from_file(path).raw_image
    for number, factor in (("0", 2.0), ("raw", 3.0)):
        target = tmp_path / f"{number}.nii"
        assert main(["convert", str(path), str(target), "--real-world", number]) == 0
        written = DicomCubeImage.from_nifti(target).get_fdata("float64")
        np.testing.assert_array_equal(written, stored * factor)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dose", "stored value * 1.23e-08 + 0 GY"),
        ("lut", "by the table or ranges of ModalityLUTSequence (OD)"),
        ("two_ranges", "by the table or ranges of 'x' (mm2/s)"),
    ],
)
def test_info_says_how_real_values_are_made(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.dcbs"
    folder = write_series(tmp_path / name, MAPPED[name]().datasets)
    DicomCubeImage.from_dicom_folder(folder).to_file(path)
    assert main(["info", str(path)]) == 0
    assert f"  {text}\n" in capsys.readouterr().out
