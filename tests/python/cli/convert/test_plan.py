"""Which options `dicube convert` accepts: every option with every kind of source and target."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import SERIES_UID, make_series, write_series
from inputs.mapped_series import mapping, with_each

from dicube import DicomCubeImage
from dicube.cli import convert, main
from dicube.cli.options.convert import DICUBE_TARGETS, OPTIONS, SORT_METHODS, TargetKind
from dicube.cli.options.parser import parser
from dicube.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from dicube.storage.formats import FORMATS

SOURCES = ("dicom", "dicube", "nifti")
TARGETS = ("x.dcbs", "x.dcba", "x.dcbl", "x.dcbr", "x.nii", "x.nii.gz", "x.dcm", "x/", "x")
DICOM = ("x.dcm", "x/", "x")
NIFTI = ("x.nii", "x.nii.gz")
BOUNDED = ("x.dcba", "x.dcbl")

# By hand, from what the formats can do: an option as given, the parameter of the Python interface
# that takes it and its value there, and the sources and targets that it means anything to.
RULES: dict[str, tuple[list[str], str, Any, tuple[str, ...], tuple[str, ...]]] = {
    "--overwrite": (["--overwrite"], "overwrite", True, SOURCES, TARGETS),
    "--threads": (["--threads", "1"], "num_threads", 1, SOURCES, TARGETS),
    "--series-uid": (["--series-uid", SERIES_UID], "series_uid", SERIES_UID, ("dicom",), TARGETS),
    "--all-series": (["--all-series"], "", None, ("dicom",), ("x/", "x")),
    "--to": (["--to", "dcba"], "", None, (), ()),  # only with --all-series
    "--sort": (["--sort", "instance-reverse"], "sort_method", None, ("dicom",), TARGETS),
    "--on-error": (["--on-error", "skip"], "on_error", "skip", ("dicube",), TARGETS),
    "--effort": (["--effort", "2"], "effort", 2, SOURCES, ("x.dcba", "x.dcbl", "x.dcbr")),
    "--block-side": (["--block-side", "32"], "block_side", 32, SOURCES, ("x.dcbs",)),
    "--no-verify": (["--no-verify"], "verify", False, SOURCES, ("x.dcbs", "x.dcba")),
    "--exact": (["--exact", "no"], "exact", False, ("dicom", "dicube"), ("x.dcbs", "x.dcba")),
    "--max-error": (["--max-error", "2"], "max_error", 2, SOURCES, BOUNDED),
    "--distance": (["--distance", "1.5"], "distance", 1.5, SOURCES, BOUNDED),
    "--roi": (["--roi", "auto"], "roi", "auto", SOURCES, ("x.dcbr",)),
    "--foreground": (["--foreground", "1"], "foreground", 1, SOURCES, ("x.dcbr",)),
    "--background": (["--background", "3"], "background", 3, SOURCES, ("x.dcbr",)),
    "--transfer-syntax": (
        ["--transfer-syntax", "explicit"],
        "transfer_syntax",
        "explicit",
        SOURCES,
        DICOM,
    ),
    "--real-world": (["--real-world", "0"], "real_world", 0, ("dicom", "dicube"), NIFTI),
    "--modality": (["--modality", "MR"], "modality", "MR", ("dicube", "nifti"), DICOM),
}

CONVERSIONS = list(itertools.product(SOURCES, TARGETS))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source of each kind; the dicube file has no DICOM metadata, except "mapped"."""
    folder = tmp_path_factory.mktemp("sources")
    series = make_series(2, shape=(9, 8), dtype="int16")
    write_series(folder / "dicom", with_each(series, "RealWorldValueMappingSequence", mapping(2.0)))
    DicomCubeImage.from_dicom_folder(folder / "dicom").to_file(folder / "mapped.dcbs")
    image = DicomCubeImage(np.arange(2 * 9 * 8, dtype=np.uint16).reshape(2, 9, 8))
    image.to_file(folder / "dicube.dcbs")
    image.to_nifti(folder / "nifti.nii")
    return {
        "dicom": folder / "dicom",
        "dicube": folder / "dicube.dcbs",
        "nifti": folder / "nifti.nii",
        "mapped": folder / "mapped.dcbs",
    }


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The arguments that reach the Python interface, by name."""
    found: dict[str, Any] = {}

    def watch(holder: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(holder, name)

        def watched(*arguments: Any, **keywords: Any) -> Any:
            found.update(keywords)
            return original(*arguments, **keywords)

        monkeypatch.setattr(holder, name, watched)

    for name in (
        *("from_dicom_folder", "from_file", "from_nifti", "init_meta"),
        *("to_file", "to_nifti", "to_dicom_file", "to_dicom_folder"),
    ):
        watch(DicomCubeImage, name)
    watch(convert, "export_coded")
    yield found


def needed(source: str, target: str, flag: str) -> list[str]:
    """Return what a conversion needs beside an option, so that it can succeed at all."""
    if flag == "--all-series":
        return ["--to", "dcba"]
    if source == "dicom" and target in ("x/", "x") and flag != "--transfer-syntax":
        return ["--transfer-syntax", "explicit"]
    return ["--roi", "auto"] if target == "x.dcbr" and flag != "--roi" else []


@pytest.mark.parametrize("flag", RULES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # samples without geometry
def test_options_reach_the_interface_or_are_refused(
    flag: str,
    sources: dict[str, Path],
    passed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, name, value, its_sources, its_targets = RULES[flag]
    for number, (source, target) in enumerate(CONVERSIONS):
        folder = tmp_path / str(number)
        folder.mkdir()
        passed.clear()
        mapped = flag == "--real-world" and source == "dicube"
        path = sources["mapped" if mapped else source]
        request = [str(path), f"{folder}/{target}", *needed(source, target, flag)]
        status = main(["convert", *request, *given])
        error = capsys.readouterr().err
        applies = source in its_sources and target in its_targets
        assert status == (0 if applies else 1), f"{source} to {target}: {error}"
        if not applies:
            assert error.startswith(f"dicube: error: {flag} applies when "), f"{source} to {target}"
            assert error.count("\n") == 1
            assert not list(folder.iterdir())
            assert not passed
        elif flag == "--threads" and (source, target[:5]) == ("nifti", "x.nii"):
            pass  # one thread reads and writes NIfTI
        elif flag == "--overwrite" and target not in DICOM:
            assert main(["convert", *request]) == 1  # the target exists now
            assert main(["convert", *request, *given]) == 0
        elif value is not None:
            assert passed[name] == value, f"{source} to {target}"


def test_every_option_is_judged() -> None:
    assert RULES.keys() == {option.flag for option in OPTIONS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nifti", "x.dcbs", "--sort", "position"], "reading DICOM, not NIfTI ("),
        (["dicom", "x.dcbs", "--effort", "3"], "writing .dcba, .dcbl or .dcbr, not .dcbs ("),
        (["dicube", "x/", "--max-error", "2"], "writing .dcba or .dcbl, not DICOM folder ("),
        (["dicom", "x.dcba", "--max-error", "1", "--distance", "1"], "exclude each other"),
        (["dicom", "x.dcbr"], ".dcbr needs --roi auto"),
        (["nifti", "x.dcbr", "--background", "2"], ".dcbr needs --roi auto"),
        (["dicube", "x.dcbr"], ".dcbr needs --roi auto"),
        (["dicom", "x/"], "needs --transfer-syntax"),
        (["dicom", "x/", "--all-series"], "--all-series needs --to, one of dcba, dcbs"),
        (["dicom", "x.dcba", "--all-series", "--to", "dcba"], "when DST is a folder, not .dcba ("),
        (["dicom", "x/", "--to", "dcba"], "--to applies when --all-series is given"),
        (["dicom", "x/", "--all-series", "--to", "dcbs", "--effort", "3"], "not .dcbs ("),
        (
            ["dicom", "x/", "--all-series", "--to", "dcba", "--series-uid", "1"],
            "exclude each other",
        ),
        (["dicube", "x/", "--transfer-syntax", "rle"], "'rle'"),
        (["dicube", "x.dcbs", "--exact", "always"], "the dicube file holds no original files"),
        (["dicom", "x.dcba", "--exact", "always", "--max-error", "1"], "it is coded lossily"),
        (["dicom", "x.dcbl", "--exact", "always"], "writing .dcbs or .dcba, not .dcbl ("),
    ],
    ids=" ".join,
)
def test_messages(
    arguments: list[str],
    message: str,
    sources: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target, *options = arguments
    assert main(["convert", str(sources[source]), f"{tmp_path}/{target}", *options]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--series-uid", "--transfer-syntax", "--modality"])
def test_an_unset_variable_is_wrong_usage(
    flag: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(sources["dicube"]), f"{tmp_path}/x/", flag, ""])
    assert ended.value.code == 2


@pytest.mark.parametrize("name", ["x.dcbs/", "x.nii/", "x.dcm/"])
def test_a_name_that_ends_in_a_slash_is_a_folder(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    assert main(["convert", str(sources["dicube"]), f"{tmp_path}/{name}"]) == 0
    assert len(list((tmp_path / name).glob("*.dcm"))) == 2


def test_help_is_made_from_the_table() -> None:
    shown = next(
        each.choices["convert"].format_help()
        for each in parser()._actions
        if isinstance(each.choices, dict)
    )
    for option in OPTIONS:
        assert f"  {option.flag}" in shown
    for name in (*SORT_METHODS, *(syntax.name for syntax in TRANSFER_SYNTAXES)):
        assert name in shown
    assert "--max-error N         .dcba, .dcbl: lossy" in shown
    assert "\nwriting DICOM:\n  --transfer-syntax NAME" in shown


def test_kinds_are_those_of_the_file_formats() -> None:
    assert [kind.value for kind in DICUBE_TARGETS] == list(FORMATS)
    assert set(DICUBE_TARGETS) < set(TargetKind)
